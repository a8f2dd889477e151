"""Whatever user code keeps stays usable, or says that it is over; nothing it does can reach freed memory.

Each test uses kept objects after what they belong to is gone: worth most under an AddressSanitizer build.
"""

import contextlib
import gc
import socket
import threading
import weakref

import pytest
from conftest import DEADLINE, Until, eventually, get, on_http, read_all, read_answer
from helpers import REQUEST, collect, poll_until, run_program

from pymongoose import (
    MG_EV_ACCEPT,
    MG_EV_CLOSE,
    MG_EV_HTTP_HDRS,
    MG_EV_HTTP_MSG,
    MG_EV_READ,
    ConnectionClosed,
    Manager,
    WorkerPool,
)

BODY = bytes(range(256)) * 20
POST = b"POST /p%%41?q=%d HTTP/1.1\r\nHost: a\r\nX-N: %d\r\nContent-Length: 5120\r\n\r\n"


def post(i):
    return POST % (i, i) + BODY


def check_message(msg, i):
    """Everything a message tells, as it was."""
    assert (msg.method, msg.uri, msg.query, msg.proto) == ("POST", "/p%41", f"q={i}", "HTTP/1.1")
    assert (msg.header("x-n"), len(msg.headers()), msg.params) == (str(i), 3, {"q": [str(i)]})
    assert (msg.body_bytes, bytes(msg.body), bytes(msg)) == (BODY, BODY, BODY)
    assert (msg.query_var("q"), msg.status(), bool(msg)) == (str(i), None, True)
    assert "5120 bytes" in repr(msg)


class Kept:
    """A server that keeps all it gets, and a client that made it get some."""

    def __init__(self, count=20):
        self.messages, self.views, self.conns, self.replies = [], [], [], []
        self.bodies, self.jobs = [], []
        self.gate = threading.Event()
        self.mgr = Manager(self.handle, workers=2, enable_wakeup=True, error_handler=print)
        self.listener = self.mgr.listen("http://127.0.0.1:0")
        self.timer = self.mgr.timer_add(1, int, repeat=True)
        address = self.listener.local_addr[:2]
        with contextlib.ExitStack() as stack:
            socks = [
                stack.enter_context(socket.create_connection(address, DEADLINE))
                for _ in range(count)
            ]
            for i, s in enumerate(socks):
                s.sendall(post(i))
            poll_until(self.mgr, lambda: len(self.messages) == count)
            self.socks = stack.pop_all()

    def handle(self, conn, ev, data):
        if ev != MG_EV_HTTP_MSG:
            return
        i = int(data.query_var("q"))
        self.messages.append((i, data))
        self.views.append(data.body)
        self.conns.append(conn)
        if i % 3 == 0:
            self.replies.append(conn.defer())
        elif i % 3 == 1:
            self.bodies.append(conn.start_response(200))
        else:
            self.jobs.append(conn.offload(self.gate.wait, DEADLINE))

    def use(self):
        """Everything that can be done with what was kept, once the connections are closed."""
        for i, msg in self.messages:
            check_message(msg, i)
        for view in self.views:
            assert bytes(view) == BODY
            assert bytes(view[256:512]) == BODY[:256]
        for conn in self.conns:
            assert (conn.id, conn.is_closing, conn.manager) == (0, True, None)
            assert repr(conn) == "<Connection closed>"
            with pytest.raises(ConnectionClosed):
                conn.send(b"x")
            conn.close()
            conn.drain()
            conn.on_drain = int
            conn.userdata = conn
        for reply in self.replies:
            assert reply.cancelled
            assert not reply.done
            with pytest.raises(ConnectionClosed):
                reply.reply(200, b"x")
            with pytest.raises(ConnectionClosed):
                reply.start_response(200)
            assert reply.connection in self.conns
        for body in self.bodies:
            assert body.closed
            assert not body.full
            with pytest.raises(ConnectionClosed):
                body.write(b"x")
            body.end()
            body.close()
        for job in self.jobs:
            assert job.cancelled()
            assert job.cancel()
            assert job.state == "cancelled"

    def drop(self):
        """Give all up, in the order that is hardest on the others."""
        for kept in (self.conns, self.replies, self.bodies, self.jobs, self.messages, self.views):
            kept.clear()
            gc.collect()


