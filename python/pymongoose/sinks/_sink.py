"""Where events go: the base of every sink, and what is counted about it."""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ._retry import BreakerState

if TYPE_CHECKING:
    from ._sync import SyncSink

logger = logging.getLogger("pymongoose.sinks")

_numbers = itertools.count(1)

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, float("inf"))
"""Upper bounds of the histogram of batch times, in seconds."""


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
    """A sink's counters, since it was made."""

    sent: int = 0
    """Events acknowledged."""
    dropped: dict[str, int] = field(default_factory=dict)
    """Events that will not be delivered, by reason: rejected, gave_up, deadline, evicted, damaged, too_big, dead_letter (kept there), error_… (of a plain
    sink's write)."""
    spooled: int = 0
    """Events on disk now."""
    pending: int = 0
    """Events in memory now: buffered or being sent."""
    pending_bytes: int = 0
    """Of them, where the sink counts bytes."""
    oldest_age: float = 0.0
    """Seconds that the oldest event has been here, in memory or on disk."""
    recovered: int = 0
    """Events that were on disk when the spool was opened, left by an earlier process."""
    retried: int = 0
    """Sends that were repetitions."""
    batches: int = 0
    """Batches acknowledged."""
    batch_seconds: float = 0.0
    """Time from a batch's first send to its acknowledgement, in all."""
    batch_max: float = 0.0
    """The longest of those times."""
    batch_buckets: tuple[tuple[float, int], ...] = ()
    """How many batches took at most so many seconds, cumulative; the last bound is infinite."""
    breaker: BreakerState | None = None
    """State of the circuit breaker; None without one."""


class Sink:
    """A place for events. A subclass says what to do with one, in write().

    start(), write() and stop() run on one asyncio loop: that of the pipeline, or the caller's. ``sink.sync()`` is the same without asyncio.

    Args:
        name: in statistics and logs; default: the class and a number.
        max_pending: events that may wait in memory.
    """

    accepts: ClassVar[Literal["dict", "json"]] = "dict"
    """What the sink wants to be given by a pipeline: dicts, or lines of JSON, which are encoded once for all sinks."""

    _concurrency = 1  # events of a plain sink that are written at the same time

    def __init__(self, *, name: str | None = None, max_pending: int | None = None) -> None:
        if max_pending is not None and max_pending < 1:
            raise ValueError(f"max_pending must be at least 1, not {max_pending!r}")
        self.name = name or f"{type(self).__name__}-{next(_numbers)}"
        self.max_pending = 100_000 if max_pending is None else max_pending
        self._buffer: deque[Any] = deque()
        self._writing = 0
        self._sent = 0
        self._dropped: dict[str, int] = {}
        self._writers: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Get ready: open what write() needs."""

    async def write(self, event: dict[str, Any]) -> None:
        """Deliver one event. An exception means that it is lost, and is counted as ``error_<its type>``."""
        raise NotImplementedError(f"{type(self).__name__} has no write()")

    async def stop(self) -> DrainResult | None:
        """Give back what start() took."""
        return None

    def sync(self) -> SyncSink:
        """The sink for programs without asyncio: ``with sink.sync() as s: s.write(event)``, on a thread of its own."""
        from ._sync import SyncSink

        return SyncSink(self)

    @property
    def durable(self) -> bool:
        """Whether accepted means on disk: then a pipeline appends there before emit() returns."""
        return False

    def append_durable(self, line: bytes) -> bool:
        """Keep the JSON text of an event on disk, from where it is sent; of durable sinks. Any thread. False: there is no room."""
        raise NotImplementedError(f"{type(self).__name__} has no spool")

    # -- what a pipeline calls, on its loop; none of it waits or raises --

    def offer(self, events: Sequence[dict[str, Any]], lines: Sequence[bytes]) -> int:
        """Take events (or lines, if that is what the sink accepts) from the front, as many as there is room for; their number."""
        items = lines if self.accepts == "json" else events
        n = min(len(items), self.max_pending - len(self._buffer))
        self._buffer.extend(items[:n] if n < len(items) else items)
        while len(self._writers) < min(self._concurrency, len(self._buffer)):
            task = asyncio.get_running_loop().create_task(self._write_all())
            self._writers.add(task)
        return n

    def drop_oldest(self, n: int) -> int:
        """Give up to n buffered events up, not those being sent; how many. Whoever calls counts them."""
        n = min(n, len(self._buffer))
        for _ in range(n):
            self._buffer.popleft()
        return n

    async def _write_all(self) -> None:
        task = asyncio.current_task()
        try:
            while self._buffer:
                event = self._buffer.popleft()
                self._writing += 1
                try:
                    await self.write(event)
                    self._sent += 1
                except asyncio.CancelledError:
                    self._count("deadline", 1)
                    raise
                except Exception as e:
                    if f"error_{type(e).__name__}" not in self._dropped:
                        logger.exception("sink %s lost an event", self.name)
                    self._count(f"error_{type(e).__name__}", 1)
                finally:
                    self._writing -= 1
        finally:
            if task is not None:
                self._writers.discard(task)

    def _count(self, reason: str, n: int) -> None:
        if n:
            self._dropped[reason] = self._dropped.get(reason, 0) + n

    @property
    def pending(self) -> int:
        """Events in memory: buffered or being sent."""
        return len(self._buffer) + self._writing

    def stats(self) -> SinkStats:
        """A snapshot of the counters."""
        return SinkStats(self._sent, dict(self._dropped), 0, self.pending)

    async def flush(self, timeout: float | None = None) -> bool:
        """Wait until everything offered so far was dealt with; False when timeout seconds were not enough."""
        until = None if timeout is None else time.monotonic() + timeout
        while self._writers:
            left = None if until is None else until - time.monotonic()
            if left is not None and left <= 0:
                return False
            await asyncio.wait(self._writers, timeout=left)
        return True

    def forked(self) -> None:
        """In a forked child: what is buffered is the parent's, and its loop is not ours."""
        self._buffer.clear()
        self._writing = self._sent = 0
        self._dropped = {}
        self._writers = set()
