"""WorkerPool: Python threads fed from a native queue, for work that would hold the loop up.

Results go back to the loop through its wakeup queue. What costs in threads is waking and switching, so a batch of jobs wakes one
thread; one more stands by in case a job blocks.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import CancelledError, Executor, Future
from typing import Any, Literal, ParamSpec, TypeVar

from . import _core
from ._stats import PoolStats

P = ParamSpec("P")
T = TypeVar("T")

log = logging.getLogger("pymongoose")

_future_lock = threading.Lock()
_future_fields = frozenset(
    ("_condition", "_state", "_result", "_exception", "_waiters", "_done_callbacks")
)


class Job(_core.JobBase, Future[Any]):
    """Work that was given to a pool; a ``concurrent.futures.Future``.

    Made by ``Connection.offload()`` and ``WorkerPool.submit()``. The Future in it is built when somebody first looks: most jobs of a
    server are never looked at, because their result becomes a reply.
    """

    def __init__(self) -> None:
        raise TypeError("jobs are made by Connection.offload() and WorkerPool.submit()")

    def __getattr__(self, name: str) -> Any:
        if name not in _future_fields:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        with _future_lock:
            if "_condition" not in self.__dict__:
                Future.__init__(self)
        self._watch()
        return self.__dict__[name]

    def cancel(self) -> bool:
        """Keep the job from running; False when it has begun. Its request is answered with 503. Any thread."""
        return _core.JobBase.cancel(self)

    def _settle(self) -> None:
        state, outcome = self.state, self._outcome
        if state == "cancelled":
            Future.cancel(self)
            self.set_running_or_notify_cancel()
        elif state == "done":
            self.set_result(outcome)
        else:
            self.set_exception(outcome if isinstance(outcome, BaseException) else CancelledError())

    def running(self) -> bool:
        """True while a worker is at it."""
        return self.state == "running"

    def __repr__(self) -> str:
        return f"<Job {self.state}>"


_core.set_job_class(Job)


class WorkerPool(Executor):
    """A ``concurrent.futures.Executor`` made for a network loop: bounded, cheap to feed, measured.

    Args:
        workers: threads, started with the first job. Default: 5 x CPUs, at most 40.
        max_queue: jobs that may wait.
        overflow: what happens to a job when that many wait: ``"reject"`` raises QueueFull (an offloaded request is answered 503 with
            Retry-After), ``"block"`` makes the submitter wait, ``"drop_oldest"`` gives up the one that waited longest, with QueueFull.
        max_wait: seconds a job may wait for a worker before it is given up with QueueFull; 0: for ever.
        name: prefix of thread names.

    Any thread may submit. A pool can serve several managers.
    """

    def __init__(
        self,
        workers: int | None = None,
        *,
        max_queue: int = 1024,
        overflow: Literal["reject", "block", "drop_oldest"] = "reject",
        max_wait: float = 30.0,
        name: str = "worker",
    ) -> None:
        if workers is None:
            workers = min(40, 5 * (os.cpu_count() or 1))
        if overflow not in ("reject", "block", "drop_oldest"):
            raise ValueError(
                f"overflow must be 'reject', 'block' or 'drop_oldest', not {overflow!r}"
            )
        if max_wait < 0:
            raise ValueError(f"max_wait must be seconds >= 0, not {max_wait!r}")
        self._name = name
        self._workers = _count("workers", workers)
        self._threads: list[threading.Thread] = []
        me = weakref.ref(self)

        def start() -> None:
            pool = me()
            if pool is not None:
                pool._start()

        self._core = _core.PoolCore(
            _count("max_queue", max_queue), overflow, float(max_wait), start
        )
        self._exit = weakref.finalize(self, _stop, self._core)

    def _start(self) -> None:
        for i in range(self._workers):
            t = threading.Thread(target=self._core.work, name=f"{self._name}-{i}", daemon=True)
            try:
                t.start()
            except RuntimeError:
                if not self._threads:
                    raise
                log.warning(
                    "%r runs with %d threads: the system gives no more", self, len(self._threads)
                )
                break
            self._threads.append(t)

    @property
    def workers(self) -> int:
        """Threads this pool has once it runs."""
        return self._workers

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Queue ``fn(*args, **kwargs)``.

        Raises:
            QueueFull: the queue is full and overflow is ``"reject"``.
            RuntimeError: the pool was shut down.
        """
        if not callable(fn):
            raise TypeError(f"fn must be callable, not {type(fn).__name__}")
        return self._core.submit(fn, args, kwargs)

    def shutdown(  # type: ignore[override]  # an Executor's gives nothing back
        self, wait: bool = True, *, cancel_futures: bool = False, timeout: float | None = None
    ) -> bool:
        """Take no more jobs and let the threads end.

        Args:
            wait: until queued and running jobs are done.
            cancel_futures: give up what has not begun (forced shutdown).
            timeout: seconds to wait at most.

        Returns:
            True when all threads have ended.
        """
        self._core.shutdown(cancel_futures)
        if wait:
            _join(self._threads, timeout)
        ended = not any(t.is_alive() for t in self._threads)
        if ended:
            self._exit.detach()
        return ended

    def stats(self) -> PoolStats:
        """Counters since the pool was made. Any thread."""
        return PoolStats(**self._core.stats())

    def __repr__(self) -> str:
        return f"<WorkerPool {self._workers} threads>"


def _count(name: str, value: object) -> int:
    if not isinstance(value, int) or value < 1:
        raise ValueError(f"{name} must be an int >= 1, not {value!r}")
    return value


def _join(threads: list[threading.Thread], timeout: float | None) -> None:
    end = None if timeout is None else time.monotonic() + timeout
    for t in threads:
        if t is not threading.current_thread():
            t.join(None if end is None else max(0.0, end - time.monotonic()))


def _stop(core: _core.PoolCore) -> None:
    """A pool that nobody holds any more, or the end of the process: running jobs are not waited for."""
    core.shutdown(True)


# Daemon threads that come back from a job later than this are ended by the interpreter: they must not touch its objects then.
atexit.register(_core._python_ends)
