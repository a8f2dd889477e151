"""The vectors against the real server: what is malformed gets its status and a closed connection, and nothing behind it is served.

Each is sent whole, byte by byte and in two halves, because a parser that is right about whole messages can be wrong about their pieces.
"""

import re
import socket

import pytest
import vectors
from conftest import on_http, parse, parse_all, read_all

from pymongoose import Limits

REFUSALS = ("400", "414", "417", "431", "501", "505")
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
LIMITS = Limits(header_timeout=0.15, body_timeout=0.15, idle_timeout=0.15)


def params(*kinds, expect):
    found = vectors.load(*kinds, expect=expect)
    assert found, "no vectors"
    return [pytest.param(v, id=v.name) for v in found]


def deliver(port, data, how):
    with socket.create_connection(("127.0.0.1", port), 15) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        step = {"whole": len(data), "halves": (len(data) + 1) // 2, "bytes": 1}[how]
        try:
            for i in range(0, len(data), step):
                sock.sendall(data[i : i + step])
            sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # refused before it was all sent
        return read_all(sock)


def ways(data):
    return ("whole", "halves", "bytes") if len(data) < 1000 else ("whole", "halves")


@pytest.fixture
def server(serve):
    seen = []

    def handle(conn, msg):
        seen.append((msg.method, msg.uri, msg.query, msg.proto, msg.headers(), msg.body_bytes))
        conn.reply(200, "served")

    served = serve(on_http(handle))
    served.seen = seen
    return served


@pytest.mark.parametrize("vector", params("request", expect=REFUSALS))
def test_malformed_request_gets_its_status_and_nothing_behind_it_is_served(server, vector):
    """Q8 (400, not silence), Q9 (Host)."""
    for how in ways(vector.data):
        answers = parse_all(deliver(server.port, vector.data + SMUGGLED, how))
        assert [a.status for a in answers] == [int(vector.expect)], how
        assert answers[0].header("Connection") == "close"
    assert server.seen == []
    assert server.mgr.stats().responses_4xx + server.mgr.stats().responses_5xx == len(
        ways(vector.data)
    )


def complete(vector):
    """Is the body all there?"""
    head, _, body = vector.data.partition(b"\r\n\r\n")
    if "chunked" in vector.facts.get("flags", ""):
        return body.endswith(b"0\r\n\r\n")
    length = re.search(rb"\ncontent-length: *(\d+)", head.lower())
    return length is None or len(body) >= int(length[1])


@pytest.mark.parametrize("vector", params("request", expect=("ok",)))
def test_well_formed_request_reaches_the_handler_as_it_was_sent(server, vector):
    for how in ways(vector.data):
        server.seen.clear()
        data = deliver(server.port, vector.data, how)
        if not complete(vector):
            assert server.seen == [], how
            continue
        answers = parse_all(data, head=vector.data.startswith(b"HEAD"))
        if "continue" in vector.facts.get("flags", "") and answers[0].status == 100:
            del answers[0]
        assert answers[0].status == 200, how
        method, uri, query, proto, headers, _ = server.seen[0]
        for key, value in (("method", method), ("uri", uri), ("query", query), ("proto", proto)):
            if key in vector.facts:
                sent = value.encode("utf-8", "surrogateescape")
                assert sent == vector.fact(key), (how, key)
        if vector.headers:
            got = [
                tuple(t.encode("utf-8", "surrogateescape").decode("latin-1") for t in pair)
                for pair in headers
            ]
            assert got == vector.headers, how


@pytest.mark.parametrize("vector", params("request", "chunked", expect=("more",)))
def test_incomplete_request_reaches_no_handler_and_is_closed_by_deadline(serve, vector):
    """P13: a cut request never looks like a whole one."""
    seen = []
    served = serve(on_http(lambda conn, msg: seen.append(msg.uri)), listen={"limits": LIMITS})
    data = vector.data if vector.kind == "request" else CHUNKED + vector.data
    with served.connect() as sock:
        sock.sendall(data)
        answers = parse_all(read_all(sock))
    assert [a.status for a in answers] in ([], [408], [100, 408])
    assert seen == []


@pytest.mark.parametrize("vector", params("chunked", expect=("ok",)))
def test_chunked_body_is_decoded(server, vector):
    end = len(vector.data) - len(vector.fact("rest"))
    for how in ways(vector.data):
        server.seen.clear()
        answer, _ = parse(deliver(server.port, CHUNKED + vector.data[:end], how))
        assert answer.status == 200
        assert [seen[5] for seen in server.seen] == [vector.fact("payload")], how


@pytest.mark.parametrize("vector", params("chunked", expect=("bad", "big")))
def test_malformed_chunk_is_refused_and_nothing_behind_it_is_served(server, vector):
    for how in ways(vector.data):
        answers = parse_all(deliver(server.port, CHUNKED + vector.data + SMUGGLED, how))
        assert [a.status for a in answers] == [400], how
    assert server.seen == []


def test_refusal_follows_the_answers_of_the_requests_before_it(server):
    data = b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\nBROKEN\r\n\r\n"
    answers = parse_all(server.talk(data + SMUGGLED))
    assert [a.status for a in answers] == [200, 200, 400]
    assert [seen[1] for seen in server.seen] == ["/1", "/2"]
