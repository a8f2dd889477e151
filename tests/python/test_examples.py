"""Each program in examples/ is started on a free port and talked to."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import io
import json
import os
import socket
import socketserver
import ssl
import sys
import threading
import time
from pathlib import Path

import pytest
from programs import DEADLINE, ROOT, example, run
from receivers import Loki
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from pymongoose import build_info
from pymongoose.sinks import Spool


def test_every_python_example_is_tested_here() -> None:
    text = Path(__file__).read_text()
    names = sorted(p.name for p in (ROOT / "examples").glob("*.py"))
    assert names
    assert [n for n in names if f'example("{n}"' not in text] == []


def test_http_hello_greets_and_answers_healthz_natively() -> None:
    with example("http_hello.py") as it:
        assert it.get("/") == b"Hello, World!\n"
        assert it.get("/?name=J%C3%BCrgen") == "Hello, Jürgen!\n".encode()
        assert it.get("/healthz") == b"ok\n"


def test_static_site_serves_its_own_source() -> None:
    source = (ROOT / "examples" / "static_site.py").read_bytes()
    with example("static_site.py") as it:
        assert it.get("/files/static_site.py") == source
        status, _, headers = it.ask("HEAD", "/files/static_site.py")
        assert (status, headers["Content-Type"]) == (200, "text/x-python; charset=utf-8")
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert [it.ask("GET", p)[0] for p in ("/", "/files/", "/files/../x", "/x")] == [
            200,
            404,
            404,
            404,
        ]


def test_json_api_adds_lists_and_refuses() -> None:
    with example("json_api.py") as it:
        order = {"customer": {"name": "Ada"}, "items": [{"price": 9.5}, {"price": 1}]}
        status, body, headers = it.ask("POST", "/orders", json.dumps(order).encode())
        assert (status, headers["Location"]) == (201, "/orders/1")
        assert json.loads(body) == {"id": 1, "name": "Ada", "total": 10.5}
        assert json.loads(it.get("/orders")) == [json.loads(body)]
        assert it.ask("POST", "/orders", b"{")[0] == 422
        assert it.ask("DELETE", "/orders")[0] == 405
        assert it.ask("GET", "/")[0] == 404


def test_threaded_makes_a_thumbnail_or_a_hash() -> None:
    try:
        from PIL import Image
    except ImportError:
        Image = None
    with example("threaded.py") as it:
        if Image is None:
            want = hashlib.pbkdf2_hmac("sha256", b"body", b"salt", 200_000).hex() + "\n"
            assert it.ask("POST", "/", b"body")[:2] == (200, want.encode())
        else:
            file = io.BytesIO()
            Image.new("RGB", (640, 320), "red").save(file, "PNG")
            status, body, headers = it.ask("POST", "/", file.getvalue())
            assert (status, headers["Content-Type"]) == (200, "image/png")
            assert Image.open(io.BytesIO(body)).size == (128, 64)
            assert it.ask("POST", "/", b"no image")[0] == 415
        assert it.ask("GET", "/")[0] == 405


def test_background_thread_answers_each_connection_its_own() -> None:
    with example("background_thread.py") as it:
        for path in ("/one", "/two"):
            assert it.get(path).decode().strip() == hashlib.sha256(path.encode()).hexdigest()


def test_timers_tick_fire_once_and_stay_cancelled() -> None:
    with example("timers.py") as it:
        end = time.monotonic() + DEADLINE
        while True:
            seen = json.loads(it.get())
            if (seen["ticks"] > 2 and seen["once"]) or time.monotonic() > end:
                break
        assert seen["ticks"] > 2
        assert seen["once"] is True
        assert seen["cancelled"] is True


def test_tcp_echo_sends_whole_lines_back() -> None:
    with (
        example("tcp_echo.py") as it,
        socket.create_connection(it.address, DEADLINE) as sock,
        sock.makefile("rb") as reader,
    ):
        sock.sendall(b"one\ntw")
        assert reader.readline() == b"ONE\n"
        sock.sendall(b"o\n")
        assert reader.readline() == b"TWO\n"


def test_udp_echo_answers_the_sender() -> None:
    with (
        example("udp_echo.py") as it,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as a,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as b,
    ):
        for sock, text in ((a, b"first"), (b, b"second"), (a, b"third")):
            sock.settimeout(DEADLINE)
            sock.sendto(text, it.address)
            assert sock.recv(100) == text


def test_streaming_upload_returns_what_it_took() -> None:
    data = os.urandom(12 << 20)  # larger than Limits.max_body and than Limits.send_high
    with example("streaming_upload.py") as it:
        assert it.ask("GET", "/")[0] == 404
        assert it.ask("PUT", "/", data)[:2] == (201, f"{len(data)} bytes\n".encode())
        assert it.get() == data
        with socket.create_connection(it.address, DEADLINE) as sock:  # cut off: nothing is replaced
            sock.sendall(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf")
        assert it.get() == data


def test_sinks_quickstart_writes_what_it_logs_without_cards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with example("sinks_quickstart.py") as it:
        assert it.get("/buy?item=lamp") == b"thank you\n"
        assert it.ask("GET", "/x")[0] == 404
        assert it.get("/buy?item=chair") == b"thank you\n"
        assert json.loads(it.get("/stats")) == {"written": 3}
        assert it.get("/buy?item=table") == b"thank you\n"
    events = [json.loads(line) for line in Path("events.jsonl").read_text().splitlines()]
    assert [e.get("item") for e in events] == ["lamp", None, "chair", "table"]
    assert [e["level"] for e in events] == ["info", "warning", "info", "info"]
    assert not any("card" in e for e in events)


class Collector(socketserver.StreamRequestHandler):
    """Takes batches, each once; refuses the one with a bomb in it."""

    batches: dict[str, list[str]]

    def handle(self) -> None:
        while head := self.rfile.readline():
            _, batch_id, n = head.split()
            items = [json.loads(self.rfile.readline())["item"] for _ in range(int(n))]
            if "bomb" in items:
                self.wfile.write(b"NO bombs\n")
            else:
                self.batches[batch_id.decode()] = items
                self.wfile.write(b"OK\n")


def test_a_sink_of_ones_own_keeps_events_until_its_collector_takes_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    collector = type("Collecting", (Collector,), {"batches": {}})
    spool = Spool("spool")
    spool.open()
    spool.append(b'{"item":"lamp"}')  # left by an earlier run
    spool.close()
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), collector) as server:
        server.daemon_threads = True
        where = "{}:{}".format(*server.server_address)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            with example("sinks_own.py", "--collector", where) as it:  # example("sinks_own.py")
                assert it.get("/chair") == b"thank you\n"
            with example("sinks_own.py", "--collector", where) as it:
                assert it.get("/bomb") == b"thank you\n"
        finally:
            server.shutdown()
            thread.join()
    assert sorted(i for items in collector.batches.values() for i in items) == ["chair", "lamp"]
    (letter,) = Path("refused.jsonl").read_text().splitlines()
    assert json.loads(letter)["event"]["item"] == "bomb"
    assert json.loads(letter)["reason"] == "bombs"


def test_ws_echo_sends_back_what_it_gets() -> None:
    with example("ws_echo.py") as it, connect(it.url, proxy=None, open_timeout=DEADLINE) as ws:
        for message in ("Zoë", b"\xff\x00"):
            ws.send(message)
            assert ws.recv(DEADLINE) == message


def test_ws_chat_has_rooms_and_a_page() -> None:
    with example("ws_chat.py") as it:
        assert b"new WebSocket" in it.get()
        assert it.ask("GET", "/nowhere")[0] == 404
        url = it.url.replace("http", "ws", 1) + "/room/"
        options = {"proxy": None, "subprotocols": [Subprotocol("chat.v1")]}
        with connect(url + "a", **options) as one, connect(url + "b", **options) as other:
            assert one.subprotocol == "chat.v1"
            for ws in (one, other):
                assert json.loads(ws.recv(DEADLINE)) == {
                    "from": "server",
                    "text": "somebody joined",
                }
            with connect(url + "a", **options) as two:
                assert json.loads(one.recv(DEADLINE))["text"] == "somebody joined"
                two.recv(DEADLINE)
                two.send(json.dumps({"from": "Ada", "text": "hello"}))
                for ws in (one, two):
                    assert json.loads(ws.recv(DEADLINE)) == {"from": "Ada", "text": "hello"}
            assert json.loads(one.recv(DEADLINE))["text"] == "somebody left (1000)"
            one.send("no JSON")
            with pytest.raises(ConnectionClosed) as caught:
                one.recv(DEADLINE)
            assert caught.value.rcvd is not None
            assert caught.value.rcvd.code == 1008
            with pytest.raises(TimeoutError):
                other.recv(0)


def test_upload_keeps_what_a_form_brought() -> None:
    body = (
        b'--b\r\nContent-Disposition: form-data; name="note"\r\n\r\nhello\r\n'
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="../a.txt"\r\n\r\ncontent\r\n--b--\r\n'
    )
    with example("upload.py") as it:
        assert b"multipart/form-data" in it.get()
        assert it.ask("PUT", "/")[0] == 405
        with contextlib.closing(http.client.HTTPConnection(*it.address, timeout=DEADLINE)) as c:
            c.request("POST", "/", body, {"Content-Type": "multipart/form-data; boundary=b"})
            got = json.loads(c.getresponse().read())
        assert got["note"] == "hello"
        (file,) = got["files"]
        assert (file["name"], file["bytes"]) == ("../a.txt", 7)
        assert os.path.basename(file["path"]) == "a.txt"
        assert Path(file["path"]).read_bytes() == b"content"


def test_sse_ticks() -> None:
    with example("sse.py") as it:
        assert b"EventSource" in it.get()
        with contextlib.closing(http.client.HTTPConnection(*it.address, timeout=DEADLINE)) as c:
            c.request("GET", "/events")
            answer = c.getresponse()
            lines = [answer.readline() for _ in range(5)]
        assert lines[:3] == [b":\n", b"\n", b"event: tick\n"]
        assert lines[4].startswith(b"data: ")


def test_asyncio_embed_is_answered_by_tasks() -> None:
    with example("asyncio_embed.py") as it:
        for path in ("/a", "/b"):
            assert it.get(path).decode() == f"{path} was answered by a task\n"


def test_access_log_arrives_in_the_form_that_loki_takes() -> None:
    with Loki() as loki:
        with example(
            "sinks_access_log_loki.py", "--loki", loki.url
        ) as it:  # as in example("sinks_access_log_loki.py")
            assert it.get() == b"Hello, World!\n"
            assert it.ask("GET", "/secret?x=1")[0] == 404
        streams = {dict(labels)["level"]: entries for labels, entries in loki.streams.items()}
        ((_, line, _),) = streams["info"]
        record = json.loads(line)
        assert (record["method"], record["path"], record["status"]) == ("GET", "/", 200)
        ((_, line, _),) = streams["warning"]
        record = json.loads(line)
        assert (record["path"], record["query"], record["status"]) == ("/secret", "x=1", 404)
        assert {dict(labels)["app"] for labels in loki.streams} == {"example"}


def test_client_is_a_gateway_and_asks_itself() -> None:
    with example("client.py") as it:
        assert it.get() == b"hello from the gateway\n"
        assert it.get(f"/?url={it.url}/") == b"hello from the gateway\n"
        assert it.ask("GET", "/?url=gopher://x/")[0] == 400
        assert it.ask("GET", "/?url=http://127.0.0.1:1/")[0] == 502
    said = run(sys.executable, ROOT / "examples" / "client.py").splitlines()
    assert sorted(line.split()[0] for line in said[1:]) == ["200", "200"]


def test_reverse_proxy_is_not_seen() -> None:
    """What it does when things go wrong: test_reverse_proxy.py."""
    with example("json_api.py") as api, example("reverse_proxy.py", api.url) as it:
        order = b'{"customer": {"name": "Ada"}, "items": [{"price": 9.5}]}'
        status, body, headers = it.ask("POST", "/orders", order)
        assert (status, headers["Location"]) == (201, "/orders/1")
        assert it.get("/orders") == b"[" + body + b"]"
        assert it.ask("GET", "/nowhere")[0] == 404


def test_behind_proxy_tells_who_asked() -> None:
    with example("behind_proxy.py") as it:
        host = f"{it.address[0]}:{it.address[1]}"
        assert it.get("/x").decode() == f"127.0.0.1 asked for http://{host}/x\n"
        with socket.create_connection(it.address, DEADLINE) as sock:
            sock.sendall(
                b"GET /x HTTP/1.1\r\nHost: site\r\nConnection: close\r\n"
                b"X-Forwarded-For: 203.0.113.7\r\nX-Forwarded-Proto: https\r\n\r\n"
            )
            answer = sock.makefile("rb").read()
        assert answer.endswith(b"203.0.113.7 asked for https://site/x\n")


def test_demo_prints_what_to_try_and_all_of_it_works() -> None:
    with example("demo.py") as it:
        assert it.get() == b"Hello, World!\n"
        status, body, _ = it.ask("POST", "/json", b'{"name": "Ada"}')
        assert (status, json.loads(body)) == (200, {"hello": "Ada"})
        assert json.loads(it.get("/threaded"))["thread"].startswith("worker")
        assert json.loads(it.get("/stats")) == {"requests": 4, "jobs": 1}
        assert it.ask("GET", "/nowhere")[0] == 404


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.py")), ids=lambda p: p.name)
def test_example_is_short_and_says_what_it_is(path: object) -> None:
    lines = path.read_text().splitlines()  # type: ignore[attr-defined]
    assert 15 <= len(lines) <= (90 if path.name == "reverse_proxy.py" else 65)  # type: ignore[attr-defined]
    assert lines[0].startswith('"""')
    assert lines[1].endswith('"""')


