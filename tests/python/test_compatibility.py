"""Every name, signature and pinned behaviour of cymongoose's HTTP, WebSocket, TLS, JSON, URL, match and hash API, row by row.

What is meant to differ is told in docs/migrating.md and has tests of its own: messages stay valid after their handler, close() in a handler
takes effect at the end of the turn, wakeups are not lost, an unknown scheme is a ValueError. Regressions on faults that are known of cymongoose
are named test_qNN_… in the modules of their subject; test_known_bugs.py lists them.
"""

from __future__ import annotations

import hashlib
import inspect
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from conftest import eventually, get, talk

import pymongoose as mg
from pymongoose import Connection, HttpMessage, Manager, Timer, TlsOpts, WsMessage

# -- signatures: the parameters cymongoose has, in its order and with its defaults; ours may follow, if they need not be given --

SIGNATURES: dict[str, Callable[..., Any]] = {
    "Manager": lambda handler=None, enable_wakeup=False, error_handler=None: 0,
    "Manager.poll": lambda self, timeout_ms=0: 0,
    "Manager.run": lambda self, poll_ms=...: (
        0
    ),  # how long a turn may wait: any, since signals end it at once
    "Manager.close": lambda self: 0,
    "Manager.listen": lambda self, url, handler=None, *, http=None: 0,
    "Manager.connect": lambda self, url, handler=None, *, http=None: 0,
    "Manager.ws_connect": lambda self, url, handler=None: 0,
    "Manager.timer_add": lambda self, ms, callback, *, repeat=False, run_now=False: 0,
    "Connection.set_handler": lambda self, handler: 0,
    "Connection.recv_data": lambda self, n=-1: 0,
    "Connection.send_data": lambda self, n=-1: 0,
    "Connection.send": lambda self, data: 0,
    "Connection.reply": lambda self, status, body=b"", headers=None: 0,
    "Connection.reply_json": lambda self, obj, status_code=200, headers=None: 0,
    "Connection.serve_dir": lambda self, msg, root_dir, extra_headers="", mime_types="", page404="": (
        0
    ),
    "Connection.serve_file": lambda self, msg, path, extra_headers="", mime_types="": 0,
    "Connection.ws_upgrade": lambda self, msg, extra_headers=None: 0,
    "Connection.ws_send": lambda self, data, op=mg.WEBSOCKET_OP_TEXT: 0,
    "Connection.error": lambda self, message: 0,
    "Connection.http_basic_auth": lambda self, user, password: 0,
    "Connection.http_chunk": lambda self, data: 0,
    "Connection.http_sse": lambda self, event_type, data: 0,
    "Connection.close": lambda self: 0,
    "Connection.drain": lambda self: 0,
    "Connection.tls_init": lambda self, opts: 0,
    "Connection.tls_free": lambda self: 0,
    "HttpMessage.header": lambda self, name, default=None: 0,
    "HttpMessage.headers": lambda self: 0,
    "HttpMessage.query_var": lambda self, name: 0,
    "HttpMessage.status": lambda self: 0,
    "HttpMessage.header_var": lambda self, header, var: 0,
    "TlsOpts": lambda ca=None, cert=None, key=None, name=None, skip_verification=False: 0,
    "Timer.cancel": lambda self: 0,
    "json_get": lambda doc, path: 0,
    "json_get_num": lambda doc, path, default=None: 0,
    "json_get_bool": lambda doc, path, default=None: 0,
    "json_get_long": lambda doc, path, default=0: 0,
    "json_get_str": lambda doc, path: 0,
}
PROPERTIES = {
    Manager: "connections wakeup_id",
    Connection: "handler userdata id local_addr remote_addr is_listening is_closing is_client is_tls is_udp is_websocket is_readable "
    "is_writable is_full is_draining recv_len send_len recv_size send_size",
    HttpMessage: "method uri query proto body_bytes body_text",
    WsMessage: "data text flags",
    Timer: "active",
}  # fmt: skip
# Extensions without readable signatures: each is called with its arguments by position and, where they have names, by name.
CALLS: list[tuple[str, tuple[Any, ...], dict[str, Any], Any]] = [
    ("url_encode", ("a b&ü-._~",), {}, "a%20b%26%c3%bc-._~"),
    ("url_port", ("http://a",), {}, 80), ("url_port", ("https://a",), {}, 443), ("url_port", ("mqtt://a",), {}, 1883),
    ("url_port", ("mqtts://a",), {}, 8883), ("url_port", (), {"url": "tcp://a:81"}, 81),
    ("url_host", ("http://u:p@h:1/x",), {}, "h"), ("url_user", ("http://u:p@h:1/x",), {}, "u"), ("url_pass", ("http://u:p@h:1/x",), {}, "p"),
    ("url_user", ("http://h",), {}, ""), ("url_pass", ("http://h",), {}, ""), ("url_uri", ("http://h",), {}, "/"),
    ("url_uri", ("http://h/x?y",), {}, "/x?y"), ("url_is_ssl", ("wss://h",), {}, True), ("url_is_ssl", ("ws://h",), {}, False),
    ("http_var", ("a=1&b=%20&c=", "b"), {}, "%20"), ("http_var", (b"a=1&b=%20&c=", b"c"), {}, ""),
    ("http_var", (), {"buf": "a=1", "name": "x"}, None),
    ("http_parse_multipart", (b'--b\r\nContent-Disposition: form-data; name="n"; filename="f"\r\n\r\nx\r\n--b--\r\n',), {},
     (66, {"name": "n", "filename": "f", "body": b"x"})),
    ("http_parse_multipart", (b"--b--\r\n",), {"offset": 0}, (0, None)),
    ("match", ("/a/b", "/*/b"), {}, (True, ["a"])), ("match", ("/a/b", "*"), {}, (False, [])),
    ("match", ("/a/b", "#"), {}, (True, ["/a/b"])), ("match", ("ab", "?b"), {}, (True, ["a"])), ("match", ("abc", "ab"), {}, (False, [])),
    ("match", (), {"s": "x", "pattern": "x"}, (True, [])),
    ("md5", (b"a",), {}, hashlib.md5(b"a").digest()), ("sha1", ("a",), {}, hashlib.sha1(b"a").digest()),
    ("sha256", (), {"data": "a"}, hashlib.sha256(b"a").digest()),
    ("hmac_sha256", (b"Jefe", b"what do ya want for nothing?"), {},
     bytes.fromhex("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843")),
    ("base64_encode", (b"\xff\0",), {}, "/wA="), ("base64_decode", ("/wA=",), {}, b"\xff\0"), ("base64_decode", ("!?",), {}, b""),
    ("crc32", (b"123456789",), {}, 0xCBF43926), ("crc32", (b"6789",), {"initial": mg.crc32(b"12345")}, 0xCBF43926),
    ("json_get", ('{"a":"x"}', "$.a"), {}, '"x"'), ("json_get", ("{}", "$.a"), {}, None), ("json_get_num", ("[1.5]", "$[0]"), {}, 1.5),
    ("json_get_long", ("[3.14]", "$[0]"), {}, 3), ("json_get_long", ("[]", "$[0]"), {}, 0), ("json_get_bool", ("[true]", "$[0]"), {}, True),
    ("json_get_str", ('["\\u00e9\\n"]', "$[0]"), {}, "é\n"), ("json_get_str", ("[1]", "$[0]"), {}, None),
    ("event_name", (mg.MG_EV_HTTP_MSG,), {}, "MG_EV_HTTP_MSG"), ("event_name", (mg.MG_EV_USER + 2,), {}, "MG_EV_USER+2"),
    ("event_name", (-3,), {}, "MG_EV_UNKNOWN(-3)"),
]  # fmt: skip


