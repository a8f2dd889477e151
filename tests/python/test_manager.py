"""A manager polls, runs, stops, closes and goes away as its documentation says."""

import asyncio
import contextlib
import gc
import logging
import select
import signal
import socket
import sys
import threading
import weakref

import pytest
from conftest import DEADLINE, Until, eventually, get, on_http, read_all, read_answer
from helpers import REQUEST, collect, finish, open_fds, poll_until, program

import pymongoose
from pymongoose import (
    MG_EV_ACCEPT,
    MG_EV_CLOSE,
    MG_EV_HTTP_HDRS,
    MG_EV_HTTP_MSG,
    MG_EV_OPEN,
    MG_EV_POLL,
    MG_EV_READ,
    MG_EV_WAKEUP,
    MG_EV_WRITE,
    ConnectionClosed,
    Manager,
)


def port_of(listener):
    return listener.local_addr[1]


# -- open and close --


def test_close_is_idempotent_and_closes_connections():
    mgr = Manager()
    listener = mgr.listen("http://127.0.0.1:0")
    assert mgr.connections == (listener,)
    assert not mgr.closed
    mgr.close()
    mgr.close()
    assert mgr.closed
    assert mgr.connections == ()
    assert (listener.id, listener.is_closing, listener.is_listening) == (0, True, False)
    assert repr(listener) == "<Connection closed>"
    assert repr(mgr) == "<Manager closed>"
    assert listener.manager is None


@pytest.mark.parametrize(
    "use",
    [
        lambda m: m.poll(),
        lambda m: m.run(),
        lambda m: m.listen("http://127.0.0.1:0"),
        lambda m: m.connect("tcp://127.0.0.1:1"),
        lambda m: m.timer_add(1, print),
        lambda m: m.call(print),
        lambda m: setattr(m, "handler", print),
    ],
)
def test_a_closed_manager_refuses(use):
    mgr = Manager(enable_wakeup=True)
    mgr.close()
    with pytest.raises(RuntimeError, match="closed"):
        use(mgr)


def test_a_closed_manager_answers_questions():
    mgr = Manager(enable_wakeup=True)
    mgr.poll(0)
    mgr.close()
    assert mgr.wakeup(1) is False
    assert mgr.wakeup_id == 0
    assert mgr.fileno() == -1
    assert mgr.timeout() is None
    assert mgr.stats().turns >= 1  # what was counted stays
    mgr.stop()


def test_a_context_manager_closes_also_behind_an_exception():
    with Manager() as mgr:
        listener = mgr.listen("tcp://127.0.0.1:0")
    assert mgr.closed
    with pytest.raises(ZeroDivisionError), Manager() as mgr:
        1 / 0  # noqa: B018
    assert mgr.closed
    assert listener.id == 0


def test_two_threads_cannot_poll(serve):
    server = serve(url=None)
    eventually(lambda: server.mgr.stats().turns)
    for use in (server.mgr.poll, server.mgr.run):
        with pytest.raises(RuntimeError, match="not reentrant"):
            use()
    with pytest.raises(RuntimeError, match="poll"):
        server.mgr.close()
    assert not server.mgr.closed


def test_a_handler_cannot_poll_or_close_its_manager():
    errors = []

    def handler(conn, ev, data):
        if ev == MG_EV_OPEN:
            for use in (lambda: conn.manager.poll(0), conn.manager.close, conn.manager.run):
                with pytest.raises(RuntimeError) as e:
                    use()
                errors.append(str(e.value))

    with Manager() as mgr:
        mgr.timer_add(0, lambda: mgr.listen("tcp://127.0.0.1:0", handler))
        mgr.poll(0)
    assert len(errors) == 3
    assert "not reentrant" in errors[0]
    assert "close()" in errors[1]
    assert "not reentrant" in errors[2]


def test_close_handlers_cannot_poll_or_open_while_the_manager_closes():
    errors = []

    def handler(conn, ev, data):
        if ev == MG_EV_CLOSE:
            mgr.close()  # nothing: it is closing
            assert isinstance(mgr.connections, tuple)
            for use in (
                lambda: mgr.poll(0),
                lambda: mgr.listen("tcp://127.0.0.1:0"),
                lambda: mgr.timer_add(0, print),
            ):
                with pytest.raises(RuntimeError, match="closed"):
                    use()
                errors.append(1)

    reported = []
    mgr = Manager(handler, error_handler=reported.append)
    mgr.listen("tcp://127.0.0.1:0")
    mgr.close()
    assert reported == []
    assert len(errors) == 3


