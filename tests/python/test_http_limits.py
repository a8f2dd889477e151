"""Every limit has its status, a closed connection, and nothing served behind it; slow peers are closed by deadline.

Deadlines are waited for by reading until the server closes, never by sleeping.
"""

import queue
import socket
import threading

import pytest
from conftest import eventually, on_http, parse, parse_all, read_all, read_answer

from pymongoose import MG_EV_CLOSE, MG_EV_HTTP_MSG, Limits, WorkerPool

BEHIND = b"GET /behind HTTP/1.1\r\nHost: a\r\n\r\n"


def request(target="/", headers="", body=b"", method="GET", proto="HTTP/1.1"):
    return f"{method} {target} {proto}\r\nHost: a\r\n{headers}\r\n".encode() + body


@pytest.fixture
def limited(serve):
    """limited(**limits) -> a server that answers 200 and notes what it saw in .seen."""

    def make(**limits):
        seen = []

        def handle(conn, msg):
            seen.append((msg.uri, len(msg.body)))
            conn.reply(200, "ok")

        served = serve(on_http(handle), listen={"limits": Limits(**limits)})
        served.seen = seen
        return served

    return make


def refused(server, data, status):
    answers = parse_all(server.talk(data + BEHIND))
    assert [a.status for a in answers] == [status]
    assert answers[0].header("Connection") == "close"
    assert server.seen == []


def accepted(server, data):
    assert parse(server.talk(data, half_close=True))[0].status == 200
    assert len(server.seen) == 1
    server.seen.clear()


def test_uri_up_to_the_limit_is_served_and_beyond_is_414(limited):
    server = limited(max_uri=64)
    accepted(server, request("/" + "a" * 63))
    refused(server, request("/" + "a" * 64), 414)
    refused(server, b"GET /" + b"a" * 200, 414)  # no need to wait for the end of the line


def test_header_line_beyond_the_limit_is_431(limited):
    server = limited(max_header=64)
    accepted(server, request(headers="X: " + "b" * 61 + "\r\n"))
    refused(server, request(headers="X: " + "b" * 62 + "\r\n"), 431)
    refused(server, b"GET / HTTP/1.1\r\nX: " + b"b" * 500, 431)


def test_head_beyond_the_limit_is_431(limited):
    server = limited(max_head=512, max_header=200)
    refused(server, request(headers="".join(f"X{i}: {'b' * 50}\r\n" for i in range(12))), 431)
    accepted(server, request(headers="".join(f"X{i}: {'b' * 50}\r\n" for i in range(5))))


def test_header_count_beyond_the_limit_is_431(limited):
    """Q7: no header vanishes: those that do not fit refuse the request."""
    server = limited(max_headers=5)
    accepted(server, request(headers="".join(f"X{i}: a\r\n" for i in range(4))))  # and Host
    refused(server, request(headers="".join(f"X{i}: a\r\n" for i in range(5))), 431)


def test_q7_all_100_headers_are_kept_and_the_101st_is_431(serve):
    """Q7: the peer kept 30, lost Content-Length and answered twice (request smuggling)."""
    seen = []

    def handle(conn, msg):
        seen.append((msg.headers(), msg.body_bytes))
        conn.reply(200)

    server = serve(on_http(handle))
    many = "".join(f"X{i}: {i}\r\n" for i in range(98)) + "Content-Length: 3\r\n"
    answers = parse_all(
        server.talk(request(headers=many, body=b"abc", method="POST"), half_close=True)
    )
    assert [a.status for a in answers] == [200]
    ((headers, body),) = seen
    assert [n for n, _ in headers] == ["Host", *(f"X{i}" for i in range(98)), "Content-Length"]
    assert body == b"abc"
    smuggle = request(headers="Y: 1\r\n" + many, body=BEHIND, method="POST")
    assert [a.status for a in parse_all(server.talk(smuggle))] == [431]
    assert len(seen) == 1


def test_body_beyond_the_limit_is_413_at_the_head(limited):
    server = limited(max_body=1000)
    accepted(server, request(method="POST", headers="Content-Length: 1000\r\n", body=b"b" * 1000))
    # Not a byte of the body is needed: the refusal is seen before it is sent.
    refused(server, request(method="POST", headers="Content-Length: 1001\r\n"), 413)
    refused(server, request(method="POST", headers="Content-Length: 99999999999999\r\n"), 413)


