"""HttpMessage: what it shows of a request, and that it and its views stay good for as long as anybody keeps them."""

import gc
import threading
import weakref

import pytest
from conftest import Until, eventually, on_http, parse_all

from pymongoose import MG_EV_HTTP_MSG, Manager, MongooseError


def request(target="/", headers="", body=b"", method="GET", proto="HTTP/1.1"):
    return f"{method} {target} {proto}\r\nHost: a\r\n{headers}\r\n".encode("latin-1") + body


def look(serve, data, fn):
    """fn(message), called in the handler."""
    seen = Until()

    def handle(conn, msg):
        try:
            seen.set(fn(msg))
        finally:
            conn.reply(200, "", {"Connection": "close"})

    serve(on_http(handle)).talk(data)
    return seen.get()


def test_attributes(serve):
    data = request("/a%20b/c?x=1&y=%41", "X-A: 1\r\nx-a: 2\r\n", method="PATCH")

    def check(msg):
        assert bool(msg)
        assert (msg.method, msg.uri, msg.query, msg.proto) == (
            "PATCH",
            "/a%20b/c",
            "x=1&y=%41",
            "HTTP/1.1",
        )
        assert (msg.body_bytes, msg.body_text, msg.text, bytes(msg.body)) == (b"", "", "", b"")
        assert msg.status() is None
        assert msg.headers() == [("Host", "a"), ("X-A", "1"), ("x-a", "2")]
        assert (
            msg.header("x-A"),
            msg.header(b"HOST"),
            msg.header("none"),
            msg.header("none", 5),
        ) == ("1", "a", None, 5)
        assert repr(msg) == "<HttpMessage PATCH /a%20b/c, 0 bytes>"
        return True

    assert look(serve, data, check)


def test_body_is_a_read_only_memoryview_and_bytes_are_cached(serve):
    """Q28: each read of body_bytes allocated the body again."""
    body = bytes(range(256)) * 20

    def check(msg):
        assert type(msg.body) is memoryview
        assert msg.body.readonly
        assert (msg.body.format, msg.body.itemsize, msg.body.ndim) == ("B", 1, 1)
        assert msg.body == body
        assert msg.body_bytes == body
        assert msg.body_bytes is msg.body_bytes
        assert msg.body_text is msg.body_text
        assert msg.uri is msg.uri
        assert bytes(msg) == body  # the message itself is a buffer
        assert msg.body_text == body.decode("utf-8", "surrogateescape")
        with pytest.raises(TypeError):
            msg.body[0] = 1
        return True

    assert look(
        serve, request(method="POST", headers=f"Content-Length: {len(body)}\r\n", body=body), check
    )


@pytest.mark.parametrize(
    ("query", "name", "value"),
    [
        ("a=1", "a", "1"),
        ("b=2&a=1", "a", "1"),
        ("a=1&a=2", "a", "1"),
        ("a=", "a", None),
        ("a", "a", None),
        ("b=1", "a", None),
        ("", "a", None),
        ("A=1", "a", "1"),
        ("a=x%20y+z", "a", "x y z"),
        ("a=%c3%a4", "a", "ä"),
        ("a=%ff", "a", "\udcff"),
        ("a=" + "x" * 2047, "a", "x" * 2047),
    ],
)
def test_q19_query_var_keeps_the_classic_rules(serve, query, name, value):
    """Q19: empty is None, names ignore case, values are decoded."""
    assert look(serve, request("/?" + query), lambda msg: msg.query_var(name)) == value


def test_q19_query_var_beyond_2047_bytes_is_a_value_error(serve):
    def check(msg):
        with pytest.raises(ValueError, match="2047"):
            msg.query_var("a")
        assert msg.params == {"a": ["x" * 2048]}
        return True

    assert look(serve, request("/?a=" + "x" * 2048), check)


@pytest.mark.parametrize(
    ("query", "params"),
    [
        ("", {}),
        ("a=1&b=2&a=3", {"a": ["1", "3"], "b": ["2"]}),
        ("a=", {"a": [""]}),
        ("A=1&a=2", {"A": ["1"], "a": ["2"]}),
        ("a=x%20y+z&%c3%a4=%E2%82%AC", {"a": ["x y z"], "ä": ["€"]}),
    ],
)
def test_q19_params_are_exact(serve, query, params):
    assert look(serve, request("/?" + query), lambda msg: msg.params) == params


def test_header_var(serve):
    headers = 'Cookie: a=1; session="x y"; b=\r\nContent-Disposition: form-data; name="f"; filename="a.txt"\r\n'

    def check(msg):
        return (
            msg.header_var("cookie", "a"),
            msg.header_var("Cookie", "session"),
            msg.header_var("Cookie", "none"),
            msg.header_var("none", "a"),
            msg.header_var("Content-Disposition", "filename"),
        )

    assert look(serve, request(headers=headers), check) == ("1", "x y", None, None, "a.txt")


def test_json(serve):
    def check(msg):
        assert msg.json() == {"a": [1, "ä"]}
        return True

    body = '{"a": [1, "ä"]}'.encode()
    assert look(
        serve, request(method="POST", headers=f"Content-Length: {len(body)}\r\n", body=body), check
    )

    def bad(msg):
        with pytest.raises(ValueError, match=r"."):
            msg.json()
        return True

    assert look(serve, request(), bad)


