"""What send_batch() can say other than "done": try again, never, or some of each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from .._errors import MongooseError, TimedOut

T = TypeVar("T")


def each_of(
    batch: Sequence[Any], make: Callable[[Any], T]
) -> tuple[list[T], list[int], dict[int, str]]:
    """What ``make`` makes of the events, and where in the batch each stood. Those it raises for are rejected, with the reason: sent again, they
    would be in the way of all others for ever."""
    made: list[T] = []
    places: list[int] = []
    rejected: dict[int, str] = {}
    for i, event in enumerate(batch):
        try:
            made.append(make(event))
            places.append(i)
        except Exception as e:  # noqa: BLE001  (whatever somebody's value does)
            rejected[i] = f"{type(e).__name__}: {e}"
    return made, places, rejected


class RetryLater(MongooseError):
    """Not now: the batch is sent again, as with every other exception, but not before ``after`` seconds.

    Args:
        after: seconds, as a receiver's ``Retry-After`` has them; None: as the sink's Retry says.
        reason: for the log and for the dead letter.
    """

    def __init__(self, after: float | None = None, reason: str = "") -> None:
        super().__init__(reason or "the receiver wants no events now")
        self.after = after
        self.reason = reason or "retry_later"


class Rejected(MongooseError):
    """Never: the receiver understood the batch and refuses it. It goes to the dead letter, or is counted as dropped."""

    def __init__(self, reason: str = "rejected") -> None:
        super().__init__(reason)
        self.reason = reason


class Partial(MongooseError):
    """Some events of the batch are acknowledged, others are not.

    Args:
        rejected: places in the batch, and why; those are never sent again.
        retry: places in the batch that are to be sent again.
        after: seconds until then; None: as the sink's Retry says.
    """

    def __init__(
        self,
        rejected: Mapping[int, str] | None = None,
        retry: Iterable[int] = (),
        after: float | None = None,
    ) -> None:
        self.rejected = dict(rejected or {})
        self.retry = list(retry)
        self.after = after
        super().__init__(
            f"{len(self.rejected)} events rejected, {len(self.retry)} to be sent again"
        )


class PoolTimeout(TimedOut):
    """No connection of a PooledSink became free in time."""
