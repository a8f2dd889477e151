"""Listener.respond(): answered in C, in order, by the rules of HTTP."""

import pytest
from conftest import get, on_http, parse_all, read_answer

from pymongoose import MongooseError


def request(target="/", headers="", body=b"", method="GET", proto="HTTP/1.1"):
    return f"{method} {target} {proto}\r\nHost: a\r\n{headers}\r\n".encode() + body


@pytest.fixture
def site(serve):
    seen = []

    def handle(conn, msg):
        seen.append(msg.uri)
        conn.reply(200, "python")

    server = serve(on_http(handle))
    server.seen = seen
    return server


def test_get_and_head_are_answered_without_python(site):
    site.listener.respond("/n", 203, b"na\0tive", {"X-A": "1"})
    answer = site.get("/n")
    assert (answer.status, answer.body, answer.header("X-A")) == (203, b"na\0tive", "1")
    assert answer.header("Content-Type") == "text/plain"
    assert answer.header("Date")
    head = site.get("/n", method="HEAD")
    assert (head.status, head.body, head.header("Content-Length")) == (203, b"", "7")
    assert site.seen == []
    assert site.mgr.stats().requests == 2


def test_query_does_not_matter_and_other_paths_do(site):
    site.listener.respond("/n", 200, "native")
    assert site.get("/n?a=b").body == b"native"
    for target in ("/", "/n/", "/nn", "/N", "/%6e"):
        assert site.get(target).body == b"python"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_other_methods_get_405_with_allow(site, method):
    site.listener.respond("/n")
    answer = site.get("/n", method=method, body=b"abc")
    assert answer.status == 405
    assert {m.strip() for m in answer.header("Allow").split(",")} >= {"GET", "HEAD"}
    assert site.seen == []


def test_body_of_a_native_request_is_skipped_and_the_next_one_served(site):
    site.listener.respond("/n", 200, "native")
    data = request(
        "/n", "Content-Length: 30\r\n", b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n12"
    ) + request("/after")
    answers = parse_all(site.talk(data, answers=2))
    assert [a.body for a in answers] == [b"native", b"python"]
    assert site.seen == ["/after"]


def test_replacing_it_and_many_of_them(site):
    for i in range(200):
        site.listener.respond(f"/{i}", 200, str(i))
    for i in range(0, 200, 7):
        site.listener.respond(f"/{i}", 200, f"new {i}")
    with site.connect() as sock:
        for i in range(200):
            sock.sendall(request(f"/{i}"))
            answer, rest = read_answer(sock)
            assert answer.body == (f"new {i}" if i % 7 == 0 else str(i)).encode()
            assert rest == b""


def test_everything_is_copied(site):
    body = bytearray(b"a" * 100_000)
    site.listener.respond("/n", 200, body)
    body[:] = b"b" * 100_000
    assert site.get("/n").body == b"a" * 100_000


def test_http_1_0_and_close(site):
    site.listener.respond("/n", 200, "native")
    assert len(parse_all(site.talk(request("/n", proto="HTTP/1.0") * 2))) == 1
    assert len(parse_all(site.talk(request("/n", "Connection: close\r\n") * 2))) == 1


def test_listeners_have_their_own(site):
    other = site.listen()
    site.listener.respond("/n", 200, "one")
    other.respond("/n", 200, "two")
    assert site.get("/n").body == b"one"
    assert get(other.local_addr[1], "/n").body == b"two"


def test_own_date_and_type_stay(site):
    site.listener.respond(
        "/n",
        200,
        "{}",
        [("Content-Type", "application/json"), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")],
    )
    answer = site.get("/n")
    assert answer.all("Content-Type") == ["application/json"]
    assert answer.all("Set-Cookie") == ["a=1", "b=2"]


def test_wrong_arguments(site):
    for args, kind in (
        (("n",), ValueError),
        (("",), ValueError),
        (("/n", 99), ValueError),
        (("/n", "200"), TypeError),
        (("/n", 200, 5), TypeError),
        (("/n", 200, "", {"X": "a\r\nb"}), ValueError),
    ):
        with pytest.raises(kind):
            site.listener.respond(*args)
    assert site.get("/n").body == b"python"


def test_only_http_listeners_have_routes(serve):
    server = serve(None, "tcp://127.0.0.1:0")
    with pytest.raises(MongooseError, match="HTTP listener"):
        server.listener.respond("/n")
