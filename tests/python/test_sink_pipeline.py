"""Pipelines: every event accepted is sent, on disk, or counted with a reason; nobody who emits waits for a sink."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import sys
import threading
import time
from pathlib import Path

import pytest
from helpers import finish, program

from pymongoose import Manager
from pymongoose.sinks import BatchedSink, DrainResult, Pipeline, Sink, Spool

DEADLINE = 30.0


class Kept(Sink):
    """Keeps what it gets; `gate` holds it up while it is not set."""

    def __init__(self, **options):
        super().__init__(**options)
        self.events = []
        self.gate = None
        self.starts = self.stops = 0

    async def start(self):
        self.starts += 1

    async def write(self, event):
        if self.gate is not None:
            await self.gate.wait()
        self.events.append(event)

    async def stop(self):
        self.stops += 1


class Only:
    """A route: the sink gets what `matches` wants."""

    def __init__(self, sink, matches):
        self.sink = sink
        self.matches = matches


def is_error(event):
    return event["level"] == "error"


class KeptLines(Sink):
    accepts = "json"

    def __init__(self, **options):
        super().__init__(**options)
        self.lines = []

    def offer(self, events, lines):
        self.lines += lines
        self._sent += len(lines)
        return len(lines)


class Held(Kept):
    """Delivers nothing before release()."""

    def __init__(self, **options):
        super().__init__(**options)
        self.open = threading.Event()
        self.busy = threading.Event()

    async def write(self, event):
        self.busy.set()
        while not self.open.is_set():
            await asyncio.sleep(0.001)
        self.events.append(event)


def adds_up(stats):
    return stats.deliveries == stats.sent + stats.spooled + stats.pending + stats.filtered + sum(
        stats.dropped.values()
    )


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
        loop = log._worker.loop
        while log._worker.call(lambda: bool(_timers(loop) or loop._ready), DEADLINE):
            time.sleep(0.001)  # it looks once or twice more
        steps = []
        step = log._worker.step
        log._worker.step = lambda: steps.append(1) or step()
        time.sleep(0.1)
        assert steps == []  # neither timers nor looks: only the descriptor wakes it
        log.emit("n")
        assert log.flush(DEADLINE)
        assert steps
    assert len(kept.events) == 2


def _timers(loop):
    return [h for h in loop._scheduled if not h.cancelled()]


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


# ---- to disk ----


class Durable(Kept):
    """A durable sink without a disk."""

    durable = True

    def __init__(self, **options):
        super().__init__(**options)
        self.lines = []
        self.room = 1 << 30
        self.lock = threading.Lock()

    def append_durable(self, line):
        with self.lock:
            if len(self.lines) >= self.room:
                return False
            self.lines.append(line)
            self._sent += 1
            return True

    def offer(self, events, lines):
        for event in events:
            self.append_durable(json.dumps(event).encode())
        return len(events)


def on_disk(folder):
    return b"".join(p.read_bytes() for p in folder.rglob("*.seg"))


def test_emit_into_a_durable_pipeline_returns_when_the_event_is_on_disk():
    durable, kept = Durable(name="d"), Kept(name="k")
    errors = Durable(name="e")
    with Pipeline([durable, kept, Only(errors, is_error)], processors=[_without_secret]) as log:
        assert log.emit("a", level="error", secret=1)
        assert [json.loads(line)["message"] for line in durable.lines] == ["a"]
        assert len(errors.lines) == 1
        assert log.emit("b", secret=1)
        assert len(durable.lines) == 2
        assert len(errors.lines) == 1
        assert log.queue.push_json(b'{"message":"c","level":"error","secret":1}', "error")
        assert log.flush(DEADLINE)
        with pytest.raises(TypeError):
            log.emit(1)
        with pytest.raises(TypeError):
            log.emit("a", message="b")
        assert log.emit("skip")
    assert not log.emit("late")
    assert [e["message"] for e in kept.events] == ["a", "b", "c"]
    assert b"secret" not in b"".join(durable.lines + errors.lines)
    assert not any("secret" in e for e in kept.events)
    stats = log.stats()
    assert adds_up(stats)
    assert (stats.accepted, stats.filtered, stats.sent) == (4, 1, 8)
    assert stats.refused == {"closed": 1}


def _without_secret(event):
    event.pop("secret", None)
    return None if event["message"] == "skip" else event


def test_a_full_disk_refuses_and_is_counted():
    durable = Durable()
    durable.room = 3
    with Pipeline([durable]) as log:
        assert [log.emit("m") for _ in range(5)] == [True] * 3 + [False] * 2
    stats = log.stats()
    assert adds_up(stats)
    assert stats.refused == {"spool_full": 2}
    assert stats.accepted == 3


def test_durable_events_that_do_not_fit_into_the_queue_are_lost_for_the_other_sinks_only():
    durable, held = Durable(name="d"), Held(name="h", max_pending=1)
    with Pipeline([durable, held], max_events=1) as log:
        for n in range(2000):
            assert log.emit("m", n=n)
        stats = log.stats()
        assert adds_up(stats)
        held.open.set()
        log.flush(DEADLINE)
    stats = log.stats()
    assert adds_up(stats)
    assert len(durable.lines) == 2000
    assert stats.refused == {}
    assert len(held.events) == 2000 - sum(stats.dropped.values())


def test_durable_emits_from_many_threads_and_from_signal_handlers():
    durable, kept = Durable(name="d"), Kept(name="k")
    rung = 0

    def ring(*_):
        nonlocal rung
        assert log.emit("signal")
        rung += 1

    with Pipeline([durable, kept], max_events=1 << 20) as log:
        old = signal.signal(signal.SIGALRM, ring)
        try:
            threads = [
                threading.Thread(target=lambda: [log.emit("t") for _ in range(500)])
                for _ in range(3)
            ]
            for t in threads:
                t.start()
            signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
            n = 0
            while rung < 50:
                log.emit("m")
                n += 1
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, old)
        for t in threads:
            t.join()
    total = 1500 + n + rung
    stats = log.stats()
    assert adds_up(stats)
    assert stats.accepted == total
    assert len(durable.lines) == len(kept.events) == total


def test_what_does_not_fit_goes_to_the_spool_processed_and_comes_back_when_there_is_room(tmp_path):
    held, disk = Held(max_pending=3), Spool(tmp_path)
    log = Pipeline([held], max_events=4, overflow="spool", spool=disk, processors=[_without_secret])
    with log:
        for n in range(1000):
            assert log.emit("m", n=n, secret=1)
        assert b'"n":999' in on_disk(tmp_path)
        assert b"secret" not in on_disk(tmp_path)
        stats = log.stats()
        assert adds_up(stats)
        assert stats.spooled > 0
        assert stats.dropped == {}
        held.open.set()
        assert log.flush(DEADLINE)
        assert disk.events == 0
    assert sorted(e["n"] for e in held.events) == list(range(1000))
    assert not disk.is_open
    assert log.stats().accepted == log.stats().sent == 1000


def test_stop_leaves_the_queue_in_the_spool_and_the_next_run_finds_it(tmp_path):
    held, disk = Held(max_pending=1), str(tmp_path)
    log = Pipeline([held], max_events=2000, overflow="spool", spool=disk)
    log.start()
    for n in range(3000):
        assert log.emit("m", n=n)
    result = log.stop(0.05)
    assert result.spooled == log.stats().spooled > 2000
    assert result.spooled + result.dropped == 3000
    assert adds_up(log.stats())
    held.open.set()
    kept = Kept()
    with Pipeline([kept], overflow="spool", spool=disk) as again:
        assert again.flush(DEADLINE)
    stats = again.stats()
    assert adds_up(stats)
    assert (stats.recovered, stats.sent, stats.accepted) == (result.spooled, result.spooled, 0)


class Batches(BatchedSink):
    def __init__(self, **options):
        super().__init__(**options)
        self.events = []
        self.down = threading.Event()

    async def send_batch(self, batch):
        if self.down.is_set():
            raise ConnectionError
        self.events += batch


class HalfStarts(Batches):
    tries = 0

    async def start(self):
        await super().start()
        self.tries += 1
        if self.tries < 3:
            raise ConnectionError


def test_a_sink_whose_start_fails_half_way_is_started_again(monkeypatch):
    monkeypatch.setattr("pymongoose.sinks._worker.RESTART", (0.01, 0.02))
    sink = HalfStarts()
    with Pipeline([sink]) as log:
        log.emit("m")
        assert log.flush(DEADLINE)
    assert len(sink.events) == 1


class NeverStarts(Batches):
    async def start(self):
        raise ConnectionError


@pytest.mark.parametrize("when", ["accept", "outage"])
@pytest.mark.parametrize("kind", [Batches, NeverStarts])
def test_with_a_spool_a_receiver_that_is_away_costs_no_event(tmp_path, when, kind, caplog):
    sink = kind(spool=Spool(tmp_path, when=when), max_pending=10, batch_size=50)
    sink.down.set()
    kept = Kept()
    log = Pipeline([sink, kept], max_events=5000)
    log.start()
    for n in range(3000):
        assert log.emit("m", n=n)
    while len(kept.events) < 3000:
        time.sleep(0.001)
    result = log.stop(0.1)
    stats = log.stats()
    assert adds_up(stats)
    assert (result.sent, result.spooled, result.dropped) == (3000, 3000, 0), stats
    again = Batches(spool=Spool(tmp_path, when=when))
    with Pipeline([again]) as log:
        assert log.flush(DEADLINE)
    got = [e["n"] for e in again.events]
    if when == "outage":  # what was in memory when it ended is on disk behind the others
        got.sort()
    assert got == list(range(3000))
    stats = log.stats()
    assert adds_up(stats)
    assert (stats.accepted, stats.recovered, stats.sent) == (0, 3000, 3000)


def test_a_durable_pipeline_on_a_real_disk(tmp_path):
    durable, kept = Batches(spool=tmp_path, batch_timeout=0.01), Kept()
    with Pipeline([durable, kept]) as log:
        threads = [
            threading.Thread(target=lambda k=k: [log.emit("m", k=k, n=n) for n in range(500)])
            for k in range(4)
        ]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert adds_up(log.stats())
        assert log.flush(DEADLINE)
    stats = log.stats()
    assert adds_up(stats)
    assert (stats.accepted, stats.sent, stats.spooled) == (2000, 4000, 0)
    for k in range(4):
        assert [e["n"] for e in durable.events if e["k"] == k] == list(range(500))


def test_a_full_spool_refuses(tmp_path):
    held = Held(max_pending=1)
    disk = Spool(tmp_path, max_bytes=8192, segment_bytes=4096)
    log = Pipeline([held], max_events=1, overflow="spool", spool=disk)
    with log:
        while not log.stats().refused:
            log.emit("m", x="y" * 1000)
        assert log.stats().refused == {"spool_full": 1}
        held.open.set()
    assert adds_up(log.stats())


# ---- ends and forks ----

FILE_SINK = """
import os, signal, sys, threading, time
from pymongoose.sinks import Pipeline, Sink