def test_keyboard_interrupt_in_a_close_handler_leaves_close():
    def handler(conn, ev, data):
        if ev == MG_EV_CLOSE:
            raise KeyboardInterrupt

    mgr = Manager(handler)
    mgr.listen("tcp://127.0.0.1:0")
    with pytest.raises(KeyboardInterrupt):
        mgr.close()
    assert mgr.closed


def test_arguments_are_checked():
    with pytest.raises(ValueError, match="workers"):
        Manager(workers=-1)
    with pytest.raises(ValueError, match="workers or pool"):
        Manager(workers=1, pool=pymongoose.WorkerPool(1))
    with pytest.raises(TypeError, match="handler"):
        Manager(5)
    with pytest.raises(TypeError, match="error_handler"):
        Manager(error_handler=5)
    with pytest.raises(TypeError, match="pool"):
        Manager(pool=5)
    with Manager() as mgr, pytest.raises(TypeError, match="callable"):
        mgr.call(5)


# -- connections --


def test_connections_are_a_snapshot_of_what_is_open(serve):
    server = serve(on_http(lambda conn, msg: conn.reply(200, str(conn.id))), enable_wakeup=True)
    assert server.mgr.wakeup_id > 0
    assert server.mgr.connections == (server.listener,)
    with server.connect() as sock:
        sock.sendall(REQUEST)
        answer, _ = read_answer(sock)
        found = server.mgr.connections
        assert {c.id for c in found} == {server.listener.id, int(answer.body)}
        (peer,) = (c for c in found if not c.is_listening)
        assert peer.remote_addr[:2] == sock.getsockname()
        assert peer.manager is server.mgr
    eventually(lambda: server.mgr.connections == (server.listener,))
    assert len(found) == 2
    assert peer.id == 0


def test_wakeup_id_is_zero_when_wakeups_are_off():
    with Manager() as mgr:
        assert mgr.wakeup_id == 0
        assert mgr.connections == ()


def test_children_inherit_the_listeners_handler(serve):
    def answer(text):
        return on_http(lambda conn, msg: conn.reply(200, text))

    server = serve(answer("manager"))
    other = server.listen(handler=answer("listener"))
    assert get(server.port).body == b"manager"
    assert get(port_of(other)).body == b"listener"
    other.set_handler(answer("new"))
    assert get(port_of(other)).body == b"new"
    other.handler = None
    assert get(port_of(other)).body == b"manager"
    server.mgr.handler = answer("changed")
    assert get(server.port).body == b"changed"


def test_a_connections_own_handler_goes_first_and_none_restores(serve):
    def own(conn, ev, data):
        if ev == MG_EV_HTTP_MSG:
            conn.reply(200, "own")
            conn.set_handler(None)

    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_MSG:
            conn.reply(200, "manager")
            conn.handler = own
            assert conn.handler is own

    server = serve(handler)
    with server.connect() as sock:
        for expected in (b"manager", b"own", b"manager"):
            sock.sendall(REQUEST)
            assert read_answer(sock)[0].body == expected


def test_userdata_is_per_connection(serve):
    def handler(conn, ev, data):
        if ev == MG_EV_ACCEPT:
            assert conn.userdata is None
            conn.userdata = []
        elif ev == MG_EV_HTTP_MSG:
            conn.userdata.append(1)
            conn.reply(200, str(len(conn.userdata)))

    server = serve(handler)
    with server.connect() as a, server.connect() as b:
        for sock, expected in ((a, b"1"), (a, b"2"), (b, b"1"), (a, b"3")):
            sock.sendall(REQUEST)
            assert read_answer(sock)[0].body == expected


# -- exceptions --


def test_error_handler_of_one_argument():
    seen = []
    with Manager(error_handler=seen.append) as mgr:
        mgr.timer_add(0, lambda: 1 / 0)
        mgr.poll(0)
    assert [type(e) for e in seen] == [ZeroDivisionError]
    assert seen[0].__traceback__ is not None


def test_error_handler_of_three_arguments(serve):
    seen = []

    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_MSG:
            raise ValueError("broken")

    server = serve(handler, error_handler=lambda conn, ev, exc: seen.append((conn, ev, exc)))
    assert get(server.port).status == 500
    ((conn, ev, exc),) = seen
    assert isinstance(conn, pymongoose.Connection)
    assert ev == MG_EV_HTTP_MSG
    assert str(exc) == "broken"
    assert server.mgr.stats().handler_errors == 1


