"""TLS servers against Python's ssl, curl, httpx and openssl; what is agreed on; what is refused, and how it is told."""

from __future__ import annotations

import contextlib
import select
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import DEADLINE, Until, eventually, on_http, parse, read_all, read_answer

from pymongoose import (
    MG_EV_ACCEPT,
    MG_EV_CONNECT,
    MG_EV_HTTP_MSG,
    MG_EV_OPEN,
    MG_EV_READ,
    MG_EV_TLS_HS,
    MG_EV_WS_MSG,
    MG_EV_WS_OPEN,
    WEBSOCKET_OP_BINARY,
    Limits,
    TlsCert,
    TlsError,
    TlsInfo,
    TlsOpts,
    build_info,
)

pytest.importorskip("cryptography")
import certs
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509 import ocsp
from tls_helpers import URL, Events, context, dial, echo, opts, request

pytestmark = pytest.mark.skipif(not build_info()["tls"], reason="a build without TLS")

# -- peers that we did not write --


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("kind", ["p256", "p384", "rsa"])
def test_python_ssl_talks_to_us(serve, version, kind):
    server = serve(on_http(echo), URL, listen={"tls": opts(certs.root().issue(kind=kind))})
    ctx = context()
    ctx.minimum_version = ctx.maximum_version = version
    with dial(server.port, ctx) as sock:
        for body in (b"one", b"two" * 1000):
            sock.sendall(request(body=body, method="POST"))
            answer, rest = read_answer(sock)
            assert (answer.status, answer.body, rest) == (200, body, b"")
        assert sock.version() == {"TLSv1_2": "TLSv1.2", "TLSv1_3": "TLSv1.3"}[version.name]


def test_the_end_is_announced(serve):
    """After the last byte comes close_notify: Python raises SSLEOFError without it."""
    server = serve(on_http(echo), URL, listen={"tls": opts()})
    with dial(server.port, suppress_ragged_eofs=False) as sock:
        sock.sendall(request(close=True))
        answer, rest = parse(read_all(sock))
        assert (answer.body, rest) == (b"hello", b"")


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl_talks_to_us(serve, tmp_path):
    (tmp_path / "ca.pem").write_bytes(certs.root().pem)
    server = serve(on_http(echo), URL, listen={"tls": opts()})
    out = subprocess.run(
        [
            "curl",
            "-sS",
            *("--cacert", tmp_path / "ca.pem", "--data-binary", "x" * 100_000),
            *(f"https://localhost:{server.port}/", f"https://localhost:{server.port}/again"),
        ],
        capture_output=True,
        timeout=DEADLINE,
        check=True,
    )
    assert out.stdout == b"x" * 200_000


def test_httpx_talks_to_us(serve):
    httpx = pytest.importorskip("httpx")
    server = serve(on_http(echo), URL, listen={"tls": opts()})
    with httpx.Client(verify=context()) as client:
        for size in (0, 10, 1 << 20):
            answer = client.post(f"https://localhost:{server.port}/", content=b"a" * size)
            assert answer.content == (b"a" * size or b"hello")


# -- order of events, what is agreed on --


def test_server_events_come_in_order(serve):
    infos: list[TlsInfo | None] = []

    def then(conn, ev, data):
        assert conn.is_tls
        if ev in (MG_EV_ACCEPT, MG_EV_TLS_HS):
            infos.append(conn.tls)
        if ev == MG_EV_HTTP_MSG:
            conn.reply(200, b"hello")

    events = Events(then)
    server = serve(events, URL, listen={"tls": opts()})
    with dial(server.port) as sock:
        sock.sendall(request(close=True))
        read_all(sock)
    events.closed.get()
    assert events.names == [
        "MG_EV_OPEN",
        "MG_EV_ACCEPT",
        "MG_EV_TLS_HS",
        "MG_EV_HTTP_MSG",
        "MG_EV_CLOSE",
    ]
    before, after = infos
    assert before is None
    assert after is not None
    assert (after.version, after.server_name, after.peer) == ("TLSv1.3", "localhost", None)
    assert (after.resumed, after.truncated) == (False, False)


