"""BatchedSink: a full buffer makes writers wait or refuses, and stop() sends the rest or counts what it lost."""

from __future__ import annotations

import asyncio
import random
import threading
from typing import Any

import pytest
from batch_helpers import Kept, event, put

from pymongoose import MongooseError
from pymongoose.sinks import BatchedSink, DrainResult, Pipeline

# -- a full buffer --


def test_while_a_receiver_hangs_memory_is_bounded_and_stop_counts_what_it_lost() -> None:
    class Hangs(BatchedSink):
        async def send_batch(self, batch: list[dict[str, Any]]) -> None:
            await asyncio.Event().wait()

    sink = Hangs(batch_size=10, max_pending=50)
    log = Pipeline([sink], max_events=200)
    log.start()
    accepted = sum(log.emit("m", n=n) for n in range(2000))
    assert sink.pending <= 60
    result = log.stop(0.2)
    stats = log.stats()
    assert stats.accepted == accepted < 2000
    assert result == DrainResult(dropped=accepted)
    assert sum(stats.refused.values()) == 2000 - accepted
    assert sum(stats.dropped.values()) == accepted


def test_write_waits_while_the_buffer_is_full_and_offer_refuses() -> None:
    async def main() -> None:
        gate = asyncio.Event()

        async def wait(_: int) -> None:
            await gate.wait()

        sink = Kept(wait, batch_size=2, batch_timeout=0.0, max_pending=4)
        await sink.start()
        await put(sink, range(2))
        await sink.until(lambda: len(sink.tried) == 1)
        assert sink.offer([event(n) for n in range(2, 9)], ()) == 4
        assert sink.offer([event(9)], ()) == 0
        waiting = asyncio.create_task(sink.write(event(6)))
        await asyncio.sleep(0)
        assert not waiting.done()
        gate.set()
        await waiting
        await sink.stop()
        assert sink.events == list(range(7))

    asyncio.run(main())


def test_a_writer_that_is_cancelled_while_it_waits_puts_nothing_in() -> None:
    async def main() -> None:
        gate = asyncio.Event()

        async def wait(_: int) -> None:
            await gate.wait()

        sink = Kept(wait, batch_size=1, batch_timeout=0.0, max_pending=1)
        await sink.start()
        await put(sink, [0])
        await sink.until(lambda: len(sink.tried) == 1)
        await put(sink, [1])
        waiting = asyncio.create_task(sink.write(event(2)))
        await asyncio.sleep(0)
        waiting.cancel()
        gate.set()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert await sink.stop() == DrainResult(sent=2)
        assert sink.events == [0, 1]

    asyncio.run(main())


def test_drop_oldest_takes_from_the_buffer_and_not_from_what_is_being_sent() -> None:
    async def main() -> None:
        gate = asyncio.Event()

        async def wait(_: int) -> None:
            await gate.wait()

        sink = Kept(wait, batch_size=2, batch_timeout=0.0)
        await sink.start()
        await put(sink, range(2))
        await sink.until(lambda: len(sink.tried) == 1)
        await put(sink, range(2, 6))
        assert sink.drop_oldest(3) == 3
        gate.set()
        await sink.stop()
        assert sink.events == [0, 1, 5]

    asyncio.run(main())


# -- stop() --


def test_stop_finishes_the_send_in_progress_and_the_rest() -> None:
    async def main() -> None:
        gate = asyncio.Event()

        async def wait(_: int) -> None:
            await gate.wait()

        sink = Kept(wait, batch_size=2, batch_timeout=1000)
        await sink.start()
        await put(sink, range(5))
        await sink.until(lambda: len(sink.tried) == 1)
        stopping = asyncio.create_task(sink.stop())
        await asyncio.sleep(0)
        gate.set()
        assert await stopping == DrainResult(sent=5)
        assert sink.batches == [[0, 1], [2, 3], [4]]
        assert sink.tried == sink.batches

    asyncio.run(main())


def test_sends_that_fail_during_stop_are_repeated_and_the_rest_follows() -> None:
    async def main() -> None:
        async def every_other(n: int) -> None:
            if n % 2:
                raise OSError("down")

        sink = Kept(every_other, batch_size=2, batch_timeout=1000, drain_timeout=20)
        await sink.start()
        sink.offer([event(n) for n in range(7)], ())
        assert await sink.stop() == DrainResult(sent=7)
        assert sink.batches == [[0, 1], [2, 3], [4, 5], [6]]

    asyncio.run(main())


def test_stop_gives_up_at_its_deadline_and_counts_what_it_lost() -> None:
    async def main() -> None:
        async def hang(_: int) -> None:
            await asyncio.Event().wait()

        sink = Kept(hang, batch_size=2, batch_timeout=1000, drain_timeout=0.05)
        await sink.start()
        await put(sink, range(5))
        assert await sink.stop() == DrainResult(dropped=5)
        assert sink.stats().dropped == {"deadline": 5}
        assert sink.pending == 0

    asyncio.run(main())


def test_stop_whose_caller_is_cancelled_goes_on() -> None:
    async def main() -> None:
        gate = asyncio.Event()

        async def wait(_: int) -> None:
            await gate.wait()

        sink = Kept(wait, batch_size=2, batch_timeout=1000)
        await sink.start()
        await put(sink, range(3))
        stopping = asyncio.create_task(sink.stop())
        await sink.until(lambda: len(sink.tried) == 1)
        stopping.cancel()
        with pytest.raises(asyncio.CancelledError):
            await stopping
        gate.set()
        assert await sink.stop() == DrainResult(sent=3)

    asyncio.run(main())


@pytest.mark.parametrize("seed", range(40))
def test_stopping_at_any_moment_neither_loses_nor_doubles_a_batch(seed: int) -> None:
    rng = random.Random(seed)

    async def main() -> None:
        async def sometimes(_: int) -> None:
            for _ in range(rng.randrange(4)):
                await asyncio.sleep(0)
            if rng.random() < 0.3:
                raise OSError("down")
            for _ in range(rng.randrange(4)):
                await asyncio.sleep(0)

        sink = Kept(sometimes, batch_size=rng.randrange(1, 5), batch_timeout=0.0, drain_timeout=60)
        await sink.start()
        n = rng.randrange(1, 40)
        accepted = 0
        for i in range(n):
            await sink.write(event(i))
            accepted += 1
            for _ in range(rng.randrange(3)):
                await asyncio.sleep(0)
        result = await sink.stop()
        assert result == DrainResult(sent=accepted)
        assert sink.events == list(range(accepted))
        assert sink.most_under_way == 1

    asyncio.run(main())


def test_without_asyncio_a_writer_that_waits_for_room_is_told_when_another_thread_stops_the_sink() -> (
    None
):
    class Hangs(BatchedSink):
        async def send_batch(self, batch: list[dict[str, Any]]) -> None:
            busy.set()
            await asyncio.Event().wait()

    busy = threading.Event()
    s = Hangs(batch_size=1, batch_timeout=0.0, max_pending=1, drain_timeout=0.05).sync()
    s.start()
    s.write(event(0))
    assert busy.wait(20)
    s.write(event(1))
    failed: list[Exception] = []

    def write() -> None:
        try:
            s.write(event(2))
        except MongooseError as e:
            failed.append(e)

    writer = threading.Thread(target=write)
    writer.start()
    stoppers = [threading.Thread(target=s.stop) for _ in range(3)]
    for thread in stoppers:
        thread.start()
    for thread in (*stoppers, writer):
        thread.join(20)
        assert not thread.is_alive()
    assert len(failed) == 1
    with pytest.raises(MongooseError, match="not started"):
        s.write(event(3))