def test_without_an_error_handler_the_log_has_it(caplog):
    with caplog.at_level(logging.ERROR, "pymongoose"), Manager() as mgr:
        mgr.timer_add(0, lambda: 1 / 0)
        mgr.poll(0)
    (record,) = caplog.records
    assert record.exc_info[0] is ZeroDivisionError


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_error_handler_that_fails_does_not_stop_the_loop():
    calls = []

    def report(exc):
        raise RuntimeError("the reporter itself")

    with Manager(error_handler=report) as mgr:
        mgr.timer_add(0, lambda: 1 / 0)
        mgr.timer_add(0, lambda: calls.append(1))
        mgr.poll(0)
    assert calls == [1]


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_interrupts_leave_poll_and_the_server_goes_on(kind):
    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_MSG:
            if data.uri == "/stop":
                raise kind("now")
            conn.reply(200, "ok")

    with Manager(handler) as mgr:
        listener = mgr.listen("http://127.0.0.1:0")
        with socket.create_connection(("127.0.0.1", port_of(listener)), DEADLINE) as sock:
            sock.sendall(b"GET /stop HTTP/1.1\r\nHost: a\r\n\r\n")
            with pytest.raises(kind, match="now"):
                poll_until(mgr, lambda: False)
            mgr.poll(0)
            assert read_answer(sock)[0].status == 500
            sock.sendall(REQUEST)
            poll_until(mgr, lambda: mgr.stats().requests == 2)
            mgr.poll(0)
            assert read_answer(sock)[0].body == b"ok"
        mgr.timer_add(20, mgr.stop)
        ran = []
        mgr.timer_add(0, lambda: ran.append(1))
        mgr.run()  # the interrupt of before does not end it
        assert ran == [1]


def test_interrupts_leave_run_and_close(serve):
    mgr = Manager()
    listener = mgr.listen("tcp://127.0.0.1:0")

    def quit_now():
        raise SystemExit(3)

    mgr.timer_add(0, quit_now)
    with pytest.raises(SystemExit):
        mgr.run()
    assert mgr.closed
    assert listener.id == 0


# -- signals --

RUN = """
import signal, sys, threading
from pymongoose import Manager, MG_EV_HTTP_MSG
before = {n: (lambda *a: None) for n in (signal.SIGINT, signal.SIGTERM)}
for n, h in before.items():
    signal.signal(n, h)
mgr = Manager()
mgr.listen("tcp://127.0.0.1:0")
def ready():
    print("ready", flush=True)
mgr.timer_add(0, ready)
"""

RUN_END = """
assert mgr.closed
for n, h in before.items():
    assert signal.getsignal(n) is h
print("ended", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("poll_ms", [-1, 5, 3_600_000])
def test_run_stops_on_signals_whatever_the_timeout(number, poll_ms):
    p = program(RUN + f"mgr.run({poll_ms})\n" + RUN_END)
    assert p.stdout.readline() == "ready\n"
    p.send_signal(number)
    assert finish(p) == "ended\n"


def test_a_signal_ends_a_long_poll_with_keyboard_interrupt():
    code = """
import signal
from pymongoose import Manager
mgr = Manager()
mgr.timer_add(0, lambda: print("ready", flush=True))
try:
    while True:
        mgr.poll(3_600_000)
except KeyboardInterrupt:
    print("interrupted", mgr.closed)
mgr.timer_add(0, lambda: print("alive"))
mgr.poll(0)
mgr.close()
"""
    p = program(code)
    assert p.stdout.readline() == "ready\n"
    p.send_signal(signal.SIGINT)
    assert finish(p) == "interrupted False\nalive\n"


def test_a_signal_handler_runs_in_the_middle_of_a_poll():
    code = """
import signal
from pymongoose import Manager
mgr = Manager()
seen = []
signal.signal(signal.SIGUSR1, lambda *a: seen.append(1))
mgr.timer_add(0, lambda: print("ready", flush=True))
while not seen:
    mgr.poll(3_600_000)
print("seen")
mgr.close()
"""
    p = program(code)
    assert p.stdout.readline() == "ready\n"
    p.send_signal(signal.SIGUSR1)
    assert finish(p) == "seen\n"


def test_a_signal_just_before_the_wait_is_not_lost():
    # It is raised by a timer, from C: no byte code follows it, and the wait of the next turn is the first to be able to see it.
    code = """
