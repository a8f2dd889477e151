"""BatchedSink: sends that fail are repeated, refused, given up or kept back, and every event has its fate."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from batch_helpers import Kept, event, put

from pymongoose.sinks import Breaker, DrainResult, Partial, Rejected, Retry, RetryLater, Spool
from pymongoose.sinks._retry import Circuit

# -- sends that fail --


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


# -- the fate of each event --


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


# -- backoff and breaker --


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
