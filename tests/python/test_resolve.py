"""Connection.resolve(): names without holding up the loop. What a name server is asked for is asked of dnsmasq, in a network and with an
/etc/resolv.conf of its own (namespaces of Linux), so that no test leaves this machine."""

from __future__ import annotations

import os
import shutil
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from subprocess import DEVNULL, TimeoutExpired, run
from typing import Any

import pytest
from conftest import Served, Until, on_http
from helpers import poll_until

from pymongoose import (
    MG_EV_CLOSE,
    MG_EV_CONNECT,
    MG_EV_ERROR,
    MG_EV_RESOLVE,
    Connection,
    ConnectionClosed,
    Manager,
)

Told = list[tuple[int, Any]]
DB8, SELF = "2001:db8:0:0:0:0:0:", "0:0:0:0:0:0:0:1"  # written as local_addr is
LOCALHOST = (("127.0.0.1", 0, False), (SELF, 0, True))


def asker(mgr: Manager, told: Told) -> Connection:
    """A listener, which has no peer, and must go on whatever it is told."""

    def handler(conn: Connection, ev: int, data: Any) -> None:
        if ev in (MG_EV_RESOLVE, MG_EV_ERROR, MG_EV_CLOSE):
            told.append((ev, data))

    return mgr.listen("tcp://127.0.0.1:0", handler)


@pytest.mark.parametrize(
    ("url", "addresses"),
    [
        ("192.0.2.7", [("192.0.2.7", 0, False)]),
        ("http://192.0.2.7/x", [("192.0.2.7", 80, False)]),
        ("https://[2001:db8::1]:8443", [(DB8 + "1", 8443, True)]),
        ("2001:db8::1", [(DB8 + "1", 0, True)]),
        ("tcp://localhost:5", [("127.0.0.1", 5, False), (SELF, 5, True)]),
        ("app.localhost", [("127.0.0.1", 0, False), (SELF, 0, True)]),
    ],
)
def test_literals_and_localhost_are_told_by_the_next_turn(
    url: str, addresses: list[tuple[str, int, bool]]
) -> None:
    told: Told = []
    with Manager() as mgr:
        conn = asker(mgr, told)
        conn.resolve(url)
        assert told == []
        poll_until(mgr, lambda: told)
        assert told == [(MG_EV_RESOLVE, tuple(addresses))]
        assert conn.is_listening


def test_a_wrong_question_is_a_value_error_and_tells_nothing() -> None:
    told: Told = []
    with Manager() as mgr:
        conn = asker(mgr, told)
        for wrong in ("", "unix:///tmp/x", "gopher://a:1", "tcp://host", "a" * 300, "a\0b"):
            with pytest.raises(ValueError, match=r"host|port|scheme|NUL"):
                conn.resolve(wrong)
        for seconds in (0, -1, float("nan")):
            with pytest.raises(ValueError, match="timeout"):
                conn.resolve("localhost", timeout=seconds)
        with pytest.raises(TypeError):
            conn.resolve(7)  # type: ignore[arg-type]
        mgr.poll(10)
        assert told == []
        conn.close()
        poll_until(mgr, lambda: told)
        with pytest.raises(ConnectionClosed):
            conn.resolve("localhost")
        conn.resolve_cancel()


def test_what_is_cancelled_or_asked_anew_is_not_answered() -> None:
    told: Told = []
    with Manager() as mgr:
        conn = asker(mgr, told)
        conn.resolve("127.0.0.1")
        conn.resolve_cancel()
        conn.resolve_cancel()
        conn.resolve("no..name")
        conn.resolve("127.0.0.9")
        poll_until(mgr, lambda: told)
        for _ in range(5):
            mgr.poll(10)
        assert told == [(MG_EV_RESOLVE, (("127.0.0.9", 0, False),))]


