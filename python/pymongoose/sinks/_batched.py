"""Sinks that send many events at a time."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import time
from collections import deque
from collections.abc import Sequence
from typing import Any, TypedDict

from .._errors import MongooseError, QueueFull
from ._dead_letter import DeadLetter
from ._encode import decode, encode
from ._outcome import Partial, Rejected, RetryLater
from ._retry import Breaker, Circuit, Retry
from ._sink import BUCKETS, DrainResult, Sink, SinkStats, logger
from ._spool import Spool, SpoolBatch, spool_of

_LATE = -1.0  # instead of seconds to wait: stop()'s deadline has come
_CANCEL_GRACE = 1.0  # seconds that a send has to end after it was cancelled


class BatchOptions(TypedDict, total=False):
    """What subclasses hand on to BatchedSink."""

    name: str | None
    batch_size: int
    batch_timeout: float
    max_bytes: int | None
    max_pending: int | None
    retry: Retry | None
    breaker: Breaker | None
    dead_letter: Sink | str | os.PathLike[str] | None
    spool: Spool | str | os.PathLike[str] | None
    drain_timeout: float


class _Batch:
    """Events on their way. What is left of `items` is neither acknowledged nor given up."""

    __slots__ = ("id", "items", "sends", "size", "spooled")

    def __init__(self, items: list[Any], batch_id: str, spooled: SpoolBatch | None) -> None:
        self.items = items
        self.size = len(items)
        self.id = batch_id
        self.spooled = spooled
        self.sends = 0


class BatchedSink(Sink):
    """A sink that collects events and sends them in batches; a subclass implements send_batch(), or send_lines() with ``accepts = "json"``.

    A batch is sent when there are batch_size events, when they have max_bytes, or when the oldest has waited for batch_timeout seconds. There is one send
    at a time. A send that raises is repeated (retry, breaker) until it succeeds, until the receiver refuses the batch (Rejected), until retry gives up, or
    until the sink is stopped; nothing else is lost, and what is lost is counted.

    Args:
        name: in statistics and logs.
        batch_size: events of a batch, at most.
        batch_timeout: seconds.
        max_bytes: of a batch, as JSON; an event that is larger goes alone. None: no bound.
        max_pending: events in memory beside the batch that is being sent: beyond, write() waits and a pipeline drops by its policy.
        retry: None: a batch is sent once.
        breaker: None: none.
        dead_letter: a sink, or the path of a file of JSON lines, for events that are refused or given up.
        spool: a Spool, or a path: events wait on disk.
        drain_timeout: seconds that stop() takes to send what is left.

    Raises:
        ValueError: a number that is out of range.
    """

    batch_id: str = ""
    """Of the batch that is being sent: the same in each repetition, and, with a spool, in later processes; receivers can drop what they have already."""

    def __init__(
        self,
        *,
        name: str | None = None,
        batch_size: int = 100,
        batch_timeout: float = 5.0,
        max_bytes: int | None = None,
        max_pending: int | None = None,
        retry: Retry | None = Retry(),  # noqa: B008  (frozen)
        breaker: Breaker | None = Breaker(),  # noqa: B008
        dead_letter: Sink | str | os.PathLike[str] | None = None,
        spool: Spool | str | os.PathLike[str] | None = None,
        drain_timeout: float = 5.0,
        **more: Any,
    ) -> None:
        super().__init__(name=name, max_pending=max_pending, **more)
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, not {batch_size!r}")
        if batch_timeout < 0 or drain_timeout < 0:
            raise ValueError("batch_timeout and drain_timeout must not be negative")
        if max_bytes is not None and max_bytes < 1:
            raise ValueError(f"max_bytes must be at least 1, not {max_bytes!r}")
        self.batch_size, self.batch_timeout, self.max_bytes = batch_size, batch_timeout, max_bytes
        self.retry, self.breaker, self.drain_timeout = retry, breaker, drain_timeout
        self.spool = spool_of(spool)
        self._letters = DeadLetter(dead_letter) if dead_letter is not None else None
        self._reset()

    def _reset(self) -> None:
        self._sizes: deque[int] = deque()  # of the events in the buffer, with max_bytes
        self._bytes = 0
        self._marks: deque[list[float]] = deque()  # [when, how many] were put into the buffer
        self._unread_since: float | None = None  # when the oldest event in the spool came
        self._batch: _Batch | None = None
        self._sender: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._bell: asyncio.Future[None] | None = None
        self._alarm: asyncio.Event | None = None  # set by stop(): pauses and sends are to hurry
        self._deadline: float | None = None  # of stop()
        self._moved: asyncio.Event | None = None  # something was settled, or there is room
        self._flushing = 0
        self._put_in = self._got_out = 0  # events that came into memory, and that left it
        self._off_disk = 0  # events that left the spool
        self._calling = False  # another thread's ring is under way
        self._circuit = Circuit(self.breaker) if self.breaker is not None else None
        self._run_id = secrets.token_hex(8)
        self._batches = self._retried = 0
        self._seconds = self._longest = 0.0
        self._buckets = [0] * len(BUCKETS)
        self._spool_counted = [0, 0]  # damaged and evicted so far
        self._stopping: asyncio.Task[DrainResult] | None = None
        self._at_start = (0, 0)

    # -- for subclasses --

    async def send_batch(self, batch: list[dict[str, Any]]) -> None:
        """Deliver a batch; returning acknowledges it. Raise Rejected, Partial or RetryLater to say more than "try again"."""
        raise NotImplementedError(f"{type(self).__name__} has no send_batch()")

    async def send_lines(self, lines: list[bytes]) -> None:
        """The same for sinks with ``accepts = "json"``: each line is the JSON text of an event, without its end."""
        raise NotImplementedError(f"{type(self).__name__} has no send_lines()")

    # -- life --

    async def start(self) -> None:
        """Start sending; with a spool, what is left in it comes first.

        Raises:
            MongooseError: it is started already.
            OSError: the spool cannot be opened.
        """
        if self._sender is not None:
            raise MongooseError(f"sink {self.name} is started already")
        await super().start()
        if self.spool is not None:
            self.spool.open()
            self.spool.on_append = self._appended if self.durable else None
            if self.spool.events:
                self._unread_since = time.monotonic() - self.batch_timeout
        if self._letters is not None:
            await self._letters.start()
        self._loop = asyncio.get_running_loop()
        self._alarm, self._moved = asyncio.Event(), asyncio.Event()
        self._deadline = self._stopping = None
        self._at_start = (self._sent, sum(self._dropped.values()))
        self._sender = self._loop.create_task(self._send_all(), name=f"sink {self.name}")

    async def stop(self) -> DrainResult:
        """Finish the send in progress, send what is left, and stop, within drain_timeout seconds. What is not delivered then is on disk, with a spool, or
        dropped and counted. A caller that is cancelled meanwhile does not stop that.

        Returns:
            DrainResult: events since start(); ``spooled`` are those on disk now.
        """
        if self._sender is None and self._stopping is None:
            if self.spool is not None and self.spool.is_open:  # it was appended to before start()
                self._closed_events = self.spool.events
                self.spool.close()
            return DrainResult(spooled=self._closed_events)
        if self._stopping is None:
            self._deadline = time.monotonic() + self.drain_timeout
            self._stopping = asyncio.get_running_loop().create_task(self._stop())
        return await asyncio.shield(self._stopping)

    async def _stop(self) -> DrainResult:
        assert self._alarm is not None
        assert self._sender is not None
        self._alarm.set()
        self._ring()
        await asyncio.wait({self._sender})
        await self._give_up_rest()
        self._sender = None
        if self._letters is not None:
            await self._letters.stop(1.0)
        spooled = 0
        if self.spool is not None:
            self._count_spool()
            spooled = self.spool.events
            self._closed_events = spooled
            self.spool.close()
        await super().stop()
        self._bump()
        return DrainResult(
            self._sent - self._at_start[0],
            spooled,
            sum(self._dropped.values()) - self._at_start[1],
        )

    _closed_events = 0  # in the spool when it was closed

    async def _give_up_rest(self) -> None:
        """What could not be sent in time: to disk, or counted."""
        rest: list[Any] = []
        if self._batch is not None and self._batch.spooled is None:
            rest += self._batch.items
        self._batch = None
        rest += self._buffer
        self._buffer.clear()
        self._sizes.clear()
        self._marks.clear()
        self._bytes = 0
        self._got_out = self._put_in
        kept = self._to_disk(rest) if self.spool is not None and rest else 0
        self._count("deadline", len(rest) - kept)

    # -- events in --

    @property
    def durable(self) -> bool:
        """Whether accepted means on disk."""
        return self.spool is not None and self.spool.when == "accept"

    async def write(self, event: dict[str, Any]) -> None:
        """Accept an event; waits while there is no room.

        Raises:
            MongooseError: the sink is not started, or is being stopped.
            QueueFull: the spool takes no more.
        """
        if self._sender is None or self._stopping is not None or self._moved is None:
            raise MongooseError(f"sink {self.name} is not started")
        if self.durable:
            if not self.append_durable(encode(event)):
                assert self.spool is not None
                raise QueueFull(f"sink {self.name}: {self.spool.reason}")
            return
        item: Any = encode(event) if self.accepts == "json" else event
        while not self._put((item,)):
            self._moved.clear()
            await self._moved.wait()
            if self._stopping is not None:
                raise MongooseError(f"sink {self.name} is being stopped")

    def offer(self, events: Sequence[dict[str, Any]], lines: Sequence[bytes]) -> int:
        """Take events (or lines) from the front, as many as there is room for; their number. Never waits. On the loop of start()."""
        items: Sequence[Any] = lines if self.accepts == "json" else events
        if self._sender is None or self._stopping is not None:
            return 0
        if self.durable:
            return self._to_disk(items)
        return self._put(items)

    def append_durable(self, line: bytes) -> bool:
        """Keep the JSON text of an event on disk, from where it is sent, by a later process if this sink is never started. Any thread. False: there is no room."""
        if self.spool is None:
            return False
        try:
            self.spool.open()  # a pipeline accepts events before its worker has started the sink
            return self.spool.append(line)
        except (OSError, MongooseError):
            logger.exception("the spool of sink %s cannot be written", self.name)
            return False

    def _put(self, items: Sequence[Any]) -> int:
        if self.spool is not None and self.spool.events:  # in an outage: those on disk are older
            return self._to_disk(items)
        n = min(len(items), self.max_pending - len(self._buffer))
        taken = items if n == len(items) else items[:n]
        if n:
            self._buffer.extend(taken)
            self._put_in += n
            self._marks.append([time.monotonic(), n])
            if self.max_bytes is not None:
                sizes = [len(i) if i.__class__ is bytes else len(encode(i)) for i in taken]
                self._sizes.extend(sizes)
                self._bytes += sum(sizes)
            if self._bell is not None:
                self._ring_if_due()
        if n < len(items) and self.spool is not None:
            n += self._to_disk(items[n:])
        return n

    def _to_disk(self, items: Sequence[Any]) -> int:
        assert self.spool is not None
        lines = [i if i.__class__ is bytes else encode(i) for i in items]
        try:
            n = self.spool.append_many(lines)
        except (OSError, MongooseError):
            logger.exception("the spool of sink %s cannot be written", self.name)
            n = 0
        if n and not self.durable:
            self._appended()
        return n

    def _appended(self) -> None:
        """Something is on disk that was not. Any thread."""
        first = self._unread_since is None
        if first:
            self._unread_since = time.monotonic()
        if self._bell is None or self._loop is None or self._calling or self.spool is None:
            return
        if not first and self.spool.events < self.batch_size:
            return
        if self._loop is asyncio._get_running_loop():
            self._ring_if_due()
            return
        self._calling = True
        try:
            self._loop.call_soon_threadsafe(self._ring_if_due)
        except RuntimeError:  # the loop is closed: a later process sends it
            self._calling = False

    def drop_oldest(self, n: int) -> int:
        """Give up to n events in memory up, not those being sent; how many. Whoever calls counts them."""
        n = min(n, len(self._buffer))
        for _ in range(n):
            self._buffer.popleft()
            if self._sizes:
                self._bytes -= self._sizes.popleft()
        self._taken(n)
        if n:
            self._got_out += n
            self._bump()
        return n

    def _taken(self, n: int) -> None:
        """The oldest n events left the buffer."""
        while n > 0 and self._marks:
            mark = self._marks[0]
            if mark[1] > n:
                mark[1] -= n
                return
            n -= int(mark[1])
            self._marks.popleft()

    # -- when --

    def _ring(self) -> None:
        if self._bell is not None and not self._bell.done():
            self._bell.set_result(None)

    def _ring_if_due(self) -> None:
        self._calling = False
        if self._wait() is not None:
            self._ring()  # now, or to sleep until then

    def _bump(self) -> None:
        if self._moved is not None:
            self._moved.set()

    def _wait(self) -> float | None:
        """Seconds until the next batch is due; 0: now; None: there is nothing."""
        if self._buffer:
            if (
                len(self._buffer) >= self.batch_size
                or (self.max_bytes is not None and self._bytes >= self.max_bytes)
                or self._flushing
                or self._stopping is not None
            ):
                return 0.0
            return max(0.0, self._marks[0][0] + self.batch_timeout - time.monotonic())
        if self.spool is None or not (waiting := self.spool.events):
            return None
        if waiting >= self.batch_size or self._flushing or self._stopping is not None:
            return 0.0
        since = self._unread_since
        return 0.0 if since is None else max(0.0, since + self.batch_timeout - time.monotonic())

    async def _until_due(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self._bell = loop.create_future()  # first: whoever appends after this rings
            wait = self._wait()
            if wait == 0.0 or (wait is None and self._stopping is not None):
                self._bell = None
                return
            timer = None if wait is None else loop.call_later(wait, self._ring)
            try:
                await self._bell
            finally:
                self._bell = None
                if timer is not None:
                    timer.cancel()

    # -- sending --

    async def _send_all(self) -> None:
        """The one task that sends."""
        while True:
            try:
                if self._batch is None:
                    await self._until_due()
                    self._batch = self._cut()
                if self._batch is None:
                    if self._stopping is not None:
                        return
                    continue
                if not await self._deliver(self._batch):
                    return  # the deadline; what is left of it is dealt with by stop()
            except Exception:  # noqa: BLE001  (a disk that fails, a fault of ours: nothing moves)
                logger.exception("sink %s is held up", self.name)
                if self._is_late():
                    return
                await self._pause(1.0)
                continue
            self._batch = None
            self._bump()

    def _cut(self) -> _Batch | None:
        """The next batch, out of the buffer or off the disk."""
        if self._buffer:
            n = min(self.batch_size, len(self._buffer))
            if self.max_bytes is not None:
                total = 0
                for i in range(n):
                    total += self._sizes[i]
                    if total > self.max_bytes and i > 0:
                        n = i
                        break
                for _ in range(n):
                    self._bytes -= self._sizes.popleft()
            pop = self._buffer.popleft
            items = [pop() for _ in range(n)]
            self._taken(n)
            self._bump()
            self._batches_cut += 1
            return _Batch(items, f"{self._run_id}-{self._batches_cut:x}", None)
        if self.spool is None:
            return None
        self._unread_since = time.monotonic()
        spooled = self.spool.read(self.batch_size, self.max_bytes)
        self._count_spool()
        if spooled is None:
            self._unread_since = None
            return None
        lines = spooled.lines
        return _Batch(
            list(lines) if self.accepts == "json" else [decode(line) for line in lines],
            spooled.id,
            spooled,
        )

    _batches_cut = 0

    def _count_spool(self) -> None:
        """Events that the spool lost: damaged by a crash, or given up for newer ones."""
        if self.spool is None:
            return
        now = [self.spool.damaged, self.spool.evicted]
        for i, reason in enumerate(("damaged", "evicted")):
            lost = max(0, now[i] - self._spool_counted[i])
            self._count(reason, lost)
            if reason == "evicted":
                self._off_disk += lost
        self._spool_counted = now

    async def _deliver(self, batch: _Batch) -> bool:
        """Send until nothing of it is left; False: stop()'s time was over first."""
        failures, began = 0, time.monotonic()
        while batch.items:
            if self._circuit is not None and (wait := self._circuit.wait()) > 0:
                self._evacuate()
                if self._stopping is None:
                    await self._pause(wait)
                    continue
            if self._is_late():
                return False
            after = await self._send(batch)
            if after == _LATE:
                return False
            if after is None:
                break
            failures += 1
            if not batch.items:
                break
            elapsed = time.monotonic() - began
            if self.retry is None or self.retry.is_over(failures, elapsed):
                self._bury(batch, range(len(batch.items)), "gave_up")
                break
            if after > 0:
                if not await self._pause_exactly(after):
                    return False
            else:
                await self._pause(self.retry.delay(failures))
        self._settle(batch, time.monotonic() - began)
        return True

    def _is_late(self) -> bool:
        return self._deadline is not None and time.monotonic() >= self._deadline

    async def _send(self, batch: _Batch) -> float | None:
        """Once. None: nothing is left to do; a number: try again, not before so many seconds (0: as retry says); _LATE: cut off by stop()."""
        self.batch_id = batch.id
        if batch.sends:
            self._retried += 1
        batch.sends += 1
        items = list(batch.items)
        sending = self.send_lines(items) if self.accepts == "json" else self.send_batch(items)
        task = asyncio.get_running_loop().create_task(sending)
        try:
            await self._finish(task)
        except BaseException:
            task.cancel()  # the loop ends
            raise
        if not task.done():
            task.cancel()
            await asyncio.wait({task}, timeout=_CANCEL_GRACE)
            if not task.done() or task.cancelled():
                return _LATE
        try:
            task.result()
        except Rejected as e:
            self._answered()
            self._bury(batch, range(len(batch.items)), e.reason or "rejected")
            return None
        except Partial as e:
            return self._partly(batch, e)
        except asyncio.CancelledError:  # by itself
            return self._failed(batch, asyncio.CancelledError("the send was cancelled"), 0.0)
        except RetryLater as e:
            return self._failed(batch, e, max(0.0, e.after or 0.0))
        except Exception as e:  # noqa: BLE001  (whatever it is: try again)
            return self._failed(batch, e, 0.0)
        self._answered()
        self._sent += len(batch.items)
        batch.items = []
        return None

    async def _finish(self, task: asyncio.Task[None]) -> None:
        """Until the send ends, or stop()'s deadline has come."""
        assert self._alarm is not None
        if not self._alarm.is_set():
            alarm = asyncio.get_running_loop().create_task(self._alarm.wait())
            try:
                await asyncio.wait({task, alarm}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                alarm.cancel()
        if not task.done() and self._deadline is not None:
            await asyncio.wait({task}, timeout=max(0.0, self._deadline - time.monotonic()))

    def _answered(self) -> None:
        if self._circuit is not None:
            self._circuit.answered()

    def _failed(self, batch: _Batch, error: BaseException, after: float) -> float:
        if self._circuit is not None:
            before = self._circuit.state
            self._circuit.failed()
            if before == "closed" and self._circuit.state == "open":
                logger.warning("sink %s: the breaker opens: %s", self.name, error)
        if batch.sends == 1:
            logger.warning(
                "sink %s: a batch of %d events is to be sent again: %s: %s",
                self.name,
                len(batch.items),
                type(error).__name__,
                error,
            )
        return after

    def _partly(self, batch: _Batch, e: Partial) -> float | None:
        n = len(batch.items)
        refused = {i: why for i, why in e.rejected.items() if 0 <= i < n}
        again = sorted({i for i in e.retry if 0 <= i < n and i not in refused})
        for i, why in refused.items():
            self._bury_one(batch, batch.items[i], why)
        self._sent += n - len(refused) - len(again)
        progress = len(again) < n
        batch.items = [batch.items[i] for i in again]
        if not again:
            self._answered()
            return None
        if progress:
            self._answered()
            return max(0.0, e.after or 0.0)
        return self._failed(batch, e, max(0.0, e.after or 0.0))

    def _bury(self, batch: _Batch, places: Sequence[int], reason: str) -> None:
        for i in places:
            self._bury_one(batch, batch.items[i], reason)
        batch.items = []

    def _bury_one(self, batch: _Batch, item: Any, reason: str) -> None:
        short = "gave_up" if reason == "gave_up" else "rejected"
        if self._letters is None:
            if short == "rejected" and short not in self._dropped:
                logger.warning("sink %s: events are rejected: %s", self.name, reason)
            self._count(short, 1)
        elif self._letters.put(item, self.name, batch.id, reason):
            self._count("dead_letter", 1)
        else:
            self._count(short, 1)

    def _settle(self, batch: _Batch, seconds: float) -> None:
        if batch.spooled is not None and self.spool is not None:
            try:
                self.spool.ack(batch.spooled)
            except OSError:  # it will be sent again by a later process
                logger.exception("the spool of sink %s cannot be written", self.name)
            self._off_disk += batch.spooled.events
            self._count_spool()
        else:
            self._got_out += batch.size
        self._batches += 1
        self._seconds += seconds
        self._longest = max(self._longest, seconds)
        for i, bound in enumerate(BUCKETS):
            if seconds <= bound:
                self._buckets[i] += 1
                break

    def _evacuate(self) -> None:
        """The breaker is open: what waits in memory goes to disk, if there is one for outages and nothing older is there already."""
        if self.spool is None or self.durable or not self._buffer or self.spool.events:
            return
        kept = self._to_disk(list(self._buffer))
        for _ in range(kept):
            self._buffer.popleft()
            if self._sizes:
                self._bytes -= self._sizes.popleft()
        self._taken(kept)
        self._got_out += kept
        self._bump()

    async def _pause(self, seconds: float) -> None:
        """Wait; stop() ends it."""
        assert self._alarm is not None
        if self._alarm.is_set():  # stop() was called: between sends no more than a moment
            assert self._deadline is not None
            await asyncio.sleep(min(seconds, 0.2, max(0.0, self._deadline - time.monotonic())))
            return
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._alarm.wait(), seconds)

    async def _pause_exactly(self, seconds: float) -> bool:
        """Wait as the receiver wants it. False: stop()'s time is over first."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if self._deadline is not None:
                if until > self._deadline:
                    return False
                await asyncio.sleep(left)
            else:
                await self._pause(left)
        return True

    # -- numbers --

    @property
    def pending(self) -> int:
        """Events in memory: buffered or being sent."""
        batch = self._batch
        in_memory = len(batch.items) if batch is not None and batch.spooled is None else 0
        return len(self._buffer) + in_memory

    async def flush(self, timeout: float | None = None) -> bool:
        """Send everything offered so far, without waiting for batches to fill, and wait until it is acknowledged, or counted as lost.

        Returns:
            False: timeout seconds were not enough. What is on disk by then counts as done.
        """
        if self._sender is None or self._moved is None:
            return not self.pending
        until = None if timeout is None else time.monotonic() + timeout
        self._flushing += 1
        self._ring()
        try:
            memory = self._put_in
            disk = self._off_disk + (self.spool.events if self.spool is not None else 0)
            while not self._sender.done() and (self._got_out < memory or self._off_disk < disk):
                left = None if until is None else until - time.monotonic()
                if left is not None and left <= 0:
                    return self._got_out >= memory
                self._moved.clear()
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self._moved.wait(), left)
            return True
        finally:
            self._flushing -= 1

    def stats(self) -> SinkStats:
        """A snapshot of the counters."""
        cumulative, total = [], 0
        for bound, n in zip(BUCKETS, self._buckets, strict=True):
            total += n
            cumulative.append((bound, total))
        spooled = 0
        if self.spool is not None:
            spooled = self.spool.events if self.spool.is_open else self._closed_events
        oldest = time.monotonic() - self._marks[0][0] if self._marks else 0.0
        return SinkStats(
            sent=self._sent,
            dropped=dict(self._dropped),
            spooled=spooled,
            pending=self.pending,
            pending_bytes=self._bytes,
            oldest_age=oldest,
            recovered=self.spool.recovered if self.spool is not None else 0,
            retried=self._retried,
            batches=self._batches,
            batch_seconds=self._seconds,
            batch_max=self._longest,
            batch_buckets=tuple(cumulative),
            breaker=None if self._circuit is None else self._circuit.state,
        )

    def forked(self) -> None:
        super().forked()
        if self.spool is not None:
            self.spool.forked()
        self._closed_events = 0
        self._batches_cut = 0
        self._reset()
