"""Where events go that their receiver will never take."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from ._encode import decode, encode
from ._sink import Sink, logger


class DeadLetter:
    """A file of JSON lines, or another sink. Each event is kept with the reason, the sink and the batch it was in."""

    def __init__(self, target: Sink | str | os.PathLike[str]) -> None:
        self._sink = target if isinstance(target, Sink) else None
        self._path = None if isinstance(target, Sink) else Path(target)
        self._fd = -1

    async def start(self) -> None:
        if self._sink is not None:
            await self._sink.start()

    async def stop(self, timeout: float) -> None:
        if self._sink is not None:
            await self._sink.flush(timeout)
            await self._sink.stop()
        elif self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def put(self, event: dict[str, Any] | bytes, sink: str, batch_id: str, reason: str) -> bool:
        """False: it could not be kept there either."""
        plain = _plain(event) if isinstance(event, bytes) else event
        letter = {"sink": sink, "batch_id": batch_id, "reason": reason}
        if self._sink is None:
            return self._write(encode({"ts": time.time(), **letter, "event": plain}))
        if not isinstance(plain, dict):
            plain = {"value": plain}
        marked = {**plain, "dead_letter": letter}
        if self._sink.accepts == "json":
            return self._sink.offer((), [encode(marked)]) == 1
        return self._sink.offer([marked], ()) == 1

    def _write(self, line: bytes) -> bool:
        path = self._path
        assert path is not None
        try:
            if self._fd < 0:
                path.parent.mkdir(parents=True, exist_ok=True)
                flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
                self._fd = os.open(path, flags, 0o600)
            data = line + b"\n"
            done = os.write(self._fd, data)
            if done < len(data):  # a full disk; the line is cut, the next one begins on a new line
                os.write(self._fd, b"\n")
                return False
        except OSError:
            logger.exception("dead letter %s cannot be written", path)
            return False
        return True


def _plain(line: bytes) -> Any:
    try:
        return decode(line)
    except ValueError:  # of a native record that is no JSON, say
        return line.decode("utf-8", "replace")
