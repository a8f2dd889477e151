"""Sinks that hold connections."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from .._errors import MongooseError
from ._outcome import PoolTimeout
from ._sink import DrainResult, Sink, logger


class PooledSink(Sink):
    """A sink with a pool of connections; a subclass says how one is opened and closed, and uses ``async with self.connection() as conn``.

    Args:
        name, max_pending: as for Sink.
        pool_size: connections that exist at the same time, at most.
        acquire_timeout: seconds that connection() waits for one.
        idle_timeout: seconds after which a connection that nobody uses is closed; 0: never.

    start() opens one connection, so that a wrong address shows at once, and raises what open_connection() raises; the others are opened when they
    are needed. Without BatchedSink a pipeline calls write() for up to pool_size events at the same time.

    Raises:
        ValueError: a size below 1, a negative time.
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
        if acquire_timeout < 0 or idle_timeout < 0:
            raise ValueError("acquire_timeout and idle_timeout must not be negative")
        self.pool_size, self.acquire_timeout, self.idle_timeout = (
            pool_size,
            acquire_timeout,
            idle_timeout,
        )
        self._concurrency = pool_size
        self._idle: deque[tuple[Any, float]] = deque()  # the last returned on the right
        self._open = 0  # connections that exist or are being opened
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._pool_on = False
        self._reaper: asyncio.TimerHandle | None = None
        self._closing: set[asyncio.Task[None]] = set()

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
        await super().start()
        self._pool_on = True
        try:
            async with self.connection():
                pass
        except BaseException:
            self._pool_on = False
            raise

    async def stop(self) -> DrainResult | None:
        result = await super().stop()
        self._pool_on = False
        if self._reaper is not None:
            self._reaper.cancel()
            self._reaper = None
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_result(None)  # to find that the pool is closed
        while self._idle:
            await self._close(self._idle.popleft()[0])
        if self._closing:
            await asyncio.gather(*self._closing, return_exceptions=True)
        return result

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Any]:
        """A connection for as long as the block lasts. One in whose block an exception is raised is closed and not used again.

        Raises:
            PoolTimeout: all were in use for acquire_timeout seconds.
            MongooseError: the sink is not started.
        """
        conn = await self._acquire()
        try:
            yield conn
        except BaseException:
            self._discard(conn)
            raise
        if self._pool_on:
            self._idle.append((conn, time.monotonic()))
            self._wake()
            self._reap_later()
        else:
            self._discard(conn)

    async def _acquire(self) -> Any:
        until = time.monotonic() + self.acquire_timeout
        while True:
            if not self._pool_on:
                raise MongooseError(f"sink {self.name} is not started")
            if self._idle:
                conn = self._idle.pop()[0]
                if await self._works(conn):
                    return conn
                continue
            if self._open < self.pool_size:
                self._open += 1
                try:
                    return await self.open_connection()
                except BaseException:
                    self._open -= 1
                    self._wake()
                    raise
            await self._wait(until)

    async def _works(self, conn: Any) -> bool:
        works = False
        try:
            works = await self.check_connection(conn)
        except Exception as e:  # noqa: BLE001  (that is an answer, too)
            logger.debug("a connection of sink %s is broken: %s", self.name, e)
        except BaseException:
            self._discard(conn)
            raise
        if not works:
            self._discard(conn)
        return works

    async def _wait(self, until: float) -> None:
        left = until - time.monotonic()
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        try:
            await asyncio.wait_for(waiter, max(left, 0))
        except asyncio.TimeoutError:
            raise PoolTimeout(
                f"all {self.pool_size} connections of sink {self.name} were in use for {self.acquire_timeout:g} s"
            ) from None
        finally:
            if waiter in self._waiting:
                self._waiting.remove(waiter)
            if (
                waiter.done()
                and not waiter.cancelled()
                and (self._idle or self._open < self.pool_size)
            ):
                self._wake()  # we may have been cancelled with the turn already given to us

    def _wake(self) -> None:
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_result(None)
                return

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
            self._open -= 1
            self._wake()

    def _reap_later(self) -> None:
        if self.idle_timeout > 0 and self._reaper is None:
            loop = asyncio.get_running_loop()
            self._reaper = loop.call_later(self.idle_timeout, self._reap)

    def _reap(self) -> None:
        self._reaper = None
        now = time.monotonic()
        while self._idle and now - self._idle[0][1] >= self.idle_timeout:
            self._discard(self._idle.popleft()[0])
        if self._idle:
            self._reap_later()

    def forked(self) -> None:
        super().forked()
        self._idle.clear()  # their descriptors are shared with the parent, who goes on using them
        self._open = 0
        self._waiting.clear()
        self._pool_on = False
        self._reaper = None
        self._closing = set()
