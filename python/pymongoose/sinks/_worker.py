"""The one thread of a pipeline: an asyncio loop that carries events from the queue to the sinks.

    drain a slice ──> processors ──> routes ──> encode once ──> offer to each sink (never waits for one)

The loop sleeps on the queue's descriptor while there is nothing to do. While events come it looks every 50 milliseconds instead, so that
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

from .._core import EventQueue, Lines
from ._bell import Bell
from ._courier import Courier, Processor, Ready, complain, line_of
from ._encode import LINES
from ._outlet import Outlet
from ._tally import Tally

logger = logging.getLogger("pymongoose.sinks")

T = TypeVar("T")

SLICE = 512  # events between two looks at everything else on the loop, at most
LINES_RATE = 64  # so many times as many where only lines are wanted, of what is JSON already
LINES_BYTES = 4 << 20  # of such a slice
FIRST = 32  # the same at the beginning, while nobody knows how long they take
AWAY = 0.02  # seconds that a slice is to take at most
LOST = 8192  # events that are counted at a time when there is no time for them
LAST = 1.0  # seconds behind stop()'s deadline in which what is left is still put on disk
PATIENCE = 2.0  # seconds behind it after which a worker that is stuck is given up
LINGER = (
    0.05,
    0.1,
)  # seconds until the next look at the queue, while events come; the longer where no sink is in a hurry
HELD_UP = (0.001, 0.05)  # seconds between looks at sinks without room, shortest and longest
RESTART = (0.5, 30.0)  # seconds until a sink that did not start is started again


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
        self.backlog = backlog
        for outlet in outlets:
            outlet.ending = False
        self.loop = asyncio.new_event_loop()
        self.ended = threading.Event()
        self.failed = False  # an exception ended it
        self._before = before  # the ends of those given up: until then the sinks are theirs
        # With a spool an event may have to be kept whatever the outlets are.
        self.courier = Courier(outlets, processors, tally, as_they_are=backlog is None)
        self._left: list[Outlet] = []  # sinks that this one, given up, still has to stop
        self._slice = FIRST
        self._more = False  # the last step left a slice behind
        self._spools = backlog is not None or any(o.spools for o in outlets)
        patience = min(
            (getattr(o.sink, "batch_timeout", None) or 0.0 for o in outlets), default=0.0
        )
        self._linger = max(LINGER[0], min(LINGER[1], patience / 2))
        self._bell = Bell()  # the queue's descriptor, when it is armed, flush() and stop() ring it
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
        deadline = time.monotonic() + timeout
        self.courier.late_at = deadline + (LAST if self._spools else 0.0)
        self._deadline = deadline
        with contextlib.suppress(RuntimeError):
            self.loop.call_soon_threadsafe(self._bell.ring)
        return self.ended.wait(timeout + PATIENCE)

    def give_up(self) -> Tally:
        """It does not come back from somebody's call, or has failed: count, in its tally's place, what is in the queue and in its hands. From
        now on it moves no event, and what it counts is nobody's; its sinks it stops when it does come back."""
        if not self.failed:
            logger.error(
                "the worker of a pipeline does not come back: a processor, a route or a sink blocks it"
            )
        courier = self.courier
        in_time = courier.door.acquire(timeout=1.0)  # a sink may hang in offer()
        courier.gone = True
        if in_time:
            courier.door.release()
        tally = courier.tally.copy()
        for outlet in self.outlets:
            if outlet.started:
                self._left.append(outlet)
                outlet.started = False
            outlet.end()
        while batch := self.queue.drain(LOST):
            tally.drained += len(batch)
            if self.backlog is None:
                courier.lose(batch, tally)
                continue
            for item in batch:  # what did not see the processors must not go to disk
                disk = self.backlog if item.__class__ is Ready else None
                if disk is None or not disk.append(line_of(item.event)):
                    courier.lose((item,), tally)
        counters = self.queue.counters()
        in_hand = counters["accepted"] - counters["evicted"] - tally.drained
        courier.lose((None,) * in_hand, tally)
        tally.drained += max(in_hand, 0)
        return tally

    def flush(self, timeout: float | None) -> bool:
        """Wait until everything emitted so far is acknowledged, on disk, or counted as lost."""
        until = None if timeout is None else time.monotonic() + timeout
        goal = self.queue.counters()["accepted"]
        done = threading.Event()
        out: list[bool] = []

        async def run() -> None:
            try:
                out.append(await self._flush(goal, until))
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
            while not done.wait(1.0) and not self.ended.is_set() and not self.courier.gone:
                pass
        return bool(out and out[0])

    # ---- the thread ----

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_until_complete(self._main())
        except BaseException:
            self.failed = True
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
        self._bell.ring()

    async def _carry_on(self) -> None:
        held, idle = 0, True
        while self._deadline is None:
            n = self.step()
            if n < 0:
                await self._held_up(held)
                held += 1
                continue
            held = 0
            if self._more:
                idle = False
                await asyncio.sleep(0)
            elif n > 0 or not idle:  # once more after the last event
                idle = n == 0
                self.queue.doze()
                await self._bell.rest(self._linger)
            elif any(o.carry for o in self.outlets):
                await self._bell.rest(HELD_UP[1])
            elif self.queue.arm():
                await self._bell.rest(None)

    async def _held_up(self, times: int) -> None:
        """No sink has room: look again soon, and less often the longer it takes."""
        if times < 8:
            await asyncio.sleep(0)
        else:
            await self._bell.rest(min(HELD_UP[0] * 2.0 ** min(times - 8, 16), HELD_UP[1]))

    def step(self) -> int:
        """Move one slice. The number of events, or -1: no sink has room."""
        began, size = time.monotonic(), self._slice
        stuck, self._more = self.courier.relieve()
        if stuck:
            return size if self._more else -1
        batch: Sequence[Any]
        if self.courier.gone:
            batch = []
        elif self.courier.lines_only:
            batch = self.queue.drain_lines(size * LINES_RATE, LINES_BYTES, *LINES)
        else:
            batch = self.queue.drain(size)
        n = len(batch)
        if isinstance(batch, Lines):
            # The last ones may be many, and those that came meanwhile may wait.
            self._more = len(self.queue) >= size or batch.nbytes >= LINES_BYTES
        else:
            self._more = n >= size
        if not self._more:
            self._emptied = time.monotonic()
        if n:
            self.courier.deliver(batch)
        elif (
            self.backlog is not None
            and len(self.backlog)
            and not any(o.carry for o in self.outlets)
        ):
            return self._replay(self.backlog, size)
        self._pace(n, time.monotonic() - began)
        return n

    def _pace(self, n: int, seconds: float) -> None:
        """The slower events are, the fewer are a slice: the sinks want their turn on the loop, and stop() has a deadline."""
        if seconds > AWAY:
            self._slice = max(int(self._slice * max(AWAY / seconds, 0.125)), 1)
        elif n >= self._slice and seconds < AWAY / 4:
            self._slice = min(2 * self._slice, SLICE)

    def _replay(self, backlog: Overflowing, size: int) -> int:
        if self._deadline is not None and time.monotonic() >= self._deadline:
            return 0  # the sinks have no time for it, and on disk it is safe
        try:
            mark, batch = backlog.take(size)
            if batch:
                self.courier.deliver(batch, drained=False)
                if not self.courier.gone:
                    backlog.done(mark)
                self._more = len(batch) >= size
        except Exception:  # noqa: BLE001  (a disk that fails; the queue goes on)
            complain("the overflow spool cannot be read")
            return 0
        return len(batch)

    def queue_age(self) -> float:
        """Seconds that the oldest event in the queue has been there, at most."""
        return time.monotonic() - self._emptied if len(self.queue) else 0.0

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
        self._bell.ring()

    async def _flush(self, goal: int, until: float | None) -> bool:
        while (
            self.courier.tally.drained + self.queue.counters()["evicted"] < goal
            or (self.backlog is not None and len(self.backlog))
            or any(o.carry for o in self.outlets)
        ):
            self._bell.ring()
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
            await (self._bell.rest(min(0.005, left)) if n <= 0 else asyncio.sleep(0))
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
        courier, backlog = self.courier, self.backlog
        with courier.door:
            if courier.gone:
                return
            for outlet in self.outlets:
                outlet.end()
        while not courier.gone:
            began, late = time.monotonic(), courier.is_late()
            batch = self.queue.drain(LOST if late else self._slice)
            if not batch:
                break
            if backlog is None:
                courier.deliver(batch)
            else:
                courier.keep(batch, backlog.append)
            self._pace(len(batch), time.monotonic() - began)

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
