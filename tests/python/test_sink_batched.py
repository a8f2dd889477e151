"""BatchedSink: triggers, one send at a time, retries, what stop() does, and what becomes of every event."""

from __future__ import annotations

import asyncio
import json
import random
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from pymongoose import MongooseError
from pymongoose.sinks import (
    BatchedSink,
    Breaker,
    DrainResult,
    Partial,
    Pipeline,
    Rejected,
    Retry,
    RetryLater,
    Sink,
    Spool,
)
from pymongoose.sinks._retry import Circuit

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


def test_a_send_that_raises_is_repeated_with_the_same_batch_id() -> None:
    async def third_time(n: int) -> None:
        if n < 3:
            raise OSError("down")

    async def main() -> None:
        sink = Kept(third_time, batch_size=2)
        await sink.start()
        await put(sink, range(2))
        await sink.until(lambda: sink.batches == [[0, 1]])
        assert len(set(sink.ids)) == 1
        assert sink.stats().retried == 2
        await put(sink, range(2, 4))
        await sink.stop()
        assert sink.ids[-1] != sink.ids[0]

    asyncio.run(main())


def test_a_failing_send_never_ends_the_timer() -> None:
    async def first_fails(n: int) -> None:
        if n == 1:
            raise ValueError("once")

    async def main() -> None:
        sink = Kept(first_fails, batch_size=1000, batch_timeout=0.01)
        await sink.start()
        await put(sink, [0])
        await sink.until(lambda: sink.events == [0])
        await put(sink, [1])
        await sink.until(lambda: sink.events == [0, 1])
        await sink.stop()

    asyncio.run(main())


def test_retry_after_is_waited_for_and_no_send_comes_before_it() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        times: list[float] = []

        async def later(n: int) -> None:
            times.append(loop.time())
            if n == 1:
                raise RetryLater(0.2, "busy")

        sink = Kept(later, batch_size=1)
        await sink.start()
        await put(sink, [0])
        await sink.until(lambda: sink.events == [0])
        assert times[1] - times[0] >= 0.2
        await sink.stop()

    asyncio.run(main())


def test_rejected_events_are_counted_and_the_next_batch_goes_on() -> None:
    async def refuse_first(n: int) -> None:
        if n == 1:
            raise Rejected("schema")

    async def main() -> None:
        sink = Kept(refuse_first, batch_size=2)
        await sink.start()
        await put(sink, range(4))
        result = await sink.stop()
        assert result == DrainResult(sent=2, dropped=2)
        assert sink.stats().dropped == {"rejected": 2}

    asyncio.run(main())


def test_rejected_events_go_to_the_dead_letter_file_with_their_reason(tmp_path: Path) -> None:
    async def refuse(_: int) -> None:
        raise Rejected("schema")

    async def main() -> None:
        sink = Kept(refuse, batch_size=2, dead_letter=tmp_path / "a" / "dead.jsonl", name="s")
        await sink.start()
        await put(sink, range(2))
        await sink.stop()
        assert sink.stats().dropped == {"dead_letter": 2}

    asyncio.run(main())
    letters = [
        json.loads(line) for line in (tmp_path / "a" / "dead.jsonl").read_text().splitlines()
    ]
    assert [letter["event"] for letter in letters] == [event(0), event(1)]
    assert {letter["reason"] for letter in letters} == {"schema"}
    assert {letter["sink"] for letter in letters} == {"s"}


def test_a_dead_letter_may_be_another_sink() -> None:
    async def refuse(_: int) -> None:
        raise Rejected("schema")

    async def main() -> None:
        other = Kept(batch_size=1)
        sink = Kept(refuse, batch_size=2, dead_letter=other)
        await sink.start()
        await put(sink, range(2))
        await sink.stop()
        assert sorted(other.events) == [0, 1]

    asyncio.run(main())


def test_of_a_partial_outcome_each_event_has_its_own_fate() -> None:
    async def main() -> None:
        async def some(n: int) -> None:
            if n == 1:
                raise Partial({0: "bad"}, retry=[2])

        sink = Kept(some, batch_size=4, batch_timeout=0.01)
        await sink.start()
        await put(sink, range(4))
        await sink.until(lambda: sink.batches == [[2]])
        result = await sink.stop()
        assert result == DrainResult(sent=3, dropped=1)
        assert sink.tried == [[0, 1, 2, 3], [2]]

    asyncio.run(main())


def test_what_is_left_of_a_batch_gets_an_id_of_its_own() -> None:
    """The receiver remembers the first one together with what it took of it."""

    async def main() -> None:
        async def some(n: int) -> None:
            if n < 3:
                raise Partial(retry=[1, 2][: 3 - n])
            if n == 3:
                raise OSError("down")

        sink = Kept(some, batch_size=3)
        await sink.start()
        await put(sink, range(3))
        assert await sink.flush(20)
        assert sink.tried == [[0, 1, 2], [1, 2], [2], [2]]
        assert sink.ids[1:3] == [f"{sink.ids[0]}.1", f"{sink.ids[0]}.2"]
        assert sink.ids[3] == sink.ids[2]
        assert await sink.stop() == DrainResult(sent=3)

    asyncio.run(main())


def test_a_send_that_hangs_is_cancelled_and_repeated() -> None:
    async def main() -> None:
        ended: list[int] = []

        async def hang(n: int) -> None:
            if n < 3:
                try:
                    await asyncio.Event().wait()
                finally:
                    ended.append(n)

        sink = Kept(hang, batch_size=1, send_timeout=0.02)
        await sink.start()
        await put(sink, [0])
        await sink.until(lambda: sink.events == [0])
        assert ended == [1, 2]
        assert sink.most_under_way == 1
        assert len(set(sink.ids)) == 1
        assert await sink.stop() == DrainResult(sent=1)

    asyncio.run(main())