def test_client_events_come_in_order_and_the_request_waits_for_the_handshake(serve):
    def then(conn, ev, data):
        if ev == MG_EV_CONNECT:
            assert conn.is_tls
            assert conn.tls is None
            conn.send(request())
        if ev == MG_EV_HTTP_MSG:
            infos.append(conn.tls)
            conn.close()

    infos: list[TlsInfo] = []
    server = serve(on_http(echo), URL, listen={"tls": opts()})
    events = Events(then)
    server.mgr.connect(f"https://localhost:{server.port}", events, tls=TlsOpts(ca=certs.root().pem))
    events.closed.get()
    assert events.names == [
        "MG_EV_OPEN",
        "MG_EV_RESOLVE",
        "MG_EV_CONNECT",
        "MG_EV_TLS_HS",
        "MG_EV_HTTP_HDRS",
        "MG_EV_HTTP_MSG",
        "MG_EV_CLOSE",
    ]
    (info,) = infos
    assert info.peer is not None
    assert info.peer.verified
    assert info.peer.sha256 == certs.server().sha256
    assert info.peer.names == ("DNS:localhost", "IP:127.0.0.1", "IP:::1")
    assert info.peer.not_after == int(certs.server().cert.not_valid_after_utc.timestamp())
    assert info.peer.not_before == int(certs.server().cert.not_valid_before_utc.timestamp())
    assert int(info.peer.serial, 16) == certs.server().cert.serial_number
    assert info.alpn == "http/1.1"


def test_tls_init_in_the_handler_serves_as_in_the_classic_api(serve):
    def handler(conn, ev, data):
        if ev == MG_EV_ACCEPT:
            conn.tls_init(opts())
            conn.tls_init(opts())  # twice is once
        elif ev == MG_EV_HTTP_MSG:
            conn.reply(200, b"hello")

    server = serve(handler, URL)
    with dial(server.port) as sock:
        sock.sendall(request(close=True))
        assert parse(read_all(sock))[0].body == b"hello"


def test_a_tls_listener_without_a_certificate_never_speaks_plain_text(serve):
    events = Events(on_http(echo))
    server = serve(events, URL)
    with socket.create_connection(("127.0.0.1", server.port), DEADLINE) as sock:
        with contextlib.suppress(ConnectionError):
            sock.sendall(request())
        assert read_all(sock) == b""
    events.closed.get()
    assert "mg_tls_init was not called" in events.errors[0]


# -- names, protocols --


def test_certificates_are_chosen_by_name(serve):
    default, exact, star, named = (
        certs.root().issue("default.test"),
        certs.root().issue(["a.example.com", "b.example.com"]),
        certs.root().issue("*.example.com"),
        certs.root().issue(["x.test", "y.test"]),
    )
    more = [TlsCert(leaf.pem, leaf.key_pem) for leaf in (exact, star)]
    more.append(TlsCert(named.pem, named.key_pem, ["x.test"]))
    server = serve(None, "tls://127.0.0.1:0", listen={"tls": opts(default, certs=more)})

    def shown(name: str | None) -> bytes:
        ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        ctx.check_hostname, ctx.verify_mode = False, ssl.CERT_NONE
        with dial(server.port, ctx, name) as sock:  # type: ignore[arg-type]
            return sock.getpeercert(binary_form=True) or b""

    want = {
        None: default,
        "default.test": default,
        "a.example.com": exact,
        "B.Example.COM": exact,
        "c.example.com": star,
        "c.c.example.com": default,
        "example.com": default,
        "x.test": named,
        "y.test": default,
        "unknown.test": default,
    }
    got = {name: ssl.DER_cert_to_PEM_cert(shown(name)).encode() for name in want}
    assert {n for n, leaf in want.items() if got[n] != leaf.pem} == set()


