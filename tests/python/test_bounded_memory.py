"""Clients that stop reading while the server goes on sending: what waits for them never exceeds Limits.send_max, whatever the protocol.

Bytes are counted, not seconds: after each refusal the loop writes what the system takes and sending is tried again, until nothing at all is
accepted any more.
"""

from __future__ import annotations

import os
import socket
import ssl

import pytest
from conftest import DEADLINE, Until
from ws_helpers import UPGRADE

from pymongoose import (
    MG_EV_ACCEPT,
    MG_EV_HTTP_MSG,
    MG_EV_TLS_HS,
    MG_EV_WS_OPEN,
    WEBSOCKET_OP_BINARY,
    WEBSOCKET_OP_CONTINUE,
    Limits,
    QueueFull,
    TlsOpts,
    WsLimits,
    build_info,
)

MOST = 512 << 10
FRAMING = 128  # bytes around the last piece that was accepted
KEPT = 24  # bytes that a message costs besides while it waits behind one in pieces
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
HELLO = {"tcp": b"", "chunked": GET, "length": GET, "sse": GET}
KINDS = ["tcp", "chunked", "length", "sse", "websocket", "pieces", "behind"]


def sender(kind, conn):
    """What sends a piece to conn, as this kind does it; called once the client is there."""
    if kind == "tcp":
        return conn.send
    if kind == "chunked":
        return conn.start_response(200).write
    if kind == "length":
        return conn.start_response(200, {"Content-Length": str(1 << 40)}).write
    if kind == "sse":
        stream = conn.start_sse(heartbeat=0)
        return lambda data: stream.send(data.decode())
    if kind == "websocket":
        return lambda data: conn.ws_send(data, WEBSOCKET_OP_BINARY)
    conn.ws_send(b"", WEBSOCKET_OP_BINARY, fin=False)
    if kind == "pieces":  # of one message without end
        return lambda data: conn.ws_send(data, WEBSOCKET_OP_CONTINUE, fin=False)
    return lambda data: conn.ws_send(data, WEBSOCKET_OP_BINARY)  # whole ones, behind it


class Lazy:
    """A server of one kind, and clients that do not read."""

    def __init__(self, serve, kind, tls, **limits):
        self.kind, self.tls = kind, tls
        self.is_web_socket = kind in ("websocket", "pieces", "behind")
        self.waiting = Until()
        listen = {"limits": Limits(send_max=MOST, send_timeout=0, **limits)}
        if tls:
            import certs

            leaf = certs.server()
            listen["tls"] = TlsOpts(cert=leaf.pem, key=leaf.key_pem)
            self.context = ssl.create_default_context(cadata=certs.root().pem.decode())
        scheme = {("tcp", False): "tcp", ("tcp", True): "tls"}.get(
            (kind, tls), "https" if tls else "http"
        )
        self.server = serve(self.handler, f"{scheme}://127.0.0.1:0", listen=listen)

    def handler(self, conn, ev, data):
        if ev == MG_EV_HTTP_MSG and self.is_web_socket:
            conn.ws_upgrade(data)
        elif self.kind == "tcp":
            if ev == (MG_EV_TLS_HS if self.tls else MG_EV_ACCEPT):
                self.waiting.set(conn)
        elif ev == (MG_EV_WS_OPEN if self.is_web_socket else MG_EV_HTTP_MSG):
            self.waiting.set((conn, sender(self.kind, conn)))

    def client(self):
        """A socket that will not read, and the (connection, function that sends) of its other end."""
        self.waiting = Until()
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.settimeout(DEADLINE)
        sock.connect(("127.0.0.1", self.server.port))
        if self.tls:
            sock = self.context.wrap_socket(sock, server_hostname="localhost")
        hello = UPGRADE.format(target="/", headers="").encode() if self.is_web_socket else None
        sock.sendall(hello or HELLO[self.kind])
        got = self.waiting.get()
        return sock, (got if isinstance(got, tuple) else (got, got.send))

    def flood(self, conn, send, piece):
        """(most that waited, bytes accepted) when nothing more is taken; the loop writes between the rounds."""
        worst, accepted = 0, 0
        while True:
            done = Until()

            def once(done=done):
                n, most = 0, 0
                while True:
                    try:
                        send(piece)
                    except QueueFull:
                        break
                    n += len(piece)
                    most = max(most, conn.send_len)
                done.set((n, most))

            self.server.mgr.call(once)
            n, most = done.get()
            worst, accepted = max(worst, most), accepted + n
            if n == 0:
                return worst, accepted


