"""Manager.listen(access_log=...): records made in C, through real clients."""

from __future__ import annotations

import ctypes
import json
import socket
import struct
import sys
import threading
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from conftest import eventually
from helpers import run_program

import pymongoose
from pymongoose import MG_EV_HTTP_MSG, Manager
from pymongoose.sinks import Pipeline, Sink


class Kept(Sink):
    """Events, for those who wait for them."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[dict[str, Any]] = []
        self._came = threading.Condition()

    async def write(self, event: dict[str, Any]) -> None:
        with self._came:
            self.events.append(event)
            self._came.notify_all()

    def wait(self, n: int) -> list[dict[str, Any]]:
        with self._came:
            assert self._came.wait_for(lambda: len(self.events) >= n, 10), self.events
            return list(self.events)


@contextmanager
def serving(handler: Any, sink: Sink, **options: Any) -> Iterator[tuple[str, Manager]]:
    with Pipeline([sink]) as log, Manager(handler, workers=2) as mgr:
        site = mgr.listen("http://127.0.0.1:0", access_log=log, **options)
        site.respond("/fixed", 200, b"fixed")
        thread = threading.Thread(target=mgr.run, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{site.local_addr[1]}", mgr
        finally:
            mgr.stop()
            thread.join(10)


def handler(conn: Any, ev: int, data: Any) -> None:
    if ev != MG_EV_HTTP_MSG:
        return
    if data.uri == "/raises":
        raise RuntimeError("on purpose")
    if data.uri == "/worker":
        conn.offload(lambda: b"from a worker")
    elif data.uri == "/stream":
        with conn.start_response(200) as body:
            body.write(b"12345")
            body.write(b"678")
    else:
        conn.reply(200, "hello")


def test_every_answer_is_told_whoever_gave_it() -> None:
    sink = Kept()
    with serving(handler, sink) as (url, _), httpx.Client(base_url=url) as client:
        for n, path in enumerate(["/", "/fixed", "/worker", "/stream", "/raises"], 1):
            client.get(path)
            sink.wait(n)
    told = [(e["path"], e["status"], e["bytes_out"], e["level"]) for e in sink.events]
    assert told[:4] == [
        ("/", 200, 5, "info"),
        ("/fixed", 200, 5, "info"),
        ("/worker", 200, 13, "info"),
        ("/stream", 200, 8, "info"),
    ]
    assert told[4][:2] == ("/raises", 500)
    assert told[4][3] == "error"


def test_a_record_has_what_the_client_said() -> None:
    sink = Kept()
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    headers = {"User-Agent": "probe/1", "X-Request-ID": "r-1", "traceparent": trace}
    with serving(handler, sink) as (url, _):
        httpx.post(url + "/a%20b?q=1", headers=headers, content=b"abc")
        (event,) = sink.wait(1)
    assert event["client"] == "127.0.0.1"
    assert event["method"] == "POST"
    assert (event["path"], event["query"]) == ("/a%20b", "q=1")
    assert (event["user_agent"], event["request_id"]) == ("probe/1", "r-1")
    assert event["trace_id"] == "4bf92f3577b34da6a3ce929d0e0e4736"
    assert event["parent_id"] == "00f067aa0ba902b7"
    assert (event["bytes_in"], event["bytes_out"]) == (3, 5)
    assert event["duration_ms"] >= 0
    assert "aborted" not in event


def test_the_client_is_the_one_behind_a_trusted_proxy() -> None:
    sink = Kept()
    with serving(handler, sink, trusted_proxies=["127.0.0.1/32"]) as (url, _):
        httpx.get(url, headers={"X-Forwarded-For": "192.0.2.7"})
        (event,) = sink.wait(1)
    assert event["client"] == "192.0.2.7"


@pytest.mark.parametrize(
    "request_bytes",
    [b"BAD\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"],
)
def test_a_refused_head_is_told_with_its_reason(request_bytes: bytes) -> None:
    sink = Kept()
    with serving(handler, sink) as (url, _):
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), 10) as sock:
            sock.sendall(request_bytes)
            assert b" 400 " in sock.recv(4096)
        (event,) = sink.wait(1)
    assert event["status"] == 400
    assert event["error"]
    assert "method" not in event


def test_hostile_bytes_stay_one_line_of_json() -> None:
    lines: list[bytes] = []

    class Lines(Kept):
        async def write(self, event: dict[str, Any]) -> None:
            lines.append(json.dumps(event).encode())
            await super().write(event)

    sink = Lines()
    with serving(handler, sink) as (url, _):
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), 10) as sock:
            sock.sendall(
                b'GET / HTTP/1.1\r\nHost: x\r\nUser-Agent: a"b\\c\td\xe9\r\nReferer: "},{\r\n\r\n'
            )
            assert b" 200 " in sock.recv(4096)
        (event,) = sink.wait(1)
    assert event["user_agent"] == 'a"b\\c\td\xe9'
    assert event["referer"] == '"},{'
    assert len(lines) == 1


def test_what_the_queue_refuses_is_counted_and_the_answers_go_on() -> None:
    class Stuck(Sink):
        async def write(self, event: dict[str, Any]) -> None:
            raise AssertionError("the pipeline was never started")

    log = Pipeline([Stuck()], max_events=4)
    with Manager(handler) as mgr:
        site = mgr.listen("http://127.0.0.1:0", access_log=log)
        thread = threading.Thread(target=mgr.run, daemon=True)
        thread.start()
        with httpx.Client(base_url=f"http://127.0.0.1:{site.local_addr[1]}") as client:
            assert {client.get("/").status_code for _ in range(10)} == {200}
        mgr.stop()
        thread.join(10)
    refused = log.queue.counters()["refused"]
    assert sum(refused.values()) + log.queue.counters()["accepted"] == 10


def test_records_need_no_lock_of_pythons_even_under_tracemalloc() -> None:
    """The answer comes while this thread holds the lock."""
    libc = ctypes.PyDLL(None)  # calls of it keep the lock
    sink = Kept()
    buf = ctypes.create_string_buffer(1000)
    with (
        serving(handler, sink) as (url, _),
        socket.create_connection(("127.0.0.1", int(url.rsplit(":", 1)[1]))) as sock,
    ):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 10, 0))
        request = b"GET /fixed HTTP/1.1\r\nHost: x\r\n\r\n"
        sock.sendall(request)
        assert sock.recv(1000).endswith(b"fixed")  # the connection is known by now
        tracemalloc.start()
        try:
            assert libc.send(sock.fileno(), request, len(request), 0) == len(request)
            got = libc.recv(sock.fileno(), buf, len(buf), 0)
        finally:
            tracemalloc.stop()
        assert got > 0
        assert buf.raw[:got].endswith(b"fixed")
        assert [event["path"] for event in sink.wait(2)] == ["/fixed", "/fixed"]


def test_wrong_access_logs_are_refused_with_a_reason() -> None:
    with Manager(handler) as mgr:
        with pytest.raises(TypeError, match="Pipeline"):
            mgr.listen("http://127.0.0.1:0", access_log=3)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="does not speak HTTP"):
            mgr.listen("tcp://127.0.0.1:0", access_log=Pipeline([Kept()]))


def test_the_engines_own_log_goes_into_a_pipeline() -> None:
    sink = Kept()
    with Pipeline([sink]) as log, Manager(handler) as mgr:
        pymongoose.log_to(log)
        pymongoose.log_set(pymongoose.MG_LL_DEBUG)
        try:
            mgr.listen("http://127.0.0.1:0")
        finally:
            pymongoose.log_set(pymongoose.MG_LL_NONE)
            pymongoose.log_to(None)
        event = sink.wait(1)[0]
    assert event["logger"] == "pymongoose.core"
    assert event["level"] == "debug"
    assert "listening on http://127.0.0.1:0" in event["message"]
    assert event["source"].startswith("conn.c:")


@pytest.mark.parametrize("overflow", ["drop_newest", "drop_oldest"])
def test_records_share_memory_and_come_once_each_in_order(overflow: Any) -> None:
    """Thousands, more than the queue holds, long ones among them: their memory is used again while others are in the queue."""
    sink, n = Kept(), 4000

    def answer(conn: Any, ev: int, _data: Any) -> None:
        if ev == MG_EV_HTTP_MSG:
            conn.reply(200, "")

    with Pipeline([sink], max_events=700, overflow=overflow) as log, Manager(answer) as mgr:
        site = mgr.listen("http://127.0.0.1:0", access_log=log)
        thread = threading.Thread(target=mgr.run, daemon=True)
        thread.start()
        try:
            with socket.create_connection(site.local_addr[:2]) as client:

                def ask() -> None:
                    for i in range(n):
                        long = "x" * (3000 * (i % 100 == 0))
                        client.sendall(f"GET /{i}?{long} HTTP/1.1\r\nHost: a\r\n\r\n".encode())

                asking = threading.Thread(target=ask)
                asking.start()
                got = bytearray()
                while got.count(b"HTTP/1.1 200") < n:
                    got += client.recv(1 << 20)
                asking.join()
        finally:
            mgr.stop()
            thread.join(10)
        assert log.flush(30)
        stats = log.stats()
    paths = [int(e["path"][1:]) for e in sink.events]
    assert paths == sorted(set(paths))
    assert len(paths) == stats.sent
    lost = stats.dropped.get("evicted", 0) + stats.refused.get("queue_full", 0)
    assert stats.sent + lost == n


# ---- records of one turn go into the queue as one block ----


@contextmanager
def logging_to(log: Pipeline, answer: Any) -> Iterator[socket.socket]:
    """A connection to a server whose records go to the queue of a pipeline that nobody empties."""
    log.queue.set_state("open")
    with Manager(answer) as mgr:
        site = mgr.listen("http://127.0.0.1:0", access_log=log)
        thread = threading.Thread(target=mgr.run, daemon=True)
        thread.start()
        try:
            with socket.create_connection(site.local_addr[:2], 10) as client:
                yield client
        finally:
            mgr.stop()
            thread.join(10)


def ask(client: socket.socket, paths: list[str]) -> None:
    """All at once, and all answers."""
    client.sendall(b"".join(f"GET {p} HTTP/1.1\r\nHost: a\r\n\r\n".encode() for p in paths))
    got = bytearray()
    while got.count(b"HTTP/1.1 ") < len(paths):
        got += client.recv(1 << 20)


def by_path(conn: Any, ev: int, data: Any) -> None:
    if ev == MG_EV_HTTP_MSG:
        conn.reply(int(data.uri[1:4]), "")


def events_in(log: Pipeline) -> list[dict[str, Any]]:
    out: list[Any] = []
    while batch := log.queue.drain(1000):
        out += batch
    return [json.loads(e) if isinstance(e, bytes) else e for e in out]


def test_levels_and_order_are_kept_within_a_turn() -> None:
    paths = [f"/{status}/{n}" for n, status in enumerate([200, 200, 404, 500, 503, 200, 404] * 30)]
    with Pipeline([Kept()]) as log:
        pass  # stopped: nobody empties the queue
    with logging_to(log, by_path) as client:
        ask(client, paths)
        events = events_in(log)
    assert [e["path"] for e in events] == paths
    levels = {"2": "info", "4": "warning", "5": "error"}
    assert [e["level"] for e in events] == [levels[p[1]] for p in paths]


@pytest.mark.parametrize("overflow", ["drop_newest", "drop_oldest"])
def test_a_turn_for_whose_records_there_is_not_room_enough_keeps_those_that_fit(
    overflow: Any,
) -> None:
    room, n, size = 5, 20, 16384
    with Pipeline([Kept()], max_events=size, overflow=overflow) as log:
        pass
    with logging_to(log, by_path) as client:
        assert all(log.emit("before") for _ in range(size - room))
        ask(client, [f"/200/{i}" for i in range(n)])
        counters = log.queue.counters()
        events = events_in(log)
    if overflow == "drop_newest":
        assert counters["refused"] == {"queue_full": n - room}
        assert counters["evicted"] == 0
        expected = [f"/200/{i}" for i in range(room)]
    else:
        assert counters["refused"] == {}
        assert counters["evicted"] == n - room
        expected = [f"/200/{i}" for i in range(n)]
    assert (counters["queued"], len(events)) == (size, size)
    assert [e["path"] for e in events if "path" in e] == expected


def test_what_is_evicted_of_a_turn_is_counted_event_by_event() -> None:
    size, n = 16384, 50
    with Pipeline([Kept()], max_events=size, overflow="drop_oldest") as log:
        pass
    with logging_to(log, by_path) as client:
        ask(client, [f"/200/{i}" for i in range(n)])
        assert all(log.emit("after") for _ in range(size - n + 1))
        counters = log.queue.counters()
        events = events_in(log)
    assert counters["accepted"] == size + 1
    assert 1 <= counters["evicted"] <= 64  # a block, whose size depends on how the requests arrived
    assert counters["queued"] == len(events) == size + 1 - counters["evicted"]


def test_an_answer_given_behind_the_handlers_of_a_turn_is_in_the_queue_before_it_leaves() -> None:
    class Last:
        """What a connection takes along when it goes, which is when its turn is over."""

        def __del__(self) -> None:
            self.reply.reply(200, "late")

    last: list[Last] = []

    def answer(conn: Any, ev: int, data: Any) -> None:
        if ev != MG_EV_HTTP_MSG:
            return
        if data.uri == "/waits":
            last.append(Last())
            last[0].reply = conn.defer()
        else:
            conn.userdata = last.pop()
            conn.reply(200, "")
            conn.close()

    with Pipeline([Kept()]) as log:
        pass
    with logging_to(log, answer) as client:
        client.sendall(b"GET /waits HTTP/1.1\r\nHost: a\r\n\r\n")
        eventually(lambda: last)
        with socket.create_connection(client.getpeername(), 10) as other:
            ask(other, ["/ends"])
        assert client.recv(1000).endswith(b"late")
        assert [e["path"] for e in events_in(log)] == ["/ends", "/waits"]


def test_a_handler_that_looks_at_the_pipeline_or_stops_it_finds_the_requests_before_its_own() -> (
    None
):
    found: list[Any] = []

    def looks(conn: Any, ev: int, data: Any) -> None:
        if ev != MG_EV_HTTP_MSG:
            return
        if data.uri == "/look":
            found.append(log.stats().accepted)
        elif data.uri == "/flush":
            found.append((log.flush(10), log.stats().sent))
        elif data.uri == "/stop":
            found.append(log.stop(10).sent)
        conn.reply(200, "")

    with Pipeline([Kept()]) as log, logging_to(log, looks) as client:
        ask(client, ["/1", "/2", "/look", "/flush", "/5", "/stop", "/7"])
    assert found == [2, (True, 3), 5]
    assert log.stats().refused == {"closed": 2}


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="warns about forks beside threads")
def test_a_child_forked_by_a_handler_does_not_tell_the_requests_before_it_once_more() -> None:
    code = """
