"""TLS sessions that are resumed, and certificates that are changed while a server runs."""

from __future__ import annotations

import ssl
import threading
from typing import Any

import pytest
from conftest import DEADLINE, Until, eventually, on_http, parse, read_all, read_answer

from pymongoose import (
    MG_EV_CLOSE,
    MG_EV_CONNECT,
    MG_EV_HTTP_MSG,
    MG_EV_TLS_HS,
    TlsError,
    TlsInfo,
    TlsOpts,
    build_info,
)

pytest.importorskip("cryptography")
import certs
from tls_helpers import URL, Events, context, dial, echo, opts, request

pytestmark = pytest.mark.skipif(not build_info()["tls"], reason="a build without TLS")

# -- resumption, reload --


def resumes(port: int, ctx: ssl.SSLContext, session: Any = None) -> tuple[bool, Any]:
    with dial(port, ctx, session=session) as sock:
        sock.sendall(request(close=True))
        read_all(sock)
        return bool(sock.session_reused), sock.session


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_sessions_are_resumed(serve, version):
    server = serve(on_http(echo), URL, listen={"tls": opts()})
    ctx = context()
    ctx.minimum_version = ctx.maximum_version = version
    reused, session = resumes(server.port, ctx)
    assert not reused
    for _ in range(2):
        reused, session = resumes(server.port, ctx, session)
        assert reused


def test_sessions_are_not_resumed_when_that_is_said(serve):
    server = serve(on_http(echo), URL, listen={"tls": opts(resumption=False)})
    ctx = context()
    _, session = resumes(server.port, ctx)
    assert session is None or not session.has_ticket


def test_our_client_resumes(serve):
    infos: list[TlsInfo] = []

    def asking(conn, ev, data):
        if ev == MG_EV_CONNECT:
            conn.send(request(close=True))
        if ev == MG_EV_HTTP_MSG:
            infos.append(conn.tls)

    server = serve(on_http(echo), URL, listen={"tls": opts()})
    for _ in range(3):
        events = Events(asking)
        tls = TlsOpts(ca=certs.root().pem)
        server.mgr.connect(f"https://localhost:{server.port}", events, tls=tls)
        events.closed.get()
    assert [i.resumed for i in infos] == [False, True, True]
    assert all(i.peer is not None and i.peer.verified for i in infos)


def test_a_session_is_not_for_another_name(serve):
    leaf = certs.root().issue(["localhost", "other.test"])
    server = serve(None, "tls://127.0.0.1:0", listen={"tls": opts(leaf)})
    resumed = []
    for name in ("localhost", "localhost", "other.test"):
        done = Until()

        def then(conn, ev, data, done=done):
            if ev == MG_EV_TLS_HS:
                resumed.append(conn.tls.resumed)
                conn.drain()
            if ev == MG_EV_CLOSE:
                done.set()

        tls = TlsOpts(ca=certs.root().pem, name=name)
        server.mgr.connect(f"tls://127.0.0.1:{server.port}", then, tls=tls)
        done.get()
    assert resumed[2] is False


def serial(port: int) -> int:
    with dial(port) as sock:
        return int(sock.getpeercert()["serialNumber"], 16)  # type: ignore[index, arg-type]


def test_certificates_are_changed_without_dropping_a_connection(serve):
    first, second = certs.root().issue(), certs.root().issue()
    server = serve(on_http(echo), URL, listen={"tls": opts(first)})
    with dial(server.port) as old:
        assert serial(server.port) == first.cert.serial_number
        server.listener.tls_reload(opts(second))
        assert serial(server.port) == second.cert.serial_number
        old.sendall(request(close=True))
        assert parse(read_all(old))[0].body == b"hello"


def test_certificates_are_changed_under_load(serve):
    """New connections all the while, and old ones that go on: nobody gets an error, everybody one of the two certificates."""
    leaves = [certs.root().issue(), certs.root().issue()]
    server = serve(on_http(echo), URL, listen={"tls": opts(leaves[0])})
    serials: set[int] = set()
    faults: list[BaseException] = []
    counts, over = [0] * 4, threading.Event()

    def comes(n: int) -> None:
        ctx = context()
        try:
            while not over.is_set():
                with dial(server.port, ctx) as sock:
                    serials.add(int(sock.getpeercert()["serialNumber"], 16))
                    sock.sendall(request(close=True))
                    assert parse(read_all(sock))[0].body == b"hello"
                counts[n] += 1
        except BaseException as exc:  # noqa: BLE001  (told by the test)
            faults.append(exc)

    clients = [threading.Thread(target=comes, args=(n,)) for n in range(len(counts))]
    with dial(server.port) as old:
        for client in clients:
            client.start()
        for n in range(1, 41):
            server.listener.tls_reload(opts(leaves[n % 2]))
            old.sendall(request())
            assert read_answer(old)[0].body == b"hello"
            before = sum(counts)
            eventually(lambda before=before: sum(counts) > before or faults)
        over.set()
        for client in clients:
            client.join(DEADLINE)
    assert faults == []
    assert serials == {leaf.cert.serial_number for leaf in leaves}


def test_files_that_changed_are_read_again(serve, tmp_path):
    cert, key = tmp_path / "site.pem", tmp_path / "site.key"
    tls = TlsOpts(cert=cert, key=key)

    def write(leaf: certs.Leaf) -> certs.Leaf:
        cert.write_bytes(leaf.pem)
        key.write_bytes(leaf.key_pem)
        return leaf

    first = write(certs.root().issue())
    server = serve(on_http(echo), URL, listen={"tls": tls})
    assert serial(server.port) == first.cert.serial_number
    second = write(certs.root().issue(kind="p384"))
    server.listener.tls_reload(tls)
    assert serial(server.port) == second.cert.serial_number
    cert.write_text("junk")
    with pytest.raises(TlsError, match=r"cert: (there is no|is neither)"):
        server.listener.tls_reload(tls)
    assert serial(server.port) == second.cert.serial_number  # the old ones stay


def test_sessions_survive_a_reload_unless_other_clients_are_let_in(serve, tmp_path):
    server = serve(on_http(echo), URL, listen={"tls": opts()})
    ctx = context(leaf=certs.client(), tmp=tmp_path)
    _, session = resumes(server.port, ctx)
    server.listener.tls_reload(opts(certs.root().issue()))
    reused, session = resumes(server.port, ctx, session)
    assert reused
    server.listener.tls_reload(opts(ca=certs.root().pem))
    reused, session = resumes(server.port, ctx, session)
    assert not reused


def test_reload_is_for_listeners(serve):
    conns = Until()
    server = serve(
        lambda conn, ev, data: conns.set(conn) if ev == MG_EV_TLS_HS else None,
        "tls://127.0.0.1:0",
        listen={"tls": opts()},
    )
    with dial(server.port):
        with pytest.raises(RuntimeError, match="listener"):
            conns.get().tls_reload(opts())
        with pytest.raises(ValueError, match="certificate"):
            server.listener.tls_reload(TlsOpts())
