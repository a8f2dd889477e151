"""Work leaves the loop and comes back as an answer, in order, once, whatever happens on the way."""

import array
import asyncio
import concurrent.futures as cf
import contextlib
import functools
import gc
import json
import operator
import socket
import threading
import weakref

import pytest
from conftest import DEADLINE, Until, eventually, get, on_http, parse_all, read_all, read_answer
from helpers import REQUEST, poll_until, program, run_program

from pymongoose import (
    MG_EV_HTTP_MSG,
    Job,
    Manager,
    MongooseError,
    QueueFull,
    Response,
    TimedOut,
    WorkerPool,
)


class Gate:
    """Work that says when it began and ends when it is told to."""

    def __init__(self):
        self.began, self.open = threading.Semaphore(0), threading.Event()
        self.done = 0

    def __call__(self, *args):
        self.began.release()
        assert self.open.wait(DEADLINE)
        self.done += 1
        return "gate"

    def wait(self):
        assert self.began.acquire(timeout=DEADLINE)


@pytest.fixture
def gate():
    g = Gate()
    yield g
    g.open.set()


@pytest.fixture
def pool():
    """pool(workers, ...) -> WorkerPool, shut down at the end."""
    with contextlib.ExitStack() as stack:
        yield lambda *a, **k: stack.enter_context(WorkerPool(*a, **k))


def offloading(fn, **how):
    return on_http(lambda conn, msg: conn.offload(fn, msg, **how))


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


# -- too slow, too many --


def test_a_running_job_that_is_out_of_time_is_504(serve, gate):
    jobs = []
    server = serve(on_http(lambda c, m: jobs.append(c.offload(gate, timeout=0.05))), workers=1)
    with server.connect() as sock:
        sock.sendall(REQUEST)
        answer, _ = read_answer(sock)
        assert answer.status == 504
        (job,) = jobs
        assert job.state == "expired"
        with pytest.raises(TimedOut, match="timeout"):
            job.result(0)
        gate.open.set()  # its result is for nobody
        eventually(lambda: gate.done == 1)
        sock.sendall(REQUEST)
        assert read_answer(sock)[0].body == b"gate"
    assert server.errors == []


def test_a_queued_job_that_is_out_of_time_is_504_and_never_runs(serve, gate):
    ran = []

    def handler(conn, msg):
        if msg.uri == "/late":
            conn.offload(ran.append, 1, timeout=0.02)
        else:
            conn.offload(gate)

    server = serve(on_http(handler), pool=WorkerPool(1, max_queue=1))
    with server.connect() as first:
        first.sendall(REQUEST)
        gate.wait()
        for _ in range(5):  # each leaves its place in the queue to the next
            assert get(server.port, "/late").status == 504
        gate.open.set()
        assert read_answer(first)[0].body == b"gate"
        assert get(server.port, "/").body == b"gate"
    assert ran == []
    server.mgr.pool.shutdown()


def test_a_full_queue_is_503_with_retry_after(serve, gate):
    server = serve(offloading(gate), pool=WorkerPool(1, max_queue=2))
    with contextlib.ExitStack() as stack:
        socks = [stack.enter_context(server.connect()) for _ in range(3)]
        socks[0].sendall(REQUEST)
        gate.wait()
        for sock in socks[1:]:
            sock.sendall(REQUEST)
        eventually(lambda: server.mgr.stats().pool.queued == 2)
        answer = get(server.port)
        assert answer.status == 503
        assert answer.header("Retry-After") == "1"
        assert server.mgr.stats().pool.rejected == 1
        gate.open.set()
        for sock in socks:
            assert read_answer(sock)[0].body == b"gate"
    assert server.errors == []
    server.mgr.pool.shutdown()


def test_submit_to_a_full_queue_raises(pool, gate):
    p = pool(1, max_queue=1)
    p.submit(gate)
    gate.wait()
    p.submit(gate)
    with pytest.raises(QueueFull, match="full"):
        p.submit(gate)


def test_cancelled_jobs_leave_their_place_in_the_queue(pool, gate):
    p = pool(1, max_queue=2)
    p.submit(gate)
    gate.wait()
    for _ in range(20):
        job = p.submit(print)
        assert job.cancel()
    assert p.stats().queued == 0
    assert p.stats().cancelled == 20
    a, b = p.submit(len, "a"), p.submit(len, "bc")
    with pytest.raises(QueueFull):
        p.submit(print)
    gate.open.set()
    assert (a.result(DEADLINE), b.result(DEADLINE)) == (1, 2)


