"""Pings keep a WebSocket, and every end of one has the code and the reason that it should."""

import contextlib

import pytest
import websockets
from conftest import DEADLINE, eventually, read_all
from ws_helpers import (
    BINARY,
    CLOSE,
    CONTINUE,
    PING,
    PONG,
    RSV1,
    TEXT,
    RawClient,
    WsHandler,
    close_payload,
    dial,
    echo,
    frame,
)

from pymongoose import WEBSOCKET_OP_PING, ConnectionClosed, Limits, WsLimits

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
