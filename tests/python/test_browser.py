"""A browser (headless Chromium, driven by Playwright) over TLS: a page of static files, WebSocket, fetch() with uploads, EventSource.

The browser believes the one key of this run and checks everything else itself; what the page saw comes back as the value of its script.
"""

from __future__ import annotations

import base64
import hashlib
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from conftest import DEADLINE, Served, Until
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from pymongoose import (
    MG_EV_CLOSE,
    MG_EV_HTTP_MSG,
    MG_EV_WS_MSG,
    WEBSOCKET_OP_BINARY,
    WEBSOCKET_OP_CONTINUE,
    Deflate,
    TlsOpts,
    WsLimits,
    build_info,
)

sync_api = pytest.importorskip("playwright.sync_api")
import certs

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
    pytest.mark.skipif(not build_info()["tls"], reason="a build without TLS"),
    pytest.mark.timeout(180),
]
ARGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
BIG = 1 << 20
FILES = {
    "index.html": '<!doctype html><meta charset="utf-8"><title>Zoë</title><link rel="stylesheet" href="look.css">'
    '<h1 id="h">not yet</h1><script src="app.js"></script><script type="module" src="more.mjs"></script>',
    "app.js": 'document.getElementById("h").textContent = "script ran";',
    "more.mjs": "export const answer = 42; window.answer = answer;",
    "look.css": "h1 { color: rgb(1, 2, 3) }",
}
# What the page's scripts share: a WebSocket as promises.
PRELUDE = """
window.dial = (path, protocols) => new Promise((resolve, reject) => {
    const ws = new WebSocket(`wss://${location.host}${path}`, protocols ?? []), inbox = [], waiting = [];
    ws.binaryType = "arraybuffer";
    ws.onmessage = (e) => waiting.length ? waiting.shift()[0](e.data) : inbox.push(e.data);
    ws.next = () => new Promise((r, no) => inbox.length ? r(inbox.shift()) : waiting.push([r, no]));
    ws.over = new Promise((r) => {
        ws.onclose = (e) => {
            for (const [_, no] of waiting) no(new Error(`closed with ${e.code} ${e.reason}`));
            r([e.code, e.reason, e.wasClean]);
        };
    });
    ws.onopen = () => resolve(ws);
    ws.onerror = () => reject(new Error("no connection"));
});
window.sha256 = async (bytes) => Array.from(new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)),
    (b) => b.toString(16).padStart(2, "0")).join("");
window.fill = (n) => Uint8Array.from({length: n}, (_, i) => (i * 7 + (i >> 8)) & 255);
"""


def filled(n: int) -> bytes:
    """As fill() of the prelude."""
    return bytes((i * 7 + (i >> 8)) & 255 for i in range(n))


