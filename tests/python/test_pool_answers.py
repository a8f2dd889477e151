"""Work leaves the loop and comes back as an answer, in order, once, whatever happens on the way."""

import array
import contextlib
import operator
import threading

import pytest
from conftest import DEADLINE, Until, eventually, get, on_http, parse_all, read_all, read_answer
from helpers import REQUEST, offloading

from pymongoose import MG_EV_HTTP_MSG, MongooseError, Response, WorkerPool

# -- results become replies --


@pytest.mark.parametrize(
    ("result", "status", "kind", "body"),
    [
        ("tä", 200, "text/plain", "tä".encode()),
        (b"a\0b", 200, "text/plain", b"a\0b"),
        (bytearray(b"abc"), 200, "text/plain", b"abc"),
        (memoryview(b"xabcx")[1:4], 200, "text/plain", b"abc"),
        ({"a": 1}, 200, "application/json", b'{"a":1}'),
        ([1, "ä"], 200, "application/json", '[1,"ä"]'.encode()),
        (None, 204, None, b""),
        (Response(201, "made", {"X-A": "1", "Content-Type": "text/x"}), 201, "text/x", b"made"),
        (Response(), 200, "text/plain", b""),
        (bytes(100_000), 200, "text/plain", bytes(100_000)),
    ],
    ids=lambda v: type(v).__name__,
)
def test_results_of_every_kind(serve, result, status, kind, body):
    server = serve(offloading(lambda msg: result), workers=2)
    answer = get(server.port)
    assert (answer.status, answer.body) == (status, body)
    if kind:
        assert answer.header("Content-Type") == kind


def test_a_result_that_is_no_answer_is_an_error(serve):
    server = serve(offloading(lambda msg: object()), workers=1)
    assert get(server.port).status == 500
    assert "offloaded function must return" in str(server.expect_error(TypeError))


def test_a_response_that_cannot_be_sent_is_an_error(serve):
    server = serve(offloading(lambda msg: Response(200, "x", {"A": "b\r\nC: d"})), workers=1)
    assert get(server.port).status == 500
    server.expect_error(ValueError)


def test_work_runs_in_threads_of_the_pool(serve):
    names = []
    server = serve(
        offloading(lambda msg: names.append(threading.current_thread().name)),
        pool=None,
        workers=3,
    )
    for _ in range(5):
        get(server.port)
    assert {n.rpartition("-")[0] for n in names} == {"worker"}


def test_then_runs_on_the_loop_thread_and_answers(serve):
    def then(conn, result):
        assert threading.current_thread() is server.thread
        conn.reply(201, result * 2)

    server = serve(offloading(lambda msg: msg.body_text, then=then), workers=2)
    assert get(server.port, method="POST", body=b"ab").body == b"abab"


def test_then_without_an_answer_is_500(serve):
    server = serve(offloading(lambda msg: 1, then=lambda conn, r: None), workers=1)
    assert get(server.port).status == 500
    assert "without an answer" in str(server.expect_error(RuntimeError))


def test_then_that_raises_is_500(serve):
    server = serve(offloading(lambda msg: 0, then=lambda conn, r: 1 / r), workers=1)
    assert get(server.port).status == 500
    server.expect_error(ZeroDivisionError)


def test_then_may_offload_again(serve):
    def then(conn, n):
        if n < 5:
            conn.offload(operator.add, n, 1, then=then)
        else:
            conn.reply(200, str(n))

    server = serve(offloading(lambda msg: 0, then=then), workers=2)
    assert get(server.port).body == b"5"
    with server.connect() as sock:
        sock.sendall(REQUEST * 8)
        have = b""
        for _ in range(8):
            answer, have = read_answer(sock, have=have)
            assert answer.body == b"5"


def test_then_may_defer_and_stream(serve):
    held = Until()

    def then(conn, kind):
        if kind == "/defer":
            held.set(conn.defer())
        else:
            with conn.start_response(200) as body:
                body.write("a")
                body.write("b")

    server = serve(offloading(lambda msg: msg.uri, then=then), workers=1)
    assert get(server.port, "/stream").body == b"ab"
    with server.connect() as sock:
        sock.sendall(b"GET /defer HTTP/1.1\r\nHost: a\r\n\r\n")
        held.get().reply(200, "deferred")
        assert read_answer(sock)[0].body == b"deferred"


def test_exceptions_are_reported_and_500(serve):
    def work(msg):
        raise ValueError("in the worker")

    seen = []
    server = serve(
        offloading(work), workers=1, error_handler=lambda conn, ev, exc: seen.append((conn, exc))
    )
    assert get(server.port).status == 500
    ((conn, exc),) = seen
    assert str(exc) == "in the worker"
    assert exc.__traceback__ is not None
    assert conn is not None


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
def test_a_worker_cannot_stop_the_server(serve, kind):
    def work(msg):
        raise kind("bye")

    server = serve(
        on_http(lambda c, m: c.offload(work, m) if m.uri == "/x" else c.reply(200)), workers=1
    )
    assert get(server.port, "/x").status == 500
    server.expect_error(kind)
    assert get(server.port, "/").status == 200


