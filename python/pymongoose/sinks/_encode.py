"""Events as JSON texts and back. orjson where it is installed, otherwise the standard library."""

from __future__ import annotations

import json
from collections.abc import Callable
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
        if isinstance(value, (set, frozenset)):
            return list(value)
        if isinstance(value, (bytes, bytearray, memoryview)):
            return bytes(value).decode("utf-8", "replace")
        return str(value).encode("utf-8", "replace").decode()
    except Exception as e:  # noqa: BLE001  (of somebody's __str__)
        return f"<{type(value).__name__}: str() raised {type(e).__name__}>"


def _plain(value: object, depth: int = 0) -> Any:
    """Anything as what every encoder takes: finite numbers, clean text, keys of text, no cycles."""
    if value is None or value is True or value is False:
        return value
    if isinstance(value, str):
        return str.encode(value, "utf-8", "replace").decode()
    if isinstance(value, int):
        n = int(value)
        return n if -(1 << 63) <= n < 1 << 64 else str_of_int(n)
    if isinstance(value, float):
        f = float(value)
        return f if f - f == 0.0 else None
    if depth > 100:
        return "..."
    if isinstance(value, dict):
        return {_key(k): _plain(v, depth + 1) for k, v in list(value.items())}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(v, depth + 1) for v in list(value)]
    return shown(value)


def str_of_int(n: int) -> str:
    """A number beyond 64 bits, as text; hexadecimal when it has too many digits to be converted."""
    try:
        return str(n)
    except ValueError:
        return hex(n)


def _key(key: object) -> str:
    if isinstance(key, str):
        return str.encode(key, "utf-8", "replace").decode()
    plain = _plain(key)
    return plain if isinstance(plain, str) else json.dumps(plain, default=str)


def _rendered(event: dict[str, Any]) -> dict[str, Any]:
    try:
        plain = _plain(event)
    except Exception as e:  # noqa: BLE001  (a value whose methods raise)
        plain = {k: _safely(v) for k, v in event.items()} | {"encode_error": type(e).__name__}
    return plain if isinstance(plain, dict) else {"value": plain}


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
