"""Answers in a content coding: read back by zlib, brotli and zstandard, which nobody here wrote."""

from __future__ import annotations

import random
import socket
import zlib

import pytest
from conftest import eventually, get, on_http, parse_all, read_answer

from pymongoose import Compression, Connection, Manager, MongooseError, build_info

CODINGS = build_info()["codings"]
if not CODINGS:
    pytest.skip("zlib, brotli and zstd were missing when this was built", allow_module_level=True)

TEXT = b"".join(b"line %d of a text that repeats itself\n" % i for i in range(200))
BIG = b"".join(b"line %d of a large text\n" % i for i in range(100_000))  # beyond whole_max
NOISE = random.Random(1).randbytes(5000)
FIRST = CODINGS[0]


class Reader:
    """Decompresses as the bytes come."""

    def __init__(self, coding: str) -> None:
        if coding == "gzip":
            self.feed = zlib.decompressobj(31).decompress
        elif coding == "br":
            brotli = pytest.importorskip("brotli")
            self.feed = brotli.Decompressor().process
        else:
            zstandard = pytest.importorskip("zstandard")
            self.feed = zstandard.ZstdDecompressor().decompressobj().decompress


def decoded(answer):
    coding = answer.header("Content-Encoding")
    return answer.body if coding is None else Reader(coding).feed(answer.body)


def ask(server, accept, **how):
    return server.get("/", headers=f"Accept-Encoding: {accept}\r\n" if accept else "", **how)


@pytest.fixture
def answering(serve):
    """answering(body, headers, compress=Compression()) -> a server that always says that."""

    def make(body=TEXT, headers=None, *, status=200, compress=True, reply=None):
        extra = {} if reply is None else {"compress": reply}
        return serve(
            on_http(lambda conn, msg: conn.reply(status, body, headers, **extra)),
            listen={"compress": compress},
        )

    return make


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("body", [TEXT, BIG], ids=["small", "large"])
def test_body_arrives_whole_and_smaller(answering, coding, body):
    answer = ask(answering(body, {"ETag": '"v1"', "Accept-Ranges": "bytes"}), coding)
    assert answer.header("Content-Encoding") == coding
    assert answer.header("Vary") == "Accept-Encoding"
    assert answer.header("ETag") == 'W/"v1"'
    assert answer.header("Accept-Ranges") is None
    assert (answer.header("Transfer-Encoding") == "chunked") == (body is BIG)
    assert decoded(answer) == body
    assert len(answer.body) < len(body) / 3


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, lambda b: b.decode()])
def test_large_body_of_any_type_arrives_whole(answering, kind):
    assert decoded(ask(answering(kind(BIG)), FIRST)) == BIG


def test_body_sent_again_and_again_is_compressed_each_time(answering):
    server = answering(BIG[: 200 << 10])  # from the ninth on it comes out of a file
    for _ in range(12):
        assert decoded(ask(server, FIRST)) == BIG[: 200 << 10]


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        ("", None),
        ("identity", None),
        ("deflate", None),
        ("gzip;q=0", None),
        ("gzip;q=0.5, identity", None),
        ("*", FIRST),
        (", ".join(CODINGS), FIRST),
        ("*;q=0.1, gzip;q=0.9", "gzip"),
        ("x-gzip", "gzip"),
        ("GZIP", "gzip"),
    ],
)
def test_client_chooses_the_coding(answering, accept, wanted):
    if wanted == "gzip" and "gzip" not in CODINGS:
        pytest.skip("gzip is not part of this build")
    answer = ask(answering(headers={"ETag": '"v1"'}), accept)
    assert answer.header("Content-Encoding") == wanted
    assert answer.header("Vary") == "Accept-Encoding"  # a cache must know in either case
    assert answer.header("ETag") == ('"v1"' if wanted is None else 'W/"v1"')
    assert decoded(answer) == TEXT


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Encoding": "br"},
        {"Cache-Control": "public, no-transform"},
        {"Content-Range": "bytes 0-9/10"},
        {"Content-Digest": "sha-256=:AA==:"},
        {"Content-Type": "image/png"},
    ],
)
def test_what_must_or_need_not_change_is_sent_as_it_is(answering, headers):
    answer = ask(answering(headers=headers), "*")
    assert answer.body == TEXT
    assert answer.header("Content-Encoding") == headers.get("Content-Encoding")
    assert answer.header("Vary") is None


@pytest.mark.parametrize("status", [204, 206, 304])
def test_status_without_a_body_of_its_own_is_not_compressed(answering, status):
    answer = ask(answering(TEXT, {"ETag": '"v1"'}, status=status), FIRST)
    assert answer.header("Content-Encoding") is None


def test_304_names_the_tag_that_the_200_had(answering):
    answer = ask(answering(b"", {"ETag": '"v1"'}, status=304), FIRST)
    assert answer.header("ETag") == 'W/"v1"'
    assert answer.header("Vary") == "Accept-Encoding"