@pytest.mark.parametrize(
    ("offered", "alpn", "chosen"),
    [
        (["h2", "http/1.1"], None, "http/1.1"),
        (["http/1.1"], None, "http/1.1"),
        ([], None, None),
        (["b", "a"], ["a", "b"], "a"),
        (["h2"], (), None),
    ],
)
def test_protocols_are_chosen_in_our_order(serve, offered, alpn, chosen):
    server = serve(on_http(echo), URL, listen={"tls": opts(alpn=alpn)})
    ctx = context()
    if offered:
        ctx.set_alpn_protocols(offered)
    with dial(server.port, ctx) as sock:
        assert sock.selected_alpn_protocol() == chosen


def test_a_client_that_speaks_nothing_of_ours_is_told_so(serve):
    """RFC 7301 3.2: no_application_protocol."""
    server = serve(on_http(echo), URL, listen={"tls": opts()})
    ctx = context()
    ctx.set_alpn_protocols(["h2"])
    with pytest.raises(ssl.SSLError, match=r"(?i)no.application.protocol"):
        dial(server.port, ctx)


# -- peers that are slow, broken or hostile --


def test_a_slow_handshake_is_ended(serve):
    events = Events()
    limits = Limits(tls_timeout=0.05)
    server = serve(events, URL, listen={"tls": opts(), "limits": limits})
    with socket.create_connection(("127.0.0.1", server.port), DEADLINE) as sock:
        sock.sendall(b"\x16\x03\x01")
        assert read_all(sock) == b""
    events.closed.get()
    assert events.errors == ["TLS handshake timed out"]


def test_a_slow_server_is_given_up(serve):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        events = Events()
        server = serve(None, None)
        conn = server.mgr.connect(f"https://localhost:{silent.getsockname()[1]}", events)
        assert conn.is_tls
        eventually(lambda: "MG_EV_CONNECT" in events.names)
        assert "MG_EV_TLS_HS" not in events.names  # its own limit is 10 s
        conn.close()
        events.closed.get()


@pytest.mark.parametrize(
    "hello",
    [
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\x16\x03\x01\xff\xff\x01",
        b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00",
        b"\x16\x03\x01\x00\x00\x16\x03\x01\x00\x00",
        b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\xff" * 507,
        b"\x15\x03\x01\x00\x02\x02\x28",
        b"\x17\x03\x03\x00\x05hello",
        b"\x00" * 4096,
        bytes(range(256)) * 70,
    ],
)
def test_malformed_hellos_are_refused_and_others_served(serve, hello):
    events = Events(on_http(echo))
    server = serve(events, URL, listen={"tls": opts(), "limits": Limits(tls_timeout=0.2)})
    with socket.create_connection(("127.0.0.1", server.port), DEADLINE) as sock:
        with contextlib.suppress(ConnectionError):
            sock.sendall(hello)
        answer = read_all(sock)
    assert answer[:1] in (b"", b"\x15")  # an alert, if anything
    events.closed.get()
    assert len(events.errors) == 1
    with dial(server.port) as good:
        good.sendall(request(close=True))
        assert parse(read_all(good))[0].body == b"hello"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_old_versions_are_refused(serve, version):
    events = Events()
    server = serve(events, URL, listen={"tls": opts()})
    ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    ctx.check_hostname, ctx.verify_mode = False, ssl.CERT_NONE
    with pytest.warns(DeprecationWarning, match="deprecated"):
        ctx.minimum_version = ctx.maximum_version = version
    ctx.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises(ssl.SSLError):
        dial(server.port, ctx)
    events.closed.get()
    assert "unsupported protocol" in events.errors[0]


class Tunnel:
    """A client's TLS by hand: what goes over the wire may be changed on its way."""

    def __init__(self, port: int) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), DEADLINE)
        self.inward, self.outward = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context().wrap_bio(self.inward, self.outward, server_hostname="localhost")
        while True:
            try:
                self.tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                self.sock.sendall(self.outward.read())
                self.inward.write(self.sock.recv(65536))
        self.sock.sendall(self.outward.read())

    def seal(self, data: bytes) -> bytearray:
        self.tls.write(data)
        return bytearray(self.outward.read())


