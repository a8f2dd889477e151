"""A manager opens and closes, knows its connections and hands on exceptions as its documentation says."""

import logging
import socket

import pytest
from conftest import DEADLINE, eventually, get, on_http, read_answer
from helpers import REQUEST, poll_until, port_of

import pymongoose
from pymongoose import MG_EV_ACCEPT, MG_EV_CLOSE, MG_EV_HTTP_MSG, MG_EV_OPEN, Manager

# -- open and close --


def test_close_is_idempotent_and_closes_connections():
    mgr = Manager()
    listener = mgr.listen("http://127.0.0.1:0")
    assert mgr.connections == (listener,)
    assert not mgr.closed
    mgr.close()
    mgr.close()
    assert mgr.closed
    assert mgr.connections == ()
    assert (listener.id, listener.is_closing, listener.is_listening) == (0, True, False)
    assert repr(listener) == "<Connection closed>"
    assert repr(mgr) == "<Manager closed>"
    assert listener.manager is None


@pytest.mark.parametrize(
    "use",
    [
        lambda m: m.poll(),
        lambda m: m.run(),
        lambda m: m.listen("http://127.0.0.1:0"),
        lambda m: m.connect("tcp://127.0.0.1:1"),
        lambda m: m.timer_add(1, print),
        lambda m: m.call(print),
        lambda m: setattr(m, "handler", print),
    ],
)
def test_a_closed_manager_refuses(use):
    mgr = Manager(enable_wakeup=True)
    mgr.close()
    with pytest.raises(RuntimeError, match="closed"):
        use(mgr)


def test_a_closed_manager_answers_questions():
    mgr = Manager(enable_wakeup=True)
    mgr.poll(0)
    mgr.close()
    assert mgr.wakeup(1) is False
    assert mgr.wakeup_id == 0
    assert mgr.fileno() == -1
    assert mgr.timeout() is None
    assert mgr.stats().turns >= 1  # what was counted stays
    mgr.stop()


def test_a_context_manager_closes_also_behind_an_exception():
    with Manager() as mgr:
        listener = mgr.listen("tcp://127.0.0.1:0")
    assert mgr.closed
    with pytest.raises(ZeroDivisionError), Manager() as mgr:
        1 / 0  # noqa: B018
    assert mgr.closed
    assert listener.id == 0


def test_two_threads_cannot_poll(serve):
    server = serve(url=None)
    eventually(lambda: server.mgr.stats().turns)
    for use in (server.mgr.poll, server.mgr.run):
        with pytest.raises(RuntimeError, match="not reentrant"):
            use()
    with pytest.raises(RuntimeError, match="poll"):
        server.mgr.close()
    assert not server.mgr.closed


def test_a_handler_cannot_poll_or_close_its_manager():
    errors = []

    def handler(conn, ev, data):
        if ev == MG_EV_OPEN:
            for use in (lambda: conn.manager.poll(0), conn.manager.close, conn.manager.run):
                with pytest.raises(RuntimeError) as e:
                    use()
                errors.append(str(e.value))

    with Manager() as mgr:
        mgr.timer_add(0, lambda: mgr.listen("tcp://127.0.0.1:0", handler))
        mgr.poll(0)
    assert len(errors) == 3
    assert "not reentrant" in errors[0]
    assert "close()" in errors[1]
    assert "not reentrant" in errors[2]


def test_close_handlers_cannot_poll_or_open_while_the_manager_closes():
    errors = []

    def handler(conn, ev, data):
        if ev == MG_EV_CLOSE:
            mgr.close()  # nothing: it is closing
            assert isinstance(mgr.connections, tuple)
            for use in (
                lambda: mgr.poll(0),
                lambda: mgr.listen("tcp://127.0.0.1:0"),
                lambda: mgr.timer_add(0, print),
            ):
                with pytest.raises(RuntimeError, match="closed"):
                    use()
                errors.append(1)

    reported = []
    mgr = Manager(handler, error_handler=reported.append)
    mgr.listen("tcp://127.0.0.1:0")
    mgr.close()
    assert reported == []
    assert len(errors) == 3


def test_keyboard_interrupt_in_a_close_handler_leaves_close():
    def handler(conn, ev, data):
        if ev == MG_EV_CLOSE:
            raise KeyboardInterrupt

    mgr = Manager(handler)
    mgr.listen("tcp://127.0.0.1:0")
    with pytest.raises(KeyboardInterrupt):
        mgr.close()
    assert mgr.closed


def test_arguments_are_checked():
    with pytest.raises(ValueError, match="workers"):
        Manager(workers=-1)
    with pytest.raises(ValueError, match="workers or pool"):
        Manager(workers=1, pool=pymongoose.WorkerPool(1))
    with pytest.raises(TypeError, match="handler"):
        Manager(5)
    with pytest.raises(TypeError, match="error_handler"):
        Manager(error_handler=5)
    with pytest.raises(TypeError, match="pool"):
        Manager(pool=5)
    with Manager() as mgr, pytest.raises(TypeError, match="callable"):
        mgr.call(5)


# -- connections --


