"""Handlers are told the events that are wanted and no others, and a loop of another kind hears when there are some."""

import asyncio
import contextlib
import select
import threading

from conftest import DEADLINE, Until, eventually, get, on_http
from helpers import REQUEST, port_of

from pymongoose import (
    MG_EV_ACCEPT,
    MG_EV_CLOSE,
    MG_EV_HTTP_HDRS,
    MG_EV_HTTP_MSG,
    MG_EV_OPEN,
    MG_EV_POLL,
    MG_EV_READ,
    MG_EV_WAKEUP,
    MG_EV_WRITE,
    Manager,
)

# -- which events --


def seen_events(serve, events, talk):
    seen = []

    def handler(conn, ev, data):
        if not conn.is_listening:
            seen.append(ev)
        if ev == MG_EV_HTTP_MSG:
            conn.reply(200, "x")

    server = serve(handler, events=events)
    talk(server)
    eventually(lambda: MG_EV_CLOSE in seen)
    return seen


def test_one_request_is_few_calls_by_default(serve):
    seen = seen_events(serve, (), lambda server: get(server.port))
    assert seen == [MG_EV_OPEN, MG_EV_ACCEPT, MG_EV_HTTP_MSG, MG_EV_CLOSE]


def test_read_write_and_headers_on_demand(serve):
    events = (MG_EV_READ, MG_EV_WRITE, MG_EV_HTTP_HDRS)
    seen = seen_events(serve, events, lambda server: get(server.port))
    assert [ev for ev in seen if ev not in (MG_EV_OPEN, MG_EV_ACCEPT, MG_EV_CLOSE)] == [
        MG_EV_HTTP_HDRS,
        MG_EV_HTTP_MSG,
        MG_EV_READ,
        MG_EV_WRITE,
    ]


def test_poll_on_demand(serve):
    polled = Until()

    def handler(conn, ev, data):
        if ev == MG_EV_POLL:
            polled.set(data)

    serve(handler, events=[MG_EV_POLL])
    assert polled.get() is None


def test_idle_connections_cost_no_python_calls(serve):
    calls = []

    def handler(conn, ev, data):
        calls.append(ev)

    server = serve(handler)
    with contextlib.ExitStack() as stack:
        for _ in range(50):
            stack.enter_context(server.connect())
        eventually(lambda: calls.count(MG_EV_ACCEPT) == 50)
        takes, before = server.mgr.stats().lock_takes, len(calls)
        for _ in range(20):
            turned = Until()
            server.mgr.call(turned.set)
            turned.get()
        assert len(calls) == before
        assert server.mgr.stats().lock_takes - takes <= 21


def test_wakeup_events_go_to_listeners_too():
    seen = []

    def handler(conn, ev, data):
        if ev == MG_EV_WAKEUP:
            seen.append(data)

    with Manager(handler, enable_wakeup=True) as mgr:
        listener = mgr.listen("tcp://127.0.0.1:0")
        assert mgr.wakeup(listener.id)
        assert mgr.wakeup(listener.id, "text")
        mgr.poll(0)
    assert seen == [b"", b"text"]


# -- inside another loop --


def test_a_manager_lives_inside_asyncio():
    async def main():
        loop = asyncio.get_running_loop()
        with Manager(on_http(lambda conn, msg: conn.reply(200, "async")), workers=1) as mgr:
            port = port_of(mgr.listen("http://127.0.0.1:0"))
            due = None

            def turn():
                nonlocal due
                mgr.poll(0)
                if due is not None:
                    due.cancel()
                left = mgr.timeout()
                due = loop.call_later(left, turn) if left is not None else None

            loop.add_reader(mgr.fileno(), turn)
            fired = asyncio.Event()
            mgr.timer_add(5, fired.set)
            turn()
            await asyncio.wait_for(fired.wait(), DEADLINE)
            for _ in range(3):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(REQUEST)
                line = await asyncio.wait_for(reader.readline(), DEADLINE)
                assert line.startswith(b"HTTP/1.1 200")
                writer.close()
                await writer.wait_closed()
            called = asyncio.Event()
            await asyncio.to_thread(mgr.call, called.set)
            await asyncio.wait_for(called.wait(), DEADLINE)
            job = mgr.pool.submit(sum, [1, 2])
            assert await asyncio.wait_for(asyncio.wrap_future(job), DEADLINE) == 3
            loop.remove_reader(mgr.fileno())
            if due is not None:
                due.cancel()

    asyncio.run(main())


def test_a_manager_lives_inside_select():
    with Manager(on_http(lambda conn, msg: conn.reply(200, "select"))) as mgr:
        port = port_of(mgr.listen("http://127.0.0.1:0"))
        mgr.poll(0)
        answers = []
        client = threading.Thread(target=lambda: answers.append(get(port)))
        client.start()
        while not answers:
            timeout = mgr.timeout()
            ready, _, _ = select.select([mgr.fileno()], [], [], 0.1 if timeout is None else timeout)
            if ready or timeout is not None:
                mgr.poll(0)
        client.join()
        assert answers[0].body == b"select"


def test_timeout_tells_when_a_timer_is_due():
    with Manager() as mgr:
        mgr.poll(0)
        assert mgr.timeout() is None
        mgr.timer_add(60_000, print)
        mgr.poll(0)
        assert 59 < mgr.timeout() <= 60
        mgr.call(print)
        assert mgr.timeout() == 0


def test_a_post_of_another_thread_makes_the_descriptor_readable():
    """So that a foreign loop that waits for it gives the manager its turn."""
    done = []
    with Manager() as mgr:
        mgr.poll(0)
        mgr.timeout()
        poster = threading.Thread(target=lambda: mgr.call(done.append, "posted"))
        poster.start()
        readable, _, _ = select.select([mgr.fileno()], [], [], 30)
        assert readable
        mgr.poll(0)
        poster.join()
        assert done == ["posted"]


def test_calls_from_other_threads_are_answered_before_the_poller_leaves():
    # A thread that polls once must not leave another waiting for an answer of the loop.
    mgr = Manager()
    asked, answers = threading.Event(), []

    def ask():
        asked.wait(DEADLINE)
        answers.append(mgr.connections)

    def turn():
        asked.set()
        eventually(lambda: mgr._stats()["queue_messages"] or answers)

    t = threading.Thread(target=ask)
    t.start()
    mgr.timer_add(0, turn)
    mgr.poll(0)
    t.join(DEADLINE)
    assert answers == [()]
    mgr.close()
