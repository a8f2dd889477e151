"""The server as a client meets it: keep-alive, methods, versions, many connections, what the loop costs."""

import gc
import socket
import threading
import weakref

import pytest
from conftest import Until, eventually, get, on_http, parse, parse_all, read_all, read_answer

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
    Manager,
    json_get_str,
    log_set,
    url_port,
)


def request(target="/", headers="", body=b"", method="GET", proto="HTTP/1.1"):
    return f"{method} {target} {proto}\r\nHost: a\r\n{headers}\r\n".encode() + body


def hello(conn, msg):
    conn.reply(200, f"{msg.method} {msg.uri}")


def test_many_requests_on_one_connection(serve):
    server = serve(on_http(hello))
    with server.connect() as sock:
        for i in range(300):
            sock.sendall(request(f"/{i}"))
            answer, rest = read_answer(sock)
            assert (answer.status, answer.body, rest) == (200, b"GET /%d" % i, b"")
    stats = server.mgr.stats()
    assert (stats.accepted, stats.requests) == (1, 300)


@pytest.mark.parametrize(
    "method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "X-OWN", "get"]
)
def test_any_method_reaches_the_handler_as_sent(serve, method):
    server = serve(on_http(lambda conn, msg: conn.reply(200, msg.method)))
    assert server.get("/", method=method).body == method.encode()


@pytest.mark.parametrize(
    ("proto", "headers", "stays"),
    [
        ("HTTP/1.1", "", True),
        ("HTTP/1.1", "Connection: close\r\n", False),
        ("HTTP/1.1", "Connection: CLOSE\r\n", False),
        ("HTTP/1.1", "Connection: x, close\r\n", False),
        ("HTTP/1.1", "Connection: keep-alive\r\n", True),
        ("HTTP/1.0", "", False),
        ("HTTP/1.0", "Connection: keep-alive\r\n", True),
    ],
)
def test_who_keeps_the_connection(serve, proto, headers, stays):
    server = serve(on_http(hello))
    answers = parse_all(
        server.talk(request(headers=headers, proto=proto) + request("/2", "Connection: close\r\n"))
    )
    assert len(answers) == (2 if stays else 1)


def test_half_closed_client_still_gets_its_answers(serve):
    server = serve(on_http(lambda conn, msg: conn.reply(200, msg.uri * 100_000)))
    answers = parse_all(server.talk(request("/1") + request("/2"), half_close=True))
    assert [a.body for a in answers] == [b"/1" * 100_000, b"/2" * 100_000]


def test_http_1_1_without_host_is_400_and_1_0_without_is_served(serve):
    """Q9"""
    server = serve(on_http(hello))
    assert parse(server.talk(b"GET / HTTP/1.1\r\n\r\n"))[0].status == 400
    assert parse(server.talk(b"GET / HTTP/1.0\r\n\r\n"))[0].status == 200


def test_q9_expect_100_continue_is_answered_before_the_body(serve):
    """Q9: it was ignored, and clients waited."""
    server = serve(on_http(lambda conn, msg: conn.reply(200, msg.body)))
    with server.connect() as sock:
        sock.sendall(
            request(method="POST", headers="Content-Length: 3\r\nExpect: 100-continue\r\n")
        )
        interim, rest = read_answer(sock)
        assert (interim.status, rest) == (100, b"")
        sock.sendall(b"abc")
        answer, rest = read_answer(sock)
        assert (answer.status, answer.body, rest) == (200, b"abc", b"")


def test_expectation_with_the_body_at_hand_needs_no_100(serve):
    server = serve(on_http(lambda conn, msg: conn.reply(200, msg.body)))
    data = request(
        method="POST", headers="Content-Length: 3\r\nExpect: 100-continue\r\n", body=b"abc"
    )
    answers = [a for a in parse_all(server.talk(data, half_close=True)) if a.status != 100]
    assert [a.body for a in answers] == [b"abc"]


def test_absolute_target_and_asterisk(serve):
    server = serve(on_http(lambda conn, msg: conn.reply(200, msg.uri)))
    assert (
        parse(server.talk(b"OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"))[0].body
        == b"*"
    )
    answer = server.get("http://a.example/path?x=1")
    assert answer.status == 200
    assert b"/path" in answer.body


def test_blank_lines_between_requests_are_skipped(serve):
    server = serve(on_http(hello))
    answers = parse_all(
        server.talk(b"\r\n" + request("/1") + b"\r\n" + request("/2", "Connection: close\r\n"))
    )
    assert [a.body for a in answers] == [b"GET /1", b"GET /2"]


