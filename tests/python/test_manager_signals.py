"""run() and poll() end on signals and stop(), whenever these come, and run() ends by draining."""

import signal
import socket
import threading

import pytest
from conftest import DEADLINE, Until, eventually, on_http, read_all, read_answer
from helpers import REQUEST, finish, port_of, program

from pymongoose import ConnectionClosed, Manager

# -- signals --

RUN = """
import signal, sys, threading
from pymongoose import Manager, MG_EV_HTTP_MSG
before = {n: (lambda *a: None) for n in (signal.SIGINT, signal.SIGTERM)}
for n, h in before.items():
    signal.signal(n, h)
mgr = Manager()
mgr.listen("tcp://127.0.0.1:0")
def ready():
    print("ready", flush=True)
mgr.timer_add(0, ready)
"""

RUN_END = """
assert mgr.closed
for n, h in before.items():
    assert signal.getsignal(n) is h
print("ended", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("poll_ms", [-1, 5, 3_600_000])
def test_run_stops_on_signals_whatever_the_timeout(number, poll_ms):
    p = program(RUN + f"mgr.run({poll_ms})\n" + RUN_END)
    assert p.stdout.readline() == "ready\n"
    p.send_signal(number)
    assert finish(p) == "ended\n"


def test_a_signal_ends_a_long_poll_with_keyboard_interrupt():
    code = """
import signal
from pymongoose import Manager
mgr = Manager()
mgr.timer_add(0, lambda: print("ready", flush=True))
try:
    while True:
        mgr.poll(3_600_000)
except KeyboardInterrupt:
    print("interrupted", mgr.closed)
mgr.timer_add(0, lambda: print("alive"))
mgr.poll(0)
mgr.close()
"""
    p = program(code)
    assert p.stdout.readline() == "ready\n"
    p.send_signal(signal.SIGINT)
    assert finish(p) == "interrupted False\nalive\n"


def test_a_signal_handler_runs_in_the_middle_of_a_poll():
    code = """
import signal
from pymongoose import Manager
mgr = Manager()
seen = []
signal.signal(signal.SIGUSR1, lambda *a: seen.append(1))
mgr.timer_add(0, lambda: print("ready", flush=True))
while not seen:
    mgr.poll(3_600_000)
print("seen")
mgr.close()
"""
    p = program(code)
    assert p.stdout.readline() == "ready\n"
    p.send_signal(signal.SIGUSR1)
    assert finish(p) == "seen\n"


def test_a_signal_just_before_the_wait_is_not_lost():
    # It is raised by a timer, from C: no byte code follows it, and the wait of the next turn is the first to be able to see it.
    code = """
import ctypes, functools, os, signal
from pymongoose import Manager
libc = ctypes.PyDLL(None)
for poll_ms in (-1, 3_600_000):
    mgr = Manager()
    mgr.timer_add(0, functools.partial(libc.kill, os.getpid(), signal.SIGTERM))
    mgr.run(poll_ms)
print("ended")
"""
    assert finish(program(code)) == "ended\n"


def test_run_stops_when_the_signal_came_before_it_waits():
    code = (
        RUN + "mgr.timer_add(0, lambda: signal.raise_signal(signal.SIGTERM))\nmgr.run()\n" + RUN_END
    )
    assert finish(program(code)) == "ready\nended\n"


def test_run_hears_signals_where_another_manager_had_its_bell():
    code = """
import ctypes, functools, os, signal
from pymongoose import Manager
libc = ctypes.PyDLL(None)
strike = functools.partial(libc.kill, os.getpid(), signal.SIGTERM)  # no byte code follows it
a, b = Manager(), Manager()
a.poll(0)
b.timer_add(0, strike)
b.run()
a.timer_add(0, strike)
a.run()
print("ended")
"""
    assert finish(program(code)) == "ended\n"


def test_run_hears_signals_where_asyncio_had_its_bell():
    code = """
import asyncio, ctypes, functools, os, signal
from pymongoose import Manager
libc = ctypes.PyDLL(None)
strike = functools.partial(libc.kill, os.getpid(), signal.SIGTERM)

async def main():
    loop = asyncio.get_running_loop()
    usr1 = asyncio.Event()
    loop.add_signal_handler(signal.SIGUSR1, usr1.set)
    mgr = Manager()
    mgr.poll(0)
    mgr.timer_add(0, strike)
    mgr.run()
    os.kill(os.getpid(), signal.SIGUSR1)
    await asyncio.wait_for(usr1.wait(), 15)  # asyncio has it again
    print("both")

asyncio.run(main())
"""
    assert finish(program(code)) == "both\n"


def test_stop_from_another_thread_ends_run(serve):
    server = serve(url=None)
    eventually(lambda: server.mgr.stats().turns)
    server.mgr.stop()
    server.thread.join(DEADLINE)
    assert server.mgr.closed


def test_stop_before_run_is_not_forgotten():
    mgr = Manager()
    mgr.stop()
    mgr.run()
    assert mgr.closed


# -- the end of run(): draining --


def test_run_finishes_deferred_requests_and_accepts_no_more(serve):
    held = Until()
    server = serve(on_http(lambda conn, msg: held.set(conn.defer())), drain_timeout=DEADLINE)
    with server.connect() as sock, server.connect() as idle:
        sock.sendall(REQUEST)
        reply, address = held.get(), ("127.0.0.1", server.port)
        server.mgr.stop()
        assert read_all(idle) == b""  # idle ones go at once
        assert server.thread.is_alive()
        eventually(lambda: server.listener.id == 0)
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(address, DEADLINE)
        reply.reply(200, "late")
        assert read_answer(sock)[0].body == b"late"
        assert read_all(sock) == b""
    server.thread.join(DEADLINE)
    assert not server.thread.is_alive()


def test_run_finishes_streaming_answers(serve):
    held = Until()
    server = serve(
        on_http(lambda conn, msg: held.set(conn.start_response(200))), drain_timeout=DEADLINE
    )
    with server.connect() as sock:
        sock.sendall(REQUEST)
        body = held.get()
        body.write("one")
        server.mgr.stop()
        eventually(lambda: server.listener.id == 0)
        body.write("two")
        body.end("three")
        assert read_answer(sock)[0].body == b"onetwothree"


def test_drain_timeout_bounds_the_end():
    seen = Until()
    mgr = Manager(on_http(lambda conn, msg: seen.set(conn.defer())))
    listener = mgr.listen("http://127.0.0.1:0")
    thread = threading.Thread(target=lambda: mgr.run(drain_timeout=0.0))
    thread.start()
    with socket.create_connection(("127.0.0.1", port_of(listener)), DEADLINE) as sock:
        sock.sendall(REQUEST)
        reply = seen.get()
        mgr.stop()
        thread.join(DEADLINE)
        assert mgr.closed
        assert read_all(sock) == b""
    assert reply.cancelled
    with pytest.raises(ConnectionClosed):
        reply.reply(200)