def test_an_error_names_the_host_and_leaves_the_connection_open() -> None:
    told: Told = []
    with Manager() as mgr:
        conn = asker(mgr, told)
        conn.resolve("http://no..name/")
        poll_until(mgr, lambda: told)
        (ev, text), *more = told
        assert ev == MG_EV_ERROR
        assert text.startswith("resolve no..name: ")
        assert not more
        mgr.poll(10)
        assert conn.is_listening
        assert not conn.is_closing


def test_a_request_may_ask_and_answer_with_what_it_hears(serve: Callable[..., Served]) -> None:
    waiting: dict[int, Any] = {}

    def handler(conn: Connection, ev: int, data: Any) -> None:
        on_http(asked)(conn, ev, data)
        if ev in (MG_EV_RESOLVE, MG_EV_ERROR):
            waiting.pop(conn.id).reply(200 if ev == MG_EV_RESOLVE else 502, repr(data))

    def asked(conn: Connection, message: Any) -> None:
        waiting[conn.id] = conn.defer()
        conn.resolve(message.query_var("name"))

    served = serve(handler)
    assert served.get("/?name=localhost").body == repr(LOCALHOST).encode()
    wrong = served.get("/?name=no..name")
    assert wrong.status == 502
    assert b"resolve no..name: " in wrong.body


def test_any_thread_may_ask_and_cancel(serve: Callable[..., Served]) -> None:
    told = Until()

    def handler(conn: Connection, ev: int, data: Any) -> None:
        if ev == MG_EV_RESOLVE:
            told.set((data, threading.get_ident()))

    served = serve(handler)
    assert served.listener is not None
    served.listener.resolve("no..name", timeout=5)
    served.listener.resolve_cancel()
    served.listener.resolve(url="127.0.0.5")
    assert told.get() == ((("127.0.0.5", 0, False),), served.thread.ident)


def test_connecting_tells_the_addresses_that_will_be_tried(serve: Callable[..., Served]) -> None:
    served = serve(on_http(lambda conn, message: conn.reply(200)))
    told: Told = []
    with Manager(lambda conn, ev, data: told.append((ev, data))) as mgr:
        conn = mgr.connect(f"tcp://localhost:{served.port}")
        conn.resolve("127.0.0.9")  # goes beside it, and changes nothing
        poll_until(mgr, lambda: {MG_EV_CONNECT} <= {ev for ev, _ in told} and len(told) >= 4)
        both = (("127.0.0.1", served.port, False), (SELF, served.port, True))
        answers = [data for ev, data in told if ev == MG_EV_RESOLVE]
        assert answers == [both, (("127.0.0.9", 0, False),)]
        assert conn.remote_addr == ("127.0.0.1", served.port, False)


# ---- name servers ----

ASK = """
import sys
from pymongoose import *
told = []
def handler(conn, ev, data):
    if ev in (MG_EV_RESOLVE, MG_EV_ERROR): told.append((ev, data))
with Manager(handler) as mgr:
    conn = mgr.listen("udp://127.0.0.1:0")
    for name, timeout in {names!r}:
        conn.resolve(name, timeout=timeout)
        while not told: mgr.poll(1000)
        ev, data = told.pop()
        print(sorted(data) if ev == MG_EV_RESOLVE else data)
    assert conn.is_listening
"""

# As in every container: the interface is there, and down.
LO_UP = """
import fcntl, socket, struct
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
    fcntl.ioctl(s, 0x8914, struct.pack("16sh14x", b"lo", 0x41))  # SIOCSIFFLAGS: up, running
"""

MUTE = """
import socket
mute = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
mute.bind(("127.0.0.1", 53))
"""


