"""Answers leave in the order of the requests, whoever gives them and whenever."""

import contextlib
import queue
import random
import socket
import threading

import pytest
from conftest import DEADLINE, Until, eventually, on_http, parse, parse_all, read_all
from helpers import poll_until

from pymongoose import ConnectionClosed, Limits, Manager, MongooseError


def request(target="/", headers="", body=b"", method="GET"):
    return f"{method} {target} HTTP/1.1\r\nHost: a\r\n{headers}\r\n".encode() + body


def talk_pieces(server, data, size):
    with server.connect() as sock:
        for i in range(0, len(data), size):
            sock.sendall(data[i : i + size])
        return read_all(sock)


@pytest.mark.parametrize("seed", range(3))
def test_deferred_answers_from_16_threads_in_random_order_leave_in_order(serve, seed):
    todo = queue.Queue()
    rng = random.Random(seed)
    count = 320

    def handle(conn, msg):
        todo.put((conn.defer(), msg.uri))

    def dispatcher():
        """Hand out in random order what is there; each to one of 16 threads."""
        done = 0
        while done < count:
            pending = [todo.get(timeout=15)]
            while not todo.empty():
                pending.append(todo.get())
            rng.shuffle(pending)
            done += len(pending)
            for job in pending:
                lanes[rng.randrange(16)].put(job)
        for lane in lanes:
            lane.put(None)

    def worker(lane):
        while (job := lane.get(timeout=30)) is not None:
            reply, uri = job
            reply.reply(200, uri)

    lanes = [queue.Queue() for _ in range(16)]
    threads = [threading.Thread(target=worker, args=(lane,)) for lane in lanes]
    threads.append(threading.Thread(target=dispatcher))
    for thread in threads:
        thread.start()
    server = serve(on_http(handle))
    data = b"".join(request(f"/{i}") for i in range(count - 1)) + request(
        f"/{count - 1}", "Connection: close\r\n"
    )
    answers = parse_all(server.talk(data))
    for thread in threads:
        thread.join(30)
    assert [a.body.decode() for a in answers] == [f"/{i}" for i in range(count)]


KINDS = (
    "sync",
    "defer",
    "offload",
    "then",
    "native",
    "chunked",
    "raw",
    "classic",
    "json",
    "head",
    "post",
    "error",
    "late-stream",
)


@pytest.mark.parametrize("size", [1 << 20, 100, 7])
def test_a_mix_of_all_kinds_of_answers_keeps_its_order(serve, size):
    threads = []

    def later(fn):
        threads.append(threading.Thread(target=fn))
        threads[-1].start()

    def handle(conn, msg):
        kind, n = msg.uri[1:].split("/")
        text = f"{kind} {n}"
        if kind in ("sync", "head"):
            conn.reply(200, text)
        elif kind == "defer":
            reply = conn.defer()
            later(lambda: reply.reply(200, text))
        elif kind == "offload":
            conn.offload(lambda: text)
        elif kind == "then":
            conn.offload(str, text, then=lambda conn, result: conn.reply(200, result))
        elif kind == "chunked":
            with conn.start_response(200) as body:
                body.write(kind)
                body.write(f" {n}")
        elif kind == "raw":
            conn.send(f"HTTP/1.1 200 OK\r\nContent-Length: {len(text)}\r\n\r\n")
            conn.send(text)
        elif kind == "classic":
            conn.reply(200, "", {"Transfer-Encoding": "chunked"})
            conn.http_chunk(text)
            conn.http_chunk("")
        elif kind == "json":
            conn.reply_json(text)
        elif kind == "post":
            conn.reply(200, msg.body)
        elif kind == "error":
            raise LookupError(n)
        elif kind == "late-stream":
            reply = conn.defer()

            def stream():
                with reply.start_response(200) as body:
                    body.write(kind)
                    body.write(f" {n}")

            later(stream)

    server = serve(on_http(handle), workers=4, error_handler=lambda exc: None)
    server.listener.respond("/native/0", 200, "native 0")
    rng = random.Random(size)
    kinds = [rng.choice(KINDS) for _ in range(150)]
    data, expected = b"", []
    for i, kind in enumerate(kinds):
        n = 0 if kind == "native" else i
        body = f"{kind} {n}".encode()
        close = "Connection: close\r\n" if i == len(kinds) - 1 else ""
        if kind == "post":
            data += request(
                f"/{kind}/{n}", close + f"Content-Length: {len(body)}\r\n", body, "POST"
            )
        else:
            data += request(f"/{kind}/{n}", close, method="HEAD" if kind == "head" else "GET")
        expected.append(body)
    got = talk_pieces(server, data, size)
    for thread in threads:
        thread.join(15)
    for i, kind in enumerate(kinds):
        answer, got = parse(got, head=kind == "head")
        if kind == "head":
            assert answer.header("Content-Length") == str(len(expected[i]))
        elif kind == "error":
            assert answer.status == 500
        elif kind == "json":
            assert answer.body == b'"' + expected[i] + b'"'
        else:
            assert (answer.status, answer.body) == (200, expected[i]), i
    assert got == b""


