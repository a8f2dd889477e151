"""Timers fire on the loop thread, once or again and again, and stop when they are told to."""

import gc
import threading
import weakref

import pytest
from conftest import Until, eventually
from helpers import poll_until

from pymongoose import Manager


@pytest.fixture
def mgr():
    with Manager() as m:
        yield m


def test_a_one_shot_fires_once_and_is_inactive_then(mgr):
    calls, again = [], []
    timer = mgr.timer_add(1, lambda: calls.append(timer.active))
    assert timer.active
    mgr.timer_add(5, lambda: again.append(1), repeat=True)
    poll_until(mgr, lambda: len(again) >= 5)
    assert calls == [False]
    assert not timer.active
    assert repr(timer) == "<Timer stopped 1 ms>"


def test_zero_milliseconds_fire_in_the_next_turn(mgr):
    calls = []
    mgr.timer_add(0, lambda: calls.append(1))
    assert calls == []
    mgr.poll(0)
    assert calls == [1]
    mgr.poll(0)
    assert calls == [1]


def test_zero_milliseconds_repeated_fire_once_each_turn(mgr):
    calls = []
    mgr.timer_add(0, lambda: calls.append(1), repeat=True)
    for n in range(1, 5):
        mgr.poll(0)
        assert len(calls) == n


def test_repeat_fires_until_cancelled_in_the_callback(mgr):
    calls, others = [], []

    def callback():
        calls.append(1)
        if len(calls) == 3:
            timer.cancel()

    timer = mgr.timer_add(1, callback, repeat=True)
    mgr.timer_add(1, lambda: others.append(1), repeat=True)
    poll_until(mgr, lambda: len(calls) == 3)
    assert not timer.active
    seen = len(others)
    poll_until(mgr, lambda: len(others) > seen + 3)
    assert len(calls) == 3


def test_run_now_fires_in_the_first_turn_and_then_by_the_period(mgr):
    calls = []
    timer = mgr.timer_add(3_600_000, lambda: calls.append(1), repeat=True, run_now=True)
    mgr.poll(0)
    assert calls == [1]
    mgr.poll(0)
    assert calls == [1]
    assert timer.active
    once = mgr.timer_add(3_600_000, lambda: calls.append(2), run_now=True)
    mgr.poll(0)
    assert calls == [1, 2]
    assert not once.active


def test_timers_fire_by_time_and_equals_in_order(mgr):
    calls = []
    mgr.timer_add(20, lambda: calls.append("late"))
    for name in "abc":
        mgr.timer_add(0, lambda name=name: calls.append(name))
    poll_until(mgr, lambda: len(calls) == 4)
    assert calls == ["a", "b", "c", "late"]


def test_a_dropped_timer_lives_in_the_loop(mgr):
    calls = []
    mgr.timer_add(1, lambda: calls.append(1), repeat=True)
    gc.collect()
    poll_until(mgr, lambda: len(calls) == 3)


def test_cancel_is_idempotent_and_lets_go_of_the_callback(mgr):
    class Callback:
        def __call__(self):
            raise AssertionError("cancelled")

    callback = Callback()
    ref = weakref.ref(callback)
    timer = mgr.timer_add(0, callback)
    timer.cancel()
    timer.cancel()
    assert not timer.active
    mgr.poll(0)
    del callback, timer
    gc.collect()
    assert ref() is None


def test_cancel_from_another_thread(serve):
    server, fired = serve(url=None), Until()
    calls = []

    def callback():
        calls.append(threading.current_thread())
        fired.set()

    timer = server.mgr.timer_add(1, callback, repeat=True)
    fired.get()
    timer.cancel()
    eventually(lambda: not timer.active)
    seen, turned = len(calls), Until()
    server.mgr.timer_add(20, turned.set)
    turned.get()
    assert len(calls) == seen
    assert set(calls) == {server.thread}


def test_timers_are_added_from_any_thread_and_wake_the_loop(serve):
    server = serve(url=None)
    done = [Until() for _ in range(8)]
    threads = [
        threading.Thread(target=server.mgr.timer_add, args=(i, u.set)) for i, u in enumerate(done)
    ]
    for t in threads:
        t.start()
    for u in done:
        u.get()
    for t in threads:
        t.join()


def test_an_exception_is_reported_and_the_timer_lives(mgr):
    reports, calls = [], []
    with Manager(error_handler=lambda conn, ev, exc: reports.append((conn, exc))) as m:

        def callback():
            calls.append(1)
            raise ValueError(len(calls))

        timer = m.timer_add(1, callback, repeat=True)
        poll_until(m, lambda: len(calls) == 3)
        assert timer.active
    assert [(c, str(e)) for c, e in reports] == [(None, "1"), (None, "2"), (None, "3")]


def test_a_callback_may_add_and_cancel_others(mgr):
    calls = []
    victim = mgr.timer_add(1, lambda: calls.append("victim"))

    def first():
        victim.cancel()
        mgr.timer_add(0, lambda: calls.append("second"))

    mgr.timer_add(0, first)
    poll_until(mgr, lambda: calls)
    mgr.poll(5)
    assert calls == ["second"]


def test_timers_end_with_the_manager():
    calls = []
    with Manager() as m:
        timer = m.timer_add(0, lambda: calls.append(1))
    assert not timer.active
    timer.cancel()
    assert calls == []
    with pytest.raises(RuntimeError, match="closed"):
        m.timer_add(0, print)


@pytest.mark.parametrize("bad", [-1, float("nan"), 1e18])
def test_bad_times_are_refused(mgr, bad):
    with pytest.raises(ValueError, match="ms"):
        mgr.timer_add(bad, print)


def test_what_cannot_be_called_is_refused(mgr):
    with pytest.raises(TypeError, match="callback"):
        mgr.timer_add(1, "print")


def test_a_collected_manager_takes_its_timers_along():
    holder = [Manager()]
    ref = weakref.ref(holder[0])
    holder[0].timer_add(1000, lambda holder=holder: holder)
    del holder
    gc.collect()
    assert ref() is None


def test_a_kept_timer_of_a_manager_that_is_gone_is_inactive():
    timer = Manager().timer_add(1000, print)
    assert not timer.active
    timer.cancel()
