"""Programs with a pipeline end, are ended by signals, fork and run for long: no event is lost and memory stays flat."""

from __future__ import annotations

import json
import signal
import sys

import pytest
from helpers import finish, program
from sink_helpers import DEADLINE, Kept

from pymongoose.sinks import Pipeline

FILE_SINK = """
import os, signal, sys, threading, time
from pymongoose.sinks import Pipeline, Sink

class File(Sink):
    accepts = "json"
    def __init__(self, path):
        super().__init__(name="file")
        self.path = path
    async def start(self):
        self.file = open(self.path, "ab", 0)
    def offer(self, events, lines):
        self.file.write(b"".join(line + b"\\n" for line in lines))
        self._sent += len(lines)
        return len(lines)

path = sys.argv[1]
"""


def lines_of(path):
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def test_events_are_flushed_at_exit(tmp_path):
    out = tmp_path / "out"
    code = """
log = Pipeline([File(path)])
log.start()
for n in range(20000):
    assert log.emit("m", n=n)
"""
    assert finish(program(FILE_SINK + code, str(out))) == ""
    assert [e["n"] for e in lines_of(out)] == list(range(20_000))


def test_events_of_threads_that_outlive_the_main_one_are_flushed_too(tmp_path):
    out = tmp_path / "out"
    code = """
import atexit
log = Pipeline([File(path)])
atexit.register(lambda: log.emit("atexit"))
log.start()
def late():
    threading.main_thread().join()
    for n in range(100):
        assert log.emit("late", n=n)
threading.Thread(target=late).start()
log.emit("main")
"""
    finish(program(FILE_SINK + code, str(out)))
    messages = [e["message"] for e in lines_of(out)]
    assert messages[:101] == ["main"] + ["late"] * 100


def test_sigterm_flushes_and_then_kills_as_it_would_have(tmp_path):
    out = tmp_path / "out"
    code = """
log = Pipeline([File(path)])
log.start()
for n in range(20000):
    assert log.emit("m", n=n)
print("ready", flush=True)
time.sleep(60)
"""
    process = program(FILE_SINK + code, str(out))
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=DEADLINE) == ("", "")
    assert process.returncode == -signal.SIGTERM
    assert [e["n"] for e in lines_of(out)] == list(range(20_000))


def test_a_programs_own_sigterm_handler_stays(tmp_path):
    code = """
def mine(*_):
    print("mine", flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, mine)
log = Pipeline([File(path)])
log.start()
log.emit("m")
print("ready", flush=True)
time.sleep(60)
"""
    out = tmp_path / "out"
    process = program(FILE_SINK + code, str(out))
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=DEADLINE) == ("mine\n", "")
    assert len(lines_of(out)) == 1


def test_the_default_action_comes_back_when_the_last_pipeline_stops():
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    with Pipeline([Kept()]), Pipeline([Kept()]):
        assert callable(signal.getsignal(signal.SIGTERM))
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    with Pipeline([Kept()], signals=False):
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="warns about forks beside threads")
def test_forked_children_have_pipelines_of_their_own(tmp_path):
    out = tmp_path / "out"
    code = """
log = Pipeline([File(path)])
log.start()
for round in range(20):
    for n in range(50):
        assert log.emit("parent", n=round * 50 + n)
    pid = os.fork()
    if pid == 0:
        assert log.stats().accepted == 0, log.stats()
        if round % 2:
            assert log.queue.push_json(b'{"message": "child", "n": %d}' % round, "info")
        else:
            assert log.emit("child", n=round)
        assert log.flush(20)
        while log.stats().sent != 1:
            time.sleep(0.001)
        result = log.stop(20)
        assert (result.sent, result.dropped) == (1, 0), result
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
assert log.flush(20)
assert log.stats().sent == 1000, log.stats()
"""
    assert finish(program(FILE_SINK + code, str(out))) == ""
    events = lines_of(out)
    assert [e["n"] for e in events if e["message"] == "parent"] == list(range(1000))
    assert sorted(e["n"] for e in events if e["message"] == "child") == list(range(20))


def test_children_of_multiprocessing_flush_when_they_end(tmp_path):
    out = tmp_path / "out"
    code = """
import multiprocessing, warnings
warnings.simplefilter("ignore")
log = Pipeline([File(path)])
def work(k):
    for n in range(200):
        assert log.emit("child", k=k, n=n)
log.start()
log.emit("parent")
context = multiprocessing.get_context("fork")
children = [context.Process(target=work, args=(k,)) for k in range(3)]
for c in children:
    c.start()
for c in children:
    c.join()
    assert c.exitcode == 0
"""
    assert finish(program(FILE_SINK + code, str(out))) == ""
    events = lines_of(out)
    assert sum(e["message"] == "parent" for e in events) == 1
    for k in range(3):
        assert [e["n"] for e in events if e.get("k") == k] == list(range(200))


@pytest.mark.slow
def test_memory_stays_flat_over_a_million_events(tmp_path):
    out = tmp_path / "out"
    code = """
def resident():
    with open("/proc/self/statm") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

log = Pipeline([File("/dev/null")], max_events=10_000, overflow="block", block_timeout=30.0)
total = int(os.environ.get("SOAK_EVENTS", "1000000"))
with log:
    for n in range(total):
        assert log.emit("m", n=n, path="/items/42", d={"a": [n]})
        if n == total // 10:
            before = resident()
    after = resident()
assert log.stats().sent == total
print(after - before < 4 << 20 or (before, after))
"""
    assert finish(program(FILE_SINK + code, str(out)), timeout=600) == "True\n"


def test_lines_that_wait_take_the_memory_of_their_text(tmp_path):
    code = """
def resident():
    with open("/proc/self/statm") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

class Waiting(File):
    lines = []
    def offer(self, events, lines):
        self.lines += lines
        return super().offer(events, lines)

log = Pipeline([Waiting("/dev/null")])
with log:
    before = resident()
    for n in range(50_000):
        assert log.emit("m", n=n)
    assert log.flush(30)
    assert len(Waiting.lines) == 50_000
    grown = (resident() - before) / 50_000  # the ring's pages and what was queued at once included
print(grown < 1000 or grown)
"""
    assert finish(program(FILE_SINK + code, "")) == "True\n"