def test_overflow_block_waits_for_room(pool, gate):
    p = pool(1, max_queue=2, overflow="block")
    p.submit(gate)
    gate.wait()
    results = []

    def submit():
        results.extend([p.submit(int, i) for i in range(50)])

    t = threading.Thread(target=submit)
    t.start()
    eventually(lambda: p.stats().queued == 2)
    gate.open.set()
    t.join(DEADLINE)
    assert [r.result(DEADLINE) for r in results] == list(range(50))
    assert p.stats().rejected == 0


def test_overflow_block_ends_with_the_pool(pool, gate):
    p = pool(1, max_queue=1, overflow="block")
    p.submit(gate)
    gate.wait()
    p.submit(gate)
    failed = Until()

    def submit():
        try:
            p.submit(print)
        except RuntimeError as exc:
            failed.set(exc)

    t = threading.Thread(target=submit)
    t.start()
    p.shutdown(wait=False, cancel_futures=True)
    assert "shutdown" in str(failed.get())
    t.join()


def test_overflow_drop_oldest_gives_up_the_one_that_waited_longest(pool, gate):
    p = pool(1, max_queue=2, overflow="drop_oldest")
    p.submit(gate)
    gate.wait()
    jobs = [p.submit(int, i) for i in range(5)]
    for job in jobs[:3]:
        with pytest.raises(QueueFull, match="newer"):
            job.result(DEADLINE)
    gate.open.set()
    assert [j.result(DEADLINE) for j in jobs[3:]] == [3, 4]
    assert p.stats().dropped == 3


def test_dropped_requests_are_503(serve, gate):
    server = serve(offloading(gate), pool=WorkerPool(1, max_queue=1, overflow="drop_oldest"))
    with server.connect() as a, server.connect() as b, server.connect() as c:
        a.sendall(REQUEST)
        gate.wait()
        b.sendall(REQUEST)
        eventually(lambda: server.mgr.stats().pool.queued == 1)
        c.sendall(REQUEST)
        answer, _ = read_answer(b)
        assert (answer.status, answer.header("Retry-After")) == (503, "1")
        gate.open.set()
        assert read_answer(c)[0].body == b"gate"
    server.mgr.pool.shutdown()


def test_max_wait_gives_up_stale_jobs(pool, gate):
    p = pool(1, max_wait=0.01)
    p.submit(gate)
    gate.wait()
    job = p.submit(print)
    waited = threading.Event()
    waited.wait(0.05)  # the time it may wait is over, whatever the machine does
    gate.open.set()
    with pytest.raises(QueueFull, match="max_wait"):
        job.result(DEADLINE)


# -- the client goes away --


def test_a_queued_job_of_a_client_that_left_never_runs(serve, gate):
    ran, jobs = [], []

    def handler(conn, msg):
        jobs.append(conn.offload(gate) if msg.uri == "/" else conn.offload(ran.append, 1))

    server = serve(on_http(handler), workers=1)
    with server.connect() as first:
        first.sendall(REQUEST)
        gate.wait()
        with server.connect() as second:
            second.sendall(b"GET /second HTTP/1.1\r\nHost: a\r\n\r\n")
            eventually(lambda: len(jobs) == 2)
        eventually(lambda: jobs[1].state == "cancelled")
        assert jobs[1].cancelled()
        gate.open.set()
        assert read_answer(first)[0].body == b"gate"
    eventually(lambda: server.mgr.stats().pool.idle == 1)
    assert ran == []
    assert server.mgr.stats().pool.cancelled == 1


def test_the_result_of_a_running_job_of_a_client_that_left_is_dropped(serve, gate):
    class Result:
        pass

    results, then_called, jobs = [], [], []

    def work():
        gate()
        value = Result()
        results.append(weakref.ref(value))
        return value

    server = serve(
        on_http(lambda c, m: jobs.append(c.offload(work, then=lambda *a: then_called.append(a)))),
        workers=1,
    )
    with server.connect() as sock:
        sock.sendall(REQUEST)
        gate.wait()
    eventually(lambda: jobs[0].state == "cancelled")
    gate.open.set()
    eventually(lambda: results and results[0]() is None)
    assert then_called == []
    with pytest.raises(cf.CancelledError):
        jobs[0].result(0)


