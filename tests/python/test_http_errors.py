"""Exceptions in handlers: the client learns of them, so does the program, and the loop goes on."""

import gc
import logging
import sys
import threading

import pytest
from conftest import Cut, Until, on_http, parse, parse_all

from pymongoose import MG_EV_ACCEPT, MG_EV_CLOSE, MG_EV_HTTP_HDRS, MG_EV_HTTP_MSG, Manager


def request(target="/", headers="", body=b"", method="GET"):
    return f"{method} {target} HTTP/1.1\r\nHost: a\r\n{headers}\r\n".encode() + body


def boom(conn, msg):
    if msg.uri == "/boom":
        raise LookupError("äh, \0 gone")
    conn.reply(200, "ok")


def test_q12_exception_in_a_handler_is_500_and_the_connection_goes_on(serve):
    """Q12: the client waited for ever."""
    server = serve(on_http(boom))
    answers = parse_all(server.talk(request("/boom") + request("/") + request("/boom"), answers=3))
    assert [a.status for a in answers] == [500, 200, 500]
    assert answers[0].body == b"Internal Server Error"  # nothing of the exception
    assert [str(e) for e in server.errors] == ["äh, \0 gone"] * 2
    assert server.mgr.stats().handler_errors == 2
    server.errors.clear()


def test_q12_error_handler_of_one_argument_gets_the_exception(serve):
    seen = []
    server = serve(on_http(boom), error_handler=lambda exc: seen.append(exc))
    assert server.get("/boom").status == 500
    (exc,) = seen
    assert type(exc) is LookupError
    assert exc.__traceback__.tb_next is not None


def test_q12_error_handler_of_three_arguments_gets_connection_and_event(serve):
    seen = []

    def report(conn, ev, exc):
        seen.append((conn.id > 0, ev, type(exc)))

    assert serve(on_http(boom), error_handler=report).get("/boom").status == 500
    assert seen == [(True, MG_EV_HTTP_MSG, LookupError)]


def test_error_handler_of_three_arguments_may_answer_itself(serve):
    def report(conn, ev, exc):
        conn.reply(418, f"{type(exc).__name__}")

    answers = parse_all(
        serve(on_http(boom), error_handler=report).talk(request("/boom") + request(), answers=2)
    )
    assert [(a.status, a.body) for a in answers] == [(418, b"LookupError"), (200, b"ok")]


def test_error_handler_that_is_a_method_or_takes_anything(serve):
    class Seen(list):
        def take(self, conn, ev, exc):
            self.append(exc)

        def any(self, *args):
            self.append(args)

    seen = Seen()
    assert serve(on_http(boom), error_handler=seen.take).get("/boom").status == 500
    assert serve(on_http(boom), error_handler=seen.any).get("/boom").status == 500
    assert serve(on_http(boom), error_handler=seen.append).get("/boom").status == 500
    assert [type(x) for x in seen] == [LookupError, tuple, LookupError]
    assert len(seen[1]) == 1


@pytest.mark.parametrize("value", [5, "x", object()])
def test_error_handler_that_cannot_be_called_is_a_type_error(value):
    with pytest.raises(TypeError, match="error_handler"):
        Manager(None, error_handler=value)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_error_handler_that_fails_itself_does_not_stop_the_loop(serve):
    def report(exc):
        raise RuntimeError("worse")

    server = serve(on_http(boom), error_handler=report)
    assert server.get("/boom").status == 500
    assert server.get("/").status == 200


def test_default_goes_to_the_logger_pymongoose(serve, caplog):
    with caplog.at_level(logging.ERROR, logger="pymongoose"):
        server = serve(on_http(boom), error_handler=None)
        assert server.get("/boom").status == 500
        server.stop()
    (record,) = caplog.records
    assert (record.name, record.levelname) == ("pymongoose", "ERROR")
    assert "MG_EV_HTTP_MSG" in record.getMessage()
    assert record.exc_info[0] is LookupError


def test_exception_after_start_response_cuts(serve):
    def handle(conn, msg):
        body = conn.start_response(200)
        body.write("half")
        raise LookupError

    server = serve(on_http(handle))
    data = server.talk(request() * 2)
    assert data.startswith(b"HTTP/1.1 200 ")
    assert b"500" not in data.split(b"\r\n")[0]
    with pytest.raises(Cut):
        parse(data)
    server.expect_error(LookupError)


def test_exception_after_the_answer_changes_nothing_for_the_client(serve):
    def handle(conn, msg):
        conn.reply(200, "done")
        raise LookupError

    server = serve(on_http(handle))
    answers = parse_all(server.talk(request() * 2, answers=2))
    assert [(a.status, a.body) for a in answers] == [(200, b"done")] * 2
    assert [type(e) for e in server.errors] == [LookupError] * 2
    server.errors.clear()


def test_exception_after_defer_leaves_the_answer_to_nobody_and_gives_500(serve):
    def handle(conn, msg):
        conn.defer()
        raise LookupError

    server = serve(on_http(handle))
    assert server.get().status == 500
    assert [type(e) for e in server.errors] == [LookupError]
    server.errors.clear()


@pytest.mark.parametrize("event", [MG_EV_ACCEPT, MG_EV_HTTP_HDRS, MG_EV_CLOSE])
def test_exceptions_in_other_events_are_reported_and_the_loop_goes_on(serve, event):
    fail = threading.Event()
    fail.set()
    told = Until()

    def handler(conn, ev, data):
        if ev == event and fail.is_set() and not conn.is_listening:
            fail.clear()
            raise LookupError
        if ev == MG_EV_HTTP_MSG:
            conn.reply(200, "ok")

    server = serve(handler, error_handler=told.set)
    with server.connect() as sock:
        sock.sendall(request(method="POST", headers="Content-Length: 1\r\n", body=b"x"))
        status = parse_all(sock.recv(10000))[0].status if event == MG_EV_HTTP_HDRS else 0
    assert status in (0, 500)
    assert type(told.get()) is LookupError
    assert server.get().status == 200


def test_10000_exceptions_leak_nothing(serve):
    """P19"""
    marker = object()

    def handle(conn, msg):
        local = marker  # noqa: F841  (kept by the traceback)
        raise LookupError

    server = serve(on_http(handle), error_handler=lambda exc: None)
    server.talk(request() * 10, answers=10)
    gc.collect()
    before = sys.getrefcount(marker)
    for _ in range(10):
        server.talk(request() * 1000, answers=1000)
    gc.collect()
    assert sys.getrefcount(marker) <= before + 1
    assert server.mgr.stats().handler_errors == 10010


def test_q13_keyboard_interrupt_leaves_the_loop(serve):
    """Q13: swallowed by the peer. The loop ends; the manager is closed behind it."""

    def handle(conn, msg):
        raise KeyboardInterrupt

    server = serve(on_http(handle))
    with server.connect() as sock:
        sock.sendall(request())
        server.thread.join(15)
    assert not server.thread.is_alive()
    assert type(server.failure) is KeyboardInterrupt
    server.failure = None
    assert server.errors == []
