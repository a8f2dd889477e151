"""A sink without asyncio: its loop runs on a thread of its own."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Coroutine
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from .._errors import MongooseError
from ._sink import DrainResult, Sink

if TYPE_CHECKING:
    from typing_extensions import Self

T = TypeVar("T")


class SyncSink:
    """``with sink.sync() as s: s.write(event)``; made by Sink.sync(). Any thread; each call blocks until the sink is through with it."""

    def __init__(self, sink: Sink) -> None:
        self.sink = sink
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()  # of start() and stop()

    def start(self) -> None:
        """Start the loop and the sink on it; what the sink's start() raises."""
        with self._lock:
            if self._loop is not None:
                raise MongooseError("the sink is started already")
            loop = self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(
                target=_run_loop,
                args=(loop,),
                name=f"pymongoose-sink-{self.sink.name}",
                daemon=True,
            )
            self._thread.start()
            try:
                self._run(self.sink.start())
            except BaseException:
                self._end()
                raise

    def write(self, event: dict[str, Any]) -> None:
        """What the sink's write() does, and raises."""
        self._run(self.sink.write(event))

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until all that was written is delivered; False when timeout seconds were not enough."""
        return self._run(self.sink.flush(timeout))

    def stop(self) -> DrainResult | None:
        """Stop the sink, deliver what is left, and end the loop. Again after that: nothing happens."""
        with self._lock:
            if self._loop is None:
                return None
            try:
                return self._run(self.sink.stop())
            finally:
                self._end()

    def _run(self, what: Coroutine[Any, Any, T]) -> T:
        loop, own = self._loop, threading.current_thread() is self._thread
        try:
            if loop is None or own:
                raise RuntimeError
            future = asyncio.run_coroutine_threadsafe(what, loop)
        except RuntimeError:  # or it was closed just now
            what.close()
            raise MongooseError(
                "the sink's own thread cannot wait for itself" if own else "the sink is not started"
            ) from None
        try:
            return future.result()
        except concurrent.futures.CancelledError:
            raise MongooseError("the sink was stopped meanwhile") from None

    def _end(self) -> None:
        loop, thread = self._loop, self._thread
        self._loop = self._thread = None
        if loop is not None and thread is not None:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def _run_loop(loop: asyncio.AbstractEventLoop) -> None:
    """Until it is stopped; then whoever still waits for something is told that it will not come."""
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
        while tasks := asyncio.all_tasks(loop):
            for task in tasks:
                task.cancel()
            loop.run_until_complete(asyncio.wait(tasks, timeout=1.0))
            if all(not task.done() for task in tasks):
                break
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
    finally:
        loop.close()