def test_events_of_a_connection_in_order(serve):
    events, closed = [], Until()

    def handler(conn, ev, data):
        if conn.is_listening:
            return
        events.append(ev)
        assert not conn.is_client
        if ev == MG_EV_HTTP_MSG:
            assert type(data).__name__ == "HttpMessage"
            conn.reply(200)
        else:
            assert data is None or ev == MG_EV_HTTP_HDRS
        if ev == MG_EV_CLOSE:
            closed.set()

    server = serve(handler)
    server.get()
    closed.get()
    assert events == [MG_EV_OPEN, MG_EV_ACCEPT, MG_EV_HTTP_MSG, MG_EV_CLOSE]


def test_addresses_and_flags(serve):
    seen = Until()

    def handle(conn, msg):
        seen.set(
            (
                conn.local_addr,
                conn.remote_addr,
                conn.is_client,
                conn.is_tls,
                conn.is_udp,
                conn.is_listening,
                conn.manager,
                conn.id,
            )
        )
        conn.userdata = {"a": 1}
        assert conn.userdata == {"a": 1}
        conn.reply(200)

    server = serve(on_http(handle))
    with server.connect() as sock:
        sock.sendall(request())
        read_answer(sock)
        local, remote, *flags, manager, number = seen.get()
        assert local == ("127.0.0.1", server.port, False)
        assert remote == (*sock.getsockname(), False)
    assert flags == [False] * 4
    assert manager is server.mgr
    assert number > 0
    assert server.listener.is_listening
    assert server.listener.remote_addr is None


def test_handler_of_a_listener_of_a_connection_and_of_the_manager(serve):
    def named(name):
        def handle(conn, msg):
            conn.reply(200, name)
            if msg.uri == "/switch":
                conn.set_handler(on_http(lambda conn, msg: conn.reply(200, "own")))

        return on_http(handle)

    server = serve(named("manager"))
    other = server.listen(handler=named("listener"))
    answers = parse_all(server.talk(request("/switch") + request(), answers=2))
    assert [a.body for a in answers] == [b"manager", b"own"]
    port = other.local_addr[1]
    assert get(port).body == b"listener"
    other.set_handler(None)
    assert get(port).body == b"manager"
    with pytest.raises(TypeError, match="handler"):
        other.handler = 5


# -- what the loop costs --


def test_q3_one_turn_accepts_all_that_wait():
    """Q3: the peer accepted one connection for each poll."""
    accepted = []
    with Manager(
        lambda conn, ev, data: accepted.append(conn) if ev == MG_EV_ACCEPT else None
    ) as mgr:
        port = mgr.listen("http://127.0.0.1:0").local_addr[1]
        socks = [socket.create_connection(("127.0.0.1", port)) for _ in range(100)]
        for _ in range(3):
            mgr.poll(1000 if not accepted else 0)
        assert len(accepted) == 100
        assert len(mgr.connections) == 101
        for sock in socks:
            sock.close()


def test_q3_wakeups_are_delivered_in_one_turn():
    got = []
    with Manager(
        lambda conn, ev, data: got.append(data) if ev == MG_EV_WAKEUP else None, enable_wakeup=True
    ) as mgr:
        listener = mgr.listen("http://127.0.0.1:0")
        mgr.poll(0)
        for i in range(1000):
            assert mgr.wakeup(listener.id, b"%d" % i)
        mgr.poll(1000)
        assert got == [b"%d" % i for i in range(1000)]


@pytest.mark.parametrize("size", [0, 10, 8192, 16_377, 65_500, 1 << 20])
def test_q2_wakeups_are_lossless_whatever_their_size(serve, size):
    """Q2: of 1,000 quick ones 256 arrived, of 8 KB 12; large ones were cut or dropped."""
    got, done = [], Until()
    count = 1000 if size < 10_000 else 20

    def handler(conn, ev, data):
        if ev == MG_EV_WAKEUP:
            got.append(data)
            if len(got) == count:
                done.set(True)

    server = serve(handler, enable_wakeup=True)
    sent = [i.to_bytes(4, "big")[: size or 0] + b"x" * max(0, size - 4) for i in range(count)]
    for data in sent:
        assert server.mgr.wakeup(server.listener.id, data)
    assert done.get()
    assert got == sent


