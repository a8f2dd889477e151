"""Events in memory, in order, with their sizes and the time they came."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from typing import Any

from ._encode import encode


class Buffer:
    """What a BatchedSink has not sent yet.

    Args:
        max_bytes: of a batch, as JSON; None: sizes are not looked at.
    """

    def __init__(self, max_bytes: int | None) -> None:
        self.max_bytes = max_bytes
        self._items: deque[Any] = deque()
        self._sizes: deque[int] = deque()  # with max_bytes
        self._marks: deque[list[float]] = deque()  # [when, how many] came
        self.bytes = 0
        self.came = 0
        """Events that were ever put in."""

    def __len__(self) -> int:
        return len(self._items)

    @property
    def since(self) -> float | None:
        """When the oldest came, by the monotonic clock. Any thread."""
        try:
            return self._marks[0][0]
        except IndexError:
            return None

    def put(self, items: Sequence[Any], most: int) -> int:
        """As many, from the front, as fit when it holds so many at most; their number."""
        n = min(len(items), most - len(self._items))
        if n <= 0:
            return 0
        taken = items if n == len(items) else items[:n]
        self._items.extend(taken)
        self._marks.append([time.monotonic(), n])
        self.came += n
        if self.max_bytes is not None:
            sizes = [len(i) if i.__class__ is bytes else len(encode(i)) for i in taken]
            self._sizes.extend(sizes)
            self.bytes += sum(sizes)
        return n

    def next_batch(self, most: int) -> list[Any]:
        """Take the oldest out: so many, and not more bytes than max_bytes, unless one alone has more."""
        n = min(most, len(self._items))
        if self.max_bytes is not None:
            total = 0
            for i in range(n):
                total += self._sizes[i]
                if total > self.max_bytes and i > 0:
                    n = i
                    break
        return self.take(n)

    def take(self, n: int) -> list[Any]:
        """Take the oldest n out."""
        n = min(n, len(self._items))
        pop = self._items.popleft
        items = [pop() for _ in range(n)]
        if self.max_bytes is not None:
            for _ in range(n):
                self.bytes -= self._sizes.popleft()
        while n > 0:
            mark = self._marks[0]
            if mark[1] > n:
                mark[1] -= n
                break
            n -= int(mark[1])
            self._marks.popleft()
        return items

    def all(self) -> list[Any]:
        """What is in it."""
        return list(self._items)
