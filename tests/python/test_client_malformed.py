"""Manager.request() against servers that answer wrongly, slowly, or not at all. The peer is a plain socket with a script."""

from __future__ import annotations

import contextlib
import gzip
import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from conftest import DEADLINE, Served

from pymongoose import (
    ClientLimits,
    ConnectionClosed,
    Manager,
    ProtocolError,
    TimedOut,
    TooBig,
)
from pymongoose._decoding import Decoder

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def request_of(sock: socket.socket) -> bytes:
    """The head of one request, and its body when it is counted and here."""
    got = b""
    while b"\r\n\r\n" not in got:
        part = sock.recv(65536)
        if not part:
            raise ConnectionError
        got += part
    return got


class Peer:
    """Serves each connection with the next script, a function of its socket; the last one again and again."""

    def __init__(self, *scripts: Callable[[socket.socket], object]) -> None:
        self.sock = socket.create_server(("127.0.0.1", 0))
        self.scripts = list(scripts)
        self.accepted = 0
        self.requests: list[bytes] = []
        threading.Thread(target=self._run, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.sock.getsockname()[1]}"

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self.sock.accept()
                self.accepted += 1
                script = self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0]
                threading.Thread(target=self._serve, args=(sock, script), daemon=True).start()

    def _serve(self, sock: socket.socket, script: Callable[[socket.socket], object]) -> None:
        with sock, contextlib.suppress(OSError):
            sock.settimeout(DEADLINE)
            script(sock)


def answers(*pieces: bytes, stay: bool = False, times: int = 1) -> Callable[[socket.socket], None]:
    """Say all pieces for each request; then close, or stay until the client goes."""

    def script(sock: socket.socket) -> None:
        for _ in range(times):
            request_of(sock)
            for piece in pieces:
                sock.sendall(piece)
        if stay:
            while sock.recv(65536):
                pass

    return script


@pytest.fixture
def peer() -> Iterator[Callable[..., Peer]]:
    made: list[Peer] = []

    def make(*scripts: Callable[[socket.socket], object]) -> Peer:
        made.append(Peer(*scripts))
        return made[-1]

    yield make
    for it in made:
        it.sock.close()


@pytest.fixture
def mgr(serve: Callable[..., Served]) -> Manager:
    return serve(None, None).mgr


WRONG = {
    "truncated length": (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", ConnectionClosed),
    "truncated chunks": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        ConnectionClosed,
    ),
    "truncated last chunk": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\n",
        ConnectionClosed,
    ),
    "truncated head": (b"HTTP/1.1 200 OK\r\nContent-", ConnectionClosed),
    "nothing": (b"", ConnectionClosed),
    "bad chunk size": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        ProtocolError,
    ),
    "bad chunk end": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nokXX0\r\n\r\n",
        ProtocolError,
    ),
    "no HTTP": (b"220 smtp.example ESMTP\r\n", ProtocolError),
    "two lengths": (
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
        ProtocolError,
    ),
    "length and chunks": (
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ProtocolError,
    ),
    "negative length": (b"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nok", ProtocolError),
    "huge header": (b"HTTP/1.1 200 OK\r\nX: " + b"a" * 70_000, TooBig),
    "many headers": (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 101 + b"\r\n", TooBig),
    "interim storm": (b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n" * 1000, ProtocolError),
    "unasked upgrade": (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        ProtocolError,
    ),
    "broken gzip": (
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nnope",
        ProtocolError,
    ),
}


@pytest.mark.parametrize("how", ["collected", "streamed"])
@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_answer_is_an_error_of_its_kind(
    peer: Callable[..., Peer], mgr: Manager, name: str, how: str
) -> None:
    data, kind = WRONG[name]
    got: list[bytes] = []
    told: list[Any] = []
    asked = mgr.request(
        "GET",
        peer(answers(data)).url,
        on_data=got.append if how == "streamed" else None,
        then=told.append,
    )
    error = asked.exception(DEADLINE)
    assert type(error) is kind, error
    mgr.request("GET", peer(answers(OK)).url).result(DEADLINE)  # whatever would come twice has come
    assert [r.error for r in told] == [error]
    assert told[0].body_bytes == b""
    assert b"".join(got) in (b"", b"half", b"ok")


