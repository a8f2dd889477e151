"""One sink as its pipeline's worker sees it: what it was offered, and what it could not take yet."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

from ._encode import decode, encode
from ._levels import level_index
from ._policy import Overflow
from ._sink import Sink

Item = Any
"""What waits for a sink: an event for one that takes dicts, a line for one that takes JSON."""


class Outlet:
    """A sink, its route, and the deliveries that it had no room for.

    What a sink does not take at once is carried: up to one slice, or, while it has not started yet, as much as its buffer would hold.
    While every outlet carries, the worker leaves events in the queue, so that the queue's policy decides; an outlet that alone is full
    loses its own deliveries, by the policy of their level, and the others go on.
    """

    def __init__(
        self,
        sink: Sink,
        matches: Callable[[dict[str, Any]], bool] | None,
        policies: tuple[Overflow, ...],
        room: int,
        complain: Callable[[str], None],
    ) -> None:
        self.sink = sink
        self.matches = matches
        self.complain = complain
        self.json = sink.accepts == "json"
        self.blocks = self.json and bool(getattr(sink, "blocks", False))
        self.durable = bool(
            getattr(sink, "durable", False)
        )  # accepted is on disk: emit() itself appends
        self.spools = getattr(sink, "spool", None) is not None
        self.started = False
        self.ending = False  # stop() waits no longer
        self.carry: list[Item] = []
        self.dropped: dict[str, int] = {}
        self._policies = policies
        self._evicts = "drop_oldest" in policies
        self._room = min(room, getattr(sink, "max_pending", None) or room)

    @property
    def stuck(self) -> bool:
        return bool(self.carry)

    def begin(self, line: bytes) -> Any:
        """Put a line on a durable sink's disk. False: there is no room. What is not True is for its end_durable(), which waits for the medium."""
        first = getattr(self.sink, "begin_durable", None)
        return self.sink.append_durable(line) if first is None else first(line)

    def count(self, reason: str, n: int) -> None:
        if n:
            self.dropped[reason] = self.dropped.get(reason, 0) + n

    def offer(self, items: Sequence[Item]) -> int:
        if not self.started:
            return 0
        try:
            return self.sink.offer((), items) if self.json else self.sink.offer(items, ())
        except BaseException as error:  # it may not, but somebody's does
            if not is_its_own(error):
                raise
            self.count("sink_error", len(items))
            self.complain(f"sink {self.sink.name} could not be offered events")
            return len(items)

    def push(self, items: Sequence[Item], events: Sequence[Any]) -> None:
        """Deliver, carry, or drop. `events` are the same ones, for their levels."""
        if not items:
            return
        if self.ending:
            self._end(items)
            return
        if not self.started and self.spools and self._must_spool(len(items)):
            items, self.carry = [*self.carry, *items], []
            self.count("spool_full", len(items) - self._to_disk(items))
            return
        if not self.carry:
            taken = self.offer(items)
            if taken < len(items):
                self.carry = list(items[taken:])
            return
        if not self.started:
            room = max(self._room - len(self.carry), 0)
            self.carry += items[:room]
            items, events = items[room:], events[room:]
        if items:
            self._overflow(items, events)

    def _must_spool(self, n: int) -> bool:
        """Before its start: what there is no room for goes to the sink's disk, and so does what comes after that."""
        spool = self.sink.spool  # type: ignore[attr-defined]
        return len(self.carry) + n > self._room or (spool.is_open and spool.events > 0)

    def _to_disk(self, items: Sequence[Item]) -> int:
        return sum(self.sink.append_durable(item if self.json else encode(item)) for item in items)

    def _overflow(self, items: Sequence[Item], events: Sequence[Any]) -> None:
        if not self._evicts:
            self.count("sink_full", len(items))
            return
        for item, event in zip(items, events, strict=True):
            if self._policies[_index(event)] == "drop_oldest" and self._evict():
                self.carry.append(item)
            else:
                self.count("sink_full", 1)

    def _evict(self) -> bool:
        """Give up the oldest delivery, and bring what is carried up by one."""
        if self.started and self.sink.drop_oldest(1):
            self.count("evicted", 1)
            del self.carry[: self.offer(self.carry[:1])]
            return True
        if self.carry:
            self.count("evicted", 1)
            del self.carry[0]
            return True
        return False

    def relieve(self) -> bool:
        """Offer what is carried once more. True: nothing is carried any longer."""
        if self.carry:
            del self.carry[: self.offer(self.carry)]
        return not self.carry

    def forked(self) -> None:
        """In a forked child: what is buffered is the parent's."""
        self.carry = []
        self.dropped = {}
        self.started = False
        forked = getattr(self.sink, "forked", None)
        if forked is not None:
            forked()

    def end(self) -> None:
        """stop() waits no longer: what is carried, and what comes from now on, goes to the sink's disk or is lost."""
        self.ending = True
        items, self.carry = self.carry, []
        self._end(items)

    def _end(self, items: Sequence[Item]) -> None:
        kept = self._to_disk(items) if self.spools else 0
        self.count("deadline", len(items) - kept)


def is_its_own(error: BaseException) -> bool:
    """Whether a processor, a route or a sink raised it. SystemExit and the like may also be a signal handler's, on the main thread, which
    emits to disk."""
    return isinstance(error, Exception) or threading.current_thread() is not threading.main_thread()


def _index(event: Any) -> int:
    try:
        if event.__class__ is bytes:
            event = decode(event)
        return level_index(event["level"])
    except Exception:  # noqa: BLE001  (a native record without one, or a processor's own idea of a level)
        return 2