def test_cancel_answers_503(serve, gate):
    jobs = []
    server = serve(on_http(lambda c, m: jobs.append(c.offload(gate))), workers=1)
    with server.connect() as a, server.connect() as b:
        a.sendall(REQUEST)
        gate.wait()
        b.sendall(REQUEST)
        eventually(lambda: len(jobs) == 2)
        assert not jobs[0].cancel()
        assert jobs[0].running()
        assert jobs[1].cancel()
        assert jobs[1].cancel()
        assert read_answer(b)[0].status == 503
        gate.open.set()
        assert read_answer(a)[0].status == 200


# -- a Job is a Future --


def test_a_job_is_a_future(pool):
    p = pool(2)
    job = p.submit(divmod, 7, 2)
    assert isinstance(job, cf.Future)
    assert isinstance(job, Job)
    assert job.result(DEADLINE) == (3, 1)
    assert job.exception() is None
    assert (job.done(), job.running(), job.cancelled(), job.cancel()) == (True, False, False, False)
    assert repr(job) == "<Job done>"
    failed = p.submit(divmod, 1, 0)
    assert isinstance(failed.exception(DEADLINE), ZeroDivisionError)
    with pytest.raises(ZeroDivisionError):
        failed.result()
    assert failed.state == "failed"
    with pytest.raises(AttributeError):
        _ = job.nothing
    with pytest.raises(TypeError):
        Job()


def test_result_waits_no_longer_than_told(pool, gate):
    job = pool(1).submit(gate)
    with pytest.raises(cf.TimeoutError):
        job.result(0.01)
    gate.wait()
    assert job.running()
    gate.open.set()
    assert job.result(DEADLINE) == "gate"


def test_done_callbacks_before_and_after_the_end(pool, gate):
    job, calls = pool(1).submit(gate), []
    first, second = Until(), Until()
    job.add_done_callback(lambda j: (calls.append(j), first.set()))
    assert calls == []
    gate.open.set()
    first.get()
    job.add_done_callback(lambda j: (calls.append(j), second.set()))
    second.get()
    assert calls == [job, job]


def test_wait_and_as_completed(pool, gate):
    p = pool(2)
    slow, fast = p.submit(gate), p.submit(len, "abc")
    done, rest = cf.wait([slow, fast], DEADLINE, return_when=cf.FIRST_COMPLETED)
    assert (done, rest) == ({fast}, {slow})
    gate.open.set()
    assert set(cf.as_completed([slow, fast], DEADLINE)) == {slow, fast}
    assert cf.wait([slow, fast]).not_done == set()


def test_asyncio_awaits_jobs(pool, gate):
    p = pool(2)

    async def main():
        assert await asyncio.wrap_future(p.submit(len, "ab")) == 2
        with pytest.raises(ZeroDivisionError):
            await asyncio.wrap_future(p.submit(divmod, 1, 0))
        loop = asyncio.get_running_loop()
        assert await loop.run_in_executor(p, functools.partial(int, "77", base=8)) == 63
        jobs = [asyncio.wrap_future(p.submit(int, i)) for i in range(100)]
        assert await asyncio.gather(*jobs) == list(range(100))

    asyncio.run(main())


def test_a_cancelled_job_tells_its_waiters(pool, gate):
    p = pool(1)
    p.submit(gate)
    gate.wait()
    job, called = p.submit(print), Until()
    job.add_done_callback(called.set)
    assert job.cancel()
    assert called.get() is job
    assert job.cancelled()
    assert cf.wait([job], DEADLINE).not_done == set()
    with pytest.raises(cf.CancelledError):
        job.result(0)


def test_many_threads_look_at_one_job(pool, gate):
    job, results = pool(1).submit(gate), []
    threads = [
        threading.Thread(target=lambda: results.append(job.result(DEADLINE))) for _ in range(16)
    ]
    for t in threads:
        t.start()
    gate.open.set()
    for t in threads:
        t.join(DEADLINE)
    assert results == ["gate"] * 16


