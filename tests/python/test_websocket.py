"""Messages through WebSocket servers, asked by clients of other people (websockets, aiohttp, picows) and by raw bytes."""

import asyncio

import aiohttp
import picows
import pytest
from conftest import DEADLINE, read_answer, talk
from ws_helpers import (
    BINARY,
    CONTINUE,
    PING,
    PONG,
    TEXT,
    UPGRADE,
    RawClient,
    WsHandler,
    binary,
    close_payload,
    dial,
    echo,
    frame,
    text,
)

from pymongoose import MG_EV_HTTP_MSG, Deflate, Manager

SIZES = [0, 1, 125, 126, 127, 4096, 65535, 65536, 300_000]


# -- messages --


@pytest.mark.parametrize("compression", [None, "deflate"])
def test_messages_of_all_sizes_come_back_as_they_were(serve, compression):
    server = serve(WsHandler(echo, compress=True))
    with dial(server.port, compression=compression) as ws:
        for size in SIZES:
            for message in (text(size), binary(size)):
                ws.send(message)
                assert ws.recv(DEADLINE) == message


def test_a_message_tells_what_it_is(serve):
    seen = []

    def look(conn, msg):
        seen.append(
            (
                msg.data,
                msg.data_bytes,
                msg.text,
                bytes(msg.view),
                msg.flags,
                msg.opcode,
                msg.is_text,
                msg.is_binary,
            )
        )
        assert type(msg.data) is bytes
        assert type(msg.view) is memoryview
        assert msg.view.readonly
        assert bytes(msg) == msg.data
        assert len(msg) == len(msg.data)
        assert bool(msg)
        assert msg.data is msg.data
        assert f"{len(msg)} bytes" in repr(msg)
        conn.ws_send("ok")

    server = serve(WsHandler(look))
    with dial(server.port) as ws:
        for message in ("Zoë", b"\xff\x00", "", b""):
            ws.send(message)
            assert ws.recv(DEADLINE) == "ok"
    zoe = "Zoë".encode()
    assert seen == [
        (zoe, zoe, "Zoë", zoe, 129, TEXT, True, False),
        (b"\xff\x00", b"\xff\x00", "\udcff\x00", b"\xff\x00", 130, BINARY, False, True),
        (b"", b"", "", b"", 129, TEXT, True, False),
        (b"", b"", "", b"", 130, BINARY, False, True),
    ]


def test_json_of_a_message(serve):
    server = serve(WsHandler(lambda conn, msg: conn.ws_send(str(msg.json()["a"] + 1))))
    with dial(server.port) as ws:
        ws.send('{"a": 41}')
        assert ws.recv(DEADLINE) == "42"


def test_fragments_are_put_together(serve):
    server = serve(WsHandler(echo))
    with dial(server.port) as ws:
        ws.send(["Zo", "ë ", "", "and others"])
        assert ws.recv(DEADLINE) == "Zoë and others"
    with RawClient(server.port) as raw:  # with control frames between, and every byte on its own
        frames = (
            frame(TEXT, b"Zo\xc3", fin=False)
            + frame(PING, b"?")
            + frame(CONTINUE, b"\xab")
            + frame(BINARY, b"b")
        )
        for i in range(len(frames)):
            raw.send(frames[i : i + 1])
        assert raw.recv() == (0x80 | PONG, b"?")
        assert raw.recv() == (0x80 | TEXT, "Zoë"[:2].encode() + b"\xc3\xab")
        assert raw.recv() == (0x80 | BINARY, b"b")


def test_many_messages_in_one_segment(serve):
    server = serve(WsHandler(echo))
    with RawClient(server.port) as raw:
        raw.send(*(frame(TEXT, b"%d" % i) for i in range(1000)))
        for i in range(1000):
            assert raw.recv() == (0x80 | TEXT, b"%d" % i)