def test_arguments_are_checked(serve):
    wrong = []

    def handler(conn, msg):
        for args, how in (
            ((), {}),
            ((5,), {}),
            ((print,), {"then": 5}),
            ((print,), {"timeout": "x"}),
            ((print,), {"timeout": -1}),
            ((print,), {"timeout": 0}),
            ((print,), {"unknown": 1}),
        ):
            with pytest.raises((TypeError, ValueError)) as e:
                conn.offload(*args, **how)
            wrong.append(e.value)
        conn.reply(200, "still mine")

    server = serve(on_http(handler), workers=1)
    assert get(server.port).body == b"still mine"
    assert len(wrong) == 7


def test_without_a_pool_offload_says_so(serve):
    server = serve(offloading(print))
    assert get(server.port).status == 500
    assert "no pool" in str(server.expect_error(RuntimeError))


def test_an_answered_request_cannot_be_offloaded(serve):
    def handler(conn, msg):
        conn.reply(200, "first")
        conn.offload(print)

    server = serve(on_http(handler), workers=1)
    assert get(server.port).body == b"first"
    eventually(lambda: server.errors)
    server.expect_error(MongooseError)


def test_raw_connections_get_what_comes_back(serve):
    def handler(conn, ev, data):
        if ev != MG_EV_HTTP_MSG and conn.recv_len:
            conn.offload(bytes.upper, conn.read())

    server = serve(handler, "tcp://127.0.0.1:0", workers=2)
    with server.connect() as sock:
        sock.sendall(b"abc")
        assert sock.recv(10) == b"ABC"


def test_a_body_view_stays_valid_in_the_worker(serve, gate):
    views = []

    def work(view):
        views.append(view)
        gate()
        return bytes(view)

    server = serve(on_http(lambda conn, msg: conn.offload(work, msg.body)), workers=4)
    bodies = [bytes([65 + i]) * 3000 for i in range(4)]
    with server.connect() as sock:
        for body in bodies:
            sock.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3000\r\n\r\n" + body)
            gate.wait()
        gate.open.set()
        have = b""
        for body in bodies:
            answer, have = read_answer(sock, have=have)
            assert answer.body == body
    assert sorted(bytes(v) for v in views) == bodies


def test_an_array_is_a_result_by_its_bytes_only_when_it_says_so(serve):
    server = serve(
        offloading(lambda msg: memoryview(array.array("I", [1, 2])).cast("B")), workers=1
    )
    assert get(server.port).body == array.array("I", [1, 2]).tobytes()


def test_an_answer_begun_in_then_leaves_the_callback_at_its_own_request(serve, gate):
    """Not at the request behind it, whose body is still on its way."""

    def then(conn, result):
        body = conn.start_response(200)
        body.write("begun ")
        conn.http_chunk("and ")
        body.end("done")
        with pytest.raises(MongooseError):
            conn.reply(200, "for nobody")

    def handle(conn, msg):
        if msg.uri == "/job":
            conn.offload(gate, then=then)
        else:
            conn.reply(200, msg.body_bytes)

    server = serve(on_http(handle), workers=1)
    with server.connect() as sock:
        sock.sendall(b"GET /job HTTP/1.1\r\nHost: a\r\n\r\n")
        sock.sendall(
            b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 4\r\n\r\nha"
        )
        gate.wait()
        eventually(lambda: server.mgr.stats().requests == 2)
        gate.open.set()
        begun = b""
        while b"0\r\n\r\n" not in begun:
            begun += sock.recv(65536)
        sock.sendall(b"lf")
        answers = parse_all(begun + read_all(sock))
    assert [(a.status, a.body) for a in answers] == [(200, b"begun and done"), (200, b"half")]


# -- order --


def test_pipelined_answers_leave_in_the_order_of_the_requests(serve):
    first = threading.Event()

    def work(uri):
        if uri == "/0":
            assert first.wait(DEADLINE)
        return uri

    def handler(conn, msg):
        if msg.uri == "/4":
            conn.reply(200, "/4")
            first.set()
        else:
            conn.offload(work, msg.uri)

    server = serve(on_http(handler), workers=4)
    with server.connect() as sock:
        sock.sendall(b"".join(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % i for i in range(8)))
        have = b""
        for i in range(8):
            answer, have = read_answer(sock, have=have)
            assert answer.body == b"/%d" % i


def test_two_hundred_connections_of_fifty_requests_all_answered(serve):
    server = serve(
        on_http(lambda conn, msg: conn.offload(str.upper, msg.uri)),
        pool=WorkerPool(4, max_queue=20_000),
    )
    total, size = 200, 50
    with contextlib.ExitStack() as stack:
        socks = [stack.enter_context(server.connect()) for _ in range(total)]
        for i, sock in enumerate(socks):
            requests = [b"GET /%d-%d-x HTTP/1.1\r\nHost: a\r\n\r\n" % (i, n) for n in range(size)]
            requests[-1] = requests[-1].replace(b"Host: a", b"Host: a\r\nConnection: close")
            sock.sendall(b"".join(requests))
        for i, sock in enumerate(socks):
            answers = parse_all(read_all(sock))
            assert [a.body for a in answers] == [b"/%d-%d-X" % (i, n) for n in range(size)]
    stats = server.mgr.stats().pool
    assert (stats.submitted, stats.completed, stats.rejected) == (10_000, 10_000, 0)
    server.mgr.pool.shutdown()