def test_a_body_until_the_close_is_whole_only_then(peer: Callable[..., Peer], mgr: Manager) -> None:
    it = peer(answers(b"HTTP/1.0 200 OK\r\n\r\nhello ", b"world"))
    assert mgr.request("GET", it.url).result(DEADLINE).text == "hello world"

    def reset(sock: socket.socket) -> None:
        request_of(sock)
        sock.sendall(b"HTTP/1.0 200 OK\r\n\r\nhello ")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    error = mgr.request("GET", peer(reset).url).exception(DEADLINE)
    assert isinstance(error, ConnectionClosed)


def test_interim_responses_are_skipped(peer: Callable[..., Peer], mgr: Manager) -> None:
    interim = b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n"
    it = peer(answers(interim, interim, OK))
    resp = mgr.request("GET", it.url).result(DEADLINE)
    assert (resp.status, resp.text, resp.header("link")) == (200, "ok", None)


def test_a_slow_drip_ends_with_the_total_time(peer: Callable[..., Peer], mgr: Manager) -> None:
    def drip(sock: socket.socket) -> None:
        request_of(sock)
        sock.sendall(b"HTTP/1.1 200 OK\r\nX: ")
        while True:
            sock.sendall(b"a")
            time.sleep(0.01)  # the pace of the peer; nobody waits for it

    error = mgr.request("GET", peer(drip).url, timeout=0.3, read_timeout=10).exception(DEADLINE)
    assert isinstance(error, TimedOut)