def test_an_altered_record_kills_the_session(serve):
    events = Events(on_http(echo))
    server = serve(events, URL, listen={"tls": opts()})
    tunnel = Tunnel(server.port)
    with tunnel.sock:
        record = tunnel.seal(request())
        record[-1] ^= 1
        tunnel.sock.sendall(record + tunnel.seal(request()))
        read_all(tunnel.sock)
    events.closed.get()
    assert "MG_EV_HTTP_MSG" not in events.names
    assert "bad record mac" in events.errors[0]


def test_a_request_that_is_cut_off_is_not_served(serve):
    events = Events(on_http(echo))
    server = serve(events, URL, listen={"tls": opts()})
    tunnel = Tunnel(server.port)
    with tunnel.sock:
        tunnel.sock.sendall(tunnel.seal(request(method="POST", body=b"x" * 100)[:-1]))
    events.closed.get()
    assert "MG_EV_HTTP_MSG" not in events.names


@pytest.mark.parametrize("polite", [True, False])
def test_a_body_without_length_is_whole_only_with_close_notify(serve, polite):
    """RFC 9112 9.8: an end that TLS did not announce is an incomplete message."""
    raw, ready = socket.create_server(("127.0.0.1", 0)), Until()

    def old_server() -> None:
        ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        ctx.load_cert_chain(ready.get())
        sock = ctx.wrap_socket(raw.accept()[0], server_side=True)
        while b"\r\n\r\n" not in sock.recv(65536):
            pass
        sock.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nbody")
        if polite:
            sock = sock.unwrap()
        sock.close()

    thread = threading.Thread(target=old_server, daemon=True)
    thread.start()
    bodies: list[bytes] = []

    def then(conn, ev, data):
        if ev == MG_EV_CONNECT:
            conn.send(request())
        if ev == MG_EV_HTTP_MSG:
            bodies.append(data.body_bytes)

    events = Events(then)
    server = serve(None, None)
    url = f"https://localhost:{raw.getsockname()[1]}"
    server.mgr.connect(url, events, tls=TlsOpts(ca=certs.root().pem))
    with combined(certs.server()) as file:
        ready.set(file)
        events.closed.get()
    thread.join(DEADLINE)
    raw.close()
    if polite:
        assert (bodies, events.errors) == ([b"body"], [])
    else:
        assert (bodies, events.errors) == ([], ["connection closed inside of a response"])


@contextlib.contextmanager
def combined(leaf: certs.Leaf) -> Iterator[str]:
    with tempfile.NamedTemporaryFile(suffix=".pem") as file:
        file.write(leaf.pem + leaf.key_pem)
        file.flush()
        yield file.name


def everything(sock: ssl.SSLSocket) -> None:
    while sock.recv(1000):
        pass


def test_an_answer_that_is_cut_has_no_polite_end(serve):
    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_MSG:
            with conn.start_response(200) as body:
                body.write("half")
                raise LookupError("no more")

    server = serve(handler, URL, listen={"tls": opts()})
    with dial(server.port, suppress_ragged_eofs=False) as sock:
        sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
        with pytest.raises((ssl.SSLEOFError, ConnectionResetError)):
            everything(sock)
    server.expect_error(LookupError)


# -- bytes in all sizes --


def test_large_bodies_go_both_ways(serve):
    body = bytes(range(256)) * 4096 * 8  # 8 MiB
    server = serve(on_http(echo), URL, listen={"tls": opts(), "limits": Limits(max_body=16 << 20)})
    with dial(server.port) as sock:
        sock.setblocking(False)  # one thread: Python's SSL objects are not for two at once
        left, got = memoryview(request(body=body, method="POST", close=True)), bytearray()
        while True:
            select.select([sock], [sock] if left else [], [], DEADLINE)
            with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLWantWriteError):
                while left:
                    left = left[sock.send(left[:100_000]) :]
            with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLWantWriteError):
                while data := sock.recv(1 << 20):
                    got += data
                break
        answer, rest = parse(bytes(got))
        assert (answer.body == body, rest) == (True, b"")


