"""Python's own clients: httpx, http.client, urllib."""

import asyncio
import http.client
import threading
import urllib.error
import urllib.request

import pytest
from conftest import on_http

httpx = pytest.importorskip("httpx")


def app(conn, msg):
    if msg.uri == "/json":
        conn.reply_json({"got": msg.json(), "method": msg.method})
    elif msg.uri == "/stream":
        with conn.start_response(200, {"Content-Type": "text/plain; charset=utf-8"}) as body:
            for i in range(100):
                body.write(f"zeile {i} ä\n")
    elif msg.uri == "/cookies":
        conn.reply(200, msg.header("Cookie", ""), [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")])
    elif msg.uri == "/redirect":
        conn.reply(302, "", {"Location": "/end"})
    elif msg.uri == "/big":
        conn.reply(200, b"x" * 5_000_000)
    elif msg.uri == "/missing":
        conn.reply(404, "none")
    else:
        conn.reply(200, f"{msg.method} {msg.uri}?{msg.query}")


@pytest.fixture
def base(serve):
    return f"http://127.0.0.1:{serve(on_http(app)).port}"


def test_httpx_client(base):
    with httpx.Client(base_url=base, trust_env=False) as client:
        assert client.get("/a b?x=ä").text == "GET /a%20b?x=%C3%A4"
        assert client.post("/json", json={"a": [1, "ä"]}).json() == {
            "got": {"a": [1, "ä"]},
            "method": "POST",
        }
        assert client.get("/stream").text == "".join(f"zeile {i} ä\n" for i in range(100))
        assert client.head("/x").headers["content-length"] == "8"
        client.get("/cookies")
        assert client.get("/cookies").text == "a=1; b=2"
        assert client.get("/redirect", follow_redirects=True).text == "GET /end?"
        assert len(client.get("/big").content) == 5_000_000
        assert client.get("/missing").status_code == 404
        assert client.put("/json", content=iter([b'{"a"', b": 1}"])).json()["got"] == {"a": 1}


def test_httpx_streaming_response(base):
    with httpx.stream("GET", f"{base}/stream", trust_env=False) as response:
        lines = list(response.iter_lines())
    assert lines == [f"zeile {i} ä" for i in range(100)]


def test_httpx_async_client_with_50_at_once(base):
    async def main():
        async with httpx.AsyncClient(base_url=base, trust_env=False) as client:
            return await asyncio.gather(*(client.get(f"/{i}") for i in range(50)))

    assert [r.text for r in asyncio.run(main())] == [f"GET /{i}?" for i in range(50)]


def test_http_client_keeps_its_connection(base):
    conn = http.client.HTTPConnection(base.removeprefix("http://"), timeout=15)
    sock = None
    for i in range(50):
        conn.request("GET", f"/{i}")
        response = conn.getresponse()
        assert response.read() == b"GET /%d?" % i
        assert response.version == 11
        sock = sock or conn.sock
        assert conn.sock is sock
    conn.request(
        "POST",
        "/json",
        body=iter([b"[1", b",2]"]),
        encode_chunked=True,
        headers={"Transfer-Encoding": "chunked"},
    )
    assert b"[1,2]" in conn.getresponse().read()
    conn.close()


def test_urllib(base):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"{base}/big", timeout=15) as response:
        assert len(response.read()) == 5_000_000
    with pytest.raises(urllib.error.HTTPError) as info, opener.open(f"{base}/missing", timeout=15):
        pass
    assert info.value.code == 404
    info.value.close()


def test_clients_in_threads_each_with_a_connection(base):
    failures = []

    def client(n):
        try:
            with httpx.Client(base_url=base, trust_env=False) as c:
                for i in range(30):
                    assert c.get(f"/{n}/{i}").text == f"GET /{n}/{i}?"
        except BaseException as exc:  # noqa: BLE001  (told below)
            failures.append(exc)

    threads = [threading.Thread(target=client, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(40)
    assert failures == []
