"""What all tests share: a manager that runs in a thread, raw sockets with a deadline, a reader of HTTP answers.

Nothing here sleeps to synchronise. Whoever waits, waits for something (bytes, an end of file, an Event) until a deadline that only a broken
server meets.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from static_helpers import TEXT

import pymongoose
from pymongoose import Connection, Manager, WorkerPool
from pymongoose.sinks import _courier

DEADLINE = 15.0  # seconds after which a test gives up; never waited for when all is well


class Served:
    """A manager that polls in a thread of its own.

    Attributes:
        mgr, thread: the two.
        listener: the first listener, None when no URL was given.
        port: its port.
        errors: exceptions that handlers raised; the test takes out those it expects, the others fail it at the end.
    """

    def __init__(
        self, handler: Any, url: str | None, listen: dict[str, Any], options: dict[str, Any]
    ) -> None:
        self.errors: list[BaseException] = []
        self.failure: BaseException | None = None
        self._drain: float = options.pop("drain_timeout", 1.0)
        options.setdefault("error_handler", lambda exc: self.errors.append(exc))
        self.mgr = Manager(handler, **options)
        try:
            self.listener: Connection | None = (
                self.mgr.listen(url, **listen) if url is not None else None
            )
        except BaseException:
            self.mgr.close()
            raise
        self.thread = threading.Thread(target=self._run, name="served", daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            self.mgr.run(drain_timeout=self._drain)
        except BaseException as exc:  # noqa: BLE001  (told by stop())
            self.failure = exc

    @property
    def port(self) -> int:
        assert self.listener is not None
        assert self.listener.local_addr is not None
        return self.listener.local_addr[1]

    def listen(
        self, url: str = "http://127.0.0.1:0", handler: Any = None, **options: Any
    ) -> Connection:
        """One more listener."""
        return self.mgr.listen(url, handler, **options)

    def expect_error(self, kind: type[BaseException]) -> BaseException:
        """Take out the one error that happened; wait for nothing: call it when the answer was seen."""
        assert [type(e) for e in self.errors] == [kind], self.errors
        return self.errors.pop()

    def connect(self, timeout: float = DEADLINE) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout)

    def talk(self, data: bytes, **how: Any) -> bytes:
        return talk(self.port, data, **how)

    def get(self, target: str = "/", **how: Any) -> Answer:
        return get(self.port, target, **how)

    def stop(self) -> None:
        """End the loop and see that it ended by itself and without a complaint."""
        if self.thread.is_alive():
            self.mgr.stop()
        self.thread.join(DEADLINE)
        assert not self.thread.is_alive(), "the loop did not end"
        if self.failure is not None:
            raise self.failure


@pytest.fixture(autouse=True)
def complaints() -> None:
    """A test is not silent about what one before it complained about in the same second."""
    _courier._complained.clear()


@pytest.fixture
def serve() -> Iterator[Callable[..., Served]]:
    """serve(handler, url="http://127.0.0.1:0", *, listen={...}, **manager_options) -> Served, stopped at the end of the test.

    ``listen`` are further arguments of Manager.listen(), such as limits; ``url=None`` listens nowhere. Exceptions of handlers that the test
    did not take out of ``errors`` fail it. ``drain_timeout`` is that of run(), 1 second by default.
    """
    made: list[Served] = []

    def make(
        handler: Any = None,
        url: str | None = "http://127.0.0.1:0",
        *,
        listen: dict[str, Any] | None = None,
        **options: Any,
    ) -> Served:
        made.append(Served(handler, url, dict(listen or {}), options))
        return made[-1]

    yield make
    try:
        for server in made:
            server.stop()
    finally:
        for server in made:
            if server.thread.is_alive():
                server.mgr.stop()
    for server in made:
        assert server.errors == [], "exceptions in handlers"


@pytest.fixture
def apart(tmp_path: Path) -> list[str]:
    """Put before a command, lets it mount a file system that nobody else sees."""
    mount = ["mount", "-t", "tmpfs", "none", str(tmp_path)]
    for prefix in (["unshare", "-rm"], ["unshare", "-m"]):
        if subprocess.run([*prefix, *mount], check=False, capture_output=True).returncode == 0:
            return prefix
    pytest.skip("nobody may mount here, not even in a namespace of one's own")


# -- work for pools --


class Gate:
    """Work that says when it began and ends when it is told to."""

    def __init__(self) -> None:
        self.began, self.open = threading.Semaphore(0), threading.Event()
        self.done = 0

    def __call__(self, *args: object) -> str:
        self.began.release()
        assert self.open.wait(DEADLINE)
        self.done += 1
        return "gate"

    def wait(self) -> None:
        assert self.began.acquire(timeout=DEADLINE)


@pytest.fixture
def gate() -> Iterator[Gate]:
    g = Gate()
    yield g
    g.open.set()


@pytest.fixture
def pool() -> Iterator[Callable[..., WorkerPool]]:
    """pool(workers, ...) -> WorkerPool, shut down at the end."""
    with contextlib.ExitStack() as stack:
        yield lambda *a, **k: stack.enter_context(WorkerPool(*a, **k))


# -- raw sockets --


@dataclass
class Answer:
    """One HTTP response as it came over the wire."""

    status: int
    reason: str
    proto: str
    headers: list[tuple[str, str]]
    body: bytes
    raw: bytes = b""
    chunks: list[bytes] = field(default_factory=list)  # when it was chunked

    def header(self, name: str) -> str | None:
        found = self.all(name)
        assert len(found) < 2, f"{name} more than once: {found}"
        return found[0] if found else None

    def all(self, name: str) -> list[str]:
        return [v for n, v in self.headers if n.lower() == name.lower()]


class Cut(AssertionError):
    """The bytes end in the middle of a response."""


def parse(data: bytes, *, head: bool = False, closed: bool = True) -> tuple[Answer, bytes]:
    """Take one response off the front of data, strictly, and return it with the rest.

    head: it answers a HEAD request. closed: the peer closed behind data, so that a response without a length ends there. Raises Cut when
    there is not a whole response.
    """
    top, found, rest = data.partition(b"\r\n\r\n")
    if not found:
        raise Cut(f"no complete head: {data[:200]!r}")
    first, *lines = top.decode("latin-1").split("\r\n")
    proto, status, *reason = first.split(" ", 2)
    assert proto in ("HTTP/1.1", "HTTP/1.0"), first
    assert len(status) == 3, first
    headers = []
    for line in lines:
        name, colon, value = line.partition(":")
        assert colon, line
        assert name, line
        assert name.strip() == name, line
        headers.append((name, value.strip()))
    answer = Answer(int(status), reason[0] if reason else "", proto, headers, b"")
    coding, length = answer.header("Transfer-Encoding"), answer.header("Content-Length")
    assert coding is None or length is None, "Content-Length beside Transfer-Encoding"
    if head or answer.status in (204, 304) or answer.status < 200:
        pass
    elif coding is not None:
        assert coding == "chunked"
        while True:
            size, crlf, rest = rest.partition(b"\r\n")
            if not crlf:
                raise Cut(f"no chunk size: {size[:50]!r}")
            n = int(size, 16)
            if len(rest) < n + 2:
                raise Cut(f"chunk of {n} bytes, {len(rest)} there")
            assert rest[n : n + 2] == b"\r\n", "no CRLF behind a chunk"
            piece, rest = rest[:n], rest[n + 2 :]
            if n == 0:
                break
            answer.chunks.append(piece)
        answer.body = b"".join(answer.chunks)
    elif length is not None:
        n = int(length)
        if len(rest) < n:
            raise Cut(f"{len(rest)} of {n} bytes of the body")
        answer.body, rest = rest[:n], rest[n:]
    elif closed:
        answer.body, rest = rest, b""
    else:
        raise Cut("a body that ends with the connection")
    answer.raw = data[: len(data) - len(rest)]
    return answer, rest


def parse_all(data: bytes, *, head: bool = False) -> list[Answer]:
    """All responses of a connection that was closed by the server; 100 Continue among them."""
    answers = []
    while data:
        answer, data = parse(data, head=head)
        answers.append(answer)
    return answers


def read_all(sock: socket.socket, timeout: float = DEADLINE) -> bytes:
    """Everything until the peer closes (or resets)."""
    sock.settimeout(timeout)
    parts = []
    while True:
        try:
            part = sock.recv(65536)
        except ConnectionResetError:
            break
        if not part:
            break
        parts.append(part)
    return b"".join(parts)


def read_answer(
    sock: socket.socket, *, head: bool = False, have: bytes = b"", timeout: float = DEADLINE
) -> tuple[Answer, bytes]:
    """One response, the connection left open; what came behind it is returned with it."""
    sock.settimeout(timeout)
    data = bytearray(have)
    while True:
        with contextlib.suppress(Cut):
            return parse(bytes(data), head=head, closed=False)
        part = sock.recv(1 << 20)
        if not part:
            return parse(bytes(data), head=head, closed=True)
        data += part


def talk(
    port: int,
    data: bytes,
    *,
    answers: int | None = None,
    half_close: bool = False,
    timeout: float = DEADLINE,
) -> bytes:
    """Send data and return what comes until the server closes, or until that many complete responses are there.

    half_close: tell the server that nothing follows.
    """
    with socket.create_connection(("127.0.0.1", port), timeout) as sock:
        with contextlib.suppress(ConnectionError):  # a refusal may come before all is sent
            sock.sendall(data)
            if half_close:
                sock.shutdown(socket.SHUT_WR)
        if answers is None:
            return read_all(sock, timeout)
        got, have = b"", b""
        for _ in range(answers):
            answer, have = read_answer(sock, have=have, timeout=timeout)
            got += answer.raw
        return got + have


def get(
    port: int,
    target: str = "/",
    *,
    method: str = "GET",
    body: bytes | None = None,
    headers: str = "",
    proto: str = "HTTP/1.1",
) -> Answer:
    """One request on a connection of its own, that asks to be closed behind it; the answer must be all there is."""
    length = f"Content-Length: {len(body)}\r\n" if body is not None else ""
    request = f"{method} {target} {proto}\r\nHost: localhost\r\nConnection: close\r\n{length}{headers}\r\n".encode(
        "latin-1"
    )
    answer, rest = parse(talk(port, request + (body or b"")), head=method == "HEAD")
    assert rest == b"", "bytes behind the answer"
    return answer


# -- handlers --


def on_http(fn: Callable[[Connection, Any], object]) -> Callable[[Connection, int, Any], None]:
    """A handler of (conn, message) as one of (conn, ev, data)."""

    def handler(conn: Connection, ev: int, data: Any) -> None:
        if ev == pymongoose.MG_EV_HTTP_MSG:
            fn(conn, data)

    return handler


class Until:
    """A value that another thread will put here."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._value: Any = None

    def set(self, value: Any = None) -> None:
        self._value = value
        self._event.set()

    def get(self) -> Any:
        assert self._event.wait(DEADLINE), "nothing came"
        return self._value