def test_pipelined_requests_are_answered_in_order(serve):
    server = serve(on_http(echo), URL, listen={"tls": opts()})
    bodies = [b"%d" % i * (i + 1) for i in range(200)]
    with dial(server.port) as sock:
        sock.sendall(b"".join(request(body=b, method="POST") for b in bodies))
        have = b""
        for body in bodies:
            answer, have = read_answer(sock, have=have)
            assert answer.body == body


def test_a_request_may_come_byte_by_byte(serve):
    server = serve(on_http(echo), URL, listen={"tls": opts()})
    with dial(server.port) as sock:
        for byte in request(body=b"xyz", method="POST", close=True):
            sock.sendall(bytes([byte]))
        assert parse(read_all(sock))[0].body == b"xyz"


def test_many_small_writes_share_records(serve):
    """A thousand pieces of one byte are far fewer than a thousand records."""

    def handler(conn, ev, data):
        if ev == MG_EV_TLS_HS:
            for i in range(5000):
                conn.send(bytes([i % 251]))
            conn.drain()

    server = serve(handler, "tls://127.0.0.1:0", listen={"tls": opts()})
    tunnel = Tunnel(server.port)
    with tunnel.sock:
        raw = read_all(tunnel.sock)
        tunnel.inward.write(raw)
        got = b""
        with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLZeroReturnError):
            while part := tunnel.tls.read(65536):
                got += part
        assert got == bytes(i % 251 for i in range(5000))
        assert len(raw) < 5000 + 10 * 30 + 2000  # tickets, too


def test_a_client_that_stops_sending_still_reads(serve):
    """Its close_notify ends its side: what was asked before is answered."""
    server = serve(on_http(echo), URL, listen={"tls": opts()})
    with dial(server.port) as sock:
        sock.sendall(request())
        raw = socket.socket(fileno=socket.dup(sock.fileno()))
        raw.shutdown(socket.SHUT_WR)
        raw.close()
        with contextlib.suppress(ConnectionResetError):
            assert parse(read_all(sock))[0].body == b"hello"


def test_output_over_the_high_water_mark_drains(serve):
    drained = Until()

    def handler(conn, ev, data):
        if ev == MG_EV_TLS_HS:
            conn.on_drain = lambda: drained.set(conn.is_full)
            conn.send(b"x" * (12 << 20))
            assert conn.is_full

    server = serve(handler, "tls://127.0.0.1:0", listen={"tls": opts()})
    with dial(server.port) as sock:
        left = 12 << 20
        while left > 0:
            left -= len(sock.recv(1 << 20))
        assert left == 0
        assert drained.get() is False


# -- options --


def test_options_are_bytes_and_do_not_show_the_key():
    one = TlsOpts("ca", b"cert", Path("key.pem"), "name")
    assert (one.ca, one.cert, one.key, one.name) == (b"ca", b"cert", b"key.pem", b"name")
    assert one.skip_verification is False
    assert TlsOpts().cert == b""
    assert TlsOpts(None, None, None, None, True).skip_verification is True
    assert "key.pem" not in repr(one)
    assert one == TlsOpts("ca", b"cert", "key.pem", "name")
    assert TlsOpts(name="bücher.example").name == b"xn--bcher-kva.example"


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        (TypeError, {"cert": 5}),
        (TypeError, {"name": 5}),
        (TypeError, {"certs": ["a.pem"]}),
        (TypeError, {"alpn": [1]}),
        (ValueError, {"alpn": ["a,b"]}),
        (ValueError, {"client_auth": "maybe"}),
        (ValueError, {"min_version": "1.1"}),
    ],
)
def test_wrong_options_raise_at_once(kind, wrong):
    with pytest.raises(kind, match=next(iter(wrong))):
        TlsOpts(**wrong)


