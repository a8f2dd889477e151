"""What a pipeline counts besides its queue and its sinks."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace


@dataclass(slots=True)
class Tally:
    """A pipeline has two: one of the worker, and one of those who emit past the queue (to disk), under its lock."""

    drained: int = 0
    """Taken out of the queue, and settled: counted, or in the hands of the sinks."""
    filtered: int = 0
    """By a processor, or wanted by no route."""
    extra: int = 0
    """Deliveries beyond one for each event in the queue."""
    apart: int = 0
    """Events accepted without going through the queue."""
    below: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    """Accepted, and lost before any sink had them."""
    refused: dict[str, int] = field(default_factory=dict)
    """Not accepted, besides those that the queue refused."""
    lock: threading.RLock = field(default_factory=threading.RLock)
    owner: int = 0
    """Thread that is putting an event on disk: what it emits meanwhile (a signal handler, a processor) goes through the queue."""

    @property
    def mine(self) -> bool:
        return self.owner == threading.get_ident()

    @contextmanager
    def owned(self) -> Iterator[None]:
        with self.lock:
            self.owner = threading.get_ident()
            try:
                yield
            finally:
                self.owner = 0

    def drop(self, reason: str, n: int = 1) -> None:
        if n:
            self.dropped[reason] = self.dropped.get(reason, 0) + n

    def add(self, other: Tally) -> None:
        """What was counted apart, for this one to have all of it or nothing."""
        self.drained += other.drained
        self.extra += other.extra
        self.filtered += other.filtered
        for reason, n in other.dropped.items():
            self.drop(reason, n)

    def copy(self) -> Tally:
        """The same numbers."""
        return replace(self, dropped=dict(self.dropped), refused=dict(self.refused))

    def refuse(self, reason: str) -> None:
        self.refused[reason] = self.refused.get(reason, 0) + 1
