"""Q6: an answer made by hand with conn.send() ends its request when it is complete: the next one on the connection is served."""

import base64
import threading

import pytest
from conftest import Cut, Until, on_http, parse, parse_all, read_answer

from pymongoose import MG_EV_CONNECT, MG_EV_HTTP_MSG, Limits, MongooseError, QueueFull


def request(target="/", headers="", body=b"", method="GET", proto="HTTP/1.1"):
    return f"{method} {target} {proto}\r\nHost: a\r\n{headers}\r\n".encode() + body


RAW = {
    "counted": [b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"],
    "head-and-body-apart": [b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", b"hel", b"lo"],
    "byte-by-byte": [bytes([b]) for b in b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"],
    "chunked": [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"5\r\nhel",
        b"lo\r\n0\r\n",
        b"\r\n",
    ],
    "empty": [b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"],
    "204": [b"HTTP/1.1 204 No Content\r\n\r\n"],
    "304": [b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"],
    "http_chunk": [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "chunk:hello",
        "chunk:",
    ],
    "text": ["HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"],
    "large": [b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", b"x" * 1_000_000],
    "interim-first": [
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    ],
}


def send(conn, pieces):
    for piece in pieces:
        if isinstance(piece, str) and piece.startswith("chunk:"):
            conn.http_chunk(piece[6:])
        else:
            conn.send(piece)


@pytest.mark.parametrize("name", RAW)
def test_q6_keep_alive_goes_on_after_a_raw_answer(serve, name):
    server = serve(on_http(lambda conn, msg: send(conn, RAW[name])))
    per = 2 if name == "interim-first" else 1
    with server.connect() as sock:
        have = b""
        for _ in range(3):
            sock.sendall(request())
            for _ in range(per):
                answer, have = read_answer(sock, have=have)
            assert have == b""
            if name not in ("empty", "204", "304"):
                assert answer.body in (b"hello", b"x" * 1_000_000)
        sock.sendall(request() * 5)  # and pipelined
        for _ in range(5 * per):
            answer, have = read_answer(sock, have=have)
        assert have == b""


@pytest.mark.parametrize("name", ["counted", "chunked", "byte-by-byte", "http_chunk"])
def test_q6_raw_answers_from_another_thread(serve, name):
    threads = []

    def handle(conn, msg):
        threads.append(threading.Thread(target=send, args=(conn, RAW[name])))
        threads[-1].start()

    server = serve(on_http(handle))
    with server.connect() as sock:
        for _ in range(5):
            sock.sendall(request())
            answer, rest = read_answer(sock)
            assert (answer.body, rest) == (b"hello", b"")
    for thread in threads:
        thread.join(15)


def test_raw_answer_without_a_length_ends_with_the_connection(serve):
    def handle(conn, msg):
        conn.send("HTTP/1.1 200 OK\r\n\r\n")
        conn.send("until the end")
        conn.drain()

    answer, _ = parse(serve(on_http(handle)).talk(request() * 2))
    assert answer.body == b"until the end"


def test_raw_answer_with_connection_close_closes(serve):
    server = serve(
        on_http(
            lambda conn, msg: conn.send(
                "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi"
            )
        )
    )
    assert [a.body for a in parse_all(server.talk(request() * 3))] == [b"hi"]


def test_raw_answer_to_http_1_0_closes(serve):
    server = serve(
        on_http(lambda conn, msg: conn.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"))
    )
    assert [a.body for a in parse_all(server.talk(request(proto="HTTP/1.0")))] == [b"hi"]


def test_raw_answer_to_head_has_no_body(serve):
    server = serve(
        on_http(lambda conn, msg: conn.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"))
    )
    data = server.talk(
        request(method="HEAD") + request(method="HEAD", headers="Connection: close\r\n")
    )
    assert len(parse_all(data, head=True)) == 2


def test_reply_after_a_whole_raw_answer_is_one_too_many(serve):
    def handle(conn, msg):
        conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
        with pytest.raises(MongooseError):
            conn.reply(200, "again")

    answers = parse_all(serve(on_http(handle)).talk(request() * 2, answers=2))
    assert [a.body for a in answers] == [b"hello"] * 2


def test_exception_in_the_middle_of_a_raw_answer_cuts(serve):
    def handle(conn, msg):
        conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe")
        raise LookupError

    server = serve(on_http(handle))
    with pytest.raises(Cut):
        parse(server.talk(request() * 2))
    server.expect_error(LookupError)


def test_raw_send_keeps_its_place_behind_a_deferred_answer(serve):
    held = []

    def handle(conn, msg):
        if msg.uri == "/1":
            held.append(conn.defer())
        else:
            conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nraw")
            held.pop().reply(200, "first")

    answers = parse_all(serve(on_http(handle)).talk(request("/1") + request("/2"), answers=2))
    assert [a.body for a in answers] == [b"first", b"raw"]


def test_basic_auth_credentials_of_a_raw_client_round_trip(serve):
    """conn.send() as a client: the request is written by hand."""

    def handle(conn, msg):
        conn.reply(200, msg.header("Authorization"))

    server = serve(on_http(handle))
    answer = Until()

    def client(conn, ev, data):
        if ev == MG_EV_CONNECT:
            token = base64.b64encode(b"me:secret").decode()
            conn.send(f"GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Basic {token}\r\n\r\n")
        elif ev == MG_EV_HTTP_MSG:
            answer.set((data.status(), data.body_bytes))
            conn.close()

    server.mgr.connect(f"http://127.0.0.1:{server.port}", client)
    assert answer.get() == (200, b"Basic bWU6c2VjcmV0")


def test_raw_output_beyond_send_max_is_queue_full(serve):
    told = Until()

    def handle(conn, msg):
        conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")

        def flood():
            for _ in range(1000):
                conn.send(b"x" * 65536)

        with pytest.raises(QueueFull, match="does not read"):
            flood()
        told.set(conn.send_len)
        conn.close()

    server = serve(on_http(handle), listen={"limits": Limits(send_max=1 << 20)})
    with server.connect() as sock:
        sock.sendall(request())
        assert told.get() <= 1 << 20
