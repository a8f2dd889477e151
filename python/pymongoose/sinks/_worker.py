"""The one thread of a pipeline: an asyncio loop that carries events from the queue to the sinks.

    drain a slice ──> processors ──> routes ──> encode once ──> offer to each sink (never waits for one)

The loop sleeps on the queue's descriptor while there is nothing to do. While events come it looks every few milliseconds instead, so that
nobody who emits pays for waking it. Everything here runs on that thread, if not said otherwise.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from .._core import EventQueue
from ._encode import LINES, decode, encode, encode_all
from ._outlet import Outlet
from ._tally import Tally

logger = logging.getLogger("pymongoose.sinks")

T = TypeVar("T")
Processor = Callable[[dict[str, Any]], dict[str, Any] | None]

SLICE = 512  # events between two looks at everything else on the loop, at most
FIRST = 32  # the same at the beginning, while nobody knows how long they take
AWAY = 0.02  # seconds that a slice is to take at most
LAST = 1.0  # seconds behind stop()'s deadline in which what is left is still put on disk
PATIENCE = 2.0  # seconds behind it after which a worker that is stuck is given up
LINGER = 0.03  # seconds until the next look at the queue, while events come
HELD_UP = (0.001, 0.05)  # seconds between looks at sinks without room, shortest and longest
RESTART = (0.5, 30.0)  # seconds until a sink that did not start is started again


_complained: dict[str, float] = {}


def complain(what: str) -> None:
    """Log an exception that is being handled, at most once a second for each text. Any thread."""
    now = time.monotonic()
    if now - _complained.get(what, -10.0) >= 1.0:
        _complained[what] = now
        logger.exception(what)


class Ready:
    """An event, or its line, that went through the processors already, and to the durable sinks if there are any."""

    __slots__ = ("event",)

    def __init__(self, event: Any) -> None:
        self.event = event


class Overflowing(Protocol):
    """Events on disk that wait for room."""

    def __len__(self) -> int: ...
    def append(self, line: bytes) -> bool: ...
    def take(self, n: int) -> tuple[Any, list[Ready]]: ...
    def done(self, batch: Any) -> None: ...


class Worker:
    """The thread of one run, from start() to stop()."""

    def __init__(
        self,
        queue: EventQueue,
        outlets: Sequence[Outlet],
        processors: Sequence[Processor],
        backlog: Overflowing | None,
        tally: Tally,
        name: str,
        before: Sequence[threading.Event] = (),
    ) -> None:
        self.queue = queue
        self.outlets = outlets
        self.processors = processors
        self.backlog = backlog
        self.tally = tally
        for outlet in outlets:
            outlet.ending = False
        self.loop = asyncio.new_event_loop()
        self.ended = threading.Event()
        self._before = (
            before  # the ends of workers that were given up: until then the sinks are theirs
        )
        self.door = threading.Lock()  # held while deliveries change hands
        self.gone = False  # given up: what it does counts no more
        self._left: list[Outlet] = []  # then it still has to stop those
        self.busy = False  # has events in hand that nobody has counted yet
        self._slice = FIRST
        self._spools = backlog is not None or any(o.spools for o in outlets)
        durable = any(o.durable for o in outlets)
        self._all_get_all = all(o.matches is None for o in outlets) and bool(outlets)
        # Then batches go through as they are, and perhaps no event need be seen as a dict at all.
        self._plain = not processors and self._all_get_all and backlog is None and not durable
        self._lines_only = self._plain and all(o.json for o in outlets)
        self._bell: asyncio.Future[None] | None = None
        self._starting: list[asyncio.Task[None]] = []
        self._deadline: float | None = None  # of stop(), monotonic
        self._emptied = time.monotonic()  # when the queue was last seen empty
        self.thread = threading.Thread(target=self._run, name=name, daemon=True)

    # ---- any thread ----

    def start(self) -> None:
        self.thread.start()

    def call(self, fn: Callable[[], T], timeout: float) -> T:
        """Run a function on the loop and wait for what it returns. TimeoutError: the loop is busy, or gone."""
        if threading.current_thread() is self.thread or self.ended.is_set():
            return fn()
        out: list[T] = []
        done = threading.Event()

        def run() -> None:
            try:
                out.append(fn())
            finally:
                done.set()

        try:
            self.loop.call_soon_threadsafe(run)
        except RuntimeError:  # it is closed
            raise TimeoutError from None
        if not done.wait(timeout) or not out:
            raise TimeoutError
        return out[0]

    def stop(self, timeout: float) -> bool:
        """Deliver what there is and end the thread; False when that took longer than timeout and a bit."""
        self._deadline = time.monotonic() + timeout
        with contextlib.suppress(RuntimeError):
            self.loop.call_soon_threadsafe(self._ring)
        return self.ended.wait(timeout + PATIENCE)

    def give_up(self) -> Tally:
        """It does not come back from somebody's call: count, in its tally's place, what is in the queue. From now on it moves no event, and
        what it counts is nobody's; its sinks it stops when it does come back."""
        logger.error(
            "the worker of a pipeline does not come back: a processor, a route or a sink blocks it"
        )
        in_time = self.door.acquire(timeout=PATIENCE)  # a sink may hang in offer()
        self.gone = True
        if in_time:
            self.door.release()
        tally = self.tally.copy()
        for outlet in self.outlets:
            if outlet.started:
                self._left.append(outlet)
                outlet.started = False
            outlet.end()
        while batch := self.queue.drain(SLICE):
            for item in batch:  # what did not see the processors must not go to disk
                disk = self.backlog if item.__class__ is Ready else None
                if disk is None or not disk.append(_line(item.event)):
                    self.lose((item,), tally)
        counters = self.queue.counters()
        tally.drained = counters["accepted"] - counters["evicted"]
        return tally

    def flush(self, timeout: float | None) -> bool:
        """Wait until everything emitted so far is acknowledged, on disk, or counted as lost."""
        until = None if timeout is None else time.monotonic() + timeout
        done = threading.Event()
        out: list[bool] = []

        async def run() -> None:
            try:
                out.append(await self._flush(until))
            finally:
                done.set()

        coroutine = run()
        try:
            asyncio.run_coroutine_threadsafe(coroutine, self.loop)
        except RuntimeError:
            coroutine.close()
            return False
        if timeout is not None:
            done.wait(timeout + 0.5)
        else:
            while not done.wait(1.0) and not self.ended.is_set() and not self.gone:
                pass
        return bool(out and out[0])

    # ---- the thread ----

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_until_complete(self._main())
        except BaseException:
            logger.exception("the worker of a pipeline ended")
        finally:
            self._close_loop()
            self.ended.set()

    def _close_loop(self) -> None:
        with contextlib.suppress(Exception):
            tasks = asyncio.all_tasks(self.loop)
            for task in tasks:
                task.cancel()
            if tasks:
                self.loop.run_until_complete(asyncio.wait(tasks, timeout=1.0))
            self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        with contextlib.suppress(Exception):
            self.loop.close()

    def _ring(self) -> None:
        if self._bell is not None and not self._bell.done():
            self._bell.set_result(None)

    async def _rest(self, seconds: float | None) -> None:
        """Sleep; the queue's descriptor, when it is armed, flush() and stop() end that early."""
        self._bell = self.loop.create_future()
        timer = None if seconds is None else self.loop.call_later(seconds, self._ring)
        try:
            await self._bell
        finally:
            self._bell = None
            if timer is not None:
                timer.cancel()

    async def _main(self) -> None:
        self.loop.add_reader(self.queue.fileno(), self._on_bell)
        self._starting = [self.loop.create_task(self._start_sink(o)) for o in self.outlets]
        try:
            await self._carry_on()
            await self._finish()
        finally:
            for task in self._starting:
                task.cancel()
            self.loop.remove_reader(self.queue.fileno())

    def _on_bell(self) -> None:
        self.queue.disarm()
        self._ring()

    async def _carry_on(self) -> None:
        held, idle = 0, True
        while self._deadline is None:
            size = self._slice
            n = self.step()
            if n < 0:
                await self._held_up(held)
                held += 1
                continue
            held = 0
            if n >= size:
                idle = False
                await asyncio.sleep(0)
            elif n > 0 or not idle:  # once more after the last event
                idle = n == 0
                self.queue.doze()
                await self._rest(LINGER)
            elif any(o.carry for o in self.outlets):
                await self._rest(HELD_UP[1])
            elif self.queue.arm():
                await self._rest(None)

    async def _held_up(self, times: int) -> None:
        """No sink has room: look again soon, and less often the longer it takes."""
        if times < 8:
            await asyncio.sleep(0)
        else:
            await self._rest(min(HELD_UP[0] * 2.0 ** min(times - 8, 16), HELD_UP[1]))

    def step(self) -> int:
        """Move one slice. The number of events, or -1: no sink has room."""
        began, size = time.monotonic(), self._slice
        stuck = 0
        moved = False
        with self.door:
            if self.gone:
                return 0
            for outlet in self.outlets:
                if before := len(outlet.carry):
                    stuck += not outlet.relieve()
                    moved = moved or len(outlet.carry) < before
        if stuck and stuck == len(self.outlets):
            return size if moved else -1
        self.busy = True
        batch: list[Any]
        batch = self.queue.drain_lines(size, *LINES) if self._lines_only else self.queue.drain(size)
        n = len(batch)
        if n < size:
            self._emptied = time.monotonic()
        if n:
            self.tally.drained += n
            self._deliver(batch)
        self.busy = False
        if not n and self.backlog is not None and not stuck and len(self.backlog):
            return self._replay(self.backlog, size)
        self._pace(n, time.monotonic() - began)
        return n

    def _pace(self, n: int, seconds: float) -> None:
        """The slower events are, the fewer are a slice: the sinks want their turn on the loop, and stop() has a deadline."""
        if seconds > AWAY:
            self._slice = max(int(self._slice * max(AWAY / seconds, 0.125)), 1)
        elif n == self._slice < SLICE and seconds < AWAY / 4:
            self._slice = min(2 * n, SLICE)

    def _replay(self, backlog: Overflowing, size: int) -> int:
        try:
            mark, batch = backlog.take(size)
            if batch:
                self._deliver(batch)
                if not self.gone:
                    backlog.done(mark)
        except Exception:  # noqa: BLE001  (a disk that fails; the queue goes on)
            complain("the overflow spool cannot be read")
            return 0
        return len(batch)

    def queue_age(self) -> float:
        """Seconds that the oldest event in the queue has been there, at most."""
        return time.monotonic() - self._emptied if len(self.queue) else 0.0

    def _is_late(self) -> bool:
        """stop() waits no longer for what is still to be done with events."""
        if self._deadline is None:
            return False
        return time.monotonic() >= self._deadline + (LAST if self._spools else 0.0)

    def _deliver(self, batch: list[Any]) -> None:
        if self._deadline is not None and self._is_late():
            self.lose(batch, self.tally)
            return
        if self._plain:
            self._to_all(batch, self.outlets)
            return
        fresh: list[Any] = []
        ready: list[Any] = []
        for i, item in enumerate(batch):
            if item.__class__ is Ready:
                ready.append(item.event)
            elif not self.processors:
                fresh.append(item)
            elif (event := self.process(item, self.tally)) is not None:
                fresh.append(event)
            if self._deadline is not None and self._is_late():
                self.lose(batch[i + 1 :], self.tally)
                break
        if ready:
            self._route(ready, [o for o in self.outlets if not o.durable])
        if fresh:
            self._route(fresh, self.outlets)

    def lose(self, items: Sequence[Any], tally: Tally) -> None:
        """Count events that there was no time for, once for each sink they would have gone to; for one, where only routes know that."""
        others = sum(not o.durable for o in self.outlets)
        for item in items:
            n = others if item.__class__ is Ready else len(self.outlets)
            if not self._all_get_all:
                n = 1
            tally.extra += n - 1
            tally.drop("deadline", n)

    def process(self, item: Any, tally: Tally) -> dict[str, Any] | None:
        """An event as the processors leave it; None, and counted, when that is not at all. Also on threads that emit to disk."""
        try:
            event: dict[str, Any] | None = decode(item) if item.__class__ is bytes else item
            for processor in self.processors:
                event = processor(event)  # type: ignore[arg-type]
                if event is None:
                    tally.filtered += 1
                    return None
        except Exception:  # noqa: BLE001  (unprocessed it must not go on: redaction may have failed)
            tally.drop("processor_error")
            complain("a processor raised; the event is dropped")
            return None
        return event

    def _hand_out(self, portions: list[tuple[Outlet, list[Any]]], counts: Tally) -> None:
        """Each outlet its events; a list that several have is converted once."""
        lines: dict[int, list[bytes]] = {}
        dicts: dict[int, list[dict[str, Any]]] = {}
        for outlet, events in portions:
            key = id(events)
            if outlet.json:
                if key not in lines:
                    lines[key] = encode_all(events)
            elif key not in dicts:
                dicts[key] = [decode(e) if e.__class__ is bytes else e for e in events]
        with self.door:
            if self.gone:
                return
            self.tally.add(counts)
            for outlet, events in portions:
                outlet.push((lines if outlet.json else dicts)[id(events)], events)

    def _to_all(self, events: list[Any], outlets: Sequence[Outlet]) -> None:
        counts = Tally(extra=len(events) * (len(outlets) - 1))
        self._hand_out([(outlet, events) for outlet in outlets], counts)

    def _route(self, events: list[Any], outlets: Sequence[Outlet]) -> None:
        """Each outlet those events that it is to have; an event that nobody has is filtered."""
        if self._all_get_all and outlets:
            self._to_all(events, outlets)
            return
        chosen: list[list[Any]] = [[] for _ in outlets]
        counts = Tally()
        for i, event in enumerate(events):
            if self._deadline is not None and self._is_late():
                self.lose(events[i:], counts)
                break
            shown = None
            places = 0
            for outlet, portion in zip(outlets, chosen, strict=True):
                if outlet.matches is not None:
                    if shown is None:
                        shown = with_level(event)
                    wanted = self.wants(outlet, shown)
                    if wanted is None:
                        counts.drop("route_error")
                        places += 1
                    if not wanted:
                        continue
                portion.append(event)
                places += 1
            if places:
                counts.extra += places - 1
            else:
                counts.filtered += 1
        self._hand_out(list(zip(outlets, chosen, strict=True)), counts)

    def wants(self, outlet: Outlet, event: dict[str, Any]) -> bool | None:
        """Whether a route lets an event through. None: it raised, and the delivery is lost."""
        try:
            return outlet.matches is None or bool(outlet.matches(event))
        except Exception:  # noqa: BLE001
            complain(f"the route to sink {outlet.sink.name} raised")
            return None

    # ---- sinks ----

    async def _start_sink(self, outlet: Outlet) -> None:
        wait = RESTART[0]
        while not all(end.is_set() for end in self._before):
            await asyncio.sleep(HELD_UP[1])
        while not outlet.started:
            try:
                await outlet.sink.start()
                outlet.started = True
            except Exception:  # noqa: BLE001
                complain(f"sink {outlet.sink.name} did not start; trying again in {wait:g} s")
                if getattr(outlet.sink, "_sender", None) is not None:
                    await self._stop_sink(outlet, 0.0, half=True)  # it has no events yet
                await asyncio.sleep(wait)
                wait = min(wait * 2, RESTART[1])
        self._ring()

    async def _flush(self, until: float | None) -> bool:
        goal = self.queue.counters()["accepted"]
        while (
            self.tally.drained + self.queue.counters()["evicted"] < goal
            or (self.backlog is not None and len(self.backlog))
            or any(o.carry for o in self.outlets)
        ):
            self._ring()
            if until is not None and time.monotonic() >= until:
                return False
            await asyncio.sleep(0.001)
        left = None if until is None else max(until - time.monotonic(), 0.0)
        if starting := [task for task in self._starting if not task.done()]:
            await asyncio.wait(starting, timeout=left)
            left = None if until is None else max(until - time.monotonic(), 0.0)
        results = await asyncio.gather(
            *(o.sink.flush(left) for o in self.outlets if o.started), return_exceptions=True
        )
        return all(r is True for r in results)

    async def _finish(self) -> None:
        """stop() was called: the rest to the sinks, and the sinks to their ends, all before the deadline."""
        deadline = self._deadline or 0.0
        while True:
            n = self.step()
            left = deadline - time.monotonic()
            if n == 0 and not len(self.queue) and not any(o.carry for o in self.outlets):
                break
            if left <= 0:
                break
            await (self._rest(min(0.005, left)) if n <= 0 else asyncio.sleep(0))
        if any(o.durable and not o.started for o in self.outlets):  # what is on disk can still go
            left = max(deadline - time.monotonic(), 0.0)
            await asyncio.wait(self._starting, timeout=left)
        for task in self._starting:
            task.cancel()
        self.drop_rest()
        await asyncio.gather(*(self._stop_sink(o, deadline) for o in self.outlets))
        self.drop_rest()

    def drop_rest(self) -> None:
        """What is still in the queue goes to disk where there is one and time for it, and is lost otherwise."""
        with self.door:
            if self.gone:
                return
            for outlet in self.outlets:
                outlet.end()
        self.busy = True
        while not self.gone:
            began, late = time.monotonic(), self._is_late()
            batch = self.queue.drain(SLICE if late else self._slice)
            if not batch:
                break
            self.tally.drained += len(batch)
            if self.backlog is None or late:
                self._deliver(batch)
            else:
                self._keep(batch, self.backlog)
            self._pace(len(batch), time.monotonic() - began)
        self.busy = False

    def _keep(self, batch: list[Any], backlog: Overflowing) -> None:
        for i, item in enumerate(batch):
            if self._is_late():
                self.lose(batch[i:], self.tally)
                return
            ready = item.__class__ is Ready
            event = item.event if ready else item
            if ready or (event := self.process(event, self.tally)) is not None:
                line = _line(event)
                with self.door:
                    if self.gone:
                        return
                    if not backlog.append(line):
                        self.tally.drop("deadline")

    async def _stop_sink(self, outlet: Outlet, deadline: float, *, half: bool = False) -> None:
        if not (outlet.started or outlet.spools or half or outlet in self._left):
            return
        sink = outlet.sink
        left = max(deadline - time.monotonic(), 0.0)
        try:
            if hasattr(sink, "drain_timeout"):  # it sends the rest by itself, or spools it
                configured = sink.drain_timeout
                sink.drain_timeout = left
                try:
                    await asyncio.wait_for(sink.stop(), left + 1.0)
                finally:
                    sink.drain_timeout = configured
            else:
                await sink.flush(left)
                outlet.count("deadline", sink.drop_oldest(sink.pending))
                left = max(deadline - time.monotonic(), 0.0)
                await asyncio.wait_for(sink.stop(), left + 1.0)
        except (Exception, asyncio.CancelledError):  # noqa: BLE001
            complain(f"sink {sink.name} did not stop cleanly")
        outlet.started = False


def _line(event: Any) -> bytes:
    return event if event.__class__ is bytes else encode(event)


def with_level(event: Any) -> dict[str, Any]:
    """An event as routes want to see it: a dict that has a level."""
    if event.__class__ is bytes:
        event = decode(event)
    if "level" not in event:
        return {**event, "level": "info"}
    shown: dict[str, Any] = event
    return shown
