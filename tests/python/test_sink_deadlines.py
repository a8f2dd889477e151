"""stop() when there is more to do than time for it: it comes back, and every accepted event is sent, on disk, filtered, or counted."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import threading
import time

import pytest
from conftest import eventually

from pymongoose.sinks import BatchedSink, DrainResult, Pipeline, Sink, Spool, _delivery, _worker
from pymongoose.sinks._alarm import Alarm

WAIT = 30.0


class Lines(Sink):
    """Takes everything at once."""

    accepts = "json"

    def __init__(self, **options):
        super().__init__(**options)
        self.got = 0

    def offer(self, events, lines):
        self.got += len(lines)
        self._sent += len(lines)
        return len(lines)


class Events(Lines):
    accepts = "dict"

    def offer(self, events, lines):
        return super().offer((), events)


class Route:
    def __init__(self, sink, matches):
        self.sink = sink
        self.matches = matches


class Slow:
    """A value that takes its time to be rendered."""

    def __init__(self):
        self.rendered = 0

    def __str__(self):
        self.rendered += 1
        time.sleep(0.005)
        return "slow"


class Gate:
    """Lets nobody through before open(); says when somebody has come."""

    def __init__(self):
        self.reached = threading.Event()
        self.opened = threading.Event()

    def __call__(self, event):
        self.reached.set()
        self.opened.wait(WAIT)
        return event


@pytest.fixture
def gate():
    gate = Gate()
    yield gate
    gate.opened.set()


def stop_while_held(log, gate):
    """stop() with no time at all; the gate opens when it has begun."""
    stopping = threading.Thread(target=log.stop, args=(0.0,), daemon=True)
    stopping.start()
    eventually(lambda: log._worker is None or log._worker._deadline is not None)
    gate.opened.set()
    stopping.join(WAIT)
    assert not stopping.is_alive()


@pytest.fixture
def impatient(monkeypatch):
    """A worker that does not come back is given up soon."""
    monkeypatch.setattr(_worker, "PATIENCE", 0.1)


def accounts_for(log, accepted):
    stats = log.stats()
    assert stats.accepted == accepted
    assert (stats.pending, stats.queued) == (0, 0)
    assert stats.deliveries == stats.sent + stats.spooled + stats.filtered + sum(
        stats.dropped.values()
    )
    return stats


def slow(event):
    slow.calls += 1
    time.sleep(0.005)
    return event


@pytest.mark.parametrize("kind", [Lines, Events])
def test_a_slow_processor_does_not_keep_stop_and_what_it_did_not_see_is_counted(kind):
    sink = kind()
    log = Pipeline([sink], processors=[slow])
    log.start()
    slow.calls = 0
    assert sum(log.emit("m", n=n) for n in range(3000)) == 3000
    result = log.stop(0.1)
    assert slow.calls < 1500  # and not all of them, which takes 15 s
    assert result == DrainResult(sink.got, 0, 3000 - sink.got)
    assert accounts_for(log, 3000).dropped == {"deadline": 3000 - sink.got}


def test_slow_encoding_does_not_keep_stop_and_what_was_not_encoded_is_counted():
    sink, value = Lines(), Slow()
    log = Pipeline([sink])
    log.start()
    assert sum(log.emit("m", value=value) for _ in range(3000)) == 3000
    result = log.stop(0.1)
    assert value.rendered < 1500
    assert result == DrainResult(sink.got, 0, 3000 - sink.got)
    accounts_for(log, 3000)


def test_a_slow_route_does_not_keep_stop_and_sums_are_exact_for_several_sinks():
    sink, other = Lines(), Events()

    def odd(event):
        time.sleep(0.005)
        return event["n"] % 2

    log = Pipeline([Route(sink, odd), other])
    log.start()
    for n in range(3000):
        assert log.emit("m", n=n)
    result = log.stop(0.1)
    stats = accounts_for(log, 3000)
    assert result.sent == sink.got + other.got < 1500
    assert result.dropped == stats.dropped["deadline"] == stats.deliveries - result.sent


def test_with_a_spool_the_rest_is_on_disk_unless_even_that_takes_too_long(tmp_path):
    log = Pipeline([Lines()], processors=[slow], spool=Spool(tmp_path / "a"), overflow="spool")
    log.start()
    slow.calls = 0
    for n in range(3000):
        assert log.emit("m", n=n)
    result = log.stop(0.1)
    assert slow.calls < 1500
    assert result.spooled > 0
    assert result.sent + result.spooled + result.dropped == 3000
    assert accounts_for(log, 3000).spooled == result.spooled


def test_slices_are_as_small_as_events_are_slow():
    """So that sinks get their turn on the loop."""
    turns = []
    ticks = threading.Event()

    class Ticking(Events):
        async def start(self):
            self.task = asyncio.get_running_loop().create_task(self.tick())

        async def tick(self):
            while True:
                turns.append(slow.calls)
                ticks.set()
                await asyncio.sleep(0)

        async def stop(self):
            self.task.cancel()

    slow.calls = 0
    log = Pipeline([Ticking()], processors=[slow])
    log.start()
    assert ticks.wait(WAIT)
    for n in range(200):
        assert log.emit("m", n=n)
    assert log.flush(WAIT)
    log.stop(WAIT)
    assert max(b - a for a, b in itertools.pairwise(turns)) < 100


def test_a_worker_that_is_stuck_is_given_up_and_what_it_holds_is_counted(gate, impatient, caplog):
    sink, other = Lines(), Events()
    log = Pipeline([sink, other], processors=[gate])
    log.start()
    for n in range(2000):
        assert log.emit("m", n=n)
    assert gate.reached.wait(WAIT)
    result = log.stop(0.1)
    assert result == DrainResult(0, 0, 4000)
    stats = accounts_for(log, 2000)
    assert stats.dropped == {"deadline": 4000}
    assert "does not come back" in caplog.text
    gate.opened.set()  # what it does now counts no more
    _ended("pymongoose-sinks")
    assert log.stats() == stats
    assert (sink.got, other.got) == (0, 0)


def test_after_a_stuck_worker_the_pipeline_starts_again_when_its_sinks_are_free(gate, impatient):
    sink = Batches(batch_size=10)
    log = Pipeline([sink], processors=[gate])
    log.start()
    for n in range(100):
        assert log.emit("m", n=n)
    assert gate.reached.wait(WAIT)
    assert log.stop(0.1) == DrainResult(0, 0, 100)
    log.start()
    for n in range(100, 150):
        assert log.emit("m", n=n)
    gate.opened.set()
    assert log.flush(WAIT)
    assert log.stop(WAIT) == DrainResult(50, 0, 0)
    assert sink.got == list(range(100, 150))
    assert accounts_for(log, 150).dropped == {"deadline": 100}


class Batches(BatchedSink):
    def __init__(self, **options):
        super().__init__(**options)
        self.got = []
        self.hold = self.held = None

    async def send_batch(self, batch):
        if self.hold is not None:
            self.held.set()
            self.hold.wait(WAIT)  # on the loop, as it should not
        self.got += [event["n"] for event in batch]


def test_a_sink_that_blocks_the_loop_keeps_its_events_and_stop_counts_them_as_dropped(impatient):
    sink = Batches(batch_size=10)
    sink.hold, sink.held = threading.Event(), threading.Event()
    log = Pipeline([sink])
    log.start()
    for n in range(10):
        assert log.emit("m", n=n)
    assert sink.held.wait(WAIT)
    for n in range(10, 30):
        assert log.emit("m", n=n)
    assert log.stop(0.1) == DrainResult(0, 0, 30)
    stats = log.stats()
    assert (stats.pending, stats.queued, stats.dropped) == (10, 0, {"deadline": 20})
    sink.hold.set()
    _ended("pymongoose-sinks")
    assert accounts_for(log, 30).sent == 10  # it was on its way, and did arrive


def _ended(name):
    for thread in threading.enumerate():
        if thread.name == name:
            thread.join(WAIT)
            assert not thread.is_alive()


@pytest.mark.parametrize("seed", range(30))
def test_sums_are_exact_whenever_a_worker_is_given_up(seed, monkeypatch):
    """Also one that is not stuck but late, and goes on beside those who count."""
    rng = random.Random(seed)
    monkeypatch.setattr(_worker, "PATIENCE", rng.choice([0.0, 0.001, 0.005]))

    def hesitant(event):
        if event["n"] % 100 == 0:
            time.sleep(rng.random() * 0.004)
        return event if event["n"] % 3 else None

    sinks = [Batches(batch_size=50) for _ in range(1 + seed % 2)]
    log = Pipeline(sinks, processors=[hesitant] if seed % 3 else [])
    log.start()
    accepted = sum(log.emit("m", n=n) for n in range(rng.choice([100, 2000, 10_000])))
    result = log.stop(rng.choice([0.0, 0.001, 0.01]))
    deliveries, filtered = log.stats().deliveries, log.stats().filtered
    assert result.sent + result.spooled + result.dropped + filtered == deliveries
    _ended("pymongoose-sinks")
    assert accounts_for(log, accepted).sent == sum(len(sink.got) for sink in sinks)


def test_what_waits_on_disk_stays_there_when_stop_has_no_time_for_it(gate, tmp_path, monkeypatch):
    """The worker is late, not stuck: it must not take up more then."""
    monkeypatch.setattr(_worker, "LAST", 0.0)
    sink = Lines()
    log = Pipeline([sink], overflow="spool", spool=Spool(tmp_path), processors=[gate])
    log.start()
    assert log.emit("m", n=0)
    assert gate.reached.wait(WAIT)
    for n in range(100):
        assert log._backlog.append(b'{"n":%d}' % n)
    stop_while_held(log, gate)
    stats = log.stats()
    assert (sink.got, stats.spooled, stats.dropped) == (1, 100, {})


def test_what_is_kept_on_disk_at_the_end_goes_to_durable_sinks_too(tmp_path, gate, monkeypatch):
    """Their disk has it at once, as the next run takes it that they have what comes off the other one."""
    monkeypatch.setattr(_worker, "FIRST", 1)
    monkeypatch.setattr(_worker, "SLICE", 1)

    class Messages(BatchedSink):
        def __init__(self, **options):
            super().__init__(**options)
            self.got = []

        async def send_batch(self, batch):
            self.got += [event["message"] for event in batch]

    class Held(Messages):
        def offer(self, events, lines):
            gate(None)
            return super().offer(events, lines)

    durable, other = Messages(name="durable", spool=tmp_path / "a"), Held(name="other")

    def with_child(event):
        if event["message"] == "parent":
            assert log.emit("child")
        return event

    log = Pipeline(
        [durable, other], overflow="spool", spool=Spool(tmp_path / "b"), processors=[with_child]
    )
    with log:
        assert log.emit("first")
        assert gate.reached.wait(WAIT)
        assert all(log.emit("parent") for _ in range(3))  # all children are in the queue
        stop_while_held(log, gate)
    with log:
        assert log.flush(WAIT)
    stats = accounts_for(log, 7)
    assert stats.deliveries == 14
    assert sorted(durable.got) == ["child"] * 3 + ["first"] + ["parent"] * 3
    assert len(other.got) + stats.dropped.get("deadline", 0) == 7


def test_after_a_send_that_does_not_end_its_events_are_counted_and_the_sink_starts_again(
    monkeypatch,
):
    """The loop ends before the send does."""
    monkeypatch.setattr(_delivery, "_GRACE", 60.0)

    class Stubborn(Batches):
        ends = False

        async def send_batch(self, batch):
            self.begun.set()
            while not self.ends:
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.sleep(0.01)
            await super().send_batch(batch)

    sink = Stubborn(batch_size=10)
    sink.begun = threading.Event()
    log = Pipeline([sink])
    log.start()
    for n in range(20):
        assert log.emit("m", n=n)
    assert sink.begun.wait(WAIT)
    assert log.stop(0.0) == DrainResult(0, 0, 20)
    sink.ends = True
    _ended("pymongoose-sinks")
    assert accounts_for(log, 20).dropped == {"deadline": 20}
    with log:
        assert log.emit("m", n=20)
        assert log.flush(WAIT)
    assert sink.got[-1] == 20
    assert accounts_for(log, 21).sent == 1


@pytest.mark.parametrize("where", ["processor", "route"])
def test_a_processor_or_route_that_wants_to_exit_costs_its_event_and_no_other(where):
    def leaves(event):
        if event["n"] == 3:
            raise SystemExit
        return event

    sink = Lines()
    if where == "processor":
        log = Pipeline([sink], processors=[leaves])
    else:
        log = Pipeline([Route(sink, lambda event: bool(leaves(event)))])
    with log:
        assert all(log.emit("m", n=n) for n in range(10))
        assert log.flush(WAIT)
        assert sink.got == 9
    assert accounts_for(log, 10).dropped == {f"{where}_error": 1}


def test_what_is_left_of_long_lines_by_a_full_slice_does_not_wait_for_the_next_look(monkeypatch):
    monkeypatch.setattr(_worker, "LINES_BYTES", 1000)
    monkeypatch.setattr(_worker, "LINGER", (60.0, 60.0))
    sink = Lines()
    log = Pipeline([sink])
    log.queue.set_state("open")
    assert all(log.emit("m", text="x" * 1000) for _ in range(_worker.FIRST - 2))
    with log:
        eventually(lambda: sink.got == _worker.FIRST - 2)


class LeavesOnce(Lines):
    left = False

    def offer(self, events, lines):
        if not self.left:
            self.left = True
            raise SystemExit
        return super().offer(events, lines)


def test_what_a_sink_was_offered_when_it_wanted_to_leave_is_counted_and_the_worker_goes_on(caplog):
    sink = LeavesOnce()
    with Pipeline([sink]) as log:
        for n in range(10):
            assert log.emit("m", n=n)
            assert log.flush(WAIT)
        assert sink.got == 9
    assert accounts_for(log, 10).dropped == {"sink_error": 1}


def test_what_was_carried_until_its_start_is_counted_when_the_sink_wants_to_leave(caplog):
    class Late(LeavesOnce):
        may = None

        async def start(self):
            self.may = asyncio.Event()
            await self.may.wait()

    sink = Late()
    with Pipeline([sink]) as log:
        assert all(log.emit("m", n=n) for n in range(10))
        eventually(lambda: sink.may is not None and len(log._worker.outlets[0].carry) == 10)
        log._worker.loop.call_soon_threadsafe(sink.may.set)
        assert log.flush(WAIT)
    assert accounts_for(log, 10).dropped == {"sink_error": 10}


def test_sums_are_exact_when_a_sink_ends_the_worker(caplog):
    class Leaves(Lines):
        async def start(self):
            raise SystemExit

    log = Pipeline([Leaves()])
    log.start()
    assert all(log.emit("m", n=n) for n in range(10))
    assert log._worker.ended.wait(WAIT)
    assert all(log.emit("m", n=n) for n in range(10))
    assert log.stop(WAIT) == DrainResult(0, 0, 20)
    assert accounts_for(log, 20).dropped == {"deadline": 20}


def test_a_ring_that_was_lost_with_its_loop_does_not_keep_the_next_ones():
    due = [None]
    alarm = Alarm(lambda: due[0])

    def sleeping(loop):
        async def begin():
            alarm.start()
            task = asyncio.create_task(alarm.until_due(lambda: False, None))
            while not alarm.is_set:
                await asyncio.sleep(0)
            return task

        return loop.run_until_complete(begin())

    first = asyncio.new_event_loop()
    task = sleeping(first)
    alarm.call(lambda: True)  # nobody runs this loop any more
    first.close()
    second = asyncio.new_event_loop()
    task = sleeping(second)
    due[0] = 0.0
    alarm.call(lambda: True)
    second.run_until_complete(asyncio.wait_for(task, WAIT))
    second.close()
