"""From a slice of the queue to the outlets: processors, routes, one encoding, and what becomes of events there is no time for."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from .._core import Lines
from ._encode import decode, encode, encode_all
from ._outlet import Outlet, is_its_own
from ._tally import Tally

logger = logging.getLogger("pymongoose.sinks")

Processor = Callable[[dict[str, Any]], dict[str, Any] | None]

_complained: dict[str, float] = {}


def complain(what: str) -> None:
    """Log an exception that is being handled, at most once a second for each text. Any thread."""
    now = time.monotonic()
    if now - _complained.get(what, -10.0) >= 1.0:
        _complained[what] = now
        logger.exception(what)


class Ready:
    """An event, or its line, that went through the processors already, and to the durable sinks if there are any."""

    __slots__ = ("event",)

    def __init__(self, event: Any) -> None:
        self.event = event


class Courier:
    """Hands out what its worker drains. Each slice is settled at once: what is counted about it, and what the outlets get of it.

    Runs on the worker's thread; process() and wants() also on threads that emit to disk.
    """

    def __init__(
        self,
        outlets: Sequence[Outlet],
        processors: Sequence[Processor],
        tally: Tally,
        *,
        as_they_are: bool,
    ) -> None:
        self.outlets = outlets
        self.processors = processors
        self.tally = tally
        self.door = threading.Lock()  # held while a slice is settled
        self.gone = False  # the worker was given up: others count what it has in hand
        self.late_at: float | None = None
        """When, by the monotonic clock, what is not settled yet is lost; of stop()."""
        self.all_get_all = all(o.matches is None for o in outlets) and bool(outlets)
        durable = any(o.durable for o in outlets)
        # Then batches go through as they are, and perhaps no event need be seen as a dict at all.
        self.plain = as_they_are and not processors and self.all_get_all and not durable
        self.lines_only = self.plain and all(o.json for o in outlets)

    def is_late(self) -> bool:
        return self.late_at is not None and time.monotonic() >= self.late_at

    def deliver(self, batch: Sequence[Any], *, drained: bool = True) -> None:
        """Those to whom they belong; `drained`: out of the queue, which counts."""
        counts = Tally(drained=len(batch) if drained else 0)
        if drained and self.is_late():  # what comes off the disk is not lost
            self.lose(batch, counts)
            self._hand_out([], counts)
            return
        if self.plain:
            self._hand_out(self._to_all(batch, self.outlets, counts), counts)
            return
        fresh: list[Any] = []
        ready: list[Any] = []
        for i, item in enumerate(batch):
            if item.__class__ is Ready:
                ready.append(item.event)
            elif not self.processors:
                fresh.append(item)
            elif (event := self.process(item, counts)) is not None:
                fresh.append(event)
            if self.late_at is not None and self.is_late():
                self.lose(batch[i + 1 :], counts)
                break
        portions: list[tuple[Outlet, Sequence[Any]]] = []
        if ready:
            others = [o for o in self.outlets if not o.durable]
            portions += self._route(ready, others, counts, hurry=drained)
        if fresh:
            portions += self._route(fresh, self.outlets, counts)
        self._hand_out(portions, counts)

    def lose(self, items: Sequence[Any], counts: Tally) -> None:
        """Count events that there was no time for, once for each sink they would have gone to; for one, where only routes know that."""
        deliveries = len(items)
        if self.all_get_all:
            deliveries *= len(self.outlets)
            if durable := sum(o.durable for o in self.outlets):
                deliveries -= durable * sum(item.__class__ is Ready for item in items)
        counts.extra += deliveries - len(items)
        counts.drop("deadline", deliveries)

    def process(self, item: Any, counts: Tally) -> dict[str, Any] | None:
        """An event as the processors leave it; None, and counted, when that is not at all."""
        try:
            event: dict[str, Any] | None = decode(item) if item.__class__ is bytes else item
            for processor in self.processors:
                event = processor(event)  # type: ignore[arg-type]
                if event is None:
                    counts.filtered += 1
                    return None
        except BaseException as error:
            if not is_its_own(error):
                raise
            counts.drop("processor_error")
            complain("a processor raised; the event is dropped")
            return None
        return event

    def _to_all(
        self, events: Sequence[Any], outlets: Sequence[Outlet], counts: Tally
    ) -> list[tuple[Outlet, Sequence[Any]]]:
        counts.extra += len(events) * (len(outlets) - 1)
        return [(outlet, events) for outlet in outlets]

    def _route(
        self,
        events: list[Any],
        outlets: Sequence[Outlet],
        counts: Tally,
        *,
        hurry: bool = True,
    ) -> list[tuple[Outlet, Sequence[Any]]]:
        """Each outlet those events that it is to have; an event that nobody has is filtered."""
        if self.all_get_all and outlets:
            return self._to_all(events, outlets, counts)
        chosen: list[list[Any]] = [[] for _ in outlets]
        for i, event in enumerate(events):
            if hurry and self.late_at is not None and self.is_late():
                self.lose(events[i:], counts)
                break
            shown = None
            places = 0
            for outlet, portion in zip(outlets, chosen, strict=True):
                if outlet.matches is not None:
                    if shown is None:
                        shown = _with_level(event)
                    wanted = self.wants(outlet, shown)
                    if wanted is None:
                        counts.drop("route_error")
                        places += 1
                    if not wanted:
                        continue
                portion.append(event)
                places += 1
            if places:
                counts.extra += places - 1
            else:
                counts.filtered += 1
        return list(zip(outlets, chosen, strict=True))

    def wants(self, outlet: Outlet, event: dict[str, Any]) -> bool | None:
        """Whether a route lets an event through. None: it raised, and the delivery is lost."""
        try:
            return outlet.matches is None or bool(outlet.matches(event))
        except BaseException as error:
            if not is_its_own(error):
                raise
            complain(f"the route to sink {outlet.sink.name} raised")
            return None

    def _hand_out(self, portions: Sequence[tuple[Outlet, Sequence[Any]]], counts: Tally) -> None:
        """Each outlet its events; a list that several have is converted once."""
        lines: dict[int, Sequence[bytes]] = {}
        dicts: dict[int, list[dict[str, Any]]] = {}
        one_by_one: dict[int, list[bytes]] = {}  # of Lines, for sinks that do not know them
        for outlet, events in portions:
            key = id(events)
            if outlet.json:
                if key not in lines:
                    lines[key] = events if isinstance(events, Lines) else encode_all(list(events))
                if isinstance(events, Lines) and not outlet.blocks and key not in one_by_one:
                    one_by_one[key] = list(events)
            elif key not in dicts:
                dicts[key] = [_event(e) if e.__class__ is bytes else e for e in events]
        with self.door:
            if self.gone:
                return
            self.tally.add(counts)
            for outlet, events in portions:
                items: Sequence[Any] = lines[id(events)] if outlet.json else dicts[id(events)]
                if not outlet.blocks:
                    items = one_by_one.get(id(events), items)
                outlet.push(items, events)

    def relieve(self) -> tuple[bool, bool]:
        """Offer once more what outlets carry. Whether none of them has room; and whether one had some."""
        stuck, moved = 0, False
        with self.door:
            for outlet in () if self.gone else self.outlets:
                if before := len(outlet.carry):
                    stuck += not outlet.relieve()
                    moved = moved or len(outlet.carry) < before
        return stuck > 0 and stuck == len(self.outlets), moved

    def keep(self, batch: list[Any], append: Callable[[bytes], bool]) -> None:
        """To disk instead, for a later run: what is for durable sinks to theirs, since a later run takes it that they have it."""
        durable = [o for o in self.outlets if o.durable]
        others = len(durable) < len(self.outlets) or not durable
        for i, item in enumerate(batch):
            if self.is_late():
                counts = Tally(drained=len(batch) - i)
                self.lose(batch[i:], counts)
                self._hand_out([], counts)
                return
            counts = Tally(drained=1)
            ready = item.__class__ is Ready
            event = item.event if ready else item
            kept = ready or (event := self.process(event, counts)) is not None
            line = line_of(event) if kept else b""
            takers: list[Outlet] = []
            places = int(kept and others)
            if kept and not ready and durable:
                shown = _with_level(event)
                for outlet in durable:
                    if (wanted := self.wants(outlet, shown)) is None:
                        counts.drop("route_error")
                    elif wanted:
                        takers.append(outlet)
                    places += wanted is not False
            if places:
                counts.extra += places - 1
            elif kept:
                counts.filtered += 1
            with self.door:
                if self.gone:
                    return
                for outlet in takers:
                    outlet.push([line if outlet.json else _event(line)], [line])
                if kept and others and not append(line):
                    counts.drop("deadline")
                self.tally.add(counts)


def line_of(event: Any) -> bytes:
    return event if event.__class__ is bytes else encode(event)


def _event(line: bytes) -> dict[str, Any]:
    try:
        event = decode(line)
    except ValueError:  # whoever wrote that record: it must not end the worker
        event = None
    return event if isinstance(event, dict) else {"message": line.decode("utf-8", "replace")}


def _with_level(event: Any) -> dict[str, Any]:
    """An event as routes want to see it: a dict that has a level."""
    if event.__class__ is bytes:
        event = _event(event)
    if "level" not in event:
        return {**event, "level": "info"}
    shown: dict[str, Any] = event
    return shown
