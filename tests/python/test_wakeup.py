"""What other threads send arrives: all of it, whole, in order; and what cannot be taken is said so."""

import hashlib
import queue
import random
import socket
import threading

import pytest
from conftest import DEADLINE, Until, eventually, on_http, read_all, read_answer
from helpers import REQUEST, poll_until

from pymongoose import (
    MG_EV_ACCEPT,
    MG_EV_CLOSE,
    MG_EV_HTTP_MSG,
    MG_EV_OPEN,
    MG_EV_WAKEUP,
    Connection,
    ConnectionClosed,
    Manager,
    QueueFull,
    TlsOpts,
)


class Collector:
    """A handler that keeps what wakeups bring."""

    def __init__(self):
        self.got = []

    def __call__(self, conn, ev, data):
        if ev == MG_EV_WAKEUP:
            self.got.append(data)


def in_threads(count, work):
    threads = [threading.Thread(target=work, args=(i,)) for i in range(count)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(DEADLINE * 3)
        assert not t.is_alive()


def for_ever(fn, *args):
    while True:
        fn(*args)


# -- wakeup() --


@pytest.mark.parametrize("size", [0, 1, 16_376, 16_377, 65_500, 70_000, 1 << 20])
def test_any_size_arrives_whole(size):
    handler, data = Collector(), random.Random(size).randbytes(size)
    with Manager(handler, enable_wakeup=True) as mgr:
        listener = mgr.listen("tcp://127.0.0.1:0")
        assert mgr.wakeup(listener.id, data)
        mgr.poll(0)
    assert handler.got == [data]


@pytest.mark.parametrize("data", ["tä", bytearray(b"x\0y"), memoryview(b"abcdef")[::1]])
def test_text_and_bytes_like_arrive_as_bytes(data):
    handler = Collector()
    with Manager(handler, enable_wakeup=True) as mgr:
        listener = mgr.listen("tcp://127.0.0.1:0")
        assert mgr.wakeup(connection_id=listener.id, data=data)
        mgr.poll(0)
    assert handler.got == [data.encode() if isinstance(data, str) else bytes(data)]
    assert type(handler.got[0]) is bytes


def test_what_is_neither_text_nor_bytes_is_refused():
    with Manager(enable_wakeup=True) as mgr, pytest.raises(TypeError, match="data"):
        mgr.wakeup(1, 5)


def test_eight_threads_lose_nothing_and_keep_their_order(serve):
    threads, each = 8, 5000
    sizes = (1, 2, 100, 1000, 5000, 65_536)
    sums = [hashlib.sha256() for _ in range(threads)]
    next_of, wrong, done = [0] * threads, [], Until()
    total = 0

    def handler(conn, ev, data):
        nonlocal total
        if ev == MG_EV_WAKEUP:
            who, number = data[0], int.from_bytes(data[1:4], "big")
            if number != next_of[who]:
                wrong.append((who, number, next_of[who]))
            next_of[who] = number + 1
            sums[who].update(data)
            total += 1
            if total == threads * each:
                done.set()

    server = serve(handler, "tcp://127.0.0.1:0", enable_wakeup=True)
    target, sent = server.listener.id, [hashlib.sha256() for _ in range(threads)]

    def work(who):
        rnd = random.Random(who)
        for number in range(each):
            size = rnd.choice(sizes) if number % 10 == 0 else rnd.randrange(1, 200)
            data = bytes([who]) + number.to_bytes(3, "big") + b"." * size
            sent[who].update(data)
            while not server.mgr.wakeup(target, data):
                pass  # full: the loop is behind

    in_threads(threads, work)
    done.get()
    assert wrong == []
    assert [s.digest() for s in sums] == [s.digest() for s in sent]


def test_many_messages_of_one_turn_all_arrive_in_it():
    handler = Collector()
    with Manager(handler, enable_wakeup=True) as mgr:
        listener = mgr.listen("tcp://127.0.0.1:0")
        for i in range(10_000):
            assert mgr.wakeup(listener.id, b"%d" % i)
        mgr.poll(0)
        assert handler.got == [b"%d" % i for i in range(10_000)]
        assert mgr.stats().wakeups == 10_000


def test_false_without_wakeups():
    handler = Collector()
    with Manager(handler) as mgr:
        listener = mgr.listen("tcp://127.0.0.1:0")
        assert mgr.wakeup(listener.id, b"x") is False
        mgr.poll(0)
    assert handler.got == []


def test_false_for_unknown_and_closed_connections():
    handler = Collector()
    with Manager(handler, enable_wakeup=True) as mgr:
        listener = mgr.listen("tcp://127.0.0.1:0")
        number = listener.id
        for unknown in (0, 1, number + 1, 2**40):
            assert mgr.wakeup(unknown, b"x") is False
        listener.close()
        poll_until(mgr, lambda: listener.id == 0)
        assert mgr.wakeup(number, b"x") is False
        other = mgr.listen("tcp://127.0.0.1:0")
        assert other.id != number  # numbers are not used again at once
        assert mgr.wakeup(number, b"x") is False
        assert mgr.stats().wakeups_refused == 6
        mgr.poll(0)
    assert handler.got == []


def test_a_full_queue_says_no_and_works_again_when_emptied():
    handler = Collector()
    with Manager(handler, enable_wakeup=True, wakeup_limit=10_000) as mgr:
        listener = mgr.listen("tcp://127.0.0.1:0")
        assert not mgr.wakeup(listener.id, bytes(10_001))  # never fits
        for _ in range(3):
            taken = 0
            while mgr.wakeup(listener.id, bytes(1000)):
                taken += 1
            assert 5 <= taken <= 10
            assert mgr.stats().queue_messages == taken
            assert mgr.stats().queue_bytes <= 10_000
            handler.got.clear()
            mgr.poll(0)
            assert handler.got == [bytes(1000)] * taken
            assert mgr.stats().queue_bytes == 0


def test_call_and_send_say_queue_full(serve):
    gate, entered = threading.Event(), Until()

    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_MSG:
            conn.reply(200)
            entered.set(conn)
            gate.wait(DEADLINE)

    server = serve(handler, enable_wakeup=True, wakeup_limit=5000)
    with server.connect() as sock:
        sock.sendall(REQUEST)
        conn = entered.get()
        with pytest.raises(QueueFull):
            for_ever(conn.send, bytes(1000))
        with pytest.raises(QueueFull):
            for_ever(server.mgr.call, print)
        assert server.mgr.stats().wakeups_refused >= 2
        gate.set()
        ran = Until()
        eventually(lambda: server.mgr.stats().queue_bytes == 0)
        server.mgr.call(ran.set, 5)
        assert ran.get() == 5


# -- call() --


def test_call_runs_on_the_loop_thread_in_order(serve):
    server = serve(url=None)
    got, done = [], Until()
    for i in range(100):
        server.mgr.call(lambda i=i: got.append((i, threading.current_thread())))
    server.mgr.call(done.set, "end")
    assert done.get() == "end"
    assert got == [(i, server.thread) for i in range(100)]


def test_call_reports_exceptions(serve):
    server = serve(url=None)
    server.mgr.call(divmod, 1, 0)
    eventually(lambda: server.errors)
    server.expect_error(ZeroDivisionError)


def test_call_on_the_loop_thread_comes_after_the_handler(serve):
    order, done = [], Until()

    def first():
        server.mgr.call(lambda: (order.append("called"), done.set()))
        order.append("first")

    server = serve(url=None)
    server.mgr.call(first)
    done.get()
    assert order == ["first", "called"]


# -- the classic pattern --


def test_own_threads_and_queues_answer_by_wakeup(serve):
    """Requests go to a queue, own threads work, MG_EV_WAKEUP replies: the manual pattern of the C API."""
    work = queue.Queue()
    asked = threading.local()
    del asked

    def worker():
        while (item := work.get()) is not None:
            conn_id, body = item
            assert server.mgr.wakeup(conn_id, body.upper() * 10)

    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_MSG:
            conn.userdata = conn.defer()
            work.put((conn.id, data.body_bytes))
        elif ev == MG_EV_WAKEUP:
            conn.userdata.reply(200, data)

    server = serve(handler, enable_wakeup=True)
    workers = [threading.Thread(target=worker) for _ in range(4)]
    for t in workers:
        t.start()

    def client(i):
        with server.connect() as sock:
            for n in range(20):
                body = b"%d-%d-abc" % (i, n)
                sock.sendall(
                    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s"
                    % (len(body), body)
                )
                assert read_answer(sock)[0].body == body.upper() * 10

    failed = []

    def guarded(i):
        try:
            client(i)
        except BaseException as exc:  # noqa: BLE001  (told by the test)
            failed.append(exc)

    in_threads(8, guarded)
    for _ in workers:
        work.put(None)
    for t in workers:
        t.join()
    assert failed == []


def test_a_handler_that_does_not_answer_may_reply_in_the_wakeup(serve):
    """Even without defer(): the request stays the connection's current one."""

    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_MSG:
            number = conn.id
            threading.Thread(target=lambda: server.mgr.wakeup(number, b"result")).start()
        elif ev == MG_EV_WAKEUP:
            conn.reply(200, data)

    server = serve(handler, enable_wakeup=True)
    with server.connect() as sock:
        for _ in range(3):
            sock.sendall(REQUEST)
            assert read_answer(sock)[0].body == b"result"


# -- methods of Connection from other threads --


def raw(serve, **options):
    """A raw TCP server and the server-side Connection of a client of it."""
    accepted = Until()

    def handler(conn, ev, data):
        if ev == MG_EV_ACCEPT:
            accepted.set(conn)

    server = serve(handler, "tcp://127.0.0.1:0", **options)
    sock = server.connect()
    return server, sock, accepted.get()


def test_sends_of_another_thread_keep_their_order(serve):
    _, sock, conn = raw(serve)
    with sock:
        for i in range(1000):
            conn.send(b"%d\n" % i)
        conn.drain()
        assert read_all(sock) == b"".join(b"%d\n" % i for i in range(1000))


def test_mutable_buffers_are_sent_as_they_were(serve):
    _, sock, conn = raw(serve)
    with sock:
        buf = bytearray(b"first")
        conn.send(buf)
        conn.send(memoryview(buf))
        buf[:] = b"XXXXX"
        conn.drain()
        assert read_all(sock) == b"firstfirst"


def test_each_thread_keeps_its_order(serve):
    _, sock, conn = raw(serve)
    with sock:

        def work(who):
            for i in range(500):
                conn.send(b"%d:%d\n" % (who, i))

        in_threads(8, work)
        conn.drain()
        lines = read_all(sock).split(b"\n")[:-1]
    assert len(lines) == 4000
    for who in range(8):
        own = [line for line in lines if line.startswith(b"%d:" % who)]
        assert own == [b"%d:%d" % (who, i) for i in range(500)]


def test_reply_json_chunks_and_drain_from_another_thread(serve):
    asked = Until()
    server = serve(on_http(lambda conn, msg: asked.set(conn)))
    with server.connect() as sock:
        sock.sendall(REQUEST)
        conn = asked.get()
        conn.reply(201, "tä", {"X-A": "1"})
        answer, rest = read_answer(sock)
        assert (answer.status, answer.body, answer.header("X-A")) == (201, "tä".encode(), "1")
        assert rest == b""
    server.errors.clear()
    asked2 = Until()
    other = server.listen(handler=on_http(lambda conn, msg: asked2.set(conn)))
    with socket.create_connection(other.local_addr[:2], DEADLINE) as sock:
        sock.sendall(REQUEST)
        conn = asked2.get()
        conn.reply_json({"a": [1]}, headers=[("X-B", "2")])
        conn.drain()
        assert read_answer(sock)[0].body == b'{"a":[1]}'
        assert read_all(sock) == b""


def test_wrong_arguments_from_another_thread_are_reported(serve):
    server, sock, conn = raw(serve)
    with sock:
        with pytest.raises(TypeError):
            conn.send()
        conn.send(5)
        eventually(lambda: server.errors)
        server.expect_error(TypeError)
        conn.send(b"fine")
        conn.drain()
        assert read_all(sock) == b"fine"


def test_close_error_and_handlers_from_another_thread(serve):
    _, sock, conn = raw(serve)
    events = Until()

    def handler(conn, ev, data):
        if ev == MG_EV_CLOSE:
            events.set((ev, data))

    with sock:
        conn.set_handler(handler)
        assert conn.handler is handler
        conn.error("told")
        assert events.get() == (MG_EV_CLOSE, None)
        assert read_all(sock) == b""
    eventually(lambda: conn.id == 0)


def test_what_needs_the_loop_thread_says_so(serve):
    _, sock, conn = raw(serve, workers=1)
    with sock:
        for use in (
            lambda: conn.recv_data(),
            lambda: conn.send_data(),
            lambda: conn.read(),
            lambda: conn.consume(1),
            lambda: conn.defer(),
            lambda: conn.offload(print),
            lambda: conn.start_response(200),
            lambda: conn.stream_body(print),
        ):
            with pytest.raises(RuntimeError):
                use()
        assert conn.remote_addr[:2] == sock.getsockname()
        assert (conn.is_client, conn.is_listening, conn.recv_len) == (False, False, 0)


def test_listening_on_a_running_manager(serve):
    server = serve(url=None)
    opened = []

    def handler(conn, ev, data):
        if ev == MG_EV_OPEN:
            opened.append(threading.current_thread())
        if ev == MG_EV_HTTP_MSG:
            conn.reply(200, "new")

    listener = server.listen(handler=handler)
    listener.respond("/static", 200, b"fixed")
    with socket.create_connection(listener.local_addr[:2], DEADLINE) as sock:
        sock.sendall(REQUEST + b"GET /static HTTP/1.1\r\nHost: a\r\n\r\n")
        first, rest = read_answer(sock)
        assert first.body == b"new"
        assert read_answer(sock, have=rest)[0].body == b"fixed"
    assert set(opened) == {server.thread}
    with pytest.raises(ValueError, match="nonsense"):
        server.listen("nonsense://127.0.0.1:0")


CLOSED_RAISES = {
    "send": (b"x",),
    "reply": (200,),
    "reply_json": ({},),
    "start_response": (200,),
    "http_chunk": (b"x",),
    "http_sse": ("a", "b"),
    "http_basic_auth": ("a", "b"),
    "informational": (103,),
    "set_header": ("a", "b"),
    "start_sse": (),
    "upload": (None, print, print),
    "stream_body": (print,),
    "pause_reading": (),
    "resume_reading": (),
    "defer": (),
    "offload": (print,),
    "respond": ("/",),
    "serve": ("/", "."),
    "serve_dir": (None, "."),
    "serve_file": (None, "x"),
    "error": ("x",),
    "set_handler": (print,),
    "tls_init": (TlsOpts(),),
    "tls_reload": (TlsOpts(),),
    "ws_upgrade": (None,),
    "ws_send": (b"x",),
    "join": ("room",),
    "resolve": ("localhost",),
}
CLOSED_QUIET = {
    "close": None,
    "drain": None,
    "tls_free": None,
    "ws_close": None,
    "resolve_cancel": None,
    "recv_data": b"",
    "send_data": b"",
    "read": b"",
}


@pytest.mark.parametrize("where", ["main", "thread"])
def test_a_closed_connection_raises_or_does_nothing(serve, where):
    server, sock, conn = raw(serve, workers=1)
    sock.close()
    eventually(lambda: conn.id == 0)
    wrong = []

    def check():
        for name, args in CLOSED_RAISES.items():
            try:
                getattr(conn, name)(*args)
            except ConnectionClosed as exc:
                if "closed" not in str(exc):
                    wrong.append((name, exc))
            else:
                wrong.append(name)
        wrong.extend(name for name, v in CLOSED_QUIET.items() if getattr(conn, name)() != v)
        if conn.consume(5) != 0:
            wrong.append("consume")
        if conn.leave("room") is not None:
            wrong.append("leave")

    if where == "main":
        check()
    else:
        in_threads(1, lambda _: check())
    assert wrong == []
    tried = {n for n in dir(Connection) if not n.startswith("_")}
    flags = {n for n in tried if n.startswith("is_")}
    assert [n for n in sorted(flags) if getattr(conn, n)] == ["is_closing"]
    assert [getattr(conn, f"{a}_{b}") for a in ("recv", "send") for b in ("len", "size")] == [0] * 4
    assert (conn.local_addr, conn.remote_addr, conn.manager, conn.tls) == (None,) * 4
    conn.userdata = 5
    assert conn.userdata == 5
    methods = {n for n in tried if callable(getattr(Connection, n))}
    assert methods <= set(CLOSED_RAISES) | set(CLOSED_QUIET) | {"consume", "leave"}, (
        "a method without a row"
    )
    del server


def test_operations_queued_before_the_close_do_nothing_after_it(serve):
    gate, entered = threading.Event(), Until()

    def handler(conn, ev, data):
        if ev == MG_EV_ACCEPT:
            entered.set(conn)
            gate.wait(DEADLINE)

    server = serve(handler, "tcp://127.0.0.1:0")
    with server.connect() as sock:
        conn = entered.get()
        conn.send(b"before")
        conn.close()
        conn.send(b"after")
        conn.drain()
        gate.set()
        assert read_all(sock) in (b"", b"before", b"beforeafter")
    eventually(lambda: conn.id == 0)


def test_sixteen_threads_hammer_a_connection_while_it_closes(serve):
    accepted = queue.Queue()

    def handler(conn, ev, data):
        if ev == MG_EV_ACCEPT:
            accepted.put(conn)

    server = serve(handler, "tcp://127.0.0.1:0", enable_wakeup=True)
    for _ in range(10):
        sock = server.connect()
        conn = accepted.get(timeout=DEADLINE)
        started, unexpected = threading.Barrier(17), []

        def hammer(who, conn=conn, started=started, unexpected=unexpected):
            uses = [
                lambda: conn.send(b"x" * 5000),
                lambda: conn.is_full,
                lambda: conn.send_len,
                lambda: repr(conn),
                lambda: conn.remote_addr,
                lambda: conn.pause_reading(),
                lambda: conn.resume_reading(),
                lambda: setattr(conn, "on_drain", None),
                lambda: setattr(conn, "on_drain", int),
                lambda: setattr(conn, "userdata", object()),
                lambda: conn.set_handler(None),
                lambda: conn.manager,
                lambda: server.mgr.wakeup(conn.id, b"x"),
            ]
            started.wait()
            for i in range(300):
                if who == 0 and i == 100:
                    conn.close()
                try:
                    uses[(i + who) % len(uses)]()
                except ConnectionClosed:
                    pass
                except BaseException as exc:  # noqa: BLE001  (told by the test)
                    unexpected.append(exc)

        threads = [threading.Thread(target=hammer, args=(i,)) for i in range(16)]
        for t in threads:
            t.start()
        started.wait()
        read_all(sock)
        sock.close()
        for t in threads:
            t.join(DEADLINE)
            assert not t.is_alive()
        assert unexpected == []
        eventually(lambda conn=conn: conn.id == 0)
