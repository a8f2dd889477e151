"""Where events go: the base of every sink."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

_numbers = itertools.count(1)


@dataclass(frozen=True)
class DrainResult:
    """What became of the events: delivered, kept on disk for later, or lost (and counted)."""

    sent: int = 0
    spooled: int = 0
    dropped: int = 0

    def __add__(self, other: DrainResult) -> DrainResult:
        return DrainResult(
            self.sent + other.sent, self.spooled + other.spooled, self.dropped + other.dropped
        )


@dataclass(frozen=True)
class SinkStats:
    """A sink's counters."""

    sent: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    spooled: int = 0
    pending: int = 0


class Sink:
    """A place for events. A subclass says what to do with one, in :meth:`write`."""

    accepts: ClassVar[Literal["dict", "json"]] = "dict"

    def __init__(self, *, name: str | None = None, max_pending: int = 100_000) -> None:
        self.name = name or f"{type(self).__name__}-{next(_numbers)}"
        self.max_pending = max_pending
        self._buffer: deque[dict[str, Any]] = deque()
        self._writing = 0
        self._sent = 0
        self._dropped: dict[str, int] = {}
        self._writer: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Get ready."""

    async def write(self, event: dict[str, Any]) -> None:
        """Deliver one event."""
        raise NotImplementedError

    async def stop(self) -> DrainResult | None:
        """Give back what start() took."""
        return None

    def offer(self, events: Sequence[dict[str, Any]], lines: Sequence[bytes]) -> int:
        """Take events from the front; the number taken. Never waits."""
        n = min(len(events), self.max_pending - len(self._buffer))
        self._buffer.extend(events[:n])
        if self._buffer and self._writer is None:
            self._writer = asyncio.get_running_loop().create_task(self._write_all())
        return n

    def drop_oldest(self, n: int) -> int:
        """Give up n buffered events; the number given up."""
        n = min(n, len(self._buffer))
        for _ in range(n):
            self._buffer.popleft()
        return n

    async def _write_all(self) -> None:
        try:
            while self._buffer:
                event = self._buffer.popleft()
                self._writing = 1
                try:
                    await self.write(event)
                    self._sent += 1
                except asyncio.CancelledError:
                    self._dropped["deadline"] = self._dropped.get("deadline", 0) + 1
                    raise
                except Exception as e:  # noqa: BLE001
                    reason = f"error_{type(e).__name__}"
                    self._dropped[reason] = self._dropped.get(reason, 0) + 1
                finally:
                    self._writing = 0
        finally:
            self._writer = None

    def append_durable(self, line: bytes) -> bool:
        """Any thread: put a line on disk, for a sink that is durable."""
        raise NotImplementedError

    def forked(self) -> None:
        """In a forked child: forget everything that is the parent's."""
        self._buffer = deque()
        self._writing = self._sent = 0
        self._dropped = {}
        self._writer = None

    @property
    def pending(self) -> int:
        """Events buffered or being written."""
        return len(self._buffer) + self._writing

    def stats(self) -> SinkStats:
        """Counters."""
        return SinkStats(self._sent, dict(self._dropped), 0, self.pending)

    async def flush(self, timeout: float | None = None) -> bool:
        """Wait until everything offered so far was dealt with."""
        until = None if timeout is None else time.monotonic() + timeout
        while self._writer is not None:
            left = None if until is None else until - time.monotonic()
            if left is not None and left <= 0:
                return False
            await asyncio.wait([self._writer], timeout=left)
        return True