class Site:
    """Everything a page may ask for."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.closed, self.streamed = Until(), Until()
        self.last_ids: list[str | None] = []
        self.messages: list[tuple[bool, int]] = []

    def __call__(self, conn: Any, ev: int, data: Any) -> None:
        if ev == MG_EV_HTTP_MSG:
            self.request(conn, data)
        elif ev == MG_EV_WS_MSG:
            self.message(conn, data)
        elif ev == MG_EV_CLOSE and conn.is_websocket:
            self.closed.set((conn.ws_close_code, conn.ws_close_reason))

    def request(self, conn: Any, data: Any) -> None:
        if data.uri == "/ws":
            origin = f"https://localhost:{conn.local_addr[1]}"
            conn.ws_upgrade(
                data,
                protocols=["echo.v2", "echo.v1"],
                origins=[origin],
                compress=Deflate(context_takeover=True),
                limits=WsLimits(max_message=2 * BIG, max_ratio=0),
            )
        elif data.uri == "/plain":
            conn.ws_upgrade(data, limits=WsLimits(max_message=2 * BIG))
        elif data.uri == "/elsewhere":
            conn.ws_upgrade(data, origins=["https://example.org"])
        elif data.uri == "/upload":
            body = data.body
            conn.reply(
                200, f'{{"bytes": {len(body)}, "sha256": "{hashlib.sha256(body).hexdigest()}"}}'
            )
        elif data.uri == "/form":
            form = data.form
            file = form["file"]
            conn.reply(
                200, f"{form['note']} {file.filename} {hashlib.sha256(file.data).hexdigest()}"
            )
        elif data.uri == "/events":
            self.events(conn, data)
        else:
            conn.serve_dir(data, self.root)

    def events(self, conn: Any, data: Any) -> None:
        self.last_ids.append(data.header("Last-Event-ID"))
        if len(self.last_ids) == 3:
            conn.reply(204)  # tells an EventSource to give up
            return
        with conn.start_sse(retry=0.01) as stream:
            stream.send(
                f"line one\nZoë {len(self.last_ids)}", event="tick", id=str(len(self.last_ids))
            )

    def message(self, conn: Any, data: Any) -> None:
        self.messages.append((data.is_text, len(data.data)))
        if data.is_text and data.text == "in pieces":
            piece = filled(BIG // 16)
            conn.ws_send(piece, WEBSOCKET_OP_BINARY, fin=False)
            for i in range(1, 16):
                conn.ws_send(piece, WEBSOCKET_OP_CONTINUE, fin=i == 15)
        elif data.is_text and data.text == "close":
            conn.ws_close(4001, "enough, Zoë")
        else:
            conn.ws_send(data)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, Served]]:
    root = tmp_path_factory.mktemp("site")
    for name, text in FILES.items():
        (root / name).write_text(text, encoding="utf-8")
    handler = Site(str(root))
    leaf = certs.server()
    served = Served(
        handler,
        "https://127.0.0.1:0",
        {"tls": TlsOpts(cert=leaf.pem, key=leaf.key_pem)},
        {},
    )
    yield handler, served
    served.stop()
    assert served.errors == []


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    key = (
        certs.server()
        .key.public_key()
        .public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    )
    pin = base64.b64encode(hashlib.sha256(key).digest()).decode()
    with sync_api.sync_playwright() as play:
        browser = play.chromium.launch(
            executable_path=CHROMIUM, args=[*ARGS, f"--ignore-certificate-errors-spki-list={pin}"]
        )
        yield browser
        browser.close()


@pytest.fixture
def page(site: tuple[Site, Served], browser: Any) -> Iterator[Any]:
    """The page, loaded; whatever it complains about fails the test."""
    handler, served = site
    handler.closed, handler.messages = Until(), []
    context = browser.new_context()
    context.set_default_timeout(DEADLINE * 2000)
    page = context.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    answer = page.goto(f"https://localhost:{served.port}/")
    assert answer.status == 200
    page.evaluate(PRELUDE)
    yield page
    context.close()
    assert complaints == []


def test_a_page_of_static_files_loads_over_https(site, browser):
    context = browser.new_context()
    page = context.new_page()
    answers = {}
    page.on("response", lambda r: answers.setdefault(r.url.rpartition("/")[2], r))
    top = page.goto(f"https://localhost:{site[1].port}/", wait_until="load")
    assert top.security_details()["protocol"] == "TLS 1.3"
    assert page.title() == "Zoë"
    assert page.text_content("#h") == "script ran"
    assert page.evaluate("window.answer") == 42  # a module: only with the right Content-Type
    assert page.evaluate('getComputedStyle(document.getElementById("h")).color') == "rgb(1, 2, 3)"
    assert {name: r.status for name, r in answers.items() if name != "favicon.ico"} == {
        "": 200,
        "app.js": 200,
        "more.mjs": 200,
        "look.css": 200,
    }
    context.close()


@pytest.mark.parametrize("path", ["/ws", "/plain"])
def test_text_and_binary_messages_come_back(page, path):
    got = page.evaluate(
        """async (path) => {
            const ws = await dial(path), out = [];
            for (const text of ["", "hello", "Zoë 𝄞 \\u0000"]) { ws.send(text); out.push(await ws.next()); }
            for (const n of [0, 1, 125, 126, 65535, 65536]) {
                ws.send(fill(n));
                out.push(await sha256(await ws.next()) === await sha256(fill(n)));
            }
            ws.close();
            await ws.over;
            return out;
        }""",
        path,
    )
    assert got == ["", "hello", "Zoë 𝄞 \0", *[True] * 6]


@pytest.mark.parametrize("path", ["/ws", "/plain"])
def test_a_message_of_a_mebibyte_comes_back(page, site, path):
    got = page.evaluate(
        """async ([path, n]) => {
            const ws = await dial(path), data = fill(n), text = "Zoë ".repeat(n / 8);
            ws.send(data);
            const back = await ws.next();
            ws.send(text);
            const same = await ws.next() === text;
            ws.close();
            await ws.over;
            return [back.byteLength, await sha256(back), same];
        }""",
        [path, BIG],
    )
    assert got == [BIG, hashlib.sha256(filled(BIG)).hexdigest(), True]
    assert site[0].messages == [(False, BIG), (True, BIG // 8 * 5)]


@pytest.mark.parametrize("path", ["/ws", "/plain"])
def test_a_message_in_sixteen_fragments_is_one_for_the_page(page, path):
    got = page.evaluate(
        """async (path) => {
            const ws = await dial(path);
            ws.send("in pieces");
            const data = await ws.next();
            ws.close();
            await ws.over;
            return await sha256(data);
        }""",
        path,
    )
    assert got == hashlib.sha256(filled(BIG // 16) * 16).hexdigest()


def test_compression_is_agreed_on_and_used(page, site):
    before = site[1].mgr.stats()
    extensions, same = page.evaluate(
        """async (n) => {
            const ws = await dial("/ws"), text = "the same again, ".repeat(n / 16);
            ws.send(text);
            const same = await ws.next() === text, agreed = ws.extensions;
            ws.close();
            await ws.over;
            return [agreed, same];
        }""",
        BIG,
    )
    after = site[1].mgr.stats()
    assert extensions.startswith("permessage-deflate")
    assert same
    assert after.bytes_in - before.bytes_in < BIG // 10
    assert after.bytes_out - before.bytes_out < BIG // 10
    assert (
        page.evaluate("""async () => {
        const ws = await dial("/plain"), agreed = ws.extensions;
        ws.close();
        await ws.over;
        return agreed;
    }""")
        == ""
    )


def test_the_servers_favourite_subprotocol_is_what_the_page_gets(page):
    got = page.evaluate(
        """async () => {
            const ws = await dial("/ws", ["echo.v1", "echo.v2"]), chosen = ws.protocol;
            ws.close();
            await ws.over;
            return chosen;
        }"""
    )
    assert got == "echo.v2"


def test_the_code_and_reason_of_the_page_arrive_and_are_answered(page, site):
    got = page.evaluate(
        """async () => {
            const ws = await dial("/ws");
            ws.close(4002, "bye, Zoë");
            return await ws.over;
        }"""
    )
    assert got == [4002, "", True] or got == [4002, "bye, Zoë", True]
    assert site[0].closed.get() == (4002, "bye, Zoë")


def test_the_code_and_reason_of_the_server_reach_the_page(page, site):
    got = page.evaluate(
        """async () => {
            const ws = await dial("/ws");
            ws.send("close");
            return await ws.over;
        }"""
    )
    assert got == [4001, "enough, Zoë", True]
    assert site[0].closed.get()[0] == 4001  # the browser's answer


def test_a_page_of_another_origin_is_refused(page):
    got = page.evaluate(
        """() => new Promise((resolve) => {
            const ws = new WebSocket(`wss://${location.host}/elsewhere`);
            ws.onopen = () => resolve("open");
            ws.onclose = (e) => resolve([e.code, e.wasClean]);
        })"""
    )
    assert got == [1006, False]


def test_fetch_uploads_a_body(page):
    got = page.evaluate(
        """async (n) => {
            const answer = await fetch("/upload", {method: "POST", body: fill(n)});
            return [answer.status, await answer.json()];
        }""",
        3 * BIG,
    )
    assert got == [
        200,
        {"bytes": 3 * BIG, "sha256": hashlib.sha256(filled(3 * BIG)).hexdigest()},
    ]


def test_fetch_uploads_a_form_with_a_file(page):
    got = page.evaluate(
        """async (n) => {
            const form = new FormData();
            form.append("note", "Zoë");
            form.append("file", new Blob([fill(n)]), "naïve.bin");
            return await (await fetch("/form", {method: "POST", body: form})).text();
        }""",
        BIG,
    )
    assert got == f"Zoë naïve.bin {hashlib.sha256(filled(BIG)).hexdigest()}"


def test_an_event_source_hears_events_comes_back_with_the_last_id_and_is_told_to_stop(page, site):
    site[0].last_ids.clear()
    got = page.evaluate(
        """() => new Promise((resolve) => {
            const source = new EventSource("/events"), heard = [];
            source.addEventListener("tick", (e) => heard.push([e.lastEventId, e.data]));
            source.onerror = () => {
                if (source.readyState === EventSource.CLOSED) resolve(heard);
            };
        })"""
    )
    assert got == [["1", "line one\nZoë 1"], ["2", "line one\nZoë 2"]]
    assert site[0].last_ids == [None, "1", "2"]