def test_q2_wakeup_of_an_unknown_or_closed_connection_is_false(serve):
    server = serve(on_http(hello), enable_wakeup=True)
    assert not server.mgr.wakeup(999_999, b"x")
    with server.connect() as sock:
        sock.sendall(request())
        read_answer(sock)
        (number,) = [c.id for c in server.mgr.connections if not c.is_listening]
        assert server.mgr.wakeup(number, b"x")
    eventually(lambda: len(server.mgr.connections) == 1)
    assert not server.mgr.wakeup(number, b"x")


def test_q2_without_enable_wakeup_it_is_false(serve):
    server = serve(None)
    assert not server.mgr.wakeup(server.listener.id, b"x")


def test_q4_idle_connections_cost_no_python_calls():
    """Q4: each idle connection cost one call per poll."""
    calls = []
    with Manager(lambda conn, ev, data: calls.append(ev)) as mgr:
        port = mgr.listen("http://127.0.0.1:0").local_addr[1]
        socks = [socket.create_connection(("127.0.0.1", port)) for _ in range(50)]
        while calls.count(MG_EV_ACCEPT) < 50:
            mgr.poll(1000)
        calls.clear()
        for _ in range(100):
            mgr.poll(0)
        assert calls == []
        for sock in socks:
            sock.close()


def test_q4_poll_read_and_write_events_are_there_for_those_who_ask():
    calls = []

    def handler(conn, ev, data):
        calls.append(ev)
        if ev == MG_EV_HTTP_MSG:
            conn.reply(200)

    with Manager(handler, events=[MG_EV_POLL, MG_EV_READ, MG_EV_WRITE, MG_EV_HTTP_HDRS]) as mgr:
        port = mgr.listen("http://127.0.0.1:0").local_addr[1]
        with socket.create_connection(("127.0.0.1", port)) as sock:
            sock.sendall(request())
            while MG_EV_WRITE not in calls:
                mgr.poll(1000)
            assert read_answer(sock)[0].status == 200
            for _ in range(3):
                mgr.poll(0)
    assert {MG_EV_POLL, MG_EV_READ, MG_EV_WRITE, MG_EV_HTTP_HDRS, MG_EV_HTTP_MSG} <= set(calls)


def test_200_clients_in_8_threads(serve):
    server = serve(on_http(lambda conn, msg: conn.reply(200, msg.body)))
    failures = []

    def client(n):
        try:
            for turn in range(25):
                body = bytes([n, turn]) * (turn * 400)
                answer = server.get("/", method="POST", body=body)
                assert answer.body == body
        except BaseException as exc:  # noqa: BLE001  (told below)
            failures.append(exc)

    threads = [threading.Thread(target=client, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert failures == []
    assert server.mgr.stats().requests == 200


def test_stop_finishes_the_answer_under_way(serve):
    """P17"""
    body = b"x" * (6 << 20)
    handled = Until()

    def handle(conn, msg):
        conn.reply(200, body)
        handled.set()

    server = serve(on_http(handle))
    port = server.port
    with server.connect() as sock:
        sock.sendall(request())
        handled.get()
        server.mgr.stop()
        answer, _ = parse(read_all(sock))
        assert answer.body == body
        assert read_all(sock) == b""
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), 5)


@pytest.mark.parametrize("closed", [True, False])
def test_q21_manager_and_handler_are_freed(closed):
    """Q21: they never were, even after close(). Both refer to each other here."""

    class App:
        def __init__(self):
            self.mgr = Manager(self.handle, error_handler=self.failed)
            self.listener = self.mgr.listen("http://127.0.0.1:0")
            self.listener.userdata = self
            self.timer = self.mgr.timer_add(10_000, self.failed)

        def handle(self, conn, ev, data):
            if ev == MG_EV_HTTP_MSG:
                conn.reply(200)

        def failed(self, exc=None):
            raise AssertionError

    app = App()
    gone = weakref.ref(app)
    app.mgr.poll(0)
    if closed:
        app.mgr.close()
    del app
    gc.collect()
    assert gone() is None


def test_q20_numbers_do_not_wrap_round():
    """Q20: url_port(":99999") was 34463; log_set(99) was accepted; a surrogate pair gave None."""
    assert url_port("http://a:99999") in (0, 80)
    with pytest.raises(ValueError, match="99"):
        log_set(99)
    assert json_get_str('{"a": "\\ud83d\\ude00"}', "$.a") == "😀"