@pytest.mark.skipif(not build_info()["tls"], reason="a build without TLS")
def test_https_reload_serves_new_certificates(tmp_path: Path) -> None:
    certs = pytest.importorskip("certs")
    cert, key = tmp_path / "site.pem", tmp_path / "site.key"

    def write() -> int:
        leaf = certs.root().issue()
        key.write_bytes(leaf.key_pem)
        cert.write_bytes(leaf.pem)
        return int(leaf.cert.serial_number)

    def ask(address: tuple[str, int]) -> tuple[int, bytes]:
        ctx = ssl.create_default_context(cadata=certs.root().pem.decode())
        with ctx.wrap_socket(
            socket.create_connection(address, DEADLINE), server_hostname="localhost"
        ) as sock:
            shown = sock.getpeercert()
            assert shown is not None
            sock.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            return int(str(shown["serialNumber"]), 16), sock.makefile("rb").read()

    first = write()
    how = ("--cert", cert, "--key", key, "--every", "0.05")
    with example("https_reload.py", *how) as it:  # as in example("https_reload.py")
        serial, answer = ask(it.address)
        assert serial == first
        assert b"TLSv1.3" in answer
        second = write()
        end = time.monotonic() + DEADLINE
        while ask(it.address)[0] != second:
            assert time.monotonic() < end, "the new certificate never came"


