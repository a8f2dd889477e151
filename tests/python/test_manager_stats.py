"""A manager counts, reports handlers that are slow, and leaves nothing behind."""

import gc
import logging
import socket
import sys
import threading
import weakref

import pytest
from conftest import DEADLINE, eventually, get, on_http
from helpers import collect, open_fds, poll_until, port_of

from pymongoose import MG_EV_CLOSE, MG_EV_HTTP_MSG, MG_EV_OPEN, Manager

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
@pytest.mark.parametrize("options", [{}, {"workers": 2}, {"slow_handler": 60.0}])
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
