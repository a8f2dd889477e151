"""Manager.request() against servers that are ours only because they can be told what to say."""

from __future__ import annotations

import gzip
import io
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from typing import Any

import pytest
from conftest import DEADLINE, Served, Until, on_http

from pymongoose import (
    MG_EV_HTTP_HDRS,
    MG_EV_HTTP_MSG,
    ClientLimits,
    ConnectionClosed,
    HttpResponse,
    Manager,
    MongooseError,
    ProtocolError,
    QueueFull,
    RequestBody,
    ResolveError,
    TimedOut,
    TooBig,
)


def echo(conn: Any, msg: Any) -> None:
    """Say what was asked."""
    conn.reply_json(
        {
            "method": msg.method,
            "uri": msg.uri,
            "query": msg.query,
            "headers": {n.lower(): v for n, v in msg.headers()},
            "body": msg.body_text,
        }
    )


@pytest.fixture
def web(serve: Callable[..., Served]) -> tuple[Manager, str]:
    """A manager that asks and answers, and the URL of its echo."""
    served = serve(on_http(echo))
    return served.mgr, f"http://127.0.0.1:{served.port}"


def test_a_request_says_what_it_was_told_to(web: tuple[Manager, str]) -> None:
    mgr, url = web
    resp = mgr.request(
        "PATCH",
        url + "/a%20b?x=1",
        headers=[("X-One", "1"), ("X-Two", b"2"), ("X-Three", 3)],
        params={"q": "ü&", "many": ["1", "2"]},
        json={"a": [1]},
        auth=("Ada", "pw"),
    ).result(DEADLINE)
    assert (resp.status, resp.reason, resp.proto, resp.ok) == (200, "OK", "HTTP/1.1", True)
    said = resp.json()
    assert (said["method"], said["uri"]) == ("PATCH", "/a%20b")
    assert said["query"] == "x=1&q=%C3%BC%26&many=1&many=2"
    assert said["body"] == '{"a":[1]}'
    headers = said["headers"]
    assert headers["content-type"] == "application/json"
    assert headers["authorization"] == "Basic QWRhOnB3"
    assert (headers["x-one"], headers["x-two"], headers["x-three"]) == ("1", "2", "3")
    assert headers["host"] == url.removeprefix("http://")
    assert "gzip" in headers["accept-encoding"]


def test_userinfo_of_the_url_is_basic_auth(web: tuple[Manager, str]) -> None:
    mgr, url = web
    resp = mgr.request("GET", url.replace("//", "//u%40x:p%3A@")).result(DEADLINE)
    assert resp.json()["headers"]["authorization"] == "Basic dUB4OnA6"
    assert "@" not in resp.url


BODIES = [
    (lambda: b"hello", "5"),
    (lambda: "höllo", "6"),
    (lambda: bytearray(b"hello"), "5"),
    (lambda: memoryview(b"hello"), "5"),
    (lambda: io.BytesIO(b"hello"), "5"),
    (lambda: [b"he", "", b"llo"], None),
    (lambda: (p for p in (b"he", b"llo")), None),
    (lambda: iter([b"he", b"llo", b""]).__next__, None),
    (lambda: None, None),
]


@pytest.mark.parametrize(("make", "length"), BODIES)
def test_a_body_may_come_from_anything(
    web: tuple[Manager, str], make: Callable[[], Any], length: str | None
) -> None:
    mgr, url = web
    body = make()
    said = mgr.request("POST", url, body=body).result(DEADLINE).json()
    want = "höllo" if isinstance(body, str) else "" if body is None else "hello"
    assert said["body"] == want
    if body is not None:
        assert said["headers"].get("content-length") == length
        assert said["headers"].get("transfer-encoding") == (None if length else "chunked")


