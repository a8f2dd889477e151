"""Ways to a syslog receiver: UDP (RFC 5426), TCP (RFC 6587), TLS (RFC 5425), Unix sockets. Blocking; for one thread, but for abort()."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import socket
import ssl
import struct
import sys
import termios
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

PORTS = {"udp": 514, "tcp": 601, "tls": 6514}
LOOKS = (0.0002, 0.02)  # seconds between looks whether all was taken, shortest and longest


@dataclass(frozen=True)
class Address:
    """Where the receiver is: scheme udp, tcp, tls or unix; host and port, or path."""

    scheme: str
    host: str = ""
    port: int = 0
    path: str = ""


def a_context(name: str, value: Any) -> ssl.SSLContext:
    """The context given, or one that verifies by the system's authorities."""
    if value is None:
        return ssl.create_default_context()
    if not isinstance(value, ssl.SSLContext):
        raise TypeError(f"{name} must be an ssl.SSLContext, not {type(value).__name__}")
    return value


def parse_address(address: Any) -> Address:
    """`udp://host:port`, `tcp://…`, `tls://…` or `unix:/path`. ValueError: it is none of them."""
    if not isinstance(address, str):
        raise TypeError(f"address must be str, not {type(address).__name__}")
    wrong = f"address must be udp://host, tcp://host, tls://host, each with or without :port, or unix:/path, not {address!r}"
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError:
        raise ValueError(wrong) from None
    if parts.scheme == "unix":
        if parts.netloc or not parts.path.startswith("/") or parts.query or parts.fragment:
            raise ValueError(wrong)
        return Address("unix", path=parts.path)
    if (
        parts.scheme not in PORTS
        or not parts.hostname
        or parts.path not in ("", "/")
        or parts.query
        or parts.fragment
        or parts.username is not None
    ):
        raise ValueError(wrong)
    return Address(parts.scheme, parts.hostname, PORTS[parts.scheme] if port is None else port)


class Wire:
    """One connection, made when it is needed.

    Args:
        address: of the receiver.
        framing: on streams: "octets" writes the length before each message, "lines" a line's end behind it.
        tls: context for the scheme tls. server_name: the name to verify, if not the host.
        timeout: seconds for connecting, and for sending a batch.
    """

    def __init__(
        self,
        address: Address,
        framing: Literal["octets", "lines"],
        tls: ssl.SSLContext | None,
        server_name: str | None,
        timeout: float,
    ) -> None:
        self.address = address
        self._framing = framing
        self._tls = tls
        self._server_name = server_name
        self._timeout = timeout
        self._sock: socket.socket | None = None
        self._stream = False

    def send(self, messages: Sequence[bytes]) -> dict[int, str]:
        """Hand all messages over. Returns which are too long for a datagram here, and never go. OSError: some may have arrived, and some not."""
        try:
            if self._sock is None or (self._stream and _is_over(self._sock)):
                self.close()
                self._connect()
            if self._stream:
                self._send_stream(messages)
                return {}
            return self._send_datagrams(messages)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        sock, self._sock = self._sock, None
        if sock is not None:
            sock.close()

    def abort(self) -> None:
        """End a call that waits, from any thread."""
        sock = self._sock
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def _connect(self) -> None:
        where = self.address
        if where.scheme == "unix":
            self._sock, self._stream = self._connect_unix(where.path)
            return
        self._stream = where.scheme != "udp"
        if not self._stream:
            self._sock = self._connect_udp()
            return
        sock = socket.create_connection((where.host, where.port), self._timeout)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            if self._tls is not None:
                sock = self._tls.wrap_socket(sock, server_hostname=self._server_name or where.host)
        except BaseException:
            sock.close()
            raise
        self._sock = sock

    def _connect_udp(self) -> socket.socket:
        where = self.address
        failure: OSError | None = None
        for family, kind, proto, _, found in socket.getaddrinfo(
            where.host, where.port, type=socket.SOCK_DGRAM
        ):
            try:
                sock = socket.socket(family, kind, proto)
            except OSError as e:
                failure = e
                continue
            try:
                sock.settimeout(self._timeout)
                sock.connect(found)
                return sock
            except OSError as e:
                sock.close()
                failure = e
        raise failure or OSError(f"no address for {where.host}")

    def _connect_unix(self, path: str) -> tuple[socket.socket, bool]:
        """A datagram socket, as /dev/log is on most systems, or else a stream."""
        for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
            sock = socket.socket(socket.AF_UNIX, kind)
            try:
                sock.settimeout(self._timeout)
                sock.connect(path)
                return sock, kind == socket.SOCK_STREAM
            except OSError as e:
                sock.close()
                if e.errno != errno.EPROTOTYPE or kind == socket.SOCK_STREAM:
                    raise
        raise AssertionError  # one of the two returned or raised

    def _send_datagrams(self, messages: Sequence[bytes]) -> dict[int, str]:
        assert self._sock is not None
        send = self._sock.send
        refused = {}
        for i, message in enumerate(messages):
            try:
                send(message)
            except OSError as e:
                if e.errno != errno.EMSGSIZE:
                    raise
                refused[i] = f"{len(message)} bytes are too much for a datagram here"
        return refused

    def _send_stream(self, messages: Sequence[bytes]) -> None:
        sock = self._sock
        assert sock is not None
        if self._framing == "octets":
            data = b"".join([b"%d %b" % (len(m), m) for m in messages])
        else:
            data = b"".join([m.replace(b"\n", b" ") + b"\n" for m in messages])
        sock.settimeout(self._timeout)
        sock.sendall(data)
        self._wait_until_taken(sock)

    def _wait_until_taken(self, sock: socket.socket) -> None:
        """Syslog has no acknowledgement; that of TCP is the nearest thing: the receiver's machine has it, or (Unix) its program."""
        if sys.platform != "linux":
            return
        end = time.monotonic() + self._timeout
        pause = LOOKS[0]
        while True:
            (waiting,) = struct.unpack("i", fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, b"\0" * 4))
            if not waiting:
                return
            if _is_over(sock):
                raise ConnectionResetError("the receiver closed in the middle of a batch")
            if time.monotonic() > end:
                raise TimeoutError("the receiver takes nothing")
            time.sleep(pause)
            pause = min(pause * 2, LOOKS[1])


def _is_over(sock: socket.socket) -> bool:
    """The peer has closed. What it says otherwise is read and forgotten: receivers have nothing to say."""
    sock.settimeout(0.0)
    try:
        while sock.recv(4096):
            pass
    except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
        return False
    except OSError:
        pass
    return True
