"""For tests of TLS: options and contexts of test certificates, a connection by Python's ssl, a handler that keeps what it is told."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path
from typing import Any

import pytest
from conftest import DEADLINE, Until

from pymongoose import (
    MG_EV_CLOSE,
    MG_EV_ERROR,
    TlsOpts,
    event_name,
)

pytest.importorskip("cryptography")
import certs

URL = "https://127.0.0.1:0"


def opts(leaf: certs.Leaf | None = None, **more: Any) -> TlsOpts:
    leaf = leaf or certs.server()
    return TlsOpts(cert=leaf.pem, key=leaf.key_pem, **more)


def context(
    ca: certs.Authority | None = None, leaf: certs.Leaf | None = None, tmp: Path | None = None
) -> ssl.SSLContext:
    ctx = ssl.create_default_context(cadata=(ca or certs.root()).pem.decode())
    if leaf is not None:
        assert tmp is not None
        (tmp / "client.pem").write_bytes(leaf.pem + leaf.key_pem)
        ctx.load_cert_chain(tmp / "client.pem")
    return ctx


def dial(
    port: int, ctx: ssl.SSLContext | None = None, name: str = "localhost", **how: Any
) -> ssl.SSLSocket:
    raw = socket.create_connection(("127.0.0.1", port), DEADLINE)
    try:
        return (ctx or context()).wrap_socket(raw, server_hostname=name, **how)
    except BaseException:
        raw.close()
        raise


def request(
    target: str = "/", *, close: bool = False, body: bytes = b"", method: str = "GET"
) -> bytes:
    head = f"{method} {target} HTTP/1.1\r\nHost: localhost\r\n"
    if body:
        head += f"Content-Length: {len(body)}\r\n"
    return (head + ("Connection: close\r\n" if close else "") + "\r\n").encode() + body


def echo(conn: Any, message: Any) -> None:
    conn.reply(200, message.body_bytes or b"hello")


class Events:
    """A handler that keeps what it is told, and passes on."""

    def __init__(self, then: Any = None) -> None:
        self.seen: list[tuple[str, Any]] = []
        self.then = then
        self.closed = Until()

    def __call__(self, conn: Any, ev: int, data: Any) -> None:
        if conn.is_listening:
            return
        self.seen.append((event_name(ev), data if ev == MG_EV_ERROR else None))
        if self.then is not None:
            self.then(conn, ev, data)
        if ev == MG_EV_CLOSE:
            self.closed.set()

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.seen]

    @property
    def errors(self) -> list[str]:
        return [text for name, text in self.seen if name == "MG_EV_ERROR"]
