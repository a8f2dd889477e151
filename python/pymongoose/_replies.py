"""From Python values to replies."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from . import _core

Headers: TypeAlias = Mapping[str, str] | Iterable[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Response:
    """What an offloaded function returns to choose status and headers itself.

    Args:
        status: 100-999.
        body: str (UTF-8), bytes-like or None.
        headers: a mapping or pairs; repeated names are kept.
    """

    status: int = 200
    body: str | bytes | bytearray | memoryview | None = b""
    headers: Headers | None = None


def _plain_dumps(obj: Any) -> bytes:
    return json.dumps(obj, ensure_ascii=False, separators=(",", ":")).encode()


dumps: Callable[[Any], bytes]
try:
    import orjson
except ImportError:
    dumps = _plain_dumps
else:
    dumps = orjson.dumps


def answer_with(conn: _core.Connection, result: Any) -> None:
    """Answer with what an offloaded function returned, when it is neither text nor bytes nor None."""
    if isinstance(result, Response):
        conn.reply(result.status, result.body, result.headers)
    elif isinstance(result, (dict, list, tuple, int, float)):
        conn.reply_json(result)
    else:
        raise TypeError(
            f"an offloaded function must return str, bytes, dict, list, Response or None, not {type(result).__name__}"
        )