def test_a_send_that_will_not_be_cancelled_is_waited_for() -> None:
    """There is one send at a time, even then."""

    async def main() -> None:
        gate = asyncio.Event()

        async def deaf(n: int) -> None:
            while n == 1 and not gate.is_set():
                try:
                    await gate.wait()
                except asyncio.CancelledError:
                    asyncio.get_running_loop().call_later(0.02, gate.set)

        sink = Kept(deaf, batch_size=1, send_timeout=0.02)
        await sink.start()
        await put(sink, [0])
        await sink.until(lambda: sink.events == [0])  # it succeeded after all
        assert sink.tried == [[0]]
        await sink.stop()

    asyncio.run(main())


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


def test_a_send_may_raise_anything_and_the_sink_goes_on() -> None:
    async def main() -> None:
        odd: list[Any] = [KeyError("x"), asyncio.CancelledError(), RecursionError(), TimeoutError()]

        async def strange(_: int) -> None:
            if odd:
                raise odd.pop()

        sink = Kept(strange, batch_size=1, batch_timeout=0.0)
        await sink.start()
        await put(sink, range(3))
        assert await sink.flush(20)
        assert sink.events == [0, 1, 2]
        await sink.stop()

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


def test_attempts_that_are_used_up_are_counted_as_given_up() -> None:
    async def never(_: int) -> None:
        raise OSError("down")

    async def main() -> None:
        sink = Kept(never, batch_size=1, retry=Retry(attempts=3, base=0.0))
        await sink.start()
        await put(sink, [0])
        await sink.until(lambda: len(sink.tried) == 3)
        assert await sink.flush(10)
        assert sink.stats().dropped == {"gave_up": 1}
        await sink.stop()

    asyncio.run(main())


def test_what_is_given_up_goes_to_the_dead_letter(tmp_path: Path) -> None:
    async def never(_: int) -> None:
        raise OSError("down")

    async def main() -> None:
        path = tmp_path / "dead.jsonl"
        sink = Kept(never, batch_size=2, retry=Retry(attempts=2, base=0.0), dead_letter=path)
        await sink.start()
        await put(sink, range(2))
        assert await sink.stop() == DrainResult(dropped=2)
        assert sink.stats().dropped == {"dead_letter": 2}
        letters = [json.loads(line) for line in path.read_text().splitlines()]
        assert [(x["event"]["n"], x["reason"]) for x in letters] == [(0, "gave_up"), (1, "gave_up")]

    asyncio.run(main())


def test_what_an_open_breaker_keeps_back_goes_to_disk(tmp_path: Path) -> None:
    async def main() -> None:
        down = True

        async def maybe(_: int) -> None:
            if down:
                raise OSError("down")

        sink = Kept(
            maybe,
            batch_size=2,
            batch_timeout=0.0,
            breaker=Breaker(failures=1, reset=0.02),
            spool=Spool(tmp_path, when="outage"),
        )
        await sink.start()
        await put(sink, range(9))
        while sink.stats().spooled < 7:
            await asyncio.sleep(0)
        assert sink.pending == 2  # the probe
        down = False
        assert await sink.flush(20)
        assert sink.events == list(range(9))
        assert await sink.stop() == DrainResult(sent=9)

    asyncio.run(main())


def test_a_breaker_opens_probes_and_closes_by_its_own_clock() -> None:
    now = [0.0]
    circuit = Circuit(Breaker(2, 10.0), lambda: now[0])
    seen = []
    for seconds, happens in [(0, "failed"), (1, "failed"), (6, ""), (11, ""), (11, "failed")]:
        now[0] = seconds
        if happens:
            circuit.failed()
        seen.append((circuit.state, circuit.wait()))
    assert seen == [("closed", 0), ("open", 10), ("open", 5), ("half_open", 0), ("open", 10)]
    now[0] = 21
    circuit.answered()
    circuit.failed()
    assert (circuit.state, circuit.wait()) == ("closed", 0)


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


def test_backoff_grows_and_is_capped_with_full_jitter() -> None:
    retry = Retry(base=1.0, cap=8.0)
    assert [retry.delay(n, lambda: 1.0) for n in (1, 2, 3, 4, 5, 500)] == [1, 2, 4, 8, 8, 8]
    draws = [retry.delay(4) for _ in range(200)]
    assert all(0 <= d <= 8 for d in draws)
    assert len(set(draws)) > 100


def test_the_breaker_opens_lets_one_probe_through_and_closes() -> None:
    async def main() -> None:
        down = True

        async def maybe(_: int) -> None:
            if down:
                raise OSError("down")

        sink = Kept(maybe, batch_size=1, breaker=Breaker(failures=3, reset=0.05))
        await sink.start()
        await put(sink, [0])
        await sink.until(lambda: len(sink.tried) == 3)
        while sink.stats().breaker != "open":
            await asyncio.sleep(0)
        await sink.until(lambda: len(sink.tried) == 4)  # the probe, which fails
        while sink.stats().breaker != "open":
            await asyncio.sleep(0)
        assert len(sink.tried) == 4
        down = False
        assert await sink.flush(20)
        assert sink.events == [0]
        assert sink.stats().breaker == "closed"
        await sink.stop()

    asyncio.run(main())


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
