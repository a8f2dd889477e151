"""Bodies in pieces, both ways: nothing lost, memory bounded, flow controlled, half an answer never looks whole."""

import contextlib
import hashlib
import socket
import threading

import pytest
from conftest import (
    DEADLINE,
    Cut,
    Until,
    eventually,
    on_http,
    parse,
    parse_all,
    read_all,
    read_answer,
)
from helpers import poll_until

from pymongoose import (
    MG_EV_CLOSE,
    MG_EV_HTTP_HDRS,
    MG_EV_HTTP_MSG,
    ConnectionClosed,
    Limits,
    Manager,
    MongooseError,
    QueueFull,
    ResponseBody,
)


def request(target="/", headers="", body=b"", method="GET", proto="HTTP/1.1"):
    return f"{method} {target} {proto}\r\nHost: a\r\n{headers}\r\n".encode() + body


def chunked(*pieces):
    return b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in pieces) + b"0\r\n\r\n"


# -- requests --


@pytest.fixture
def collector(serve):
    """A server that streams each body into a list and answers with its length."""

    def make(max_body=0, **options):
        got = []

        def handler(conn, ev, data):
            if ev == MG_EV_HTTP_HDRS:
                pieces = []

                def end():
                    got.append(b"".join(pieces))
                    conn.reply(200, str(len(got[-1])))

                conn.stream_body(pieces.append, end, max_body)
            elif ev == MG_EV_HTTP_MSG:
                conn.reply(200, "whole")

        server = serve(handler, **options)
        server.got = got
        return server

    return make


@pytest.mark.parametrize("body", [b"a", b"a\0b" * 100, bytes(range(256)) * 1000])
def test_counted_and_chunked_bodies_arrive_in_pieces_that_join(collector, body):
    server = collector()
    data = request(method="POST", headers=f"Content-Length: {len(body)}\r\n", body=body)
    data += request(
        method="POST",
        headers="Transfer-Encoding: chunked\r\n",
        body=chunked(body[:1], body[1:] or b"x"),
    )
    data += request(headers="Connection: close\r\n")
    answers = parse_all(server.talk(data))
    assert [a.status for a in answers] == [200] * 3
    assert server.got == [body, body[:1] + (body[1:] or b"x")]
    assert answers[2].body == b"whole"  # a request without a body is one message


def test_body_byte_by_byte_is_streamed_as_it_comes(collector):
    """A piece is there before the next is sent."""
    pieces = []
    event = threading.Semaphore(0)

    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_HDRS:

            def piece(data):
                assert type(data) is bytes
                pieces.append(data)
                event.release()

            conn.stream_body(piece, lambda: conn.reply(200))

    server = collector()
    server.listener.set_handler(handler)
    with server.connect() as sock:
        sock.sendall(request(method="POST", headers="Content-Length: 5\r\n"))
        for i in range(5):
            sock.sendall(b"abcde"[i : i + 1])
            assert event.acquire(timeout=15)
            assert pieces == [b"a", b"b", b"c", b"d", b"e"][: i + 1]
        assert read_answer(sock)[0].status == 200


def test_q11_hdrs_is_told_once_however_slow_the_body(serve):
    """Q11: HTTP_HDRS came 21 times for a slow body of 5 bytes. Q10: bodies can stream."""
    events = []
    here = threading.Semaphore(0)

    def handler(conn, ev, data):
        if ev in (MG_EV_HTTP_HDRS, MG_EV_HTTP_MSG):
            events.append((ev, data.method, data.header("content-length")))
            here.release()
        if ev == MG_EV_HTTP_MSG:
            conn.reply(200, data.body)

    server = serve(handler)
    with server.connect() as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.sendall(request(method="POST", headers="Content-Length: 5\r\n"))
        assert here.acquire(timeout=15)
        for i in range(5):
            before = server.mgr.stats().bytes_in
            sock.sendall(b"hello"[i : i + 1])
            eventually(lambda b=before: server.mgr.stats().bytes_in > b)
        assert read_answer(sock)[0].body == b"hello"
    assert events == [(MG_EV_HTTP_HDRS, "POST", "5"), (MG_EV_HTTP_MSG, "POST", "5")]


