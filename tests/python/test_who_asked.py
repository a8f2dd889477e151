"""Who asked, as an application behind real proxies sees it: HAProxy and nginx tell it by the PROXY protocol, X-Forwarded-* and Forwarded, and
nothing that a client writes itself changes it. Clients are curl, at 127.0.0.5; the proxies connect from 127.0.0.1."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import certs
import pytest
from conftest import Served, eventually, on_http

from pymongoose import MG_EV_HTTP_MSG, MG_EV_WS_MSG, Connection, TlsOpts

CLIENT = "127.0.0.5"
PROXY = "127.0.0.1"
SITE = "shop.example"
# All that a client may try, twice where proxies may look at the first or the last of them only.
LIES = [
    "X-Forwarded-For: 6.6.6.6",
    "X-Forwarded-For: 127.0.0.1",
    "X-Forwarded-Proto: gopher",
    "X-Forwarded-Host: evil.example",
    "X-Real-IP: 6.6.6.6",
    "Forwarded: for=6.6.6.6;proto=gopher;host=evil.example",
    "X_Forwarded_For: 6.6.6.6",
]
LIE_OF_PROXY = b"PROXY TCP4 6.6.6.6 6.6.6.7 1 2\r\n"


def binary(name: str) -> str:
    path = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
    if path is None:
        pytest.skip(f"{name} is not installed: scripts/bootstrap.sh peers installs it")
    return path


def free_port() -> int:
    with socket.socket() as s:
        s.bind((PROXY, 0))
        return int(s.getsockname()[1])


@contextlib.contextmanager
def running(call: list[str], port: int) -> Iterator[None]:
    def up() -> bool:
        with contextlib.suppress(OSError), socket.create_connection((PROXY, port)):
            return True
        return False

    with subprocess.Popen(call, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        try:
            eventually(lambda: up() or process.poll() is not None)
            assert process.poll() is None, process.stderr.read() if process.stderr else ""
            yield
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(5)
            process.kill()


@contextlib.contextmanager
def haproxy(folder: Path, to: int, *, server: str = "", frontend: str = "", bind: str = "", mode: str = "http") -> Iterator[int]:  # fmt: skip
    port = free_port()
    (folder / "haproxy.cfg").write_text(f"""
defaults
  mode {mode}
  timeout connect 5s
  timeout client 10s
  timeout server 10s
frontend front
  bind {PROXY}:{port} {bind}
  {frontend}
  default_backend us
backend us
  server us {PROXY}:{to} {server}