def member(name: str) -> Any:
    value: Any = mg
    for part in name.split("."):
        value = getattr(value, part)
    return value


@pytest.mark.parametrize("name", SIGNATURES)
def test_signature(name: str) -> None:
    theirs = list(inspect.signature(SIGNATURES[name]).parameters.values())
    ours = list(inspect.signature(member(name)).parameters.values())
    assert len(ours) >= len(theirs)
    by_position = [p for p in theirs if p.kind is p.POSITIONAL_OR_KEYWORD]
    for want, have in zip(by_position, ours, strict=False):
        assert have.name == want.name
        assert have.kind in (have.POSITIONAL_OR_KEYWORD, have.POSITIONAL_ONLY)
        assert want.default in (..., have.default)
    names = {p.name: p for p in ours}
    for want in theirs[len(by_position) :]:
        assert names[want.name].default == want.default
    for extra in set(names) - {p.name for p in theirs}:
        assert names[extra].default is not inspect.Parameter.empty


@pytest.mark.parametrize(
    ("owner", "name"), [(t, n) for t, names in PROPERTIES.items() for n in names.split()]
)
def test_property(owner: type, name: str) -> None:
    assert hasattr(owner, name)
    assert not inspect.isroutine(getattr(owner, name))


@pytest.mark.parametrize(("name", "args", "kwargs", "result"), CALLS)
def test_call(name: str, args: Any, kwargs: Any, result: Any) -> None:
    got = getattr(mg, name)(*args, **kwargs)
    assert got == result
    assert type(got) is type(result)


