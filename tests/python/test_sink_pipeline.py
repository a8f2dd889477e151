"""Pipelines: every event accepted is sent or counted with a reason; nobody who emits waits for a sink."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from pathlib import Path

import pytest
from conftest import eventually
from sink_helpers import DEADLINE, Held, Kept, KeptLines, Only, adds_up, is_error

from pymongoose import Manager
from pymongoose.sinks import DrainResult, Pipeline


def test_every_event_arrives_once_and_in_order():
    kept, lines = Kept(), KeptLines()
    with Pipeline([kept, lines]) as log:
        for n in range(5000):
            assert log.emit("m", n=n)
        assert log.flush(DEADLINE)
        assert len(kept.events) == len(lines.lines) == 5000
    assert [e["n"] for e in kept.events] == list(range(5000))
    assert [json.loads(line)["n"] for line in lines.lines] == list(range(5000))
    assert (kept.starts, kept.stops) == (1, 1)
    stats = log.stats()
    assert adds_up(stats)
    assert (stats.accepted, stats.deliveries, stats.sent, stats.pending) == (5000, 10000, 10000, 0)


def test_stop_says_what_became_of_this_run_and_the_pipeline_starts_again():
    kept = Kept()
    log = Pipeline([kept])
    assert not log.emit("early")
    for run in range(3):
        log.start()
        log.start()
        for n in range(100 * (run + 1)):
            assert log.emit("m", n=n)
        assert log.stop(DEADLINE) == DrainResult(sent=100 * (run + 1))
        assert log.stop(DEADLINE) == DrainResult(sent=100 * (run + 1))
        assert not log.emit("late")
    stats = log.stats()
    assert stats.refused == {"closed": 4}
    assert (stats.accepted, stats.sent) == (600, 600)
    assert (kept.starts, kept.stops) == (3, 3)


def test_with_blocks_of_both_kinds_stop_what_they_started():
    kept = Kept()

    async def main():
        async with Pipeline([kept]) as log:
            assert log.emit("a")

    asyncio.run(main())
    with Pipeline([kept]) as log:
        log.emit("b")
    assert [e["message"] for e in kept.events] == ["a", "b"]


def test_emitting_from_threads_asyncio_and_a_manager():
    kept = Kept()
    with Pipeline([kept]) as log:
        threads = [
            threading.Thread(target=lambda k=k: [log.emit("t", k=k, n=n) for n in range(500)])
            for k in range(4)
        ]
        for t in threads:
            t.start()

        async def main():
            for n in range(500):
                log.emit("a", n=n)
                await asyncio.sleep(0)

        asyncio.run(main())
        with Manager(lambda *_: None) as mgr:
            mgr.timer_add(1, lambda: (log.emit("m"), mgr.stop()))
            mgr.run()
        for t in threads:
            t.join()
    assert log.stats().sent == 4 * 500 + 500 + 1
    for k in range(4):
        assert [e["n"] for e in kept.events if e.get("k") == k] == list(range(500))


def test_a_manager_is_never_held_up_by_block():
    held = Held(max_pending=1)
    log = Pipeline([held], max_events=1, overflow="block", block_timeout=1000.0)
    log.start()
    answers = []

    def on_timer():
        while answers.count(False) < 3:
            answers.append(log.emit("m"))
        mgr.stop()

    with Manager(lambda *_: None) as mgr:
        mgr.timer_add(1, on_timer)
        mgr.run()
    held.open.set()
    log.stop(DEADLINE)
    stats = log.stats()
    assert stats.refused == {"would_block": 3}
    assert len(held.events) == answers.count(True) == stats.accepted


def test_block_makes_threads_wait_and_loses_nothing():
    kept = Kept(max_pending=3)
    with Pipeline([kept], max_events=2, overflow="block", block_timeout=DEADLINE) as log:
        threads = [
            threading.Thread(target=lambda k=k: [log.emit("t", k=k, n=n) for n in range(300)])
            for k in range(4)
        ]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
    for k in range(4):
        assert [e["n"] for e in kept.events if e["k"] == k] == list(range(300))


def test_a_single_sink_that_hangs_fills_the_queue_and_then_the_policy_decides():
    held = Held(max_pending=5)
    with Pipeline([held], max_events=10, overflow="drop_newest") as log:
        n = 0
        while not log.stats().refused:
            log.emit("m", n=n)
            n += 1
        stats = log.stats()
        assert adds_up(stats)
        assert stats.pending == stats.accepted
        assert stats.dropped == {}
        held.open.set()
        assert log.flush(DEADLINE)
    stats = log.stats()
    assert len(held.events) == stats.accepted == stats.sent == n - sum(stats.refused.values())


def test_a_sink_that_hangs_holds_up_no_other_and_its_losses_are_its_own():
    held, kept = Held(name="held", max_pending=10), Kept(name="kept")
    with Pipeline([held, kept], max_events=100_000) as log:
        for n in range(5000):
            assert log.emit("m", n=n)
        while len(kept.events) < 5000:
            time.sleep(0.001)
        stats = log.stats()
        assert adds_up(stats)
        assert stats.dropped["sink_full"] > 3000
        held.open.set()
        assert log.flush(DEADLINE)
    stats = log.stats()
    assert adds_up(stats)
    assert [e["n"] for e in kept.events] == list(range(5000))
    assert len(held.events) == 5000 - stats.dropped["sink_full"]


def test_a_full_sink_gives_up_its_oldest_under_drop_oldest():
    held, kept = Held(name="held", max_pending=10), Kept(name="kept")
    with Pipeline([held, kept], overflow={"error": "drop_oldest"}) as log:
        for n in range(2000):
            log.emit("m", n=n)
        for n in range(50):
            log.emit("e", n=n, level="error")
        while len(kept.events) < 2050:
            time.sleep(0.001)
        held.open.set()
        assert log.flush(DEADLINE)
    stats = log.stats()
    assert adds_up(stats)
    assert stats.dropped["evicted"] > 0
    assert [e["n"] for e in held.events if e["message"] == "e"][-1] == 49


def test_stop_gives_up_at_its_deadline_and_counts_the_rest():
    held = Held(max_pending=20)
    log = Pipeline([held])
    log.start()
    for n in range(3000):
        log.emit("m", n=n)
    assert held.busy.wait(DEADLINE)
    result = log.stop(0.05)
    assert result.sent == len(held.events) == 0
    assert result.dropped == 3000
    stats = log.stats()
    assert adds_up(stats)
    assert stats.pending == 0
    assert set(stats.dropped) <= {"deadline", "cancelled"}


def test_sums_add_up_at_every_moment():
    kept, lines = Kept(max_pending=50), KeptLines()
    odd = Only(lines, lambda e: e["n"] % 2)
    log = Pipeline(
        [kept, odd],
        max_events=200,
        overflow="drop_oldest",
        processors=[lambda e: e if e["n"] % 7 else None],
    )
    with log:
        done = threading.Event()
        wrong = []

        def watch():
            while not done.is_set():
                stats = log.stats()
                if not adds_up(stats):
                    wrong.append(stats)

        watcher = threading.Thread(target=watch)
        watcher.start()
        for n in range(20_000):
            log.emit("m", n=n)
        log.flush(DEADLINE)
        done.set()
        watcher.join()
    assert wrong == []
    stats = log.stats()
    assert adds_up(stats)
    assert stats.pending == 0
    assert stats.accepted == 20_000
    assert stats.sent == len(kept.events) + len(lines.lines)


def test_processors_change_filter_and_fail_and_a_failed_event_goes_no_further(caplog):
    def redact(event):
        if event.get("bad"):
            raise LookupError("cannot")
        event.pop("secret", None)
        return None if event.get("skip") else {**event, "seen": True}

    kept, lines = Kept(), KeptLines()
    with Pipeline([kept, lines], processors=[redact]) as log:
        log.emit("a", secret=1)
        log.emit("b", skip=True)
        log.emit("c", secret=2, bad=True)
        log.queue.push_json(b'{"message":"d","secret":3}', "info")
        log.queue.push_json(b"no JSON", "info")
    assert [(e["message"], e["seen"], "secret" in e) for e in kept.events] == [
        ("a", True, False),
        ("d", True, False),
    ]
    assert [json.loads(line)["message"] for line in lines.lines] == ["a", "d"]
    stats = log.stats()
    assert adds_up(stats)
    assert (stats.filtered, stats.dropped) == (1, {"processor_error": 2})
    assert any("processor" in r.message for r in caplog.records)


def test_routes_choose_and_what_nobody_wants_is_filtered():
    def fails(event):
        return event["n"] / 0

    errors, some, broken = Kept(name="errors"), KeptLines(name="some"), Kept(name="broken")
    routes = [
        Only(errors, is_error),
        Only(some, lambda e: e.get("kind") in ("a", "b")),
        Only(broken, lambda e: e.get("message") == "boom" and fails(e)),
    ]
    with Pipeline(routes) as log:
        log.emit("one", level="error", kind="a")
        log.emit("two", kind="b")
        log.emit("three", kind="c")
        log.emit("boom", n=1)
        log.queue.push_json(b'{"kind":"a"}', "info")
    assert [e["message"] for e in errors.events] == ["one"]
    assert len(some.lines) == 3
    assert broken.events == []
    stats = log.stats()
    assert adds_up(stats)
    assert (stats.filtered, stats.dropped) == (1, {"route_error": 1})


def test_native_records_reach_sinks_of_both_kinds():
    kept, lines = Kept(), KeptLines()
    with Pipeline([kept, lines]) as log:
        assert log.queue.push_json(b'{"a": 1}', "info")
    assert kept.events == [{"a": 1}]
    assert lines.lines == [b'{"a": 1}']


def test_a_sink_that_fails_to_start_is_started_again_and_gets_what_came_meanwhile(
    caplog, monkeypatch
):
    monkeypatch.setattr("pymongoose.sinks._worker.RESTART", (0.01, 0.02))

    class Late(Kept):
        async def start(self):
            self.starts += 1
            if self.starts < 4:
                raise ConnectionError("not yet")

    late = Late()
    with Pipeline([late], max_events=10_000) as log:
        for n in range(1000):
            assert log.emit("m", n=n)
        assert log.flush(DEADLINE)
    assert late.starts == 4
    assert [e["n"] for e in late.events] == list(range(1000))
    assert any("did not start" in r.message for r in caplog.records)


def test_the_worker_survives_sinks_that_raise_everywhere(caplog):
    class Bad(Kept):
        def offer(self, events, lines):
            raise RuntimeError("offer")

        async def stop(self):
            raise RuntimeError("stop")

    bad, kept = Bad(name="bad"), Kept(name="kept")
    with Pipeline([bad, kept]) as log:
        for n in range(100):
            log.emit("m", n=n)
    assert [e["n"] for e in kept.events] == list(range(100))
    assert adds_up(log.stats())


def test_what_json_does_not_know_is_rendered(caplog):
    class Odd:
        def __str__(self):
            raise RuntimeError

    lines = KeptLines()
    with Pipeline([lines]) as log:
        log.emit(
            "m", odd=Odd(), path=Path("/tmp"), huge=10**30, nan=float("nan"), **{"\udcff": b"\xff"}
        )
        log.emit("n", keys={1: 2, (1, 2): 3, None: 4}, deep=_nested(300))
    one, other = (json.loads(line) for line in lines.lines)
    assert one["odd"].startswith("<Odd")
    assert one["path"] == "/tmp"
    assert one["nan"] is None
    assert one["message"] == "m"
    assert other["keys"]["1"] == 2
    assert caplog.records == []


def _nested(n):
    out = []
    for _ in range(n):
        out = [out]
    return out


def test_an_idle_pipeline_sleeps():
    kept = Kept()
    with Pipeline([kept]) as log:
        log.emit("m")
        assert log.flush(DEADLINE)
        worker = log._worker

        def resting():  # until it is rung, for good
            future = worker._bell._future
            return future is not None and not future.done() and not _timers(worker.loop)

        eventually(lambda: worker.call(resting, DEADLINE))  # it looks once or twice more
        steps = []
        step = worker.step
        worker.step = lambda: steps.append(1) or step()
        time.sleep(0.1)
        assert steps == []  # neither timers nor looks: only the descriptor wakes it
        log.emit("n")
        assert log.flush(DEADLINE)
        assert steps
    assert len(kept.events) == 2


def _timers(loop):
    due = [h for h in loop._ready if isinstance(h, asyncio.TimerHandle)]
    return [h for h in loop._scheduled + due if not h.cancelled()]


def test_waiting_for_oneself_is_refused():
    class Selfish(Kept):
        async def write(self, event):
            for wait in (log.flush, log.stop):
                with pytest.raises(RuntimeError, match="wait"):
                    wait()
            self.events.append(log.stats())

    sink = Selfish()
    with Pipeline([sink]) as log:
        log.emit("m")
    assert len(sink.events) == 1


def test_a_sink_may_emit_into_its_own_pipeline():
    class Echo(Kept):
        async def write(self, event):
            self.events.append(event)
            if event["message"] == "m":
                assert log.emit("echo", n=event["n"])

    sink = Echo()
    with Pipeline([sink], overflow="block") as log:
        for n in range(100):
            log.emit("m", n=n)
        while len(sink.events) < 200:
            time.sleep(0.001)
    assert sum(e["message"] == "echo" for e in sink.events) == 100


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"overflow": "lose"}, ValueError),
        ({"overflow": "spool"}, ValueError),
        ({"level": "loud"}, ValueError),
        ({"max_events": 0}, ValueError),
        ({"max_events": 1 << 28}, ValueError),
        ({"max_bytes": 0}, ValueError),
        ({"block_timeout": -1}, ValueError),
        ({"sinks": [object()]}, TypeError),
        ({"sinks": [Kept(name="a"), Kept(name="a")]}, ValueError),
    ],
)
def test_wrong_arguments_are_refused(arguments, error):
    with pytest.raises(error):
        Pipeline(**({"sinks": []} | arguments))


def test_a_pipeline_without_sinks_filters_everything():
    with Pipeline([]) as log:
        assert log.emit("m")
    stats = log.stats()
    assert adds_up(stats)
    assert (stats.filtered, stats.pending) == (1, 0)


def test_logging_of_the_worker_does_not_feed_back(caplog):
    """A handler that emits into the pipeline whose worker complains makes no endless loop."""

    class ToPipeline(logging.Handler):
        def emit(self, record):
            log.emit(record.getMessage(), bad=True)

    def fails(event):
        raise LookupError

    logger = logging.getLogger("pymongoose.sinks")
    handler = ToPipeline()
    kept = Kept()
    log = Pipeline([kept], processors=[fails])
    logger.addHandler(handler)
    try:
        with log:
            log.emit("m")
            assert log.flush(DEADLINE)
    finally:
        logger.removeHandler(handler)
    assert 1 <= log.stats().dropped["processor_error"] < 10