def test_a_server_that_falls_silent_meets_the_read_timeout(
    peer: Callable[..., Peer], mgr: Manager
) -> None:
    for said in (b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"):
        it = peer(answers(said, stay=True))
        error = mgr.request("GET", it.url, timeout=None, read_timeout=0.1).exception(DEADLINE)
        assert isinstance(error, TimedOut)


def test_an_answer_before_the_request_is_whole_counts(
    peer: Callable[..., Peer], mgr: Manager
) -> None:
    def refuse(sock: socket.socket) -> None:
        request_of(sock)
        sock.sendall(
            b"HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 3\r\n\r\nbig"
        )

    it = peer(refuse)
    body = (b"x" * 65536 for _ in range(1000))
    resp = mgr.request("POST", it.url, body=body).result(DEADLINE)
    assert (resp.status, resp.text) == (413, "big")
    assert mgr.request("POST", it.url, body=b"x" * (32 << 20)).result(DEADLINE).status == 413


def test_bytes_behind_an_answer_are_nobodys_answer(peer: Callable[..., Peer], mgr: Manager) -> None:
    """What comes behind a response must not be taken for the answer to the next request (desynchronisation)."""
    extra = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
    it = peer(answers(OK + extra, stay=True), answers(OK, stay=True))
    assert mgr.request("GET", it.url).result(DEADLINE).text == "ok"
    assert mgr.request("GET", it.url).result(DEADLINE).text == "ok"
    assert it.accepted == 2


def test_bytes_that_come_later_are_nobodys_answer_either(
    peer: Callable[..., Peer], mgr: Manager
) -> None:
    more, said = threading.Event(), threading.Event()

    def script(sock: socket.socket) -> None:
        request_of(sock)
        sock.sendall(OK)
        more.wait(DEADLINE)
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
        said.set()
        while sock.recv(65536):
            pass

    it = peer(script, answers(OK, stay=True))
    assert mgr.request("GET", it.url).result(DEADLINE).text == "ok"
    more.set()
    assert said.wait(DEADLINE)
    assert mgr.request("GET", it.url).result(DEADLINE).text == "ok"


def once_then_gone(sock: socket.socket) -> None:
    """Answer one request, and close the connection when the second one is here."""
    request_of(sock)
    sock.sendall(OK)
    request_of(sock)


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_a_kept_connection_that_died_is_replaced_once(
    peer: Callable[..., Peer], mgr: Manager, method: str
) -> None:
    it = peer(once_then_gone, answers(OK, stay=True))
    assert mgr.request("GET", it.url).result(DEADLINE).ok
    assert mgr.request(method, it.url, body=b"").result(DEADLINE).text == "ok"
    assert it.accepted == 2


def test_what_is_not_idempotent_is_not_repeated(peer: Callable[..., Peer], mgr: Manager) -> None:
    it = peer(once_then_gone)
    assert mgr.request("GET", it.url).result(DEADLINE).ok
    error = mgr.request("POST", it.url, body=b"pay").exception(DEADLINE)
    assert isinstance(error, ConnectionClosed)
    assert it.accepted == 1


def test_a_new_connection_that_dies_is_not_retried(peer: Callable[..., Peer], mgr: Manager) -> None:
    it = peer(lambda sock: request_of(sock))
    assert isinstance(mgr.request("GET", it.url).exception(DEADLINE), ConnectionClosed)
    assert it.accepted == 1


def test_a_retry_is_done_once(peer: Callable[..., Peer], mgr: Manager) -> None:
    it = peer(once_then_gone, lambda sock: request_of(sock))
    assert mgr.request("GET", it.url).result(DEADLINE).ok
    assert isinstance(mgr.request("GET", it.url).exception(DEADLINE), ConnectionClosed)
    assert it.accepted == 2


def test_connection_close_is_heeded(peer: Callable[..., Peer], mgr: Manager) -> None:
    it = peer(
        answers(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", times=9)
    )
    for _ in range(3):
        assert mgr.request("GET", it.url).result(DEADLINE).ok
    assert it.accepted == 3


def test_one_dead_connection_does_not_stop_those_who_wait(
    peer: Callable[..., Peer], serve: Callable[..., Served]
) -> None:
    mgr = serve(None, None, client=ClientLimits(max_per_origin=1)).mgr
    it = peer(lambda sock: request_of(sock), answers(OK, stay=True, times=9))
    asked = [mgr.request("GET", it.url) for _ in range(4)]
    assert isinstance(asked[0].exception(DEADLINE), ConnectionClosed)
    assert [r.result(DEADLINE).text for r in asked[1:]] == ["ok"] * 3


# -- 100 Continue --


def test_the_body_waits_for_100_continue(peer: Callable[..., Peer], mgr: Manager) -> None:
    seen: list[bytes] = []

    def script(sock: socket.socket) -> None:
        seen.append(request_of(sock))
        sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        seen.append(sock.recv(100))
        sock.sendall(OK)

    it = peer(script)
    resp = mgr.request("POST", it.url, body=b"hello", headers={"Expect": "100-continue"})
    assert resp.result(DEADLINE).text == "ok"
    assert seen[0].endswith(b"\r\n\r\n")
    assert seen[1] == b"hello"


def test_a_body_that_is_not_wanted_is_not_sent(peer: Callable[..., Peer], mgr: Manager) -> None:
    seen: list[bytes] = []

    def script(sock: socket.socket) -> None:
        request_of(sock)
        sock.sendall(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")
        seen.append(sock.recv(100))

    it = peer(script)
    resp = mgr.request("POST", it.url, body=b"hello", headers={"Expect": "100-continue"})
    assert resp.result(DEADLINE).status == 401
    mgr.request("GET", peer(answers(OK)).url).result(DEADLINE)
    assert seen in ([], [b""])  # closed, and nothing came


# -- content codings --


def coded(coding: bytes, body: bytes) -> bytes:
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: %s\r\nContent-Length: %d\r\n\r\n"
    return head % (coding, len(body)) + body


def raw_deflate(data: bytes) -> bytes:
    z = zlib.compressobj(wbits=-15)
    return z.compress(data) + z.flush()


TEXT = b"some text, " * 5000


def codings() -> list[tuple[bytes, bytes]]:
    found = [
        (b"gzip", gzip.compress(TEXT)),
        (b"x-gzip", gzip.compress(TEXT)),
        (b"gzip", gzip.compress(TEXT[:100]) + gzip.compress(TEXT[100:])),
        (b"deflate", zlib.compress(TEXT)),
        (b"deflate", raw_deflate(TEXT)),
        (b"identity", TEXT),
        (b"gzip, deflate", zlib.compress(gzip.compress(TEXT))),
    ]
    with contextlib.suppress(ImportError):
        import brotli

        brotli.Decompressor().process(b"", output_buffer_limit=1)
        found.append((b"br", brotli.compress(TEXT)))
    with contextlib.suppress(ImportError):
        import zstandard

        found.append((b"zstd", zstandard.compress(TEXT)))
    return found


@pytest.mark.parametrize(("coding", "body"), codings(), ids=lambda v: v[:20].hex())
def test_content_codings_are_undone(
    peer: Callable[..., Peer], mgr: Manager, coding: bytes, body: bytes
) -> None:
    it = peer(answers(coded(coding, body), stay=True))
    assert mgr.request("GET", it.url).result(DEADLINE).body == TEXT
    got: list[bytes] = []
    cut = [coded(coding, body)[i : i + 7] for i in range(0, len(coded(coding, body)), 7)]
    mgr.request("GET", peer(answers(*cut, stay=True)).url, on_data=got.append).result(DEADLINE)
    assert b"".join(got) == TEXT


def test_an_unknown_coding_is_given_as_it_is(peer: Callable[..., Peer], mgr: Manager) -> None:
    resp = mgr.request("GET", peer(answers(coded(b"rot13", b"uryyb"))).url).result(DEADLINE)
    assert resp.body == b"uryyb"


@pytest.mark.parametrize(
    "coding", [c for c in codings() if c[0] != b"identity"], ids=lambda c: c[0].decode()
)
def test_a_compressed_body_that_is_cut_is_an_error(
    peer: Callable[..., Peer], mgr: Manager, coding: tuple[bytes, bytes]
) -> None:
    it = peer(answers(coded(coding[0], coding[1][:-6])))
    assert isinstance(mgr.request("GET", it.url).exception(DEADLINE), ProtocolError)


def test_a_bomb_is_defused(peer: Callable[..., Peer], mgr: Manager) -> None:
    bomb = gzip.compress(b"\0" * (200 << 20))
    it = peer(answers(coded(b"gzip", bomb), stay=True))
    assert isinstance(mgr.request("GET", it.url, max_body=1 << 20).exception(DEADLINE), TooBig)
    got: list[int] = []
    error = mgr.request("GET", it.url, on_data=lambda p: got.append(len(p))).exception(DEADLINE)
    assert isinstance(error, TooBig)
    assert sum(got) < 16 << 20
    assert max(got) <= 256 << 10


@pytest.mark.parametrize("coding", [b"deflate, gzip", b"gzip, gzip"])
def test_a_bomb_that_a_second_coding_swallows_is_defused(
    peer: Callable[..., Peer], mgr: Manager, coding: bytes
) -> None:
    """What comes out of the inner coding counts, even when nothing of it comes out at the end."""
    swallowed = zlib.compress(b"") if coding.startswith(b"deflate") else gzip.compress(b"")
    bomb = gzip.compress(swallowed + b"\0" * (64 << 20))
    it = peer(answers(coded(coding, bomb), stay=True))
    error = mgr.request("GET", it.url, max_body=1 << 20).exception(DEADLINE)
    assert isinstance(error, TooBig)
    it = peer(answers(coded(coding, bomb), stay=True))
    assert isinstance(mgr.request("GET", it.url, on_data=len).exception(DEADLINE), TooBig)


def test_work_is_in_proportion_to_a_compressed_body() -> None:
    """Each member of a gzip stream once cost a copy of all that followed."""

    fed: list[int] = []
    coding = Decoder(["gzip"], 0)
    step = coding._chain[0].feed

    def feed(data: bytes) -> Iterator[bytes]:
        fed.append(len(data))
        return step(data)

    coding._chain[0].feed = feed  # type: ignore[method-assign]
    members = gzip.compress(b"") * 20_000
    assert b"".join(coding.feed(members)) == b""
    coding.end()
    assert sum(fed) == len(members)
    assert max(fed) <= 16 << 10
