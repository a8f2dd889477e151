"""Events as rows: which field goes to which column."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from ._encode import encode

OWN = ("ts", "level", "message", "fields")  # columns that every table has
LATEST = 253402300799.0  # the end of the year 9999


@dataclass(frozen=True)
class Column:
    """A field that has a column of its own."""

    field: str
    name: str
    type: str


def parse_columns(columns: Any, reserved: Iterable[str] = ()) -> tuple[Column, ...]:
    """`{"status": "integer", "http.path": ("path", "text")}`: a field's type, or its column's name and type."""
    if columns is None:
        return ()
    if not isinstance(columns, Mapping):
        raise TypeError(f"columns must be a mapping, not {type(columns).__name__}")
    taken = {*OWN, *reserved}
    out = []
    for field, what in columns.items():
        if isinstance(what, str):
            what = (field, what)
        if not isinstance(what, tuple) or len(what) != 2:
            raise TypeError(
                f"columns: {field!r} must be a type, or a name and a type, not {what!r}"
            )
        name, kind = what
        for text, label in ((field, "field"), (name, "name"), (kind, "type")):
            if not isinstance(text, str) or not text or "\0" in text:
                raise ValueError(f"columns: the {label} of {field!r} must be text, not {text!r}")
        if field in ("ts", "level", "message") or name.lower() in taken:
            raise ValueError(f"columns: {field!r} cannot have the column {name!r}: it is in use")
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_ ]*(\(\d+(, ?\d+)?\))?", kind):
            raise ValueError(f"columns: {kind!r} is not a type")
        taken.add(name.lower())
        out.append(Column(field, name, kind))
    return tuple(out)


def quoted(name: str) -> str:
    """An SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def epoch(ts: Any) -> float | None:
    """Seconds since 1970 of an event's timestamp: a number, or text in ISO 8601 (local time unless it says otherwise). None: it is neither."""
    try:
        if isinstance(ts, str):
            ts = datetime.fromisoformat(ts[:-1] + "+00:00" if ts.endswith("Z") else ts)
        if isinstance(ts, datetime):
            ts = ts.timestamp()
    except (ValueError, OverflowError, OSError):  # no time, or one before there were any
        return None
    if isinstance(ts, bool) or not isinstance(ts, int | float):
        return None
    if not 0.0 <= ts <= LATEST or not math.isfinite(ts):
        return None
    return float(ts)


def moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, timezone.utc)


def clean(text: str) -> str:
    """Text that can be encoded: lone surrogates become "?"."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace").decode()
    return text


def json_text(value: Any) -> str:
    """A value of an event as JSON. What JSON does not know is rendered; it never raises."""
    return encode({"": value})[4:-1].decode()
