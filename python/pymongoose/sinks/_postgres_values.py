"""Values of events as values of PostgreSQL's types. None: it does not fit, or nothing was there."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from ipaddress import ip_address
from typing import Any

from ._columns import clean, epoch, json_text, moment

Converter = Callable[[Any], Any]


def _integer(bits: int) -> Converter:
    low, high = -(1 << (bits - 1)), 1 << (bits - 1)

    def convert(value: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value < high:
            return None
        return int(value)

    return convert


def _real(value: Any) -> Any:
    try:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return float(value) if is_number else None
    except OverflowError:
        return None


def _numeric(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return None
    return Decimal(str(value) if isinstance(value, float) else value)


def _boolean(value: Any) -> Any:
    return value if isinstance(value, bool) else None


def _text(value: Any) -> Any:
    return clean(value) if isinstance(value, str) else json_text(value)


def _json(value: Any) -> Any:
    return json_text(value)


def _timestamptz(value: Any) -> Any:
    seconds = epoch(value)
    return None if seconds is None else moment(seconds)


def _date(value: Any) -> Any:
    if isinstance(value, str):
        try:
            return date.fromisoformat(value)
        except ValueError:
            return None
    return (
        value.date() if isinstance(value, datetime) else value if isinstance(value, date) else None
    )


def _uuid(value: Any) -> Any:
    try:
        return value if isinstance(value, uuid.UUID) else uuid.UUID(value)
    except (ValueError, AttributeError, TypeError):
        return None


def _inet(value: Any) -> Any:
    try:
        return ip_address(value) if isinstance(value, str) else None
    except ValueError:
        return None


def _bytea(value: Any) -> Any:
    return bytes(value) if isinstance(value, bytes | bytearray | memoryview) else None


_converters: dict[str, Converter] = {
    "smallint": _integer(16), "int2": _integer(16),
    "integer": _integer(32), "int": _integer(32), "int4": _integer(32),
    "bigint": _integer(64), "int8": _integer(64),
    "real": _real, "float4": _real, "double precision": _real, "float8": _real, "float": _real,
    "numeric": _numeric, "decimal": _numeric,
    "boolean": _boolean, "bool": _boolean,
    "text": _text, "varchar": _text, "character varying": _text, "char": _text, "character": _text,
    "json": _json, "jsonb": _json,
    "timestamptz": _timestamptz, "timestamp with time zone": _timestamptz,
    "date": _date, "uuid": _uuid, "inet": _inet, "bytea": _bytea,
}  # fmt: skip


def converter(type_: str) -> Converter:
    """For a column of that type. ValueError: values of events cannot become it."""
    name = " ".join(type_.lower().split("(")[0].split())
    if name not in _converters:
        raise ValueError(f"columns: {type_!r} is not supported: one of {', '.join(_converters)}")
    return _converters[name]
