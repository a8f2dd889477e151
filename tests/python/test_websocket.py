"""WebSocket servers, asked by clients of other people (websockets, aiohttp, picows) and by raw bytes."""

import asyncio
import contextlib
import threading

import aiohttp
import picows
import pytest
import websockets
from conftest import DEADLINE, Until, eventually, read_all, read_answer, talk
from ws_helpers import (
    ACCEPT,
    BINARY,
    CLOSE,
    CONTINUE,
    PING,
    PONG,
    RSV1,
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

from pymongoose import (
    MG_EV_HTTP_MSG,
    MG_EV_WS_OPEN,
    WEBSOCKET_OP_BINARY,
    WEBSOCKET_OP_CONTINUE,
    WEBSOCKET_OP_PING,
    WEBSOCKET_OP_TEXT,
    ConnectionClosed,
    Deflate,
    HttpMessage,
    Limits,
    Manager,
    MongooseError,
    QueueFull,
    WsLimits,
)

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


# -- the handshake --


def test_the_handshake_is_that_of_the_rfc(serve):
    server = serve(WsHandler(echo, extra_headers={"X-Percent": "100%d%s", "Set-Cookie": "a=b"}))
    with RawClient(server.port) as raw:
        assert (raw.answer.status, raw.answer.header("Sec-WebSocket-Accept")) == (101, ACCEPT)
        assert raw.answer.header("Upgrade").lower() == "websocket"
        assert raw.answer.header("Connection").lower() == "upgrade"
        assert raw.answer.header("X-Percent") == "100%d%s"
        assert raw.answer.header("Set-Cookie") == "a=b"
        assert raw.answer.header("Content-Length") is None
        assert raw.answer.header("Sec-WebSocket-Protocol") is None
        assert raw.answer.header("Sec-WebSocket-Extensions") is None


@pytest.mark.parametrize("scheme", ["http", "ws"])
def test_listeners_of_both_schemes(serve, scheme):
    server = serve(WsHandler(echo), f"{scheme}://127.0.0.1:0")
    with dial(server.port) as ws:
        ws.send("a")
        assert ws.recv(DEADLINE) == "a"


def test_open_comes_with_the_request(serve):
    seen = Until()

    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_MSG:
            assert not conn.is_websocket
            assert conn.ws_upgrade(data) is True
            assert conn.is_websocket
        elif ev == MG_EV_WS_OPEN:
            assert isinstance(data, HttpMessage)
            seen.set(
                (data.uri, data.query, data.header("X-Me"), conn.is_websocket, conn.ws_protocol)
            )

    server = serve(handler)
    with dial(server.port, "/room?a=1", additional_headers={"X-Me": "you"}):
        assert seen.get() == ("/room", "a=1", "you", True, None)


def test_bytes_behind_the_upgrade_are_frames(serve):
    server = serve(WsHandler(echo))
    with RawClient(server.port, behind=frame(TEXT, b"early") + frame(BINARY, b"bird")) as raw:
        assert raw.recv() == (0x80 | TEXT, b"early")
        assert raw.recv() == (0x80 | BINARY, b"bird")


def test_what_is_sent_at_open_comes_behind_the_answer(serve):
    server = serve(WsHandler(on_open=lambda conn: conn.ws_send("hello")))
    with dial(server.port) as ws:
        assert ws.recv(DEADLINE) == "hello"


def test_what_is_sent_right_behind_the_upgrade_comes_behind_the_answer(serve):
    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_MSG:
            conn.ws_upgrade(data)
            conn.ws_send("at once")

    server = serve(handler)
    with dial(server.port) as ws:
        assert ws.recv(DEADLINE) == "at once"


@pytest.mark.parametrize(
    ("offered", "ours", "chosen"),
    [
        (["a", "b"], ["b"], "b"),
        (["a", "b"], ["c", "b", "a"], "b"),  # the server's preference
        (["x"], ["a", "b"], None),
        (["x"], [], None),
        (None, ["a"], None),
    ],
)
def test_subprotocols(serve, offered, ours, chosen):
    handler = WsHandler(echo, protocols=ours)
    server = serve(handler)
    with dial(server.port, subprotocols=offered) as ws:
        assert ws.subprotocol == chosen
        assert handler.wait_open().ws_protocol == chosen


@pytest.mark.parametrize("wrong", [["a b"], ["a,b"], [""], ["a\r\nX: y"], "chat", [5], 5])
def test_wrong_protocols_are_refused_by_name(serve, wrong):
    server = serve(WsHandler(protocols=wrong))
    assert server.talk(UPGRADE.format(target="/", headers="").encode(), answers=1).startswith(
        b"HTTP/1.1 500 "
    )
    assert "protocol" in str(server.errors.pop())


@pytest.mark.parametrize("name", ["X: y", "X\r\nY", "X\0"])
def test_extra_headers_cannot_inject(serve, name):
    server = serve(WsHandler(extra_headers={name: "v"}))
    assert server.talk(UPGRADE.format(target="/", headers="").encode(), answers=1).startswith(
        b"HTTP/1.1 500 "
    )
    server.expect_error(ValueError)
    server = serve(WsHandler(extra_headers={"X": f"v{name[1:]}\r\n"}))
    assert server.talk(UPGRADE.format(target="/", headers="").encode(), answers=1).startswith(
        b"HTTP/1.1 500 "
    )
    server.expect_error(ValueError)


@pytest.mark.parametrize("status", [200, 401, 403, 404, 429, 500, 503])
def test_a_refusal_is_an_ordinary_answer_with_any_status(serve, status):
    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_MSG:
            conn.reply(status, "not you", {"X-Why": "because"})

    server = serve(handler)
    with pytest.raises(websockets.exceptions.InvalidStatus) as caught:
        dial(server.port)
    answer = caught.value.response
    assert (answer.status_code, answer.headers["X-Why"], answer.body) == (
        status,
        "because",
        b"not you",
    )


@pytest.mark.parametrize(
    ("origin", "status"),
    [("https://good.example", 101), ("https://evil.example", 403), ("null", 403), (None, 403)],
)
def test_origins_that_are_not_listed_get_403(serve, origin, status):
    handler = WsHandler(echo, origins=["https://good.example", "http://also.example:8080"])
    server = serve(handler)
    headers = f"Origin: {origin}\r\n" if origin else ""
    with RawClient(server.port, headers=headers) as raw:
        assert raw.answer.status == status
    assert handler.upgraded == [status == 101]


REFUSED = [
    ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", 426),
    (UPGRADE.replace("Upgrade: websocket\r\n", ""), 426),
    (UPGRADE.replace("Version: 13", "Version: 8"), 426),
    (UPGRADE.replace("Sec-WebSocket-Version: 13\r\n", ""), 426),
    (UPGRADE.replace("dGhlIHNhbXBsZSBub25jZQ==", "short"), 400),
    (UPGRADE.replace("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", ""), 400),
    (UPGRADE.replace("GET", "PUT"), 400),
]


@pytest.mark.parametrize(("request_", "status"), REFUSED)
def test_what_is_no_handshake_is_refused(serve, request_, status):
    handler = WsHandler(echo)
    server = serve(handler)
    with server.connect() as sock:
        sock.sendall(request_.format(target="/", headers="").encode())
        answer, _ = read_answer(sock)
    assert answer.status // 100 == 4
    assert answer.status in (status, 405, 426, 400)
    if answer.status == 426:
        assert answer.header("Upgrade").lower() == "websocket"
        assert answer.header("Sec-WebSocket-Version") == "13"
    assert handler.upgraded == [False]
    assert handler.opened == []


def test_only_the_current_request_can_be_upgraded(serve):
    kept = []

    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_MSG:
            kept.append(data)
            if len(kept) == 1:
                conn.reply(200, b"")
            else:
                conn.ws_upgrade(kept[0])

    server = serve(handler)
    request = UPGRADE.format(target="/", headers="").encode()
    answer = server.talk(request + request, answers=2)
    assert answer.count(b"HTTP/1.1 200 ") == answer.count(b"HTTP/1.1 500 ") == 1
    server.expect_error(ValueError)


@pytest.mark.parametrize("wrong", [5, None, "GET / HTTP/1.1"])
def test_an_upgrade_wants_the_message(serve, wrong):
    server = serve(lambda conn, ev, data: ev == MG_EV_HTTP_MSG and conn.ws_upgrade(wrong))
    assert server.get().status == 500
    assert "HttpMessage" in str(server.expect_error(TypeError))


# -- sending --


def test_what_kind_of_message_is_sent(serve):
    def answer(conn, msg):
        conn.ws_send("Zoë")
        conn.ws_send(b"text")
        conn.ws_send(b"\xff", WEBSOCKET_OP_BINARY)
        conn.ws_send("as bytes", op=WEBSOCKET_OP_BINARY)
        conn.ws_send(bytearray(b"array"), op=WEBSOCKET_OP_BINARY)
        conn.ws_send(memoryview(b"view")[1:], WEBSOCKET_OP_TEXT)
        conn.ws_send(msg)

    server = serve(WsHandler(answer))
    with dial(server.port) as ws:
        ws.send(b"\xfe")
        got = [ws.recv(DEADLINE) for _ in range(7)]
    assert got == ["Zoë", "text", b"\xff", b"as bytes", b"array", "iew", b"\xfe"]


@pytest.mark.parametrize(
    ("args", "kind"),
    [
        ((b"\xff",), ValueError),  # text must be UTF-8 (RFC 6455 5.6)
        (("\ud800",), ValueError),
        (("x", 3), ValueError),
        (("x", 11), ValueError),
        (("x", -1), ValueError),
        (("x", "1"), TypeError),
        ((5,), TypeError),
        (("x" * 126, WEBSOCKET_OP_PING), ValueError),
        (("x", WEBSOCKET_OP_CONTINUE), MongooseError),  # nothing was begun
        ((), TypeError),
    ],
)
def test_what_cannot_be_sent_raises_and_sends_nothing(serve, args, kind):
    def answer(conn, msg):
        with pytest.raises(kind):
            conn.ws_send(*args)
        conn.ws_send("still well")

    server = serve(WsHandler(answer))
    with dial(server.port) as ws:
        ws.send("go")
        assert ws.recv(DEADLINE) == "still well"


def test_a_message_in_pieces(serve):
    def answer(conn, msg):
        conn.ws_send("Zo", fin=False)
        conn.ws_send("behind it")
        conn.ws_send("ë", WEBSOCKET_OP_CONTINUE, fin=False)
        with pytest.raises(MongooseError):
            conn.ws_send("another", fin=False)
        with pytest.raises(ValueError, match="pieces"):
            conn.ws_send("p", WEBSOCKET_OP_PING, fin=False)
        conn.ws_send("!", WEBSOCKET_OP_CONTINUE, fin=True)
        with pytest.raises(MongooseError):
            conn.ws_send("!", WEBSOCKET_OP_CONTINUE)

    server = serve(WsHandler(answer))
    with dial(server.port) as ws:
        ws.send("go")
        pieces = list(ws.recv_streaming())
        assert "".join(pieces) == "Zoë!"
        assert len(pieces) >= 2
        assert ws.recv(DEADLINE) == "behind it"


def test_sending_where_there_is_no_websocket(serve):
    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_MSG:
            for call in (
                lambda: conn.ws_send("x"),
                lambda: conn.ws_close(),
                lambda: conn.join("g"),
            ):
                with pytest.raises(MongooseError, match="WebSocket"):
                    call()
            assert (conn.ws_protocol, conn.ws_close_code, conn.ws_close_reason) == (None, None, "")
            conn.reply(200, "ok")

    assert serve(handler).get().status == 200


def test_sending_on_a_closed_connection(serve):
    handler = WsHandler(echo)
    server = serve(handler)
    with dial(server.port):
        conn = handler.wait_open()
    handler.wait_closed()
    eventually(lambda: conn.id == 0)
    with pytest.raises(ConnectionClosed):
        conn.ws_send("x")
    with pytest.raises(ConnectionClosed):
        conn.join("x")
    conn.ws_close()
    conn.leave("x")
    assert not conn.is_websocket


def test_messages_from_other_threads_keep_their_order(serve):
    threads, count = 8, 500
    handler = WsHandler(echo)
    server = serve(handler)

    def work(t):
        for i in range(count):
            conn.ws_send(f"{t} {i}")
            if i % 50 == 0:
                conn.ws_send(bytearray(b"%d %d" % (t, -i)), WEBSOCKET_OP_BINARY)

    with dial(server.port, max_queue=None) as ws:
        conn = handler.wait_open()
        workers = [threading.Thread(target=work, args=(t,)) for t in range(threads)]
        for w in workers:
            w.start()
        seen = {t: [] for t in range(threads)}
        for _ in range(threads * (count + count // 50)):
            message = ws.recv(DEADLINE)
            if isinstance(message, str):
                t, i = message.split()
                seen[int(t)].append(int(i))
        for w in workers:
            w.join(DEADLINE)
    assert seen == {t: list(range(count)) for t in range(threads)}


def test_a_wrong_message_from_another_thread_raises_there(serve):
    handler = WsHandler(echo)
    server = serve(handler)
    with dial(server.port) as ws:
        conn = handler.wait_open()
        with pytest.raises(TypeError):
            conn.ws_send(5)
        with pytest.raises(ValueError, match="op"):
            conn.ws_send("x", 3)
        with pytest.raises(ValueError, match="UTF-8"):
            conn.ws_send(b"\xff")
        conn.ws_send("ok")
        assert ws.recv(DEADLINE) == "ok"


# -- control frames --


def test_pings_are_answered_and_told(serve):
    handler = WsHandler(echo)
    server = serve(handler)
    with dial(server.port) as ws:
        assert ws.ping(b"p").wait(DEADLINE)
        ws.pong(b"q")
        ws.send("after")
        assert ws.recv(DEADLINE) == "after"
    handler.wait_closed()
    assert handler.controls[:2] == [(PING, b"p"), (PONG, b"q")]


def test_a_ping_of_ours_is_answered(serve):
    handler = WsHandler(
        echo, on_open=lambda conn: conn.ws_send(b"are you there?", WEBSOCKET_OP_PING)
    )
    server = serve(handler)
    with dial(server.port) as ws:
        ws.send("x")
        ws.recv(DEADLINE)
    handler.wait_closed()
    assert (PONG, b"are you there?") in handler.controls


def test_a_peer_that_does_not_answer_pings_is_closed(serve):
    handler = WsHandler(echo)
    server = serve(
        handler, listen={"limits": Limits(ws=WsLimits(ping_interval=0.05, ping_timeout=0.1))}
    )
    with RawClient(server.port) as raw:
        first, _ = raw.recv()
        assert first == 0x80 | PING
        code, _ = handler.wait_closed()
        assert code == 1006
        read_all(raw.sock)  # to its end


def test_a_peer_that_answers_pings_stays(serve):
    handler = WsHandler(echo)
    server = serve(
        handler, listen={"limits": Limits(ws=WsLimits(ping_interval=0.05, ping_timeout=1.0))}
    )
    with dial(server.port) as ws:  # the package answers pings in a thread of its own
        eventually(lambda: sum(op == PONG for op, _ in handler.controls) > 1)
        ws.send("x")
        assert ws.recv(DEADLINE) == "x"


# -- the end --


def test_the_code_and_reason_of_the_client_are_told(serve):
    handler = WsHandler(echo)
    server = serve(handler)
    with dial(server.port) as ws:
        conn = handler.wait_open()
        assert (conn.ws_close_code, conn.ws_close_reason) == (None, "")
        ws.close(4001, "tschüß")
    assert handler.wait_closed() == (4001, "tschüß")
    eventually(lambda: conn.id == 0)
    assert (conn.ws_close_code, conn.ws_close_reason) == (
        4001,
        "tschüß",
    )  # for as long as it is kept
    assert ws.protocol.close_code == 4001


def test_the_code_and_reason_of_the_server_arrive(serve):
    handler = WsHandler(lambda conn, msg: conn.ws_close(4002, "go"))
    server = serve(handler)
    with dial(server.port) as ws:
        ws.send("x")
        with pytest.raises(websockets.exceptions.ConnectionClosed) as caught:
            ws.recv(DEADLINE)
        assert (caught.value.rcvd.code, caught.value.rcvd.reason) == (4002, "go")
    assert handler.wait_closed()[0] == 4002


def test_close_is_1000_by_default_and_the_last_message_arrives_before(serve):
    def answer(conn, msg):
        conn.ws_send("last words")
        conn.ws_close()
        conn.ws_close(4000, "again")  # the first one counts
        with pytest.raises(ConnectionClosed):
            conn.ws_send("too late")

    handler = WsHandler(answer)
    server = serve(handler)
    with dial(server.port) as ws:
        ws.send("x")
        assert ws.recv(DEADLINE) == "last words"
        with pytest.raises(websockets.exceptions.ConnectionClosedOK) as caught:
            ws.recv(DEADLINE)
        assert caught.value.rcvd.code == 1000
    handler.wait_closed()


def test_a_peer_that_does_not_answer_a_close_is_cut_by_its_deadline(serve):
    """Also one that goes on talking: what it says behind our close frame keeps nobody waiting."""
    handler = WsHandler(lambda conn, msg: conn.ws_close(4001, "enough"))
    handler.upgrade["limits"] = WsLimits(close_timeout=0.1, ping_interval=0)
    server = serve(handler)
    with RawClient(server.port) as raw:
        handler.wait_open()
        raw.send(frame(1, b"x"))
        assert raw.recv() == (0x88, close_payload(4001, "enough"))
        with contextlib.suppress(OSError):
            while not handler.is_closed.is_set():
                raw.send(frame(1, b"still here"))
        assert handler.wait_closed() == (1006, "")


def test_a_client_that_vanishes_is_1006(serve):
    handler = WsHandler(echo)
    server = serve(handler)
    with RawClient(server.port):
        handler.wait_open()
    assert handler.wait_closed() == (1006, "")


def test_a_close_without_a_code_is_1005(serve):
    handler = WsHandler(echo)
    server = serve(handler)
    with RawClient(server.port) as raw:
        raw.send(frame(CLOSE))
        assert raw.recv() == (0x80 | CLOSE, b"")
        assert handler.wait_closed() == (1005, "")


@pytest.mark.parametrize(
    ("code", "reason", "kind"),
    [
        (999, "", ValueError),
        (1004, "", ValueError),
        (1005, "", ValueError),
        (1006, "", ValueError),
        (1015, "", ValueError),
        (2999, "", ValueError),
        (5000, "", ValueError),
        ("1000", "", TypeError),
        (1000, "x" * 124, ValueError),
        (1000, b"\xff", ValueError),
        (1000, 5, TypeError),
    ],
)
def test_closes_that_cannot_be(serve, code, reason, kind):
    def answer(conn, msg):
        with pytest.raises(kind):
            conn.ws_close(code, reason)
        conn.ws_send("still open")

    server = serve(WsHandler(answer))
    with dial(server.port) as ws:
        ws.send("x")
        assert ws.recv(DEADLINE) == "still open"


BROKEN = [
    (frame(TEXT, b"x", mask=False), 1002),
    (frame(TEXT, b"\xff"), 1007),
    (frame(TEXT, b"\xed\xa0\x80"), 1007),
    (frame(TEXT, b"x", rsv=RSV1), 1002),
    (frame(3, b"x"), 1002),
    (frame(11, b"x"), 1002),
    (frame(CONTINUE, b"x"), 1002),
    (frame(TEXT, b"x", fin=False) + frame(TEXT, b"y"), 1002),
    (frame(PING, b"x" * 126), 1002),
    (frame(PING, b"x", fin=False), 1002),
    (frame(CLOSE, b"x"), 1002),
    (frame(CLOSE, close_payload(1005)), 1002),
    (frame(CLOSE, close_payload(1000) + b"\xff"), 1007),
    (b"\x82\xff" + b"\xff" * 8 + b"mask", 1009),
]


@pytest.mark.parametrize(("bytes_", "code"), BROKEN)
def test_a_broken_peer_is_told_why(serve, bytes_, code):
    messages = []
    handler = WsHandler(lambda conn, msg: messages.append(msg.data))
    server = serve(handler)
    with RawClient(server.port) as raw:
        raw.send(bytes_)
        got, _ = raw.recv_close()
        assert got in (code, 1002 if code == 1009 else code)
    assert messages == []
    handler.wait_closed()


def test_a_message_that_is_too_big_is_1009(serve):
    sizes = []
    handler = WsHandler(
        lambda conn, msg: (sizes.append(len(msg)), conn.ws_send("ok")), compress=True
    )
    server = serve(handler, listen={"limits": Limits(ws=WsLimits(max_message=1000))})
    with RawClient(server.port) as raw:
        raw.send(frame(BINARY, b"x" * 1000))
        assert raw.recv() == (0x80 | TEXT, b"ok")
        raw.send(frame(BINARY, b"x" * 500, fin=False), frame(CONTINUE, b"x" * 501))
        assert raw.recv_close()[0] == 1009
    with RawClient(
        server.port
    ) as raw:  # refused when the length is seen, not when the bytes are here
        raw.send(frame(BINARY, b"x" * 1001)[:14])
        assert raw.recv_close()[0] == 1009
    with dial(server.port, compression="deflate") as ws:  # a bomb: small on the wire
        ws.send("x" * 100_000)
        with pytest.raises(websockets.exceptions.ConnectionClosedError) as caught:
            ws.recv(DEADLINE)
        assert caught.value.rcvd.code == 1009
    assert sizes == [1000]


def test_max_message_for_one_upgrade(serve):
    server = serve(WsHandler(echo, limits=WsLimits(max_message=3_000_000)))
    with dial(server.port, max_size=None) as ws:
        ws.send(b"x" * 3_000_000)
        assert len(ws.recv(DEADLINE)) == 3_000_000
        ws.send(b"x" * 3_000_001)
        with pytest.raises(websockets.exceptions.ConnectionClosedError):
            ws.recv(DEADLINE)


def test_an_exception_in_a_handler_closes_with_1011(serve):
    def fail(conn, msg):
        raise KeyError("oops")

    handler = WsHandler(fail)
    server = serve(handler)
    with dial(server.port) as ws:
        ws.send("x")
        with pytest.raises(websockets.exceptions.ConnectionClosedError) as caught:
            ws.recv(DEADLINE)
        assert caught.value.rcvd.code == 1011
    handler.wait_closed()
    server.expect_error(KeyError)


def test_the_end_of_a_server_says_going_away(serve):
    handler = WsHandler(echo)
    server = serve(handler)
    with dial(server.port) as ws:
        handler.wait_open()
        server.mgr.stop()
        with pytest.raises(websockets.exceptions.ConnectionClosedOK) as caught:
            ws.recv(DEADLINE)
        assert caught.value.rcvd.code == 1001


# -- readers that are slow --


def test_a_reader_that_does_not_read_is_bounded(serve):
    limit = 1 << 20
    handler = WsHandler(echo)
    server = serve(
        handler,
        listen={"limits": Limits(send_max=limit, send_high=limit // 2, send_low=limit // 4)},
    )
    with RawClient(server.port, rcvbuf=4096):
        conn = handler.wait_open()
        done = Until()

        def flood():
            sent = 0
            while True:
                try:
                    conn.ws_send(b"x" * 10_000, WEBSOCKET_OP_BINARY)
                except QueueFull:
                    break
                sent += 1
            done.set((sent, conn.send_len, conn.is_full))

        server.mgr.call(flood)
        sent, waiting, full = done.get()
    assert sent >= 100
    assert limit - 20_000 < waiting <= limit + 20_000
    assert full


def test_a_first_piece_that_is_refused_begins_nothing(serve):
    handler = WsHandler()
    server = serve(handler, listen={"limits": Limits(send_max=1 << 20)})
    with RawClient(server.port, rcvbuf=4096) as raw:
        conn = handler.wait_open()
        done = Until()

        def flood():
            with contextlib.suppress(QueueFull):
                while True:
                    conn.ws_send(b"x" * 10_000, WEBSOCKET_OP_BINARY)
            with pytest.raises(QueueFull):
                conn.ws_send("y" * 20_000, fin=False)
            with pytest.raises(MongooseError, match="no message was begun"):
                conn.ws_send("y", WEBSOCKET_OP_CONTINUE)
            done.set()

        def go_on():
            conn.ws_send("whole")
            conn.ws_send("in ", fin=False)
            conn.ws_send("pieces", WEBSOCKET_OP_CONTINUE)

        server.mgr.call(flood)
        done.get()
        reading = Until()

        def read():
            frames = []
            while not frames or frames[-1] != (0x80, b""):
                frames.append(raw.recv())
            reading.set(frames[-4:])

        reader = threading.Thread(target=read)
        reader.start()
        eventually(lambda: conn.send_len == 0)
        server.mgr.call(go_on)
        assert reading.get() == [(0x81, b"whole"), (0x01, b"in "), (0x00, b"pieces"), (0x80, b"")]
        reader.join()


def test_on_drain_tells_when_to_go_on(serve):
    total = 200
    handler = WsHandler()

    def begin(conn):
        numbers = iter(range(total))

        def more():
            while not conn.is_full:
                i = next(numbers, None)
                if i is None:
                    return
                conn.ws_send(b"%06d" % i + b"x" * 20_000, WEBSOCKET_OP_BINARY)

        conn.on_drain = more
        more()

    handler.on_open = begin
    server = serve(handler, listen={"limits": Limits(send_high=1 << 18, send_low=1 << 17)})
    with dial(server.port) as ws:
        for i in range(total):
            assert ws.recv(DEADLINE)[:6] == b"%06d" % i


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
