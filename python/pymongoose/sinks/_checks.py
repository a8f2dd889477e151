"""What arguments are checked for. Each raises TypeError or ValueError that names the argument and shows the value."""

from __future__ import annotations

import math
from typing import Any


def a_count(name: str, value: Any, unit: str = "", least: int = 1, most: int | None = None) -> None:
    """A whole number of something."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be int, not {type(value).__name__}")
    if value < least or (most is not None and value > most):
        limit = f"at least {least}" if most is None else f"{least} to {most}"
        raise ValueError(f"{name} must be {limit}{unit and ' ' + unit}, not {value!r}")


def a_duration(name: str, value: Any, zero: bool = False) -> None:
    """Seconds."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} must be seconds, not {type(value).__name__}")
    if not (value >= 0 if zero else value > 0) or math.isnan(value):
        raise ValueError(
            f"{name} must be {'zero or more' if zero else 'positive'} seconds, not {value!r}"
        )


def one_of(name: str, value: Any, allowed: tuple[str | None, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}, not {value!r}")


def a_name(name: str, value: Any) -> None:
    """Text that can name something in a database."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be str, not {type(value).__name__}")
    if not value or "\0" in value:
        raise ValueError(f"{name} must be a name, not {value!r}")
