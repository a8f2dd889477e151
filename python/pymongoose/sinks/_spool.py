"""Events on disk: accepted, and not delivered yet."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from .._errors import MongooseError
from ._spool_ages import Ages
from ._spool_folder import free_lane, lane_records, lanes_of_the_dead
from ._spool_intake import Intake
from ._spool_lane import Lane
from ._spool_medium import Medium, Ticket
from ._spool_records import sync_folder
from ._spool_segment import HEAD_SIZE, Place

logger = logging.getLogger("pymongoose.sinks")

LOOK_AGAIN = 10.0  # seconds between looks for lanes of processes that died meanwhile
_SLACK = HEAD_SIZE + 8


class SpoolBatch(NamedTuple):
    """Events from a spool, until they are acknowledged."""

    lines: list[bytes]
    id: str
    """The same for the same events until they are acknowledged, in later processes too."""
    events: int
    """How many records it stands for: lines, and those that were damaged."""
    damaged: int
    """How many of those are not lines."""
    lane: Lane
    end: Place


class Spool:
    """A directory in which events wait until they are delivered: ``HttpSink(url, spool=Spool("spool/", fsync=1.0))``; a path means ``Spool(path)``.

    Args:
        path: created when it is missing. Each process writes into a sub-directory of its own; those of processes that died are taken over.
        when: ``"accept"``: an event is accepted when it is on disk, and the sink reads it from there. ``"outage"``: events wait in memory, and go to
            disk when that is full, when the breaker opens and when the sink is stopped.
        max_bytes: size of all files of this process.
        segment_bytes: size of one file, about; None: 8 MiB, or an eighth of max_bytes where that is less. Disk space comes back a file at a time.
        fsync: ``"never"``: what is written survives the process (kill -9), since the system has it; ``"always"``: each append returns when the medium
            has it, so that it survives a power failure; a number: the same, at most so many seconds later, by a thread that nobody waits for.
        on_full: at max_bytes: ``"reject"`` new events, or ``"drop_oldest"`` (a whole file of them, counted).

    Any thread. Nothing is read or created before open(), which sinks and pipelines call when they start.

    Raises:
        ValueError: a wrong argument.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        when: Literal["accept", "outage"] = "accept",
        max_bytes: int = 1 << 30,
        segment_bytes: int | None = None,
        fsync: Literal["never", "always"] | float = "never",
        on_full: Literal["reject", "drop_oldest"] = "reject",
    ) -> None:
        if when not in ("accept", "outage"):
            raise ValueError(f'when must be "accept" or "outage", not {when!r}')
        if on_full not in ("reject", "drop_oldest"):
            raise ValueError(f'on_full must be "reject" or "drop_oldest", not {on_full!r}')
        if segment_bytes is None:
            segment_bytes = min(8 << 20, max(max_bytes // 8, 4096))
        if segment_bytes < 4096 or max_bytes < 2 * segment_bytes:
            raise ValueError("segment_bytes must be at least 4096, and max_bytes two segments")
        if isinstance(fsync, str) and fsync not in ("never", "always"):
            raise ValueError(f'fsync must be "never", "always" or seconds, not {fsync!r}')
        if not isinstance(fsync, str) and fsync < 0:
            raise ValueError(f"fsync must not be negative, not {fsync!r}")
        self.path = Path(path)
        self.when, self.max_bytes, self.segment_bytes = when, max_bytes, segment_bytes
        self.fsync: str | float = fsync
        self.on_full = on_full
        self.on_append: Callable[[], object] | None = None
        """Called after an append, by the thread that appended."""
        self.recovered = 0
        """Events that were found when lanes were opened: left by processes that ended."""
        self.evicted = 0
        """Events given up for newer ones."""
        self.settled = 0
        """Events that were acknowledged, given up, or found to be damaged."""
        self._intake = Intake(
            max_bytes, segment_bytes, self._evict if on_full == "drop_oldest" else None
        )
        self._inside = False
        self._lanes: list[
            Lane
        ] = []  # the last is ours to write, those of the dead are in front of it: they are older
        self._reading: Lane | None = None  # has a batch that is not acknowledged
        self._limbo = 0  # events given up while they were being read: the reader may deliver them
        self._ages = Ages()  # in our lane
        self._damaged_before = 0
        self._left = 0  # events that were here at the last close()
        self._looked = 0.0
        self._renew_locks()

    def _renew_locks(self) -> None:
        self._lock = threading.RLock()
        self._medium = Medium(self.path, self.fsync, self._lock, lambda: self._lanes)

    @property
    def reason(self) -> str:
        """Why the last append did not take everything: spool_full, disk_full, disk_error, too_big; busy: a destructor called while its thread was
        in here."""
        return self._intake.reason

    @reason.setter
    def reason(self, reason: str) -> None:
        self._intake.reason = reason

    # -- opening --

    def open(self) -> None:
        """Find a lane, and take over what is left in others. Again: nothing happens.

        Raises:
            OSError: the directory cannot be made or read.
        """
        with self._lock:
            if self._lanes:
                return
            syncs = self.fsync != "never"
            lane = free_lane(self.path, syncs=syncs)
            self._lanes = [lane]
            self._ages.clear()
            try:
                if syncs:
                    sync_folder(self.path)
                self._adopt()
            except BaseException:
                self._let_go()
                raise
            self.recovered += max(0, lane_records(self._lanes) - self._left)
            self._left = 0

    def _adopt(self) -> int:
        """Take over the lanes of the dead; how many events that brings."""
        self._looked = time.monotonic()
        known = {lane.folder.name for lane in self._lanes}
        found = lanes_of_the_dead(self.path, known, syncs=self.fsync != "never")
        self._lanes[:0] = found
        return lane_records(found)

    def look(self) -> float:
        """Take over the lanes of processes that died since the last look, if that is a while ago; seconds until the next look."""
        with self._lock:
            if self._lanes and time.monotonic() - self._looked >= LOOK_AGAIN:
                self.recovered += self._adopt()
            return max(0.0, self._looked + LOOK_AGAIN - time.monotonic())

    def close(self) -> None:
        """Let go of the files; what is in them stays, for the next open()."""
        with self._medium.turn(), self._lock:
            try:
                if not self._medium.never:
                    self._medium.sync()
            finally:
                self._left = lane_records(self._lanes)
                self._lose_limbo()
                self._let_go()

    def _let_go(self) -> None:
        for lane in self._lanes:
            self._damaged_before += lane.damaged
            lane.close()
        self._lanes, self._reading = [], None
        self._medium.stop()

    def forked(self) -> None:
        """In a forked child: the lanes are the parent's. The next open() finds others."""
        self._renew_locks()
        self._inside = False
        self._let_go()  # the locks stay the parent's, who has the same descriptors
        self.recovered = self.evicted = self._damaged_before = self._left = self._limbo = 0

    # -- events in --

    def append(self, line: bytes) -> bool:
        """Keep an event; False, and a ``reason``, when there is no room. Any thread; costs a write(). Raises as append_many() does."""
        if self._medium.always:
            ticket = self.begin(line)
            if ticket is not None:
                self.commit(ticket)
            return ticket is not None
        with self._lock:
            lane = self._lanes[-1] if self._lanes and not self._inside else None
            quick = False
            if lane is not None and lane.bytes + len(line) + _SLACK <= self.max_bytes:
                self._inside = True
                try:
                    start = lane.next
                    quick = lane.append_one(line, self.segment_bytes)
                    if quick:
                        self._ages.came(start)
                        self._medium.later()
                finally:
                    self._inside = False
        if not quick:
            return self._append((line,), None) == 1
        if self.on_append is not None:
            self.on_append()
        return True

    def begin(self, line: bytes) -> Ticket | None:
        """append() in two steps, of which this one does not wait for the medium. None: there is no room."""
        with self._lock:
            return self._ticket() if self._put_inside((line,), None) else None

    def commit(self, ticket: Ticket) -> None:
        """The other one, with ``fsync="always"``: threads that wait at the same time share one sync.

        Raises:
            OSError: the medium has not taken the event; it is not here any longer.
        """
        if self._medium.always:
            self._medium.commit(ticket)
        if self.on_append is not None:
            self.on_append()

    def _ticket(self) -> Ticket:
        lane = self._own()
        return Ticket(lane, lane.next, len(lane.cuts))

    def append_many(self, lines: Sequence[bytes]) -> int:
        """Keep events, from the front; how many. Any thread.

        Raises:
            MongooseError: the spool is not open.
            OSError: anything but a full disk.
        """
        if not isinstance(lines, (list, tuple)):
            lines = list(lines)
        return self._append(lines, None)

    def append_batch(self, lines: Sequence[bytes], batch_id: str) -> int:
        """The same for a batch that has an id: read() gives it back as it is, with that id."""
        return self._append(lines, batch_id)

    def _append(self, lines: Sequence[bytes], batch_id: str | None) -> int:
        with self._lock:
            done = self._put_inside(lines, batch_id)
            ticket = self._ticket() if done else None
        if ticket is not None:
            self.commit(ticket)
        return done

    def _put_inside(self, lines: Sequence[bytes], batch_id: str | None) -> int:
        if self._inside:  # by a destructor that ran in the middle of something here
            self.reason = "busy"
            return 0
        self._inside = True
        try:
            lane = self._own()
            number = lane.next
            done = self._intake.put(lane, lines, batch_id)
            if done:
                self._ages.came(number)
                self._medium.later()
            return done
        finally:
            self._inside = False

    def _own(self) -> Lane:
        if not self._lanes:
            raise MongooseError(f"spool {self.path} is not open")
        return self._lanes[-1]

    def _evict(self, lane: Lane) -> None:
        start, sending = lane.acked, lane.in_flight if self._reading is lane else 0
        lost = lane.evict()
        in_hand = max(min(start + lost, sending) - start, 0)
        self._limbo += in_hand
        self.evicted += lost - in_hand
        self.settled += lost - in_hand

    @contextlib.contextmanager
    def _exclusive(self) -> Iterator[None]:
        with self._lock:
            self._inside = True
            try:
                yield
            finally:
                self._inside = False

    def _lose_limbo(self) -> None:
        self.evicted += self._limbo
        self.settled += self._limbo
        self._limbo = 0

    # -- events out --

    def read(self, max_events: int, max_bytes: int | None = None) -> SpoolBatch | None:
        """The oldest events that are not acknowledged, at least one, or None. The same ones, with the same id, until ack().

        Args:
            max_events: at most.
            max_bytes: of their lines; an event that is larger comes alone.
        """
        most = max_bytes if max_bytes is not None else 1 << 62
        self.look()
        with self._medium.turn(), self._exclusive():
            self._own()
            if self._medium.always:
                self._medium.sync()  # what is sent is on the medium
            self._lose_limbo()
            if (
                self._reading is not None
            ):  # acknowledged or given up, but for what read() is called again
                batch = self._read_lane(self._reading, max_events, most)
                if batch is not None:
                    return batch
            while True:
                for lane in list(self._lanes):
                    batch = self._read_lane(lane, max_events, most)
                    if batch is not None:
                        self._reading = lane
                        return batch
                    if lane is not self._lanes[-1]:
                        self._retire(lane)
                return None

    def _read_lane(self, lane: Lane, max_events: int, most: int) -> SpoolBatch | None:
        while lane.records:
            start = lane.acked
            taken, batch_id = lane.read(max_events, most)
            if self._medium.always:  # a batch must not be cut otherwise after a power failure
                self._medium.sync()
            if taken.lines:
                return SpoolBatch(
                    taken.lines,
                    batch_id,
                    taken.end.number - start,
                    taken.damaged,
                    lane,
                    taken.end,
                )
            if taken.end.number > start:
                self._settle(lane, taken.end, taken.damaged)
            else:  # cannot be: nothing is lost and nothing is found
                self._settle(lane, Place(taken.end.segment, 0, lane.next), lane.records)
                lane.clear()
        return None

    def _settle(self, lane: Lane, end: Place, damaged: int) -> None:
        before = lane.acked
        try:
            lane.ack(end, damaged)
        finally:
            self.settled += lane.acked - before

    def _retire(self, lane: Lane) -> None:
        """A lane of the dead without events: it is free for other processes."""
        lane.clear()
        self._damaged_before += lane.damaged
        lane.close()
        self._lanes.remove(lane)

    def ack(self, batch: SpoolBatch) -> None:
        """Those were delivered, or given up for good.

        Raises:
            OSError: that cannot be noted; after a restart they are sent again. In this process they are not.
        """
        with self._exclusive():
            self._ack(batch)

    def _ack(self, batch: SpoolBatch) -> None:
        if self._reading is batch.lane:
            self._reading = None
        if batch.lane not in self._lanes:
            return
        if self._limbo and batch.end.number <= batch.lane.segments[0].first:
            batch.lane.damaged += batch.damaged  # all of it was given up: the lane counts no more
        try:
            self._settle(batch.lane, batch.end, batch.damaged)
        finally:
            self.settled += self._limbo  # whatever became of them: they were not lost in here
            self._limbo = 0
            if batch.lane is self._lanes[-1]:
                self._ages.left(batch.lane.acked)
                if not batch.lane.records:
                    self._ages.clear()
            elif not batch.lane.records:
                self._retire(batch.lane)
        self._medium.later()

    def replace(self, batch: SpoolBatch, lines: Sequence[bytes], batch_id: str) -> bool:
        """In place of a batch keep those lines of it that are left, under another id, also beyond max_bytes. False: the disk is full, nothing
        changes. Raises OSError as append_many() and ack() do."""
        with self._medium.turn(), self._exclusive():
            lane = self._own()
            end = lane.end
            try:
                if lane.append_named(lines, self.segment_bytes, batch_id) < len(lines):
                    self.reason = "disk_full"
                    lane.undo(end)
                    return False
                if self._medium.always:
                    self._medium.sync()
            except BaseException:
                if lane.next > end.number:  # or it was cut in front of that, by a sync that failed
                    lane.undo(end)
                raise
            self._ages.came(end.number)
            self._ack(batch)
            return True

    def release(self) -> None:
        """What was read is not going to be acknowledged now: it stays here, and what was given up of it meanwhile is lost."""
        with self._lock:
            self._lose_limbo()

    # -- numbers --

    @property
    def is_open(self) -> bool:
        """Between open() and close()."""
        return bool(self._lanes)

    @property
    def events(self) -> int:
        """Events that are not acknowledged."""
        lanes = self._lanes
        if len(lanes) == 1:
            return lanes[0].next - lanes[0].acked + self._limbo
        return lane_records(lanes) + self._limbo

    @property
    def bytes(self) -> int:
        """Size of the files."""
        return sum(lane.bytes for lane in self._lanes)

    @property
    def payload(self) -> int:
        """Bytes of the events that are not acknowledged."""
        return sum(lane.payload for lane in self._lanes)

    @property
    def damaged(self) -> int:
        """Records that were found to be unreadable, or cut off by a crash."""
        return self._damaged_before + sum(lane.damaged for lane in self._lanes)

    @property
    def oldest_age(self) -> float:
        """Seconds that the oldest event has been here; for those of earlier processes, since their file was last written. 0: there is none."""
        with self._lock:
            waiting = [lane for lane in self._lanes if lane.records]
            if not waiting:
                return 0.0
            if waiting[0] is self._lanes[-1]:
                since = self._ages.since(waiting[0].acked)
                if since is not None:
                    return time.monotonic() - since
            return max(0.0, time.time() - min(lane.oldest for lane in waiting))

    @property
    def since(self) -> float | None:
        """When, by the monotonic clock, the oldest event came that is here; minus infinity: an earlier process left it; None: there is none."""
        with self._lock:
            if not lane_records(self._lanes):
                return None
            lane = self._lanes[-1]
            if lane.records < lane_records(self._lanes):
                return float("-inf")
            since = self._ages.since(lane.acked)
            return float("-inf") if since is None else since


def spool_of(spool: Spool | str | os.PathLike[str] | None) -> Spool | None:
    """What an argument ``spool=`` means."""
    return spool if spool is None or isinstance(spool, Spool) else Spool(spool)


__all__ = ["Spool", "SpoolBatch", "spool_of"]