def test_chunked_body_beyond_the_limit_is_413(limited):
    server = limited(max_body=1000)
    chunked = "Transfer-Encoding: chunked\r\n"
    piece = b"1f4\r\n" + b"b" * 500 + b"\r\n"
    accepted(server, request(method="POST", headers=chunked, body=piece * 2 + b"0\r\n\r\n"))
    refused(
        server,
        request(method="POST", headers=chunked, body=piece * 2 + b"1\r\nb\r\n0\r\n\r\n"),
        413,
    )


def test_refused_expectation_of_a_large_body_gets_413_without_100(limited):
    server = limited(max_body=10)
    data = request(method="POST", headers="Content-Length: 11\r\nExpect: 100-continue\r\n")
    assert [a.status for a in parse_all(server.talk(data))] == [413]
    assert server.seen == []


def test_q10_default_takes_8_mib_and_refuses_more_with_413(serve):
    """Q10: the peer reset the connection at 3 MiB."""
    sizes = []

    def handle(conn, msg):
        sizes.append(len(msg.body))
        conn.reply(200)

    server = serve(on_http(handle))
    big = 8 << 20
    assert server.get("/", method="POST", body=b"b" * big).status == 200
    assert sizes == [big]
    data = request(method="POST", headers=f"Content-Length: {big + 1}\r\n")
    assert [a.status for a in parse_all(server.talk(data))] == [413]


@pytest.mark.parametrize("coding", ["gzip", "gzip, chunked", "identity"])
def test_unknown_transfer_coding_is_501(limited, coding):
    refused(limited(), request(method="POST", headers=f"Transfer-Encoding: {coding}\r\n"), 501)


@pytest.mark.parametrize("proto", ["HTTP/2.0", "HTTP/3.0"])
def test_unknown_version_is_505(limited, proto):
    refused(limited(), request(proto=proto), 505)


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n",  # Q9: no Host
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # TLS
        b"\x00" * 100,
        b"\r\n\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    ],
)
def test_nonsense_is_400(limited, data):
    refused(limited(), data, 400)


def test_q8_duplicate_cookie_is_served_and_malformed_is_counted(limited):
    """Q8: the peer closed without a 400, also for two Cookie lines."""
    server = limited()
    accepted(server, request(headers="Cookie: a=1\r\nCookie: b=2\r\n"))
    refused(server, b"NONSENSE\r\n\r\n", 400)
    assert server.mgr.stats().responses_4xx == 1


def test_full_worker_queue_is_503_with_retry_after(serve):
    gate, busy = threading.Event(), threading.Semaphore(0)

    def work():
        busy.release()
        gate.wait(15)
        return b"done"

    pool = WorkerPool(1, max_queue=1)
    server = serve(on_http(lambda conn, msg: conn.offload(work)), pool=pool)
    with server.connect() as first, server.connect() as second, server.connect() as third:
        first.sendall(request())
        assert busy.acquire(timeout=15)
        second.sendall(request())
        # The second one waits in the queue before the third is asked: both were accepted in order of arrival.
        eventually(lambda: pool.stats().queued == 1)
        third.sendall(request())
        answer, _ = read_answer(third)
        assert answer.status == 503
        assert int(answer.header("Retry-After")) >= 1
        gate.set()
        assert read_answer(first)[0].body == b"done"
        assert read_answer(second)[0].body == b"done"
    server.stop()
    pool.shutdown(wait=True)


# -- time --


