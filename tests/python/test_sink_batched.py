"""BatchedSink: when a batch leaves, one send at a time, in order, and how a sink is used with and without asyncio."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from batch_helpers import Kept, event, put

from pymongoose.sinks import BatchedSink, DrainResult, Pipeline

# -- a batch leaves --


def test_a_batch_leaves_when_it_has_its_size() -> None:
    async def main() -> None:
        sink = Kept(batch_size=3, batch_timeout=1000)
        await sink.start()
        await put(sink, range(7))
        await sink.until(lambda: len(sink.batches) == 2)
        assert sink.batches == [[0, 1, 2], [3, 4, 5]]
        while sink.stats().sent < 6:
            await asyncio.sleep(0)
        assert sink.pending == 1
        assert await sink.stop() == DrainResult(sent=7)
        assert sink.batches[2:] == [[6]]

    asyncio.run(main())


def test_a_batch_leaves_when_its_oldest_event_has_waited_long_enough() -> None:
    async def main() -> None:
        sink = Kept(batch_size=1000, batch_timeout=0.05)
        await sink.start()
        await put(sink, range(2))
        await sink.until(lambda: sink.events == [0, 1])
        await put(sink, [2])
        await sink.until(lambda: sink.events == [0, 1, 2])
        await sink.stop()

    asyncio.run(main())


def test_the_time_of_a_batch_begins_with_its_own_oldest_event(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [1000.0]

    async def main() -> None:
        sink = Kept(batch_size=2, batch_timeout=5.0)
        monkeypatch.setattr("pymongoose.sinks._batched.time.monotonic", lambda: now[0])
        sink._put([event(0)])
        now[0] += 4
        sink._put([event(1), event(2)])
        assert sink._cut_memory().items == [event(0), event(1)]
        assert sink._wait() == 5.0  # event 2 came just now
        now[0] += 1.5
        assert sink._wait() == 3.5

    asyncio.run(main())


def test_a_batch_is_as_old_as_its_oldest_event_in_the_statistics_too() -> None:
    async def main() -> None:
        gate = asyncio.Event()

        async def wait(_: int) -> None:
            await gate.wait()

        sink = Kept(wait, batch_size=1, batch_timeout=0.0)
        await sink.start()
        await put(sink, [0])
        await sink.until(lambda: len(sink.tried) == 1)
        first = sink.stats().oldest_age
        await asyncio.sleep(0.001)
        assert sink.stats().oldest_age > first > 0
        gate.set()
        await sink.stop()
        assert sink.stats().oldest_age == 0

    asyncio.run(main())


def test_a_batch_leaves_when_it_has_its_bytes_and_a_giant_goes_alone() -> None:
    async def main() -> None:
        sink = Kept(batch_size=1000, batch_timeout=1000, max_bytes=200)
        await sink.start()
        big = {**event(3), "text": "x" * 1000}
        assert sink.offer([event(0), event(1), event(2), big, event(4)], ()) == 5
        await sink.until(lambda: len(sink.batches) >= 2)
        await sink.stop()
        assert sink.events == [0, 1, 2, 3, 4]
        assert [3] in sink.batches

    asyncio.run(main())


def test_there_is_one_send_at_a_time_and_no_event_is_sent_twice() -> None:
    async def slow(_: int) -> None:
        await asyncio.sleep(0)

    async def main() -> None:
        sink = Kept(slow, batch_size=5, batch_timeout=0.0)

        async def writer(first: int) -> None:
            for n in range(first, first + 100):
                await sink.write(event(n))
                if n % 7 == 0:
                    await sink.flush()

        await sink.start()
        await asyncio.gather(*(writer(i * 100) for i in range(8)))
        await sink.stop()
        assert sink.most_under_way == 1
        assert sorted(sink.events) == list(range(800))

    asyncio.run(main())


def test_events_that_come_while_a_batch_is_sent_are_in_the_next_one() -> None:
    async def main() -> None:
        async def write_more(n: int) -> None:
            if n < 3:
                await put(sink, [10 * n, 10 * n + 1])
                raise OSError("and then it fails")

        sink = Kept(write_more, batch_size=100, batch_timeout=0.0)
        await sink.start()
        await put(sink, [0, 1])
        assert await sink.flush(20)
        await sink.stop()
        assert sink.tried == [[0, 1], [0, 1], [0, 1], [10, 11, 20, 21]]
        assert sink.batches == [[0, 1], [10, 11, 20, 21]]

    asyncio.run(main())


# -- how it is used --


def test_lines_reach_a_sink_for_json_as_they_are() -> None:
    """Nothing is decoded and encoded again on the way."""

    class Lines(BatchedSink):
        accepts = "json"
        got: list[bytes]

        async def send_lines(self, lines: list[bytes]) -> None:
            self.got = lines

    async def main() -> None:
        sink = Lines(batch_size=2)
        await sink.start()
        lines = [b'{ "n" : 1.0e0 }', b"not even json"]
        assert sink.offer((), lines) == 2
        assert await sink.flush(20)
        assert [a is b for a, b in zip(sink.got, lines, strict=True)] == [True, True]
        await sink.stop()

    asyncio.run(main())


def test_a_sink_can_be_used_without_asyncio() -> None:
    class Lines(BatchedSink):
        accepts = "json"
        lines: list[bytes]

        async def start(self) -> None:
            self.lines = []
            await super().start()

        async def send_lines(self, lines: list[bytes]) -> None:
            self.lines += lines

    sink = Lines(batch_size=2)
    with sink.sync() as s:
        for n in range(5):
            s.write(event(n))
        assert s.flush(10)
        assert len(sink.lines) == 5
    assert [json.loads(line)["n"] for line in sink.lines] == list(range(5))


def test_a_classic_sink_works_in_a_pipeline() -> None:
    class TableSink(BatchedSink):
        rows: list[dict[str, Any]]

        async def start(self) -> None:
            self.rows = []
            await super().start()

        async def send_batch(self, batch: list[dict[str, Any]]) -> None:
            self.rows += batch

    table = TableSink(batch_size=10)
    with Pipeline([table]) as log:
        for n in range(25):
            assert log.emit("order", order=n)
    assert [row["order"] for row in table.rows] == list(range(25))
    assert table.stats().sent == 25


@pytest.mark.parametrize(
    "options",
    [
        {"batch_size": 0},
        {"batch_timeout": -1},
        {"max_bytes": 0},
        {"max_pending": 0},
        {"drain_timeout": -1},
        {"send_timeout": 0},
    ],
)
def test_numbers_out_of_range_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        Kept(**options)