def test_small_bodies_and_those_that_do_not_shrink_stay(answering):
    assert ask(answering(b"x" * 1023), "*").body == b"x" * 1023
    assert ask(answering(b"x" * 1024), "*").header("Content-Encoding") == FIRST
    answer = ask(answering(NOISE), "*")
    assert answer.body == NOISE
    assert answer.header("Content-Encoding") is None
    assert answer.header("Vary") == "Accept-Encoding"


def test_who_refuses_identity_gets_a_coding_whatever_type_and_size(answering):
    answer = ask(answering(b"tiny", {"Content-Type": "image/png"}), f"{FIRST}, identity;q=0")
    assert answer.header("Content-Encoding") == FIRST
    assert decoded(answer) == b"tiny"
    assert ask(answering(b"tiny"), "identity;q=0").body == b"tiny"  # nothing fits: RFC 9110 15.5.7


@pytest.mark.parametrize("body", [TEXT, BIG], ids=["small", "large"])
def test_head_has_the_headers_of_get_and_no_body(answering, body):
    server = answering(body, {"ETag": '"v1"'})
    one, other = ask(server, FIRST), ask(server, FIRST, method="HEAD")
    skip = {"Date"}
    assert {h for h in other.headers if h[0] not in skip} == {
        h for h in one.headers if h[0] not in skip
    }


def test_vary_of_the_application_is_kept_and_completed(answering):
    answer = ask(answering(headers={"Vary": "Origin"}), "*")
    assert answer.all("Vary") == ["Origin", "Accept-Encoding"]
    assert ask(answering(headers={"Vary": "*"}), "*").all("Vary") == ["*"]


def test_one_answer_can_refuse_and_another_insist(answering):
    assert ask(answering(reply=False), "*").body == TEXT
    insisted = ask(answering(b"t" * 100, {"Content-Type": "image/png"}, reply=True), "*")
    assert insisted.header("Content-Encoding") == FIRST
    quiet = Compression(auto=False)
    assert ask(answering(compress=quiet), "*").body == TEXT
    assert ask(answering(compress=quiet, reply=True), "*").header("Content-Encoding") == FIRST


def test_insisting_on_a_listener_that_does_not_compress_is_an_error(serve):
    server = serve(on_http(lambda conn, msg: conn.reply(200, TEXT, compress=True)))
    assert ask(server, "*").status == 500
    server.expect_error(MongooseError)
    server = serve(on_http(lambda conn, msg: conn.reply(200, TEXT, compress=False)))
    assert ask(server, "*").body == TEXT


def test_types_and_sizes_are_settable(answering):
    mine = Compression(types=["image/*"], min_size=10, codings=[CODINGS[-1]])
    assert ask(answering(b"a" * 100, compress=mine), "*").header("Content-Encoding") is None
    answer = ask(answering(b"a" * 100, {"Content-Type": "Image/BMP; a=b"}, compress=mine), "*")
    assert answer.header("Content-Encoding") == CODINGS[-1]


@pytest.mark.parametrize("coding", CODINGS)
def test_each_piece_of_a_stream_can_be_read_when_it_was_written(serve, coding):
    """Server-sent events: whoever waits for the next one has seen all before it."""
    bodies: list = []

    def handle(conn, msg):
        if msg.uri == "/":
            bodies.append(conn.start_response(200, {"Content-Type": "text/event-stream"}))
        else:
            bodies[0].write(msg.uri)
            conn.reply(204)

    server = serve(on_http(handle), listen={"compress": True})
    reader = Reader(coding)
    with server.connect() as sock:
        sock.sendall(f"GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: {coding}\r\n\r\n".encode())
        head = b""
        while b"\r\n\r\n" not in head:
            head += sock.recv(1)
        assert f"Content-Encoding: {coding}".encode() in head
        file = sock.makefile("rb")
        for path in ("/one", "/two", "/three"):
            server.get(path)
            size = int(file.readline(), 16)
            assert reader.feed(file.read(size + 2)[:-2]) == path.encode()
        server.mgr.call(lambda: bodies.pop().end())
        while size := int(file.readline(), 16):
            reader.feed(file.read(size + 2)[:-2])
        assert file.readline() == b"\r\n"


def test_stream_with_a_length_ends_with_it_and_is_chunked(serve):
    def handle(conn, msg):
        body = conn.start_response(200, {"Content-Length": len(TEXT), "Content-Type": "text/plain"})
        body.write(TEXT[:3000])
        body.write(TEXT[3000:])  # no end(): its length ends it

    server = serve(on_http(handle), listen={"compress": True})
    answer = ask(server, FIRST)
    assert answer.header("Content-Length") is None
    assert decoded(answer) == TEXT


