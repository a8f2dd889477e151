"""Who asked, seen through proxies: Forwarded (RFC 7239) and X-Forwarded-*, from trusted peers and from nobody else."""

from __future__ import annotations

import gc
import socket

import pytest
from conftest import DEADLINE, on_http, read_all

from pymongoose import Manager

X = ("x-forwarded-for", "x-forwarded-proto", "x-forwarded-host")
US = "127.0.0.1"


@pytest.fixture
def seen_as(serve):
    """seen_as(fields, ...) -> (client address, scheme, host) as the handler saw them."""

    def ask(fields="", *, trusted=(US,), headers=X, target="/", host="site.example"):
        seen = []

        def handle(conn, msg):
            seen.append(msg)
            conn.reply(200)

        server = serve(
            on_http(handle), listen={"trusted_proxies": trusted, "trusted_headers": headers}
        )
        server.talk(
            f"GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{fields}\r\n".encode(
                "latin-1"
            )
        )
        (msg,) = seen
        return (msg.client_addr[0] if msg.client_addr else None, msg.scheme, msg.host)

    return ask


SPOOF = "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\nForwarded: for=6.6.6.6;proto=https;host=evil\r\n"


def test_without_proxies_the_connection_and_the_host_field_count(seen_as):
    assert seen_as() == (US, "http", "site.example")


@pytest.mark.parametrize("headers", [X, ("forwarded",)])
def test_fields_of_a_peer_that_is_not_trusted_are_ignored(seen_as, headers):
    assert seen_as(SPOOF, trusted=["10.0.0.0/8"], headers=headers) == (US, "http", "site.example")
    assert seen_as(SPOOF, trusted=[], headers=headers) == (US, "http", "site.example")


def test_fields_that_were_not_named_are_ignored(seen_as):
    assert seen_as(SPOOF, headers=["x-forwarded-for"]) == ("6.6.6.6", "http", "site.example")
    assert seen_as(SPOOF, headers=["x-forwarded-proto"]) == (US, "https", "site.example")


@pytest.mark.parametrize(
    ("fields", "client"),
    [
        ("X-Forwarded-For: 203.0.113.7", "203.0.113.7"),
        (
            "X-Forwarded-For: 6.6.6.6, 203.0.113.7",
            "203.0.113.7",
        ),  # what the client wrote is on the left
        ("X-Forwarded-For: 6.6.6.6, 203.0.113.7, 10.1.1.1", "203.0.113.7"),
        (
            "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 203.0.113.7\r\nX-Forwarded-For: 10.0.0.1",
            "203.0.113.7",
        ),
        ("X-Forwarded-For: 10.0.0.2, 10.0.0.1", "10.0.0.2"),
        ("X-Forwarded-For: 203.0.113.7:4711", "203.0.113.7"),
        ("X-Forwarded-For: 2001:db8::1", "2001:db8:0:0:0:0:0:1"),
        ("X-Forwarded-For: [2001:db8::1]:80", "2001:db8:0:0:0:0:0:1"),
        ("X-Forwarded-For: 203.0.113.7, , ", "203.0.113.7"),
        ("X-Forwarded-For: 203.0.113.7, unknown", None),
        ("X-Forwarded-For: 203.0.113.7, localhost", None),
        ("X-Forwarded-For: 203.0.113.7, 1.2.3.4.5", None),
        ("X-Forwarded-For: 203.0.113.7, 1.2.3.4:99999", None),
        ("X-Forwarded-For: ", US),
    ],
)
def test_x_forwarded_for_is_walked_from_the_right(seen_as, fields, client):
    assert seen_as(fields + "\r\n", trusted=[US, "10.0.0.0/8"])[0] == client


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (
            'Forwarded: for=203.0.113.7;proto=https;host="shop.example:8443"',
            ("203.0.113.7", "https", "shop.example:8443"),
        ),
        (
            'Forwarded: For="[2001:db8::1]:4711";Proto=HTTPS',
            ("2001:db8:0:0:0:0:0:1", "https", "site.example"),
        ),
        (
            "Forwarded: for=6.6.6.6;proto=ftp;host=evil, for=203.0.113.7;proto=https",
            ("203.0.113.7", "https", "site.example"),
        ),
        (
            "Forwarded: for=203.0.113.7;proto=https;host=shop, for=10.0.0.1;proto=http;host=inner",
            ("203.0.113.7", "https", "shop"),
        ),
        ('Forwarded: for="203.0.113.7:_port"', ("203.0.113.7", "http", "site.example")),
        ("Forwarded: for=_hidden;proto=https", (None, "https", "site.example")),
        ("Forwarded: for=6.6.6.6, for=unknown", (None, "http", "site.example")),
        ("Forwarded: for=6.6.6.6, proto=https", (None, "https", "site.example")),
        ("Forwarded: for=2001:db8::1", (None, "http", "site.example")),
        ('Forwarded: for="6.6.6.6', (None, "http", "site.example")),
        (
            'Forwarded: for="6.6.6.6\r\nForwarded: for=203.0.113.7',
            ("203.0.113.7", "http", "site.example"),
        ),
        ('Forwarded: for=203.0.113.7;host="a/b"', ("203.0.113.7", "http", "site.example")),
        ('Forwarded: for=203.0.113.7;proto="a b"', ("203.0.113.7", "http", "site.example")),
    ],
)
def test_forwarded_is_walked_from_the_right(seen_as, fields, expected):
    assert seen_as(fields + "\r\n", trusted=[US, "10.0.0.0/8"], headers=["forwarded"]) == expected