""")
    with running([binary("haproxy"), "-db", "-f", str(folder / "haproxy.cfg")], port):
        yield port


@contextlib.contextmanager
def nginx(folder: Path, text: str) -> Iterator[int]:
    port = free_port()
    modules = list(Path("/usr/lib/nginx/modules").glob("ngx_stream_module.so"))
    load = f"load_module {modules[0]};\n" if modules and "stream {" in text else ""
    if "stream {" in text and not modules:
        pytest.skip("nginx has no stream module: scripts/bootstrap.sh peers installs it")
    root = "user root;\n" if os.getuid() == 0 else ""
    (folder / "nginx.conf").write_text(
        load
        + root
        + f"daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/errors;\nevents {{}}\n"
        + text.replace("$PORT", str(port)).replace("$FOLDER", str(folder))
    )
    call = [binary("nginx"), "-e", str(folder / "errors"), "-p", str(folder), "-c", str(folder / "nginx.conf")]  # fmt: skip
    with running(call, port):
        yield port


NGINX_HTTP = """
http {
  access_log off; client_body_temp_path $FOLDER/b; proxy_temp_path $FOLDER/p; fastcgi_temp_path $FOLDER/f;
  uwsgi_temp_path $FOLDER/u; scgi_temp_path $FOLDER/s;
  server {
    listen 127.0.0.1:$PORT %(tls)s;
    location / { proxy_pass http://127.0.0.1:%(to)d; proxy_http_version 1.1; proxy_set_header Host $host; %(fields)s }
  }
}
"""
X_FIELDS = "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header X-Forwarded-Proto $scheme;"
FORWARDED = 'proxy_set_header Forwarded "for=$remote_addr;proto=$scheme;host=$host";'


def seen_as(message: Any, conn: Connection) -> dict[str, Any]:
    info = conn.proxy_info
    return {
        "client": message.client_addr and message.client_addr[0],
        "remote": conn.remote_addr and conn.remote_addr[0],
        "peer": conn.peer_addr and conn.peer_addr[0],
        "scheme": message.scheme,
        "host": message.host,
        "version": info and info["version"],
        "authority": info and info["authority"],
    }


@pytest.fixture
def site(serve: Callable[..., Served]) -> Callable[..., Served]:
    def make(url: str = "http://127.0.0.1:0", **listen: Any) -> Served:
        return serve(on_http(lambda conn, m: conn.reply_json(seen_as(m, conn))), url, listen=listen)

    return make


def ask(port: int, *, scheme: str = "http", lies: bool = True, more: tuple[str, ...] = (), path: str = "/") -> dict[str, Any]:  # fmt: skip
    """What the application said to curl, which is at CLIENT and asks for SITE."""
    call = [
        binary("curl"),
        "--silent",
        "--show-error",
        "--max-time",
        "20",
        "--insecure",
        "--noproxy",
        "*",
    ]
    call += ["--interface", CLIENT, "--connect-to", f"{SITE}:80:{PROXY}:{port}"]
    call += ["--connect-to", f"{SITE}:443:{PROXY}:{port}", *more]
    for lie in LIES if lies else []:
        call += ["--header", lie]
    done = subprocess.run(
        [*call, f"{scheme}://{SITE}{path}"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def told(answer: dict[str, Any], *keys: str) -> list[Any]:
    return [answer[key] for key in keys]


@pytest.fixture
def pem(tmp_path: Path) -> str:
    leaf = certs.server()
    (tmp_path / "front.pem").write_bytes(leaf.pem + leaf.key_pem)
    (tmp_path / "front.key").write_bytes(leaf.key_pem)
    return str(tmp_path / "front.pem")


# ---- the PROXY protocol ----


@pytest.mark.parametrize(
    ("option", "version"), [("send-proxy", 1), ("send-proxy-v2", 2), ("send-proxy-v2 proxy-v2-options crc32c,authority,unique-id", 2)]
)  # fmt: skip
def test_haproxy_tells_by_the_proxy_protocol(site, tmp_path, option, version) -> None:
    served = site(proxy_protocol=[PROXY])
    with haproxy(tmp_path, served.port, server=option) as port:
        answer = ask(port)
    assert told(answer, "client", "remote", "peer") == [CLIENT, CLIENT, PROXY]
    assert told(answer, "scheme", "host", "version") == ["http", SITE, version]


def test_haproxy_tells_the_name_asked_for_by_tls(site, tmp_path, pem) -> None:
    served = site(proxy_protocol=[PROXY])
    with haproxy(tmp_path, served.port, server="send-proxy-v2 proxy-v2-options authority", bind=f"ssl crt {pem}") as port:  # fmt: skip
        answer = ask(port, scheme="https")
    assert told(answer, "client", "authority", "host") == [CLIENT, SITE, SITE]
    assert (
        answer["scheme"] == "http"
    )  # how it came to us: version 2 says nothing of it that is believed


@pytest.mark.parametrize("option", ["send-proxy", "send-proxy-v2"])
def test_haproxy_passes_tls_through_behind_its_header(site, tmp_path, option) -> None:
    leaf = certs.server()
    served = site(
        "https://127.0.0.1:0", proxy_protocol=[PROXY], tls=TlsOpts(cert=leaf.pem, key=leaf.key_pem)
    )
    with haproxy(tmp_path, served.port, server=option, mode="tcp") as port:
        answer = ask(port, scheme="https")
    assert told(answer, "client", "remote", "peer", "scheme", "host") == [CLIENT, CLIENT, PROXY, "https", SITE]  # fmt: skip


def test_nginx_tells_by_the_proxy_protocol(site, tmp_path) -> None:
    served = site(proxy_protocol=[PROXY])
    text = (
        "stream { server { listen 127.0.0.1:$PORT; proxy_pass 127.0.0.1:%d; proxy_protocol on; } }"
    )
    with nginx(tmp_path, text % served.port) as port:
        answer = ask(port)
    assert told(answer, "client", "peer", "scheme", "host", "version") == [CLIENT, PROXY, "http", SITE, 1]  # fmt: skip


def test_a_proxy_header_of_the_client_behind_that_of_the_proxy_is_no_header(site, tmp_path) -> None:
    """HAProxy in TCP mode passes on what the client wrote: behind its own header that is a malformed request."""
    served = site(proxy_protocol=[PROXY])
    with (
        haproxy(tmp_path, served.port, server="send-proxy-v2", mode="tcp") as port,
        socket.create_connection((PROXY, port), source_address=(CLIENT, 0)) as sock,
    ):
        sock.sendall(LIE_OF_PROXY + b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        got = b""
        while part := sock.recv(65536):
            got += part
    assert got.startswith(b"HTTP/1.1 400 ")
    assert b"6.6.6.6" not in got


def test_a_peer_that_is_no_proxy_may_send_no_proxy_header(site) -> None:
    served = site(proxy_protocol=[PROXY])
    call = [
        binary("curl"),
        "--silent",
        "--interface",
        CLIENT,
        "--write-out",
        "%{http_code}",
        "--output",
        os.devnull,
    ]
    for url, code in (("", "200"), ("--haproxy-protocol", "400")):
        options = [url] if url else []
        done = subprocess.run([*call, *options, f"http://{PROXY}:{served.port}/"], capture_output=True, text=True, check=False)  # fmt: skip
        assert done.stdout == code
    stats = served.mgr.stats()
    assert (stats.requests, stats.responses_4xx) == (2, 1)


# ---- header fields ----

HAPROXY_X = """option forwardfor
  http-request set-header X-Forwarded-Proto %[ssl_fc,iif(https,http)]
  http-request set-header X-Forwarded-Host %[req.hdr(host)]"""
HAPROXY_FORWARDED = 'http-request set-header Forwarded "for=%[src];proto=%[ssl_fc,iif(https,http)];host=%[req.hdr(host)]"'
ALL_X = ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"]


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize(
    ("frontend", "headers"), [(HAPROXY_X, ALL_X), (HAPROXY_FORWARDED, ["forwarded"])], ids=["x-forwarded", "forwarded"]
)  # fmt: skip
def test_haproxy_tells_by_header_fields(site, tmp_path, pem, scheme, frontend, headers) -> None:
    served = site(trusted_proxies=[PROXY], trusted_headers=headers)
    bind = f"ssl crt {pem}" if scheme == "https" else ""
    with haproxy(tmp_path, served.port, frontend=frontend, bind=bind) as port:
        for lies in (False, True):
            answer = ask(port, scheme=scheme, lies=lies)
            assert told(answer, "client", "scheme", "host", "remote") == [CLIENT, scheme, SITE, PROXY]  # fmt: skip


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize(
    ("fields", "headers"), [(X_FIELDS, None), (FORWARDED, ["forwarded"])], ids=["x-forwarded", "forwarded"]
)  # fmt: skip
def test_nginx_tells_by_header_fields(site, tmp_path, pem, scheme, fields, headers) -> None:
    served = site(trusted_proxies=[PROXY], **({"trusted_headers": headers} if headers else {}))
    tls = "ssl; ssl_certificate $FOLDER/front.pem; ssl_certificate_key $FOLDER/front.key" if scheme == "https" else ""  # fmt: skip
    with nginx(tmp_path, NGINX_HTTP % {"tls": tls, "to": served.port, "fields": fields}) as port:
        for lies in (False, True):
            answer = ask(port, scheme=scheme, lies=lies)
            assert told(answer, "client", "scheme", "host", "remote") == [CLIENT, scheme, SITE, PROXY]  # fmt: skip


def test_a_chain_of_trusted_proxies_is_walked_back_to_the_client(site, tmp_path, pem) -> None:
    served = site(trusted_proxies=[PROXY])
    fields = X_FIELDS.replace(
        "X-Forwarded-Proto $scheme", "X-Forwarded-Proto $http_x_forwarded_proto"
    )
    with (
        nginx(tmp_path, NGINX_HTTP % {"tls": "", "to": served.port, "fields": fields}) as inner,
        haproxy(tmp_path, inner, frontend=HAPROXY_X, bind=f"ssl crt {pem}") as outer,
    ):
        answer = ask(outer, scheme="https")
    assert told(answer, "client", "scheme", "host") == [CLIENT, "https", SITE]


@pytest.mark.parametrize("headers", [ALL_X, ["forwarded"]], ids=["x-forwarded", "forwarded"])
def test_fields_of_a_peer_that_is_no_proxy_change_nothing(site, headers) -> None:
    served = site(trusted_proxies=[PROXY], trusted_headers=headers)
    answer = ask(served.port)
    assert told(answer, "client", "remote", "scheme", "host") == [CLIENT, CLIENT, "http", SITE]


def test_the_proxy_protocol_and_header_fields_go_together(site, tmp_path) -> None:
    """HAProxy (PROXY v2, TCP) in front of nginx's fields: the fields count when the client that HAProxy tells is nginx's address."""
    served = site(proxy_protocol=[PROXY], trusted_proxies=[CLIENT])
    with haproxy(tmp_path, served.port, server="send-proxy-v2", mode="tcp") as port:
        answer = ask(port, lies=False, more=("--header", "X-Forwarded-For: 203.0.113.9"))
        assert told(answer, "client", "remote", "peer") == ["203.0.113.9", CLIENT, PROXY]


def test_websockets_behind_haproxy_know_their_client(serve, tmp_path) -> None:
    websockets = pytest.importorskip("websockets.sync.client")

    def handler(conn: Connection, ev: int, data: Any) -> None:
        if ev == MG_EV_HTTP_MSG:
            conn.userdata = seen_as(data, conn)
            conn.ws_upgrade(data)
        elif ev == MG_EV_WS_MSG:
            conn.ws_send(json.dumps(conn.userdata))

    served = serve(handler, listen={"trusted_proxies": [PROXY], "trusted_headers": ALL_X})
    with haproxy(tmp_path, served.port, frontend=HAPROXY_X) as port:
        sock = socket.create_connection((PROXY, port), source_address=(CLIENT, 0))
        lies = {"X-Forwarded-For": "6.6.6.6", "X-Forwarded-Host": "evil.example"}
        with websockets.connect(f"ws://{SITE}/", sock=sock, additional_headers=lies) as ws:
            ws.send("who am I?")
            answer = json.loads(ws.recv(10))
    assert told(answer, "client", "scheme", "host", "peer") == [CLIENT, "http", SITE, PROXY]
