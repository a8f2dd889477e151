"""Handshakes of WebSocket servers: accepted as the RFC says, or refused with an ordinary answer."""

import pytest
import websockets
from conftest import DEADLINE, Until, read_answer
from ws_helpers import ACCEPT, BINARY, TEXT, UPGRADE, RawClient, WsHandler, dial, echo, frame

from pymongoose import MG_EV_HTTP_MSG, MG_EV_WS_OPEN, HttpMessage


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