def test_unusable_options_raise_when_they_are_used(serve):
    server = serve(None, None)
    good = certs.server()
    for wrong, text in [
        (TlsOpts(cert=good.pem, key=certs.client().key_pem), "key values mismatch"),
        (TlsOpts(cert=good.pem, key=b"-----BEGIN PRIVATE KEY-----\nAAAA\n"), "key: "),
        (TlsOpts(cert=good.pem), "key: there is no private key in it"),
        (TlsOpts(cert="/does/not/exist.pem"), "/does/not/exist.pem: No such file"),
        (opts(ca=b"-----BEGIN CERTIFICATE-----\n\xff\x00\n-----END CERTIFICATE-----\n"), "ca: "),
        (opts(ciphers="none"), "ciphers: no cipher match"),
        (opts(client_auth="required"), "ca: client certificates"),
        (opts(ocsp=b"\x30\x00"), "ocsp: "),
        (TlsOpts(cert="a\nb"), "cert: is neither PEM text nor a path"),
    ]:
        with pytest.raises(TlsError, match=text):
            server.listen(URL, tls=wrong)
    with pytest.raises(TlsError, match="ca: "):
        server.mgr.connect("https://127.0.0.1:1", tls=TlsOpts(ca="nothing.pem"))
    with pytest.raises(ValueError, match="needs a certificate"):
        server.listen(URL, tls=TlsOpts())
    with pytest.raises(ValueError, match="not for TLS"):
        server.listen("http://127.0.0.1:0", tls=opts())
    with pytest.raises(TypeError, match="TlsOpts"):
        server.listen(URL, tls={"cert": "a.pem"})


def test_an_encrypted_key_is_not_asked_for_at_the_terminal(serve):
    leaf = certs.server()
    secret = leaf.key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"password"),
    )
    server = serve(None, None)
    with pytest.raises(TlsError, match="it is encrypted"):
        server.listen(URL, tls=TlsOpts(cert=leaf.pem, key=secret))


def test_certificate_and_key_may_be_in_one_file(serve, tmp_path):
    (tmp_path / "both.pem").write_bytes(certs.server().key_pem + certs.server().pem)
    server = serve(on_http(echo), URL, listen={"tls": TlsOpts(cert=str(tmp_path / "both.pem"))})
    with dial(server.port) as sock:
        sock.sendall(request(close=True))
        assert parse(read_all(sock))[0].body == b"hello"


def test_tls_1_3_only(serve):
    server = serve(on_http(echo), URL, listen={"tls": opts(min_version="1.3")})
    ctx = context()
    ctx.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(ssl.SSLError):
        dial(server.port, ctx)
    with dial(server.port) as sock:
        assert sock.version() == "TLSv1.3"


def test_a_file_goes_out_with_and_without_the_kernels_help(serve):
    body = bytes(range(256)) * 1024  # answered with repeatedly: it is sent from a file in memory
    for ktls in (False, True):
        server = serve(
            on_http(lambda conn, message: conn.reply(200, body)),
            URL,
            listen={"tls": opts(ktls=ktls)},
        )
        with dial(server.port) as sock:
            for _ in range(8):
                sock.sendall(request())
                assert read_answer(sock)[0].body == body


