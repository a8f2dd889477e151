"""Manager.ws_connect() against servers of other people (websockets, aiohttp) and against our own."""

import asyncio
import contextlib
import threading

import aiohttp.web
import pytest
import websockets.sync.server as ws_server
from conftest import DEADLINE, Until, eventually
from ws_helpers import BINARY, TEXT, WsHandler, binary, echo, text

from pymongoose import (
    MG_EV_CLOSE,
    MG_EV_CONNECT,
    MG_EV_ERROR,
    MG_EV_READ,
    MG_EV_WS_MSG,
    MG_EV_WS_OPEN,
    WEBSOCKET_OP_BINARY,
    Deflate,
    HttpMessage,
    MongooseError,
    WsLimits,
)


@contextlib.contextmanager
def websockets_server(handler, **options):
    options.setdefault("compression", None)
    with ws_server.serve(handler, "127.0.0.1", 0, **options) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.socket.getsockname()[1]
        finally:
            server.shutdown()
            thread.join(DEADLINE)


def echo_all(ws):
    for message in ws:
        ws.send(message)


class Client:
    """A handler that says what it is told to when it is open, and collects what comes."""

    def __init__(self, *say):
        self.say, self.got, self.events, self.errors = say, [], [], []
        self.enough, self.closed = Until(), Until()
        self.answer = self.protocol = None

    def __call__(self, conn, ev, data):
        self.events.append(ev)
        if ev == MG_EV_WS_OPEN:
            assert isinstance(data, HttpMessage)
            self.answer, self.protocol = data, conn.ws_protocol
            for message in self.say:
                conn.ws_send(message, WEBSOCKET_OP_BINARY if isinstance(message, bytes) else 1)
        elif ev == MG_EV_WS_MSG:
            self.got.append(data.text if data.is_text else data.data)
            if len(self.got) == len(self.say):
                self.enough.set()
        elif ev == MG_EV_ERROR:
            self.errors.append(data)
        elif ev == MG_EV_CLOSE:
            self.closed.set((conn.ws_close_code, conn.ws_close_reason))


MESSAGES = [
    "Zoë",
    b"\xff\x00",
    "",
    b"",
    text(125),
    text(126),
    binary(65535),
    binary(65536),
    text(200_000),
]


@pytest.mark.parametrize(
    "compress", [False, True, Deflate(context_takeover=True, level=6, window_bits=12)]
)
@pytest.mark.parametrize("theirs", [None, "deflate"])
def test_messages_of_all_sizes_come_back(serve, compress, theirs):
    server = serve(url=None)
    client = Client(*MESSAGES)
    with websockets_server(echo_all, compression=theirs) as port:
        conn = server.mgr.ws_connect(f"ws://127.0.0.1:{port}/", client, compress=compress)
        client.enough.get()
        assert client.got == MESSAGES
        assert (conn.is_client, conn.is_websocket) == (True, True)
        assert conn.ws_compressed == bool(compress and theirs)
        conn.ws_close(4000, "done")
        assert client.closed.get() == (4000, "done")


def test_the_handshake_says_what_it_is_told(serve):
    server = serve(url=None)
    client = Client()
    seen = Until()

    def look(ws):
        r = ws.request
        seen.set(
            (
                r.path,
                r.headers.get("X-Me"),
                r.headers.get("Origin"),
                r.headers.get("Host"),
                ws.subprotocol,
            )
        )
        ws.close(1000, "bye")

    with websockets_server(look, subprotocols=["b", "a"]) as port:
        server.mgr.ws_connect(
            f"ws://127.0.0.1:{port}/room?a=%41",
            client,
            protocols=["a", "c"],
            headers={"X-Me": "you 100%s", "Origin": "http://o.example"},
        )
        assert seen.get() == (
            "/room?a=%41",
            "you 100%s",
            "http://o.example",
            f"127.0.0.1:{port}",
            "a",
        )
        assert client.closed.get() == (1000, "bye")
    assert client.protocol == "a"
    assert client.answer.status() == 101
    assert client.answer.header("Upgrade").lower() == "websocket"
    assert client.events.count(MG_EV_CONNECT) == 1
    assert client.errors == []


def test_aiohttp_server(serve):
    server = serve(url=None)
    client = Client(*MESSAGES)
    port = Until()
    stop = threading.Event()

    async def handle(request):
        ws = aiohttp.web.WebSocketResponse(compress=True)
        await ws.prepare(request)
        async for message in ws:
            if message.type == aiohttp.WSMsgType.TEXT:
                await ws.send_str(message.data)
            elif message.type == aiohttp.WSMsgType.BINARY:
                await ws.send_bytes(message.data)
        return ws

    async def main():
        app = aiohttp.web.Application()
        app.router.add_get("/", handle)
        runner = aiohttp.web.AppRunner(app)
        await runner.setup()
        site = aiohttp.web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port.set(runner.addresses[0][1])
        await asyncio.to_thread(stop.wait, DEADLINE)
        await runner.cleanup()

    thread = threading.Thread(target=asyncio.run, args=(main(),))
    thread.start()
    try:
        conn = server.mgr.ws_connect(f"ws://127.0.0.1:{port.get()}/", client, compress=True)
        client.enough.get()
        assert client.got == MESSAGES
        assert conn.ws_compressed
        conn.ws_close()
        assert client.closed.get()[0] == 1000
    finally:
        stop.set()
        thread.join(DEADLINE)


