"""From emit() to the sinks."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any

from .._core import EventQueue
from ._levels import KNOWN, NAMES, Level, level_index
from ._outlet import Outlet
from ._pipeline_stats import PipelineStats
from ._policy import OVERFLOWS, Overflow, policies
from ._sink import DrainResult, Sink
from ._worker import Processor, Worker

if TYPE_CHECKING:
    from typing_extensions import Self


class Pipeline:
    """Takes events from any thread and delivers them to sinks, on a thread of its own."""

    def __init__(
        self,
        sinks: Iterable[Any],
        *,
        max_events: int = 100_000,
        max_bytes: int | None = None,
        overflow: Overflow | Mapping[Level, Overflow] = "drop_newest",
        block_timeout: float = 1.0,
        processors: Iterable[Processor] = (),
        level: Level = "trace",
        clock: Callable[[], float] = time.time,
    ) -> None:
        if max_bytes is None:
            max_bytes = max(64 << 20, 512 * max_events)
        self._policies = policies(overflow)
        self._max_events = max_events
        self._lock = threading.RLock()
        self._worker: Worker | None = None
        self._processors = tuple(processors)
        self.queue = EventQueue(
            max_events,
            max_bytes,
            tuple(OVERFLOWS.index(p) for p in self._policies),
            KNOWN,
            level_index,
            NAMES,
            level_index(level),
            block_timeout,
            None if clock is time.time else clock,
            self._wake,
            None,
            asyncio._get_running_loop,
        )
        self._outlets = [self._outlet(sink) for sink in sinks]
        self.__dict__["emit"] = self.queue.emit

    def emit(self, message: str, /, *, level: Level = "info", **fields: Any) -> bool:
        """Accept an event for delivery, or refuse it at once."""
        return self.queue.emit(message, level=level, **fields)

    def _outlet(self, sink: Any) -> Outlet:
        target = sink if isinstance(sink, Sink) else sink.sink
        matches = None if isinstance(sink, Sink) else sink.matches
        return Outlet(target, matches, self._policies, self._max_events)

    def _wake(self) -> None:
        with self._lock:
            if self._worker is None:
                self._begin()

    def _begin(self) -> None:
        worker = Worker(self.queue, self._outlets, self._processors, None, "pymongoose-sinks")
        worker.start()
        self._worker = worker
        self.queue.set_state("open")

    def start(self) -> None:
        """Start the worker; again after stop() is fine."""
        with self._lock:
            if self._worker is None:
                self._begin()

    def stop(self, timeout: float = 5.0) -> DrainResult:
        """Refuse further events, deliver what was accepted, and stop the sinks."""
        with self._lock:
            worker = self._worker
            if worker is None:
                return DrainResult()
            self.queue.set_state("closed")
            worker.stop(timeout)
            self._worker = None
            return worker.result()

    def flush(self, timeout: float | None = 5.0) -> bool:
        """Wait until everything accepted so far is delivered, on disk, or counted as lost."""
        worker = self._worker
        return worker is None or worker.flush(timeout)

    def stats(self) -> PipelineStats:
        """A snapshot of the counters."""
        worker = self._worker
        if worker is None:
            raise NotImplementedError
        with contextlib.suppress(TimeoutError):
            return worker.call(self._snapshot, 1.0)
        return self._snapshot()

    def _snapshot(self) -> PipelineStats:
        worker = self._worker
        assert worker is not None
        c = self.queue.counters()
        dropped = dict(worker.dropped)
        dropped["evicted"] = c["evicted"]
        sent = spooled = pending = 0
        stats = {}
        for outlet in self._outlets:
            s = outlet.sink.stats()
            stats[outlet.sink.name] = s
            sent += s.sent
            spooled += s.spooled
            pending += s.pending + len(outlet.carry)
            for counted in (outlet.dropped, s.dropped):
                for reason, n in counted.items():
                    dropped[reason] = dropped.get(reason, 0) + n
        queued = c["accepted"] - c["evicted"] - worker.drained
        return PipelineStats(
            accepted=c["accepted"],
            refused=c["refused"],
            below_level=c["below_level"],
            deliveries=c["accepted"] + worker.extra,
            filtered=worker.filtered,
            dropped={k: n for k, n in dropped.items() if n},
            sent=sent,
            spooled=spooled,
            pending=pending + queued,
            queued=queued,
            queued_bytes=c["queued_bytes"],
            oldest_age=0.0,
            sinks=stats,
        )

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await asyncio.to_thread(self.stop)