def eventually(predicate: Callable[[], Any]) -> Any:
    """The first true value of predicate(); for counters, where nothing can be waited for."""
    end = time.monotonic() + DEADLINE
    while not (value := predicate()):
        assert time.monotonic() < end, "it never came to be"
        time.sleep(0)  # give up the lock
    return value


# -- folders --


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder to serve, with secrets beside it."""
    (tmp_path / "secret.txt").write_bytes(b"SECRET")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "secret.txt").write_bytes(b"SECRET")
    folder = tmp_path / "public"
    folder.mkdir()
    (folder / "index.html").write_bytes(b"<h1>index</h1>\n")
    (folder / "text.txt").write_bytes(TEXT)
    (folder / "empty.css").write_bytes(b"")
    (folder / "big.bin").write_bytes(os.urandom(300_001))
    (folder / "sub").mkdir()
    (folder / "sub" / "page.html").write_bytes(b"<p>page</p>")
    (folder / ".env").write_bytes(b"SECRET")
    (folder / ".git").mkdir()
    (folder / ".git" / "config").write_bytes(b"SECRET")
    return folder


@pytest.fixture(params=["serve", "serve_dir"])
def site(
    request: pytest.FixtureRequest, serve: Callable[..., Served], root: Path
) -> Callable[..., Served]:
    """A server of `root`, natively and through a handler."""

    def make(**options: Any) -> Served:
        if request.param == "serve":
            server = serve(on_http(lambda conn, msg: conn.reply(299, "python")))
            server.listener.serve("/", root, **options)
        else:
            server = serve(on_http(lambda conn, msg: conn.serve_dir(msg, root, **options)))
        return server

    return make


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if (
        shutil.which("mount") is None
        or subprocess.run(mount, check=False, capture_output=True).returncode != 0
    ):
        pytest.skip("this user may not mount a file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
