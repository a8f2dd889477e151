"""Durable pipelines and pipelines with a spool: what was accepted is on disk, comes back, and outlives outages and restarts."""

from __future__ import annotations

import json
import signal
import threading
import time

import pytest
from sink_helpers import DEADLINE, Held, Kept, Only, adds_up, is_error

from pymongoose.sinks import BatchedSink, Pipeline, Spool


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
