"""A client that has shut down its writing side: gone by default, as for most servers, or still to be answered (Limits.half_close)."""

from __future__ import annotations

import socket
import struct
import threading
from typing import Any

import pytest
from conftest import DEADLINE, Until, eventually, on_http, parse_all, read_all, read_answer

from pymongoose import MG_EV_CLOSE, MG_EV_HTTP_MSG, Limits

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
OPEN = {"limits": Limits(half_close=True)}


class Jobs:
    """A server whose answers take as long as the test wants; each waits for `go`."""

    def __init__(self, serve: Any, url: str = "http://127.0.0.1:0", **listen: Any) -> None:
        self.started, self.go, self.closed = threading.Semaphore(0), threading.Event(), Until()
        self.server = serve(self.handle, url, listen=listen, workers=4)

    def work(self) -> bytes:
        self.started.release()
        assert self.go.wait(DEADLINE)
        return b"done"

    def handle(self, conn: Any, ev: int, data: Any) -> None:
        if ev == MG_EV_HTTP_MSG:
            conn.offload(self.work)
        elif ev == MG_EV_CLOSE and not conn.is_listening:
            self.closed.set()

    def ask(self, sock: socket.socket, n: int = 1) -> None:
        sock.sendall(GET * n)
        for _ in range(n):
            assert self.started.acquire(timeout=DEADLINE)


def test_by_default_the_end_of_input_is_the_end_of_the_client(serve):
    jobs = Jobs(serve)
    with jobs.server.connect() as sock:
        jobs.ask(sock)
        sock.shutdown(socket.SHUT_WR)
        jobs.closed.get()
        assert read_all(sock) == b""
    jobs.go.set()


@pytest.mark.parametrize("n", [1, 3])
def test_answers_that_were_asked_for_are_still_sent(serve, n):
    jobs = Jobs(serve, **OPEN)
    with jobs.server.connect() as sock:
        jobs.ask(sock, n)
        sock.shutdown(socket.SHUT_WR)
        turns = jobs.server.mgr.stats().turns
        jobs.server.mgr.call(lambda: None)
        eventually(lambda: jobs.server.mgr.stats().turns > turns)
        jobs.go.set()
        assert [a.body for a in parse_all(read_all(sock))] == [b"done"] * n
    jobs.closed.get()


def test_more_requests_than_may_wait_are_answered_too(serve):
    jobs = Jobs(serve, limits=Limits(half_close=True, max_pipeline=2))
    with jobs.server.connect() as sock:
        sock.sendall(GET * 9)
        sock.shutdown(socket.SHUT_WR)
        jobs.go.set()
        assert len(parse_all(read_all(sock))) == 9


def test_a_stream_goes_on(serve):
    bodies = Until()
    server = serve(on_http(lambda conn, msg: bodies.set(conn.start_response(200))), listen=OPEN)
    with server.connect() as sock:
        sock.sendall(GET)
        body, got = bodies.get(), b""
        sock.shutdown(socket.SHUT_WR)
        for piece in (b"one", b"two"):
            done = Until()
            server.mgr.call(lambda piece=piece, done=done: done.set(body.write(piece)))
            done.get()
            while piece not in got:
                got += sock.recv(1000)
        server.mgr.call(body.end)
        assert (got + read_all(sock)).endswith(b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n")


def test_a_request_that_is_not_whole_is_given_up_at_once(serve):
    server = serve(on_http(lambda conn, msg: conn.reply(200)), listen=OPEN)
    for said in (b"GET / HT", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhal"):
        assert server.talk(said, half_close=True) == b""


def test_an_idle_client_that_ends_is_let_go(serve):
    closed = Until()

    def handler(conn: Any, ev: int, data: Any) -> None:
        if ev == MG_EV_HTTP_MSG:
            conn.reply(200)
        elif ev == MG_EV_CLOSE:
            closed.set()

    server = serve(handler, listen=OPEN)
    with server.connect() as sock:
        sock.sendall(GET)
        read_answer(sock)
        sock.shutdown(socket.SHUT_WR)
        assert read_all(sock) == b""
        closed.get()


@pytest.mark.parametrize("first", ["end", "nothing"])
def test_a_reset_ends_the_jobs(serve, first):
    """Whoever is gone altogether is told from who only stopped sending."""
    jobs = Jobs(serve, **OPEN)
    sock = jobs.server.connect()
    jobs.ask(sock)
    if first == "end":
        turns = jobs.server.mgr.stats().turns
        sock.shutdown(socket.SHUT_WR)
        eventually(lambda: jobs.server.mgr.stats().turns > turns)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()
    jobs.closed.get()
    jobs.go.set()


def test_a_unix_client_that_closes_is_gone(serve, tmp_path):
    """There the kernel tells a whole end from a half one."""
    jobs = Jobs(serve, f"http+unix://{tmp_path}/sock", **OPEN)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(DEADLINE)
        sock.connect(str(tmp_path / "sock"))
        jobs.ask(sock)
    jobs.closed.get()
    jobs.go.set()


def test_waiting_for_an_answer_costs_no_turns(serve):
    jobs = Jobs(serve, **OPEN)
    with jobs.server.connect() as sock:
        jobs.ask(sock)
        sock.shutdown(socket.SHUT_WR)
        asked = Until()
        jobs.server.mgr.call(lambda: asked.set(jobs.server.mgr.stats().turns))
        before = asked.get()
        other = jobs.server.connect()  # something to wait for that takes some turns, not thousands
        jobs.ask(other)
        jobs.go.set()
        assert parse_all(read_all(sock))[0].body == b"done"
        other.close()
        assert jobs.server.mgr.stats().turns - before < 100
