"""PooledSink: how many connections there are, who gets one, and that none is left over; alone, with batches, in a pipeline."""

from __future__ import annotations

import asyncio
import contextlib
import random
from typing import Any

import pytest

from pymongoose import TimedOut
from pymongoose.sinks import BatchedSink, Pipeline, PooledSink, PoolTimeout, Retry


class Conn:
    def __init__(self, number: int) -> None:
        self.number = number
        self.closed = False
        self.broken = False


class Pool(PooledSink):
    """Counts its connections; `opening` and `closing` may wait or raise."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.made: list[Conn] = []
        self.most = 0
        self.failures = 0
        self.gate: asyncio.Event | None = None
        self.check_gate: asyncio.Event | None = None

    @property
    def alive(self) -> int:
        return sum(not conn.closed for conn in self.made)

    async def open_connection(self) -> Conn:
        if self.gate is not None:
            await self.gate.wait()
        if self.failures:
            self.failures -= 1
            raise ConnectionRefusedError("nobody there")
        await asyncio.sleep(0)
        conn = Conn(len(self.made))
        self.made.append(conn)
        self.most = max(self.most, self.alive)
        return conn

    async def close_connection(self, conn: Conn) -> None:
        await asyncio.sleep(0)
        conn.closed = True

    async def check_connection(self, conn: Conn) -> bool:
        if self.check_gate is not None:
            await self.check_gate.wait()
        return not conn.broken

    async def write(self, event: dict[str, Any]) -> None:
        async with self.connection():
            await asyncio.sleep(0)


async def until(what: Any) -> None:
    async def loop() -> None:
        while not what():
            await asyncio.sleep(0)

    await asyncio.wait_for(loop(), 20)


def test_one_connection_is_opened_on_start_and_all_are_closed_on_stop() -> None:
    async def main() -> None:
        pool = Pool(pool_size=3)
        await pool.start()
        assert len(pool.made) == 1
        async with pool.connection(), pool.connection(), pool.connection():
            assert pool.alive == 3
        await pool.stop()
        assert pool.alive == 0
        await pool.start()  # and once more
        async with pool.connection() as conn:
            assert not conn.closed
        await pool.stop()
        assert pool.alive == 0

    asyncio.run(main())


def test_a_connection_is_used_again() -> None:
    async def main() -> None:
        pool = Pool()
        await pool.start()
        for _ in range(10):
            async with pool.connection() as conn:
                assert conn.number == 0
        await pool.stop()

    asyncio.run(main())


def test_there_are_never_more_than_pool_size() -> None:
    async def main() -> None:
        pool = Pool(pool_size=4)
        await pool.start()
        rng = random.Random(1)

        async def use() -> None:
            for _ in range(20):
                try:
                    async with pool.connection():
                        for _ in range(rng.randrange(3)):
                            await asyncio.sleep(0)
                        if rng.random() < 0.3:
                            raise ValueError
                except ValueError:
                    pass

        await asyncio.gather(*(use() for _ in range(30)))
        assert pool.most <= 4
        await pool.stop()
        assert pool.alive == 0

    asyncio.run(main())


def test_who_waits_too_long_gets_a_pool_timeout_and_the_next_one_is_served() -> None:
    async def main() -> None:
        pool = Pool(pool_size=1, acquire_timeout=0.02)
        await pool.start()
        async with pool.connection():
            with pytest.raises(PoolTimeout, match="were in use for") as caught:
                async with pool.connection():
                    pass
            assert isinstance(caught.value, TimedOut)
            assert isinstance(caught.value, TimeoutError)
        async with pool.connection():
            pass
        await pool.stop()

    asyncio.run(main())


def test_those_who_wait_are_served_in_the_order_they_came() -> None:
    async def main() -> None:
        pool = Pool(pool_size=1)
        await pool.start()
        served: list[int] = []

        async def use(n: int) -> None:
            async with pool.connection():
                served.append(n)
                await asyncio.sleep(0)

        async def greedy() -> None:
            for _ in range(20):
                async with pool.connection():
                    served.append(-1)

        async with pool.connection():
            tasks = [asyncio.create_task(use(n)) for n in range(5)]
            await asyncio.sleep(0)
            tasks.append(asyncio.create_task(greedy()))
            await asyncio.sleep(0)
        await asyncio.gather(*tasks)
        assert served == [0, 1, 2, 3, 4, *[-1] * 20]
        await pool.stop()

    asyncio.run(main())


def test_a_connection_in_whose_block_something_raised_is_closed_and_not_used_again() -> None:
    async def main() -> None:
        pool = Pool(pool_size=1)
        await pool.start()
        with pytest.raises(ValueError, match="mine"):
            async with pool.connection() as first:
                raise ValueError("mine")
        async with pool.connection() as second:
            assert second is not first
        assert first.closed
        await pool.stop()

    asyncio.run(main())


def test_an_idle_connection_is_checked_before_it_is_used() -> None:
    async def main() -> None:
        pool = Pool(pool_size=2)
        await pool.start()
        pool.made[0].broken = True
        async with pool.connection() as conn:
            assert conn.number == 1
        await pool.stop()
        assert pool.alive == 0

    asyncio.run(main())


def test_a_check_that_hangs_is_an_answer_and_takes_no_longer_than_the_timeout() -> None:
    async def main() -> None:
        pool = Pool(pool_size=1, acquire_timeout=0.02)
        await pool.start()
        pool.check_gate = asyncio.Event()
        with contextlib.suppress(PoolTimeout):
            async with pool.connection() as conn:
                assert conn.number == 1
        assert pool.made[0].closed
        pool.check_gate = None
        async with pool.connection() as conn:
            assert conn.number >= 1
        await pool.stop()
        assert pool.alive == 0

    asyncio.run(main())


def test_an_opening_that_hangs_is_given_up_and_what_comes_of_it_late_is_closed() -> None:
    async def main() -> None:
        class Stubborn(Pool):
            async def open_connection(self) -> Conn:
                while self.gate is not None and not self.gate.is_set():
                    try:
                        await self.gate.wait()
                    except asyncio.CancelledError:
                        continue  # as libraries do that cannot be interrupted
                return await super().open_connection()

        pool = Stubborn(pool_size=1, acquire_timeout=0.02)
        await pool.start()
        async with pool.connection() as first:
            first.broken = True
        pool.gate = asyncio.Event()
        with pytest.raises(PoolTimeout, match="could not open"):
            async with pool.connection():
                pass
        assert pool.most == 1
        pool.gate.set()
        await until(lambda: len(pool.made) == 2 and pool.made[1].closed)
        async with pool.connection() as conn:
            assert conn.number == 2
        await pool.stop()
        assert (pool.alive, pool.most) == (0, 1)

    asyncio.run(main())


def test_connections_that_nobody_uses_are_closed_and_the_others_kept() -> None:
    async def main() -> None:
        pool = Pool(pool_size=3, idle_timeout=0.05)
        await pool.start()
        async with pool.connection():
            async with pool.connection(), pool.connection():
                pass
            await until(lambda: pool.alive == 1)
            assert not pool.made[0].closed
        await until(lambda: pool.alive == 0)
        async with pool.connection():
            assert pool.alive == 1
        await pool.stop()

    asyncio.run(main())


@pytest.mark.parametrize("seed", range(30))
def test_callers_that_are_cancelled_at_any_moment_leave_nothing_behind(seed: int) -> None:
    rng = random.Random(seed)

    async def main() -> None:
        pool = Pool(pool_size=2)
        await pool.start()

        async def use() -> None:
            async with pool.connection() as conn:
                assert not conn.closed
                for _ in range(rng.randrange(4)):
                    await asyncio.sleep(0)
                conn.broken = rng.random() < 0.3

        tasks = []
        for _ in range(60):
            tasks.append(asyncio.create_task(use()))
            for _ in range(rng.randrange(4)):
                await asyncio.sleep(0)
            if rng.random() < 0.5:
                rng.choice(tasks).cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert pool.most <= 2
        async with pool.connection(), pool.connection():  # both places are free again
            pass
        await pool.stop()
        assert pool.alive == 0

    asyncio.run(main())


def test_stop_waits_for_connections_in_use_and_closes_them_when_they_come_back() -> None:
    async def main() -> None:
        pool = Pool()
        await pool.start()
        leave = asyncio.Event()

        async def use() -> None:
            async with pool.connection():
                await leave.wait()

        user = asyncio.create_task(use())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        stopping = asyncio.create_task(pool.stop())
        await asyncio.sleep(0)
        assert not stopping.done()
        leave.set()
        await stopping
        await user
        assert pool.alive == 0

    asyncio.run(main())


def test_a_start_without_a_connection_says_why_and_may_be_tried_again() -> None:
    async def main() -> None:
        pool = Pool()
        pool.failures = 1
        with pytest.raises(ConnectionRefusedError, match="nobody there"):
            await pool.start()
        await pool.start()
        assert pool.alive == 1
        await pool.stop()

    asyncio.run(main())


def test_a_pipeline_starts_a_pool_again_and_loses_nothing_meanwhile(
    caplog: pytest.LogCaptureFixture,
) -> None:
    got: list[int] = []

    class Rows(Pool):
        async def write(self, event: dict[str, Any]) -> None:
            async with self.connection():
                got.append(event["n"])

    pool = Rows(pool_size=2)
    pool.failures = 1
    with Pipeline([pool]) as log:
        for n in range(50):
            assert log.emit("m", n=n)
        assert log.flush(20)
    assert sorted(got) == list(range(50))
    assert pool.alive == 0
    assert any("did not start" in r.message for r in caplog.records)


class Batches(BatchedSink, Pool):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.got: list[int] = []

    async def send_batch(self, batch: list[dict[str, Any]]) -> None:
        async with self.connection() as conn:
            conn.broken = True
            self.got += [event["n"] for event in batch]


class Reversed(Pool, BatchedSink):
    got: list[int]

    async def send_batch(self, batch: list[dict[str, Any]]) -> None:
        async with self.connection():
            self.got += [event["n"] for event in batch]

    async def write(self, event: dict[str, Any]) -> None:
        await BatchedSink.write(self, event)


@pytest.mark.parametrize("kind", [Batches, Reversed], ids=["batches first", "pool first"])
def test_batches_over_a_pool_whose_receiver_comes_late_lose_nothing(kind: Any) -> None:
    async def main() -> None:
        sink = kind(pool_size=2, batch_size=3, batch_timeout=0.01, retry=Retry(base=0.001))
        sink.got = []
        sink.failures = 4
        await sink.start()  # the first failure is logged, and tried again by the batches
        for n in range(10):
            await sink.write({"n": n})
        assert await sink.flush(20)
        result = await sink.stop()
        assert result.sent == 10
        assert sink.got == list(range(10))
        assert sink.alive == 0

    asyncio.run(main())


def test_a_pooled_sink_of_a_pipeline_writes_over_all_its_connections_at_once() -> None:
    class Wide(Pool):
        busy = 0
        widest = 0

        async def write(self, event: dict[str, Any]) -> None:
            async with self.connection():
                self.busy += 1
                self.widest = max(self.widest, self.busy)
                await asyncio.sleep(0.001)
                self.busy -= 1

    pool = Wide(pool_size=4)
    with Pipeline([pool]) as log:
        for n in range(40):
            log.emit("m", n=n)
    assert pool.stats().sent == 40
    assert pool.widest == 4
    assert pool.most == 4


@pytest.mark.parametrize(
    "options", [{"pool_size": 0}, {"acquire_timeout": 0}, {"idle_timeout": -1}]
)
def test_numbers_that_cannot_be_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        Pool(**options)


def test_connection_of_a_sink_that_is_not_started_says_so() -> None:
    async def main() -> None:
        with pytest.raises(RuntimeError, match="not started"):
            async with Pool().connection():
                pass

    asyncio.run(main())