def test_miscellaneous_functions_and_constants() -> None:
    assert type(mg.millis()) is int
    assert len(mg.random_bytes(7)) == 7
    assert len(mg.random_str(7)) == 7
    assert mg.log_get() == mg.MG_LL_NONE
    levels = [mg.MG_LL_NONE, mg.MG_LL_ERROR, mg.MG_LL_INFO, mg.MG_LL_DEBUG, mg.MG_LL_VERBOSE]
    assert levels == [0, 1, 2, 3, 4]
    ops = [mg.WEBSOCKET_OP_TEXT, mg.WEBSOCKET_OP_BINARY, mg.WEBSOCKET_OP_PING, mg.WEBSOCKET_OP_PONG]
    assert ops == [1, 2, 9, 10]
    names = "ERROR OPEN POLL RESOLVE CONNECT ACCEPT TLS_HS READ WRITE CLOSE HTTP_HDRS HTTP_MSG WS_OPEN WS_MSG WS_CTL WAKEUP USER"
    assert len({getattr(mg, f"MG_EV_{n}") for n in names.split()}) == 17


# -- behaviour: in the style of its own tests, one thread that polls --


@pytest.fixture
def events() -> list[tuple[int, Any]]:
    return []


@pytest.fixture
def mgr(events: list[tuple[int, Any]]) -> Iterator[Manager]:
    def handler(conn: Connection, ev: int, data: Any) -> None:
        events.append((ev, data))

    with Manager(handler, enable_wakeup=True) as manager:
        yield manager


def until(mgr: Manager, predicate: Callable[[], Any]) -> Any:
    def turn() -> Any:
        mgr.poll(1)
        return predicate()

    return eventually(turn)


def test_manager_rows() -> None:
    with Manager() as manager:
        assert manager.connections == ()
        assert manager.wakeup_id == 0
        assert manager.poll() is None
        assert manager.wakeup(1) is False
        listener = manager.listen("http://127.0.0.1:0")
        assert type(manager.connections) is tuple
        assert manager.connections == (listener,)
        assert listener.local_addr is not None
        assert listener.local_addr[1] > 0
        with pytest.raises(RuntimeError):
            manager.listen(f"http://127.0.0.1:{listener.local_addr[1]}")
    manager.close()
    assert repr(listener) == "<Connection closed>"
    with pytest.raises(RuntimeError):
        manager.poll()
    with pytest.raises(KeyError), Manager() as manager:
        raise KeyError
    with pytest.raises(RuntimeError):
        manager.poll()


def test_poll_is_not_reentrant_and_close_wants_no_poll(mgr: Manager) -> None:
    assert mgr.wakeup_id > 0
    said: list[str] = []

    def handler(conn: Connection, ev: int, data: Any) -> None:
        if ev == mg.MG_EV_HTTP_MSG:
            for call in (mgr.poll, mgr.close):
                try:
                    call()
                except RuntimeError as exc:
                    said.append(str(exc))
            conn.reply(200)

    port = mgr.listen("http://127.0.0.1:0", handler).local_addr[1]  # type: ignore[index]
    thread = threading.Thread(target=get, args=(port,))
    thread.start()
    until(mgr, lambda: said and not thread.is_alive())
    assert "not reentrant" in said[0]
    assert len(said) == 2