def test_bytes_beyond_ascii_in_headers_come_as_surrogates(serve):
    got = look(serve, request(headers="X-A: \xc3\xa4\xff\r\n"), lambda msg: msg.header("X-A"))
    assert got == "ä\udcff"
    assert got.encode("utf-8", "surrogateescape") == b"\xc3\xa4\xff"


def test_wrong_arguments(serve):
    def check(msg):
        for call in (
            lambda: msg.header(),
            lambda: msg.header("a", "b", "c"),
            lambda: msg.header(5),
            lambda: msg.query_var(5),
            lambda: msg.header_var("a"),
            lambda: type(msg)(),
        ):
            with pytest.raises(TypeError):
                call()
        with pytest.raises(AttributeError):
            msg.uri = "/other"
        return True

    assert look(serve, request(), check)


# -- kept --


def keep(serve, data, kept):
    server = serve(on_http(lambda conn, msg: (kept.append((msg, msg.body)), conn.reply(200))))
    return server, server.talk(data, half_close=True)


@pytest.mark.parametrize("size", [0, 1, 3000, 100_000, 5 << 20])
@pytest.mark.parametrize("coding", ["counted", "chunked"])
def test_kept_messages_and_views_outlive_handler_connection_and_manager(serve, size, coding):
    body = bytes(i * 7 & 255 for i in range(256)) * (size // 256 + 1)
    body = body[:size]
    if coding == "counted":
        tail, how = body, f"Content-Length: {size}\r\n"
    else:
        half = size // 2
        tail = (
            b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in (body[:half], body[half:]) if p)
            + b"0\r\n\r\n"
        )
        how = "Transfer-Encoding: chunked\r\n"
    kept = []
    server, _ = keep(serve, request("/kept?a=b", how + "X-A: yes\r\n", tail, "POST"), kept)
    server.stop()
    del server.mgr, server.listener
    gc.collect()
    ((msg, view),) = kept
    for _ in range(2):
        assert (msg.method, msg.uri, msg.query, msg.proto) == ("POST", "/kept", "a=b", "HTTP/1.1")
        assert (msg.header("x-a"), msg.query_var("a"), msg.params) == ("yes", "b", {"a": ["b"]})
        assert len(msg.headers()) == 3
        assert view == body
        assert msg.body_bytes == body
        assert bytes(msg) == body
    kept.clear()
    del msg
    gc.collect()
    assert view == body  # the view alone holds what it shows
    view.release()


def test_pinned_bytes_are_unchanged_while_1000_other_requests_run(serve):
    """Also on the same connection, whose buffer would be the first to be used again."""
    kept = []

    def handle(conn, msg):
        if msg.uri == "/keep":
            kept.append(msg.body)
        conn.reply(200)

    server = serve(on_http(handle))
    secret = b"secret" * 500
    first = request("/keep", f"Content-Length: {len(secret)}\r\n", secret, "POST")
    other = request("/other", "Content-Length: 3000\r\n", b"\xff" * 3000, "POST")
    server.talk(first + other * 500 + first, answers=502)
    for _ in range(5):
        server.talk(other * 100, answers=100)
    assert len(kept) == 2
    assert all(view == secret for view in kept)


def test_messages_of_a_pipeline_are_all_their_own(serve):
    kept = []
    _, data = keep(serve, b"".join(request(f"/{i}?q={i}", f"X: {i}\r\n") for i in range(100)), kept)
    assert len(parse_all(data)) == 100
    for i, (msg, view) in enumerate(kept):
        assert (msg.uri, msg.query, msg.header("X"), bytes(view)) == (
            f"/{i}",
            f"q={i}",
            str(i),
            b"",
        )


def test_part_of_a_view_on_another_thread(serve):
    results = Until()

    def handle(conn, msg):
        part = msg.body[10:20]
        thread = threading.Thread(target=lambda: results.set((gone.wait(15), bytes(part))))
        thread.start()
        conn.reply(200)

    gone = threading.Event()
    server = serve(on_http(handle))
    server.get(method="POST", body=bytes(range(100)))
    server.stop()
    gone.set()
    assert results.get() == (True, bytes(range(10, 20)))


def test_message_that_nobody_kept_is_no_longer_there(serve):
    """It is used again for the next request, so an id() means nothing; keeping one makes another."""
    ids = []

    def handle(conn, msg):
        ids.append(id(msg))
        if msg.uri == "/keep":
            kept.append(msg)
        conn.reply(200)

    kept = []
    server = serve(on_http(handle))
    server.talk(request("/a") + request("/keep") + request("/b") + request("/keep"), answers=4)
    assert [m.uri for m in kept] == ["/keep", "/keep"]
    assert kept[0] is not kept[1]


def test_kept_messages_are_freed_with_their_memory(serve):
    class Canary:
        pass

    canary = Canary()
    gone = weakref.ref(canary)
    server = serve(None)

    def handler(conn, ev, data, canary=canary):
        if ev == MG_EV_HTTP_MSG:
            conn.userdata = (canary, data, data.body)
            conn.reply(200)

    server.listener.set_handler(handler)
    server.get(method="POST", body=b"x" * 10000)
    server.listener.set_handler(None)
    del canary, handler
    server.stop()
    server.mgr.close()
    eventually(lambda: gc.collect() or gone() is None)


def test_a_manager_without_handler_answers_nothing_and_lives():
    with Manager() as mgr:
        mgr.listen("http://127.0.0.1:0")
        mgr.poll(0)
        assert len(mgr.connections) == 1
    with pytest.raises((MongooseError, RuntimeError), match="closed"):
        mgr.poll(0)