def test_stream_that_falls_short_of_its_length_does_not_look_whole(serve):
    def handle(conn, msg):
        with conn.start_response(200, {"Content-Length": 5000, "Content-Type": "text/plain"}) as b:
            b.write(b"short")

    server = serve(on_http(handle), listen={"compress": True})
    data = server.talk(f"GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: {FIRST}\r\n\r\n".encode())
    assert b"\r\n0\r\n" not in data


def test_http_1_0_client_gets_a_coding_until_the_close(serve):
    server = serve(on_http(lambda conn, msg: conn.reply(200, BIG)), listen={"compress": True})
    answer = get(server.port, headers=f"Accept-Encoding: {FIRST}\r\n", proto="HTTP/1.0")
    assert answer.header("Transfer-Encoding") is None
    assert decoded(answer) == BIG


def test_answers_to_pipelined_requests_keep_their_order_and_their_codings(serve):
    later: list = []

    def handle(conn: Connection, msg):
        if msg.uri == "/later":
            later.append(conn.defer())
        elif msg.uri == "/release":
            later[0].reply(200, BIG)
            later[1].reply(200, TEXT)
            conn.reply(204)
        else:
            conn.reply(200, BIG)

    server = serve(on_http(handle), listen={"compress": True})
    asked = [("/later", FIRST), ("/", "identity"), ("/later", FIRST), ("/", FIRST), ("/", FIRST)]
    with server.connect() as sock:
        for uri, coding in asked:
            sock.sendall(
                f"GET {uri} HTTP/1.1\r\nHost: a\r\nAccept-Encoding: {coding}\r\n\r\n".encode()
            )
        eventually(lambda: len(later) == 2)
        server.get("/release")
        answers, have = [], b""
        for _ in asked:
            answer, have = read_answer(sock, have=have)
            answers.append(answer)
    assert [a.header("Content-Encoding") for a in answers] == [FIRST, None, FIRST, FIRST, FIRST]
    assert [decoded(a) for a in answers] == [BIG, BIG, TEXT, BIG, BIG]


def test_client_that_ends_its_side_still_gets_all_of_a_large_answer(serve):
    server = serve(on_http(lambda conn, msg: conn.reply(200, BIG)), listen={"compress": True})
    data = server.talk(
        f"GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: {FIRST}\r\n\r\n".encode(), half_close=True
    )
    assert [decoded(a) for a in parse_all(data)] == [BIG]


def test_client_that_leaves_a_large_answer_frees_it(serve):
    server = serve(on_http(lambda conn, msg: conn.reply(200, BIG * 10)), listen={"compress": True})
    for _ in range(3):
        with server.connect() as sock:
            sock.sendall(f"GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: {FIRST}\r\n\r\n".encode())
            assert sock.recv(4) == b"HTTP"
    assert decoded(ask(server, FIRST)) == BIG * 10


def test_others_are_answered_while_a_large_body_is_compressed(serve):
    """One piece in a turn: a second request does not wait for the end of the first answer."""
    huge = random.Random(2).randbytes(24 << 20)

    def handle(conn, msg):
        conn.reply(200, huge if msg.uri == "/huge" else b"ok", {"Content-Type": "text/plain"})

    server = serve(on_http(handle), listen={"compress": True})
    with server.connect() as slow, server.connect() as quick:
        slow.sendall(f"GET /huge HTTP/1.1\r\nHost: a\r\nAccept-Encoding: {FIRST}\r\n\r\n".encode())
        assert slow.recv(4) == b"HTTP"
        quick.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert read_answer(quick)[0].body == b"ok"
        assert server.mgr.stats().bytes_out < len(huge)  # the large one is still under way


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"codings": ["deflate"]}, ValueError),
        ({"codings": "gzip"}, (TypeError, ValueError)),
        ({"codings": [FIRST, FIRST]}, ValueError),
        ({"types": "text/*"}, TypeError),
        ({"types": ["Text/HTML, x"]}, ValueError),
        ({"min_size": -1}, ValueError),
        ({"levels": {"deflate": 1}}, ValueError),
    ],
)
def test_wrong_settings_are_refused(options, error):
    with pytest.raises(error):
        Compression(**options)


@pytest.mark.parametrize(
    "options", [{"min_size": 1 << 70}, {"whole_max": 1.5}, {"levels": {FIRST: 1 << 40}}]
)
def test_settings_out_of_range_leave_no_listener_behind(options):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with Manager(lambda *_: None) as mgr:
        with pytest.raises(ValueError, match="out of range"):
            mgr.listen(f"http://127.0.0.1:{port}", compress=Compression(**options))
        mgr.poll(0)
        with socket.socket() as other:
            other.bind(("127.0.0.1", port))


def test_compression_belongs_to_http():
    with Manager() as mgr:
        with pytest.raises(ValueError, match="compress"):
            mgr.listen("tcp://127.0.0.1:0", compress=True)
        with pytest.raises(TypeError, match="compress"):
            mgr.listen("http://127.0.0.1:0", compress="gzip")
