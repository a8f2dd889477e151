"""examples/reverse_proxy.py between clients and upstreams nobody here wrote (aiohttp, nginx), and some that misbehave on purpose."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import http.client
import json
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import eventually
from programs import DEADLINE, Program, example

web = pytest.importorskip("aiohttp.web")


@contextlib.contextmanager
def upstream(app: web.Application) -> Iterator[str]:
    """aiohttp in a thread of its own."""
    loop = asyncio.new_event_loop()
    runner = web.AppRunner(app, shutdown_timeout=0.1)

    async def start() -> int:
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        return int(runner.addresses[0][1])

    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        port = asyncio.run_coroutine_threadsafe(start(), loop).result(DEADLINE)
        yield f"http://127.0.0.1:{port}"
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(DEADLINE)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(DEADLINE)
        loop.close()


@contextlib.contextmanager
def raw_upstream(talk: Callable[[socket.socket], None]) -> Iterator[str]:
    """Each connection is given to talk, in a thread."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def one(sock: socket.socket) -> None:
            with sock, contextlib.suppress(OSError):
                talk(sock)

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    sock = server.accept()[0]
                    threading.Thread(target=one, args=(sock,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)


def proxy(url: str, *args: str) -> contextlib.AbstractContextManager[Program]:
    return example("reverse_proxy.py", url, *args)


async def tell(request: web.Request) -> web.StreamResponse:
    """What came, and something that belongs to this hop only."""
    sha, size = hashlib.sha256(), 0
    async for piece in request.content.iter_any():
        sha.update(piece)
        size += len(piece)
    answer = web.json_response(
        {
            "method": request.method,
            "uri": request.raw_path,
            "headers": [[n.lower(), v] for n, v in request.headers.items()],
            "sha": sha.hexdigest(),
            "size": size,
        },
        status=201,
    )
    answer.headers.add("Set-Cookie", "a=1")
    answer.headers.add("Set-Cookie", "b=2")
    answer.headers.update(
        {"Connection": "X-Hop", "X-Hop": "1", "Keep-Alive": "timeout=9", "X-End": "é"}
    )
    return answer


def telling() -> web.Application:
    app = web.Application(client_max_size=1 << 30)
    app.router.add_route("*", "/{tail:.*}", tell)
    return app


def test_method_fields_and_body_arrive_and_hops_are_told_apart() -> None:
    with upstream(telling()) as url, proxy(url) as it:
        with contextlib.closing(http.client.HTTPConnection(*it.address, timeout=DEADLINE)) as c:
            c.request(
                "PATCH", "/a%20b//c?x=%26&y", b"body",
                {"Connection": "keep-alive, X-Mine", "X-Mine": "1", "TE": "trailers", "Keep-Alive": "5", "Upgrade": "h2c",
                 "Proxy-Authorization": "x", "X-Forwarded-For": "203.0.113.7", "X-Forwarded-Proto": "https", "X-Kept": "yes", "Host": "site"},
            )  # fmt: skip
            answer = c.getresponse()

            told = json.loads(answer.read())
        assert (answer.status, told["method"], told["uri"]) == (201, "PATCH", "/a%20b//c?x=%26&y")
        assert told["sha"] == hashlib.sha256(b"body").hexdigest()
        names = [n for n, _ in told["headers"]]
        fields = dict(told["headers"])
        gone = {"connection", "x-mine", "te", "keep-alive", "upgrade", "proxy-authorization"}
        assert not gone.intersection(names)
        assert len(set(names)) == len(names)
        assert fields["x-forwarded-for"] == "203.0.113.7, 127.0.0.1"
        assert (fields["x-forwarded-proto"], fields["x-forwarded-host"]) == ("http", "site")
        assert (fields["x-kept"], fields["content-length"]) == ("yes", "4")
        assert fields["host"] == url.removeprefix("http://")
        assert answer.headers.get_all("Set-Cookie") == ["a=1", "b=2"]
        assert answer.headers["X-Hop"] is None
        assert answer.headers["Keep-Alive"] is None
        assert answer.headers["X-End"].encode("latin-1").decode() == "é"


@pytest.mark.parametrize("chunked", [True, False])
def test_a_large_body_goes_through_whole(chunked: bool) -> None:
    data = os.urandom(1 << 20) * 40
    body = (data[i : i + 100_000] for i in range(0, len(data), 100_000)) if chunked else data
    with (
        upstream(telling()) as url,
        proxy(url) as it,
        contextlib.closing(http.client.HTTPConnection(*it.address, timeout=DEADLINE)) as c,
    ):
        c.request("POST", "/", body, encode_chunked=chunked)
        text = c.getresponse().read().decode()
    assert hashlib.sha256(data).hexdigest() in text
    assert f'"size": {len(data)}' in text
    assert ("chunked" in text) is chunked


def test_curl_goes_through_to_nginx_both_ways(tmp_path: Path) -> None:
    nginx = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin")
    curl = shutil.which("curl")
    if nginx is None or curl is None:
        pytest.skip("nginx or curl is not installed: scripts/bootstrap.sh peers installs them")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    big = tmp_path / "big.bin"
    big.write_bytes(os.urandom(1 << 20) * 64)
    (tmp_path / "conf").write_text(
        f"daemon off; master_process off; pid {tmp_path}/pid; error_log {tmp_path}/errors; events {{}}\n"
        + ("" if os.getuid() else "user root;\n")
        + f"""http {{ access_log off; client_max_body_size 0; client_body_temp_path {tmp_path}/tmp; proxy_temp_path {tmp_path}/p;
        fastcgi_temp_path {tmp_path}/f; uwsgi_temp_path {tmp_path}/u; scgi_temp_path {tmp_path}/s;
        server {{ listen 127.0.0.1:{port}; root {tmp_path}; dav_methods PUT; create_full_put_path on; gzip on; gzip_min_length 1;
        gzip_types *; }} }}"""
    )

    def ask(*args: str) -> bytes:
        return subprocess.run(
            [curl, "-sS", "-f", *args], check=True, capture_output=True, timeout=DEADLINE
        ).stdout

    call = [
        nginx,
        "-p",
        str(tmp_path),
        "-e",
        str(tmp_path / "errors"),
        "-c",
        str(tmp_path / "conf"),
    ]
    with subprocess.Popen(call, stderr=subprocess.DEVNULL) as process:
        try:

            def up() -> bool:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                    return True
                return False

            eventually(up)
            with proxy(f"http://127.0.0.1:{port}") as it:
                out = tmp_path / "out.bin"
                ask(it.url + "/big.bin", "-o", str(out))
                assert out.read_bytes() == big.read_bytes()
                assert ask(it.url + "/big.bin", "-r", "5-104") == big.read_bytes()[5:105]
                head = ask(it.url + "/big.bin", "-I").decode()
                assert f"content-length: {64 << 20}" in head.lower()
                tag = next(x for x in head.split("\r\n") if x.lower().startswith("etag")).split(
                    ": "
                )[1]
                code = ask(it.url + "/big.bin", "-H", f"If-None-Match: {tag}", "-w", "%{http_code}")
                assert code == b"304"
                (tmp_path / "a.txt").write_text("text " * 1000)
                assert ask(it.url + "/a.txt", "--compressed") == b"text " * 1000
                assert ask(it.url + "/a.txt", "-H", "Accept-Encoding: gzip")[:2] == b"\x1f\x8b"
                ask("-T", str(big), it.url + "/put.bin", "-H", "Expect: 100-continue")
                assert (tmp_path / "put.bin").stat().st_size == 64 << 20
        finally:
            process.terminate()


def test_connections_to_upstream_are_kept() -> None:
    peers = set()

    async def who(request: web.Request) -> web.Response:
        peers.add(request.transport.get_extra_info("peername"))
        return web.Response(status=int(request.match_info["code"]))

    app = web.Application()
    app.router.add_route("*", "/{code}", who)
    with upstream(app) as url, proxy(url) as it:
        for method, code in (
            ("GET", 200),
            ("HEAD", 200),
            ("GET", 204),
            ("POST", 404),
            ("GET", 304),
        ) * 3:
            assert it.ask(method, f"/{code}")[0] == code
    assert len(peers) == 1


def test_pieces_come_as_they_are_sent() -> None:
    go = threading.Event()

    async def ticks(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await answer.prepare(request)
        await asyncio.get_running_loop().run_in_executor(None, go.wait, DEADLINE)
        await answer.write(b"data: 1\n\n")
        return answer

    app = web.Application()
    app.router.add_get("/", ticks)
    with (
        upstream(app) as url,
        proxy(url) as it,
        contextlib.closing(http.client.HTTPConnection(*it.address, timeout=DEADLINE)) as c,
    ):
        c.request("GET", "/")
        answer = c.getresponse()  # the head alone
        assert answer.headers["Content-Type"] == "text/event-stream"
        go.set()
        assert answer.read() == b"data: 1\n\n"


def test_upstream_that_is_not_there_is_502_and_one_that_is_silent_504() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        nobody = f"http://127.0.0.1:{free.getsockname()[1]}"
    with proxy(nobody) as it:
        assert it.ask("GET", "/")[0] == 502
        assert it.ask("POST", "/", b"x" * 3_000_000)[0] == 502

    def silent(sock: socket.socket) -> None:
        while sock.recv(65536):
            pass

    with raw_upstream(silent) as url, proxy(url, "--wait", "0.2") as it:
        assert it.ask("GET", "/")[0] == 504
        assert it.ask("POST", "/", b"x" * 100)[0] == 504


def test_nonsense_from_upstream_is_502() -> None:
    with (
        raw_upstream(lambda sock: sock.sendall(b"HTTP/1.1 2000 OK\r\n\r\n") or sock.recv(1)) as url,
        proxy(url) as it,
    ):
        assert it.ask("GET", "/")[0] == 502


@pytest.mark.parametrize("framing", [b"Content-Length: 100", b"Transfer-Encoding: chunked"])
def test_an_answer_that_breaks_off_does_not_look_whole(framing: bytes) -> None:
    def cut(sock: socket.socket) -> None:
        sock.recv(65536)
        sock.sendall(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n\r\n5\r\nhalf!\r\n")

    with raw_upstream(cut) as url, proxy(url) as it:
        with contextlib.closing(http.client.HTTPConnection(*it.address, timeout=DEADLINE)) as c:
            c.request("GET", "/")
            with pytest.raises((http.client.IncompleteRead, ConnectionError)):
                c.getresponse().read()
        with socket.create_connection(
            it.address, DEADLINE
        ) as sock:  # to whom the close alone would be the end
            sock.sendall(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n")
            got = b""
            with contextlib.suppress(ConnectionError):
                while piece := sock.recv(65536):
                    got += piece
                assert b"Content-Length: 100" in got, "it looks whole"


def test_a_client_that_goes_away_takes_its_request_along() -> None:
    gone, arrived = threading.Event(), threading.Event()

    def wait(sock: socket.socket) -> None:
        while sock.recv(65536):
            arrived.set()
        gone.set()

    for request in (
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf",
    ):
        with raw_upstream(wait) as url, proxy(url) as it:
            gone.clear()
            arrived.clear()
            with socket.create_connection(it.address, DEADLINE) as sock:
                sock.sendall(request)
                assert arrived.wait(DEADLINE)
                assert not gone.is_set()
            assert gone.wait(DEADLINE)
            assert it.ask("OPTIONS", "*")[0] == 400


def test_who_does_not_read_slows_the_other_side_down() -> None:
    """Bytes in flight stay far below what is to be sent, both ways, and all of it arrives when there is reading again."""
    total, sent = 300 << 20, [0]
    piece = bytes(1 << 20)

    def pour(sock: socket.socket) -> None:
        sock.recv(65536)
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % total)
        while sent[0] < total:
            sock.sendall(piece)
            sent[0] += len(piece)

    def settled(counter: list[int]) -> int:
        last = -1
        while counter[0] == 0 or counter[0] != last:
            last = counter[0]
            threading.Event().wait(0.3)
        return last

    with (
        raw_upstream(pour) as url,
        proxy(url) as it,
        socket.create_connection(it.address, DEADLINE) as sock,
    ):
        sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert settled(sent) < 64 << 20
        got = 0
        while got < total:
            part = sock.recv(1 << 20)
            assert part
            got += len(part)
    go, taken, said = threading.Event(), [0], [0]

    def take_late(sock: socket.socket) -> None:
        assert go.wait(DEADLINE)
        while part := sock.recv(1 << 20):
            taken[0] += len(part)
            if taken[0] >= total:
                break
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        sock.recv(1)

    with (
        raw_upstream(take_late) as url,
        proxy(url) as it,
        socket.create_connection(it.address, DEADLINE) as sock,
    ):

        def say() -> None:
            sock.sendall(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % total)
            while said[0] < total:
                sock.sendall(piece)
                said[0] += len(piece)

        thread = threading.Thread(target=say)
        thread.start()
        assert settled(said) < 64 << 20
        go.set()
        thread.join(DEADLINE)
        assert sock.recv(65536).startswith(b"HTTP/1.1 200 ")
        assert taken[0] >= total
