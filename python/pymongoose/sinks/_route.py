"""Routes: which events a sink gets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Any, TypeAlias

from ._levels import level_number

if TYPE_CHECKING:
    from ._sink import Sink

Where: TypeAlias = Callable[[dict[str, Any]], object] | Mapping[str, Any]


class Route:
    """A sink that gets some of the events; stands in its place: ``Pipeline([everything, Route(pager, level="error")])``.

    Args:
        sink: the sink.
        level: the least level it gets.
        below: only levels below this one.
        where: a function of the event, or fields and the value each must have; a set, list or tuple of values: one of them; a function: one
            for which it is true. A field that is missing is None.

    Raises:
        TypeError: where is neither.
        ValueError: unknown level.
    """

    __slots__ = ("_below", "_level", "_where", "sink")

    def __init__(
        self,
        sink: Sink,
        *,
        level: str | int = "trace",
        below: str | int | None = None,
        where: Where | None = None,
    ) -> None:
        self.sink = sink
        self._level = level_number(level)
        self._below = None if below is None else level_number(below)
        if where is None or callable(where):
            self._where: Callable[[dict[str, Any]], object] | None = where
        elif isinstance(where, Mapping):
            self._where = _all_of(where)
        else:
            raise TypeError(f"where must be a function or a mapping, not {type(where).__name__}")

    def matches(self, event: dict[str, Any]) -> bool:
        """Whether the sink gets this event; an exception of ``where`` is the caller's."""
        level = level_number(event["level"])
        if level < self._level or (self._below is not None and level >= self._below):
            return False
        return self._where is None or bool(self._where(event))


def _all_of(wanted: Mapping[str, Any]) -> Callable[[dict[str, Any]], bool]:
    tests = [(field, _test(value)) for field, value in wanted.items()]
    return lambda event: all(test(event.get(field)) for field, test in tests)


def _test(value: Any) -> Callable[[Any], bool]:
    if callable(value):
        return lambda found: bool(value(found))
    if isinstance(value, (AbstractSet, list, tuple)):
        return lambda found: found in value
    return lambda found: bool(found == value)
