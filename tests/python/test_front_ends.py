"""No request smuggling: nginx and HAProxy in front of our server, and everything ambiguous we know sent through them.

The front end marks each request that it forwards with a number of its own, and logs it. If both read the same bytes alike, then every
request our handler sees has exactly one number, no number is seen twice, each is one that the front end logs as forwarded, those it logs as
answered with 200 were all seen, those it forwarded and we did not see were refused, and each answer reaches the request it belongs to. A
request that only one of the two sees breaks one of these.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import vectors
from conftest import DEADLINE, Served, eventually, parse

from pymongoose import MG_EV_HTTP_HDRS, MG_EV_HTTP_MSG, Limits

SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
HOST = b"Host: a\r\n"
CHUNKED = b"POST /chunked HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


def post(fields: bytes, body: bytes, version: bytes = b"1.1") -> bytes:
    return b"POST /post HTTP/" + version + b"\r\n" + HOST + fields + b"\r\n" + body


HIDDEN = b"0\r\n\r\n" + SMUGGLED
MORE = {
    "cl-te": post(b"Content-Length: %d\r\nTransfer-Encoding: chunked\r\n" % len(HIDDEN), HIDDEN),
    "te-cl": post(b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", b"24\r\n" + SMUGGLED + b"\r\n0\r\n\r\n"),
    "te-te": post(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n", HIDDEN),
    "te-cow": post(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: cow\r\nContent-Length: 4\r\n", HIDDEN),
    "te-xchunked": post(b"Transfer-Encoding: xchunked\r\nContent-Length: %d\r\n" % len(HIDDEN), HIDDEN),
    "te-space": post(b"Transfer-Encoding : chunked\r\nContent-Length: %d\r\n" % len(HIDDEN), HIDDEN),
    "te-tab": post(b"Transfer-Encoding:\tchunked\r\nContent-Length: %d\r\n" % len(HIDDEN), HIDDEN),
    "te-vt": post(b"Transfer-Encoding: \x0bchunked\r\nContent-Length: %d\r\n" % len(HIDDEN), HIDDEN),
    "te-folded": post(b"Transfer-Encoding:\r\n chunked\r\nContent-Length: %d\r\n" % len(HIDDEN), HIDDEN),
    "te-in-1.0": post(b"Transfer-Encoding: chunked\r\n", HIDDEN, b"1.0"),
    "te-in-1.0-with-length": post(b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n", HIDDEN, b"1.0"),
    "te-underscore": post(b"Transfer_Encoding: chunked\r\nContent-Length: %d\r\n" % len(HIDDEN), HIDDEN),
    "cl-cl": post(b"Content-Length: 0\r\nContent-Length: %d\r\n" % len(SMUGGLED), SMUGGLED),
    "cl-equal": post(b"Content-Length: 2\r\nContent-Length: 2\r\n", b"ab" + SMUGGLED),
    "cl-list": post(b"Content-Length: 2, 2\r\n", b"ab" + SMUGGLED),
    "cl-plus": post(b"Content-Length: +2\r\n", b"ab" + SMUGGLED),
    "cl-minus": post(b"Content-Length: -2\r\n", b"ab" + SMUGGLED),
    "cl-hex": post(b"Content-Length: 0x2\r\n", b"ab" + SMUGGLED),
    "cl-zeros": post(b"Content-Length: 0002\r\n", b"ab" + SMUGGLED),
    "cl-space": post(b"Content-Length : 2\r\n", b"ab" + SMUGGLED),
    "cl-inner-space": post(b"Content-Length: 2 0\r\n", b"ab" + SMUGGLED),
    "cl-nul": post(b"Content-Length: 2\x00\r\n", b"ab" + SMUGGLED),
    "cl-huge": post(b"Content-Length: 18446744073709551618\r\n", b"ab" + SMUGGLED),
    "cl-on-get": b"GET /get HTTP/1.1\r\n" + HOST + b"Content-Length: %d\r\n\r\n" % len(SMUGGLED) + SMUGGLED,
    "te-on-get": b"GET /get HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n" + HIDDEN,
    "name-nul": post(b"X\x00: a\r\nContent-Length: 2\r\n", b"ab" + SMUGGLED),
    "bare-lf": b"GET /get HTTP/1.1\n" + b"Host: a\nContent-Length: 2\n\nab" + SMUGGLED,
    "bare-cr": post(b"X: a\rContent-Length: 50\r\n", SMUGGLED),
    "bare-cr-ends-the-head": b"GET /get HTTP/1.1\r\nHost: a\r\r" + SMUGGLED,
    "lf-cr": b"GET /get HTTP/1.1\n\rHost: a\n\r\n\r" + SMUGGLED,
    "fold": post(b"X: a\r\n Content-Length: 50\r\n", SMUGGLED),
    "absolute-form": b"GET http://b/absolute HTTP/1.1\r\n" + HOST + b"\r\n" + SMUGGLED,
    "absolute-form-equal": b"GET http://a/absolute HTTP/1.1\r\n" + HOST + b"\r\n" + SMUGGLED,
    "space-in-target": b"GET /a HTTP/1.1\r\nX: HTTP/1.1\r\n" + HOST + b"\r\n" + SMUGGLED,
    "lone-trailers": b"GET /get HTTP/1.1\r\n" + HOST + b"Trailer: X\r\n\r\nX: y\r\n\r\n" + SMUGGLED,
    "chunk-ext": CHUNKED + b"2;a=b;c=\"d\"\r\nab\r\n0\r\n\r\n" + SMUGGLED,
    "chunk-ext-lf": CHUNKED + b"2;a\nb\r\nab\r\n0\r\n\r\n" + SMUGGLED,
    "chunk-ext-cr": CHUNKED + b"2;a\rb\r\nab\r\n0\r\n\r\n" + SMUGGLED,
    "chunk-lf": CHUNKED + b"2\nab\n0\n\n" + SMUGGLED,
    "chunk-trailers": CHUNKED + b"2\r\nab\r\n0\r\nContent-Length: 50\r\nX: y\r\n\r\n" + SMUGGLED,
    "chunk-wrap": CHUNKED + b"10000000000000002\r\nab\r\n0\r\n\r\n" + SMUGGLED,
    "chunk-minus": CHUNKED + b"-2\r\nab\r\n0\r\n\r\n" + SMUGGLED,
    "chunk-0x": CHUNKED + b"0x2\r\nab\r\n0\r\n\r\n" + SMUGGLED,
    "chunk-no-crlf": CHUNKED + b"2\r\nabcd0\r\n\r\n" + SMUGGLED,
    "chunk-empty-size": CHUNKED + b"\r\n\r\n" + SMUGGLED,
    "early": b"POST /early HTTP/1.1\r\n" + HOST + b"Content-Length: 300000\r\n\r\n" + (SMUGGLED * 8000)[:300000] + SMUGGLED,
    "early-chunked": b"POST /early HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n" + b"40000\r\n" + (SMUGGLED * 8000)[:0x40000] + b"\r\n0\r\n\r\n" + SMUGGLED,
    "expect": b"POST /post HTTP/1.1\r\n" + HOST + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\nab" + SMUGGLED,
    "expect-early": b"POST /early HTTP/1.1\r\n" + HOST + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\nab" + SMUGGLED,
    "pipelined": (b"GET /one HTTP/1.1\r\n" + HOST + b"\r\n") * 5 + post(b"Content-Length: 2\r\n", b"ab") + SMUGGLED,
    "behind-an-error": b"GET /one HTTP/1.1\r\n" + HOST + b"\r\nNONSENSE\r\n\r\n" + SMUGGLED,
    "head": b"HEAD /head HTTP/1.1\r\n" + HOST + b"\r\n" + SMUGGLED,
    "cut-body": post(b"Content-Length: 500\r\n", SMUGGLED),
    "upgrade": b"GET /up HTTP/1.1\r\n" + HOST + b"Connection: Upgrade, Content-Length\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n\r\n" + SMUGGLED,
    "connection-eats-length": post(b"Connection: Content-Length\r\nContent-Length: %d\r\n" % len(SMUGGLED), SMUGGLED),
    "front-id-of-the-client": b"GET /id HTTP/1.1\r\n" + HOST + b"X-Front-Id: 1\r\nx-front-id: 2\r\nX_Front_Id: 3\r\n\r\n" + SMUGGLED,
}  # fmt: skip

NGINX = """
daemon off; master_process off; worker_processes 1; pid {folder}/pid; error_log {folder}/errors;
events {{ worker_connections 512; }}
http {{
  log_format ids '|$request_id $upstream_addr $upstream_status|';
  access_log syslog:server=127.0.0.1:{log},nohostname ids;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u;
  scgi_temp_path {folder}/s;
  client_header_timeout 2s; client_body_timeout 2s; keepalive_timeout 2s; underscores_in_headers on; ignore_invalid_headers off;
  upstream us {{ server 127.0.0.1:{port}; keepalive 8; }}
  server {{
    listen unix:{folder}/front;
    location / {{
      proxy_pass http://us; proxy_http_version 1.1; proxy_request_buffering {buffering}; proxy_ignore_client_abort on;
      proxy_next_upstream off; proxy_set_header Connection ""; proxy_set_header X-Front-Id $request_id;
      add_header X-Front-Id $request_id always;
    }}
  }}
}}
"""
HAPROXY = """
global
  maxconn 512
  log 127.0.0.1:{log} format raw local0