def test_the_offload_of_a_handler_can_be_waited_for_elsewhere(serve):
    jobs = Until()
    server = serve(on_http(lambda c, m: jobs.set(c.offload(lambda: {"a": 1}))), workers=1)
    assert get(server.port).body == b'{"a":1}'
    assert jobs.get().result(DEADLINE) == {"a": 1}


def test_a_handler_that_waits_for_its_job_gets_it(serve):
    def handler(conn, msg):
        conn.reply(200, server.mgr.pool.submit(str.upper, "pool").result(DEADLINE))

    server = serve(on_http(handler), workers=1)
    assert get(server.port).body == b"POOL"

    results = []
    other = serve(
        on_http(lambda c, m: results.append(c.offload(len, "abc").result(DEADLINE))), workers=1
    )
    assert get(other.port).body == b"3"
    assert results == [3]


def test_jobs_and_their_arguments_are_freed(pool):
    class Thing:
        def __call__(self, other):
            return other

    p = pool(1)
    thing, other = Thing(), Thing()
    refs = [weakref.ref(thing), weakref.ref(other)]
    job = p.submit(thing, other)
    job.result(DEADLINE)
    del thing, other, job
    eventually(lambda: gc.collect() >= 0 and [r() for r in refs] == [None, None])


# -- the pool itself --


def test_map_and_context_manager():
    with WorkerPool(3, name="mapper") as p:
        assert list(p.map(pow, [1, 2, 3], [2, 2, 2])) == [1, 4, 9]
        assert p.workers == 3
        assert p.submit(lambda: threading.current_thread().name).result(DEADLINE)[:7] == "mapper-"
    with pytest.raises(RuntimeError, match="shutdown"):
        p.submit(print)


@pytest.mark.parametrize(
    ("how", "name"),
    [
        ({"workers": 0}, "workers"),
        ({"workers": 1.5}, "workers"),
        ({"max_queue": 0}, "max_queue"),
        ({"overflow": "panic"}, "overflow"),
        ({"max_wait": -1}, "max_wait"),
    ],
)
def test_pool_arguments_are_checked(how, name):
    with pytest.raises(ValueError, match=name):
        WorkerPool(**how)


def test_what_cannot_be_called_is_refused(pool):
    with pytest.raises(TypeError, match="callable"):
        pool(1).submit(5)


def test_threads_start_with_the_first_job(pool):
    p = pool(2)
    assert p.stats().threads == 0
    p.submit(print, end="").result(DEADLINE)
    eventually(lambda: p.stats().threads == 2)


def test_keywords_reach_the_function(pool):
    assert pool(1).submit(int, "11", base=2).result(DEADLINE) == 3


def test_all_workers_work_at_once(pool):
    barrier = threading.Barrier(8)
    p = pool(8)
    waits = [p.submit(barrier.wait, DEADLINE) for _ in range(8)]
    assert sorted(w.result(DEADLINE) for w in waits) == list(range(8))


def test_all_workers_work_at_once_for_the_loop(serve):
    barrier = threading.Barrier(4)
    server = serve(on_http(lambda c, m: c.offload(lambda: str(barrier.wait(DEADLINE)))), workers=4)
    with server.connect() as sock:
        sock.sendall(REQUEST * 4)
        have, bodies = b"", []
        for _ in range(4):
            answer, have = read_answer(sock, have=have)
            bodies.append(answer.body)
    assert sorted(bodies) == [b"0", b"1", b"2", b"3"]


def test_graceful_shutdown_finishes_what_was_accepted(gate):
    p = WorkerPool(1)
    jobs = [p.submit(gate)] + [p.submit(int, i) for i in range(10)]
    gate.wait()
    assert p.shutdown(wait=False) is False
    gate.open.set()
    assert p.shutdown() is True
    assert [j.result(0) for j in jobs] == ["gate", *range(10)]
    assert p.stats().threads == 0


def test_forced_shutdown_gives_up_what_has_not_begun(gate):
    p = WorkerPool(1)
    running, queued = p.submit(gate), [p.submit(print) for _ in range(10)]
    gate.wait()
    assert p.shutdown(wait=True, cancel_futures=True, timeout=0.01) is False
    assert all(j.cancelled() for j in queued)
    assert not running.done()
    gate.open.set()
    assert running.result(DEADLINE) == "gate"
    assert p.shutdown()