@pytest.fixture
def kept():
    k = Kept()
    yield k
    k.gate.set()
    k.socks.close()
    k.mgr.close()
    k.mgr.pool.shutdown()
    k.drop()


def test_after_the_clients_left(kept):
    kept.socks.close()
    poll_until(kept.mgr, lambda: len(kept.mgr.connections) == 1)
    kept.use()


def test_after_the_manager_closed(kept):
    kept.mgr.close()
    kept.use()
    assert not kept.timer.active
    kept.timer.cancel()


def test_after_the_manager_closed_from_other_threads(kept):
    kept.mgr.close()
    failed = []

    def use():
        try:
            kept.use()
        except BaseException as exc:  # noqa: BLE001  (told by the test)
            failed.append(exc)

    threads = [threading.Thread(target=use) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(DEADLINE)
    assert failed == []


@pytest.mark.parametrize("close", [True, False])
def test_after_the_manager_was_collected(close):
    k = Kept()
    ref = weakref.ref(k.mgr)
    if close:
        k.mgr.close()
    k.gate.set()
    del k.mgr
    collect()
    eventually(lambda: gc.collect() >= 0 and ref() is None)
    k.use()
    assert not k.timer.active
    k.socks.close()
    k.drop()


def test_kept_messages_survive_ten_thousand_others_on_the_same_connection(serve):
    kept = []

    def handler(conn, msg):
        n = int(msg.query_var("q"))
        if n % 500 == 0:
            kept.append((n, msg, msg.body[10:20]))
        conn.reply(200, b"")

    server = serve(on_http(handler), listen={"limits": None})
    with server.connect() as sock:
        have = b""
        for start in range(0, 5000, 50):
            sock.sendall(b"".join(post(i) for i in range(start, start + 50)))
            for _ in range(50):
                _, have = read_answer(sock, have=have)
    assert [n for n, _, _ in kept] == list(range(0, 5000, 500))
    for n, msg, view in kept:
        check_message(msg, n)
        assert bytes(view) == BODY[10:20]


def test_views_of_messages_that_nobody_keeps(serve):
    views = []
    server = serve(on_http(lambda conn, msg: (views.append(memoryview(msg)[1:3]), conn.reply(200))))
    for i in range(50):
        with server.connect() as sock:
            sock.sendall(post(i))
            read_answer(sock)
    assert all(bytes(v) == BODY[1:3] for v in views)


def test_a_message_stays_whole_when_its_handler_reads_and_closes(serve):
    seen = Until()

    def handler(conn, msg):
        body = msg.body
        with contextlib.suppress(RuntimeError):
            conn.consume(1 << 20)
        with contextlib.suppress(RuntimeError):
            conn.read()
        conn.reply(200, b"x")
        conn.close()
        check_message(msg, 7)
        assert bytes(body) == BODY
        seen.set(msg)

    server = serve(on_http(handler))
    with server.connect() as sock:
        sock.sendall(post(7))
        msg = seen.get()
        read_all(sock)
    check_message(msg, 7)


def test_bytes_under_way_are_held_until_they_are_sent(serve):
    """Large bodies are sent from the caller's object, which nobody else holds any more."""
    size = 8 << 20

    def handler(conn, msg):
        conn.reply(200, b"%d" % len(msg.uri) * size)

    server = serve(on_http(handler))
    with server.connect() as sock:
        sock.sendall(REQUEST)
        eventually(lambda: server.mgr.stats().bytes_out > 0)
        collect()
        answer, _ = read_answer(sock)
        assert answer.body == b"1" * size
    with server.connect() as sock:  # and given back when the client leaves half-way
        sock.sendall(REQUEST)
        sock.recv(1)
    eventually(lambda: server.mgr.stats().connections == 1)


def test_handlers_that_drop_themselves(serve):
    """A handler whose last reference goes while it runs."""

    def make():
        def handler(conn, ev, data):
            conn.set_handler(None)
            gc.collect()
            if ev == MG_EV_HTTP_MSG:
                conn.reply(200, "last words")

        return handler

    def first(conn, ev, data):
        if ev == MG_EV_ACCEPT:
            conn.handler = make()
        elif ev == MG_EV_HTTP_MSG:
            conn.handler = make()
            conn.reply(200, "first")

    server = serve(first)
    with server.connect() as sock:
        for expected in (b"last words", b"first", b"last words"):
            sock.sendall(REQUEST)
            assert read_answer(sock)[0].body == expected


def test_a_manager_whose_last_reference_goes_in_its_own_callback():
    done = []

    class Owner:
        pass

    owner = Owner()
    owner.mgr = Manager()

    def callback():
        del owner.mgr
        gc.collect()
        done.append(1)

    owner.mgr.timer_add(0, callback)
    owner.mgr.poll(0)
    assert done == [1]


def test_a_close_handler_keeps_and_resurrects(serve):
    kept = []

    def handler(conn, ev, data):
        if ev == MG_EV_READ:
            conn.userdata = conn.read()
        if ev == MG_EV_CLOSE:
            kept.append((conn, conn.userdata, conn.id))
            conn.close()
            conn.drain()

    server = serve(handler, "tcp://127.0.0.1:0")
    with server.connect() as sock:
        sock.sendall(b"bye")
    ((conn, data, number),) = eventually(lambda: list(kept))
    assert (data, number > 0) == (b"bye", True)
    eventually(lambda: conn.id == 0)
    server.stop()
    assert len(kept) == 2  # the listener, too


def test_replies_from_other_threads_race_with_the_close(serve):
    held = []
    server = serve(
        on_http(lambda conn, msg: held.append(conn.defer())), error_handler=lambda e: None
    )
    for _ in range(20):
        with contextlib.ExitStack() as stack:
            socks = [stack.enter_context(server.connect()) for _ in range(8)]
            for s in socks:
                s.sendall(REQUEST)
            eventually(lambda: len(held) == 8)
            replies, held[:] = list(held), []

            def answer(reply):
                with contextlib.suppress(ConnectionClosed):
                    reply.reply(200, b"x" * 5000)
                with contextlib.suppress(RuntimeError):
                    reply.start_response(200)

            threads = [threading.Thread(target=answer, args=(r,)) for r in replies]
            for t in threads:
                t.start()
        for t in threads:
            t.join(DEADLINE)
            assert not t.is_alive()
        replies.clear()
    eventually(lambda: server.mgr.stats().connections == 1)


def test_dropped_replies_on_other_threads_are_500(serve):
    held = []
    server = serve(on_http(lambda conn, msg: held.append(conn.defer())))
    with server.connect() as sock:
        sock.sendall(REQUEST * 3)
        eventually(lambda: len(held) == 3)
        t = threading.Thread(target=held.clear)
        t.start()
        t.join()
        have = b""
        for _ in range(3):
            answer, have = read_answer(sock, have=have)
            assert answer.status == 500


def test_closing_while_other_threads_use_everything():
    for _ in range(10):
        mgr = Manager(on_http(lambda conn, msg: conn.reply(200, "x")), workers=2)
        listener = mgr.listen("http://127.0.0.1:0")
        port = listener.local_addr[1]
        stop, unexpected = threading.Event(), []
        started = threading.Barrier(7)

        def use(n, mgr=mgr, listener=listener, stop=stop, unexpected=unexpected, started=started):
            uses = [
                mgr.stats,
                lambda: mgr.connections,
                lambda: mgr.wakeup(listener.id, b"x" * 1000),
                lambda: mgr.call(int),
                lambda: mgr.timer_add(0, int).cancel(),
                lambda: mgr.pool.submit(int),
                lambda: mgr.listen("tcp://127.0.0.1:0").close(),
                lambda: repr(mgr),
                mgr.timeout,
                mgr.fileno,
                lambda: listener.set_handler(None),
                lambda: listener.respond("/a"),
            ]
            started.wait()
            i = n
            while not stop.is_set():
                i += 1
                try:
                    uses[i % len(uses)]()
                except RuntimeError:  # closed, full, shut down
                    pass
                except BaseException as exc:  # noqa: BLE001  (told by the test)
                    unexpected.append(exc)
                    return

        loop = threading.Thread(target=mgr.run)
        loop.start()
        threads = [threading.Thread(target=use, args=(i,)) for i in range(6)]
        for t in threads:
            t.start()
        started.wait()
        for _ in range(5):
            assert get(port).body == b"x"
        mgr.stop()
        loop.join(DEADLINE)
        assert not loop.is_alive()
        assert mgr.closed
        stop.set()
        for t in threads:
            t.join(DEADLINE)
            assert not t.is_alive(), "a thread waits for a loop that is gone"
        assert unexpected == []


def test_a_pool_outlives_its_manager_and_the_other_way_round():
    gate = threading.Event()

    def run_and_drop(pool, sock_of):
        mgr = Manager(on_http(lambda conn, msg: conn.offload(gate.wait, DEADLINE)), pool=pool)
        sock = sock_of(mgr.listen("http://127.0.0.1:0").local_addr[:2])
        sock.sendall(REQUEST * 3)
        poll_until(mgr, lambda: pool.stats().running == 1 and mgr.stats().requests == 3)
        mgr.close()
        return weakref.ref(mgr), sock

    with WorkerPool(1) as pool:
        ref, sock = run_and_drop(pool, socket.create_connection)
        with sock:
            eventually(lambda: gc.collect() >= 0 and ref() is None)
            gate.set()
            assert read_all(sock) == b""
        assert pool.submit(len, "abc").result(DEADLINE) == 3
    mgr = Manager(workers=1)
    job = mgr.pool.submit(len, "a")
    pool = mgr.pool
    assert job.result(DEADLINE) == 1
    del mgr
    collect()
    assert pool.stats().completed == 1


EXIT = """
import socket, sys, threading
from pymongoose import *
kept = []
def handler(conn, ev, data):
    if ev == MG_EV_HTTP_MSG:
        kept.append((data, data.body, conn))
        kept.append(conn.defer() if data.uri == "/d" else conn.start_response(200) if data.uri == "/s"
                    else conn.offload(wait))
wait = threading.Event().wait
mgr = Manager(handler, workers=1, slow_handler=1.0)
port = mgr.listen("http://127.0.0.1:0").local_addr[1]
timer = mgr.timer_add(1, int, repeat=True)
socks = [socket.create_connection(("127.0.0.1", port)) for _ in range(6)]
for s, uri in zip(socks, "dsodso"):
    s.sendall(f"GET /{uri} HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n".encode())
"""


@pytest.mark.parametrize(
    "end",
    [
        "while len(kept) < 12: mgr.poll(10)",
        "while len(kept) < 12: mgr.poll(10)\nmgr.close()",
        "while len(kept) < 12: mgr.poll(10)\ndel mgr",
        "mgr.poll(10)",
        "t = threading.Thread(target=mgr.run, daemon=True); t.start()\nwhile len(kept) < 12: pass",
        "t = threading.Thread(target=mgr.run); t.start()\nwhile len(kept) < 12: pass\nmgr.stop()",
        "while len(kept) < 12: mgr.poll(10)\nsys.me = kept; import builtins; builtins.also = mgr",
        "while len(kept) < 12: mgr.poll(10)\nimport os, atexit; atexit.register(mgr.close)",
        "while len(kept) < 12: mgr.poll(10)\nimport os, atexit; atexit.register(mgr.poll, 1)",
    ],
)
def test_the_interpreter_ends_with_everything_kept(end):
    out = run_program(EXIT + end + "\nprint('end')")
    assert out == "end\n"


def test_daemon_threads_that_use_connections_at_the_end():
    code = """
import socket, threading
from pymongoose import *
conns = []
def handler(conn, ev, data):
    if ev == MG_EV_ACCEPT:
        conns.append(conn)
mgr = Manager(handler, enable_wakeup=True)
port = mgr.listen("tcp://127.0.0.1:0").local_addr[1]
threading.Thread(target=mgr.run, daemon=True).start()
sock = socket.create_connection(("127.0.0.1", port))
while not conns:
    pass
def use():
    while True:
        try:
            conns[0].send(b"x" * 100)
            mgr.wakeup(conns[0].id, b"y")
            mgr.call(int)
            mgr.connections
        except QueueFull:
            pass
for _ in range(4):
    threading.Thread(target=use, daemon=True).start()
for _ in range(100):
    sock.recv(1 << 16)
print("end")
"""
    for _ in range(5):
        assert run_program(code) == "end\n"


def test_modules_are_imported_and_dropped_again():
    code = """
import sys, gc
import pymongoose
with pymongoose.Manager() as m:
    m.poll(0)
for name in [n for n in sys.modules if n.startswith("pymongoose")]:
    del sys.modules[name]
del pymongoose, m
gc.collect()
print("end")
"""
    assert run_program(code) == "end\n"


def test_a_close_handler_may_wake_others_while_the_manager_closes():
    answers = []

    def handle(conn, ev, data):
        if ev == MG_EV_CLOSE:
            answers.append(mgr.wakeup(listener_id, b"x"))

    mgr = Manager(handle, enable_wakeup=True)
    listener = mgr.listen("tcp://127.0.0.1:0")
    listener_id = listener.id
    with socket.create_connection(listener.local_addr[:2], DEADLINE):
        poll_until(mgr, lambda: len(mgr.connections) == 2)
        mgr.close()
    assert answers == [False, False]


def test_sending_to_a_peer_that_is_about_to_hear_of_its_close_says_closed():
    peers, said = [], []

    def handle(conn, ev, data):
        if ev == MG_EV_ACCEPT:
            peers.append(conn)
        elif ev == MG_EV_CLOSE and conn in peers:
            peers.remove(conn)
            for other in peers:
                with pytest.raises(ConnectionClosed):
                    other.send(b"bye")
                said.append(other)

    with Manager(handle) as mgr:
        listener = mgr.listen("tcp://127.0.0.1:0")
        with contextlib.ExitStack() as stack:
            for _ in range(3):
                stack.enter_context(socket.create_connection(listener.local_addr[:2], DEADLINE))
            poll_until(mgr, lambda: len(peers) == 3)
            for conn in peers:
                conn.close()
            poll_until(mgr, lambda: not peers)
    assert len(said) == 3  # two, then one


@pytest.mark.parametrize("framing", ["Transfer-Encoding: chunked", "Content-Length: 500"])
def test_taking_half_a_body_out_of_the_buffer_ends_the_connection(framing):
    """What was counted is gone: going on would take other memory for the body."""
    events = []

    def handle(conn, ev, data):
        events.append(ev)
        if ev == MG_EV_HTTP_HDRS:
            conns.append(conn)

    conns = []
    with Manager(handle) as mgr:
        listener = mgr.listen("http://127.0.0.1:0")
        with socket.create_connection(listener.local_addr[:2], DEADLINE) as sock:
            head = f"POST / HTTP/1.1\r\nHost: a\r\nX-Pad: {'y' * 3000}\r\n{framing}\r\n\r\n"
            sock.sendall(head.encode() + b"5\r\nhello\r\n")
            poll_until(mgr, lambda: conns and conns[0].recv_len > 3000)
            assert conns[0].consume(1 << 20) > 3000
            sock.sendall(b"5")
            poll_until(mgr, lambda: not conns[0].id)
            assert read_all(sock) == b""
    assert MG_EV_HTTP_MSG not in events