def in_namespaces(tmp_path: Path, code: str, server: list[str]) -> list[str]:
    """The lines that `code` printed in namespaces where 127.0.0.1 is the name server."""
    unshare = ["unshare", "--mount", "--net"] + (["--map-root-user"] if os.geteuid() != 0 else [])
    if (
        shutil.which("unshare") is None
        or run([*unshare, "true"], check=False, stderr=DEVNULL).returncode
    ):
        pytest.skip("this machine lets nobody make a network namespace")
    (tmp_path / "resolv.conf").write_text("nameserver 127.0.0.1\noptions attempts:1\n")
    (tmp_path / "hosts").write_text("127.0.0.1 localhost\n192.0.2.99 in-hosts.test\n")
    (tmp_path / "code.py").write_text(LO_UP + code)
    (tmp_path / "up.py").write_text(LO_UP)
    script = (
        'mount --bind "$1/resolv.conf" /etc/resolv.conf; mount --bind "$1/hosts" /etc/hosts; "$2" "$1/up.py"; dir=$1 python=$2; shift 2; '
        '[ $# -eq 0 ] || { "$@"; trap \'kill $(cat "$dir/pid")\' EXIT; }; "$python" "$dir/code.py"'
    )
    env = dict(os.environ, PYTHONPATH=os.pathsep.join(p for p in sys.path if p))
    try:
        done = run(
            [*unshare, "sh", "-euc", script, "-", str(tmp_path), sys.executable, *server],
            check=False,
            capture_output=True,
            text=True,
            env=env,
            timeout=60,
        )
    except TimeoutExpired as exc:
        raise AssertionError(f"it did not end: {exc.stdout!r} {exc.stderr!r}") from None
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def dnsmasq(tmp_path: Path, *options: str) -> list[str]:
    path = shutil.which("dnsmasq", path=os.environ.get("PATH", "") + ":/usr/sbin")
    if path is None:
        pytest.skip("dnsmasq is not installed")
    return [
        path,
        "--conf-file=/dev/null",
        "--no-hosts",
        "--no-resolv",
        "--listen-address=127.0.0.1",
        "--bind-interfaces",
        "--user=root",
        f"--pid-file={tmp_path}/pid",
        *options,
    ]


def test_a_name_server_is_asked_for_both_families(tmp_path: Path) -> None:
    server = dnsmasq(
        tmp_path,
        "--host-record=both.test,192.0.2.10,2001:db8::10",
        "--host-record=four.test,192.0.2.4",
        "--host-record=six.test,2001:db8::6",
        "--cname=alias.test,four.test",
        *(f"--host-record=many.test,192.0.2.{i}" for i in range(100, 112)),
        "--local=/test/",
    )
    names = ["both.test", "http://four.test", "tcp://six.test:7", "alias.test", "in-hosts.test"]
    names += ["no-such.test", "many.test", "localhost"]
    lines = in_namespaces(tmp_path, ASK.format(names=[(name, 10) for name in names]), server)
    assert lines[:5] == [
        f"[('192.0.2.10', 0, False), ('{DB8}10', 0, True)]",
        "[('192.0.2.4', 80, False)]",
        f"[('{DB8}6', 7, True)]",
        "[('192.0.2.4', 0, False)]",
        "[('192.0.2.99', 0, False)]",
    ]
    assert lines[5].startswith("resolve no-such.test: Name or service not known")
    assert lines[6].count("'192.0.2.1") == 8  # as many as would be tried
    assert lines[7] == repr(sorted(LOCALHOST))


def test_a_name_server_that_says_nothing_is_waited_for_as_long_as_asked(tmp_path: Path) -> None:
    names = [("slow.test", 0.05), ("localhost", None)]
    lines = in_namespaces(tmp_path, MUTE + ASK.format(names=names), [])
    assert lines == ["resolve slow.test: timed out", repr(sorted(LOCALHOST))]


def test_a_manager_closes_while_a_name_server_says_nothing(tmp_path: Path) -> None:
    code = """
from pymongoose import *
mgr = Manager()
for i in range(20): mgr.listen("udp://127.0.0.1:0").resolve(f"slow{i}.test")
mgr.poll(10)
mgr.close()
print("closed")
"""
    assert in_namespaces(tmp_path, MUTE + code, []) == ["closed"]
