"""Whom our TLS client believes and whom it refuses, and what a server learns of a client's certificate."""

from __future__ import annotations

import ssl
from typing import Any

import pytest
from conftest import Until, on_http, parse, read_all

from pymongoose import (
    MG_EV_CONNECT,
    MG_EV_HTTP_MSG,
    MG_EV_READ,
    MG_EV_TLS_HS,
    TlsInfo,
    TlsOpts,
    build_info,
)

pytest.importorskip("cryptography")
import certs
from tls_helpers import URL, Events, context, dial, echo, opts, request

pytestmark = pytest.mark.skipif(not build_info()["tls"], reason="a build without TLS")

# -- what our client refuses --


def refused(
    serve: Any, leaf: certs.Leaf, *, host: str = "localhost", ca: bytes | None = None
) -> str:
    """Text of the error, after it was made sure that not a byte of the request went out."""
    got: list[bytes] = []

    def serving(conn, ev, data):
        if ev == MG_EV_READ:
            got.append(conn.recv_data())

    server = serve(serving, "tls://127.0.0.1:0", listen={"tls": opts(leaf)})
    events = Events(lambda conn, ev, data: conn.send(b"secret") if ev == MG_EV_CONNECT else None)
    server.mgr.connect(
        f"tls://{host}:{server.port}", events, tls=TlsOpts(ca=ca or certs.root().pem)
    )
    events.closed.get()
    assert events.names[-2:] == ["MG_EV_ERROR", "MG_EV_CLOSE"]
    assert "MG_EV_TLS_HS" not in events.names
    assert got == []
    return events.errors[0]


def test_our_client_refuses_an_expired_certificate(serve):
    leaf = certs.root().issue(begins=-9 * certs.DAY, ends=-certs.DAY)
    assert "certificate has expired" in refused(serve, leaf)


def test_our_client_refuses_a_certificate_of_the_future(serve):
    leaf = certs.root().issue(begins=certs.DAY, ends=9 * certs.DAY)
    assert "certificate is not yet valid" in refused(serve, leaf)


def test_our_client_refuses_a_certificate_for_another_host(serve):
    assert "hostname mismatch" in refused(serve, certs.root().issue("example.com"))


def test_our_client_refuses_a_certificate_for_another_address(serve):
    leaf = certs.root().issue(["localhost", "192.0.2.1"])
    assert "IP address mismatch" in refused(serve, leaf, host="127.0.0.1")


def test_a_name_in_the_subject_is_not_looked_at(serve):
    """RFC 9525 2: names are subject alternative names."""
    assert "hostname mismatch" in refused(serve, certs.root().issue([], common_name="localhost"))


def test_our_client_refuses_a_self_signed_certificate(serve):
    alone = certs.Authority("alone")
    leaf = alone.issue()
    assert "unable to get local issuer" in refused(serve, leaf)
    assert "self-signed certificate" in refused(serve, certs.Leaf(alone.cert, alone.key))


def test_our_client_refuses_an_unknown_authority(serve):
    assert "unable to get local issuer" in refused(serve, certs.other_root().issue())


def test_our_client_refuses_a_certificate_for_another_use(serve):
    assert "unsuitable certificate purpose" in refused(serve, certs.root().issue(use="client"))


def test_our_client_refuses_a_wildcard_over_two_labels(serve):
    """RFC 6125 6.4.3: the star is one label."""
    leaf = certs.root().issue("*.example.com")
    server = serve(None, "tls://127.0.0.1:0", listen={"tls": opts(leaf)})
    verdicts = {}
    for name in ("a.example.com", "a.b.example.com", "example.com"):
        events = Events(lambda conn, ev, data: conn.close() if ev == MG_EV_TLS_HS else None)
        tls = TlsOpts(ca=certs.root().pem, name=name)
        server.mgr.connect(f"tls://127.0.0.1:{server.port}", events, tls=tls)
        events.closed.get()
        verdicts[name] = events.errors
    assert verdicts.pop("a.example.com") == []
    assert all("hostname mismatch" in text for (text,) in verdicts.values())


def test_our_client_refuses_a_forged_signature(serve):
    leaf = certs.root().issue(signer=certs.other_root().key)
    assert "signature failure" in refused(serve, leaf)


def test_our_client_refuses_a_chain_with_a_hole(serve):
    middle = certs.Authority("middle", certs.root())
    leaf = middle.issue()
    assert "unable to get local issuer" in refused(serve, certs.Leaf(leaf.cert, leaf.key))


def test_our_client_refuses_a_leaf_that_signs(serve):
    """A certificate that is no authority cannot make another."""
    leaf = certs.root().issue(common_name="no authority")
    forger = certs.Authority("forger")
    forger.cert, forger.key, forger.parent, forger.chain = leaf.cert, leaf.key, certs.root(), ()
    assert "invalid CA certificate" in refused(serve, forger.issue())


