"""When what a spool wrote is on the medium: whenever the system likes, before an append returns, or some seconds later."""

from __future__ import annotations

import errno
import logging
import os
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from ._spool_lane import Lane
from ._spool_records import data_sync

logger = logging.getLogger("pymongoose.sinks")


class Ticket(NamedTuple):
    """Records that are written, and not on the medium yet."""

    lane: Lane
    end: int  # number behind the last of them
    cuts: int  # how often the lane had been cut by then


class Medium:
    """The syncs of a spool.

    Args:
        path: of the spool, for logs.
        fsync: as the spool has it.
        lock: the spool's.
        lanes: those that are open now.
    """

    def __init__(
        self,
        path: Path,
        fsync: str | float,
        lock: threading.RLock,
        lanes: Callable[[], list[Lane]],
    ) -> None:
        self.path, self.lock = path, lock
        self.never, self.always = fsync == "never", fsync == "always"
        self.seconds = 0.0 if isinstance(fsync, str) else float(fsync)
        self._lanes = lanes
        self._changed = threading.Condition(lock)  # somebody's turn is over
        self._whose = 0  # thread that syncs
        self.timer: threading.Timer | None = None

    # -- before an append returns --

    def commit(self, ticket: Ticket) -> None:
        """Wait until those records are on the medium, without holding the lock: one sync is enough for all that was written before it began.

        Raises:
            OSError: they are not, and are taken back, with all that was written since the last sync.
        """
        with self.lock:
            while not self._is_settled(ticket) and self._is_others():
                self._changed.wait()
            if self._is_settled(ticket):
                return
            before, self._whose = self._whose, threading.get_ident()
        try:
            self._sync_lane(ticket.lane)
        finally:
            self._end_turn(before)
        with self.lock:
            self._is_settled(ticket)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Nobody else syncs meanwhile. Whoever wants the spool's lock, too, takes it inside."""
        with self.lock:
            while self._is_others():
                self._changed.wait()
            before, self._whose = self._whose, threading.get_ident()
        try:
            yield
        finally:
            self._end_turn(before)

    def _is_others(self) -> bool:
        """Mine it is, too, in a signal handler in the middle of it."""
        return self._whose not in (0, threading.get_ident())

    def _end_turn(self, before: int) -> None:
        with self.lock:
            self._whose = before
            self._changed.notify_all()

    def _is_settled(self, ticket: Ticket) -> bool:
        lane = ticket.lane
        if len(lane.cuts) > ticket.cuts and ticket.end > lane.cuts[ticket.cuts]:
            raise OSError(errno.EIO, "written, but not to the medium", str(lane.folder))
        return lane.safe.number >= ticket.end or lane not in self._lanes()

    def sync(self) -> None:
        """All lanes. The turn is the caller's. Raises OSError as commit() does."""
        for lane in self._lanes():
            self._sync_lane(lane)

    def _sync_lane(self, lane: Lane) -> None:
        with self.lock:
            end, cuts = lane.end, len(lane.cuts)
            try:
                fds = lane.unsynced()
            except OSError:
                self._cut(lane)
                raise
        try:
            sync(fds)
        except OSError:
            with self.lock:
                self._cut(lane)
            raise
        except BaseException:  # of a signal handler: the next one syncs those
            with self.lock:
                lane.unsynced_again(fds)
            raise
        with self.lock:
            if len(lane.cuts) == cuts and end.number >= lane.safe.number:
                lane.safe = end

    def _cut(self, lane: Lane) -> None:
        """Only what somebody waits for can be taken back: the rest was accepted when it was written."""
        if self.always:
            lane.cut()

    # -- some seconds later --

    def later(self) -> None:
        """A number of seconds: sync then, on a thread that nobody waits for. The lock is the caller's."""
        if self.timer is not None or self.never or self.always:
            return
        self.timer = threading.Timer(self.seconds, self._now)
        self.timer.daemon = True
        self.timer.name = "pymongoose-spool-sync"
        try:
            self.timer.start()
        except RuntimeError:  # the interpreter ends and starts no threads any longer
            self.timer = None
            self._take_and_sync()

    def _now(self) -> None:
        with self.lock:
            if self.timer is None or self.timer is not threading.current_thread():
                return  # closed meanwhile
            self.timer = None
        self._take_and_sync()

    def _take_and_sync(self) -> None:
        fds: list[int] = []
        try:
            with self.lock:
                for lane in self._lanes():
                    fds += lane.unsynced()
        except OSError:
            logger.exception("spool %s could not be synced", self.path)
        try:
            sync(fds)
        except OSError:
            logger.exception("spool %s could not be synced", self.path)

    def stop(self) -> None:
        """No sync is to come any longer."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None


def sync(fds: list[int]) -> None:
    """To the medium, and close them; all of them, also when one fails. What an exception that is no OSError leaves is in the list."""
    failed: OSError | None = None
    while fds:
        try:
            (os.fsync if stat.S_ISDIR(os.fstat(fds[0]).st_mode) else data_sync)(fds[0])
        except OSError as e:
            failed = e
        os.close(fds.pop(0))
    if failed is not None:
        raise failed
