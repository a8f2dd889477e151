"""How long records have been in a lane: when some of them came."""

from __future__ import annotations

import time
from collections import deque

_MARKS = 4096  # times that are remembered, at most


class Ages:
    """Of the records that one process appended. Numbers are the lane's."""

    def __init__(self) -> None:
        self._marks: deque[tuple[float, int]] = deque()  # when the record of that number came

    def came(self, number: int) -> None:
        """Records from that number on came just now."""
        marks = self._marks
        while marks and marks[-1][1] >= number:  # of records that were taken back
            marks.pop()
        if len(marks) < _MARKS:  # beyond that events pass for a little older than they are
            marks.append((time.monotonic(), number))

    def left(self, acked: int) -> None:
        """Those in front of that number are gone."""
        while len(self._marks) > 1 and self._marks[1][1] <= acked:
            self._marks.popleft()

    def since(self, acked: int) -> float | None:
        """When, by the monotonic clock, the record of that number came. None: nobody knows."""
        if not self._marks:
            return None
        at, number = self._marks[0]
        return at if number <= acked else None

    def clear(self) -> None:
        self._marks.clear()