def test_run_restores_the_signal_handlers_and_closes(mgr: Manager) -> None:
    before = [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)]
    mgr.timer_add(0, lambda: signal.raise_signal(signal.SIGTERM))
    mgr.run(poll_ms=100)
    assert [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)] == before
    with pytest.raises(RuntimeError):
        mgr.poll()


def test_timer_rows(mgr: Manager) -> None:
    fired: list[str] = []
    mgr.timer_add(0, lambda: fired.append("once"))
    now = mgr.timer_add(10_000, lambda: fired.append("now"), repeat=True, run_now=True)
    until(mgr, lambda: len(fired) == 2)
    assert sorted(fired) == ["now", "once"]
    assert now.active
    now.cancel()
    now.cancel()
    assert not now.active


def test_wakeup_rows(mgr: Manager, events: list[tuple[int, Any]]) -> None:
    conn = mgr.listen("tcp://127.0.0.1:0")
    assert mgr.wakeup(conn.id, b"data") is True
    assert mgr.wakeup(conn.id) is True
    assert type(mgr.wakeup(conn.id + 10**6, b"")) is bool
    until(mgr, lambda: sum(ev == mg.MG_EV_WAKEUP for ev, _ in events) == 2)
    assert [d for ev, d in events if ev == mg.MG_EV_WAKEUP] == [b"data", b""]