import ctypes, functools, os, signal
from pymongoose import Manager
libc = ctypes.PyDLL(None)
for poll_ms in (-1, 3_600_000):
    mgr = Manager()
    mgr.timer_add(0, functools.partial(libc.kill, os.getpid(), signal.SIGTERM))
    mgr.run(poll_ms)
print("ended")
"""
    assert finish(program(code)) == "ended\n"


def test_run_stops_when_the_signal_came_before_it_waits():
    code = (
        RUN + "mgr.timer_add(0, lambda: signal.raise_signal(signal.SIGTERM))\nmgr.run()\n" + RUN_END
    )
    assert finish(program(code)) == "ready\nended\n"


def test_run_hears_signals_where_another_manager_had_its_bell():
    code = """
import ctypes, functools, os, signal
from pymongoose import Manager
libc = ctypes.PyDLL(None)
strike = functools.partial(libc.kill, os.getpid(), signal.SIGTERM)  # no byte code follows it
a, b = Manager(), Manager()
a.poll(0)
b.timer_add(0, strike)
b.run()
a.timer_add(0, strike)
a.run()
print("ended")
"""
    assert finish(program(code)) == "ended\n"


def test_run_hears_signals_where_asyncio_had_its_bell():
    code = """
import asyncio, ctypes, functools, os, signal
from pymongoose import Manager
libc = ctypes.PyDLL(None)
strike = functools.partial(libc.kill, os.getpid(), signal.SIGTERM)

async def main():
    loop = asyncio.get_running_loop()
    usr1 = asyncio.Event()
    loop.add_signal_handler(signal.SIGUSR1, usr1.set)
    mgr = Manager()
    mgr.poll(0)
    mgr.timer_add(0, strike)
    mgr.run()
    os.kill(os.getpid(), signal.SIGUSR1)
    await asyncio.wait_for(usr1.wait(), 15)  # asyncio has it again
    print("both")