class File(Sink):
    accepts = "json"
    def __init__(self, path):
        super().__init__(name="file")
        self.path = path
    async def start(self):
        self.file = open(self.path, "ab", 0)
    def offer(self, events, lines):
        self.file.write(b"".join(line + b"\\n" for line in lines))
        self._sent += len(lines)
        return len(lines)

path = sys.argv[1]
"""


def lines_of(path):
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def test_events_are_flushed_at_exit(tmp_path):
    out = tmp_path / "out"
    code = """
log = Pipeline([File(path)])
log.start()
for n in range(20000):
    assert log.emit("m", n=n)
"""
    assert finish(program(FILE_SINK + code, str(out))) == ""
    assert [e["n"] for e in lines_of(out)] == list(range(20_000))


def test_events_of_threads_that_outlive_the_main_one_are_flushed_too(tmp_path):
    out = tmp_path / "out"
    code = """
import atexit
log = Pipeline([File(path)])
atexit.register(lambda: log.emit("atexit"))
log.start()
def late():
    threading.main_thread().join()
    for n in range(100):
        assert log.emit("late", n=n)
threading.Thread(target=late).start()
log.emit("main")
"""
    finish(program(FILE_SINK + code, str(out)))
    messages = [e["message"] for e in lines_of(out)]
    assert messages[:101] == ["main"] + ["late"] * 100


def test_sigterm_flushes_and_then_kills_as_it_would_have(tmp_path):
    out = tmp_path / "out"
    code = """
