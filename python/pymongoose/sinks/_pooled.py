"""Sinks that hold connections."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

from .._errors import MongooseError
from ._outcome import PoolTimeout
from ._sink import DrainResult, Sink, logger

T = TypeVar("T")

_MAY_OPEN: Final = object()  # what a waiter gets in place of a connection: the right to open one


class PooledSink(Sink):
    """A sink with a pool of connections; a subclass says how one is opened and closed, and uses ``async with self.connection() as conn``.

    Args:
        name, max_pending: as for Sink.
        pool_size: connections that exist at the same time, at most, those being opened and closed included.
        acquire_timeout: seconds that connection() takes for one, waiting, checking and opening in all.
        idle_timeout: seconds after which a connection that nobody uses is closed; 0: never.

    start() opens one connection, so that a wrong address shows at once; the others are opened when they are needed. What open_connection() raises
    there start() raises, and a pipeline starts the sink again later; combined with BatchedSink it is logged, and every batch tries anew. Those who wait
    are served in the order they came. Without BatchedSink a pipeline calls write() for up to pool_size events at the same time.

    Raises:
        ValueError: a size below 1, a time that cannot be.
    """

    def __init__(
        self,
        *,
        name: str | None = None,
        pool_size: int = 10,
        acquire_timeout: float = 5.0,
        idle_timeout: float = 60.0,
        **more: Any,
    ) -> None:
        super().__init__(name=name, **more)
        if pool_size < 1:
            raise ValueError(f"pool_size must be at least 1, not {pool_size!r}")
        if acquire_timeout <= 0:
            raise ValueError(f"acquire_timeout must be positive, not {acquire_timeout!r}")
        if idle_timeout < 0:
            raise ValueError(f"idle_timeout must not be negative, not {idle_timeout!r}")
        self.pool_size, self.acquire_timeout = pool_size, acquire_timeout
        self.idle_timeout = idle_timeout
        self._concurrency = pool_size
        self._empty_pool()

    def _empty_pool(self) -> None:
        # Who waits is given a connection or a place by whoever lets go of one: while anybody waits, nothing is idle and no place is free.
        self._idle: deque[tuple[Any, float]] = deque()  # the last returned on the right
        self._places = 0  # connections that exist, or are being opened or closed
        self._waiting: deque[asyncio.Future[Any]] = deque()
        self._pool_on = False
        self._reaper: asyncio.TimerHandle | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self._empty: asyncio.Event | None = None  # no connection is left

    async def open_connection(self) -> Any:
        """Open a connection; what it raises goes to whoever wanted one."""
        raise NotImplementedError(f"{type(self).__name__} has no open_connection()")

    async def close_connection(self, conn: Any) -> None:
        """Close a connection, broken ones too; what it raises is logged."""
        raise NotImplementedError(f"{type(self).__name__} has no close_connection()")

    async def check_connection(self, conn: Any) -> bool:
        """Whether a connection from the pool still works; False, or an exception: it is closed and another one taken."""
        return True

    async def start(self) -> None:
        self._pool_on = True
        self._empty = asyncio.Event()
        try:
            await super().start()
            try:
                async with self.connection():
                    pass
            except Exception as e:
                if not getattr(self, "_delivers", False):
                    raise
                logger.warning(
                    "sink %s has no connection yet: %s: %s", self.name, type(e).__name__, e
                )
        except BaseException:
            self._pool_on = False
            raise

    async def stop(self) -> DrainResult | None:
        """Close the connections; those in use when they come back, for which stop() waits acquire_timeout seconds."""
        result = await super().stop()
        self._pool_on = False
        if self._reaper is not None:
            self._reaper.cancel()
            self._reaper = None
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_exception(MongooseError(f"sink {self.name} is stopped"))
        while self._idle:
            self._discard(self._idle.popleft()[0])
        if self._places and self._empty is not None:
            self._empty.clear()
            try:
                await asyncio.wait_for(self._empty.wait(), self.acquire_timeout)
            except asyncio.TimeoutError:
                logger.warning(
                    "sink %s: %d connections do not end; left alone", self.name, self._places
                )
        return result

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Any]:
        """A connection for as long as the block lasts. One in whose block an exception is raised is closed and not used again.

        Raises:
            PoolTimeout: none was to be had within acquire_timeout seconds. It is a TimeoutError, too.
            MongooseError: the sink is not started.
            Exception: what open_connection() raises.
        """
        conn = await self._acquire()
        try:
            yield conn
        except BaseException:
            self._discard(conn)
            raise
        self._give_back(conn)

    async def _acquire(self) -> Any:
        until = time.monotonic() + self.acquire_timeout
        while True:
            if not self._pool_on:
                raise MongooseError(f"sink {self.name} is not started")
            if self._idle:
                conn = self._idle.pop()[0]
            elif self._places < self.pool_size:
                self._places += 1
                conn = _MAY_OPEN
            else:
                conn = await self._next(until)
            if conn is _MAY_OPEN:
                return await self._open(until)
            if await self._works(conn, until):
                return conn

    async def _next(self, until: float) -> Any:
        """Wait for what somebody lets go of: a connection, or a place for one."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        try:
            await asyncio.wait({waiter}, timeout=max(until - time.monotonic(), 0))
        except BaseException:
            self._wait_no_more(waiter)
            raise
        if not waiter.done():
            self._wait_no_more(waiter)
            raise PoolTimeout(
                f"all {self.pool_size} connections of sink {self.name} were in use for {self.acquire_timeout:g} s"
            )
        return waiter.result()

    def _wait_no_more(self, waiter: asyncio.Future[Any]) -> None:
        if not waiter.done():
            self._waiting.remove(waiter)
        elif waiter.exception() is None:  # it was given something in the last moment
            if waiter.result() is _MAY_OPEN:
                self._free_place()
            else:
                self._give_back(waiter.result())

    async def _open(self, until: float) -> Any:
        """Open one in a place that is ours. Whatever comes of it later, when nobody waits any longer, is closed."""
        task = asyncio.get_running_loop().create_task(_coroutine(self.open_connection()))
        try:
            done, _ = await asyncio.wait({task}, timeout=max(until - time.monotonic(), 0))
        except BaseException:
            self._abandon(task)
            raise
        if not done:
            self._abandon(task)
            raise PoolTimeout(
                f"sink {self.name} could not open a connection in {self.acquire_timeout:g} s"
            )
        try:
            return task.result()
        except BaseException:
            self._free_place()
            raise

    def _abandon(self, task: asyncio.Task[Any]) -> None:
        def over(task: asyncio.Task[Any]) -> None:
            if task.cancelled() or task.exception() is not None:
                self._free_place()
            else:
                self._discard(task.result())

        task.cancel()
        task.add_done_callback(over)

    async def _works(self, conn: Any, until: float) -> bool:
        if type(self).check_connection is PooledSink.check_connection:
            return True
        task = asyncio.get_running_loop().create_task(_coroutine(self.check_connection(conn)))
        try:
            await asyncio.wait({task}, timeout=max(until - time.monotonic(), 0.0))
            answered = task.done() and not task.cancelled() and task.exception() is None
            works = answered and bool(task.result())
        except BaseException:
            task.cancel()
            self._discard(conn)
            raise
        if not works:
            task.cancel()
            logger.debug("a connection of sink %s is broken", self.name)
            self._discard(conn)
        return works

    def _give_back(self, conn: Any) -> None:
        if not self._pool_on:
            self._discard(conn)
        elif (waiter := self._first_waiting()) is not None:
            waiter.set_result(conn)
        else:
            self._idle.append((conn, time.monotonic()))
            self._reap_later(self.idle_timeout)

    def _free_place(self) -> None:
        if self._pool_on and (waiter := self._first_waiting()) is not None:
            waiter.set_result(_MAY_OPEN)
            return
        self._places -= 1
        if not self._places and self._empty is not None:
            self._empty.set()

    def _first_waiting(self) -> asyncio.Future[Any] | None:
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                return waiter
        return None

    def _discard(self, conn: Any) -> None:
        """Close it on the side: whoever discards may be cancelled."""
        task = asyncio.get_running_loop().create_task(self._close(conn))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _close(self, conn: Any) -> None:
        try:
            await self.close_connection(conn)
        except Exception:  # noqa: BLE001
            logger.exception("sink %s could not close a connection", self.name)
        finally:
            self._free_place()

    def _reap_later(self, seconds: float) -> None:
        if self.idle_timeout > 0 and self._reaper is None:
            self._reaper = asyncio.get_running_loop().call_later(seconds, self._reap)

    def _reap(self) -> None:
        self._reaper = None
        now = time.monotonic()
        while self._idle and now - self._idle[0][1] >= self.idle_timeout:
            self._discard(self._idle.popleft()[0])
        if self._idle:
            self._reap_later(self.idle_timeout - (now - self._idle[0][1]))

    def forked(self) -> None:
        super().forked()
        self._empty_pool()  # the descriptors are shared with the parent, who goes on using them


async def _coroutine(what: Coroutine[Any, Any, T]) -> T:
    return await what
