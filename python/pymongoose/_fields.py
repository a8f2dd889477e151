"""Header fields of requests: checked before anything is sent."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping
from typing import TypeAlias

from ._urls import Target

HeadersLike: TypeAlias = Mapping[str, str | bytes | int] | Iterable[tuple[str, str | bytes | int]]

TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 5.6.2
_ILLEGAL = re.compile("[\r\n\0]")


def make_headers(headers: HeadersLike | None) -> list[tuple[str, str]]:
    """Checked pairs. Raises TypeError, ValueError."""
    out = []
    pairs = headers.items() if isinstance(headers, Mapping) else headers or ()
    for name, value in pairs:
        if not isinstance(name, str) or not TOKEN.fullmatch(name):
            raise ValueError(f"header name {name!r} contains an illegal character")
        if isinstance(value, bytes):
            value = value.decode("latin-1")
        elif isinstance(value, int):
            value = str(value)
        elif not isinstance(value, str):
            raise TypeError(
                f"the value of header {name} must be str, bytes or int, not {type(value).__name__}"
            )
        if _ILLEGAL.search(value):
            raise ValueError(f"the value of header {name} contains an illegal character")
        if name.lower() in ("transfer-encoding", "upgrade"):
            raise ValueError(
                f"header {name} cannot be set: how a request is framed is decided by its body"
            )
        out.append((name, value.strip(" \t")))
    return out


def basic(target: Target) -> str | None:
    """RFC 7617, from userinfo."""
    if target.user is None:
        return None
    return basic_of(target.user, target.password or "")


def basic_of(user: str, password: str) -> str:
    if ":" in user or _ILLEGAL.search(user + password):
        raise ValueError(
            "a user name for basic authentication has no colon, and there are no line breaks"
        )
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