def test_aiohttp_client(serve):
    handler = WsHandler(echo, compress=True, protocols=["a", "b"])
    server = serve(handler)

    async def main(compress):
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(
                f"http://127.0.0.1:{server.port}/", protocols=["b"], compress=compress
            ) as ws,
        ):
            assert ws.protocol == "b"
            assert ws.compress == compress
            for size in SIZES:
                await ws.send_str(text(size))
                assert await ws.receive_str(timeout=DEADLINE) == text(size)
                await ws.send_bytes(binary(size))
                assert await ws.receive_bytes(timeout=DEADLINE) == binary(size)
            await ws.ping(b"p")
            await ws.close(code=4321, message=b"done")
            assert ws.close_code == 4321

    for compress in (0, 15):
        handler.is_closed.clear()
        asyncio.run(main(compress))
        assert handler.wait_closed() == (4321, "done")


def test_picows_client(serve):
    handler = WsHandler(echo)
    server = serve(handler)

    class Client(picows.WSListener):
        def __init__(self):
            self.got = asyncio.Queue()

        def on_ws_frame(self, transport, f):
            self.got.put_nowait((f.msg_type, f.get_payload_as_bytes()))

    async def main():
        transport, client = await picows.ws_connect(Client, f"ws://127.0.0.1:{server.port}/")
        for size in SIZES:
            transport.send(picows.WSMsgType.BINARY, b"y" * size)
            kind, payload = await asyncio.wait_for(client.got.get(), DEADLINE)
            assert (kind, payload) == (picows.WSMsgType.BINARY, b"y" * size)
        transport.send_close(picows.WSCloseCode.OK, b"bye")
        kind, payload = await asyncio.wait_for(client.got.get(), DEADLINE)
        assert (kind, payload[:2]) == (picows.WSMsgType.CLOSE, close_payload(1000))
        await asyncio.wait_for(transport.wait_disconnected(), DEADLINE)

    asyncio.run(main())
    assert handler.wait_closed() == (1000, "bye")


def test_wakeups_and_http_live_beside(serve):
    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_MSG and data.uri == "/ws":
            conn.ws_upgrade(data)
        elif ev == MG_EV_HTTP_MSG:
            conn.reply(200, "plain")

    server = serve(handler)
    with dial(server.port, "/ws"):
        assert server.get("/").body == b"plain"
    request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    with server.connect() as sock:  # requests before an upgrade on the same connection
        sock.sendall(request + request + UPGRADE.format(target="/ws", headers="").encode())
        have = b""
        statuses = []
        for _ in range(3):
            answer, have = read_answer(sock, have=have)
            statuses.append(answer.status)
        assert statuses == [200, 200, 101]
    assert talk(server.port, request, answers=1).startswith(b"HTTP/1.1 200")


# -- compression --


def test_compression_happens_only_where_both_want_it(serve):
    for ours, theirs in ((False, "deflate"), (True, None), (True, "deflate")):
        server = serve(WsHandler(echo, compress=ours))
        with dial(server.port, compression=theirs) as ws:
            assert bool(ws.protocol.extensions) == bool(ours and theirs)
            message = text(50_000)
            ws.send(message)
            assert ws.recv(DEADLINE) == message
        server.stop()
        assert (server.mgr.stats().bytes_out < len(message) // 2) == bool(ours and theirs)


@pytest.mark.parametrize("budget", [64 << 20, 0])
def test_windows_of_compression_have_a_budget_of_memory(serve, budget):
    """Beyond it a connection is made without context takeover."""
    handler = WsHandler(echo, compress=Deflate(context_takeover=True))
    server = serve(handler, deflate_budget=budget)
    with RawClient(server.port, headers="Sec-WebSocket-Extensions: permessage-deflate\r\n") as raw:
        answer = raw.answer.header("Sec-WebSocket-Extensions")
        assert answer.startswith("permessage-deflate")
        assert ("no_context_takeover" in answer) == (budget == 0)


@pytest.mark.parametrize("wrong", [-1, 1 << 70])
def test_a_budget_is_a_number_of_bytes(wrong):
    with pytest.raises((ValueError, OverflowError), match="deflate_budget"):
        Manager(deflate_budget=wrong)
