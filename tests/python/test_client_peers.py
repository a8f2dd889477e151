"""Manager.request() and servers that other people wrote: nginx, http.server, aiohttp, uvicorn, and the proxies tinyproxy and squid.

What is not installed is skipped.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import DEADLINE, Served, on_http

from pymongoose import ClientLimits, ConnectionClosed, Manager, TlsError, TlsOpts, build_info

BIG = os.urandom(3_000_000)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


@contextlib.contextmanager
def running(command: list[str], port: int, log: Path) -> Iterator[str]:
    """A program that serves on port; the end of the block ends it."""
    with log.open("wb") as out, subprocess.Popen(command, stdout=out, stderr=out) as process:
        try:
            end = time.monotonic() + DEADLINE
            while True:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                    break
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < end, log.read_text()
                time.sleep(0.02)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            try:
                process.wait(DEADLINE)
            except subprocess.TimeoutExpired:
                process.kill()


def need(program: str) -> str:
    found = shutil.which(program) or shutil.which(f"/usr/sbin/{program}")
    if found is None:
        pytest.skip(f"{program} is not installed")
    return found


@pytest.fixture
def mgr(serve: Callable[..., Served]) -> Manager:
    return serve(None, None).mgr


@pytest.fixture
def nginx(tmp_path: Path) -> Iterator[str]:
    program, port = need("nginx"), free_port()
    (tmp_path / "www").mkdir()
    (tmp_path / "www" / "big").write_bytes(BIG)
    (tmp_path / "www" / "page.html").write_text("<p>" + "text " * 2000)
    (tmp_path / "nginx.conf").write_text(
        f"""
        daemon off; pid {tmp_path}/pid; error_log {tmp_path}/error.log; worker_processes 1;
        {"user root;" if os.getuid() == 0 else ""}
        events {{ worker_connections 256; }}
        http {{
          access_log off; client_body_temp_path {tmp_path}/body; proxy_temp_path {tmp_path}/proxy;
          fastcgi_temp_path {tmp_path}/f; uwsgi_temp_path {tmp_path}/u; scgi_temp_path {tmp_path}/s;
          gzip on; gzip_min_length 100; gzip_types text/html; client_max_body_size 1m;
          keepalive_requests 10;
          server {{
            listen 127.0.0.1:{port}; listen unix:{tmp_path}/sock; root {tmp_path}/www;
            location /old {{ return 301 /page.html; }}
            location /loop {{ return 302 /loop; }}
            location /none {{ return 204; }}
          }}
        }}"""
    )
    command = [
        program,
        "-c",
        str(tmp_path / "nginx.conf"),
        "-p",
        str(tmp_path),
        "-e",
        str(tmp_path / "e"),
    ]
    with running(command, port, tmp_path / "log") as url:
        yield url


def test_nginx(nginx: str, mgr: Manager, tmp_path: Path) -> None:
    resp = mgr.request("GET", nginx + "/page.html").result(DEADLINE)
    assert resp.header("content-encoding") == "gzip"
    assert resp.header("transfer-encoding") == "chunked"
    assert resp.text == "<p>" + "text " * 2000
    assert mgr.request("GET", nginx + "/big").result(DEADLINE).body == BIG
    assert mgr.request("HEAD", nginx + "/big").result(DEADLINE).header("content-length") == str(
        len(BIG)
    )
    part = mgr.request("GET", nginx + "/big", headers={"Range": "bytes=5-9"}).result(DEADLINE)
    assert (part.status, part.body_bytes) == (206, BIG[5:10])
    moved = mgr.request("GET", nginx + "/old").result(DEADLINE)
    assert (moved.status, moved.url) == (200, nginx + "/page.html")
    assert "redirects" in str(mgr.request("GET", nginx + "/loop").exception(DEADLINE))
    assert mgr.request("GET", nginx + "/none").result(DEADLINE).status == 204
    assert mgr.request("GET", nginx + "/missing").result(DEADLINE).status == 404
    same = mgr.request("GET", nginx + "/big", headers={"If-None-Match": part.header("etag", "")})
    assert same.result(DEADLINE).status == 304
    big = mgr.request("POST", nginx + "/", body=BIG).result(DEADLINE)
    assert big.status == 413
    sock = str(tmp_path / "sock")
    assert mgr.request("GET", "http://x/none", unix=sock).result(DEADLINE).status == 204


def test_nginx_closes_kept_connections_and_nothing_is_lost(nginx: str, mgr: Manager) -> None:
    """It ends each connection after ten requests."""
    asked = [mgr.request("GET", nginx + "/page.html", timeout=30) for _ in range(500)]
    assert {r.result(30).status for r in asked} == {200}


def test_a_large_stream_from_nginx_is_what_it_was(nginx: str, mgr: Manager) -> None:
    with mgr.request("GET", nginx + "/big", stream=True).result(DEADLINE) as resp:
        digest = hashlib.sha256()
        for piece in resp:
            digest.update(piece)
    assert digest.digest() == hashlib.sha256(BIG).digest()


class Quiet(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()  # HTTP/1.0, no length: until the close
        self.wfile.write(b"hello from http.server")

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(201)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None: ...


@pytest.mark.parametrize("protocol", ["HTTP/1.0", "HTTP/1.1"])
def test_http_server_of_python(mgr: Manager, protocol: str) -> None:
    handler = type("H", (Quiet,), {"protocol_version": protocol})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/"
        try:
            if protocol == "HTTP/1.0":
                assert mgr.request("GET", url).result(DEADLINE).text == "hello from http.server"
            for _ in range(3):
                resp = mgr.request("PUT", url, body=BIG).result(DEADLINE)
                assert (resp.status, resp.body) == (201, BIG)
            resp = mgr.request("PUT", url, body=b"x", headers={"Expect": "100-continue"})
            assert resp.result(DEADLINE).body == b"x"
        finally:
            server.shutdown()
            thread.join()


AIOHTTP = """
import asyncio, sys
from aiohttp import web