import os, socket, sys, threading
from pymongoose import MG_EV_HTTP_MSG, Manager
from pymongoose.sinks import Pipeline, Sink

n, child = 0, False

def handler(conn, ev, data):
    global n, child
    if ev != MG_EV_HTTP_MSG:
        return
    n += 1
    if n == 3 and os.fork() == 0:
        child = True
        for fd in range(3, 64):  # the answers are the parent's
            if fd != client.fileno():
                try:
                    with socket.socket(fileno=os.dup(fd)) as sock:
                        peer = sock.getpeername()
                except OSError:
                    continue
                if peer == client.getsockname():
                    os.dup2(os.open(os.devnull, os.O_RDWR), fd)
        log.queue.set_state("open")
    conn.reply(200, "")
    if n == 5:
        raise SystemExit

log = Pipeline([Sink()])
log.queue.set_state("open")
mgr = Manager(handler)
site = mgr.listen("http://127.0.0.1:0", access_log=log)
client = socket.create_connection(site.local_addr[:2])
client.sendall(b"GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n" * 5)
try:
    mgr.run()
except SystemExit:
    pass
told = log.queue.counters()["accepted"]
if child:
    os._exit(told)
print(told, os.waitstatus_to_exitcode(os.wait()[1]))
"""
    assert run_program(code).split() == ["5", "3"]