def test_connections_are_a_snapshot_of_what_is_open(serve):
    server = serve(on_http(lambda conn, msg: conn.reply(200, str(conn.id))), enable_wakeup=True)
    assert server.mgr.wakeup_id > 0
    assert server.mgr.connections == (server.listener,)
    with server.connect() as sock:
        sock.sendall(REQUEST)
        answer, _ = read_answer(sock)
        found = server.mgr.connections
        assert {c.id for c in found} == {server.listener.id, int(answer.body)}
        (peer,) = (c for c in found if not c.is_listening)
        assert peer.remote_addr[:2] == sock.getsockname()
        assert peer.manager is server.mgr
    eventually(lambda: server.mgr.connections == (server.listener,))
    assert len(found) == 2
    assert peer.id == 0


def test_wakeup_id_is_zero_when_wakeups_are_off():
    with Manager() as mgr:
        assert mgr.wakeup_id == 0
        assert mgr.connections == ()


def test_children_inherit_the_listeners_handler(serve):
    def answer(text):
        return on_http(lambda conn, msg: conn.reply(200, text))

    server = serve(answer("manager"))
    other = server.listen(handler=answer("listener"))
    assert get(server.port).body == b"manager"
    assert get(port_of(other)).body == b"listener"
    other.set_handler(answer("new"))
    assert get(port_of(other)).body == b"new"
    other.handler = None
    assert get(port_of(other)).body == b"manager"
    server.mgr.handler = answer("changed")
    assert get(server.port).body == b"changed"


def test_a_connections_own_handler_goes_first_and_none_restores(serve):
    def own(conn, ev, data):
        if ev == MG_EV_HTTP_MSG:
            conn.reply(200, "own")
            conn.set_handler(None)

    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_MSG:
            conn.reply(200, "manager")
            conn.handler = own
            assert conn.handler is own

    server = serve(handler)
    with server.connect() as sock:
        for expected in (b"manager", b"own", b"manager"):
            sock.sendall(REQUEST)
            assert read_answer(sock)[0].body == expected


def test_userdata_is_per_connection(serve):
    def handler(conn, ev, data):
        if ev == MG_EV_ACCEPT:
            assert conn.userdata is None
            conn.userdata = []
        elif ev == MG_EV_HTTP_MSG:
            conn.userdata.append(1)
            conn.reply(200, str(len(conn.userdata)))

    server = serve(handler)
    with server.connect() as a, server.connect() as b:
        for sock, expected in ((a, b"1"), (a, b"2"), (b, b"1"), (a, b"3")):
            sock.sendall(REQUEST)
            assert read_answer(sock)[0].body == expected


# -- exceptions --


def test_error_handler_of_one_argument():
    seen = []
    with Manager(error_handler=seen.append) as mgr:
        mgr.timer_add(0, lambda: 1 / 0)
        mgr.poll(0)
    assert [type(e) for e in seen] == [ZeroDivisionError]
    assert seen[0].__traceback__ is not None


def test_error_handler_of_three_arguments(serve):
    seen = []

    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_MSG:
            raise ValueError("broken")

    server = serve(handler, error_handler=lambda conn, ev, exc: seen.append((conn, ev, exc)))
    assert get(server.port).status == 500
    ((conn, ev, exc),) = seen
    assert isinstance(conn, pymongoose.Connection)
    assert ev == MG_EV_HTTP_MSG
    assert str(exc) == "broken"
    assert server.mgr.stats().handler_errors == 1


def test_without_an_error_handler_the_log_has_it(caplog):
    with caplog.at_level(logging.ERROR, "pymongoose"), Manager() as mgr:
        mgr.timer_add(0, lambda: 1 / 0)
        mgr.poll(0)
    (record,) = caplog.records
    assert record.exc_info[0] is ZeroDivisionError


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_error_handler_that_fails_does_not_stop_the_loop():
    calls = []

    def report(exc):
        raise RuntimeError("the reporter itself")

    with Manager(error_handler=report) as mgr:
        mgr.timer_add(0, lambda: 1 / 0)
        mgr.timer_add(0, lambda: calls.append(1))
        mgr.poll(0)
    assert calls == [1]


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_interrupts_leave_poll_and_the_server_goes_on(kind):
    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_MSG:
            if data.uri == "/stop":
                raise kind("now")
            conn.reply(200, "ok")

    with Manager(handler) as mgr:
        listener = mgr.listen("http://127.0.0.1:0")
        with socket.create_connection(("127.0.0.1", port_of(listener)), DEADLINE) as sock:
            sock.sendall(b"GET /stop HTTP/1.1\r\nHost: a\r\n\r\n")
            with pytest.raises(kind, match="now"):
                poll_until(mgr, lambda: False)
            mgr.poll(0)
            assert read_answer(sock)[0].status == 500
            sock.sendall(REQUEST)
            poll_until(mgr, lambda: mgr.stats().requests == 2)
            mgr.poll(0)
            assert read_answer(sock)[0].body == b"ok"
        mgr.timer_add(20, mgr.stop)
        ran = []
        mgr.timer_add(0, lambda: ran.append(1))
        mgr.run()  # the interrupt of before does not end it
        assert ran == [1]


def test_interrupts_leave_run_and_close(serve):
    mgr = Manager()
    listener = mgr.listen("tcp://127.0.0.1:0")

    def quit_now():
        raise SystemExit(3)

    mgr.timer_add(0, quit_now)
    with pytest.raises(SystemExit):
        mgr.run()
    assert mgr.closed
    assert listener.id == 0
