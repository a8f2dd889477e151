"""Events on disk that did not fit into a pipeline's queue."""

from __future__ import annotations

from .._errors import MongooseError
from ._courier import Ready, complain
from ._spool import Spool, SpoolBatch

TAKE_BYTES = 1 << 20


class Backlog:
    """A spool as the overflow of a queue: lines in from any thread, events out to the worker when there is room.

    Events that were redacted and enriched before they went to disk come back ready. A batch is acknowledged as soon as it was handed to
    the sinks: from there on they answer for it.
    """

    def __init__(self, spool: Spool) -> None:
        self.spool = spool
        self._left = 0  # in it, while it is closed

    def open(self) -> None:
        """Raises OSError when the directory cannot be made or read."""
        self.spool.open()

    def __len__(self) -> int:
        return self.spool.events if self.spool.is_open else self._left

    @property
    def is_open(self) -> bool:
        return self.spool.is_open

    @property
    def dropped(self) -> dict[str, int]:
        return {"damaged": self.spool.damaged, "evicted": self.spool.evicted}

    def append(self, line: bytes) -> bool:
        """Any thread. False: there is no room."""
        try:
            return self.spool.append(line)
        except (OSError, MongooseError):
            complain("the overflow spool cannot be written")
            return False

    def take(self, n: int) -> tuple[SpoolBatch | None, list[Ready]]:
        """The oldest events, and what done() wants when they were handed on."""
        batch = self.spool.read(n, TAKE_BYTES) if self.spool.events else None
        return batch, [] if batch is None else [Ready(line) for line in batch.lines]

    def done(self, batch: SpoolBatch) -> None:
        self.spool.ack(batch)

    def close(self) -> None:
        if not self.spool.is_open:  # a signal handler closed it, and knows what is left
            return
        self.spool.release()
        self._left = self.spool.events
        try:
            self.spool.close()
        except OSError:
            complain("the overflow spool did not close cleanly")

    def forked(self) -> None:
        self._left = 0
        self.spool.forked()