def test_http_is_inferred_from_the_scheme_unless_told(mgr: Manager) -> None:
    seen: list[str] = []

    def handler(conn: Connection, ev: int, data: Any) -> None:
        if ev in (mg.MG_EV_HTTP_MSG, mg.MG_EV_READ):
            seen.append(mg.event_name(ev))
            conn.drain()

    with Manager(events=[mg.MG_EV_READ]) as manager:
        for url, http in (
            ("http://127.0.0.1:0", None),
            ("tcp://127.0.0.1:0", None),
            ("http://127.0.0.1:0", False),
            ("tcp://127.0.0.1:0", True),
        ):
            port = manager.listen(url, handler, http=http).local_addr[1]  # type: ignore[index]
            seen.clear()
            thread = threading.Thread(
                target=talk, args=(port, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            )
            thread.start()
            until(manager, lambda thread=thread: not thread.is_alive())
            speaks = http if http is not None else url.startswith("http")
            assert ("MG_EV_HTTP_MSG" in seen) is speaks


def test_connection_rows_open_and_closed(mgr: Manager, events: list[tuple[int, Any]]) -> None:
    listener = mgr.listen("tcp://127.0.0.1:0")
    flags = [
        "is_listening",
        "is_client",
        "is_tls",
        "is_udp",
        "is_websocket",
        "is_readable",
        "is_writable",
        "is_full",
        "is_draining",
    ]
    assert [n for n in flags if getattr(listener, n)] == ["is_listening"]
    conn = mgr.connect(f"tcp://127.0.0.1:{listener.local_addr[1]}")  # type: ignore[index]
    until(
        mgr, lambda: len(mgr.connections) == 3 and any(ev == mg.MG_EV_CONNECT for ev, _ in events)
    )
    assert conn.is_client
    assert conn.id > 0
    assert conn.remote_addr == listener.local_addr
    assert listener.local_addr[::2] == ("127.0.0.1", False)  # type: ignore[index]
    conn.userdata = {"any": 1}
    assert conn.userdata == {"any": 1}
    conn.send("text ")
    conn.send(b"\xff\0")
    assert conn.send_data() == b"text \xff\0"
    assert conn.send_data(4) == b"text"
    assert (conn.send_len, conn.recv_len) == (7, 0)
    assert conn.send_size >= 7
    (peer,) = (c for c in mgr.connections if c not in (listener, conn))
    until(mgr, lambda: peer.recv_len == 7)
    assert peer.recv_data(-1) == peer.recv_data() == b"text \xff\0"  # a peek
    assert peer.recv_data(2) == b"te"
    conn.drain()
    assert conn.is_draining
    until(mgr, lambda: conn.id == 0)
    assert conn.is_closing
    assert not any(getattr(conn, n) for n in flags)
    assert (conn.recv_len, conn.send_len, conn.recv_size, conn.send_size) == (0, 0, 0, 0)
    assert conn.recv_data() == conn.send_data() == b""
    assert repr(conn) == "<Connection closed>"
    conn.close()
    conn.drain()
    for call in (lambda: conn.send("x"), lambda: conn.reply(200), lambda: conn.reply_json({})):
        with pytest.raises(RuntimeError, match="closed"):
            call()


def test_ipv6_is_printed_in_eight_groups(mgr: Manager) -> None:
    address = mgr.listen("tcp://[::1]:0").local_addr
    assert address is not None
    assert address[0] == "0:0:0:0:0:0:0:1"
    assert address[2] is True


def test_error_raises_an_event_with_the_text_and_closes(
    mgr: Manager, events: list[tuple[int, Any]]
) -> None:
    conn = mgr.listen("tcp://127.0.0.1:0")
    conn.error("100% wrong")
    until(mgr, lambda: conn.id == 0)
    assert [d for ev, d in events if ev == mg.MG_EV_ERROR] == ["100% wrong"]
    assert events[-1] == (mg.MG_EV_CLOSE, None)


def test_handlers_are_inherited_and_none_restores_the_managers(
    mgr: Manager, events: list[tuple[int, Any]]
) -> None:
    own: list[int] = []
    listener = mgr.listen("tcp://127.0.0.1:0", lambda conn, ev, data: own.append(ev))
    assert listener.handler is not None
    with socket.create_connection(listener.local_addr[:2]):  # type: ignore[index]
        until(mgr, lambda: mg.MG_EV_ACCEPT in own)
    listener.set_handler(None)
    with socket.create_connection(listener.local_addr[:2]):  # type: ignore[index]
        until(mgr, lambda: any(ev == mg.MG_EV_ACCEPT for ev, _ in events))


def ask(
    mgr: Manager, url: str, handler: Callable[[Connection, HttpMessage], object], request: bytes
) -> Any:
    """One request; the answer as this library's own client reads it."""
    got: list[HttpMessage] = []

    def serve(conn: Connection, ev: int, data: Any) -> None:
        if ev == mg.MG_EV_HTTP_MSG:
            handler(conn, data)

    def client(conn: Connection, ev: int, data: Any) -> None:
        if ev == mg.MG_EV_HTTP_MSG:
            got.append(data)
            conn.drain()

    port = mgr.listen(url, serve).local_addr[1]  # type: ignore[index]
    mgr.connect(f"http://127.0.0.1:{port}", client).send(request)
    until(mgr, lambda: got)
    return got[0]


def test_message_rows(mgr: Manager) -> None:
    seen: list[Any] = []

    def handler(conn: Connection, msg: HttpMessage) -> None:
        assert msg
        with pytest.raises(ValueError, match="2047"):
            msg.query_var("long")
        seen.extend([msg.method, msg.uri, msg.query[:7], msg.proto, msg.body_bytes, msg.body_text, msg.header("X-A"), msg.header("no"),
                     msg.header("no", "dflt"), msg.query_var("a"), msg.query_var("b"), msg.header_var("X-B", "charset"),
                     msg.header_var("X-B", "no"), msg.headers()[0], msg.status()])  # fmt: skip
        conn.reply(201, "é")

    answer = ask(
        mgr, "http://127.0.0.1:0", handler,
        b"PUT /a%20b?a=%20x&long=" + b"y" * 2048 + b" HTTP/1.1\r\nHost: h\r\nX-A: v\r\nX-B: text; charset=\"u\"\r\nContent-Length: 2\r\n\r\nz\xff",
    )  # fmt: skip
    assert seen == [
        "PUT",
        "/a%20b",
        "a=%20x&",
        "HTTP/1.1",
        b"z\xff",
        "z\udcff",
        "v",
        None,
        "dflt",
        " x",
        None,
        "u",
        None,
        ("Host", "h"),
        None,
    ]
    assert answer.status() == 201
    assert answer.body_text == "é"
    assert answer.header("content-type").startswith("text/plain")


def test_reply_rows(mgr: Manager) -> None:
    def handler(conn: Connection, msg: HttpMessage) -> None:
        for bad in ("a\rb", "a\nb", "a\0b"):
            for headers in ({"X": bad}, {bad: "x"}):
                with pytest.raises(ValueError, match=r"Header (name|value).*illegal character"):
                    conn.reply(200, "", headers)
                with pytest.raises(ValueError, match=r"Header (name|value).*illegal character"):
                    conn.reply_json({}, headers=headers)
        if msg.uri == "/json":
            conn.reply_json({"a": [1]}, status_code=202, headers={"X-A": "1"})
        else:
            conn.reply(200, b"\0\xff", {"content-TYPE": "a/b"})

    answer = ask(mgr, "http://127.0.0.1:0", handler, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert answer.body_bytes == b"\0\xff"
    assert [v for n, v in answer.headers() if n.lower() == "content-type"] == ["a/b"]
    answer = ask(mgr, "http://127.0.0.1:0", handler, b"GET /json HTTP/1.1\r\nHost: a\r\n\r\n")
    assert (answer.status(), answer.json(), answer.header("X-A")) == (202, {"a": [1]}, "1")
    assert answer.header("Content-Type") == "application/json"


def test_files_chunks_and_events_rows(mgr: Manager, tmp_path: Any) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one/f.x").write_text("file")

    def handler(conn: Connection, msg: HttpMessage) -> None:
        if msg.uri == "/chunks":
            conn.reply(200, "", {"Transfer-Encoding": "chunked"})
            conn.http_chunk("one")
            conn.http_chunk(b"two")
            conn.http_sse("tick", "data")
            conn.http_chunk("")
        elif msg.uri == "/file":
            conn.serve_file(msg, str(tmp_path / "one/f.x"), "X-A: 1\r\n", "x=a/b")
        else:
            conn.serve_dir(msg, f"{tmp_path}/none,/p={tmp_path}/one", "X-A: 1\r\n", "x=a/b", "")

    for target, body in (
        ("/chunks", "onetwoevent: tick\ndata: data\n\n"),
        ("/file", "file"),
        ("/p/f.x", "file"),
    ):
        answer = ask(
            mgr, "http://127.0.0.1:0", handler, f"GET {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode()
        )
        assert answer.body_text == body
        if target != "/chunks":
            assert (answer.header("X-A"), answer.header("Content-Type")) == ("1", "a/b")
    assert (
        ask(mgr, "http://127.0.0.1:0", handler, b"GET /p/none HTTP/1.1\r\nHost: a\r\n\r\n").status()
        == 404
    )


def test_basic_auth_is_one_line_of_the_request(mgr: Manager) -> None:
    conn = mgr.connect(f"tcp://127.0.0.1:{mgr.listen('tcp://127.0.0.1:0').local_addr[1]}")  # type: ignore[index]
    conn.send("GET / HTTP/1.1\r\n")
    conn.http_basic_auth("Ä", "pw")
    assert conn.send_data() == b"GET / HTTP/1.1\r\nAuthorization: Basic w4Q6cHc=\r\n"


def test_websocket_rows(mgr: Manager) -> None:
    seen: list[Any] = []

    def server(conn: Connection, ev: int, data: Any) -> None:
        if ev == mg.MG_EV_HTTP_MSG:
            with pytest.raises(ValueError, match="illegal character"):
                conn.ws_upgrade(data, {"X": "a\r\nb"})
            conn.ws_upgrade(data, {"X-Percent": "100%d"})
        elif ev == mg.MG_EV_WS_MSG:
            seen.append((data.flags, data.text, data.data, conn.is_websocket))
            conn.ws_send(data.data, data.flags & 15)

    def client(conn: Connection, ev: int, data: Any) -> None:
        if ev == mg.MG_EV_WS_OPEN:
            seen.append((type(data), data.status(), data.header("X-Percent")))
            conn.ws_send("é")
            conn.ws_send(b"\xff", mg.WEBSOCKET_OP_BINARY)
        elif ev == mg.MG_EV_WS_MSG:
            seen.append((type(data), data.flags, data.data))

    port = mgr.listen("http://127.0.0.1:0", server).local_addr[1]  # type: ignore[index]
    mgr.ws_connect(f"ws://127.0.0.1:{port}/ws", client)
    until(mgr, lambda: len(seen) == 5)
    assert seen[0] == (HttpMessage, 101, "100%d")
    assert seen[1:3] == [(129, "é", "é".encode(), True), (130, "\udcff", b"\xff", True)]
    assert seen[3:] == [(WsMessage, 129, "é".encode()), (WsMessage, 130, b"\xff")]


def test_event_data_is_none_where_nothing_is_said(mgr: Manager) -> None:
    seen: dict[int, set[type]] = {}

    def handler(conn: Connection, ev: int, data: Any) -> None:
        seen.setdefault(ev, set()).add(type(data))
        if ev == mg.MG_EV_HTTP_MSG and not conn.is_client:
            conn.reply(200)
        elif ev == mg.MG_EV_HTTP_MSG:
            conn.drain()

    every = [mg.MG_EV_POLL, mg.MG_EV_READ, mg.MG_EV_WRITE, mg.MG_EV_HTTP_HDRS]
    with Manager(handler, events=every) as manager:
        port = manager.listen("http://127.0.0.1:0").local_addr[1]  # type: ignore[index]
        manager.connect(f"http://localhost:{port}").send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        until(manager, lambda: mg.MG_EV_CLOSE in seen and mg.MG_EV_POLL in seen)
    nothing = [
        mg.MG_EV_OPEN,
        mg.MG_EV_POLL,
        mg.MG_EV_CONNECT,
        mg.MG_EV_ACCEPT,
        mg.MG_EV_READ,
        mg.MG_EV_WRITE,
        mg.MG_EV_CLOSE,
    ]
    assert {ev: seen[ev] for ev in nothing} == {ev: {type(None)} for ev in nothing}
    assert seen[mg.MG_EV_RESOLVE] == {tuple}  # ours: the addresses
    assert seen[mg.MG_EV_HTTP_HDRS] == seen[mg.MG_EV_HTTP_MSG] == {HttpMessage}


@pytest.mark.skipif(not mg.build_info()["tls"], reason="a build without TLS")
def test_tls_rows(mgr: Manager) -> None:
    empty = TlsOpts()
    assert (empty.ca, empty.cert, empty.key, empty.name) == (b"", b"", b"", b"")
    certs = pytest.importorskip("certs")
    leaf = certs.root().issue()
    opts = TlsOpts(cert=leaf.pem.decode(), key=leaf.key_pem)
    assert opts.cert == leaf.pem
    assert opts.key == leaf.key_pem
    assert opts.skip_verification is False
    seen: list[Any] = []

    def server(conn: Connection, ev: int, data: Any) -> None:
        if ev == mg.MG_EV_ACCEPT:
            conn.tls_init(opts)
            conn.tls_init(opts)
        elif ev == mg.MG_EV_HTTP_MSG:
            conn.reply(200, "secret")

    def client(conn: Connection, ev: int, data: Any) -> None:
        if ev == mg.MG_EV_CONNECT:
            conn.tls_init(TlsOpts(ca=certs.root().pem, name="localhost"))
        elif ev == mg.MG_EV_TLS_HS:
            seen.append((data, conn.is_tls))
            conn.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        elif ev == mg.MG_EV_HTTP_MSG:
            seen.append(data.body_text)
            conn.tls_free()

    port = mgr.listen("https://127.0.0.1:0", server).local_addr[1]  # type: ignore[index]
    conn = mgr.connect(f"https://127.0.0.1:{port}", client)
    until(mgr, lambda: len(seen) == 2)
    assert seen == [(None, True), "secret"]
    plain = mgr.connect(f"tcp://127.0.0.1:{port}", lambda c, ev, data: None)
    plain.tls_init(TlsOpts())
    plain.tls_free()
    until(mgr, lambda: conn.id == 0)