def test_sinks_sqlite_shows_what_it_stored(tmp_path: Path) -> None:
    database = tmp_path / "requests.db"
    with example("sinks_sqlite.py", "--db", database) as it:  # as in example("sinks_sqlite.py")
        assert it.get("/a") == it.get("/b?c=d") == b"hello\n"
        end = time.monotonic() + DEADLINE
        while len(shown := json.loads(it.get("/recent"))) < 3:
            assert time.monotonic() < end, "they never came"
        assert [(e["method"], e["path"]) for e in shown] == [
            ("GET", "/b"),
            ("GET", "/a"),
            (None, None),
        ]


def test_sinks_fastapi_postgres_stores_each_request() -> None:
    postgres = pytest.importorskip("postgres")
    with (
        postgres.running() as db,
        example("sinks_fastapi_postgres.py", "--dsn", db.dsn) as it,
    ):  # as in example("sinks_fastapi_postgres.py")
        for number in range(20):
            assert json.loads(it.get(f"/orders/{number}")) == {"order": number}
        assert it.ask("GET", "/orders/x")[0] == 422
        end = time.monotonic() + DEADLINE
        while db.ask("SELECT to_regclass('requests')") == [(None,)]:
            assert time.monotonic() < end, "the table never came"
        query = "SELECT method, path, status FROM requests WHERE message = 'request' ORDER BY ts"
        while len(rows := db.ask(query)) < 21:
            assert time.monotonic() < end, "they never came"
    assert rows == [*(("GET", f"/orders/{n}", 200) for n in range(20)), ("GET", "/orders/x", 422)]
