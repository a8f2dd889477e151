"""For tests of WebSocket: handlers, and a client made of raw bytes that does only what a test tells it to."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import struct
import threading
from collections.abc import Callable
from typing import Any

from conftest import DEADLINE, read_answer
from typing_extensions import Self
from websockets.sync.client import ClientConnection, connect

from pymongoose import (
    MG_EV_CLOSE,
    MG_EV_HTTP_MSG,
    MG_EV_WS_CTL,
    MG_EV_WS_MSG,
    MG_EV_WS_OPEN,
    Connection,
)

CONTINUE, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
RSV1 = 0x40

UPGRADE = (
    "GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
)
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # RFC 6455 1.3, for that key


class WsHandler:
    """Upgrades each request with ``upgrade``, then hands over what happens.

    Attributes:
        opened: connections, in the order of their MG_EV_WS_OPEN.
        closed: (ws_close_code, ws_close_reason) as MG_EV_CLOSE found them, of WebSocket connections.
        controls: (opcode, data) of MG_EV_WS_CTL.
    """

    def __init__(
        self,
        on_message: Callable[[Connection, Any], object] | None = None,
        on_open: Callable[[Connection], object] | None = None,
        **upgrade: Any,
    ) -> None:
        self.on_message, self.on_open, self.upgrade = on_message, on_open, upgrade
        self.opened: list[Connection] = []
        self.closed: list[tuple[int, str]] = []
        self.controls: list[tuple[int, bytes]] = []
        self.upgraded: list[bool] = []
        self.is_open, self.is_closed = threading.Event(), threading.Event()

    def __call__(self, conn: Connection, ev: int, data: Any) -> None:
        if ev == MG_EV_HTTP_MSG:
            self.upgraded.append(conn.ws_upgrade(data, **self.upgrade))
        elif ev == MG_EV_WS_OPEN:
            self.opened.append(conn)
            if self.on_open is not None:
                self.on_open(conn)
            self.is_open.set()
        elif ev == MG_EV_WS_MSG:
            if self.on_message is not None:
                self.on_message(conn, data)
        elif ev == MG_EV_WS_CTL:
            self.controls.append((data.opcode, data.data))
        elif ev == MG_EV_CLOSE and conn.is_websocket:
            self.closed.append((conn.ws_close_code, conn.ws_close_reason))
            self.is_closed.set()

    def wait_open(self) -> Connection:
        assert self.is_open.wait(DEADLINE), "no connection opened"
        return self.opened[-1]

    def wait_closed(self) -> tuple[int, str]:
        assert self.is_closed.wait(DEADLINE), "no connection closed"
        return self.closed[-1]


def echo(conn: Connection, msg: Any) -> None:
    conn.ws_send(msg)


def dial(port: int, path: str = "/", **options: Any) -> ClientConnection:
    """A client of the websockets package; no compression unless asked for."""
    options.setdefault("compression", None)
    options.setdefault("open_timeout", DEADLINE)
    options.setdefault("close_timeout", DEADLINE)
    options.setdefault("ping_interval", None)
    return connect(f"ws://127.0.0.1:{port}{path}", proxy=None, **options)


def frame(
    op: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0, mask: bool = True
) -> bytes:
    """One frame as a client sends it (RFC 6455 5.2)."""
    n, flag = len(payload), 0x80 if mask else 0
    head = bytes([(0x80 if fin else 0) | rsv | op])
    if n < 126:
        head += bytes([flag | n])
    elif n < 65536:
        head += bytes([flag | 126]) + struct.pack("!H", n)
    else:
        head += bytes([flag | 127]) + struct.pack("!Q", n)
    if not mask:
        return head + payload
    key = os.urandom(4)
    return head + key + bytes(b ^ key[i % 4] for i, b in enumerate(payload))


def text(size: int) -> str:
    """So many characters, some of two bytes, that do not compress beyond what a peer may do."""
    return "".join(f"{i} Zoë " for i in range(size // 6 + 1))[:size]


def binary(size: int) -> bytes:
    return random.Random(size).randbytes(size)


def close_payload(code: int, reason: str = "") -> bytes:
    return struct.pack("!H", code) + reason.encode()


class RawClient:
    """A WebSocket client without any behaviour of its own."""

    def __init__(
        self, port: int, *, headers: str = "", behind: bytes = b"", rcvbuf: int = 0
    ) -> None:
        self.sock = socket.socket()
        if rcvbuf:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        self.sock.settimeout(DEADLINE)
        self.sock.connect(("127.0.0.1", port))
        self.sock.sendall(UPGRADE.format(target="/", headers=headers).encode() + behind)
        self.answer, self.have = read_answer(self.sock)

    def send(self, *frames: bytes) -> None:
        self.sock.sendall(b"".join(frames))

    def _take(self, n: int) -> bytes:
        while len(self.have) < n:
            part = self.sock.recv(1 << 16)
            if not part:
                raise EOFError(f"{len(self.have)} of {n} bytes, then the end")
            self.have += part
        out, self.have = self.have[:n], self.have[n:]
        return out

    def recv(self) -> tuple[int, bytes]:
        """First byte and payload of the next frame; EOFError at the end."""
        first, length = self._take(2)
        assert length < 128, "a masked frame from the server"
        if length == 126:
            (length,) = struct.unpack("!H", self._take(2))
        elif length == 127:
            (length,) = struct.unpack("!Q", self._take(8))
        return first, self._take(length)

    def recv_close(self) -> tuple[int, str]:
        """The close frame that must come next, behind it the end of the connection."""
        first, payload = self.recv()
        assert first == 0x80 | CLOSE, (first, payload)
        code = struct.unpack("!H", payload[:2])[0] if payload else 1005
        with contextlib.suppress(OSError):
            self.send(frame(CLOSE, payload))
        with contextlib.suppress(ConnectionResetError):
            assert self.sock.recv(1) == b""
        return code, payload[2:].decode()

    def close(self) -> None:
        self.sock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
