"""One batch at a time on its way to the receiver: repeated, held back by the breaker, refused, given up, and counted."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Coroutine
from typing import Any

from .._core import Lines
from .._errors import TimedOut
from ._dead_letter import DeadLetter
from ._outcome import Partial, Rejected, RetryLater
from ._retry import Circuit, Retry
from ._sink import BUCKETS, logger
from ._spool import SpoolBatch

_LATE = -1.0  # instead of seconds to wait: stop()'s deadline has come
_GRACE = 1.0  # seconds that a send has to end after it was cancelled
_HURRY = 0.2  # seconds between sends at most, once stop() was called
_QUIET = 1.0  # seconds between two warnings about the same


class Batch:
    """Events on their way. What is left of `items` is neither acknowledged nor given up."""

    __slots__ = ("id", "items", "lost", "sends", "since", "size", "spooled")

    def __init__(
        self, items: Any, batch_id: str, since: float, spooled: SpoolBatch | None = None
    ) -> None:
        self.items = items  # a list, or Lines
        self.size = len(items)
        self.id = batch_id
        self.since = since  # when the oldest of them came
        self.spooled = spooled
        self.sends = 0
        self.lost = False  # some of it was acknowledged or buried: what is left is another batch

    def keep(self, places: list[int]) -> None:
        """Only those are left. They get an id of their own: a receiver may remember the old one with what it has taken."""
        if len(places) == len(self.items):
            return
        self.items = [self.items[i] for i in places]
        if self.items:
            stem, _, n = self.id.partition(".")
            self.id = f"{stem}.{int(n or 0) + 1}"
        self.lost = True


class Delivery:
    """Sends the batches of one sink.

    Args:
        name: of the sink, for logs.
        send: sends items under an id, once; raises what send_batch() may raise.
        count: (reason, how many) for events that are lost.
        on_open: called when the breaker keeps batches back.
    """

    def __init__(
        self,
        name: str,
        send: Callable[[Any, str], Coroutine[Any, Any, None]],
        count: Callable[[str, int], None],
        on_open: Callable[[], None],
        *,
        retry: Retry | None,
        circuit: Circuit | None,
        letters: DeadLetter | None,
        timeout: float | None,
    ) -> None:
        self.name, self._send_once, self._count, self._on_open = name, send, count, on_open
        self.retry, self.circuit, self.timeout = retry, circuit, timeout
        self._letters = letters
        self.sent = self.retried = self.batches = 0
        self.seconds = self.longest = 0.0
        self.buckets = [0] * len(BUCKETS)
        self.deadline: float | None = None  # of stop()
        self._hurry: asyncio.Future[None] | None = None  # done when stop() was called
        self._warned: dict[str, float] = {}

    def begin(self) -> None:
        """On the loop that run() will be called on."""
        self._hurry = asyncio.get_running_loop().create_future()
        self.deadline = None

    def halt(self, deadline: float) -> None:
        """From now on nothing waits longer than it must, and nothing goes on after the deadline."""
        self.deadline = deadline
        if self._hurry is not None and not self._hurry.done():
            self._hurry.set_result(None)

    @property
    def late(self) -> bool:
        return self.deadline is not None and time.monotonic() >= self.deadline

    async def run(self, batch: Batch) -> bool:
        """Send until nothing of it is left; False: stop()'s time was over first."""
        failures, began = 0, time.monotonic()
        while batch.items:
            if self.deadline is None and self.circuit is not None:
                wait = self.circuit.wait()
                if wait > 0:
                    self._on_open()
                    await self.pause(wait)
                    continue
            if self.late:
                return False
            after = await self._send(batch)
            if after == _LATE:
                return False
            if after is None or not batch.items:
                break
            failures += 1
            if self.retry is None or self.retry.is_over(failures, time.monotonic() - began):
                self.bury(batch, dict.fromkeys(range(len(batch.items)), "gave_up"))
                break
            if after > 0:
                if not await self._pause_exactly(after):
                    return False
            else:
                await self.pause(self.retry.delay(failures))
        self._measure(time.monotonic() - began)
        return True

    async def _send(self, batch: Batch) -> float | None:
        """Once. None: nothing is left to do; a number: try again, not before so many seconds (0: as retry says); _LATE: cut off by stop()."""
        self.retried += batch.sends > 0
        batch.sends += 1
        items = batch.items if isinstance(batch.items, Lines) else list(batch.items)
        task = asyncio.get_running_loop().create_task(self._send_once(items, batch.id))
        try:
            in_time = await self._finish(task)
        except BaseException:
            task.cancel()  # the loop ends
            raise
        if not task.done() or (task.cancelled() and self.late):
            return _LATE
        try:
            task.result()
        except Rejected as e:
            self._answered()
            self.bury(batch, dict.fromkeys(range(len(batch.items)), e.reason or "rejected"))
            return None
        except Partial as e:
            return self._partly(batch, e)
        except asyncio.CancelledError:  # by itself, or because it took too long
            error = TimedOut("the send was cancelled")
            if not in_time:
                error = TimedOut(f"a send took longer than {self.timeout:g} s")
            return self._failed(batch, error, 0.0)
        except RetryLater as e:
            return self._failed(batch, e, max(0.0, e.after or 0.0))
        except Exception as e:  # noqa: BLE001  (whatever it is: try again)
            return self._failed(batch, e, 0.0)
        self._answered()
        self.sent += len(batch.items)
        batch.items = []
        return None

    async def _finish(self, task: asyncio.Task[None]) -> bool:
        """Until the send ends, if need be by force: after the timeout, or at stop()'s deadline. False: it had to be cancelled."""
        until = None if self.timeout is None else time.monotonic() + self.timeout
        await self._wait(task, until)
        if task.done():
            return True
        task.cancel()
        if (
            not self.late
        ):  # one that does not want to end is waited for: there is one send at a time
            await self._wait(task, None)
        if not task.done():
            task.cancel()
            await asyncio.wait({task}, timeout=_GRACE)
        return False

    async def _wait(self, task: asyncio.Task[None], until: float | None) -> None:
        assert self._hurry is not None
        while not task.done():
            ends = [t for t in (until, self.deadline) if t is not None]
            left = min(ends) - time.monotonic() if ends else None
            if left is not None and left <= 0:
                return
            both = {task} if self._hurry.done() else {task, self._hurry}
            await asyncio.wait(both, timeout=left, return_when=asyncio.FIRST_COMPLETED)

    def _answered(self) -> None:
        if self.circuit is not None:
            self.circuit.answered()

    def _failed(self, batch: Batch, error: BaseException, after: float) -> float:
        if self.circuit is not None:
            before = self.circuit.state
            self.circuit.failed()
            if before == "closed" and self.circuit.state == "open":
                self.warn("the breaker opens", error)
        if batch.sends == 1:
            self.warn("batches are sent again", error)
        return after

    def warn(self, what: str, error: BaseException | str) -> None:
        """To the log, the same thing once a second at most."""
        now = time.monotonic()
        if now - self._warned.get(what, -_QUIET) < _QUIET:
            return
        self._warned[what] = now
        kind = "" if isinstance(error, str) else f"{type(error).__name__}: "
        logger.warning("sink %s: %s: %s%s", self.name, what, kind, error)

    def _partly(self, batch: Batch, e: Partial) -> float | None:
        n = len(batch.items)
        refused = {i: why for i, why in e.rejected.items() if 0 <= i < n}
        again = sorted({i for i in e.retry if 0 <= i < n and i not in refused})
        self.sent += n - len(refused) - len(again)
        self._bury(batch, refused)
        batch.keep(again)
        if not again or len(again) < n:
            self._answered()
            return max(0.0, e.after or 0.0) if again else None
        return self._failed(batch, e, max(0.0, e.after or 0.0))

    def bury(self, batch: Batch, places: dict[int, str]) -> None:
        """Those will not be delivered, for that reason: to the dead letter, or counted."""
        self._bury(batch, places)
        batch.keep([i for i in range(len(batch.items)) if i not in places])

    def _bury(self, batch: Batch, places: dict[int, str]) -> None:
        for i, reason in places.items():
            item, short = batch.items[i], "gave_up" if reason == "gave_up" else "rejected"
            if self._letters is not None and self._letters.put(item, self.name, batch.id, reason):
                short = "dead_letter"
            elif short == "rejected":
                self.warn("events are rejected", reason)
            self._count(short, 1)

    def _measure(self, seconds: float) -> None:
        self.batches += 1
        self.seconds += seconds
        self.longest = max(self.longest, seconds)
        for i, bound in enumerate(BUCKETS):
            if seconds <= bound:
                self.buckets[i] += 1
                break

    def histogram(self) -> tuple[tuple[float, int], ...]:
        """How many batches took at most so many seconds, cumulative."""
        return tuple(zip(BUCKETS, itertools.accumulate(self.buckets), strict=True))

    async def pause(self, seconds: float) -> None:
        """Wait; stop() ends it."""
        assert self._hurry is not None
        if self.deadline is None:
            await asyncio.wait({self._hurry}, timeout=seconds)
        else:
            await asyncio.sleep(min(seconds, _HURRY, max(0.0, self.deadline - time.monotonic())))

    async def _pause_exactly(self, seconds: float) -> bool:
        """Wait as the receiver wants it. False: stop()'s time is over first."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if self.deadline is None:
                await self.pause(left)
            elif until > self.deadline:
                return False
            else:
                await asyncio.sleep(left)
        return True
