"""From emit() to the sinks: one queue, one worker, any number of sinks."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

from .._core import EventQueue, bound_fields
from . import _exit
from ._backlog import Backlog
from ._context import NOTHING
from ._courier import Processor, Ready, complain
from ._encode import encode
from ._levels import KNOWN, NAMES, Level, level_index
from ._outlet import Outlet
from ._pipeline_stats import PipelineStats
from ._policy import OVERFLOWS, Overflow, policies
from ._sink import DrainResult, Sink
from ._spool import Spool, spool_of
from ._tally import Tally
from ._worker import Worker

if TYPE_CHECKING:
    from os import PathLike

    from typing_extensions import Self


class Routed(Protocol):
    """A sink and which events it gets: what :class:`Route` is."""

    sink: Sink

    def matches(self, event: dict[str, Any], /) -> bool: ...


class Pipeline:
    """Takes events from any thread without making it wait, and delivers them to sinks.

    Args:
        sinks: where events go; a :class:`Route` in place of a sink gives it some of them only.
        max_events: bound of the queue between emit() and the worker, 268,435,455 at most.
        max_bytes: the other bound: 64 for each event, 24 for each field, and the size of all text. Default 64 MiB, or 512 for each of
            ``max_events`` where that is more.
        overflow: what happens to an event that does not fit. "drop_newest": it is refused. "drop_oldest": the oldest in the queue is given up
            for it. "block": the caller waits, for ``block_timeout`` seconds at most; never on a thread that runs a Manager or an asyncio
            loop, where the event is refused instead. "spool": it goes to disk, see ``spool``. A dict of levels and policies: each holds for
            its level and those above, up to the next one named; below the lowest one it is "drop_newest".
        block_timeout: seconds.
        spool: a directory, or a :class:`Spool`, for "spool".
        processors: callables that take an event and return it, changed or not, or None to filter it. They run on the worker, one event at a
            time; in durable pipelines, and for events that go to the overflow spool, on the thread that emits. One that raises costs the
            event, which is counted: it might have been the redaction.
        level: events below it are not looked at.
        exit_flush: seconds for what is left when the interpreter exits or SIGTERM ends the process.
        signals: stop on SIGTERM, where start() is called on the main thread and nobody handles it.
        clock: where ``ts`` comes from.

    Every method may be called from any thread, signal handlers included; start() and stop() as often as you like. A pipeline with a sink
    whose spool has ``when="accept"`` is durable: emit() returns True when the event is on disk.

    In a child made by fork() the pipeline is empty, and its worker starts with the first event. At exit it is stopped.

    Raises:
        TypeError, ValueError: a wrong argument, two sinks of one name, "spool" without ``spool``.

    Example::

        log = Pipeline([RotatingFileSink("events.jsonl")], overflow={"trace": "drop_newest", "error": "block"})
        with log:
            log.emit("order created", order=42)
    """

    queue: EventQueue
    """The native queue; what the access log writes to."""

    def __init__(
        self,
        sinks: Iterable[Sink | Routed],
        *,
        max_events: int = 100_000,
        max_bytes: int | None = None,
        overflow: Overflow | Mapping[Level, Overflow] = "drop_newest",
        block_timeout: float = 1.0,
        spool: Spool | str | PathLike[str] | None = None,
        processors: Iterable[Processor] = (),
        level: Level = "trace",
        exit_flush: float = 5.0,
        signals: bool = True,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if max_bytes is None:
            max_bytes = max(64 << 20, 512 * max_events)
        if block_timeout < 0 or exit_flush < 0:
            raise ValueError("block_timeout and exit_flush must not be negative")
        self._policies = policies(overflow)
        if "spool" in self._policies and spool is None:
            raise ValueError('overflow "spool" needs spool=, a directory')
        self.exit_flush = exit_flush
        self._signals = signals
        self._clock = clock
        self._level = level_index(level)
        self._max_events = max_events
        self._processors = tuple(processors)
        found = spool_of(spool)
        self._backlog = Backlog(found) if found is not None else None
        self._lock = threading.RLock()
        self._worker: Worker | None = None
        self._stuck: list[threading.Event] = []  # the ends of workers that were given up
        self._asleep = False  # a forked child before its first event
        self._tally = Tally()
        self._front = Tally()
        self._result = DrainResult()
        self._before = DrainResult()
        self._held = 0  # what sinks had in their hands at the last start()
        self._outlets = [self._outlet(sink) for sink in sinks]
        names = [outlet.sink.name for outlet in self._outlets]
        if len(set(names)) != len(names):
            raise ValueError(f"sinks need names of their own, not {', '.join(sorted(names))}")
        self._durable = [o for o in self._outlets if o.durable]
        self.queue = EventQueue(
            max_events,
            max_bytes,
            tuple(OVERFLOWS.index(p) for p in self._policies),
            KNOWN,
            level_index,
            NAMES,
            self._level,
            block_timeout,
            None if clock is time.time else clock,
            self._wake,
            self._spill if spool is not None else None,
            asyncio._get_running_loop,
        )
        # A call of emit() is then a call of C, without a frame in between.
        self.__dict__["emit"] = self._emit_durably if self._durable else self.queue.emit
        _exit.made(self)

    def _outlet(self, target: Sink | Routed) -> Outlet:
        if isinstance(target, Sink):
            return Outlet(target, None, self._policies, self._max_events, complain)
        if not isinstance(getattr(target, "sink", None), Sink):
            raise TypeError(f"sinks must be Sink or Route, not {type(target).__name__}")
        return Outlet(target.sink, target.matches, self._policies, self._max_events, complain)

    # ---- events in ----

    def emit(self, message: str, /, *, level: Level = "info", **fields: Any) -> bool:
        """Accept an event for delivery, or refuse it at once. Any thread, any loop, signal handlers.

        The event is ``{"ts": seconds, "level": name, "message": message, **fields}``. Dicts, lists, tuples, sets and bytearrays are copied,
        as deep as they go (64 levels, and 100,000 values other than numbers and texts), so that later changes do not show; other values
        are kept, and what JSON does not know is rendered by ``str()`` on the worker. A field ``ts`` replaces the time.

        Returns:
            True: the event will be delivered, or counted as dropped. False: it is not taken (see ``overflow``), and counted as refused; or
            it is below the pipeline's level; or the pipeline does not run.

        Raises:
            TypeError: message is not str, or given twice. ValueError: unknown level.
        """
        raise NotImplementedError  # each pipeline has its own, see __init__

    def _emit_durably(self, message: str, /, *, level: Level = "info", **fields: Any) -> bool:
        if not isinstance(message, str):
            raise TypeError(f"message must be str, not {type(message).__name__}")
        if "message" in fields:
            raise TypeError("message is given once, as the first argument")
        index = level_index(level)
        tally = self._front
        if tally.mine:  # a processor, or a signal handler in the middle of the next lines: on disk as soon as the worker has it
            return self.queue.emit(message, level=level, **fields)
        if self._asleep:
            self._wake()
        worker = self._worker
        now = self._clock()
        event: dict[str, Any] | None
        event = {"ts": now, "level": NAMES[index], "message": message, **fields}
        for name, value in bound_fields.get(NOTHING).items():
            event.setdefault(name, value)
        with tally.owned():  # deliveries and what became of them are counted together
            if index < self._level:
                tally.below += 1
                return False
            if worker is None or worker is not self._worker:
                tally.refuse("closed")
                return False
            event = worker.courier.process(event, tally)
            if event is None:
                tally.apart += 1
                return True
            waiting: list[tuple[Outlet, Any]] = []
            apart, extra = tally.apart, tally.extra
            taken = self._place_durably(worker, event, index, waiting)
            more = tally.extra - extra
            alone = tally.apart > apart and 1 + more == len(waiting)  # and nothing else came of it
        if not waiting or self._wait_for_media(waiting) or not alone:
            return taken
        with tally.lock:
            tally.apart -= 1
            tally.extra -= more
            tally.dropped["disk_error"] -= 1 + more
            tally.refuse("disk_error")
        return False

    def _wait_for_media(self, waiting: list[tuple[Outlet, Any]]) -> bool:
        """Without the lock, so that threads which emit at the same time share a sync. False: no medium took it."""
        kept = 0
        for outlet, ticket in waiting:
            if outlet.sink.end_durable(ticket):  # type: ignore[attr-defined]
                kept += 1
            else:
                with self._front.lock:
                    self._front.drop("disk_error")
        return kept > 0

    def _place_durably(
        self,
        worker: Worker,
        event: dict[str, Any],
        index: int,
        waiting: list[tuple[Outlet, Any]],
    ) -> bool:
        """The line to the disks of the durable sinks that want it; the event to the queue for the others."""
        tally = self._front
        line: bytes | None = None
        placed = lost = others = 0
        why = "spool_full"
        shown = event if "level" in event else {**event, "level": "info"}
        for outlet in self._outlets:
            wanted = worker.courier.wants(outlet, shown)
            if wanted is None:
                tally.drop("route_error")
                placed += 1
            elif wanted and not outlet.durable:
                others += 1
            elif wanted:
                if line is None:
                    line = encode(event)
                kept = outlet.begin(line)
                if kept is not False:
                    placed += 1
                    if kept is not True:
                        waiting.append((outlet, kept))
                else:
                    lost += 1
                    why = getattr(getattr(outlet.sink, "spool", None), "reason", "") or why
        if lost and not placed:  # nothing was kept where it was to be
            tally.refuse(why)
            return False
        placed += lost
        tally.drop(why, lost)
        if others:
            if line is None:
                line = encode(event)
            reason = self.queue.push(Ready(line), index, len(line))
            if not reason:
                tally.extra += placed
                return True
            if not placed:
                tally.refuse(reason)
                return False
            placed += others
            tally.drop(reason, others)
        tally.apart += 1
        if placed:
            tally.extra += placed - 1
        else:
            tally.filtered += 1
        return True

    def _spill(self, item: Any) -> bool:
        """What did not fit into the queue under the policy "spool". The thread that emits."""
        worker, backlog, tally = self._worker, self._backlog, self._front
        if worker is None or backlog is None:
            return False
        if item.__class__ is Ready:  # pushed by _place_durably, which counts
            if not backlog.append(item.event):
                return False
            tally.apart += 1
            return True
        if tally.mine:  # a signal handler in the middle of the next lines
            tally.refuse("queue_full")
            return False
        with tally.owned():
            event = worker.courier.process(item, tally)
            if event is None:
                tally.apart += 1
                return True
            if not backlog.append(encode(event)):
                tally.refuse("spool_full")
                return False
            tally.apart += 1
            return True

    # ---- life ----

    def start(self) -> None:
        """Accept events. Starts the worker, and the sinks on it: one that fails is reported to the logger "pymongoose.sinks" and tried again.
        Does nothing when the pipeline runs. Raises OSError when the spool cannot be opened."""
        with self._lock:
            if self._worker is None:
                self._begin()

    def _begin(self) -> None:
        if self._backlog is not None:
            self._backlog.open()
        self._before, self._held = self._totals(), self._in_sinks()
        self._stuck = [end for end in self._stuck if not end.is_set()]
        worker = Worker(
            self.queue,
            self._outlets,
            self._processors,
            self._backlog,
            self._tally,
            "pymongoose-sinks",
            self._stuck,
        )
        worker.start()
        self._worker = worker
        self._asleep = False
        self.queue.set_state("open")
        _exit.started(self, signals=self._signals)

    def stop(self, timeout: float = 5.0) -> DrainResult:
        """Refuse further events, deliver what was accepted, and stop the sinks, all within timeout seconds; then about one more goes into what
        is to be put on disk, and two into sinks and processors that do not come back. What is left is on disk, where there is a spool, or
        counted as dropped. Of what a sink still has in its hands when it blocks its loop nobody knows the end: it counts as dropped in the
        result, and as pending in stats() until the sink does come back. Sinks of a pipeline that is started again wait for that, too.

        Blocks: in a coroutine use ``async with``, or ``await asyncio.to_thread(log.stop)``.

        Returns:
            What became of the deliveries since start(). Of a pipeline that does not run: since its last start().

        Raises:
            RuntimeError: called on the pipeline's own thread.
        """
        if self._worker is not None:
            self._not_here(self._worker)
        with self._lock:
            worker = self._worker
            if worker is None:
                self._asleep = False
                self.queue.set_state("closed")
                return self._result
            self.queue.gather()
            self.queue.set_state("closed")
            worker.stop(timeout)
            stuck = worker.failed or not worker.ended.is_set()
            if stuck:
                self._tally = worker.give_up()
                self._stuck.append(worker.ended)
            else:
                worker.drop_rest()  # of those who were in the middle of emit()
            self._worker = None
            left = 0
            if self._backlog is not None:
                self._backlog.close()
                left = len(self._backlog)
            totals, before = self._totals(), self._before
            sent, lost = totals.sent, totals.dropped + self._in_sinks()
            if stuck:  # its sinks may be at work still: what they did not send by now is lost
                now = self._snapshot()
                sent, lost = now.sent, now.deliveries - now.filtered - now.sent - now.spooled
            self._result = DrainResult(
                sent - before.sent,
                totals.spooled + left,
                max(lost - before.dropped - self._held, 0),
            )
            _exit.stopped(self)
            return self._result

    def flush(self, timeout: float | None = 5.0) -> bool:
        """Wait until everything accepted so far is acknowledged, on disk, or counted as dropped; False when timeout seconds were not enough.
        Raises RuntimeError on the pipeline's own thread."""
        worker = self._worker
        if worker is None:
            return True
        self._not_here(worker)
        self.queue.gather()
        return worker.flush(timeout)

    def _not_here(self, worker: Worker) -> None:
        if threading.current_thread() is worker.thread:
            raise RuntimeError("this would wait for the thread that it is called on")

    def _wake(self) -> None:
        """A forked child's first event."""
        with self._lock:
            if self._asleep and self._worker is None:
                self._begin()

    def _forked(self) -> None:
        """In the child, before anything else runs. The parent's loop must not be closed here: its descriptors are shared."""
        worker = self._worker
        self._lock = threading.RLock()
        self._tally = Tally()
        self._front = Tally()
        self._stuck = []
        self._result = DrainResult()
        self.queue.reset()
        if worker is not None:
            _abandoned.append(worker)
            self._worker = None
            self._asleep = True
            self.queue.set_state("asleep")
        for outlet in self._outlets:
            outlet.forked()
        self._before = self._totals()
        if self._backlog is not None:
            self._backlog.forked()

    # ---- numbers ----

    def stats(self) -> PipelineStats:
        """A snapshot of the counters since the pipeline was made, over all its runs. Taken on the worker, between two of its steps, so that
        the sums are exact; one that does not answer within a second (a sink that blocks) is read from outside."""
        worker = self._worker
        self.queue.gather()
        if worker is not None:
            try:
                return worker.call(self._snapshot, 1.0)
            except TimeoutError:
                pass
        return self._snapshot()

    def _snapshot(self) -> PipelineStats:
        with self._front.lock:
            return self._count()

    def _count(self) -> PipelineStats:
        tally, front, worker = self._tally, self._front, self._worker
        counters = self.queue.counters()
        accepted, evicted = counters["accepted"], counters["evicted"]
        dropped = {"evicted": evicted} if evicted else {}
        refused = counters["refused"]
        backlog = self._backlog
        for sums, one in (
            (dropped, tally.dropped),
            (dropped, front.dropped),
            (dropped, {} if backlog is None else backlog.dropped),
            (refused, front.refused),
        ):
            for reason, n in one.items():
                sums[reason] = sums.get(reason, 0) + n
        sent = pending = 0
        recovered = 0 if backlog is None else backlog.spool.recovered
        spooled = 0 if backlog is None else len(backlog)
        oldest = worker.queue_age() if worker is not None else 0.0
        sinks = {}
        for outlet in self._outlets:
            stats = outlet.sink.stats()
            sinks[outlet.sink.name] = stats
            sent += stats.sent
            spooled += stats.spooled
            recovered += stats.recovered
            pending += stats.pending + len(outlet.carry)
            oldest = max(oldest, getattr(stats, "oldest_age", 0.0))
            for counted in (outlet.dropped, stats.dropped):
                for reason, n in counted.items():
                    dropped[reason] = dropped.get(reason, 0) + n
        queued = accepted - evicted - tally.drained
        events = accepted + front.apart
        return PipelineStats(
            accepted=events,
            refused=refused,
            below_level=counters["below_level"] + front.below,
            recovered=recovered,
            deliveries=events + recovered + tally.extra + front.extra,
            filtered=tally.filtered + front.filtered,
            dropped={reason: n for reason, n in dropped.items() if n},
            sent=sent,
            spooled=spooled,
            pending=pending + queued,
            queued=queued,
            queued_bytes=counters["queued_bytes"],
            oldest_age=oldest,
            sinks=sinks,
        )

    def _in_sinks(self) -> int:
        return sum(outlet.sink.pending for outlet in self._outlets)

    def _totals(self) -> DrainResult:
        sent = spooled = 0
        dropped = self.queue.counters()["evicted"]
        dropped += sum(self._tally.dropped.values()) + sum(self._front.dropped.values())
        if self._backlog is not None:
            dropped += sum(self._backlog.dropped.values())
        for outlet in self._outlets:
            stats = outlet.sink.stats()
            sent += stats.sent
            spooled += stats.spooled
            dropped += sum(stats.dropped.values()) + sum(outlet.dropped.values())
        return DrainResult(sent, spooled, dropped)

    # ---- blocks ----

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


_abandoned: list[
    object
] = []  # of the process that forked: not to be closed by the garbage collector