def test_our_client_takes_a_whole_chain(serve):
    leaf = certs.Authority("middle", certs.root()).issue()
    server = serve(None, "tls://127.0.0.1:0", listen={"tls": opts(leaf)})
    events = Events(lambda conn, ev, data: conn.close() if ev == MG_EV_TLS_HS else None)
    tls = TlsOpts(ca=certs.root().pem)
    server.mgr.connect(f"tls://localhost:{server.port}", events, tls=tls)
    events.closed.get()
    assert events.errors == []


def test_without_options_the_system_is_trusted_and_nobody_else(serve):
    events = Events()
    server = serve(on_http(echo), URL, listen={"tls": opts()})
    server.mgr.connect(f"https://localhost:{server.port}", events)
    events.closed.get()
    assert "certificate verify failed" in events.errors[0]


def test_verification_is_off_only_when_that_is_said(serve):
    infos: list[TlsInfo] = []

    def then(conn, ev, data):
        if ev == MG_EV_TLS_HS:
            infos.append(conn.tls)
            conn.close()

    events = Events(then)
    leaf = certs.other_root().issue("elsewhere")
    server = serve(None, "tls://127.0.0.1:0", listen={"tls": opts(leaf)})
    tls = TlsOpts(skip_verification=True)
    server.mgr.connect(f"tls://localhost:{server.port}", events, tls=tls)
    events.closed.get()
    assert events.errors == []
    assert infos[0].peer is not None
    assert not infos[0].peer.verified


def test_what_is_agreed_on_can_be_read_from_any_thread(serve):
    conns = Until()
    server = serve(
        lambda conn, ev, data: conns.set(conn) if ev == MG_EV_TLS_HS else None,
        "tls://127.0.0.1:0",
        listen={"tls": opts()},
    )
    with dial(server.port):
        assert conns.get().tls.version == "TLSv1.3"
    assert server.listener.is_tls
    assert server.listener.tls is None


# -- client certificates --


def shaken(sock: ssl.SSLSocket) -> bytes:
    """TLS 1.3 tells a client that it is not let in when it reads."""
    sock.sendall(request(close=True))
    return read_all(sock)


def who(conn: Any, message: Any) -> None:
    peer = conn.tls.peer
    conn.reply(200, b"nobody" if peer is None else f"{peer.subject} {peer.verified}".encode())


def test_a_client_certificate_gives_its_identity(serve, tmp_path):
    seen = []

    def handler(conn, message):
        seen.append(conn.tls.peer)
        conn.reply(204)

    server = serve(on_http(handler), URL, listen={"tls": opts(ca=certs.root().pem)})
    with dial(server.port, context(leaf=certs.client(), tmp=tmp_path)) as sock:
        shaken(sock)
    (peer,) = seen
    assert peer.subject == "CN=alice,O=pymongoose tests"
    assert peer.issuer == "CN=root,O=pymongoose tests"
    assert peer.names == ("email:alice@example.com", "URI:spiffe://example/alice")
    assert peer.verified
    assert peer.sha256 == certs.client().sha256
    assert "der" not in repr(peer)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize(
    ("auth", "shown", "outcome"),
    [
        ("none", None, b"nobody"),
        ("optional", None, b"nobody"),
        ("optional", "good", b"CN=alice,O=pymongoose tests True"),
        ("optional", "unknown", None),
        ("required", None, None),
        ("required", "good", b"CN=alice,O=pymongoose tests True"),
        ("required", "unknown", None),
        ("required", "expired", None),
        ("required", "server", None),
        (None, None, None),
        (None, "good", b"CN=alice,O=pymongoose tests True"),
    ],
)
def test_client_certificates(serve, tmp_path, version, auth, shown, outcome):
    leaf = {
        None: lambda: None,
        "good": certs.client,
        "unknown": lambda: certs.other_root().issue("a@b", use="client"),
        "expired": lambda: certs.root().issue("a@b", use="client", ends=-certs.DAY / 2),
        "server": certs.server,
    }[shown]()
    events = Events(on_http(who))
    tls = opts(ca=certs.root().pem, client_auth=auth)
    server = serve(events, URL, listen={"tls": tls})
    ctx = context(leaf=leaf, tmp=tmp_path)
    ctx.minimum_version = ctx.maximum_version = version
    if outcome is not None:
        with dial(server.port, ctx) as sock:
            assert parse(shaken(sock))[0].body == outcome
    else:
        with pytest.raises(ssl.SSLError, match="alert"), dial(server.port, ctx) as sock:
            assert shaken(sock) == b""
        events.closed.get()
        assert "MG_EV_HTTP_MSG" not in events.names
        assert len(events.errors) == 1


def test_our_client_shows_its_certificate(serve):
    bodies = Until()
    server = serve(on_http(who), URL, listen={"tls": opts(ca=certs.root().pem)})

    def asking(conn, ev, data):
        if ev == MG_EV_CONNECT:
            conn.send(request())
        if ev == MG_EV_HTTP_MSG:
            bodies.set(data.body_bytes)

    server.mgr.connect(
        f"https://localhost:{server.port}", asking, tls=opts(certs.client(), ca=certs.root().pem)
    )
    assert bodies.get() == b"CN=alice,O=pymongoose tests True"
