"""WebSocket messages, views and connections that are kept stay usable; a Reply can take a handshake later."""

import gc
import threading

import pytest
import websockets
from conftest import DEADLINE, Until, eventually, read_all
from helpers import collect
from ws_helpers import BINARY, TEXT, UPGRADE, RawClient, WsHandler, dial, echo, frame

from pymongoose import (
    MG_EV_HTTP_MSG,
    MG_EV_WS_MSG,
    MG_EV_WS_OPEN,
    WEBSOCKET_OP_BINARY,
    ConnectionClosed,
    HttpMessage,
    MongooseError,
)


def content(i, size=5000):
    return b"%06d" % i + bytes(range(256)) * (size // 256)


@pytest.mark.parametrize("compression", [None, "deflate"])
@pytest.mark.parametrize("how", ["message", "view", "slice", "both"])
def test_what_is_kept_survives_all_that_follows(serve, compression, how):
    kept = []

    def keep(conn, msg):
        n = int(msg.data[:6])
        if n % 100 == 0:
            view = (
                msg.view[10:2000]
                if how == "slice"
                else msg.view
                if how in ("view", "both")
                else None
            )
            kept.append((n, msg if how in ("message", "both") else None, view))
        conn.ws_send(msg)

    server = serve(WsHandler(keep, compress=True))
    with dial(server.port, compression=compression) as ws:
        for i in range(1000):
            ws.send(content(i, 500 + i))
            assert ws.recv(DEADLINE) == content(i, 500 + i)
    server.stop()
    del server
    collect()
    assert [n for n, _, _ in kept] == list(range(0, 1000, 100))
    for n, msg, view in kept:
        want = content(n, 500 + n)
        if msg is not None:
            assert (msg.data, bytes(msg), msg.text[:6], msg.opcode) == (
                want,
                want,
                want[:6].decode(),
                BINARY,
            )
        if view is not None:
            assert bytes(view) == (want[10:2000] if how == "slice" else want)


def test_fragments_and_pipelined_messages_that_are_kept(serve):
    kept = []
    server = serve(WsHandler(lambda conn, msg: kept.append((msg, msg.view))))
    with RawClient(server.port) as raw:
        raw.send(*(frame(BINARY, content(i)) for i in range(50)))
        raw.send(frame(TEXT, b"one ", fin=False), frame(0, b"two"), frame(TEXT, b"three"))
        eventually(lambda: len(kept) == 52)
        raw.send(*(frame(BINARY, b"\xff" * 5000) for _ in range(50)))
        eventually(lambda: len(kept) == 102)
    for i, (msg, view) in enumerate(kept[:50]):
        assert (msg.data, bytes(view)) == (content(i), content(i))
    assert [(m.text, bytes(v)) for m, v in kept[50:52]] == [
        ("one two", b"one two"),
        ("three", b"three"),
    ]


def test_messages_are_not_made_anew_and_not_leaked(serve):
    seen = set()
    server = serve(WsHandler(lambda conn, msg: (seen.add(id(msg)), conn.ws_send(msg))))
    with dial(server.port) as ws:
        for _ in range(200):
            ws.send("x")
            ws.recv(DEADLINE)
    assert len(seen) == 1


def test_a_message_that_is_sent_from_another_thread_after_its_handler(serve):
    def later(conn, msg):
        threads.append(threading.Thread(target=lambda: (gate.wait(DEADLINE), conn.ws_send(msg))))
        threads[-1].start()

    threads, gate = [], threading.Event()
    server = serve(WsHandler(later))
    with dial(server.port) as ws:
        for i in range(20):
            ws.send(content(i))
        eventually(lambda: len(threads) == 20)
        gate.set()
        assert sorted(ws.recv(DEADLINE) for _ in range(20)) == [content(i) for i in range(20)]
    for t in threads:
        t.join(DEADLINE)


def test_large_messages_are_held_until_they_are_sent(serve):
    size = 8 << 20

    def answer(conn, msg):
        conn.ws_send(b"%d" % len(msg) * size, WEBSOCKET_OP_BINARY)  # nobody else holds it
        gc.collect()

    server = serve(WsHandler(answer))
    with dial(server.port, max_size=None) as ws:
        ws.send("x")
        assert ws.recv(DEADLINE) == b"1" * size
    with RawClient(server.port) as raw:  # and given back when the client leaves half-way
        raw.send(frame(TEXT, b"x"))
        raw.sock.recv(1000)
    eventually(lambda: len(server.mgr.connections) == 1)


def test_a_handler_that_closes_everything_while_it_looks(serve):
    done = Until()

    def answer(conn, msg):
        view = msg.view
        conn.ws_close(4000)
        conn.close()
        conn.leave("x")
        done.set((msg.data, bytes(view), msg))

    server = serve(WsHandler(answer))
    with RawClient(server.port) as raw:
        raw.send(frame(BINARY, content(1)), frame(BINARY, content(2)))
        data, view, msg = done.get()
        read_all(raw.sock)
    assert data == view == msg.data == content(1)


def test_a_connection_that_is_kept(serve):
    handler = WsHandler(echo, protocols=["p"])
    server = serve(handler)
    with dial(server.port, subprotocols=["p"]) as ws:
        conn = handler.wait_open()
        ws.close(4005, "why")
    handler.wait_closed()
    eventually(lambda: conn.id == 0)
    server.stop()
    assert (conn.ws_protocol, conn.ws_close_code, conn.ws_close_reason) == ("p", 4005, "why")
    assert (conn.is_websocket, conn.ws_compressed, repr(conn)) == (
        False,
        False,
        "<Connection closed>",
    )
    conn.ws_close()
    with pytest.raises(ConnectionClosed):
        conn.ws_send("x")


# -- handshakes that are taken later --


class Deferred:
    """Keeps Reply and message of each handshake."""

    def __init__(self):
        self.kept, self.opened, self.got = Until(), Until(), []

    def __call__(self, conn, ev, data):
        if ev == MG_EV_HTTP_MSG:
            self.kept.set((conn.defer(), data))
        elif ev == MG_EV_WS_OPEN:
            self.opened.set((conn, data))
        elif ev == MG_EV_WS_MSG:
            self.got.append(data.data)
            conn.ws_send(data)


def test_a_reply_takes_the_handshake_from_another_thread(serve):
    handler = Deferred()
    server = serve(handler)
    answered = Until()

    def accept():
        reply, msg = handler.kept.get()
        answered.set((reply.ws_upgrade(msg, {"X-Later": "yes"}, protocols=["p"]), reply.done))

    thread = threading.Thread(target=accept)
    thread.start()
    with dial(server.port, "/room?x=1", subprotocols=["p"]) as ws:
        assert ws.subprotocol == "p"
        assert ws.response.headers["X-Later"] == "yes"
        assert answered.get() == (True, True)
        ws.send("a")
        assert ws.recv(DEADLINE) == "a"
        conn, msg = handler.opened.get()
        assert isinstance(msg, HttpMessage)
        assert (msg.uri, msg.query, conn.is_websocket) == ("/room", "x=1", True)
    thread.join(DEADLINE)
    reply, msg = handler.kept.get()
    with pytest.raises(MongooseError):
        reply.ws_upgrade(msg)


def test_frames_that_came_before_a_late_upgrade_are_not_lost(serve):
    handler = Deferred()
    server = serve(handler)
    with server.connect() as sock:
        sock.sendall(UPGRADE.format(target="/", headers="").encode() + frame(TEXT, b"early"))
        reply, msg = handler.kept.get()
        assert reply.ws_upgrade(msg) is True
        want = b"\x81\x05early"
        have = b""
        while not have.endswith(want):
            part = sock.recv(1000)
            assert part, have
            have += part
        assert have.startswith(b"HTTP/1.1 101 ")


def test_a_reply_refuses(serve):
    handler = Deferred()
    server = serve(handler)
    thread = threading.Thread(target=lambda: handler.kept.get()[0].reply(403, "no"))
    thread.start()
    with pytest.raises(websockets.exceptions.InvalidStatus, match="403"):
        dial(server.port)
    thread.join(DEADLINE)


def test_a_reply_whose_client_left(serve):
    handler = Deferred()
    server = serve(handler)
    with server.connect() as sock:
        sock.sendall(UPGRADE.format(target="/", headers="").encode())
        reply, msg = handler.kept.get()
    eventually(lambda: reply.cancelled)
    with pytest.raises(ConnectionClosed):
        reply.ws_upgrade(msg)