def test_a_large_body_is_written_as_fast_as_it_is_read(serve: Callable[..., Served]) -> None:
    sizes: list[int] = []
    waiting = 0
    total = 64 << 20

    def handler(conn: Any, ev: int, data: Any) -> None:
        got = [0]
        if ev == 10 and data.method == "PUT":
            conn.stream_body(
                lambda piece: got.__setitem__(0, got[0] + len(piece)),
                lambda: conn.reply(200, str(got[0])),
            )

    served = serve(handler)

    def source() -> Iterator[bytes]:
        nonlocal waiting
        for _ in range(total // 65536):
            waiting = max(waiting, *(c.send_len for c in served.mgr.connections if c.is_client), 0)
            sizes.append(65536)
            yield b"x" * 65536

    url = f"http://127.0.0.1:{served.port}/"
    resp = served.mgr.request("PUT", url, body=source(), timeout=60).result(60)
    assert int(resp.text) == total == sum(sizes)
    assert waiting < 1 << 20


def test_a_file_is_sent_from_where_it_stands(web: tuple[Manager, str], tmp_path: Any) -> None:
    mgr, url = web
    path = tmp_path / "f"
    path.write_bytes(b"0123456789" * 50_000)
    with path.open("rb") as file:
        file.seek(10)
        said = mgr.request("PUT", url, body=file).result(DEADLINE).json()
    assert said["headers"]["content-length"] == "499990"
    assert said["body"] == "0123456789" * 49_999


def test_then_is_called_once_on_the_loop_thread(serve: Callable[..., Served]) -> None:
    served = serve(on_http(echo))
    got = Until()
    served.mgr.request(
        "GET",
        f"http://127.0.0.1:{served.port}/",
        then=lambda resp: got.set((threading.current_thread(), resp)),
    )
    thread, resp = got.get()
    assert thread is served.thread
    assert resp.status == 200


def test_what_then_raises_goes_to_the_error_handler(serve: Callable[..., Served]) -> None:
    served = serve(on_http(echo))
    url = f"http://127.0.0.1:{served.port}/"
    served.mgr.request("GET", url, then=lambda resp: 1 // 0).result(DEADLINE)
    served.mgr.request("GET", url).result(DEADLINE)
    served.expect_error(ZeroDivisionError)


def test_result_on_the_loop_thread_is_refused(serve: Callable[..., Served]) -> None:
    got = Until()

    def handler(conn: Any, ev: int, data: Any) -> None:
        if ev == MG_EV_HTTP_MSG and data.uri == "/":
            try:
                conn.manager.request("GET", "http://127.0.0.1:1/").result()
            except RuntimeError as exc:
                got.set(exc)
            conn.reply(200)

    served = serve(handler)
    served.get("/")
    assert "loop" in str(got.get())


def test_connections_are_used_again_and_bounded(serve: Callable[..., Served]) -> None:
    """100 requests at once to one origin, over four connections."""
    peers: set[Any] = set()

    def handler(conn: Any, ev: int, data: Any) -> None:
        if ev == MG_EV_HTTP_MSG:
            peers.add(conn.remote_addr)
            conn.reply(200, data.uri)

    served = serve(handler, client=ClientLimits(max_per_origin=4))
    url = f"http://127.0.0.1:{served.port}"
    asked = [served.mgr.request("GET", f"{url}/{i}") for i in range(100)]
    assert [r.result(DEADLINE).text for r in asked] == [f"/{i}" for i in range(100)]
    assert len(peers) == 4
    assert served.mgr.request("GET", url).result(DEADLINE).ok
    assert len(peers) == 4


def test_a_queue_that_is_full_is_an_error(serve: Callable[..., Served]) -> None:
    held: list[Any] = []
    served = serve(
        on_http(lambda conn, msg: held.append(conn.defer())),
        client=ClientLimits(max_per_origin=1, max_waiting=2),
    )
    url = f"http://127.0.0.1:{served.port}/"
    asked = [served.mgr.request("GET", url) for _ in range(4)]
    assert isinstance(asked[3].exception(DEADLINE), QueueFull)
    for _ in range(3):
        while not held:
            pass
        held.pop().reply(200, "late")
    assert [r.result(DEADLINE).text for r in asked[:3]] == ["late"] * 3


def test_idle_connections_end(serve: Callable[..., Served]) -> None:
    served = serve(on_http(echo), client=ClientLimits(idle_timeout=0.05))
    served.mgr.request("GET", f"http://127.0.0.1:{served.port}/").result(DEADLINE)
    end = Until()

    def look() -> None:
        if not any(c.is_client for c in served.mgr.connections):
            end.set()

    timer = served.mgr.timer_add(10, look, repeat=True)
    end.get()
    timer.cancel()


# -- redirects --


@pytest.mark.parametrize(
    ("status", "method", "then"),
    [
        (301, "POST", "GET"),
        (302, "POST", "GET"),
        (303, "POST", "GET"),
        (303, "PUT", "GET"),
        (303, "HEAD", "HEAD"),
        (301, "PUT", "PUT"),
        (307, "POST", "POST"),
        (308, "POST", "POST"),
        (302, "GET", "GET"),
    ],
)
def test_redirects_change_the_method_as_rfc_9110_says(
    serve: Callable[..., Served], status: int, method: str, then: str
) -> None:
    seen: list[Any] = []

    def answer(conn: Any, msg: Any) -> None:
        seen.append((msg.method, msg.uri, msg.body_text, msg.header("Content-Type")))
        if msg.uri == "/from/x":
            conn.reply(status, "gone", {"Location": "../to?a=b#c"})
        else:
            conn.reply(200, "here")

    served = serve(on_http(answer))
    url = f"http://127.0.0.1:{served.port}"
    resp = served.mgr.request(
        method, url + "/from/x", body=b"data", headers={"Content-Type": "x/y"}
    ).result(DEADLINE)
    assert (resp.status, resp.url) == (200, url + "/to?a=b")
    assert resp.history == ((status, url + "/from/x"),)
    kept = then == method
    assert seen[1] == (then, "/to", "data" if kept else "", "x/y" if kept else None)


SECRETS = {"Cookie": "a=b", "Proxy-Authorization": "Basic dTpw"}


def test_secrets_stay_with_their_origin(serve: Callable[..., Served]) -> None:
    served = serve(on_http(echo))
    there = f"http://127.0.0.1:{served.port}"
    away = served.listen(
        handler=on_http(lambda conn, msg: conn.reply(307, "", {"Location": there + msg.uri}))
    )
    assert away.local_addr is not None
    url = f"http://127.0.0.1:{away.local_addr[1]}/p"
    said = (
        served.mgr.request(
            "POST", url, auth=("u", "p"), headers=SECRETS | {"X-Mine": "1"}, body="b"
        )
        .result(DEADLINE)
        .json()
    )
    assert said["body"] == "b"
    assert "authorization" not in said["headers"]
    assert not {name.lower() for name in SECRETS} & set(said["headers"])
    assert said["headers"]["x-mine"] == "1"
    assert said["headers"]["host"] == there.removeprefix("http://")


def test_a_loop_of_redirects_ends(serve: Callable[..., Served]) -> None:
    count = []

    def answer(conn: Any, msg: Any) -> None:
        count.append(1)
        conn.reply(302, "", {"Location": "/"})

    served = serve(on_http(answer))
    url = f"http://127.0.0.1:{served.port}/"
    error = served.mgr.request("GET", url, max_redirects=3).exception(DEADLINE)
    assert isinstance(error, ProtocolError)
    assert "redirects" in str(error)
    assert len(count) == 4
    resp = served.mgr.request("GET", url, follow_redirects=False).result(DEADLINE)
    assert (resp.status, resp.history) == (302, ())


def test_a_body_that_cannot_be_sent_again_ends_a_redirect(serve: Callable[..., Served]) -> None:
    served = serve(on_http(lambda conn, msg: conn.reply(307, "", {"Location": "/"})))
    url = f"http://127.0.0.1:{served.port}/x"
    error = served.mgr.request("POST", url, body=iter([b"a"])).exception(DEADLINE)
    assert isinstance(error, MongooseError)
    assert "again" in str(error)


def test_a_body_whose_rewinding_fails_oddly_ends_the_request(serve: Callable[..., Served]) -> None:
    class Odd(io.BytesIO):
        was_read = False

        def read(self, size: int | None = -1) -> bytes:
            data = super().read(size)
            self.was_read |= len(data) > 0
            return data

        def seek(self, at: int, whence: int = 0) -> int:
            if self.was_read:
                raise ZeroDivisionError("odd")
            return super().seek(at, whence)

    served = serve(on_http(lambda conn, msg: conn.reply(307, "", {"Location": "/"})))
    url = f"http://127.0.0.1:{served.port}/x"
    error = served.mgr.request("POST", url, body=Odd(b"abc")).exception(DEADLINE)
    assert "ZeroDivisionError: odd" in str(error)
    served.expect_error(ZeroDivisionError)


def test_a_file_that_was_closed_meanwhile_ends_a_redirect(
    serve: Callable[..., Served], tmp_path: Any
) -> None:
    path = tmp_path / "body"
    path.write_bytes(b"abc")
    with path.open("rb") as file:

        def close_it(conn: Any, msg: Any) -> None:
            file.close()
            conn.reply(307, "", {"Location": "/"})

        served = serve(on_http(close_it))
        url = f"http://127.0.0.1:{served.port}/x"
        error = served.mgr.request("PUT", url, body=file).exception(DEADLINE)
    assert isinstance(error, MongooseError)
    assert "again" in str(error)


@pytest.mark.parametrize(
    "location",
    [
        "ftp://x/",
        "http://",
        "http://a b/",
        "//",
        "http://x:0/",
        "http+unix://%2Fa/",
        "http://us%3Aer@localhost:1/",
        "http://user:%0D%0A@localhost:1/",
    ],
)
def test_a_redirect_to_nowhere_is_an_error(serve: Callable[..., Served], location: str) -> None:
    served = serve(on_http(lambda conn, msg: conn.reply(302, "", {"Location": location})))
    url = f"http://127.0.0.1:{served.port}/x"
    assert isinstance(served.mgr.request("GET", url).exception(DEADLINE), ProtocolError)


# -- streams --


def test_on_data_gets_the_pieces_and_can_pause(serve: Callable[..., Served]) -> None:
    size = 8 << 20
    served = serve(on_http(lambda conn, msg: conn.reply(200, b"x" * size)))
    got = 0
    asked: Any = None
    paused = []

    def take(piece: bytes) -> None:
        nonlocal got
        got += len(piece)
        assert asked.response.status == 200
        if got > 1 << 20 and not paused:
            paused.append(got)
            asked.pause()
            served.mgr.timer_add(20, resume)

    def resume() -> None:
        paused.append(got)
        asked.resume()

    ready = threading.Event()

    def ask() -> None:
        nonlocal asked
        asked = served.mgr.request("GET", f"http://127.0.0.1:{served.port}/", on_data=take)
        ready.set()

    served.mgr.call(ask)
    assert ready.wait(DEADLINE)
    resp = asked.result(DEADLINE)
    assert (got, len(resp.body)) == (size, 0)
    assert paused[1] < size  # what came before the pause was acted on, and no more


def test_what_on_data_raises_is_the_error(web: tuple[Manager, str]) -> None:
    mgr, url = web
    error = mgr.request("GET", url, on_data=lambda piece: 1 // 0).exception(DEADLINE)
    assert isinstance(error, ZeroDivisionError)


def test_a_streamed_response_is_read_on_another_thread(serve: Callable[..., Served]) -> None:
    size = 32 << 20
    served = serve(on_http(lambda conn, msg: conn.reply(200, b"x" * size, {"X-Size": str(size)})))
    url = f"http://127.0.0.1:{served.port}/"
    with served.mgr.request("GET", url, stream=True, timeout=60).result(DEADLINE) as resp:
        assert resp.header("x-size") == str(size)
        assert sum(len(piece) for piece in resp) == size
        assert resp.read() == b""
    with served.mgr.request("GET", url, stream=True, timeout=60).result(DEADLINE) as resp:
        assert resp.read()
    with pytest.raises(CancelledError):  # what was given up is not whole
        list(resp)
    assert served.mgr.request("GET", url).result(DEADLINE).ok


# -- cancel, time, ends --


@pytest.mark.parametrize("way", ["result", "then", "half"])
def test_a_stream_that_nobody_holds_frees_its_connection(
    serve: Callable[..., Served], way: str
) -> None:
    server = serve(
        on_http(lambda conn, msg: conn.reply(200, b"x" * (16 << 20))),
        client=ClientLimits(max_per_origin=1),
    )
    url = f"http://127.0.0.1:{server.port}/"
    for _ in range(3):
        if way == "then":
            came = threading.Event()
            asked = server.mgr.request("GET", url, stream=True, then=lambda _, e=came: e.set())  # type: ignore[misc]
            assert came.wait(DEADLINE)
        else:
            asked = server.mgr.request("GET", url, stream=True)
            answer = asked.result(DEADLINE)
            assert answer.status == 200
            assert asked.response is answer
            if way == "half":
                assert answer.read(DEADLINE)
            del answer
    with pytest.raises(MongooseError, match="dropped"):
        asked.result(DEADLINE)
    assert len(server.mgr.request("GET", url).result(DEADLINE).body) == 16 << 20


def test_cancel_ends_a_request_and_frees_its_connection(serve: Callable[..., Served]) -> None:
    arrived, gone, told = Until(), Until(), Until()

    def handler(conn: Any, ev: int, data: Any) -> None:
        if ev == MG_EV_HTTP_MSG:
            conn.userdata = conn.defer()
            arrived.set()
        elif ev == 9 and conn.userdata is not None:
            gone.set()

    served = serve(handler)
    asked = served.mgr.request("GET", f"http://127.0.0.1:{served.port}/", then=told.set)
    arrived.get()
    assert asked.cancel()
    assert asked.cancelled()
    gone.get()
    resp = told.get()
    assert isinstance(resp.error, CancelledError)
    with pytest.raises(CancelledError):
        asked.result(0)


def test_time_is_up(serve: Callable[..., Served]) -> None:
    held: list[Any] = []
    served = serve(on_http(lambda conn, msg: held.append(conn.defer())))
    url = f"http://127.0.0.1:{served.port}/"
    error = served.mgr.request("GET", url, timeout=0.05).exception(DEADLINE)
    assert isinstance(error, TimedOut)
    error = served.mgr.request("GET", url, read_timeout=0.05, timeout=None).exception(DEADLINE)
    assert isinstance(error, TimedOut)
    assert "50 ms" in str(error)


def test_nobody_there(web: tuple[Manager, str]) -> None:
    mgr, _ = web
    assert isinstance(
        mgr.request("GET", "http://127.0.0.1:1/").exception(DEADLINE), ConnectionClosed
    )
    assert isinstance(
        mgr.request("GET", "http://no-such-name.invalid/").exception(DEADLINE), ResolveError
    )


def test_localhost_is_a_name(serve: Callable[..., Served]) -> None:
    served = serve(on_http(echo), "http://[::1]:0")
    resp = served.mgr.request("GET", f"http://localhost:{served.port}/").result(DEADLINE)
    assert resp.json()["headers"]["host"] == f"localhost:{served.port}"


@pytest.mark.parametrize("way", ["url", "option"])
def test_a_unix_socket(serve: Callable[..., Served], tmp_path: Any, way: str) -> None:
    path = tmp_path / "s"
    served = serve(on_http(echo), f"http+unix://{path}")
    if way == "url":
        asked = served.mgr.request("GET", f"http+unix://{str(path).replace('/', '%2F')}/a?b")
    else:
        asked = served.mgr.request("GET", "http://service/a?b", unix=str(path))
    said = asked.result(DEADLINE).json()
    assert (said["uri"], said["query"]) == ("/a", "b")
    assert said["headers"]["host"] == ("localhost" if way == "url" else "service")


def test_a_manager_that_closes_ends_what_is_under_way() -> None:
    told: list[HttpResponse] = []
    with Manager() as mgr:
        silent = mgr.listen("tcp://127.0.0.1:0")
        assert silent.local_addr is not None
        url = f"http://127.0.0.1:{silent.local_addr[1]}/"
        asked = [mgr.request("GET", url, then=told.append) for _ in range(3)]
        mgr.poll(10)
        mgr.poll(10)
        asked.append(mgr.request("GET", url, then=told.append))  # not begun
    assert [type(r.exception(0)) for r in asked] == [ConnectionClosed] * 4
    assert [type(r.error) for r in told] == [ConnectionClosed] * 4
    with pytest.raises(RuntimeError):
        mgr.request("GET", url)


def test_a_body_beyond_the_limit_is_refused(serve: Callable[..., Served]) -> None:
    def answer(conn: Any, msg: Any) -> None:
        if msg.uri == "/counted":
            conn.reply(200, b"x" * 1000)
            return
        with conn.start_response(200) as body:
            body.write(b"x" * 1000)

    served = serve(on_http(answer))
    url = f"http://127.0.0.1:{served.port}"
    for path in ("/counted", "/chunked"):
        for extra in ({}, {"stream": True}):
            asked = served.mgr.request("GET", url + path, max_body=999, **extra)
            with pytest.raises(TooBig):
                list(asked.result(DEADLINE))  # type: ignore[call-overload]
        assert (
            len(served.mgr.request("GET", url + path, max_body=1000).result(DEADLINE).body) == 1000
        )


def test_head_has_no_body(serve: Callable[..., Served]) -> None:
    served = serve(on_http(lambda conn, msg: conn.reply(200, b"hello")))
    url = f"http://127.0.0.1:{served.port}/"
    for _ in range(2):
        resp = served.mgr.request("HEAD", url).result(DEADLINE)
        assert (resp.header("content-length"), resp.body_bytes) == ("5", b"")
    assert served.mgr.request("GET", url).result(DEADLINE).text == "hello"


def test_text_goes_by_the_charset(serve: Callable[..., Served]) -> None:
    served = serve(
        on_http(
            lambda conn, msg: conn.reply(
                200, b"\xe4", {"Content-Type": f"text/plain; charset={msg.uri[1:]}"}
            )
        )
    )
    url = f"http://127.0.0.1:{served.port}"
    for charset, text in (
        ("latin-1", "ä"),
        ("utf-8", "\udce4"),
        ("nonsense", "\udce4"),
        ("hex", "\udce4"),
    ):
        assert served.mgr.request("GET", f"{url}/{charset}").result(DEADLINE).text == text


@pytest.mark.parametrize(
    ("args", "options"),
    [
        (("GET ", "http://a/"), {}),
        (("GET", "ftp://a/"), {}),
        (("GET", "http:///x"), {}),
        (("GET", "http://a:99999/"), {}),
        (("GET", "http://a/\r\nX: y"), {}),
        (("GET", "/relative"), {}),
        (("CONNECT", "http://a/"), {}),
        (("GET", "http://a/"), {"headers": {"X\r": "y"}}),
        (("GET", "http://a/"), {"headers": {"X": "y\r\nZ: 1"}}),
        (("GET", "http://a/"), {"headers": {"Transfer-Encoding": "chunked"}}),
        (("GET", "http://a/"), {"headers": {"Content-Length": "5"}, "body": b"1234"}),
        (("GET", "http://a/"), {"timeout": 0}),
        (("GET", "http://a/"), {"max_body": 0}),
        (("GET", "http://a/"), {"body": b"", "json": 1}),
        (("GET", "http://a/"), {"auth": ("a:b", "c")}),
        (("GET", "http://a/"), {"stream": True, "on_data": print}),
        (("GET", "http://a/"), {"proxy": "socks5://a"}),
        (("GET", "http://a/"), {"unix": "relative"}),
        (("GET", "http://a/"), {"then": 5}),
        (("GET", "http://a/"), {"body": 5}),
        (("GET", 5), {}),
    ],
)
def test_wrong_arguments_are_refused_at_once(args: Any, options: Any) -> None:
    with Manager() as mgr, pytest.raises((TypeError, ValueError)):
        mgr.request(*args, **options)


# -- bodies that are written, and messages that are passed on --


@pytest.mark.parametrize("headers", [{}, {"Content-Length": "10"}])
def test_a_body_is_written_by_another_thread(
    web: tuple[Manager, str], headers: dict[str, str]
) -> None:
    mgr, url = web
    body = RequestBody()
    body.write("early")  # before the request is made
    asked = mgr.request("POST", url, body=body, headers=headers)
    for piece in (b"a", bytearray(b"b"), memoryview(b"c"), b"", "ü"):
        body.write(piece)
    assert not body.closed
    body.end()
    body.end()
    assert body.closed
    said = asked.result(DEADLINE).json()
    assert said["body"] == "earlyabcü"
    assert said["headers"].get("content-length") == headers.get("Content-Length")
    with pytest.raises(ConnectionClosed):
        body.write(b"late")


def test_a_written_body_of_another_length_than_announced_is_an_error(
    web: tuple[Manager, str],
) -> None:
    mgr, url = web
    for text in ("short", "far too long for that"):
        body = RequestBody()
        asked = mgr.request("POST", url, body=body, headers={"Content-Length": "10"})
        body.write(text)
        body.end()
        with pytest.raises(ValueError, match="10 bytes that were announced"):
            asked.result(DEADLINE)


def test_a_written_body_is_full_until_the_server_reads(serve: Callable[..., Served]) -> None:
    """And is told so; what is too much is refused, and who answers early closes it."""
    go = Until()
    kept: list[Any] = []

    def handler(conn: Any, ev: int, msg: Any) -> None:
        if ev == MG_EV_HTTP_HDRS and msg.uri == "/early":
            conn.reply(413, "no")
        elif ev == MG_EV_HTTP_HDRS:
            size = [0]
            conn.stream_body(
                lambda piece: size.__setitem__(0, size[0] + len(piece)),
                lambda: conn.reply(200, str(size[0])),
            )
            conn.pause_reading()
            kept.append(conn)
            go.set()

    served = serve(handler)
    url = f"http://127.0.0.1:{served.port}"
    drained = threading.Event()
    body = RequestBody(on_drain=drained.set)
    asked = served.mgr.request("POST", url, body=body, timeout=60.0)
    total = 0
    body.write(b"x")
    total += 1
    go.get()
    while True:
        try:
            body.write(bytes(1 << 20))
        except QueueFull:
            break
        total += 1 << 20
    assert body.full
    assert total > 64 << 20
    assert not drained.is_set()
    kept[0].resume_reading()
    assert drained.wait(DEADLINE)
    body.end()
    assert asked.result(DEADLINE).text == str(total)

    body = RequestBody()
    body.write(b"x")
    resp = served.mgr.request("POST", url + "/early", body=body).result(DEADLINE)
    assert resp.status == 413
    assert body.closed
    assert not body.full
    with pytest.raises(ConnectionClosed):
        body.write(b"y")


def test_a_written_body_is_not_sent_twice(serve: Callable[..., Served]) -> None:
    served = serve(on_http(lambda conn, msg: conn.reply(307, "", {"Location": "/x"})))
    body = RequestBody()
    body.write(b"x")
    body.end()
    asked = served.mgr.request("PUT", f"http://127.0.0.1:{served.port}/", body=body)
    with pytest.raises(MongooseError, match="cannot be sent again"):
        asked.result(DEADLINE)


def test_cancelling_closes_the_body(web: tuple[Manager, str]) -> None:
    mgr, url = web
    done, body = Until(), RequestBody()
    asked = mgr.request("POST", url, body=body, then=done.set)
    asked.cancel()
    assert isinstance(done.get().error, CancelledError)
    assert body.closed


def test_raw_adds_nothing_and_decodes_nothing(serve: Callable[..., Served]) -> None:
    packed = gzip.compress(b"text")
    heads: list[Any] = []

    def handler(conn: Any, msg: Any) -> None:
        heads.append([n.lower() for n, _ in msg.headers()])
        conn.reply(200, packed, {"Content-Encoding": "gzip"})

    served = serve(on_http(handler))
    url = f"http://127.0.0.1:{served.port}/"
    assert served.mgr.request("GET", url, raw=True).result(DEADLINE).body_bytes == packed
    assert served.mgr.request("GET", url).result(DEADLINE).body_bytes == b"text"
    assert heads == [["host"], ["host", "user-agent", "accept", "accept-encoding"]]


def test_the_head_is_told_before_the_body(serve: Callable[..., Served]) -> None:
    """Also when no body follows, and once for all redirects."""

    def handler(conn: Any, msg: Any) -> None:
        if msg.uri == "/":
            conn.reply(302, "elsewhere", {"Location": "/there"})
        else:
            conn.reply(200, "ab" if msg.uri == "/there" else "", {"X": "1"})

    served = serve(on_http(handler))
    url = f"http://127.0.0.1:{served.port}"
    for path, want in (("/", [200, b"ab"]), ("/empty", [200])):
        told: list[Any] = []
        asked = served.mgr.request(
            "GET",
            url + path,
            on_head=lambda r, told=told: told.append(r.status if r.header("X") else 0),
            on_data=lambda piece, told=told: told.append(piece),
        )
        assert asked.result(DEADLINE).status == 200
        assert told == want
    error = served.mgr.request("GET", url + "/there", on_head=lambda r: 1 // 0, on_data=print)
    assert isinstance(error.exception(DEADLINE), ZeroDivisionError)
    with pytest.raises(ValueError, match="on_head goes with on_data"):
        served.mgr.request("GET", url, on_head=print)
    with pytest.raises(TypeError, match="on_head must be callable"):
        served.mgr.request("GET", url, on_head=1, on_data=print)  # type: ignore[arg-type]
