"""What a lane takes, and what has to go for it: the bounds of a spool."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from ._spool_lane import Lane
from ._spool_records import MAX_RECORD
from ._spool_segment import HEAD_SIZE

logger = logging.getLogger("pymongoose.sinks")


class Intake:
    """Appends to a lane within bounds.

    Args:
        max_bytes: of the lane's files.
        segment_bytes: of one file, about.
        give_up: gives the oldest file of a lane up for newer events; None: new ones are refused.
    """

    def __init__(
        self, max_bytes: int, segment_bytes: int, give_up: Callable[[Lane], object] | None
    ) -> None:
        self.max_bytes, self.segment_bytes = max_bytes, segment_bytes
        self._give_up = give_up
        self.reason = ""

    def put(self, lane: Lane, lines: Sequence[bytes], batch_id: str | None) -> int:
        """All of them that there is room for. Whatever this raises, none is there."""
        end = lane.end
        try:
            return self._write(lane, lines, batch_id)
        except BaseException:  # of a disk, or of a signal handler
            lane.undo(end)
            raise

    def _write(self, lane: Lane, lines: Sequence[bytes], batch_id: str | None) -> int:
        done = 0
        while done < len(lines):
            fitting = self._fitting(lane, lines[done:] if done else lines)
            if fitting == 0 and self._make_room(lane):
                continue
            if fitting == 0:
                break
            part = lines if fitting == len(lines) else lines[done : done + fitting]
            before = lane.next
            try:
                if batch_id is None or done:
                    n = lane.append(part, self.segment_bytes)
                else:
                    n = lane.append_named(part, self.segment_bytes, batch_id)
            except OSError:  # what was written before it is kept
                done += lane.next - before
                if not done:
                    raise
                self.reason = "disk_error"
                logger.warning("spool %s: the disk fails", lane.folder.parent, exc_info=True)
                break
            done += n
            if n < fitting:
                self.reason = "disk_full"
                if not self._make_room(lane):
                    break
        return done

    def _fitting(self, lane: Lane, lines: Sequence[bytes]) -> int:
        """How many there is room for, from the front."""
        largest = min(MAX_RECORD, self.max_bytes - 2 * HEAD_SIZE - 8)
        room = self.max_bytes - lane.bytes - HEAD_SIZE
        if len(lines) == 1:
            size = len(lines[0])
            if size + 8 + HEAD_SIZE <= room and 0 < size <= largest:
                return 1
        else:
            sizes = list(map(len, lines))
            size = sum(sizes) + 8 * len(sizes)
            heads = HEAD_SIZE * (size // self.segment_bytes + 1)
            if size + heads <= room and min(sizes) > 0 and max(sizes) <= largest:
                return len(lines)
        left = self.segment_bytes  # until the next file begins
        for n, line in enumerate(lines):
            room -= len(line) + 8
            left -= len(line) + 8
            if left <= 0:
                room -= HEAD_SIZE
                left = self.segment_bytes
            if not 0 < len(line) <= largest:
                self.reason = "too_big"
                return n
            if room < 0:
                self.reason = "spool_full"
                return n
        return len(lines)

    def _make_room(self, lane: Lane) -> bool:
        if self.reason == "too_big":
            return False
        if lane.clear():  # everything was delivered, but the file is still there
            return True
        if self._give_up is None or len(lane.segments) < 2:
            return False
        self._give_up(lane)
        return True