def test_a_late_first_answer_holds_back_the_others_and_loses_none(serve):
    first = []

    def handle(conn, msg):
        if msg.uri == "/first":
            first.append(conn.defer())
        else:
            conn.reply(200, msg.uri)
            if msg.uri == "/9":
                first.pop().reply(200, "first")

    data = request("/first") + b"".join(request(f"/{i}") for i in range(10))
    answers = parse_all(serve(on_http(handle)).talk(data, answers=11))
    assert [a.body for a in answers] == [b"first", *(b"/%d" % i for i in range(10))]


def test_nothing_behind_connection_close_is_served(serve):
    seen = []

    def handle(conn, msg):
        seen.append(msg.uri)
        conn.reply(200)

    data = request("/1") + request("/2", "Connection: close\r\n") + request("/3")
    assert len(parse_all(serve(on_http(handle)).talk(data))) == 2
    assert seen == ["/1", "/2"]


def test_dropped_reply_is_500_and_the_next_goes_on(serve):
    def handle(conn, msg):
        if msg.uri == "/drop":
            conn.defer()  # at once nobody has it
        else:
            conn.reply(200, "ok")

    answers = parse_all(serve(on_http(handle)).talk(request("/drop") + request("/ok"), answers=2))
    assert [a.status for a in answers] == [500, 200]


def test_reply_answers_once(serve):
    def handle(conn, msg):
        reply = conn.defer()
        assert (reply.done, reply.cancelled, reply.connection) == (False, False, conn)
        reply.reply(200, "one")
        assert reply.done
        with pytest.raises(MongooseError, match="already"):
            reply.reply(200, "two")
        with pytest.raises(MongooseError, match="already"):
            reply.reply_json({})
        with pytest.raises(MongooseError, match="already"):
            reply.start_response(200)

    answers = parse_all(serve(on_http(handle)).talk(request() * 2, answers=2))
    assert [a.body for a in answers] == [b"one"] * 2


def test_client_that_left_cancels_its_reply(serve):
    replies = Until()
    server = serve(on_http(lambda conn, msg: replies.set(conn.defer())))
    with server.connect() as sock:
        sock.sendall(request())
        reply = replies.get()
        assert not reply.cancelled
    eventually(lambda: reply.cancelled)
    with pytest.raises(ConnectionClosed):
        reply.reply(200)
    assert not reply.done


def test_large_answers_in_a_pipeline_stay_whole(serve):
    bodies = {f"/{i}": bytes([i]) * (i * 300_000) for i in range(6)}
    server = serve(
        on_http(lambda conn, msg: conn.reply(200, bodies[msg.uri])),
        listen={"limits": Limits(max_pipeline=3)},
    )
    data = b"".join(request(f"/{i % 6}") for i in range(12))
    answers = parse_all(server.talk(data, answers=12))
    assert [a.body == bodies[f"/{i % 6}"] for i, a in enumerate(answers)] == [True] * 12


def test_q25_without_defer_a_late_reply_belongs_to_its_own_request(serve):
    """The classic form: the handler returns, another thread calls conn.reply(). The next request waits until then."""
    threads = []

    def handle(conn, msg):
        uri = msg.uri
        threads.append(threading.Thread(target=lambda: conn.reply(200, uri)))
        threads[-1].start()

    server = serve(on_http(handle))
    for _ in range(5):
        answers = parse_all(server.talk(b"".join(request(f"/{i}") for i in range(30)), answers=30))
        assert [a.body for a in answers] == [b"/%d" % i for i in range(30)]
    for thread in threads:
        thread.join(15)


def test_who_does_not_read_his_answers_gets_no_more_of_them():
    """4 KB of requests must not become 15 MB of answers in our memory; who reads gets them all."""
    served, waiting = [], []
    body = b"x" * 100_000

    def handle(conn, msg):
        served.append(msg.uri)
        waiting.append(conn.send_len)
        conn.reply(200, bytearray(body))

    limits = Limits(send_high=300_000, send_low=100_000)
    with Manager(on_http(handle)) as mgr:
        address = mgr.listen("http://127.0.0.1:0", limits=limits).local_addr[:2]
        with socket.create_connection(address, DEADLINE) as sock:
            sock.sendall(b"".join(request(f"/{i}") for i in range(150)))
            poll_until(mgr, lambda: max(waiting, default=0) > 200_000)
            got = bytearray()
            sock.setblocking(False)

            def read():
                with contextlib.suppress(BlockingIOError):
                    got.extend(sock.recv(1 << 20))
                return got.count(b"HTTP/1.1 200") == 150 and got.endswith(body)

            poll_until(mgr, read)
        answers = parse_all(bytes(got))
    assert [a.body for a in answers] == [body] * 150
    assert served == [f"/{i}" for i in range(150)]
    assert max(waiting) < 300_000
