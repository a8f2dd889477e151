"""Events on disk: accepted, and not delivered yet."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from .._errors import MongooseError
from ._spool_lane import HEAD_SIZE, MAX_RECORD, Lane, Place, sync_folder

_LOOK_AGAIN = 10.0  # seconds between looks for lanes of processes that died meanwhile


class SpoolBatch(NamedTuple):
    """Events from a spool, until they are acknowledged."""

    lines: list[bytes]
    id: str
    """The same for the same events until they are acknowledged, in later processes too."""
    events: int
    """How many records it stands for: lines, and those that were damaged."""
    damaged: int
    lane: Lane
    end: Place


class Spool:
    """A directory in which events wait until they are delivered: ``HttpSink(url, spool=Spool("spool/", fsync=1.0))``; a path means ``Spool(path)``.

    Args:
        path: created when it is missing. Each process writes into a sub-directory of its own; those of processes that died are taken over.
        when: ``"accept"``: an event is accepted when it is on disk, and the sink reads it from there. ``"outage"``: events wait in memory, and go to
            disk when that is full, when the breaker opens and when the sink is stopped.
        max_bytes: size of all files of this process.
        segment_bytes: size of one file, about.
        fsync: ``"never"``: what is written survives the process (kill -9), since the system has it; ``"always"``: each append returns when the medium
            has it, so that it survives a power failure; a number: the same, at most so many seconds later.
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
        segment_bytes: int = 8 << 20,
        fsync: Literal["never", "always"] | float = "never",
        on_full: Literal["reject", "drop_oldest"] = "reject",
    ) -> None:
        if when not in ("accept", "outage"):
            raise ValueError(f'when must be "accept" or "outage", not {when!r}')
        if on_full not in ("reject", "drop_oldest"):
            raise ValueError(f'on_full must be "reject" or "drop_oldest", not {on_full!r}')
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
        self.reason = ""
        """Why the last append did not take everything: spool_full, disk_full, too_big."""
        self._lock = threading.Lock()
        self._lanes: list[Lane] = []  # the first is ours to write
        self._damaged_before = 0
        self._left = 0  # events that were here at the last close()
        self._last_sync = 0.0
        self._looked = 0.0

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
            self.path.mkdir(parents=True, exist_ok=True)
            for number in range(10_000):
                lane = Lane.try_open(self.path / f"{number:04d}", create=True, fsync=syncs)
                if lane is not None:
                    break
            else:
                raise MongooseError(f"{self.path} has no free lane")
            if syncs:
                sync_folder(self.path)
            self._lanes = [lane]
            self._adopt()
            self.recovered += max(0, lane_records(self._lanes) - self._left)
            self._left = 0

    def _adopt(self) -> None:
        self._looked = time.monotonic()
        ours = {lane.folder.name for lane in self._lanes}
        for folder in sorted(self.path.iterdir()):
            if folder.name in ours or not folder.name.isdigit() or not any(folder.glob("*.seg")):
                continue
            lane = Lane.try_open(folder, create=False, fsync=self.fsync != "never")
            if lane is not None:
                self._lanes.append(lane)

    def close(self) -> None:
        """Let go of the files; what is in them stays, for the next open()."""
        with self._lock:
            self._left = lane_records(self._lanes)
            for lane in self._lanes:
                self._damaged_before += lane.damaged
                if self.fsync != "never":
                    lane.sync()
                lane.close()
            self._lanes = []

    def forked(self) -> None:
        """In a forked child: the lanes are the parent's. The next open() finds others."""
        self._lock = threading.Lock()
        for lane in self._lanes:
            lane.close()  # the lock stays the parent's, who has the same descriptor
        self._lanes = []
        self.recovered = self.evicted = self._damaged_before = self._left = 0

    # -- events in --

    def append(self, line: bytes) -> bool:
        """Keep an event; False, and a ``reason``, when there is no room. Any thread; costs a write()."""
        return self.append_many((line,)) == 1

    def append_many(self, lines: Sequence[bytes]) -> int:
        """Keep events, from the front; how many. Any thread.

        Raises:
            MongooseError: the spool is not open.
            OSError: anything but a full disk.
        """
        with self._lock:
            lane = self._own()
            done = 0
            while done < len(lines):
                fitting = self._fitting(lane, lines[done:])
                if fitting == 0 and self._make_room(lane):
                    continue
                if fitting == 0:
                    break
                n = lane.append(lines[done : done + fitting], self.segment_bytes)
                done += n
                if n < fitting:
                    self.reason = "disk_full"
                    if self.on_full == "drop_oldest" and self._make_room(lane):
                        continue
                    break
            if done:
                self._sync(lane)
        if done and self.on_append is not None:
            self.on_append()
        return done

    def _own(self) -> Lane:
        if not self._lanes:
            raise MongooseError(f"spool {self.path} is not open")
        return self._lanes[0]

    def _fitting(self, lane: Lane, lines: Sequence[bytes]) -> int:
        room = self.max_bytes - lane.bytes - HEAD_SIZE
        heads = self.segment_bytes  # until the next file begins
        for n, line in enumerate(lines):
            room -= len(line) + 8
            heads -= len(line) + 8
            if heads <= 0:
                room -= HEAD_SIZE
                heads = self.segment_bytes
            if not 0 < len(line) <= min(MAX_RECORD, self.max_bytes):
                self.reason = "too_big"
                return n
            if room < 0:
                self.reason = "spool_full"
                return n
        return len(lines)

    def _make_room(self, lane: Lane) -> bool:
        if self.on_full != "drop_oldest" or self.reason == "too_big" or len(lane.segments) < 2:
            return False
        self.evicted += lane.evict()
        return True

    def _sync(self, lane: Lane) -> None:
        if self.fsync == "never":
            return
        now = time.monotonic()
        if self.fsync == "always" or now - self._last_sync >= float(self.fsync):
            self._last_sync = now
            lane.sync()

    # -- events out --

    def read(self, max_events: int, max_bytes: int | None = None) -> SpoolBatch | None:
        """The oldest events that are not acknowledged, at least one, or None. The same ones, with the same id, until ack()."""
        most = max_bytes if max_bytes is not None else 1 << 62
        with self._lock:
            self._own()
            while True:
                for lane in self._lanes:
                    while lane.records:
                        start = lane.acked
                        taken = lane.read(max_events, most)
                        batch = SpoolBatch(
                            taken.lines,
                            f"{lane.id.hex()}-{start:x}",
                            taken.end.number - start,
                            taken.damaged,
                            lane,
                            taken.end,
                        )
                        if taken.lines:
                            return batch
                        if taken.end.number <= start:  # cannot be: nothing lost and nothing found
                            lane.damaged += lane.records
                            lane.ack(Place(taken.end.segment, taken.end.offset, lane.next))
                        else:
                            lane.ack(taken.end, taken.damaged)
                if time.monotonic() - self._looked < _LOOK_AGAIN:
                    return None
                for lane in self._lanes[1:]:
                    self._damaged_before += lane.damaged
                    lane.close()
                del self._lanes[1:]
                known = lane_records(self._lanes)
                self._adopt()
                self.recovered += lane_records(self._lanes) - known

    def ack(self, batch: SpoolBatch) -> None:
        """Those were delivered, or given up for good."""
        with self._lock:
            if batch.lane in self._lanes:
                batch.lane.ack(batch.end, batch.damaged)
                self._sync(batch.lane)

    # -- numbers --

    @property
    def is_open(self) -> bool:
        """Between open() and close()."""
        return bool(self._lanes)

    @property
    def events(self) -> int:
        """Events that are not acknowledged."""
        return lane_records(self._lanes)

    @property
    def bytes(self) -> int:
        """Size of the files."""
        return sum(lane.bytes for lane in self._lanes)

    @property
    def damaged(self) -> int:
        """Records that were found to be unreadable, or cut off by a crash."""
        return self._damaged_before + sum(lane.damaged for lane in self._lanes)

    @property
    def oldest_age(self) -> float:
        """Seconds since the file of the oldest event was last written; 0 when there is none."""
        with self._lock:
            waiting = [lane.oldest for lane in self._lanes if lane.records]
        return max(0.0, time.time() - min(waiting)) if waiting else 0.0


def lane_records(lanes: Sequence[Lane]) -> int:
    return sum(lane.records for lane in lanes)


def spool_of(spool: Spool | str | os.PathLike[str] | None) -> Spool | None:
    """What an argument ``spool=`` means."""
    return spool if spool is None or isinstance(spool, Spool) else Spool(spool)


__all__ = ["Spool", "SpoolBatch", "spool_of"]
