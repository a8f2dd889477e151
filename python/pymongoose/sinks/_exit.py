"""Ends and forks of the process, as running pipelines see them.

- The interpreter exits: what was accepted is flushed before threads are joined (executors still work then, and forked children of
  multiprocessing come this way, too), and pipelines stop when everybody else has ended.
- SIGTERM, where nobody handles it: pipelines stop, then the process dies of the signal as it would have.
- fork(): the child's pipelines are empty, and start a worker of their own with the first event.
"""

from __future__ import annotations

import atexit
import concurrent.futures.thread  # noqa: F401  (its exit function is registered first, so that it runs after ours)
import contextlib
import logging
import os
import signal
import threading
import weakref
from types import FrameType
from typing import TYPE_CHECKING

from .._core import EventQueue

if TYPE_CHECKING:
    from ._pipeline import Pipeline

_running: dict[int, Pipeline] = {}  # started and not stopped; by identity, oldest first
_all: weakref.WeakSet[Pipeline] = weakref.WeakSet()
_terminating = False


def made(pipeline: Pipeline) -> None:
    """A pipeline exists: forks concern it."""
    _all.add(pipeline)


def started(pipeline: Pipeline, *, signals: bool) -> None:
    """A pipeline runs: from now on the end of the process concerns it."""
    _running[id(pipeline)] = pipeline
    if signals and threading.current_thread() is threading.main_thread():
        with contextlib.suppress(ValueError):  # not the main interpreter
            if signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
                signal.signal(signal.SIGTERM, _on_sigterm)


def stopped(pipeline: Pipeline) -> None:
    """A pipeline does not run any longer."""
    _running.pop(id(pipeline), None)
    if not _running and not _terminating and threading.current_thread() is threading.main_thread():
        with contextlib.suppress(ValueError):
            if signal.getsignal(signal.SIGTERM) == _on_sigterm:
                signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _each(what: str) -> None:
    for pipeline in list(_running.values()):
        try:
            if what == "flush":
                pipeline.flush(pipeline.exit_flush)
            else:
                pipeline.stop(pipeline.exit_flush)
        except Exception:
            logging.getLogger("pymongoose.sinks").exception("a pipeline could not be ended")


def _on_sigterm(number: int, frame: FrameType | None) -> None:
    global _terminating
    if _terminating:
        return
    _terminating = True
    try:
        _each("stop")
    finally:
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)


def _in_child() -> None:
    global _terminating
    _terminating = False
    for pipeline in list(_all):
        try:
            pipeline._forked()
        except Exception:
            logging.getLogger("pymongoose.sinks").exception("a pipeline could not follow a fork")


def _wake_all() -> None:
    for pipeline in list(_running.values()):
        pipeline._wake()


EventQueue.set_waker(_wake_all)
os.register_at_fork(after_in_child=_in_child)
atexit.register(_each, "stop")
# Before threads are joined; where that door is closed, pipelines flush with atexit's alone.
getattr(threading, "_register_atexit", lambda *_: None)(_each, "flush")
