"""Jobs that are too slow, too many or of a client that left are given up, answered and counted."""

import concurrent.futures as cf
import contextlib
import threading
import weakref

import pytest
from conftest import DEADLINE, Until, eventually, get, on_http, read_answer
from helpers import REQUEST, offloading

from pymongoose import QueueFull, TimedOut, WorkerPool

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
