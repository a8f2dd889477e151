"""A batch in one request or several, and what becomes of each of its events."""

from __future__ import annotations

import asyncio
import itertools
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
        batch_id: of what is sent now.
        first_id, places, total: the batch's id when it was first sent, where the events stood in it, and how many it had. A part has its place
            appended to that id, so that no key ever stands for two things, and what is sent again has the key that it had before.
    """

    def __init__(
        self,
        send: Callable[[Sequence[T], int, str], Awaitable[None]],
        batch_id: str,
        first_id: str,
        places: Sequence[int],
        total: int,
    ) -> None:
        self._send = send
        self._id, self._first = batch_id, first_id
        self._places, self._total = places, total
        self._rejected: dict[int, str] = {}
        self._retry: list[list[int]] = []  # by part
        self._later: RetryLater | None = None

    async def deliver(self, items: Sequence[T], sizes: Sequence[int], at_once: int = 1) -> None:
        """All of it.

        Args:
            sizes: of the parts to begin with. What is to be sent again is, in the parts that it was sent in: see ``left``.
            at_once: whether there may be several requests under way.
        """
        ends = list(itertools.accumulate(sizes))
        parts = [(items[end - n : end], end - n) for n, end in zip(sizes, ends, strict=True)]
        if at_once <= 1:
            for part, at in parts:
                await self._part(part, at)
        else:
            await asyncio.gather(*(self._part(part, at) for part, at in parts))
        self._report(len(items))

    @property
    def left(self) -> list[int]:
        """Sizes of the parts, in order, that are to be sent again."""
        return [len(part) for part in sorted(self._retry) if part]

    def _key(self, at: int, n: int) -> str:
        first, last = self._places[at], self._places[at + n - 1]
        if n == self._total:
            return self._first
        if last - first == n - 1:
            return f"{self._first}-{first}+{n}"
        return f"{self._id}-{at}+{n}"

    async def _part(self, items: Sequence[T], at: int) -> None:
        n = len(items)
        if self._later is not None:  # the server wants a pause: nothing more of this batch before
            self._retry.append([*range(at, at + n)])
            return
        try:
            await self._send(items, at, self._key(at, n))
        except TooLarge:
            half = (n + 1) // 2
            await self._part(items[:half], at)
            await self._part(items[half:], at + half)
        except Rejected as exc:
            self._rejected.update(dict.fromkeys(range(at, at + n), str(exc)))
        except Partial as exc:
            self._rejected.update({at + i: reason for i, reason in exc.rejected.items()})
            self._retry.append(sorted(at + i for i in exc.retry))
        except Exception as exc:  # noqa: BLE001  (of whatever kind: it is to be tried again)
            later = exc if isinstance(exc, RetryLater) else None
            self._later = later or RetryLater(None, f"{type(exc).__name__}: {exc}")
            self._retry.append([*range(at, at + n)])

    def _report(self, total: int) -> None:
        retry = sorted(i for part in self._retry for i in part)
        if self._later is not None and len(retry) == total:
            raise self._later
        if len(self._rejected) == total and len(set(self._rejected.values())) == 1:
            raise Rejected(self._rejected[0])
        if self._rejected or retry:
            after = None if self._later is None else self._later.after
            raise Partial(self._rejected, retry, after)
