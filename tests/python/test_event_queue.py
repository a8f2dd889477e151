"""The native queue between emit() and a pipeline's worker: what goes in comes out once, in order, or is counted."""

import asyncio
import collections
import gc
import json
import os
import signal
import sys
import threading
import time
import weakref

import pytest

from pymongoose._core import EventQueue
from pymongoose.sinks import LEVELS, level_name, level_number
from pymongoose.sinks._encode import LINES
from pymongoose.sinks._levels import KNOWN, NAMES, level_index
from pymongoose.sinks._policy import OVERFLOWS, policies


def queue(max_events=1000, max_bytes=1 << 20, overflow="drop_newest", **more):
    options = {"level": "trace", "block_timeout": 5.0, "clock": None, "spill": None}
    options |= {"running_loop": asyncio._get_running_loop} | more
    q = EventQueue(
        max_events,
        max_bytes,
        tuple(OVERFLOWS.index(p) for p in policies(overflow)),
        KNOWN,
        level_index,
        NAMES,
        level_index(options["level"]),
        options["block_timeout"],
        options["clock"],
        lambda: None,
        options["spill"],
        options["running_loop"],
    )
    q.set_state("open")
    return q


def drained(q):
    out = []
    while batch := q.drain(1000):
        out += batch
    return out


def test_an_event_has_time_level_and_message_first_then_the_fields_as_given():
    q = queue()
    before = time.time()
    assert q.emit("hello", b=1, a=None, level="WARN", c=2.5)
    (event,) = q.drain(10)
    assert list(event) == ["ts", "level", "message", "b", "a", "c"]
    assert before <= event.pop("ts") <= time.time()
    assert event == {"level": "warning", "message": "hello", "b": 1, "a": None, "c": 2.5}


def test_keywords_of_a_dict_and_of_the_call_are_the_same():
    q = queue(clock=lambda: 7)
    fields = {"x": 1, "y": "z", "level": "error"}
    q.emit("m", **fields)
    q.emit("m", x=1, y="z", level="error")
    one, other = q.drain(10)
    assert one == other
    assert list(one) == list(other)


def test_a_field_named_ts_replaces_the_time_and_stands_first():
    q = queue()
    q.emit("m", a=1, ts=12.5)
    (event,) = q.drain(1)
    assert event == {"ts": 12.5, "level": "info", "message": "m", "a": 1}
    assert next(iter(event)) == "ts"