defaults
  mode http
  log global
  timeout connect 5s
  timeout client 2s
  timeout server 5s
  http-reuse always
  retries 0
  {options}
frontend front
  bind unix@{folder}/front
  unique-id-format %[uuid()]
  log-format "|%ID %s %ST|"
  http-request set-header X-Front-Id %[unique-id]
  http-after-response set-header X-Front-Id %[unique-id]
  default_backend us
backend us
  server us 127.0.0.1:{port}
"""
# Program, configuration, options, and the status it logs of a client that left in the middle of a body.
FRONT_ENDS = {
    "nginx": ("nginx", NGINX, {"buffering": "on"}, "-"),
    "nginx-streaming": ("nginx", NGINX, {"buffering": "off"}, "-"),
    "haproxy": ("haproxy", HAPROXY, {"options": ""}, "-1"),
    "haproxy-lenient": (
        "haproxy",
        HAPROXY,
        {"options": "option accept-invalid-http-request"},
        "-1",
    ),
}


def program(name: str) -> str:
    path = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
    if path is None:
        pytest.skip(f"{name} is not installed: scripts/bootstrap.sh peers installs it")
    return path


class Front:
    """A front end in a process of its own, its log, and how to talk to it."""

    def __init__(self, folder: Path, log: socket.socket) -> None:
        self.path = str(folder / "front")
        self.forwarded: set[str] = (
            set()
        )  # numbers of requests that went to our server, whatever became of them
        self.served: set[str] = set()  # numbers of those that it answered with 200
        self.statuses: dict[str, str] = {}  # what became of each that was forwarded
        self._log = log
        threading.Thread(target=self._read_log, daemon=True).start()

    def _read_log(self) -> None:
        with contextlib.suppress(OSError):
            while line := self._log.recv(65536).decode("latin-1"):
                number, server, status, *_ = line.split("|")[1].split()
                if server not in ("-", "<NOSRV>"):
                    self.forwarded.add(number)
                    self.statuses[number] = status
                    if status == "200":
                        self.served.add(number)

    def connect(self) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(DEADLINE)
        try:
            sock.connect(self.path)
        except OSError:
            sock.close()
            raise
        return sock

    def talk(self, data: bytes) -> bytes:
        got = b""
        with self.connect() as sock:
            with contextlib.suppress(OSError):  # refused before it was all sent
                sock.sendall(data)
                sock.shutdown(socket.SHUT_WR)
            with contextlib.suppress(OSError):
                while part := sock.recv(65536):
                    got += part
        return got

    def up(self) -> bool:
        with contextlib.suppress(OSError), self.connect():
            return True
        return False


@contextlib.contextmanager
def front_end(name: str, port: int) -> Iterator[Front]:
    command, config, options, _ = FRONT_ENDS[name]
    binary = program(command)
    with (
        tempfile.TemporaryDirectory(prefix="front") as temporary,  # a short name: it holds a socket
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as log,
    ):
        folder = Path(temporary)
        log.bind(("127.0.0.1", 0))
        (folder / "config").write_text(
            config.format(folder=folder, port=port, log=log.getsockname()[1], **options)
            + ("" if os.getuid() or command != "nginx" else "user root;\n")
        )
        call = (
            [binary, "-e", str(folder / "errors"), "-p", temporary, "-c", str(folder / "config")]
            if command == "nginx"
            else [binary, "-db", "-f", str(folder / "config")]
        )
        with subprocess.Popen(call, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
            front = Front(folder, log)
            try:
                eventually(lambda: front.up() or process.poll() is not None)
                assert process.poll() is None, process.stderr.read() if process.stderr else ""
                yield front
            finally:
                process.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(5)
                process.kill()
                with contextlib.suppress(OSError):
                    log.shutdown(socket.SHUT_RDWR)


def corpus() -> dict[str, bytes]:
    """All vectors, each with a request behind it, and what is made for the purpose."""
    found = {f"more-{name}": data for name, data in MORE.items()}
    for v in vectors.load("request"):
        found[v.name] = v.data + SMUGGLED
    for v in vectors.load("chunked"):
        found[v.name] = CHUNKED + v.data + SMUGGLED
    return found


@pytest.mark.parametrize("name", FRONT_ENDS)
def test_front_end_and_server_see_the_same_requests(serve, name):
    seen: list[tuple[list[str], str, str]] = []

    def handler(conn, ev, msg):
        if ev == MG_EV_HTTP_MSG or (ev == MG_EV_HTTP_HDRS and msg.uri == "/early"):
            ids = [v for n, v in msg.headers() if n.lower() == "x-front-id"]
            seen.append((ids, msg.method, msg.uri))
            conn.reply(200, ids[0] if ids else "none")

    server: Served = serve(handler, listen={"limits": Limits(header_timeout=5.0, body_timeout=5.0)})
    with front_end(name, server.port) as front:
        with ThreadPoolExecutor(8) as pool:
            answers = dict(zip(corpus(), pool.map(front.talk, corpus().values()), strict=True))
        good = front.talk(b"GET /good HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert parse(good)[0].status == 200
        numbers = [ids[0] for ids, _, _ in seen if len(ids) == 1]
        assert len(numbers) == len(seen), [s for s in seen if len(s[0]) != 1]
        assert len(set(numbers)) == len(numbers), "a request was seen twice"
        eventually(lambda: front.forwarded >= set(numbers))
        assert front.served <= set(numbers)
        # What was forwarded and not seen, our server refused. A request that it took for a part of another's body would have got no answer:
        # a 504. Clients that leave in the middle of a body get a word of their own, if the front end had begun to forward it by then.
        unseen = [front.statuses[n] for n in front.forwarded - set(numbers)]
        left = [status for status in unseen if status == FRONT_ENDS[name][3]]
        assert set(unseen) - set(left) <= {"400", "413", "414", "417", "431", "501", "505"}
        assert len(left) <= 5
    assert len(seen) > 60, "most of the corpus reached nobody: is the front end right?"
    for case, data in answers.items():
        if corpus()[case].lstrip().startswith(b"HEAD"):
            continue  # an answer without its body cannot be told from its bytes
        for number, body in whole_answers(data):
            assert number == body, case


def whole_answers(data: bytes) -> Iterator[tuple[str | None, str]]:
    """Number and text of each 200 with a body, as far as the stream can be read; HEAD and cut answers end it."""
    while data.startswith(b"HTTP/1."):
        try:
            answer, data = parse(data)
        except AssertionError:
            return
        if answer.status == 200 and answer.body:
            yield answer.header("X-Front-Id"), answer.body.decode()


def test_the_check_would_notice_a_request_that_only_one_side_sees(serve):
    """The same, with a server that reads one request more than it was sent: a body taken for a request."""
    seen: list[list[str]] = []

    def handler(conn, ev, msg):
        if ev == MG_EV_HTTP_MSG:
            seen.append([v for n, v in msg.headers() if n.lower() == "x-front-id"])
            conn.reply(200, "x")

    server: Served = serve(handler)
    with front_end("nginx", server.port) as front:
        front.talk(post(b"Content-Length: %d\r\n" % len(SMUGGLED), SMUGGLED))
        server.talk(SMUGGLED.replace(b"Host: a", b"Host: a\r\nConnection: close"))
        assert [len(ids) for ids in seen] == [1, 0]