@pytest.mark.parametrize("sent", [b"G", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: a\r\n"])
def test_head_that_does_not_end_is_408(limited, sent):
    server = limited(header_timeout=0.1)
    answers = parse_all(server.talk(sent))
    assert [a.status for a in answers] == [408]
    assert server.seen == []
    assert server.mgr.stats().timeouts == 1


def test_head_in_drops_is_408_although_bytes_keep_coming(limited):
    server = limited(header_timeout=0.15)
    with server.connect() as sock:
        sock.sendall(b"GET / HTTP/1.1\r\n")
        sock.settimeout(0.01)
        got = b""
        while not got:
            try:
                sock.sendall(b"X: a\r\n")
                got = sock.recv(1000)
            except TimeoutError:
                continue
            except OSError:
                break
        assert got.startswith(b"HTTP/1.1 408 ") or got == b""
    assert server.seen == []


@pytest.mark.parametrize(
    "sent",
    [
        request(method="POST", headers="Content-Length: 5\r\n", body=b"abcd"),
        request(method="POST", headers="Content-Length: 5\r\n"),
        request(method="POST", headers="Transfer-Encoding: chunked\r\n", body=b"5\r\nabc"),
    ],
)
def test_body_that_does_not_end_is_408(limited, sent):
    server = limited(body_timeout=0.1)
    assert [a.status for a in parse_all(server.talk(sent))] == [408]
    assert server.seen == []


def test_body_below_the_lowest_rate_is_408(limited):
    server = limited(body_grace=0.1, min_rate=1_000_000, body_timeout=10.0)
    with server.connect() as sock:
        sock.sendall(request(method="POST", headers="Content-Length: 100000\r\n"))
        sock.settimeout(0.01)
        got = b""
        while not got:
            try:
                sock.sendall(b"b")
                got = sock.recv(1000)
            except TimeoutError:
                continue
        assert got.startswith(b"HTTP/1.1 408 ")
    assert server.seen == []


def test_idle_connection_is_closed_without_a_word(limited):
    server = limited(idle_timeout=0.1, header_timeout=0.1)
    with (
        server.connect() as sock
    ):  # the first request is awaited for header_timeout, the others for idle_timeout
        assert read_all(sock) == b""
    with server.connect() as sock:
        sock.sendall(request())
        answer, rest = read_answer(sock)
        assert (answer.status, rest) == (200, b"")
        assert read_all(sock) == b""


def test_slow_peers_do_not_hold_others(limited):
    server = limited(header_timeout=0.2)
    slow = [server.connect() for _ in range(50)]
    for sock in slow:
        sock.sendall(b"GET / HT")
    assert server.get("/").status == 200
    for sock in slow:
        assert [a.status for a in parse_all(read_all(sock))] == [408]
        sock.close()


def test_peer_that_does_not_read_is_reset(serve):
    closed = []
    big = b"x" * (32 << 20)

    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_MSG:
            conn.reply(200, big)
        elif ev == MG_EV_CLOSE and not conn.is_listening:
            closed.append(conn)

    server = serve(handler, listen={"limits": Limits(send_timeout=0.2)})
    with server.connect() as sock:
        sock.sendall(request())
        assert sock.recv(1) == b"H"
        eventually(lambda: closed)
        sock.settimeout(15)
        assert len(read_all(sock)) < len(big)


def test_after_max_requests_the_connection_is_closed_politely(limited):
    server = limited(max_requests=3)
    answers = parse_all(server.talk(request() * 5))
    assert [a.status for a in answers] == [200] * 3
    assert [a.header("Connection") for a in answers][-1] == "close"
    assert len(server.seen) == 3


def test_max_per_address_closes_what_is_too_many(limited):
    server = limited(max_per_address=2)
    with server.connect() as a, server.connect() as b:
        for sock in (a, b):
            sock.sendall(request())
            assert read_answer(sock)[0].status == 200
        with server.connect() as c:
            assert read_all(c) == b""
        a.sendall(request())
        assert read_answer(a)[0].status == 200
    assert server.mgr.stats().refused == 1


def test_max_connections_pauses_accepting_and_goes_on(limited):
    server = limited(max_connections=2)
    with server.connect() as a, server.connect() as b:
        for sock in (a, b):
            sock.sendall(request())
            assert read_answer(sock)[0].status == 200
        c = server.connect()  # the system's backlog takes it
        c.sendall(request())
        a.shutdown(socket.SHUT_WR)
        assert read_all(a) == b""
        assert read_answer(c)[0].status == 200
        c.close()


def test_pipeline_beyond_its_limit_waits_and_is_served(serve):
    """More requests than max_pipeline at once: reading pauses, nothing is lost."""
    replies = queue.SimpleQueue()
    server = serve(
        on_http(lambda conn, msg: replies.put((conn.defer(), msg.uri))),
        listen={"limits": Limits(max_pipeline=4)},
    )
    with server.connect() as sock:
        sock.sendall(b"".join(request(f"/{i}") for i in range(20)))
        have, got = b"", []
        while len(got) < 20:
            reply, uri = replies.get(timeout=15)
            assert replies.qsize() < 4
            reply.reply(200, uri)
            answer, have = read_answer(sock, have=have)
            got.append(answer.body.decode())
        assert got == [f"/{i}" for i in range(20)]


@pytest.mark.parametrize(
    "name", ["max_uri", "max_header", "max_body", "header_timeout", "max_headers"]
)
def test_negative_limit_is_a_value_error(serve, name):
    server = serve(None, None)
    with pytest.raises((ValueError, TypeError, OverflowError), match=name):
        server.listen("http://127.0.0.1:0", limits=Limits(**{name: -1}))
