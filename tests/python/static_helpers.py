"""For tests of static files: what is in one of them, and a field of a request."""

from __future__ import annotations

TEXT = b"0123456789abcdefghijklmnopqrstuvwxyz\n"


def field(name: str, value: object) -> str:
    return f"{name}: {value}\r\n"