asyncio.run(main())
"""
    assert finish(program(code)) == "both\n"


def test_stop_from_another_thread_ends_run(serve):
    server = serve(url=None)
    eventually(lambda: server.mgr.stats().turns)
    server.mgr.stop()
    server.thread.join(DEADLINE)
    assert server.mgr.closed


def test_stop_before_run_is_not_forgotten():
    mgr = Manager()
    mgr.stop()
    mgr.run()
    assert mgr.closed


# -- the end of run(): draining --


def test_run_finishes_deferred_requests_and_accepts_no_more(serve):
    held = Until()
    server = serve(on_http(lambda conn, msg: held.set(conn.defer())), drain_timeout=DEADLINE)
    with server.connect() as sock, server.connect() as idle:
        sock.sendall(REQUEST)
        reply, address = held.get(), ("127.0.0.1", server.port)
        server.mgr.stop()
        assert read_all(idle) == b""  # idle ones go at once
        assert server.thread.is_alive()
        eventually(lambda: server.listener.id == 0)
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(address, DEADLINE)
        reply.reply(200, "late")
        assert read_answer(sock)[0].body == b"late"
        assert read_all(sock) == b""
    server.thread.join(DEADLINE)
    assert not server.thread.is_alive()


def test_run_finishes_streaming_answers(serve):
    held = Until()
    server = serve(
        on_http(lambda conn, msg: held.set(conn.start_response(200))), drain_timeout=DEADLINE
    )
    with server.connect() as sock:
        sock.sendall(REQUEST)
        body = held.get()
        body.write("one")
        server.mgr.stop()
        eventually(lambda: server.listener.id == 0)
        body.write("two")
        body.end("three")
        assert read_answer(sock)[0].body == b"onetwothree"


def test_drain_timeout_bounds_the_end():
    seen = Until()
    mgr = Manager(on_http(lambda conn, msg: seen.set(conn.defer())))
    listener = mgr.listen("http://127.0.0.1:0")
    thread = threading.Thread(target=lambda: mgr.run(drain_timeout=0.0))
    thread.start()
    with socket.create_connection(("127.0.0.1", port_of(listener)), DEADLINE) as sock:
        sock.sendall(REQUEST)
        reply = seen.get()
        mgr.stop()
        thread.join(DEADLINE)
        assert mgr.closed
        assert read_all(sock) == b""
    assert reply.cancelled
    with pytest.raises(ConnectionClosed):
        reply.reply(200)


# -- inside another loop --


def test_a_manager_lives_inside_asyncio():
    async def main():
        loop = asyncio.get_running_loop()
        with Manager(on_http(lambda conn, msg: conn.reply(200, "async")), workers=1) as mgr:
            port = port_of(mgr.listen("http://127.0.0.1:0"))
            due = None

            def turn():
                nonlocal due
                mgr.poll(0)
                if due is not None:
                    due.cancel()
                left = mgr.timeout()
                due = loop.call_later(left, turn) if left is not None else None

            loop.add_reader(mgr.fileno(), turn)
            fired = asyncio.Event()
            mgr.timer_add(5, fired.set)
            turn()
            await asyncio.wait_for(fired.wait(), DEADLINE)
            for _ in range(3):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(REQUEST)
                line = await asyncio.wait_for(reader.readline(), DEADLINE)
                assert line.startswith(b"HTTP/1.1 200")
                writer.close()
                await writer.wait_closed()
            called = asyncio.Event()
            await asyncio.to_thread(mgr.call, called.set)
            await asyncio.wait_for(called.wait(), DEADLINE)
            job = mgr.pool.submit(sum, [1, 2])
            assert await asyncio.wait_for(asyncio.wrap_future(job), DEADLINE) == 3
            loop.remove_reader(mgr.fileno())
            if due is not None:
                due.cancel()

    asyncio.run(main())


def test_a_manager_lives_inside_select():
    with Manager(on_http(lambda conn, msg: conn.reply(200, "select"))) as mgr:
        port = port_of(mgr.listen("http://127.0.0.1:0"))
        mgr.poll(0)
        answers = []
        client = threading.Thread(target=lambda: answers.append(get(port)))
        client.start()
        while not answers:
            timeout = mgr.timeout()
            ready, _, _ = select.select([mgr.fileno()], [], [], 0.1 if timeout is None else timeout)
            if ready or timeout is not None:
                mgr.poll(0)
        client.join()
        assert answers[0].body == b"select"


def test_timeout_tells_when_a_timer_is_due():
    with Manager() as mgr:
        mgr.poll(0)
        assert mgr.timeout() is None
        mgr.timer_add(60_000, print)
        mgr.poll(0)
        assert 59 < mgr.timeout() <= 60
        mgr.call(print)
        assert mgr.timeout() == 0


# -- statistics --


def test_stats_count(serve):
    def handler(conn, msg):
        if msg.uri == "/boom":
            raise ValueError
        conn.reply(404 if msg.uri == "/none" else 200, "x")

    server = serve(on_http(handler), enable_wakeup=True)
    before = server.mgr.stats()
    assert (before.connections, before.accepted, before.requests, before.pool) == (1, 0, 0, None)
    for uri in ("/", "/none", "/boom"):
        get(server.port, uri)
    server.errors.clear()
    assert server.mgr.wakeup(server.listener.id, b"x")
    assert not server.mgr.wakeup(12345, b"x")
    eventually(lambda: server.mgr.stats().wakeups >= 1 and server.mgr.stats().connections == 1)
    s = server.mgr.stats()
    assert (s.accepted, s.requests, s.responses_4xx, s.responses_5xx) == (3, 3, 1, 1)
    assert (s.handler_errors, s.errors, s.slow_handlers, s.wakeups_refused) == (1, 0, 0, 1)
    assert (s.queue_messages, s.queue_bytes) == (0, 0)
    assert s.bytes_in > 50
    assert s.bytes_out > 100
    assert 0 < s.lock_takes <= s.turns * 2
    assert s.busy_seconds > 0
    with pytest.raises(AttributeError):
        s.requests = 5
    assert "connections" in repr(server.mgr)


def test_stats_of_the_pool():
    with Manager(workers=2) as mgr:
        assert mgr.pool.submit(len, "abc").result(DEADLINE) == 3
        pool = eventually(lambda: (s := mgr.stats().pool).idle == 2 and s)
        assert (pool.submitted, pool.completed, pool.queued, pool.running) == (1, 1, 0, 0)
        assert pool.threads == 2


# -- slow handlers --


def block(seconds):
    threading.Event().wait(seconds)  # the lock is free meanwhile


def test_slow_handlers_are_reported_with_their_stack(serve):
    reports = []

    def handler(conn, msg):
        if msg.uri == "/slow":
            block(0.2)
        conn.reply(200, "done")

    server = serve(on_http(handler), slow_handler=0.02, on_slow=reports.append)
    assert get(server.port, "/fast").body == b"done"
    assert reports == []
    assert get(server.port, "/slow").body == b"done"
    (slow,) = eventually(lambda: reports)
    assert slow.event == MG_EV_HTTP_MSG
    assert slow.seconds >= 0.15
    assert slow.lock_wait >= 0
    assert "in block" in slow.stack
    assert "MG_EV_HTTP_MSG took" in str(slow)
    assert server.mgr.stats().slow_handlers == 1


def test_slow_handlers_are_logged_by_default(caplog):
    def handler(conn, ev, data):
        if ev == MG_EV_OPEN:
            block(0.2)

    with caplog.at_level(logging.WARNING, "pymongoose"), Manager(handler, slow_handler=0.02) as mgr:
        mgr.listen("tcp://127.0.0.1:0")
    assert "took" in caplog.text


def test_on_slow_that_fails_is_reported():
    errors = []

    def on_slow(slow):
        raise ValueError("slow")

    def handler(conn, ev, data):
        if ev == MG_EV_OPEN:
            block(0.05)

    with Manager(handler, error_handler=errors.append, slow_handler=0.01, on_slow=on_slow) as mgr:
        mgr.listen("tcp://127.0.0.1:0")
    assert [str(e) for e in errors] == ["slow"]


def test_the_watchdog_does_not_keep_a_manager_alive():
    mgr = Manager(slow_handler=10)
    thread = mgr._watchdog._thread
    ref = weakref.ref(mgr)
    mgr._watchdog._seconds = 0.01
    mgr.close()
    del mgr
    collect()
    assert ref() is None
    thread.join(DEADLINE)
    assert not thread.is_alive()


# -- which events --


def seen_events(serve, events, talk):
    seen = []

    def handler(conn, ev, data):
        if not conn.is_listening:
            seen.append(ev)
        if ev == MG_EV_HTTP_MSG:
            conn.reply(200, "x")

    server = serve(handler, events=events)
    talk(server)
    eventually(lambda: MG_EV_CLOSE in seen)
    return seen


def test_one_request_is_few_calls_by_default(serve):
    seen = seen_events(serve, (), lambda server: get(server.port))
    assert seen == [MG_EV_OPEN, MG_EV_ACCEPT, MG_EV_HTTP_MSG, MG_EV_CLOSE]


def test_read_write_and_headers_on_demand(serve):
    events = (MG_EV_READ, MG_EV_WRITE, MG_EV_HTTP_HDRS)
    seen = seen_events(serve, events, lambda server: get(server.port))
    assert [ev for ev in seen if ev not in (MG_EV_OPEN, MG_EV_ACCEPT, MG_EV_CLOSE)] == [
        MG_EV_HTTP_HDRS,
        MG_EV_HTTP_MSG,
        MG_EV_READ,
        MG_EV_WRITE,
    ]


def test_poll_on_demand(serve):
    polled = Until()

    def handler(conn, ev, data):
        if ev == MG_EV_POLL:
            polled.set(data)

    serve(handler, events=[MG_EV_POLL])
    assert polled.get() is None


def test_idle_connections_cost_no_python_calls(serve):
    calls = []

    def handler(conn, ev, data):
        calls.append(ev)

    server = serve(handler)
    with contextlib.ExitStack() as stack:
        for _ in range(50):
            stack.enter_context(server.connect())
        eventually(lambda: calls.count(MG_EV_ACCEPT) == 50)
        takes, before = server.mgr.stats().lock_takes, len(calls)
        for _ in range(20):
            turned = Until()
            server.mgr.call(turned.set)
            turned.get()
        assert len(calls) == before
        assert server.mgr.stats().lock_takes - takes <= 21


# -- nothing is left --


class Keeper:
    """A handler that refers to its manager: the usual cycle."""

    def __init__(self, **options):
        self.mgr = Manager(self.handle, enable_wakeup=True, **options)
        self.listener = self.mgr.listen("http://127.0.0.1:0")
        self.listener.userdata = self
        self.timer = self.mgr.timer_add(1000, self.tick, repeat=True)

    def tick(self):
        pass

    def handle(self, conn, ev, data):
        if ev == MG_EV_CLOSE:
            assert self.listener is conn


@pytest.mark.parametrize("close", [True, False])
@pytest.mark.parametrize("options", [{}, {"workers": 2}, {"slow_handler": 0.01}])
def test_managers_in_cycles_are_collected(close, options, caplog):
    collect()
    fds = open_fds()
    keeper = Keeper(**options)
    refs = [weakref.ref(keeper), weakref.ref(keeper.mgr), weakref.ref(keeper.listener)]
    keeper.mgr.poll(0)
    if options.get("workers"):
        assert keeper.mgr.pool.submit(len, "a").result(DEADLINE) == 1
    if close:
        keeper.mgr.close()
    del keeper
    eventually(lambda: gc.collect() >= 0 and [r() for r in refs] == [None] * 3)
    assert open_fds() == fds
    assert caplog.records == []  # handlers were whole when they heard of the end


def test_an_unclosed_manager_without_cycle_goes_with_its_last_reference():
    mgr = Manager()
    ref, conn = weakref.ref(mgr), mgr.listen("tcp://127.0.0.1:0")
    del mgr
    assert ref() is None
    assert conn.id == 0


def test_ten_thousand_requests_leave_nothing_behind():
    body = b"a constant of the module" * 10
    big = bytes(70_000)
    headers = {"X-Constant": "one value"}

    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_MSG:
            assert data.method == "GET"
            conn.reply(200, big if data.uri == "/big" else body, headers)

    with Manager(handler) as mgr:
        port = port_of(mgr.listen("http://127.0.0.1:0"))

        def rounds(n, uri=b"/"):
            batch = b"GET %s HTTP/1.1\r\nHost: a\r\n\r\n" % uri * 10
            with socket.create_connection(("127.0.0.1", port), DEADLINE) as sock:
                for _ in range(n // 10):
                    before = mgr.stats().requests
                    sock.sendall(batch)
                    poll_until(mgr, lambda want=before + 10: mgr.stats().requests == want)
                    have = b""
                    sock.setblocking(False)
                    seen = 0
                    while seen < 10:
                        mgr.poll(1)
                        try:
                            have += sock.recv(1 << 20)
                        except BlockingIOError:
                            continue
                        seen += have.count(b"HTTP/1.1 200 OK")
                        have = have[-14:] if len(have) > 14 else have
                        have = have.replace(b"HTTP/1.1 200 OK", b"")
                    sock.setblocking(True)
            poll_until(mgr, lambda: mgr.stats().connections == 1)

        rounds(100)
        rounds(20, b"/big")  # a large body that is sent often is held, once
        collect()
        objects, fds = len(gc.get_objects()), open_fds()
        counts = [sys.getrefcount(o) for o in (body, big, headers, handler)]
        rounds(10_000)
        rounds(50, b"/big")
        collect()
        assert [sys.getrefcount(o) for o in (body, big, headers, handler)] == counts
        assert abs(len(gc.get_objects()) - objects) < 20
        assert open_fds() == fds
        assert mgr.stats().requests == 10_170


def test_calls_from_other_threads_are_answered_before_the_poller_leaves():
    # A thread that polls once must not leave another waiting for an answer of the loop.
    mgr = Manager()
    asked, answers = threading.Event(), []

    def ask():
        asked.wait(DEADLINE)
        answers.append(mgr.connections)

    def turn():
        asked.set()
        eventually(lambda: mgr._stats()["queue_messages"] or answers)

    t = threading.Thread(target=ask)
    t.start()
    mgr.timer_add(0, turn)
    mgr.poll(0)
    t.join(DEADLINE)
    assert answers == [()]
    mgr.close()


def test_wakeup_events_go_to_listeners_too():
    seen = []

    def handler(conn, ev, data):
        if ev == MG_EV_WAKEUP:
            seen.append(data)

    with Manager(handler, enable_wakeup=True) as mgr:
        listener = mgr.listen("tcp://127.0.0.1:0")
        assert mgr.wakeup(listener.id)
        assert mgr.wakeup(listener.id, "text")
        mgr.poll(0)
    assert seen == [b"", b"text"]


def test_a_post_of_another_thread_makes_the_descriptor_readable():
    """So that a foreign loop that waits for it gives the manager its turn."""
    done = []
    with Manager() as mgr:
        mgr.poll(0)
        mgr.timeout()
        poster = threading.Thread(target=lambda: mgr.call(done.append, "posted"))
        poster.start()
        readable, _, _ = select.select([mgr.fileno()], [], [], 30)
        assert readable
        mgr.poll(0)
        poster.join()
        assert done == ["posted"]
