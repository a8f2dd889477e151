"""TLS at its edges: keys that must not show, names that must not be cut, handshakes that never end, a second tls_init()."""

from __future__ import annotations

import contextlib
import shutil
import socket
import ssl
import subprocess
import threading
from typing import Any

import pytest
from conftest import DEADLINE, Until, on_http, read_all

from pymongoose import (
    MG_EV_CONNECT,
    MG_EV_ERROR,
    MG_EV_OPEN,
    MG_EV_READ,
    MG_EV_TLS_HS,
    Limits,
    TimedOut,
    TlsCert,
    TlsError,
    TlsOpts,
    build_info,
)

pytest.importorskip("cryptography")
import certs
from test_tls import combined
from tls_helpers import URL, Events, context, dial, echo, opts

pytestmark = pytest.mark.skipif(not build_info()["tls"], reason="a build without TLS")


# -- secrets --


def test_a_key_beside_its_certificate_is_not_shown():
    leaf = certs.server()
    both = leaf.pem + leaf.key_pem
    secret = leaf.key_pem.splitlines()[1].decode()
    for shown in (
        repr(TlsOpts(cert=both)),
        repr(TlsCert(both)),
        repr(TlsOpts(certs=[TlsCert(both)])),
        repr(TlsOpts(ca=both)),
    ):
        assert secret not in shown
        assert len(shown) < 2000


@pytest.mark.parametrize("wrong", ["ca", "cert", "ocsp"])
def test_a_key_in_the_wrong_place_is_not_repeated(serve, wrong):
    server = serve(None, None)
    key = certs.server().key_pem
    bare = b"".join(key.splitlines()[1:-1])  # without the lines that say what it is
    for text in (key, bare):
        given = {"cert": certs.server().pem, "key": key, wrong: text}
        with pytest.raises(TlsError) as caught:
            server.listen(URL, tls=TlsOpts(**given))
        assert bare[:20].decode() not in str(caught.value)
        assert bare[-20:].decode() not in str(caught.value)


# -- names --


@pytest.mark.parametrize(
    "name", ["localhost\0.evil.example", b"localhost\0", "a" * 256, ".example"]
)
def test_cve_2024_42383_a_name_that_would_be_cut_is_refused(name):
    """What is behind a NUL or beyond the length is part of the name; a dot in front would stand for all names below."""
    with pytest.raises(ValueError, match="name: "):
        TlsOpts(name=name)


def test_a_name_given_to_tls_init_is_not_cut_either(serve):
    server = serve(on_http(echo), URL, listen={"tls": opts()})
    raised = Until()

    def asking(conn: Any, ev: int, data: Any) -> None:
        if ev == MG_EV_CONNECT:
            try:
                conn.tls_init(TlsOpts(ca=certs.root().pem), "localhost\0.evil.example")
            except ValueError as exc:
                raised.set(exc)
                conn.close()
        elif ev in (MG_EV_TLS_HS, MG_EV_ERROR):
            raised.set(None)

    server.mgr.connect(f"tcp://127.0.0.1:{server.port}", asking)
    assert "name" in str(raised.get())


# -- handshakes that never end --


def test_starttls_has_a_deadline_too(serve):
    def then(conn: Any, ev: int, data: Any) -> None:
        if ev == MG_EV_READ and not conn.is_tls:
            conn.read()
            conn.tls_init(opts())

    events = Events(then)
    server = serve(events, "tcp://127.0.0.1:0", listen={"limits": Limits(tls_timeout=0.05)})
    with server.connect() as sock:
        sock.sendall(b"STARTTLS")
        assert read_all(sock) == b""
    events.closed.get()
    assert events.errors == ["TLS handshake timed out"]


@contextlib.contextmanager
def silent(first: bytes = b"", tls: bool = False) -> Any:
    """A server that takes one connection, says `first`, shakes hands if told to, and nothing after that."""
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener, combined(certs.server()) as file:

        def run() -> None:
            sock = listener.accept()[0]
            with contextlib.suppress(OSError):
                if first:
                    sock.recv(10_000)
                    sock.sendall(first)
                if tls:
                    ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                    ctx.load_cert_chain(file)
                    sock = ctx.wrap_socket(sock, server_side=True)
                over.wait(DEADLINE)
            sock.close()

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            over.set()
            thread.join(DEADLINE)