def test_the_clock_may_be_another_and_its_errors_are_the_callers():
    q = queue(clock=lambda: 42.5)
    q.emit("m")
    assert q.drain(1)[0]["ts"] == 42.5
    q = queue(clock=lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        q.emit("m")
    assert len(q) == 0


@pytest.mark.parametrize(
    ("args", "fields", "error"),
    [
        ((), {}, TypeError),
        (("a", "b"), {}, TypeError),
        ((1,), {}, TypeError),
        (("a",), {"message": "b"}, TypeError),
        (("a",), {"me" + "ssage"[0:5]: "b"}, TypeError),
        (("a",), {"level": "loud"}, ValueError),
        (("a",), {"level": -1}, ValueError),
        (("a",), {"level": None}, TypeError),
        (("a",), {"level": []}, TypeError),
    ],
)
def test_wrong_calls_raise_and_nothing_is_queued(args, fields, error):
    q = queue()
    with pytest.raises(error):
        q.emit(*args, **fields)
    assert q.counters()["accepted"] == 0


def test_levels_have_names_aliases_and_numbers():
    q = queue()
    given = [
        "trace",
        "Debug",
        "INFO",
        "warn",
        "WARNING",
        "error",
        "fatal",
        "Critical",
        5,
        20,
        25,
        49,
        50,
        1000,
        0,
    ]
    for level in given:
        assert q.emit("m", level=level)
    assert [e["level"] for e in drained(q)] == [level_name(level) for level in given]
    assert level_name(25) == "info"
    assert level_name(0) == "trace"
    assert level_name("FATAL") == "critical"
    assert {name: level_number(name) for name in LEVELS} == LEVELS
    assert level_number(33) == 33


def test_events_below_the_level_are_counted_and_not_looked_at():
    q = queue(level="warning")
    assert not q.emit("m", level="info", x=object())
    assert not q.emit("m")
    assert q.emit("m", level="error")
    assert not q.push_json(b"{}", "debug")
    counters = q.counters()
    assert (counters["below_level"], counters["accepted"]) == (3, 1)


def test_what_can_change_is_copied_at_the_call_and_deeply():
    q = queue()
    inner = {"k": [1]}
    value = {"d": inner, "l": [inner], "t": (inner,), "s": {1}, "b": bytearray(b"x")}
    q.emit("m", **value)
    inner["k"].append(2)
    inner["new"] = 1
    value["l"].append(3)
    value["s"].add(4)
    value["b"][0] = 0
    (event,) = q.drain(1)
    assert event["d"] == {"k": [1]}
    assert event["l"] == [{"k": [1]}]
    assert event["t"] == ({"k": [1]},)
    assert event["s"] == {1}
    assert event["b"] == b"x"


def test_cycles_and_deep_or_huge_values_are_cut_and_not_followed():
    q = queue(max_bytes=1 << 30)
    loop = []
    loop += [loop, loop]  # doubles with every level
    deep = value = []
    for _ in range(1000):
        value.append([])
        value = value[0]
    q.emit("m", loop=loop, deep=deep, long=list(range(200_000)))
    (event,) = q.drain(1)
    line = EventQueue.encode_lines([event], *LINES)[0]
    assert b'"..."' in line
    assert len(event["long"]) == 200_000


@pytest.mark.parametrize("value", [[0] * 10_000, (None,) * 10_000, {n: n for n in range(10_000)}])
def test_numbers_in_a_container_count_for_the_bytes_of_the_queue(value):
    q = queue(max_bytes=100_000)
    assert not q.emit("m", value=value)
    assert q.counters()["refused"] == {"too_big": 1}
    assert q.emit("m", value=list(value)[:1000])
    assert q.counters()["queued_bytes"] > 1000 * 8


def test_other_values_are_kept_as_they_are():
    class Thing:
        pass

    q = queue()
    thing = Thing()
    mapping = collections.OrderedDict(a=1)
    q.emit("m", thing=thing, mapping=mapping, n=1 << 100)
    (event,) = q.drain(1)
    assert event["thing"] is thing
    assert event["mapping"] is mapping
    assert event["n"] == 1 << 100


def test_both_bounds_are_exact_and_refusals_are_counted():
    q = queue(max_events=10)
    assert [q.emit("m") for _ in range(12)] == [True] * 10 + [False] * 2
    assert q.counters()["refused"] == {"queue_full": 2}
    q.drain(3)
    assert [q.emit("m") for _ in range(5)] == [True] * 3 + [False] * 2
    assert len(q) == 10

    q = queue(max_bytes=(64 + 24 + 100) * 5)
    assert [q.emit("", x="y" * 100) for _ in range(6)] == [True] * 5 + [False]
    assert q.counters()["queued_bytes"] == (64 + 24 + 100) * 5
    assert q.drain(1)
    assert q.emit("", x="y" * 100)
    assert not q.emit("", x=1)
    assert q.counters()["refused"] == {"queue_full": 2}
    assert not q.emit("", x=["y" * 1000])
    assert q.counters()["refused"] == {"queue_full": 2, "too_big": 1}


def test_drop_oldest_gives_up_exactly_what_it_must():
    q = queue(max_events=10, overflow="drop_oldest")
    assert all(q.emit("m", n=n) for n in range(25))
    counters = q.counters()
    assert (counters["accepted"], counters["evicted"], counters["refused"]) == (25, 15, {})
    assert [e["n"] for e in drained(q)] == list(range(15, 25))

    q = queue(max_bytes=10 * 88, overflow="drop_oldest")
    for n in range(10):
        q.emit("", n=n)
    assert q.emit("x" * 200, n=10)  # 288 bytes: four must go
    assert [e["n"] for e in drained(q)] == [*range(4, 10), 10]
    assert q.counters()["evicted"] == 4
    assert not q.emit("x" * 1000)
    assert len(q) == 0


def test_policies_are_chosen_by_level():
    assert policies({"warning": "drop_oldest", "critical": "block"}) == (
        *("drop_newest",) * 3,
        *("drop_oldest",) * 2,
        "block",
    )
    q = queue(max_events=2, overflow={"error": "drop_oldest"})
    assert q.emit("a")
    assert q.emit("b")
    assert not q.emit("c", level="warning")
    assert q.emit("d", level="error")
    assert [e["message"] for e in drained(q)] == ["b", "d"]
    with pytest.raises(ValueError, match="overflow"):
        policies("drop")
    with pytest.raises(ValueError, match="level"):
        policies({"loud": "block"})


def test_block_waits_until_there_is_room():
    q = queue(max_events=1, overflow="block", block_timeout=60.0)
    q.emit("a")
    done = []
    thread = threading.Thread(target=lambda: done.append(q.emit("b")))
    thread.start()
    assert q.drain(1)[0]["message"] == "a"
    thread.join(30)
    assert done == [True]
    assert q.drain(1)[0]["message"] == "b"


def test_block_gives_up_after_its_time_and_when_the_queue_is_closed():
    q = queue(max_events=1, overflow="block", block_timeout=0.01)
    q.emit("a")
    assert not q.emit("b")
    assert q.counters()["refused"] == {"queue_full": 1}

    q = queue(max_events=1, overflow="block", block_timeout=60.0)
    q.emit("a")
    done = []
    thread = threading.Thread(target=lambda: done.append(q.emit("b")))
    thread.start()
    q.set_state("closed")
    thread.join(30)
    assert done == [False]
    assert q.counters()["refused"] == {"closed": 1}


def test_room_in_a_queue_that_was_closed_meanwhile_is_not_taken():
    """Nobody would come for the event."""
    waits = threading.Event()

    def no_loop():
        waits.set()

    q = queue(max_events=1, overflow="block", block_timeout=60.0, running_loop=no_loop)
    q.emit("a")
    done = []
    before = sys.getswitchinterval()
    sys.setswitchinterval(
        100
    )  # the lock goes over only where it is given up: there when the other thread waits for room
    try:
        thread = threading.Thread(target=lambda: done.append(q.emit("b")))
        thread.start()
        waits.wait(30)
        q.set_state("closed")
        assert len(q.drain(1)) == 1
        thread.join(30)
    finally:
        sys.setswitchinterval(before)
    assert done == [False]
    assert q.counters()["refused"] == {"closed": 1}
    assert len(q) == 0


def test_block_does_not_wait_on_an_asyncio_loop():
    q = queue(max_events=1, overflow="block", block_timeout=60.0)

    async def main():
        return q.emit("a"), q.emit("b")

    assert asyncio.run(main()) == (True, False)
    assert q.counters()["refused"] == {"would_block": 1}


def test_block_lets_signal_handlers_run_and_raise():
    q = queue(max_events=1, overflow="block", block_timeout=60.0)
    q.emit("a")

    def ring(*_):
        raise KeyboardInterrupt

    old = signal.signal(signal.SIGALRM, ring)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with pytest.raises(KeyboardInterrupt):
            q.emit("b")
    finally:
        signal.signal(signal.SIGALRM, old)
    assert len(q) == 1


def test_a_closed_queue_refuses():
    q = queue()
    q.set_state("closed")
    assert not q.emit("m")
    assert not q.push_json(b"{}", "info")
    assert q.push(object(), "info", 0) == "closed"
    assert q.counters()["refused"] == {"closed": 2}
    with pytest.raises(ValueError, match="state"):
        q.set_state("ajar")


@pytest.mark.parametrize("overflow", ["drop_newest", "drop_oldest", "block"])
def test_many_threads_lose_nothing_that_is_not_counted(overflow):
    threads, each = 8, 4000
    q = queue(max_events=64, overflow=overflow, block_timeout=60.0)
    taken = [0] * threads
    start = threading.Barrier(threads)

    def produce(k):
        start.wait()
        taken[k] = sum(q.emit("m", k=k, i=i) for i in range(each))

    pool = [threading.Thread(target=produce, args=(k,)) for k in range(threads)]
    old = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for thread in pool:
            thread.start()
        got = []
        while any(thread.is_alive() for thread in pool):
            got += q.drain(100)
            time.sleep(0)
        got += drained(q)
    finally:
        sys.setswitchinterval(old)
    counters = q.counters()
    assert counters["accepted"] == sum(taken)
    assert len(got) == sum(taken) - counters["evicted"]
    assert sum(taken) + sum(counters["refused"].values()) == threads * each
    if overflow == "block":
        assert len(got) == threads * each
    for k in range(threads):
        mine = [e["i"] for e in got if e["k"] == k]
        assert mine == sorted(set(mine))
    assert counters["queued_bytes"] == 0


def test_emitting_from_a_signal_handler_that_interrupts_emit():
    q = queue(max_events=1 << 20, max_bytes=1 << 30)
    rung = 0

    def ring(*_):
        nonlocal rung
        rung += 1
        assert q.emit("signal", n=rung)

    old = signal.signal(signal.SIGALRM, ring)
    n = 0
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
        while rung < 100:
            assert q.emit("main", n=n, d={"x": [n]})
            n += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
    got = drained(q)
    assert [e["n"] for e in got if e["message"] == "main"] == list(range(n))
    assert [e["n"] for e in got if e["message"] == "signal"] == list(range(1, rung + 1))


def test_emitting_from_a_destructor_that_emit_runs():
    q = queue(max_events=4, overflow="drop_oldest")

    class Loud:
        def __del__(self):
            q.emit("gone")

    for _ in range(50):
        q.emit("m", x=Loud())
    out = 0
    while batch := q.drain(10):
        out += len(batch)
        del batch  # more of them go, and emit
    counters = q.counters()
    assert counters["accepted"] == 100
    assert counters["evicted"] + out == 100


def test_native_records_come_out_as_bytes_in_their_place():
    q = queue(max_events=3)
    assert q.emit("a")
    assert q.push_json(b'{"n":1}', "info")
    assert q.push_json(bytearray(b""), 50)
    assert not q.push_json(b"{}", "info")
    a, one, empty = q.drain(10)
    assert (a["message"], one, empty) == ("a", b'{"n":1}', b"")
    assert q.counters()["refused"] == {"queue_full": 1}
    q = queue(max_events=1, overflow="drop_oldest")
    q.emit("a", x=object())
    assert q.push_json(b"{}", "info")  # evicts without touching Python
    assert q.drain(5) == [b"{}"]
    assert q.counters()["evicted"] == 1
    q = queue(max_events=1, overflow="block", block_timeout=60.0)
    q.emit("a")
    assert not q.push_json(b"{}", "info")
    assert q.counters()["refused"] == {"would_block": 1}


def test_spilled_events_are_those_that_did_not_fit():
    spilled = []
    q = queue(max_events=2, overflow="spool", spill=lambda e: spilled.append(e) or len(spilled) < 3)
    assert [q.emit("m", n=n) for n in range(6)] == [True, True, True, True, False, False]
    assert [e["n"] for e in spilled] == [2, 3, 4, 5]
    assert q.counters()["accepted"] == 2
    assert q.push("thing", "info", 1) == "spool_full"
    q = queue(max_events=1, overflow="spool", spill=lambda e: 1 / 0)
    q.emit("m")
    with pytest.raises(ZeroDivisionError):
        q.emit("m")


def test_lines_are_encoded_on_the_way_out_and_by_the_slow_way_where_that_fails():
    q = queue(clock=lambda: 1.5)
    q.emit("a", n=1, thing={1, 2} - {2}, big=1 << 70)
    q.push_json(b'{"x":1}', "info")
    q.emit("\ud800", k=b"\xff")
    a, native, odd = q.drain_lines(100, 1 << 20, *LINES)
    assert json.loads(a)["n"] == 1
    assert json.loads(a)["thing"] == [1]
    assert json.loads(a)["big"] == str(1 << 70)
    assert native == b'{"x":1}'
    assert json.loads(odd)["level"] == "info"


def test_references_are_given_back():
    class Thing:
        pass

    q = queue(max_events=5, overflow="drop_oldest")
    things = [Thing() for _ in range(20)]
    refs = [weakref.ref(t) for t in things]
    for t in things:
        q.emit("m", t=t, l=[t])
    q.push(things[0], "info", 1)
    del things, t
    gc.collect()
    assert sum(r() is not None for r in refs) == 5
    del q
    gc.collect()
    assert not any(r() for r in refs)


def test_nothing_leaks_over_many_events():
    q = queue()
    key, value = "some_" + "key", object()
    for r in range(3):
        for n in range(1000):
            q.emit("m", **{key: value, "d": {"v": [value]}}, level="error", n=n)
        drained(q)
        with pytest.raises(ValueError, match="unknown"):
            q.emit("m", **{key: value}, level="x")
        if r == 0:
            counts = sys.getrefcount(key), sys.getrefcount(value)
    assert (sys.getrefcount(key), sys.getrefcount(value)) == counts


def test_a_queue_and_what_it_calls_are_collected_together():
    class Owner:
        def wake(self):
            pass

    owner = Owner()
    owner.q = EventQueue(
        10,
        1000,
        (0,) * 6,
        KNOWN,
        level_index,
        NAMES,
        0,
        1.0,
        None,
        owner.wake,
        None,
        asyncio._get_running_loop,
    )
    ref = weakref.ref(owner)
    del owner
    gc.collect()
    assert ref() is None


def test_the_bell_rings_once_when_the_consumer_sleeps():
    import select

    q = queue()

    def rings():
        return bool(select.select([q], [], [], 0)[0])

    q.emit("a")
    assert not rings()
    assert not q.arm()  # something is there
    q.drain(1)
    assert q.arm()
    q.emit("b")
    assert rings()
    q.disarm()
    assert not rings()
    q.emit("c")
    assert not rings()
    q.drain(5)
    assert q.arm()
    q.push_json(b"{}", "info")
    assert rings()


def test_a_reset_queue_is_empty_and_has_a_descriptor_of_its_own():
    q = queue()
    before = q.fileno()
    q.emit("m")
    q.reset()
    assert len(q) == 0
    assert q.counters()["accepted"] == 0
    assert q.emit("again")
    assert [e["message"] for e in drained(q)] == ["again"]
    assert q.fileno() >= 0
    assert before >= 0


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # fork beside threads
def test_a_child_forked_while_somebody_waits_for_room_is_not_held_up():
    q = queue(max_events=3, overflow="block", block_timeout=60.0)
    for k in range(3):
        q.emit("parent", k=k)
    done = []
    thread = threading.Thread(target=lambda: done.append(q.emit("waits")))
    thread.start()
    ends = []
    for _ in range(5):
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(20)  # the end of a child that hangs
            q.reset()
            os._exit(0 if len(q) == 0 and q.emit("child") and len(q.drain(9)) == 1 else 1)
        ends.append(os.waitpid(pid, 0)[1])
    q.drain(1)
    thread.join(30)
    assert ends == [0] * 5
    assert done == [True]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_event_that_cannot_be_made_is_counted_and_the_others_come():
    def dumps(event, default):
        raise (ValueError if event["message"] != "b" else SystemExit)

    q = queue()
    for message in "abc":
        q.emit(message, other=())
    lines = q.drain_lines(100, 1 << 20, dumps, None, lambda event: event["message"].encode())
    assert list(lines) == [b"a", b"c"]
    assert q.counters()["evicted"] == 1


def test_a_value_whose_text_ends_the_thread_ends_nothing():
    class Leaves:
        def __str__(self):
            raise SystemExit

    q = queue()
    q.emit("a", x=Leaves())
    (line,) = q.drain_lines(10, 1 << 20, *LINES)
    assert json.loads(line)["x"] == "<Leaves: str() raised SystemExit>"


@pytest.mark.parametrize(
    "wrong",
    [{"max_events": 0}, {"max_events": -1}, {"max_bytes": 0}, {"level": "x"}],
)
def test_wrong_bounds_are_refused(wrong):
    with pytest.raises(ValueError):  # noqa: PT011
        queue(**wrong)