def test_a_job_may_shut_its_pool_down():
    p = WorkerPool(2)
    assert p.submit(p.shutdown, True).result(DEADLINE) is False
    assert p.shutdown()


def test_a_pool_that_was_shut_down_is_500_for_requests(serve):
    p = WorkerPool(1)
    server = serve(offloading(lambda msg: "x"), pool=p)
    assert get(server.port).body == b"x"
    p.shutdown()
    assert get(server.port).status == 500
    server.expect_error(RuntimeError)


def test_one_pool_serves_two_managers(serve, pool):
    p = pool(2)
    servers = [serve(on_http(lambda c, m, i=i: c.offload(str, i)), pool=p) for i in range(2)]
    assert [get(s.port).body for s in servers] == [b"0", b"1"]
    servers[0].stop()
    assert get(servers[1].port).body == b"1"
    assert p.stats().completed == 3


def test_a_dropped_pool_ends_its_threads():
    p = WorkerPool(2)
    p.submit(print, end="").result(DEADLINE)
    threads = list(p._threads)
    del p
    gc.collect()
    for t in threads:
        t.join(DEADLINE)
        assert not t.is_alive()


def test_a_closed_manager_leaves_jobs_in_peace(gate):
    mgr = Manager(on_http(lambda c, m: jobs.append(c.offload(gate))), workers=1)
    jobs = []
    port = mgr.listen("http://127.0.0.1:0").local_addr[1]
    with socket.create_connection(("127.0.0.1", port), DEADLINE) as sock:
        sock.sendall(REQUEST)
        poll_until(mgr, lambda: jobs)
        gate.wait()
        mgr.close()
        assert jobs[0].state == "cancelled"
        gate.open.set()
        assert read_all(sock) == b""
    assert mgr.pool.shutdown(wait=True, timeout=DEADLINE)
    with pytest.raises(cf.CancelledError):
        jobs[0].result(0)


def test_stats_tell_what_happened(pool, gate):
    p = pool(1)
    p.submit(gate)
    gate.wait()
    p.submit(divmod, 1, 0)
    s = p.stats()
    assert (s.submitted, s.running, s.queued, s.idle) == (2, 1, 1, 0)
    gate.open.set()
    s = eventually(lambda: (s := p.stats()).idle == 1 and s)
    assert (s.completed, s.failed, s.running, s.queued) == (1, 1, 0, 0)
    assert s.run_seconds > 0
    assert s.wait_seconds > 0
    assert 1 <= s.wakes <= 2


# -- other executors --


@pytest.mark.parametrize("make", [cf.ThreadPoolExecutor, cf.ProcessPoolExecutor])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # fork beside threads
def test_another_executor_as_pool(serve, make):
    def handler(conn, msg):
        if msg.uri == "/then":
            conn.offload(pow, 2, 10, then=lambda c, r: c.reply(200, str(r)))
        elif msg.uri == "/bad":
            conn.offload(operator.truediv, 1, 0)
        else:
            conn.offload(json.loads, '{"a": 1}')

    with make(2) as executor:
        executor.submit(pow, 1, 1).result()  # its processes, before our threads
        server = serve(on_http(handler), pool=executor)
        assert server.mgr.pool is executor
        assert server.mgr.stats().pool is None
        assert get(server.port).body == b'{"a":1}'
        assert get(server.port, "/then").body == b"1024"
        assert get(server.port, "/bad").status == 500
        server.expect_error(ZeroDivisionError)
        with server.connect() as sock:
            sock.sendall(REQUEST * 50)
            have = b""
            for _ in range(50):
                answer, have = read_answer(sock, have=have)
                assert answer.body == b'{"a":1}'
        server.stop()


def test_another_executor_times_out_cancels_and_is_left(serve, gate):
    jobs = []

    def handler(conn, msg):
        jobs.append(conn.offload(gate, timeout=0.05 if msg.uri == "/late" else None))

    with cf.ThreadPoolExecutor(1) as executor:
        server = serve(on_http(handler), pool=executor)
        with server.connect() as first, server.connect() as second:
            first.sendall(REQUEST)
            gate.wait()
            assert get(server.port, "/late").status == 504
            second.sendall(REQUEST)
            eventually(lambda: len(jobs) == 3)
            assert jobs[2].cancel()
            assert read_answer(second)[0].status == 503
            third = server.connect()
            third.sendall(REQUEST)
            eventually(lambda: len(jobs) == 4)
            third.close()
            eventually(lambda: jobs[3].cancelled())
            gate.open.set()
            assert read_answer(first)[0].body == b"gate"
            assert isinstance(jobs[0], cf.Future)
            assert jobs[0].result(DEADLINE) == "gate"
        server.stop()
    assert gate.done == 1


