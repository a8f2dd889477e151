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
from ._encode import LINES, decode, encode_all
from ._outlet import Outlet
from ._sink import DrainResult

logger = logging.getLogger("pymongoose.sinks")

T = TypeVar("T")
Processor = Callable[[dict[str, Any]], dict[str, Any] | None]

SLICE = 512  # events between two looks at everything else on the loop
LINGER = 0.01  # seconds until the next look at the queue, while events come
HELD_UP = (0.002, 0.05)  # seconds between looks at sinks without room, shortest and longest
RESTART = (0.5, 30.0)  # seconds until a sink that did not start is started again


class Ready:
    """An event that went through the processors already."""

    __slots__ = ("event",)

    def __init__(self, event: dict[str, Any]) -> None:
        self.event = event


class Backlog(Protocol):
    """Events on disk that wait for room."""

    def take(self, n: int) -> list[Ready]: ...


class Worker:
    """Counters and the thread of one run, from start() to stop()."""

    def __init__(
        self,
        queue: EventQueue,
        outlets: Sequence[Outlet],
        processors: Sequence[Processor],
        backlog: Backlog | None,
        name: str,
    ) -> None:
        self.queue = queue
        self.outlets = outlets
        self.processors = processors
        self.backlog = backlog
        self.drained = 0  # taken out of the queue
        self.filtered = 0
        self.extra = 0  # deliveries beyond one for each event
        self.dropped: dict[str, int] = {}  # before any sink
        self.loop = asyncio.new_event_loop()
        self.ended = threading.Event()
        self._plain = not processors and all(o.matches is None for o in outlets)
        # then no event need be seen as a dict
        self._lines_only = self._plain and backlog is None and all(o.json for o in outlets)
        self._bell: asyncio.Future[None] | None = None
        self._starting: list[asyncio.Task[None]] = []
        self._deadline: float | None = None  # of stop(), monotonic
        self._complained: dict[str, float] = {}
        self.thread = threading.Thread(target=self._run, name=name, daemon=True)

    # ---- any thread ----

    def start(self) -> None:
        self.thread.start()

    def call(self, fn: Callable[[], T], timeout: float) -> T:
        """Run a function on the loop and wait for what it returns. TimeoutError: the loop is busy, or gone."""
        if threading.current_thread() is self.thread:
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
        return self.ended.wait(timeout + 2.0)

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
            while not done.wait(1.0) and not self.ended.is_set():
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
        held, idle = HELD_UP[0], True
        while self._deadline is None:
            n = self.step()
            if n < 0:
                await self._rest(held)
                held = min(held * 2, HELD_UP[1])
                continue
            held = HELD_UP[0]
            if n >= SLICE:
                idle = False
                await asyncio.sleep(0)
            elif n > 0 or not idle:  # once more after the last event
                idle = n == 0
                await self._rest(LINGER)
            elif any(o.carry for o in self.outlets):
                await self._rest(HELD_UP[1])
            elif self.queue.arm():
                await self._rest(None)

    def step(self) -> int:
        """Move one slice. The number of events, or -1: no sink has room."""
        stuck = 0
        for outlet in self.outlets:
            if outlet.carry and not outlet.relieve():
                stuck += 1
        if stuck and stuck == len(self.outlets):
            return -1
        batch: list[Any]
        if self._lines_only:
            batch = self.queue.drain_lines(SLICE, *LINES)
        else:
            batch = self.queue.drain(SLICE)
        n = len(batch)
        self.drained += n
        if not n and self.backlog is not None and not stuck:
            batch = self.backlog.take(SLICE)
        if batch:
            self._deliver(batch)
        return len(batch)

    def _deliver(self, batch: list[Any]) -> None:
        if not self._plain or self.backlog is not None:
            self._route(self._process(batch))
            return
        self.extra += len(batch) * (len(self.outlets) - 1)
        if not self.outlets:
            self.filtered += len(batch)
            self.extra += len(batch)
        self._hand_out([(outlet, batch) for outlet in self.outlets])

    def _hand_out(self, portions: list[tuple[Outlet, list[Any]]]) -> None:
        """Each outlet its events; a list that several have is converted once."""
        lines: dict[int, list[bytes]] = {}
        dicts: dict[int, list[dict[str, Any]]] = {}
        for outlet, events in portions:
            key = id(events)
            try:
                if outlet.json:
                    if key not in lines:
                        lines[key] = encode_all(events)
                    outlet.push(lines[key], events)
                else:
                    if key not in dicts:
                        dicts[key] = [decode(e) if e.__class__ is bytes else e for e in events]
                    outlet.push(dicts[key], events)
            except Exception:  # noqa: BLE001  (offer() may not raise, but somebody's may)
                self.complain(f"sink {outlet.sink.name} could not be offered events")

    def _process(self, batch: list[Any]) -> list[Any]:
        if not self.processors:
            return [e.event if e.__class__ is Ready else e for e in batch]
        out: list[Any] = []
        for item in batch:
            if item.__class__ is Ready:
                out.append(item.event)
                continue
            try:
                event = decode(item) if item.__class__ is bytes else item
                for processor in self.processors:
                    event = processor(event)
                    if event is None:
                        break
            except Exception:  # noqa: BLE001  (unprocessed it must not go on: redaction may have failed)
                self.dropped["processor_error"] = self.dropped.get("processor_error", 0) + 1
                self.complain("a processor raised; the event is dropped")
                continue
            if event is None:
                self.filtered += 1
            else:
                out.append(event)
        return out

    def _route(self, events: list[Any]) -> None:
        if self._plain or all(o.matches is None for o in self.outlets):
            self.extra += len(events) * (len(self.outlets) - 1)
            self._hand_out([(outlet, events) for outlet in self.outlets])
            return
        chosen: dict[int, list[Any]] = {i: [] for i in range(len(self.outlets))}
        for event in events:
            shown = None
            places = 0
            for i, outlet in enumerate(self.outlets):
                if outlet.matches is not None:
                    try:
                        if shown is None:
                            shown = _with_level(event)
                        if not outlet.matches(shown):
                            continue
                    except Exception:  # noqa: BLE001
                        outlet.copies += 1
                        outlet.count("route_error", 1)
                        places += 1
                        self.complain(f"the route to sink {outlet.sink.name} raised")
                        continue
                chosen[i].append(event)
                places += 1
            if places:
                self.extra += places - 1
            else:
                self.filtered += 1
        self._hand_out([(outlet, chosen[i]) for i, outlet in enumerate(self.outlets)])

    def complain(self, what: str) -> None:
        """Log an exception that is being handled, at most once a second for each text."""
        now = time.monotonic()
        if now - self._complained.get(what, -10.0) >= 1.0:
            self._complained[what] = now
            logger.exception(what)

    # ---- sinks ----

    async def _start_sink(self, outlet: Outlet) -> None:
        wait = RESTART[0]
        while not outlet.started:
            try:
                await outlet.sink.start()
                outlet.started = True
            except Exception:  # noqa: BLE001
                self.complain(f"sink {outlet.sink.name} did not start; trying again in {wait:g} s")
                await asyncio.sleep(wait)
                wait = min(wait * 2, RESTART[1])
        self._ring()

    async def _flush(self, until: float | None) -> bool:
        counters = self.queue.counters()
        goal = counters["accepted"]
        while self.drained + self.queue.counters()["evicted"] < goal or any(
            o.carry for o in self.outlets
        ):
            self._ring()
            if until is not None and time.monotonic() >= until:
                return False
            await asyncio.sleep(0.001)
        left = None if until is None else max(until - time.monotonic(), 0.0)
        results = await asyncio.gather(
            *(o.sink.flush(left) for o in self.outlets if o.started), return_exceptions=True
        )
        return all(r is True for r in results)

    async def _finish(self) -> None:
        """stop() was called: the rest to the sinks, and the sinks to their ends, all before the deadline."""
        deadline = self._deadline or 0.0
        while time.monotonic() < deadline:
            n = self.step()
            if n == 0 and len(self.queue) == 0 and not any(o.carry for o in self.outlets):
                break
            await (self._rest(0.005) if n < 0 else asyncio.sleep(0))
        for task in self._starting:
            task.cancel()
        self._drop_rest()
        await asyncio.gather(*(self._stop_sink(o, deadline) for o in self.outlets))
        self._drop_rest()

    def _drop_rest(self) -> None:
        while batch := self.queue.drain(SLICE):
            self.drained += len(batch)
            self.dropped["deadline"] = self.dropped.get("deadline", 0) + len(batch)
        for outlet in self.outlets:
            outlet.give_up("deadline")

    async def _stop_sink(self, outlet: Outlet, deadline: float) -> None:
        if not outlet.started:
            return
        sink = outlet.sink
        try:
            await sink.flush(max(deadline - time.monotonic(), 0.0))
            outlet.count("deadline", sink.drop_oldest(sink.pending))
            await asyncio.wait_for(sink.stop(), max(deadline - time.monotonic(), 0.0) + 1.0)
        except Exception:  # noqa: BLE001
            self.complain(f"sink {sink.name} did not stop cleanly")
        outlet.started = False

    # ---- numbers ----

    def result(self) -> DrainResult:
        sent = spooled = 0
        dropped = sum(self.dropped.values()) + self.queue.counters()["evicted"]
        for outlet in self.outlets:
            stats = outlet.sink.stats()
            sent += stats.sent
            spooled += stats.spooled
            dropped += sum(stats.dropped.values()) + sum(outlet.dropped.values())
        return DrainResult(sent, spooled, dropped)


def _with_level(event: Any) -> dict[str, Any]:
    if event.__class__ is bytes:
        event = decode(event)
    if "level" not in event:
        return {**event, "level": "info"}
    shown: dict[str, Any] = event
    return shown
