"""Events as JSON texts and back. orjson where it is installed, otherwise the standard library."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date, datetime, time
from enum import Enum
from typing import Any

from .._core import EventQueue

try:
    import orjson
except ModuleNotFoundError:  # slower, the same texts
    _fast = False
else:
    _fast = True


def shown(value: object) -> Any:
    """What stands in JSON for a value that JSON does not know: sets are lists, bytes are text, the rest is ``str()``."""
    try:
        if type(value) in (datetime, date, time):
            return value.isoformat()  # type: ignore[attr-defined]
        if isinstance(value, (set, frozenset)):
            return list(value)
        if isinstance(value, (bytes, bytearray, memoryview)):
            return bytes(value).decode("utf-8", "replace")
        return str(value).encode("utf-8", "replace").decode()
    except KeyboardInterrupt:
        raise
    except BaseException as e:  # noqa: BLE001  (of somebody's __str__; SystemExit would end the worker)
        return f"<{type(value).__name__}: str() raised {type(e).__name__}>"


def represented(value: object) -> str:
    """``repr()`` that never raises."""
    try:
        return repr(value)
    except Exception as e:  # noqa: BLE001  (of somebody's object)
        return f"<{type(value).__name__}: repr() raised {type(e).__name__}>"


class _Walk:
    """The containers around a value, and how many more values may come: neither a cycle nor one list in a thousand places has no end."""

    __slots__ = ("above", "left")

    def __init__(self) -> None:
        self.above: set[int] = set()
        self.left = 1_000_000


def _plain(value: object, depth: int = 0, walk: _Walk | None = None) -> Any:
    """Anything as what every encoder takes: finite numbers, clean text, keys of text, no cycles."""
    if value is None or value is True or value is False:
        return value
    if isinstance(value, Enum):  # as orjson has it, and so are dataclasses and times
        return _plain(value.value, depth + 1, walk) if depth <= 100 else "..."
    if isinstance(value, str):
        return str.encode(value, "utf-8", "replace").decode()
    if isinstance(value, int):
        n = int(value)
        return n if -(1 << 63) <= n < 1 << 64 else str_of_int(n)
    if isinstance(value, float):
        f = float(value)
        return f if f - f == 0.0 else None
    if isinstance(value, dict):
        pairs: list[tuple[Any, Any]] | None = list(value.items())
        items: list[Any] = []
    elif isinstance(value, (list, tuple, set, frozenset)):
        pairs, items = None, list(value)
    elif hasattr(type(value), "__dataclass_fields__"):
        pairs, items = fields_of(value), []
    else:
        return shown(value)
    walk = _Walk() if walk is None else walk
    if depth > 100 or id(value) in walk.above or walk.left < 0:
        return "..."
    walk.left -= len(items) if pairs is None else len(pairs)
    walk.above.add(id(value))
    try:
        if pairs is None:
            return [_plain(v, depth + 1, walk) for v in items]
        return {key_text(k): _plain(v, depth + 1, walk) for k, v in pairs}
    finally:
        walk.above.discard(id(value))


def fields_of(value: Any) -> list[tuple[str, Any]]:
    """What stands in JSON for an instance of a dataclass."""
    names = [n for n in type(value).__dataclass_fields__ if not n.startswith("_")]
    return [(n, getattr(value, n)) for n in names if hasattr(value, n)]


def str_of_int(n: int) -> str:
    """A number beyond 64 bits, as text; hexadecimal when it has too many digits to be converted."""
    try:
        return str(n)
    except ValueError:
        return hex(n)


def key_text(key: object) -> str:
    """What stands in JSON for a key of a dict."""
    if type(key) is str and key.isascii():
        return key
    plain = _plain(key)
    return plain if isinstance(plain, str) else json.dumps(plain, default=str)


def _rendered(event: dict[str, Any]) -> dict[str, Any]:
    try:
        plain = _plain(event)
    except Exception as e:  # noqa: BLE001  (a value whose methods raise)
        plain = _piece_by_piece(event) | {"encode_error": type(e).__name__}
    return plain if isinstance(plain, dict) else {"value": plain}


def _piece_by_piece(event: object) -> dict[str, Any]:
    pieces: dict[str, Any] = {}
    for key, value in dict.items(event) if isinstance(event, dict) else ():
        name = _safely(key)
        if not isinstance(name, str):
            name = json.dumps(name, default=str)
        pieces[name] = _safely(value)
    return pieces


def _safely(value: object) -> Any:
    try:
        return _plain(value)
    except Exception as e:  # noqa: BLE001
        return f"<{type(value).__name__}: {type(e).__name__}>"


def _by_json(event: dict[str, Any], default: object = None) -> bytes:
    return _encoder.encode(_rendered(event)).encode()


def _with_care(event: dict[str, Any]) -> bytes:
    """A line for what orjson refuses: a key that is no text, a huge number, a lone surrogate, too deep."""
    try:
        return orjson.dumps(event, shown, orjson.OPT_NON_STR_KEYS)
    except Exception:  # noqa: BLE001
        return orjson.dumps(_rendered(event))


_encoder = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)
LINES: tuple[Callable[..., bytes], Callable[[Any], Any], Callable[[Any], bytes]]
"""What EventQueue.drain_lines() wants: a fast encoder, its fallback for values, and what is called when it raises."""
LINES = (orjson.dumps, shown, _with_care) if _fast else (_by_json, shown, _by_json)


def encode(event: dict[str, Any]) -> bytes:
    """One line of JSON without its end. What JSON does not know is rendered; it never raises."""
    return EventQueue.encode_lines([event], *LINES)[0]


def encode_all(events: list[Any]) -> list[bytes]:
    """Lines of many events; what is bytes already stays as it is."""
    return EventQueue.encode_lines(events, *LINES)


def decode(line: bytes | str) -> dict[str, Any]:
    """The event of a line. ValueError: it is not JSON."""
    event: dict[str, Any] = orjson.loads(line) if _fast else json.loads(line)
    return event
