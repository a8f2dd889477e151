"""A client that everybody has: curl."""

import json
import shutil
import subprocess

import pytest
from conftest import on_http

from pymongoose import MG_EV_HTTP_HDRS, MG_EV_HTTP_MSG, Limits

CURL = shutil.which("curl")
pytestmark = pytest.mark.skipif(CURL is None, reason="no curl")


def curl(server, *args, target="/", data=b""):
    url = target if "://" in target else f"http://127.0.0.1:{server.port}{target}"
    done = subprocess.run(
        [CURL, "-sS", "--noproxy", "*", "--max-time", "30", *args, url],
        input=data,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def echo(conn, msg):
    conn.reply(
        200, msg.body, {"X-Method": msg.method, "X-Length": msg.header("Content-Length", "none")}
    )


@pytest.fixture
def server(serve):
    return serve(on_http(echo))


@pytest.mark.parametrize("size", [0, 1, 1000, 2_000_000])
def test_upload_of_a_file(server, tmp_path, size):
    path = tmp_path / "f"
    path.write_bytes((bytes(range(256)) * (size // 256 + 1))[:size])
    assert curl(server, "-T", str(path)) == path.read_bytes()


@pytest.mark.parametrize("size", [0, 1, 1000, 2_000_000])
def test_chunked_upload_from_a_pipe(server, size):
    data = (bytes(range(256)) * (size // 256 + 1))[:size]
    out = curl(server, "-D-", "-o-", "-T", "-", data=data)
    while out.startswith(b"HTTP/1.1 100"):
        out = out.partition(b"\r\n\r\n")[2]
    head, _, body = out.partition(b"\r\n\r\n")
    assert body == data
    assert b"X-Length: none" in head
    assert b"X-Method: PUT" in head


def test_http_1_0(server):
    out = curl(server, "--http1.0", "-i", "-d", "abc")
    assert out.startswith(b"HTTP/1.")
    assert out.endswith(b"\r\n\r\nabc")
    assert b"chunked" not in out


def test_expect_100_continue(server):
    out = curl(server, "-i", "-H", "Expect: 100-continue", "-d", "abc", "--expect100-timeout", "20")
    assert out.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")
    assert out.endswith(b"\r\n\r\nabc")


def test_head(server):
    out = curl(server, "-I")
    assert out.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"X-Method: HEAD" in out
    assert b"Content-Length: 0" in out


def test_one_connection_for_many_requests(server):
    url = f"http://127.0.0.1:{server.port}/"
    out = curl(server, "-d", "x", "-w", "%{num_connects}\n", *[url] * 9)
    assert out == b"x1\n" + b"x0\n" * 9
    assert server.mgr.stats().accepted == 1


def test_parallel(server):
    url = f"http://127.0.0.1:{server.port}/"
    out = curl(server, "-Z", "--parallel-immediate", "-d", "x", *[url] * 39)
    assert out == b"x" * 40


def test_form_and_multipart(serve):
    def handle(conn, msg):
        conn.reply_json(
            {"type": msg.header("Content-Type"), "body": msg.body_text, "q": msg.params}
        )

    server = serve(on_http(handle))
    got = json.loads(curl(server, "-d", "a=1&b=2", target="/?x=%C3%A4"))
    assert got == {
        "type": "application/x-www-form-urlencoded",
        "body": "a=1&b=2",
        "q": {"x": ["ä"]},
    }
    got = json.loads(
        curl(server, "-F", "name=value", "-F", "file=@-;filename=f.txt", data=b"content")
    )
    assert got["type"].startswith("multipart/form-data; boundary=")
    assert 'filename="f.txt"' in got["body"]
    assert "content" in got["body"]


def test_chunked_and_until_close_downloads(serve):
    def handle(conn, msg):
        with conn.start_response(200) as body:
            for i in range(100):
                body.write(b"%d\n" % i * 1000)

    expected = b"".join(b"%d\n" % i * 1000 for i in range(100))
    server = serve(on_http(handle))
    assert curl(server) == expected
    assert curl(server, "--http1.0") == expected
    assert curl(server, "--raw") != expected


def test_exception_in_the_middle_of_a_stream_is_seen_by_curl(serve):
    def handle(conn, msg):
        with conn.start_response(200) as body:
            body.write("half")
            raise LookupError

    server = serve(on_http(handle))
    done = subprocess.run(
        [CURL, "-sS", f"http://127.0.0.1:{server.port}/"], capture_output=True, check=False
    )
    assert done.returncode in (18, 56)  # partial file, receive error
    server.expect_error(LookupError)


def test_streamed_upload(serve):
    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_HDRS:
            got = []
            conn.stream_body(got.append, lambda: conn.reply(201, str(sum(map(len, got)))))
        elif ev == MG_EV_HTTP_MSG:
            conn.reply(400)

    server = serve(handler)
    assert curl(server, "-T", "-", data=b"x" * 12_000_000) == b"12000000"


def test_resumed_connection_after_an_error_status(serve):
    def handle(conn, msg):
        conn.reply(404 if msg.uri == "/no" else 200, msg.uri)

    server = serve(on_http(handle))
    url = f"http://127.0.0.1:{server.port}"
    assert curl(server, f"{url}/no", f"{url}/yes", target="/no") == b"/no/yes/no"
    assert server.mgr.stats().accepted == 1


def test_refused_body_gives_curl_the_413(serve):
    """The answer must not be lost in a reset while the client still sends."""
    server = serve(on_http(echo), listen={"limits": Limits(max_body=1000)})
    for args in (("-T", "-"), ("-d", "@-"), ("-d", "@-", "-H", "Expect:")):
        out = curl(server, "-o", "/dev/null", "-w", "%{http_code}", *args, data=b"x" * 3_000_000)
        assert out.endswith(b"413"), args
