"""Sinks that send many events at a time."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import time
from collections.abc import Sequence
from typing import Any, ClassVar

from .._errors import MongooseError, QueueFull
from ._alarm import Alarm
from ._buffer import Buffer, LineBuffer
from ._dead_letter import DeadLetter
from ._delivery import Batch, Delivery
from ._disk import Disk
from ._encode import encode
from ._retry import Breaker, Circuit, Retry
from ._sink import DrainResult, Sink, SinkStats, logger
from ._spool import Spool, spool_of
from ._spool_medium import Ticket

LOOK = 1.0  # seconds between the looks of a flush() at what nobody tells it: events that a sync which failed took back


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
        send_timeout: seconds after which a send is cancelled and repeated; None: it may take as long as it likes. What a sink writes on a thread of its
            own (files, databases in files, pipes, syslog) cannot be cancelled and is waited for instead, so that it is not done twice.

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
        send_timeout: float | None = 60.0,
        **more: Any,
    ) -> None:
        super().__init__(name=name, max_pending=max_pending, **more)
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, not {batch_size!r}")
        if batch_timeout < 0 or drain_timeout < 0:
            raise ValueError("batch_timeout and drain_timeout must not be negative")
        if max_bytes is not None and max_bytes < 1:
            raise ValueError(f"max_bytes must be at least 1, not {max_bytes!r}")
        if send_timeout is not None and send_timeout <= 0:
            raise ValueError(f"send_timeout must be positive or None, not {send_timeout!r}")
        self.batch_size, self.batch_timeout, self.max_bytes = batch_size, batch_timeout, max_bytes
        self.retry, self.breaker = retry, breaker
        self.drain_timeout, self.send_timeout = drain_timeout, send_timeout
        self.spool = spool_of(spool)
        self._letters = DeadLetter(dead_letter) if dead_letter is not None else None
        self._reset()

    _delivers = True  # a connection that cannot be opened is tried again, by every send

    blocks: ClassVar[bool] = False
    """Of a sink with ``accepts = "json"`` that writes lines as they lie in memory: send_lines() gets a Lines, or what is left of one as a list."""

    def _reset(self) -> None:
        self._memory = LineBuffer(self.max_bytes) if self.blocks else Buffer(self.max_bytes)
        self._batch: Batch | None = None
        self._sender: asyncio.Task[None] | None = None
        self._alarm = Alarm(self._wait)
        self._moved: asyncio.Event | None = None  # something was settled, or there is room
        self._flushing = 0
        self._done = 0  # events that came into memory and are dealt with
        self._run_id = secrets.token_hex(8)
        self._batches_cut = 0
        self._closed_events = 0  # in the spool when it was closed
        self._stopping: asyncio.Task[DrainResult] | None = None
        self._at_start = (0, 0)
        self._delivery = Delivery(
            self.name,
            self._send,
            self._count,
            self._evacuate,
            retry=self.retry,
            circuit=Circuit(self.breaker) if self.breaker is not None else None,
            letters=self._letters,
            timeout=self.send_timeout,
        )
        self._disk = None
        if self.spool is not None:
            self._disk = Disk(self.spool, self._count, self._delivery.warn)

    # -- for subclasses --

    async def send_batch(self, batch: list[dict[str, Any]]) -> None:
        """Deliver a batch; returning acknowledges it. Raise Rejected, Partial or RetryLater to say more than "try again"."""
        raise NotImplementedError(f"{type(self).__name__} has no send_batch()")

    async def send_lines(self, lines: list[bytes]) -> None:
        """The same for sinks with ``accepts = "json"``: each line is the JSON text of an event, without its end."""
        raise NotImplementedError(f"{type(self).__name__} has no send_lines()")

    def count_refused(self, n: int) -> None:
        """For a send that is about to return: n of its events were refused, and nobody knows which. They count as rejected, and not as sent."""
        self._count("rejected", n)
        self._delivery.sent -= n

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
        try:
            if self.spool is not None:
                self.spool.open()
                self.spool.on_append = self._appended
            if self._letters is not None:
                await self._letters.start()
        except BaseException:
            await super().stop()
            raise
        self._alarm.start()
        self._moved = asyncio.Event()
        self._stopping = None
        self._at_start = (self._delivery.sent, sum(self._dropped.values()))
        self._delivery.begin()
        self._sender = asyncio.create_task(self._send_all(), name=f"sink {self.name}")

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
            self._delivery.halt(time.monotonic() + self.drain_timeout)
            self._stopping = asyncio.get_running_loop().create_task(self._stop())
        return await asyncio.shield(self._stopping)

    async def _stop(self) -> DrainResult:
        assert self._sender is not None
        self._bump()  # writers that wait for room
        self._alarm.ring()
        try:
            await asyncio.wait({self._sender})
        finally:  # also when the loop ends, since a send does not: the next start() begins anew
            self._give_up_rest()
            self._sender = None
        if self._letters is not None:
            try:
                await self._letters.stop(1.0)
            except Exception:  # noqa: BLE001  (what follows gives back the rest)
                logger.exception("sink %s: the dead letter did not stop cleanly", self.name)
        spooled = 0
        if self.spool is not None and self._disk is not None:
            self._disk.count_lost()
            self._closed_events = spooled = self.spool.events
            try:
                self.spool.close()
            except OSError:
                logger.exception("sink %s: the spool did not close cleanly", self.name)
        await super().stop()
        self._bump()
        sent, dropped = self._at_start
        return DrainResult(
            self._delivery.sent - sent, spooled, sum(self._dropped.values()) - dropped
        )

    def _give_up_rest(self) -> None:
        """What could not be sent in time: to disk, or counted."""
        batch, self._batch = self._batch, None
        if batch is not None and batch.spooled is None:
            kept = self._to_disk(batch.items, batch.id if batch.sends else None)
            self._count("deadline", len(batch.items) - kept)
        elif batch is not None and self._disk is not None and batch.spooled is not None:
            # Some of it may be dealt with: the rest stays on disk, under its own id.
            self._disk.leave(batch.spooled, batch.items if batch.lost else None, batch.id)
        rest = self._memory.take(len(self._memory))
        self._done = self._memory.came
        self._count("deadline", len(rest) - self._to_disk(rest))

    # -- events in --

    @property
    def durable(self) -> bool:
        """Whether accepted means on disk."""
        return self.spool is not None and self.spool.when == "accept"

    async def write(self, event: dict[str, Any]) -> None:
        """Accept an event; waits while there is no room. The event is kept as it is, not copied: change it no more.

        Raises:
            MongooseError: the sink is not started, or is being stopped.
            QueueFull: an event that is larger than the spool.
        """
        self._check_running()
        assert self._moved is not None
        if self.durable:
            await self._write_to_disk(encode(event))
            return
        item: Any = encode(event) if self.accepts == "json" else event
        while not self._put((item,)):
            self._moved.clear()
            await self._moved.wait()
            self._check_running()

    def _check_running(self) -> None:
        if self._sender is None or self._stopping is not None:
            what = "is not started" if self._sender is None else "is being stopped"
            raise MongooseError(f"sink {self.name} {what}")

    async def _write_to_disk(self, line: bytes) -> None:
        assert self.spool is not None
        assert self._moved is not None
        while True:
            if self.spool.fsync == "always":  # the loop does not wait for the medium
                taken = await asyncio.to_thread(self.append_durable, line)
            else:
                taken = self.append_durable(line)
            if taken:
                return
            if self.spool.reason == "too_big":
                raise QueueFull(f"sink {self.name}: an event of {len(line)} bytes is too big")
            self._moved.clear()
            with contextlib.suppress(asyncio.TimeoutError):  # others may make room on a disk
                await asyncio.wait_for(self._moved.wait(), 0.5)
            self._check_running()

    def offer(self, events: Sequence[dict[str, Any]], lines: Sequence[bytes]) -> int:
        """Take events (or lines) from the front, as many as there is room for; their number. Never waits. On the loop of start()."""
        items: Sequence[Any] = lines if self.accepts == "json" else events
        if self._sender is None or self._stopping is not None:
            return 0
        return self._to_disk(items) if self.durable else self._put(items)

    def append_durable(self, line: bytes) -> bool:
        """Keep the JSON text of an event on disk, from where it is sent, by a later process if this sink is never started. Any thread. False: there is no
        room; ``spool.reason`` says more."""
        ticket = self.begin_durable(line)
        return ticket if isinstance(ticket, bool) else self.end_durable(ticket)

    def begin_durable(self, line: bytes) -> Ticket | bool:
        """append_durable() in two steps: threads that wait in the second one, end_durable(), share one sync. True or False: there is none."""
        return False if self._disk is None else self._disk.begin(line)

    def end_durable(self, ticket: Ticket) -> bool:
        """Whether the event of a ticket is on the medium."""
        assert self._disk is not None
        return self._disk.end(ticket)

    def _put(self, items: Sequence[Any]) -> int:
        if self.spool is None:
            return self._remember(items)
        if self.spool.events:  # an outage, and those on disk are older
            n = self._to_disk(items)
            return n if n == len(items) else n + self._remember(items[n:])
        n = self._remember(items)
        return n if n == len(items) else n + self._to_disk(items[n:])

    def _remember(self, items: Sequence[Any]) -> int:
        """Into memory, as many as there is room for."""
        n = self._memory.put(items, self.max_pending)
        if n and self._alarm.is_set:
            self._alarm.ring_if_due()
        return n

    def _to_disk(self, items: Sequence[Any], batch_id: str | None = None) -> int:
        """Into the spool, from the front; how many are dealt with."""
        return 0 if self._disk is None else self._disk.keep(items, batch_id)

    def drop_oldest(self, n: int) -> int:
        """Give up to n events in memory up, not those being sent; how many. Whoever calls counts them."""
        n = min(n, len(self._memory))
        self._forget(n)
        return n

    def _forget(self, n: int) -> None:
        """The oldest n events in memory are dealt with."""
        if n:
            self._memory.take(n)
            self._done += n
            self._bump()

    # -- when --

    def _appended(self) -> None:
        """Something is on disk that was not. Any thread."""
        self._alarm.call(self._is_full)

    def _is_full(self) -> bool:
        """A batch is on disk."""
        spool = self.spool
        if spool is None:
            return False
        if spool.events >= self.batch_size:
            return True
        return self.max_bytes is not None and spool.payload >= self.max_bytes

    def _bump(self) -> None:
        if self._moved is not None:
            self._moved.set()

    def _wait(self) -> float | None:
        """Seconds until the next batch is due; 0: now; None: there is nothing."""
        spool = self.spool if self.spool is not None and self.spool.events else None
        memory = self._memory
        if not memory and spool is None:
            return None
        if self._flushing or self._stopping is not None:
            return 0.0
        if memory:
            if (
                len(memory) >= self.batch_size
                or (self.max_bytes is not None and memory.bytes >= self.max_bytes)
                or spool is not None  # there is more
            ):
                return 0.0
            since = memory.since
        else:
            assert spool is not None
            if self._is_full():
                return 0.0
            since = spool.since
        return 0.0 if since is None else max(0.0, since + self.batch_timeout - time.monotonic())

    # -- sending --

    async def _send_all(self) -> None:
        """The one task that sends."""
        while True:
            try:
                if self._batch is None:
                    await self._alarm.until_due(lambda: self._stopping is not None, self.spool)
                    self._batch = await self._cut()
                if self._batch is None:
                    if self._stopping is not None:
                        return
                    self._bump()  # all that was there is damaged
                    continue
                if not await self._delivery.run(self._batch):
                    return  # the deadline; what is left of it is dealt with by stop()
            except Exception as e:  # noqa: BLE001  (a disk that fails, a fault of ours: nothing moves)
                self._delivery.warn("held up", e)
                logger.debug("sink %s is held up", self.name, exc_info=True)
                if self._delivery.late:
                    return
                await self._delivery.pause(1.0)
                continue
            self._settle(self._batch)
            self._batch = None
            self._bump()

    async def _send(self, items: list[Any], batch_id: str) -> None:
        self.batch_id = batch_id
        await (self.send_lines(items) if self.accepts == "json" else self.send_batch(items))

    async def _cut(self) -> Batch | None:
        """The next batch, out of the buffer or off the disk."""
        if self._memory:
            return self._cut_memory()
        if self._disk is None:
            return None
        return await self._disk.next(
            self.batch_size, self.max_bytes, as_lines=self.accepts == "json"
        )

    def _cut_memory(self) -> Batch:
        since = self._memory.since or 0.0
        items = self._memory.next_batch(self.batch_size)
        self._bump()
        self._batches_cut += 1
        return Batch(items, f"{self._run_id}-{self._batches_cut:x}", since)

    def _settle(self, batch: Batch) -> None:
        if batch.spooled is None:
            self._done += batch.size
        elif self._disk is not None:
            self._disk.ack(batch.spooled)

    def _evacuate(self) -> None:
        """The breaker is open: what waits in memory goes to disk, if there is one for outages and nothing older is there already."""
        if self.spool is None or self.durable or not self._memory or self.spool.events:
            return
        self._forget(self._to_disk(self._memory.all()))

    # -- numbers --

    @property
    def pending(self) -> int:
        """Events in memory: buffered or being sent."""
        batch = self._batch
        in_memory = len(batch.items) if batch is not None and batch.spooled is None else 0
        return len(self._memory) + in_memory

    async def flush(self, timeout: float | None = None) -> bool:
        """Send everything offered so far, without waiting for batches to fill, and wait until it is acknowledged, or counted as lost.

        Returns:
            False: timeout seconds were not enough. What is on disk by then counts as done.
        """
        if self._sender is None or self._moved is None:
            return not self.pending
        until = None if timeout is None else time.monotonic() + timeout
        self._flushing += 1
        self._alarm.ring()
        try:
            memory, disk, found = self._memory.came, 0, 0
            if self.spool is not None:
                disk, found = self.spool.settled + self.spool.events, self.spool.recovered
            while not self._sender.done():
                left_on_disk = 0
                if self.spool is not None:
                    left_on_disk = disk + self.spool.recovered - found - self.spool.settled
                    left_on_disk = min(left_on_disk, self.spool.events)
                if self._done >= memory and left_on_disk <= 0:
                    break
                left = None if until is None else until - time.monotonic()
                if left is not None and left <= 0:
                    return self._done >= memory
                self._moved.clear()
                left = LOOK if left is None else min(left, LOOK)
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self._moved.wait(), left)
            return True
        finally:
            self._flushing -= 1

    def stats(self) -> SinkStats:
        """A snapshot of the counters."""
        delivery, batch = self._delivery, self._batch
        spooled, age = self._closed_events, 0.0
        if self.spool is not None and self.spool.is_open:
            spooled, age = self.spool.events, self.spool.oldest_age
        now = time.monotonic()
        if (since := self._memory.since) is not None:
            age = max(age, now - since)
        if batch is not None and batch.spooled is None:
            age = max(age, now - batch.since)
        return SinkStats(
            sent=delivery.sent,
            dropped=dict(self._dropped),
            spooled=spooled,
            pending=self.pending,
            pending_bytes=self._memory.bytes,
            oldest_age=age,
            recovered=self.spool.recovered if self.spool is not None else 0,
            retried=delivery.retried,
            batches=delivery.batches,
            batch_seconds=delivery.seconds,
            batch_max=delivery.longest,
            batch_buckets=delivery.histogram(),
            breaker=None if delivery.circuit is None else delivery.circuit.state,
        )

    def forked(self) -> None:
        super().forked()
        if self.spool is not None:
            self.spool.forked()
        self._reset()
