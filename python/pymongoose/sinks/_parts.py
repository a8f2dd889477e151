"""A batch in one request or several, and what becomes of each of its events."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from ._outcome import Partial, Rejected, RetryLater
from ._poster import TooLarge

T = TypeVar("T")


class Parts(Generic[T]):
    """Sends a batch, in halves where the server does not take it whole, and reports once for all of it.

    Args:
        send: sends some of the batch's events: they, the index of the first, and a key for them. Its outcome is that of a sink's
            send_batch(), with indexes in what it was given; or TooLarge.
        batch_id: the key of the whole; a part has its place appended, so that no key ever stands for two things.
    """

    def __init__(
        self, send: Callable[[Sequence[T], int, str], Awaitable[None]], batch_id: str
    ) -> None:
        self._send = send
        self._id = batch_id
        self._rejected: dict[int, str] = {}
        self._retry: list[int] = []
        self._later: RetryLater | None = None

    async def deliver(self, items: Sequence[T], at_once: int = 1) -> None:
        """All of it; at_once: requests that are under way at the same time."""
        total = len(items)
        if at_once <= 1 or total <= 1:
            await self._part(items, 0, self._id)
        else:
            size = -(-total // at_once)
            await asyncio.gather(
                *(
                    self._part(items[at : at + size], at, f"{self._id}-{at}+{size}")
                    for at in range(0, total, size)
                )
            )
        self._report(total)

    async def _part(self, items: Sequence[T], at: int, key: str) -> None:
        n = len(items)
        if self._later is not None:  # the server wants a pause: nothing more of this batch before
            self._retry += range(at, at + n)
            return
        try:
            await self._send(items, at, key)
        except TooLarge:
            half = (n + 1) // 2
            await self._part(items[:half], at, f"{self._id}-{at}+{half}")
            await self._part(items[half:], at + half, f"{self._id}-{at + half}+{n - half}")
        except Rejected as exc:
            self._rejected.update(dict.fromkeys(range(at, at + n), str(exc)))
        except Partial as exc:
            self._rejected.update({at + i: reason for i, reason in exc.rejected.items()})
            self._retry += [at + i for i in exc.retry]
        except Exception as exc:  # noqa: BLE001  (of whatever kind: it is to be tried again)
            later = exc if isinstance(exc, RetryLater) else None
            self._later = later or RetryLater(None, f"{type(exc).__name__}: {exc}")
            self._retry += range(at, at + n)

    def _report(self, total: int) -> None:
        if self._later is not None and len(self._retry) == total:
            raise self._later
        if len(self._rejected) == total and len(set(self._rejected.values())) == 1:
            raise Rejected(self._rejected[0])
        if self._rejected or self._retry:
            after = None if self._later is None else self._later.after
            raise Partial(self._rejected, sorted(self._retry), after)
