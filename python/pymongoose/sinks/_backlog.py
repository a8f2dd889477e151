"""Events on disk that did not fit into a pipeline's queue."""

from __future__ import annotations

from typing import Any

from ._worker import Ready

TAKE_BYTES = 1 << 20


class Backlog:
    """A spool as the overflow of a queue: lines in from any thread, events out to the worker when there is room.

    Events that were redacted and enriched before they went to disk come back ready. A batch is acknowledged as soon as it was handed to
    the sinks: from there on they answer for it.
    """

    def __init__(self, spool: Any) -> None:
        self.spool = spool

    def __len__(self) -> int:
        n: int = self.spool.events
        return n

    def append(self, line: bytes) -> bool:
        taken: bool = self.spool.append(line)
        return taken

    def take(self, n: int) -> tuple[Any, list[Ready]]:
        """The oldest events, and what done() wants when they were handed on."""
        if not self.spool.events:
            return None, []
        batch = self.spool.read(n, TAKE_BYTES)
        return batch, [Ready(line) for line in batch.lines] if batch is not None else []

    def done(self, batch: Any) -> None:
        self.spool.ack(batch)

    def close(self) -> None:
        self.spool.close()