def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


tls = pytest.mark.parametrize(
    "tls",
    [
        False,
        pytest.param(
            True, marks=pytest.mark.skipif(not build_info()["tls"], reason="a build without TLS")
        ),
    ],
    ids=["plain", "tls"],
)


@tls
@pytest.mark.parametrize("size", [1, 20_000])
@pytest.mark.parametrize("kind", KINDS)
def test_what_waits_for_a_client_that_does_not_read_is_bounded(serve, kind, tls, size):
    lazy = Lazy(serve, kind, tls)
    sock, (conn, send) = lazy.client()
    with sock:
        worst, accepted = lazy.flood(conn, send, b"x" * size)
        assert worst <= MOST + FRAMING
        if (
            kind == "behind"
        ):  # nothing of it leaves; each message costs what it takes to remember it
            assert MOST // 2 < accepted // size * (size + KEPT) <= MOST
        else:
            assert worst > MOST // 2


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="wants Linux's /proc")
@tls
@pytest.mark.parametrize("kind", KINDS)
def test_a_crowd_that_does_not_read_costs_what_the_limits_say(serve, kind, tls):
    crowd, size, tries = 16, 20_000, 16
    lazy = Lazy(serve, kind, tls)
    before, socks = resident(), []
    try:
        for _ in range(crowd):
            sock, (conn, send) = lazy.client()
            socks.append(sock)
            lazy.flood(conn, send, b"x" * size)
            done = Until()

            def insist(send=send, done=done):  # what is refused leaves nothing behind
                for _ in range(tries):
                    with pytest.raises(QueueFull):
                        send(bytes(MOST))
                done.set()

            lazy.server.mgr.call(insist)
            done.get()
        # Offered: 128 MiB and more. Buffers grow in steps, so that twice what is in them may be theirs.
        assert resident() - before < crowd * 2 * MOST + (24 << 20)
    finally:
        for sock in socks:
            sock.close()


@tls
@pytest.mark.parametrize("slow", ["drop", "close"])
def test_a_group_bounds_what_waits_for_a_member_that_does_not_read(serve, tls, slow):
    backlog, size = 256 << 10, 20_000
    lazy = Lazy(serve, "websocket", tls, ws=WsLimits(max_backlog=backlog, slow=slow))
    mgr = lazy.server.mgr
    sock, (conn, _) = lazy.client()
    with sock:
        done = Until()

        def join():
            conn.join("g")
            done.set()

        mgr.call(join)
        done.get()
        worst = 0
        while mgr.broadcast("g", b"x" * size, WEBSOCKET_OP_BINARY) == 1:
            worst = max(worst, conn.send_len)
        for _ in range(100):
            assert mgr.broadcast("g", b"x" * size, WEBSOCKET_OP_BINARY) == 0
        assert worst <= backlog + size + FRAMING
        assert conn.send_len <= backlog + size + FRAMING
        assert mgr.stats().ws_dropped == (101 if slow == "drop" else 0)


def test_a_client_that_reads_again_gets_all_that_was_accepted(serve):
    lazy = Lazy(serve, "tcp", False)
    sock, (conn, send) = lazy.client()
    with sock:
        _, accepted = lazy.flood(conn, send, b"x" * 1000)
        got = 0
        while got < accepted:
            part = sock.recv(1 << 16)
            assert part
            got += len(part)
        assert got == accepted
