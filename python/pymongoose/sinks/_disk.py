"""A sink's spool as the sink uses it: what fails is logged and counted, and raises nothing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

from .._errors import MongooseError
from ._delivery import Batch
from ._encode import decode, encode
from ._spool import Spool, SpoolBatch
from ._spool_medium import Ticket


class Disk:
    """Where events of a BatchedSink wait beside, or in place of, its memory.

    Args:
        count: (reason, how many) for events that are lost.
        warn: (what, why) for the log.
    """

    def __init__(
        self,
        spool: Spool,
        count: Callable[[str, int], None],
        warn: Callable[[str, BaseException | str], None],
    ) -> None:
        self.spool = spool
        self._count, self._warn = count, warn
        self._counted = [0, 0]  # damaged and evicted so far

    def begin(self, line: bytes) -> Ticket | bool:
        """Keep a line; a ticket: end() waits for the medium. Any thread."""
        spool = self.spool
        try:
            if not spool.is_open:  # a pipeline accepts events before its worker started the sink
                spool.open()
            if spool.fsync != "always":
                return spool.append(line)
            return spool.begin(line) or False
        except (OSError, MongooseError) as e:
            return self._failed(e)

    def end(self, ticket: Ticket) -> bool:
        """Whether that line is on the medium. Any thread."""
        try:
            self.spool.commit(ticket)
        except OSError as e:
            return self._failed(e)
        return True

    def _failed(self, error: Exception) -> bool:
        self.spool.reason = "disk_error"
        self._warn("the spool cannot be written", error)
        return False

    def keep(self, items: Sequence[Any], batch_id: str | None = None) -> int:
        """Events or lines, from the front; how many are dealt with."""
        if not items:
            return 0
        lines = _lines(items)
        n = 0
        try:
            if batch_id is not None:
                n = self.spool.append_batch(lines, batch_id)
            while n < len(lines):
                n += self.spool.append_many(lines[n:] if n else lines)
                if n == len(lines) or self.spool.reason != "too_big":
                    break
                self._count("too_big", 1)  # others must not wait behind it for ever
                n += 1
        except (OSError, MongooseError) as e:
            self._warn("the spool cannot be written", e)
        return n

    async def next(self, most: int, max_bytes: int | None, *, as_lines: bool) -> Batch | None:
        """The oldest that are not acknowledged. Raises OSError, MongooseError: try again later."""
        if self.spool.fsync == "always":
            spooled = await asyncio.to_thread(self.spool.read, most, max_bytes)
        else:
            spooled = self.spool.read(most, max_bytes)
        self.count_lost()
        if spooled is None:
            return None
        items: list[Any] = spooled.lines
        if not as_lines:
            items = []
            for line in spooled.lines:
                try:
                    items.append(decode(line))
                except ValueError:  # a native record that is no JSON
                    self._count("damaged", 1)
        batch = Batch(items, spooled.id, time.monotonic(), spooled)
        batch.lost = len(items) < len(spooled.lines)  # those must not be counted again
        return batch

    def leave(self, spooled: SpoolBatch, left: Sequence[Any] | None, batch_id: str) -> None:
        """A batch is not going to be acknowledged now: it stays, or, in its place, what is left of it, under an id of its own."""
        if left is not None:
            try:
                if not self.spool.replace(spooled, _lines(left), batch_id):
                    self._warn("a batch will be sent again as a whole", self.spool.reason)
            except (OSError, MongooseError) as e:
                self._warn("the spool cannot be written", e)
        self.spool.release()

    def ack(self, spooled: SpoolBatch) -> None:
        try:
            self.spool.ack(spooled)
        except OSError as e:  # a later process may send it again
            self._warn("the spool cannot be written", e)
        self.count_lost()

    def count_lost(self) -> None:
        """Events that the spool lost: damaged by a crash, or given up for newer ones."""
        now = [self.spool.damaged, self.spool.evicted]
        for i, reason in enumerate(("damaged", "evicted")):
            self._count(reason, max(0, now[i] - self._counted[i]))
        self._counted = now


def _lines(items: Sequence[Any]) -> list[bytes]:
    return [i if i.__class__ is bytes else encode(i) for i in items]
