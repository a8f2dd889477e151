"""Server-sent events: lines are split as browsers join them, streams end, the slow are bounded."""

import socket
import threading

import httpx
import pytest
from conftest import DEADLINE, Until, on_http, parse, parse_all, read_all, read_answer

from pymongoose import MG_EV_HTTP_MSG, ConnectionClosed, Limits, MongooseError
from pymongoose._sse import format_event

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.mark.parametrize(
    ("args", "want"),
    [
        (("a",), "data: a\n\n"),
        (("",), "data: \n\n"),
        (("a\nb\r\nc\rd\n",), "data: a\ndata: b\ndata: c\ndata: d\ndata: \n\n"),
        (
            ("a\x0b\x0c\x85\u2028b",),
            "data: a\x0b\x0c\x85\u2028b\n\n",
        ),  # these end no line in an event stream
        (("a", "tick", "7", 1.5), "event: tick\nid: 7\nretry: 1500\ndata: a\n\n"),
        ((None, None, ""), "id: \n\n"),
        ((" a",), "data:  a\n\n"),  # one space is taken off
    ],
)
def test_events_are_written_as_the_html_standard_reads_them(args, want):
    assert format_event(*args) == want


@pytest.mark.parametrize(
    "bad", [{"event": "a\nb"}, {"event": "a\r"}, {"id": "1\n"}, {"id": "\0"}, {"retry": -1}]
)
def test_what_would_be_another_field_is_refused(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        format_event("x", **bad)


@pytest.fixture
def events(serve):
    """A server of one stream; its EventStream comes through .stream, its Last-Event-ID through .last."""

    def make(listen=None, **options):
        stream, last, drained, closed = Until(), Until(), threading.Semaphore(0), threading.Event()

        def handler(conn, ev, data):
            if ev == MG_EV_HTTP_MSG:
                last.set(data.header("Last-Event-ID"))
                stream.set(conn.start_sse(on_drain=drained.release, on_close=closed.set, **options))

        server = serve(handler, listen=listen)
        server.stream, server.last, server.drained, server.closed = stream, last, drained, closed
        return server

    return make


def test_an_event_source_reads_what_was_sent(events):
    sse = pytest.importorskip("httpx_sse")
    server = events(retry=2.5)
    sent = [("plain", None, None), ("two\nlines\r\nthree\r", "x", "1"), ("ä" * 100000, "big", None)]

    def feed():
        stream = server.stream.get()
        for data, event, id in sent:
            stream.send(data, event, id)
        stream.comment("a\nb")
        stream.close()

    thread = threading.Thread(target=feed)
    thread.start()
    with (
        httpx.Client(trust_env=False, timeout=DEADLINE) as client,
        sse.connect_sse(
            client, "GET", f"http://127.0.0.1:{server.port}/", headers={"Last-Event-ID": "41"}
        ) as source,
    ):
        assert source.response.headers["Cache-Control"] == "no-store"
        got = [(e.data, e.event, e.id, e.retry) for e in source.iter_sse()]
    thread.join()
    assert server.last.get() == "41"
    got = [g for g in got if g[0]]  # the retry alone comes as an event without data in some readers
    assert [g[0] for g in got] == ["plain", "two\nlines\nthree\n", "ä" * 100000]
    assert [g[1] for g in got] == ["message", "x", "big"]
    assert [g[2] for g in got] == ["", "1", "1"]


def test_the_answer_is_a_stream_that_opens_at_once(events):
    server = events(heartbeat=0)
    with server.connect() as sock:
        sock.sendall(GET)
        sock.settimeout(DEADLINE)
        data = b""
        while b":\n\n" not in data:
            data += sock.recv(1000)
        assert b"\r\nContent-Type: text/event-stream\r\n" in data
        assert b"\r\nTransfer-Encoding: chunked\r\n" in data
        stream = server.stream.get()
        with stream:
            stream.send("a")
        assert stream.closed
        stream.close()
        refused = Until()

        def late():
            with pytest.raises(MongooseError, match="closed already"):
                stream.send("late")
            refused.set(True)

        server.mgr.call(late)
        assert refused.get()


def test_head_is_over_with_its_head(events):
    """The connection is free for the next request, and the program hears that nobody listens."""
    server = events(heartbeat=0.01)
    with server.connect() as sock:
        for _ in range(3):
            sock.sendall(GET.replace(b"GET", b"HEAD"))
            answer, rest = read_answer(sock, head=True)
            assert (answer.status, answer.header("Content-Type"), rest) == (
                200,
                "text/event-stream",
                b"",
            )
        stream = server.stream.get()
        assert server.closed.wait(DEADLINE)
        assert stream.closed
        stream.send("to nobody")
        sock.sendall(
            GET.replace(b"GET", b"HEAD").replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
        )
        assert parse(read_all(sock), head=True)[1] == b""


def test_a_heartbeat_comes_while_nothing_is_sent(events):
    server = events(heartbeat=0.02)
    with server.connect() as sock:
        sock.sendall(GET)
        sock.settimeout(DEADLINE)
        data = b""
        while data.count(b": \n\n") < 3:
            data += sock.recv(1000)


def test_a_client_that_leaves_ends_its_stream(events):
    server = events(heartbeat=0.02)
    with server.connect() as sock:
        sock.sendall(GET)
        stream = server.stream.get()
        assert not stream.closed
    assert server.closed.wait(DEADLINE)
    assert stream.closed
    with pytest.raises(ConnectionClosed):
        stream.send("x")
    stream.close()


def test_a_stream_that_is_dropped_ends(events):
    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_MSG:
            conn.start_sse().send("only")

    server = events()
    server.listener.set_handler(handler)
    (answer,) = parse_all(server.talk(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")))
    assert answer.body == b":\n\ndata: only\n\n"


def test_streams_end_when_the_manager_stops(events):
    """They do not hold a stop up until its deadline: the client sees a whole answer."""
    server = events()
    with server.connect() as sock:
        sock.sendall(GET)
        server.stream.get().send("a")
        server.mgr.stop()
        answer, _ = parse(read_all(sock))
    assert answer.body == b":\n\ndata: a\n\n"
    server.stop()


def test_who_does_not_read_makes_it_full_and_draining_is_told(events):
    server = events(heartbeat=0, listen={"limits": Limits(send_high=200_000, send_low=50_000)})
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect(("127.0.0.1", server.port))
        sock.sendall(GET)
        stream = server.stream.get()
        full = Until()

        def fill():
            while not stream.full:
                stream.send("x" * 10_000)
            full.set()

        server.mgr.call(fill)
        full.get()
        reader = threading.Thread(target=lambda: read_all(sock))
        reader.start()
        assert server.drained.acquire(timeout=DEADLINE)
        assert not stream.full
        stream.close()
        sock.shutdown(socket.SHUT_WR)
        reader.join(DEADLINE)


def test_http_sse_splits_lines_too(serve):
    def handler(conn, data):
        conn.reply(200, "", {"Content-Type": "text/event-stream", "Transfer-Encoding": "chunked"})
        conn.http_sse("x", "a\r\nb\rc\n")
        with pytest.raises(ValueError, match="event_type"):
            conn.http_sse("a\nb", "c")
        conn.http_chunk("")

    assert serve(on_http(handler)).get().body == b"event: x\ndata: a\ndata: b\ndata: c\ndata: \n\n"


def test_streams_behind_others_hear_of_their_own_draining(serve):
    """Two pipelined streams, both full: each pauses, each goes on when its own bytes are out, and the second not before its turn."""
    size, replies, log = 600_000, {}, []

    def stream(conn, name):
        left = [size]

        def more():
            log.append((name, body.full))
            while left[0] > 0 and not body.full:
                n = min(left[0], 10_000)
                left[0] -= n
                body.write(name[1:] * n)
            if left[0] == 0:
                body.end()

        body = replies.pop(name).start_response(200, on_drain=more)
        more()
        return body

    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_MSG:
            replies[data.uri] = conn.defer()
            if data.uri == "/b":  # the one behind begins, and fills, first
                assert stream(conn, "/b").full
                conn.manager.call(stream, conn, "/a")

    server = serve(handler, listen={"limits": Limits(send_high=200_000, send_low=50_000)})
    with server.connect() as sock:
        sock.sendall(
            b"GET /a HTTP/1.1\r\nHost: a\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        )
        a, b = parse_all(read_all(sock))
    assert a.body == b"a" * size
    assert b.body == b"b" * size
    assert [full for name, full in log] == [False] * len(log)  # never told while it is full still
    assert sum(name == "/b" for name, _ in log) > 1