async def echo(request):
    out = web.StreamResponse(headers={"X-Length": request.headers.get("Content-Length", "chunked")})
    await out.prepare(request)
    async for piece in request.content.iter_any():
        await out.write(piece)
    return out

async def zipped(request):
    out = web.Response(text="text " * 5000)
    out.enable_compression()
    return out

async def moved(request):
    raise web.HTTPSeeOther("/zipped")

app = web.Application(client_max_size=1 << 30)
app.add_routes([web.post("/echo", echo), web.get("/zipped", zipped), web.post("/moved", moved)])
web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None)
"""


def test_aiohttp_streams_both_ways_at_once(mgr: Manager, tmp_path: Path) -> None:
    pytest.importorskip("aiohttp")
    (tmp_path / "server.py").write_text(AIOHTTP)
    port = free_port()
    command = [sys.executable, str(tmp_path / "server.py"), str(port)]
    with running(command, port, tmp_path / "log") as url:
        size = 20 << 20
        got = [0]
        body = (b"x" * 65536 for _ in range(size // 65536))
        resp = mgr.request(
            "POST",
            url + "/echo",
            body=body,
            on_data=lambda p: got.__setitem__(0, got[0] + len(p)),
            timeout=60,
        ).result(60)
        assert (resp.status, resp.header("x-length"), got[0]) == (200, "chunked", size)
        resp = mgr.request("POST", url + "/echo", body=BIG).result(DEADLINE)
        assert (resp.header("x-length"), resp.body) == (str(len(BIG)), BIG)
        assert mgr.request("GET", url + "/zipped").result(DEADLINE).text == "text " * 5000
        resp = mgr.request("POST", url + "/moved", body=b"data").result(DEADLINE)
        assert (resp.status, resp.history[0][0]) == (200, 303)


UVICORN = """
import sys, uvicorn

async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    size = 0
    while True:
        message = await receive()
        size += len(message.get("body", b""))
        if not message.get("more_body"):
            break
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for _ in range(3):
        await send({"type": "http.response.body", "body": str(size).encode() + b" ", "more_body": True})
    await send({"type": "http.response.body", "body": b"end"})

uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="critical")
"""


def test_uvicorn(mgr: Manager, tmp_path: Path) -> None:
    pytest.importorskip("uvicorn")
    (tmp_path / "server.py").write_text(UVICORN)
    port = free_port()
    with running(
        [sys.executable, str(tmp_path / "server.py"), str(port)], port, tmp_path / "log"
    ) as url:
        for body in (b"12345", [b"12", b"345"]):
            assert mgr.request("PUT", url, body=body).result(DEADLINE).text == "5 5 5 end"
        asked = [mgr.request("GET", url, timeout=30) for _ in range(200)]
        assert {r.result(30).text for r in asked} == {"0 0 0 end"}


# -- proxies --


@pytest.fixture(params=["tinyproxy", "squid"])
def proxy(request: Any, tmp_path: Path) -> Iterator[str]:
    program, port = need(request.param), free_port()
    config = tmp_path / "conf"
    if request.param == "tinyproxy":
        config.write_text(
            f'Port {port}\nListen 127.0.0.1\nAllow 127.0.0.1\nBasicAuth u pw\nTimeout 30\nLogFile "{tmp_path}/l"\n'
            f'PidFile "{tmp_path}/pid"\n'  # without ConnectPort: any port
        )
        command = [program, "-d", "-c", str(config)]
    else:
        helper = Path("/usr/lib/squid/basic_fake_auth")  # takes any password
        if not helper.exists():
            pytest.skip("squid's helpers are not installed")
        config.write_text(
            f"http_port 127.0.0.1:{port}\nauth_param basic program {helper}\nauth_param basic children 1\n"
            "acl in proxy_auth REQUIRED\nhttp_access allow in\nhttp_access deny all\n"
            "pid_filename none\ncache_log /dev/null\naccess_log none\n"
            "cache deny all\nshutdown_lifetime 0 seconds\npinger_enable off\n"
        )
        command = [program, "-N", "-f", str(config)]
    with running(command, port, tmp_path / "log") as url:
        yield url


def test_http_goes_through_a_proxy(proxy: str, serve: Callable[..., Served]) -> None:
    served = serve(
        on_http(
            lambda conn, msg: conn.reply_json(
                [msg.method, msg.uri, msg.header("Host"), msg.header("Via")]
            )
        ),
        client=ClientLimits(max_per_origin=2),
    )
    url = f"http://127.0.0.1:{served.port}/a?b"
    denied = served.mgr.request("GET", url, proxy=proxy).result(DEADLINE)
    assert denied.status == 407
    asked = [
        served.mgr.request("GET", url, proxy=proxy.replace("//", "//u:pw@")) for _ in range(10)
    ]
    for it in asked:
        method, uri, host, via = it.result(DEADLINE).json()
        assert (method, uri, host) == ("GET", "/a", f"127.0.0.1:{served.port}")
        assert via


@pytest.fixture
def secure(tmp_path: Path) -> Iterator[str]:
    """nginx with TLS, which says who its client is."""
    if not build_info()["tls"]:
        pytest.skip("a build without TLS")
    pytest.importorskip("cryptography")
    import certs

    home = tmp_path / "secure"
    home.mkdir()
    leaf, port = certs.server(), free_port()
    for name, data in (
        ("big", BIG),
        ("site.pem", leaf.pem),
        ("site.key", leaf.key_pem),
        ("ca.pem", certs.root().pem),
    ):
        (home / name).write_bytes(data)
    (home / "nginx.conf").write_text(
        f"""
        daemon off; pid {home}/pid; error_log {home}/error.log; worker_processes 1;
        {"user root;" if os.getuid() == 0 else ""}
        events {{ worker_connections 256; }}
        http {{
          ssl_protocols TLSv1.2 TLSv1.3; access_log off; client_body_temp_path {home}/body; proxy_temp_path {home}/proxy;
          fastcgi_temp_path {home}/f; uwsgi_temp_path {home}/u; scgi_temp_path {home}/s;
          server {{
            listen 127.0.0.1:{port} ssl; root {home};
            ssl_certificate {home}/site.pem; ssl_certificate_key {home}/site.key;
            ssl_client_certificate {home}/ca.pem; ssl_verify_client optional;
            location /who {{ return 200 "$ssl_protocol $ssl_session_reused $ssl_client_verify $ssl_client_s_dn"; }}
            location /old {{ return 301 /who; }}
            location /down {{ return 302 http://127.0.0.1:{port}/who; }}
          }}
        }}"""
    )
    command = [
        need("nginx"),
        "-c",
        str(home / "nginx.conf"),
        "-p",
        str(home),
        "-e",
        str(home / "e"),
    ]
    with running(command, port, home / "log"):
        yield f"https://localhost:{port}"


def test_nginx_with_tls(secure: str, mgr: Manager) -> None:
    import certs

    leaf = certs.client()
    nobody = TlsOpts(ca=certs.root().pem)
    alice = TlsOpts(ca=certs.root().pem, cert=leaf.pem, key=leaf.key_pem)
    said = mgr.request("GET", secure + "/old", tls=nobody).result(DEADLINE)
    assert (said.text.split()[0], said.text.split()[2]) == ("TLSv1.3", "NONE")
    said = mgr.request("GET", secure + "/who", tls=alice).result(DEADLINE)
    assert said.text.split()[2] == "SUCCESS"
    assert "CN=alice" in said.text
    assert mgr.request("GET", secure + "/big", tls=nobody).result(DEADLINE).body == BIG
    asked = [mgr.request("GET", secure + "/big", tls=nobody, timeout=60) for _ in range(40)]
    assert all(it.result(60).body == BIG for it in asked)
    down = mgr.request("GET", secure + "/down", tls=nobody).exception(DEADLINE)
    assert "allow_downgrade" in str(down)
    untrusted = mgr.request("GET", secure + "/who").exception(DEADLINE)
    assert isinstance(untrusted, TlsError)
    other = mgr.request("GET", secure + "/who", tls=TlsOpts(ca=certs.root().pem, name="other.test"))
    assert "hostname mismatch" in str(other.exception(DEADLINE))


def test_https_goes_through_a_proxy_untouched(secure: str, proxy: str, mgr: Manager) -> None:
    import certs

    leaf = certs.client()
    alice = TlsOpts(ca=certs.root().pem, cert=leaf.pem, key=leaf.key_pem)
    refused = mgr.request("GET", secure + "/who", tls=alice, proxy=proxy).exception(DEADLINE)
    assert "407" in str(refused)
    proxy = proxy.replace("//", "//u:pw@")
    for _ in range(3):
        said = mgr.request("GET", secure + "/who", tls=alice, proxy=proxy).result(DEADLINE)
        assert "CN=alice" in said.text
    got = mgr.request("GET", secure + "/big", tls=alice, proxy=proxy).result(DEADLINE)
    assert got.body == BIG
    untrusted = mgr.request("GET", secure + "/who", proxy=proxy).exception(DEADLINE)
    assert isinstance(untrusted, TlsError)


def test_a_proxy_that_is_not_there(mgr: Manager) -> None:
    asked = mgr.request("GET", "http://example.invalid/", proxy=f"http://127.0.0.1:{free_port()}")
    assert isinstance(asked.exception(DEADLINE), ConnectionClosed)
