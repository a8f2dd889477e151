"""A pool of workers starts, fills, is shut down, is counted, and never holds up the end of the process."""

import concurrent.futures as cf
import gc
import socket
import threading

import pytest
from conftest import DEADLINE, eventually, get, on_http, read_all, read_answer
from helpers import REQUEST, offloading, poll_until, run_program

from pymongoose import Manager, WorkerPool

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