def test_an_ocsp_response_is_stapled(serve):
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    leaf, ca = certs.server(), certs.root()
    response = (
        ocsp.OCSPResponseBuilder()
        .add_response(
            leaf.cert,
            ca.cert,
            hashes.SHA256(),
            ocsp.OCSPCertStatus.GOOD,
            certs.NOW,
            certs.NOW + certs.DAY,
            None,
            None,
        )
        .responder_id(ocsp.OCSPResponderEncoding.HASH, ca.cert)
        .sign(ca.key, hashes.SHA256())
        .public_bytes(serialization.Encoding.DER)
    )
    server = serve(None, "tls://127.0.0.1:0", listen={"tls": opts(ocsp=response)})
    out = subprocess.run(
        ["openssl", "s_client", "-status", "-connect", f"127.0.0.1:{server.port}"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=DEADLINE,
        check=False,
    )
    assert b"OCSP Response Status: successful" in out.stdout
    assert b"Cert Status: good" in out.stdout


def test_starttls(serve):
    def handler(conn, ev, data):
        if ev == MG_EV_OPEN and not conn.is_listening:
            conn.send(b"220 hello\r\n")
        elif ev == MG_EV_READ:
            line = conn.read()
            if line == b"STARTTLS\r\n":
                conn.send(b"220 go ahead\r\n")
                conn.tls_init(opts())
            else:
                conn.send(line)

    server = serve(handler, "tcp://127.0.0.1:0")
    sock = socket.create_connection(("127.0.0.1", server.port), DEADLINE)
    lines = sock.makefile("rb")
    assert lines.readline() == b"220 hello\r\n"
    sock.sendall(b"STARTTLS\r\n")
    assert lines.readline() == b"220 go ahead\r\n"
    with context().wrap_socket(sock, server_hostname="localhost") as tls:
        tls.sendall(b"secret")
        assert tls.recv(100) == b"secret"


def test_tls_free_does_not_go_on_in_plain_text(serve):
    def handler(conn, ev, data):
        if ev == MG_EV_TLS_HS:
            conn.send(b"sealed")
            conn.tls_free()

    server = serve(handler, "tls://127.0.0.1:0", listen={"tls": opts()})
    with dial(server.port, suppress_ragged_eofs=False) as sock:
        assert read_all(sock) == b"sealed"


# -- WebSocket --


def test_websockets_go_through_tls(serve):
    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_MSG:
            conn.ws_upgrade(data)
        elif ev == MG_EV_WS_MSG:
            conn.ws_send(data)

    got = Until()

    def client(conn, ev, data):
        if ev == MG_EV_WS_OPEN:
            conn.ws_send(b"x" * 100_000, WEBSOCKET_OP_BINARY)
        elif ev == MG_EV_WS_MSG:
            got.set(bytes(data.data))

    server = serve(handler, "wss://127.0.0.1:0", listen={"tls": opts()})
    url = f"wss://localhost:{server.port}/"
    server.mgr.ws_connect(url, client, tls=TlsOpts(ca=certs.root().pem))
    assert got.get() == b"x" * 100_000


# -- Manager.request() --


def test_request_verifies_resumes_and_keeps_connections(serve):
    server = serve(on_http(echo), URL, listen={"tls": opts()})
    url = f"https://localhost:{server.port}/"
    trusting = TlsOpts(ca=certs.root().pem)
    bodies = [b"x" * n for n in (10, 100_000, 1 << 20)]
    for body in bodies:
        answer = server.mgr.request("POST", url, body=body, tls=trusting).result(DEADLINE)
        assert answer.body == body
    assert server.mgr.stats().accepted == 1
    with pytest.raises(TlsError, match="certificate verify failed"):
        server.mgr.request("GET", url).result(DEADLINE)


def test_request_goes_through_a_tunnel(serve):
    """CONNECT in plain text, TLS with the server behind the proxy."""
    server = serve(on_http(echo), URL, listen={"tls": opts()})
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def proxy() -> None:
            client = listener.accept()[0]
            asked = b""
            while b"\r\n\r\n" not in asked:
                asked += client.recv(1000)
            assert asked.startswith(b"CONNECT localhost:%d HTTP/1.1" % server.port)
            behind = socket.create_connection(("127.0.0.1", server.port), DEADLINE)
            client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            back = threading.Thread(target=pipe, args=(behind, client))
            back.start()
            pipe(client, behind)
            back.join()
            client.close()
            behind.close()

        def pipe(a: socket.socket, b: socket.socket) -> None:
            with contextlib.suppress(OSError):
                while data := a.recv(65536):
                    b.sendall(data)
            with contextlib.suppress(OSError):
                b.shutdown(socket.SHUT_WR)

        thread = threading.Thread(target=proxy, daemon=True)
        thread.start()
        answer = server.mgr.request(
            "GET",
            f"https://localhost:{server.port}/",
            proxy=f"http://127.0.0.1:{listener.getsockname()[1]}",
            tls=TlsOpts(ca=certs.root().pem),
        ).result(DEADLINE)
        assert answer.body == b"hello"
        server.stop()  # both ends of the tunnel
        thread.join(DEADLINE)