def test_connect_timeout_covers_the_handshake(serve):
    server = serve(None, None)
    with silent() as port:
        asked = server.mgr.request("GET", f"https://localhost:{port}/", connect_timeout=0.1)
        with pytest.raises(TimedOut, match="handshake"):
            asked.result(5)


def test_connect_timeout_covers_the_handshake_behind_a_proxy(serve):
    server = serve(None, None)
    with silent(b"HTTP/1.1 200 OK\r\n\r\n") as port:
        asked = server.mgr.request(
            "GET", "https://localhost:1/", connect_timeout=0.1, proxy=f"http://127.0.0.1:{port}"
        )
        with pytest.raises(TimedOut, match="handshake"):
            asked.result(5)


# -- a second tls_init() --


def test_tls_within_tls_is_an_error(serve):
    def then(conn: Any, ev: int, data: Any) -> None:
        if ev == MG_EV_TLS_HS:
            conn.tls_init(opts())

    events = Events(then)
    server = serve(events, "tls://127.0.0.1:0", listen={"tls": opts()})
    with dial(server.port) as sock:
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            sock.sendall(b"hello")
            read_all(sock)
        events.closed.get()
    assert events.errors == ["TLS is spoken here already"]


# -- what is not offered --


def test_finite_field_groups_are_not_offered(serve):
    """CVE-2002-20001: a client makes the server compute in 8192 bits for a few bytes of its own."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    server = serve(None, "tls://127.0.0.1:0", listen={"tls": opts()})
    at = f"127.0.0.1:{server.port}"
    for group, offered in [
        ("X25519", True),
        ("P-256", True),
        ("P-384", True),
        ("ffdhe2048", False),
    ]:
        out = subprocess.run(
            ["openssl", "s_client", "-tls1_3", "-groups", group, "-connect", at],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=DEADLINE,
            check=False,
        )
        assert (b"New, TLSv1.3, Cipher is TLS_" in out.stdout) is offered, group


# -- clients that show what they should not have --


def _forged() -> certs.Leaf:
    return certs.root().issue("a@b", use="client", signer=certs.other_root().key)


def _self_signed() -> certs.Leaf:
    mine = certs.Authority("alice")
    return certs.Leaf(mine.cert, mine.key)


def _signed_by_a_leaf() -> certs.Leaf:
    leaf = certs.client()
    fake = certs.Authority("fake")
    fake.cert, fake.key, fake.parent = leaf.cert, leaf.key, certs.root()
    return fake.issue("mallory@example.com", use="client")


@pytest.mark.parametrize(
    "shown",
    [
        lambda: certs.root().issue("a@b", use="client", begins=certs.DAY),
        _forged,
        lambda: certs.root().issue("a@b", use="client", kind="p384", signer=certs.other_root().key),
        _self_signed,
        _signed_by_a_leaf,
    ],
    ids=["early", "forged", "forged p384", "self-signed", "signed by a leaf"],
)
def test_cve_2026_5246_no_forged_client_comes_in(serve, tmp_path, shown):
    """Nor by CVE-2026-73251: with a bundle of authorities."""
    events = Events(on_http(echo))
    bundle = certs.other_root().issue("x").pem + certs.root().pem
    server = serve(events, URL, listen={"tls": opts(ca=bundle)})
    ctx = context(leaf=shown(), tmp=tmp_path)
    with contextlib.suppress(ssl.SSLError, ConnectionError), dial(server.port, ctx) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert read_all(sock) == b""
    events.closed.get()
    assert "MG_EV_HTTP_MSG" not in events.names
    assert "MG_EV_TLS_HS" not in events.names


def test_what_is_said_in_open_is_sealed(serve):
    """A program that greets too early greets nobody in plain text."""

    def greet(conn: Any, ev: int, data: Any) -> None:
        if ev == MG_EV_OPEN and not conn.is_listening:
            conn.send(b"220 hello\r\n")

    server = serve(greet, "tls://127.0.0.1:0", listen={"tls": opts()})
    with dial(server.port) as sock:
        assert sock.recv(100) == b"220 hello\r\n"
