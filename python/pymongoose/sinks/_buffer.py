"""Events in memory, in order, with their sizes and the time they came."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from typing import Any

from .._core import Lines
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


COPIED = 1 << 16  # bytes


class LineBuffer:
    """The same for a sink that writes lines as they lie in memory: batches are Lines, and no line is an object of its own. What came in large pieces
    leaves in these pieces, rather than being copied together: a batch may then have less than it could."""

    def __init__(self, max_bytes: int | None) -> None:
        self.max_bytes = max_bytes
        self._blocks: deque[tuple[Lines, float]] = deque()  # and when it came
        self._n = 0
        self._size = 0  # with line feeds
        self.came = 0

    def __len__(self) -> int:
        return self._n

    @property
    def bytes(self) -> int:
        return 0 if self.max_bytes is None else self._size - self._n

    @property
    def since(self) -> float | None:
        try:
            return self._blocks[0][1]
        except IndexError:
            return None

    def put(self, items: Sequence[Any], most: int) -> int:
        n = min(len(items), most - self._n)
        if n <= 0:
            return 0
        taken = items if n == len(items) else items[:n]
        block = taken if isinstance(taken, Lines) else Lines(taken)
        self._blocks.append((block, time.monotonic()))
        self._n += n
        self._size += block.nbytes
        self.came += n
        return n

    def next_batch(self, most: int) -> Lines:
        parts: list[Lines] = []
        room, size = self.max_bytes, 0
        while (
            most > 0 and self._blocks and (not parts or size + self._blocks[0][0].nbytes <= COPIED)
        ):
            n = min(most, len(self._blocks[0][0]))
            if room is not None:
                n = min(n, self._fitting(self._blocks[0][0], room, at_least=not parts))
                if n == 0:
                    break
            parts.append(part := self._cut(n))
            most -= n
            size += part.nbytes
            if room is not None:
                room -= part.nbytes - n
        return parts[0] if len(parts) == 1 else Lines.join(parts)

    def _fitting(self, block: Lines, room: int, *, at_least: bool) -> int:
        """Lines of it, from the front, with so many bytes, line feeds not counted."""
        n = block.fit(room)
        while n < len(block) and block[: n + 1].nbytes - (n + 1) <= room:
            n += 1
        return max(n, int(at_least))

    def _cut(self, n: int) -> Lines:
        """The first n lines, of one block."""
        block, when = self._blocks.popleft()
        if n < len(block):
            self._blocks.appendleft((block[n:], when))
            block = block[:n]
        self._n -= n
        self._size -= block.nbytes
        return block

    def take(self, n: int) -> Lines:
        parts: list[Lines] = []
        while n > 0 and self._blocks:
            parts.append(part := self._cut(min(n, len(self._blocks[0][0]))))
            n -= len(part)
        return parts[0] if len(parts) == 1 else Lines.join(parts)

    def all(self) -> list[Any]:
        return [line for block, _ in self._blocks for line in block]