def test_an_executor_that_refuses_is_500(serve):
    executor = cf.ThreadPoolExecutor(1)
    executor.shutdown()
    server = serve(offloading(str), pool=executor)
    assert get(server.port).status == 500
    server.expect_error(RuntimeError)


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_dask_cluster_as_pool():
    """In a program of its own: a cluster leaves threads and settings behind."""
    pytest.importorskip("distributed")
    code = """
import threading, warnings
warnings.simplefilter("ignore")
from distributed import Client, LocalCluster
from pymongoose import Manager, MG_EV_HTTP_MSG
import http.client

def handler(conn, ev, data):
    if ev == MG_EV_HTTP_MSG:
        if data.uri == "/bad":
            conn.offload(divmod, 1, 0)
        else:
            conn.offload(pow, 3, int(data.uri[1:]), then=lambda c, r: c.reply(200, str(r)))

with LocalCluster(n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None) as cluster, Client(cluster) as client:
    errors = []
    mgr = Manager(handler, pool=client.get_executor(), error_handler=errors.append)
    port = mgr.listen("http://127.0.0.1:0").local_addr[1]
    loop = threading.Thread(target=mgr.run)
    loop.start()
    http = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    for n in range(10):
        http.request("GET", f"/{n}")
        answer = http.getresponse()
        assert answer.status == 200
        assert int(answer.read()) == 3 ** n
    http.request("GET", "/bad")
    answer = http.getresponse()
    assert (answer.status, answer.read()) == (500, b"Internal Server Error")
    assert [type(e) for e in errors] == [ZeroDivisionError]
    http.close()
    mgr.stop()
    loop.join()
print("all answered")
"""
    p = program(code)
    out, err = p.communicate(timeout=100)
    assert p.returncode == 0, err
    assert "all answered" in out


# -- the end of the process --


@pytest.mark.parametrize("job", ["threading.Event().wait", "lambda: [None for _ in iter(int, 1)]"])
def test_the_interpreter_ends_although_jobs_run(job):
    code = f"""
import threading
from pymongoose import WorkerPool
pool = WorkerPool(4)
job = {job}
jobs = [pool.submit(job) for _ in range(20)]
while pool.stats().running < 4:
    pass
jobs[0].add_done_callback(print)
print("end")
"""
    assert run_program(code).splitlines()[0] == "end"


def test_the_interpreter_ends_although_a_manager_runs_in_a_daemon_thread():
    code = """
import socket, threading
from pymongoose import Manager, MG_EV_HTTP_MSG
def work(uri):
    return sum(range(1000))
def handler(conn, ev, data):
    if ev == MG_EV_HTTP_MSG:
        conn.offload(work, data.uri, then=lambda c, r: c.reply(200, str(r)))
mgr = Manager(handler, workers=4, slow_handler=0.01)
port = mgr.listen("http://127.0.0.1:0").local_addr[1]
threading.Thread(target=mgr.run, daemon=True).start()
def load():
    with socket.create_connection(("127.0.0.1", port)) as sock:
        while True:
            sock.sendall(b"GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n" * 10)
            sock.recv(65536)
for _ in range(4):
    threading.Thread(target=load, daemon=True).start()
while mgr.stats().requests < 500:
    pass
print("end")
"""
    for _ in range(5):
        assert run_program(code) == "end\n"


def test_the_interpreter_ends_with_queued_jobs_and_an_open_manager():
    code = """
from pymongoose import Manager
mgr = Manager(lambda *a: None, workers=2)
mgr.listen("http://127.0.0.1:0")
mgr.poll(0)
jobs = [mgr.pool.submit(len, "a") for _ in range(1000)]
mgr.timer_add(0, print, repeat=True)
print("end")
"""
    assert run_program(code) == "end\n"


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
