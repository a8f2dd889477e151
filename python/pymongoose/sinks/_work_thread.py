"""A thread for calls that block, one after the other: a file, a lock, a pipe or a socket may hang without holding up the loop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")
PATIENCE = 2.0  # seconds


class WorkThread:
    """Runs what it is given in order, on a daemon thread that is there from the first call on.

    A process that was forked gets a thread of its own. Whoever awaits :meth:`run` may be cancelled; a call that has begun
    goes on to its end.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._jobs: queue.SimpleQueue[Callable[[], object] | None] | None = None
        self._pid = 0

    def post(self, job: Callable[[], object]) -> None:
        """Run it some time; it must not raise."""
        if self._jobs is None or self._pid != os.getpid():
            self._jobs, self._pid = queue.SimpleQueue(), os.getpid()
            threading.Thread(target=_work, args=(self._jobs,), name=self.name, daemon=True).start()
        self._jobs.put(job)

    async def run(self, fn: Callable[..., T], *args: Any) -> T:
        """Call it and wait for what it returns or raises."""
        return await self.submit(fn, *args)

    async def run_to_end(self, fn: Callable[..., T], *args: Any) -> T:
        """The same for what must not happen twice: the call cannot be cancelled, so whoever is cancelled while it runs waits on, and its outcome
        counts. Cancelled once more, it is left alone."""
        done = self.submit(fn, *args)
        try:
            return await asyncio.shield(done)
        except asyncio.CancelledError:
            return await done

    def submit(self, fn: Callable[..., T], *args: Any) -> asyncio.Future[T]:
        """Call it; the future is for the running loop."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()

        def job() -> None:
            if done.cancelled():  # nobody waits for it any more, and it has not begun
                return
            try:
                value = fn(*args)
            except BaseException as e:  # noqa: BLE001  (it belongs to the caller)
                tell(done.set_exception, e)
            else:
                tell(done.set_result, value)

        def tell(put: Callable[[Any], None], what: object) -> None:
            def put_it() -> None:
                if not done.done():  # or cancelled
                    put(what)

            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
                loop.call_soon_threadsafe(put_it)

        self.post(job)
        return done

    def close(self) -> None:
        """End the thread behind what it was given so far. Another call starts another one."""
        if self._jobs is not None and self._pid == os.getpid():
            self._jobs.put(None)
        self._jobs = None


async def finish(thread: WorkThread, last: Callable[[], object] = lambda: None) -> None:
    """Run the last call and end the thread. One that hangs is left alone after a while; it ends when its call does."""
    done = thread.submit(last)
    thread.close()
    await asyncio.wait([done], timeout=PATIENCE)


def _work(jobs: queue.SimpleQueue[Callable[[], object] | None]) -> None:
    while (job := jobs.get()) is not None:
        job()
        del job  # and what it refers to, before the next one comes
