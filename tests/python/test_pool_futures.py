"""A job is a Future that anybody may wait for, and other executors of futures take the place of the pool."""

import asyncio
import concurrent.futures as cf
import functools
import gc
import json
import operator
import threading
import weakref

import pytest
from conftest import DEADLINE, Until, eventually, get, on_http, read_answer
from helpers import REQUEST, offloading, program

from pymongoose import Job

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
