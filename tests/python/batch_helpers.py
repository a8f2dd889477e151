"""For tests of BatchedSink: one that keeps its batches and has a test decide about each send; events and how they get in."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from pymongoose.sinks import BatchedSink, Retry, Sink

FAST = Retry(base=0.0)


class Kept(BatchedSink):
    """Batches that were acknowledged; `answer` decides about each send."""

    def __init__(self, answer: Callable[[int], Awaitable[None]] | None = None, **options: Any):
        options.setdefault("retry", FAST)
        options.setdefault("breaker", None)
        super().__init__(**options)
        self.answer = answer
        self.tried: list[list[int]] = []
        self.batches: list[list[int]] = []
        self.ids: list[str] = []
        self.under_way = 0
        self.most_under_way = 0
        self.came = asyncio.Condition()

    async def send_batch(self, batch: list[dict[str, Any]]) -> None:
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        numbers = [event["n"] for event in batch]
        self.ids.append(self.batch_id)
        try:
            self.tried.append(numbers)
            async with self.came:
                self.came.notify_all()
            if self.answer is not None:
                await self.answer(len(self.tried))
            self.batches.append(numbers)
        finally:
            self.under_way -= 1
            async with self.came:
                self.came.notify_all()

    async def until(self, what: Callable[[], bool]) -> None:
        async with self.came:
            await asyncio.wait_for(self.came.wait_for(what), 20)

    @property
    def events(self) -> list[int]:
        return [n for batch in self.batches for n in batch]


def event(n: int) -> dict[str, Any]:
    return {"ts": 1.0, "level": "info", "message": "m", "n": n}


async def put(sink: Sink, numbers: Any) -> None:
    for n in numbers:
        await sink.write(event(n))