def test_a_refusal_is_an_error(serve):
    server = serve(url=None)

    def refuse(connection, request):
        return connection.respond(403, "not you\n")

    for options in ({"process_request": refuse},):
        client = Client()
        with websockets_server(echo_all, **options) as port:
            server.mgr.ws_connect(f"ws://127.0.0.1:{port}/", client)
            client.closed.get()
        assert len(client.errors) == 1
        assert "403" in client.errors[0]
        assert MG_EV_WS_OPEN not in client.events


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: AAAA\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno",
        b"SSH-2.0-x\r\n\r\n",
        b"",
    ],
)
def test_what_is_no_websocket_server_is_an_error(serve, answer):
    def handler(conn, ev, data):
        if ev == MG_EV_READ:
            if answer:
                conn.send(answer)
            conn.drain()

    server = serve(handler, "tcp://127.0.0.1:0")
    client = Client()
    server.mgr.ws_connect(f"ws://127.0.0.1:{server.port}/", client)
    client.closed.get()
    assert len(client.errors) == 1
    assert MG_EV_WS_OPEN not in client.events


def test_both_ends_are_ours(serve):
    handler = WsHandler(echo, compress=True, protocols=["p"])
    server = serve(handler)
    client = Client(*MESSAGES)
    conn = server.mgr.ws_connect(
        f"ws://127.0.0.1:{server.port}/", client, compress=True, protocols=["p"]
    )
    client.enough.get()
    assert client.got == MESSAGES
    assert (client.protocol, conn.ws_compressed) == ("p", True)
    conn.ws_close(4999, "tschüß")
    assert handler.wait_closed() == (4999, "tschüß")
    assert client.closed.get() == (4999, "")  # the answer repeats the code alone


def test_a_client_over_a_unix_socket(serve, tmp_path):
    path = tmp_path / "s"
    server = serve(WsHandler(echo), f"ws+unix://{path}")
    client = Client("a", b"b")
    server.mgr.ws_connect(f"ws+unix://{path}", client)
    client.enough.get()
    assert client.got == ["a", b"b"]


@pytest.mark.parametrize(
    ("url", "options", "kind"),
    [
        ("ftp://127.0.0.1:1/", {}, ValueError),
        ("ws://127.0.0.1:99999/", {}, ValueError),
        ("ws://127.0.0.1:1/", {"protocols": ["a b"]}, ValueError),
        ("ws://127.0.0.1:1/", {"protocols": "ab"}, TypeError),
        ("ws://127.0.0.1:1/", {"headers": {"A": "b\r\nC: d"}}, ValueError),
        ("ws://127.0.0.1:1/", {"compress": 5}, TypeError),
        ("ws://127.0.0.1:1/", {"compress": Deflate(window_bits=99)}, ValueError),
        ("ws://127.0.0.1:1/", {"limits": WsLimits(max_message=-1)}, ValueError),
        ("ws://127.0.0.1:1/", {"limits": WsLimits(slow="wait")}, ValueError),
    ],
)
def test_what_cannot_be_is_said_at_once(serve, url, options, kind):
    server = serve(url=None)
    with pytest.raises(kind):
        server.mgr.ws_connect(url, **options)
    assert server.mgr.connections == ()


def test_sending_before_it_is_open_raises(serve):
    server = serve(WsHandler(echo))
    failed = Until()

    def connect():
        conn = server.mgr.ws_connect(f"ws://127.0.0.1:{server.port}/", Client())
        try:
            conn.ws_send("too early")
        except MongooseError as exc:
            failed.set(exc)

    server.mgr.call(connect)
    assert "WebSocket" in str(failed.get())


def test_limits_of_a_client(serve):
    server = serve(WsHandler(on_open=lambda conn: conn.ws_send("x" * 1001)))
    client = Client()
    server.mgr.ws_connect(
        f"ws://127.0.0.1:{server.port}/", client, limits=WsLimits(max_message=1000)
    )
    client.closed.get()
    assert client.got == []
    handler = server.mgr.handler
    assert handler.wait_closed()[0] == 1009


def test_nobody_listens(serve):
    server = serve(WsHandler(echo))
    port = server.port
    server.listener.close()
    eventually(lambda: server.mgr.connections == ())
    client = Client()
    server.mgr.ws_connect(f"ws://127.0.0.1:{port}/", client)
    client.closed.get()
    assert len(client.errors) == 1


def test_kinds(serve):
    """What a message is sent back as by a server that looks at its kind."""
    server = serve(WsHandler(lambda conn, msg: conn.ws_send(msg.data, msg.opcode)))
    kinds = []
    done = Until()

    def handler(conn, ev, data):
        if ev == MG_EV_WS_OPEN:
            conn.ws_send("t")
            conn.ws_send(b"b", WEBSOCKET_OP_BINARY)
        elif ev == MG_EV_WS_MSG:
            kinds.append((data.opcode, data.data))
            if len(kinds) == 2:
                done.set()

    server.mgr.ws_connect(f"ws://127.0.0.1:{server.port}/", handler)
    done.get()
    assert kinds == [(TEXT, b"t"), (BINARY, b"b")]