def test_20_mb_upload_with_a_slow_consumer_is_bounded_and_complete(serve):
    """The consumer pauses after every piece and another thread resumes: what is unread stays with the kernel and the client."""
    total = 20 << 20
    digest, sizes, held = hashlib.sha256(), [], []
    resume = threading.Semaphore(0)
    conns = Until()

    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_HDRS:

            def piece(data):
                digest.update(data)
                sizes.append(len(data))
                held.append(conn.recv_len)
                conn.pause_reading()
                resume.release()

            conn.stream_body(piece, lambda: conn.reply(200, digest.hexdigest()))
            conns.set(conn)

    server = serve(handler, listen={"limits": Limits(body_timeout=15)})
    stop = threading.Event()

    def resumer():
        conn = conns.get()
        while not stop.is_set():
            if resume.acquire(timeout=0.1):
                with contextlib.suppress(ConnectionClosed):
                    conn.resume_reading()

    thread = threading.Thread(target=resumer)
    thread.start()
    try:
        block = bytes(range(256)) * 256  # 64 KiB
        with server.connect() as sock:
            sock.sendall(
                request(method="POST", headers=f"Content-Length: {total}\r\nConnection: close\r\n")
            )
            for _ in range(total // len(block)):
                sock.sendall(block)
            answer, _ = parse(read_all(sock))
    finally:
        stop.set()
        thread.join(15)
    assert answer.body.decode() == hashlib.sha256(block * (total // len(block))).hexdigest()
    assert sum(sizes) == total
    assert max(sizes) <= 4 << 20
    assert max(held) <= 4 << 20


def test_streamed_body_beyond_max_body_is_413(collector):
    server = collector(max_body=10)
    assert [
        a.status
        for a in parse_all(server.talk(request(method="POST", headers="Content-Length: 11\r\n")))
    ] == [413]
    data = request(
        method="POST", headers="Transfer-Encoding: chunked\r\n", body=chunked(b"12345", b"123456")
    )
    assert [a.status for a in parse_all(server.talk(data))] == [413]
    assert server.got == []


def test_streaming_lifts_the_limit_of_collected_bodies(collector):
    server = collector(listen={"limits": Limits(max_body=10)})
    assert server.get(method="POST", body=b"x" * 100_000).body == b"100000"


def test_client_that_goes_away_ends_no_body(serve):
    """P13: on_end is for whole bodies only."""
    ended, closed = [], Until()

    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_HDRS:
            conn.stream_body(lambda piece: None, lambda: ended.append(1))
        elif ev == MG_EV_CLOSE and not conn.is_listening:
            closed.set(True)

    server = serve(handler)
    with server.connect() as sock:
        sock.sendall(request(method="POST", headers="Content-Length: 10\r\n", body=b"half"))
    assert closed.get()
    assert ended == []


def test_exception_in_on_data_or_on_end_is_500(serve):
    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_HDRS and data.uri == "/data":
            conn.stream_body(lambda piece: 1 / 0, lambda: conn.reply(200))
        elif ev == MG_EV_HTTP_HDRS:
            conn.stream_body(lambda piece: None, lambda: 1 / 0)

    server = serve(handler)
    for target in ("/data", "/end"):
        assert server.get(target, method="POST", body=b"x").status == 500
        server.expect_error(ZeroDivisionError)


def test_stream_body_elsewhere_is_refused(serve):
    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_MSG:
            with pytest.raises(MongooseError, match="MG_EV_HTTP_HDRS"):
                conn.stream_body(print)
            with pytest.raises(TypeError, match="on_data"):
                conn.stream_body(5)
            conn.reply(200)

    assert serve(handler).get().status == 200


def test_reply_in_hdrs_refuses_the_body(serve):
    """A decision at the head: nothing of the body is handled, and what follows is framed rightly or the connection ends."""
    seen = []

    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_HDRS:
            conn.reply(403, "no")
        elif ev == MG_EV_HTTP_MSG:
            seen.append(data.uri)

    server = serve(handler)
    body = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
    answers = parse_all(
        server.talk(
            request(method="POST", headers=f"Content-Length: {len(body) + 1}\r\n", body=body),
            half_close=True,
        )
    )
    assert [a.status for a in answers] == [403]
    assert seen == []


# -- answers --


def test_start_response_is_chunked_and_the_connection_goes_on(serve):
    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_MSG:
            with conn.start_response(201, {"Content-Type": "text/x", "X-A": "1"}) as body:
                assert not body.closed
                body.write("")  # is not the end
                for piece in ("ä", b"two\0", bytearray(b"three"), memoryview(b"four")):
                    body.write(piece)
            assert body.closed
            body.end()
            with pytest.raises(MongooseError, match="complete already"):
                body.write(b"late")

    server = serve(handler)
    answers = parse_all(server.talk(request() * 2 + request(headers="Connection: close\r\n")))
    assert len(answers) == 3
    for answer in answers:
        assert (answer.status, answer.header("X-A"), answer.header("Content-Type")) == (
            201,
            "1",
            "text/x",
        )
        assert answer.chunks == ["ä".encode(), b"two\0", b"three", b"four"]


def test_end_takes_a_last_piece(serve):
    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_MSG:
            body = conn.start_response(200)
            body.write("a")
            body.end("b")
            body.end("not sent")
            body.close()

    assert serve(handler).get().body == b"ab"


def test_counted_stream_has_no_chunks(serve):
    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_MSG:
            with conn.start_response(200, {"Content-Length": "6"}) as body:
                body.write("abc")
                body.write("def")

    server = serve(handler)
    answers = parse_all(server.talk(request() + request(headers="Connection: close\r\n")))
    assert [a.body for a in answers] == [b"abcdef"] * 2
    assert {a.header("Transfer-Encoding") for a in answers} == {None}


@pytest.mark.parametrize("written", [b"abc", b"abcdefghi"])
def test_counted_stream_of_a_wrong_length_never_looks_whole_nor_runs_over(serve, written):
    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_MSG:
            with (
                contextlib.suppress(MongooseError),
                conn.start_response(200, {"Content-Length": "6"}) as body,
            ):
                body.write(written)

    data = serve(handler).talk(request() + request(headers="Connection: close\r\n"))
    if len(written) < 6:
        with pytest.raises(Cut):
            parse(data)
    else:
        assert [a.body for a in parse_all(data)] == [b"abcdef"] * 2


def test_http_1_0_gets_the_body_until_the_close(serve):
    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_MSG:
            with conn.start_response(200) as body:
                body.write("abc")
                body.write("def")

    server = serve(handler)
    for headers in ("", "Connection: keep-alive\r\n"):
        answer, _ = parse(server.talk(request(proto="HTTP/1.0", headers=headers)))
        assert answer.header("Transfer-Encoding") is None
        assert answer.body == b"abcdef"


def test_exception_inside_with_cuts_the_connection(serve):
    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_MSG:
            with conn.start_response(200) as body:
                body.write("half")
                raise LookupError("no more")

    server = serve(handler)
    with pytest.raises(Cut):
        parse(server.talk(request() * 2), closed=True)
    server.expect_error(LookupError)


def test_a_body_that_is_dropped_before_its_end_cuts_the_answer(serve):
    """Nobody can finish it any more, so the client must not wait."""

    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_MSG:
            conn.start_response(200).write("half")

    server = serve(handler)
    with server.connect() as sock:
        sock.sendall(request())
        got = b""
        while data := sock.recv(1000):
            got += data
    assert b"half" in got
    assert not got.endswith(b"0\r\n\r\n")


def test_an_answer_that_is_aborted_does_not_look_whole(serve):
    """From another thread, too; again it does nothing."""

    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_MSG:
            body = conn.start_response(200)
            body.write("half")

            def abort():
                body.abort()
                body.abort()
                assert body.closed

            if data.uri == "/thread":
                thread = threading.Thread(target=abort)
                thread.start()
                thread.join()
            else:
                abort()

    server = serve(handler)
    for target in ("/", "/thread"):
        with pytest.raises(Cut):
            parse(server.talk(request(target=target)), closed=True)


def test_exception_inside_with_in_http_1_0_resets(serve):
    """Without a length or chunks only a reset tells the client that the body is not whole."""

    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_MSG:
            with conn.start_response(200) as body:
                body.write("half")
                raise LookupError("no more")

    server = serve(handler)
    with server.connect() as sock:
        sock.sendall(request(proto="HTTP/1.0"))
        reset = False
        try:
            while data := sock.recv(1000):
                assert b"500" not in data
        except ConnectionResetError:
            reset = True
    server.expect_error(LookupError)
    assert reset


def test_client_that_stops_reading_is_bounded_and_served_to_the_end_when_it_reads(serve):
    """full turns true at send_high, on_drain comes at send_low, and in between nothing is written."""
    limits = Limits(send_high=256 << 10, send_low=64 << 10)
    block, total = b"x" * 65536, 400  # 25 MiB
    state = {"sent": 0, "peak": 0, "drains": 0}
    full = Until()

    def handler(conn, ev, data):
        if ev != MG_EV_HTTP_MSG:
            return

        def more():
            while state["sent"] < total and not body.full:
                body.write(block)
                state["sent"] += 1
                state["peak"] = max(state["peak"], conn.send_len)
            if body.full:
                full.set(True)
            if state["sent"] == total:
                body.end()

        def drained():
            state["drains"] += 1
            assert not conn.is_full
            assert conn.send_len <= limits.send_low
            more()

        body = conn.start_response(200, on_drain=drained)
        more()

    server = serve(handler, listen={"limits": limits})
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        sock.settimeout(15)
        sock.connect(("127.0.0.1", server.port))
        sock.sendall(request(headers="Connection: close\r\n"))
        assert full.get()
        stuck = state["sent"]
        assert stuck < total
        answer, _ = parse(read_all(sock))
    assert answer.body == block * total
    assert state["peak"] <= limits.send_high + len(block)
    assert state["drains"] > 0


def test_writing_without_looking_ends_in_queue_full(serve):
    told = Until()

    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_MSG:
            body = conn.start_response(200)

            def flood():
                for _ in range(1000):
                    body.write(b"x" * 65536)

            with pytest.raises(QueueFull, match="does not read"):
                flood()
            told.set(conn.send_len)
            conn.close()

    server = serve(handler, listen={"limits": Limits(send_max=1 << 20)})
    with server.connect() as sock:
        sock.sendall(request())
        assert told.get() <= 1 << 20


def test_write_after_the_client_left_raises_connection_closed(serve):
    bodies, closed = Until(), Until()

    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_MSG:
            bodies.set(conn.start_response(200))
        elif ev == MG_EV_CLOSE and not conn.is_listening:
            closed.set(True)

    server = serve(handler)
    with server.connect() as sock:
        sock.sendall(request())
        body = bodies.get()
        sock.recv(1)
        sock.shutdown(socket.SHUT_RDWR)
    with contextlib.suppress(ConnectionClosed):
        body.write(b"x")  # so that the loop finds out
    assert closed.get()
    eventually(lambda: body.closed)
    with pytest.raises(ConnectionClosed, match="closed"):
        body.write(b"more")
    body.end()


def test_pieces_written_by_another_thread_arrive_in_order(serve):
    threads = []

    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_MSG:
            reply = conn.defer()

            def work():
                with reply.start_response(200, {"X-A": "1"}) as body:
                    for i in range(1000):
                        body.write(f"{i}\n")

            threads.append(threading.Thread(target=work))
            threads[-1].start()

    server = serve(handler)
    for _ in range(3):
        answer = server.get()
        assert answer.body == b"".join(b"%d\n" % i for i in range(1000))
        assert answer.header("X-A") == "1"
    for thread in threads:
        thread.join(15)


@pytest.mark.parametrize("status", [100, 199, 1000])
def test_start_response_wants_a_final_status(serve, status):
    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_MSG:
            with pytest.raises(ValueError, match="status must be 200-999"):
                conn.start_response(status)
            conn.reply(200)

    assert serve(handler).get().status == 200


@pytest.mark.parametrize("status", [204, 304])
def test_stream_of_a_status_without_body_sends_none(serve, status):
    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_MSG:
            with conn.start_response(status) as body:
                body.write("not sent")

    server = serve(handler)
    data = server.talk(request() + request(headers="Connection: close\r\n"))
    assert [a.status for a in parse_all(data)] == [status] * 2
    assert b"not sent" not in data


@pytest.mark.parametrize("compress", [False, True])
def test_a_stream_that_is_not_ended_does_not_hold_up_what_follows_head(serve, compress):
    streams: list[ResponseBody] = []
    gone = threading.Semaphore(0)

    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_MSG and data.method == "HEAD":
            body = conn.start_response(200, {"Content-Type": "text/html"}, on_close=gone.release)
            body.write("x" * 100_000)
            streams.append(body)
        elif ev == MG_EV_HTTP_MSG:
            conn.reply(200, "and so on")

    server = serve(handler, listen={"compress": compress})
    head, close = request(method="HEAD"), request(headers="Connection: close\r\n")
    data = server.talk(head + head + close)
    for _ in range(2):
        answer, data = parse(data, head=True)
        assert (answer.status, answer.header("Transfer-Encoding")) == (200, "chunked")
    assert [a.body for a in parse_all(data)] == [b"and so on"]
    for body in streams:
        assert gone.acquire(timeout=DEADLINE)
        assert body.closed
        assert not body.full
        body.end()
        body.abort()


def test_a_stream_behind_an_unanswered_request_is_full_like_any_other():
    """Its pieces are put aside until its turn: they must not pile up without a bound."""
    replies = []

    def handle(conn, msg):
        replies.append(conn.defer())

    limits = Limits(send_high=50_000, send_low=10_000, send_max=100_000)
    with Manager(on_http(handle)) as mgr:
        address = mgr.listen("http://127.0.0.1:0", limits=limits).local_addr[:2]
        with socket.create_connection(address, DEADLINE) as sock:
            sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 2)
            poll_until(mgr, lambda: len(replies) == 2)
            body = replies[1].start_response(200)
            body.write(b"x" * 40_000)
            assert not body.full
            body.write(b"y" * 40_000)
            assert body.full
            mgr.poll(0)
            assert body.full
            with pytest.raises(QueueFull):
                body.write(b"z" * 40_000)
            replies[0].reply(200, b"first")
            poll_until(mgr, lambda: not body.full)
            body.end()
            mgr.poll(0)
            first, rest = read_answer(sock)
            second, rest = read_answer(sock, have=rest)
    assert (first.body, second.body, rest) == (b"first", b"x" * 40_000 + b"y" * 40_000, b"")