log = Pipeline([File(path)])
log.start()
for n in range(20000):
    assert log.emit("m", n=n)
print("ready", flush=True)
time.sleep(60)
"""
    process = program(FILE_SINK + code, str(out))
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=DEADLINE) == ("", "")
    assert process.returncode == -signal.SIGTERM
    assert [e["n"] for e in lines_of(out)] == list(range(20_000))


def test_a_programs_own_sigterm_handler_stays(tmp_path):
    code = """
def mine(*_):
    print("mine", flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, mine)
log = Pipeline([File(path)])
log.start()
log.emit("m")
print("ready", flush=True)
time.sleep(60)
"""
    out = tmp_path / "out"
    process = program(FILE_SINK + code, str(out))
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=DEADLINE) == ("mine\n", "")
    assert len(lines_of(out)) == 1


def test_the_default_action_comes_back_when_the_last_pipeline_stops():
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    with Pipeline([Kept()]), Pipeline([Kept()]):
        assert callable(signal.getsignal(signal.SIGTERM))
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    with Pipeline([Kept()], signals=False):
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="warns about forks beside threads")
def test_forked_children_have_pipelines_of_their_own(tmp_path):
    out = tmp_path / "out"
    code = """
log = Pipeline([File(path)])
log.start()
for round in range(20):
    for n in range(50):
        assert log.emit("parent", n=round * 50 + n)
    pid = os.fork()
    if pid == 0:
        assert log.stats().accepted == 0, log.stats()
        if round % 2:
            assert log.queue.push_json(b'{"message": "child", "n": %d}' % round, "info")
        else:
            assert log.emit("child", n=round)
        assert log.flush(20)
        while log.stats().sent != 1:
            time.sleep(0.001)
        result = log.stop(20)
        assert (result.sent, result.dropped) == (1, 0), result
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
assert log.flush(20)
assert log.stats().sent == 1000, log.stats()
"""
    assert finish(program(FILE_SINK + code, str(out))) == ""
    events = lines_of(out)
    assert [e["n"] for e in events if e["message"] == "parent"] == list(range(1000))
    assert sorted(e["n"] for e in events if e["message"] == "child") == list(range(20))


def test_children_of_multiprocessing_flush_when_they_end(tmp_path):
    out = tmp_path / "out"
    code = """