def test_scheme_and_host_are_those_of_the_hop_that_is_believed(seen_as):
    fields = (
        "X-Forwarded-For: 6.6.6.6, 203.0.113.7, 10.0.0.1\r\n"
        "X-Forwarded-Proto: ftp, https, http\r\nX-Forwarded-Host: evil, shop, inner\r\n"
    )
    assert seen_as(fields, trusted=[US, "10.0.0.0/8"]) == ("203.0.113.7", "https", "shop")
    one = "X-Forwarded-For: 203.0.113.7, 10.0.0.1\r\nX-Forwarded-Proto: https\r\n"
    assert seen_as(one, trusted=[US, "10.0.0.0/8"]) == ("203.0.113.7", "https", "site.example")


def test_target_in_absolute_form_has_the_host(seen_as):
    """RFC 9112 3.2.2: the Host field is then ignored."""
    assert seen_as(target="http://real.example:81/a?b=http://x/")[2] == "real.example:81"
    assert seen_as(target="http://real.example?x")[2] == "real.example"
    assert seen_as(target="/http://no.example/")[2] == "site.example"


def test_message_that_is_kept_remembers_who_asked(serve):
    kept = []

    def handle(conn, msg):
        kept.append(msg)
        conn.reply(200)

    server = serve(on_http(handle), listen={"trusted_proxies": [US], "trusted_headers": X})
    server.talk(
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX-Forwarded-For: 203.0.113.7:5\r\n"
        b"X-Forwarded-Proto: https\r\nX-Forwarded-Host: shop\r\n\r\n"
    )
    server.stop()
    gc.collect()
    (msg,) = kept
    assert (msg.client_addr, msg.scheme, msg.host) == (("203.0.113.7", 5, False), "https", "shop")


def test_peers_of_a_unix_socket_can_be_trusted(serve, tmp_path):
    seen = []

    def handle(conn, msg):
        seen.append(msg.client_addr)
        conn.reply(200)

    for nets in (["unix"], ["0.0.0.0/0"]):
        path = tmp_path / nets[0][:1]
        serve(on_http(handle), f"http+unix://{path}", listen={"trusted_proxies": nets})
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(DEADLINE)
            sock.connect(str(path))
            sock.sendall(
                b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX-Forwarded-For: 203.0.113.7\r\n\r\n"
            )
            read_all(sock)
    assert seen == [("203.0.113.7", 0, False), None]


def test_client_of_a_proxy_header_is_the_peer_that_is_trusted(serve):
    """A balancer that speaks the PROXY protocol in front of a proxy that writes header fields."""
    seen = []

    def handle(conn, msg):
        seen.append(msg.client_addr[0])
        conn.reply(200)

    server = serve(
        on_http(handle), listen={"proxy_protocol": [US], "trusted_proxies": ["10.0.0.0/8"]}
    )
    for address in (b"10.0.0.9", b"9.9.9.9"):
        server.talk(
            b"PROXY TCP4 " + address + b" 10.0.0.1 1 2\r\n"
            b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX-Forwarded-For: 203.0.113.7\r\n\r\n"
        )
    assert seen == ["203.0.113.7", "9.9.9.9"]


@pytest.mark.parametrize("headers", [["forwarded", "x-forwarded-for"], ["via"], []])
def test_fields_that_no_proxy_sets_together_are_refused(headers):
    with Manager() as mgr, pytest.raises(ValueError, match="trusted"):
        mgr.listen("http://127.0.0.1:0", trusted_proxies=[US], trusted_headers=headers)
