"""Find the handlers that hold the loop up."""

from __future__ import annotations

import logging
import sys
import threading
import traceback
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import _core

if TYPE_CHECKING:
    from ._manager import Manager

log = logging.getLogger("pymongoose")


@dataclass(frozen=True, slots=True)
class SlowHandler:
    """One call of a handler that took too long."""

    connection: _core.Connection
    """Whose handler it was."""
    event: int
    """MG_EV_*."""
    seconds: float
    """How long it took."""
    lock_wait: float
    """Seconds the loop had waited for Python's lock before this turn's handlers."""
    stack: str
    """Where the handler was when it was found to be slow; "" when it ended before that."""

    def __str__(self) -> str:
        where = f"\n{self.stack}" if self.stack else ""
        return f"handler of {_core.event_name(self.event)} took {self.seconds:.3f} s ({self.connection!r}){where}"


class Watchdog:
    """A thread that looks what the loop thread is doing when a handler has run for too long."""

    def __init__(
        self, manager: Manager, seconds: float, on_slow: Callable[[SlowHandler], object] | None
    ) -> None:
        self._manager = weakref.ref(manager)  # its thread must not keep it alive
        self._seconds = seconds
        self._tell = on_slow or (lambda slow: log.warning("%s", slow))
        self._stopped = threading.Event()
        self._seen: tuple[int, str] = (0, "")
        self._thread = threading.Thread(
            target=self._watch, name="slow-handler-watchdog", daemon=True
        )
        self._thread.start()

    def _watch(self) -> None:
        while not self._stopped.wait(self._seconds / 4):
            manager = self._manager()
            if manager is None:
                return
            self._look(manager)
            del manager

    def _look(self, manager: Manager) -> None:
        thread, seconds, serial = manager._running()
        if seconds < self._seconds or self._seen[0] == serial:
            return
        frame = sys._current_frames().get(thread)
        if frame is not None and manager._running()[2] == serial:
            self._seen = (serial, "".join(traceback.format_stack(frame)))

    def report(
        self, conn: _core.Connection, ev: int, seconds: float, lock_wait: float, serial: int
    ) -> None:
        """Called by the loop after a slow handler returned."""
        seen, stack = self._seen
        self._tell(SlowHandler(conn, ev, seconds, lock_wait, stack if seen == serial else ""))

    def stop(self) -> None:
        """End the thread."""
        self._stopped.set()