import multiprocessing, warnings
warnings.simplefilter("ignore")
log = Pipeline([File(path)])
def work(k):
    for n in range(200):
        assert log.emit("child", k=k, n=n)
log.start()
log.emit("parent")
context = multiprocessing.get_context("fork")
children = [context.Process(target=work, args=(k,)) for k in range(3)]
for c in children:
    c.start()
for c in children:
    c.join()
    assert c.exitcode == 0
"""
    assert finish(program(FILE_SINK + code, str(out))) == ""
    events = lines_of(out)
    assert sum(e["message"] == "parent" for e in events) == 1
    for k in range(3):
        assert [e["n"] for e in events if e.get("k") == k] == list(range(200))


@pytest.mark.slow
def test_memory_stays_flat_over_a_million_events(tmp_path):
    out = tmp_path / "out"
    code = """
def resident():
    with open("/proc/self/statm") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

log = Pipeline([File("/dev/null")], max_events=10_000, overflow="block", block_timeout=30.0)
total = int(os.environ.get("SOAK_EVENTS", "1000000"))
with log:
    for n in range(total):
        assert log.emit("m", n=n, path="/items/42", d={"a": [n]})
        if n == total // 10:
            before = resident()
    after = resident()
assert log.stats().sent == total
print(after - before < 4 << 20 or (before, after))
"""
    assert finish(program(FILE_SINK + code, str(out)), timeout=600) == "True\n"


def test_lines_that_wait_take_the_memory_of_their_text(tmp_path):
    code = """
def resident():
    with open("/proc/self/statm") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

class Waiting(File):
    lines = []
    def offer(self, events, lines):
        self.lines += lines
        return super().offer(events, lines)

log = Pipeline([Waiting("/dev/null")])
with log:
    before = resident()
    for n in range(50_000):
        assert log.emit("m", n=n)
    assert log.flush(30)
    assert len(Waiting.lines) == 50_000
    grown = (resident() - before) / 50_000  # the ring's pages and what was queued at once included
print(grown < 1000 or grown)
"""
    assert finish(program(FILE_SINK + code, "")) == "True\n"


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
