"""What a WebSocket server sends: kinds, pieces, order between threads, and bounds where a reader is slow."""

import contextlib
import threading

import pytest
from conftest import DEADLINE, Until, eventually
from ws_helpers import RawClient, WsHandler, dial, echo

from pymongoose import (
    MG_EV_HTTP_MSG,
    WEBSOCKET_OP_BINARY,
    WEBSOCKET_OP_CONTINUE,
    WEBSOCKET_OP_PING,
    WEBSOCKET_OP_TEXT,
    ConnectionClosed,
    Limits,
    MongooseError,
    QueueFull,
)

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
