"""The PROXY protocol in front of HTTP, raw TCP and Unix sockets."""

from __future__ import annotations

import socket
import struct

import pytest
from conftest import DEADLINE, eventually, on_http, parse_all, read_all

from pymongoose import MG_EV_ACCEPT, MG_EV_CLOSE, MG_EV_OPEN, MG_EV_READ, Limits, Manager

V1 = b"PROXY TCP4 203.0.113.7 192.0.2.1 56324 443\r\n"
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
GET = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


def v2(family: int, block: bytes, command: int = 0x21) -> bytes:
    return SIGNATURE + bytes([command, family]) + struct.pack("!H", len(block)) + block


def ip4(tlvs: bytes = b"") -> bytes:
    ends = socket.inet_aton("203.0.113.7") + socket.inet_aton("192.0.2.1")
    return v2(0x11, ends + struct.pack("!HH", 56324, 443) + tlvs)


def tlv(kind: int, value: bytes) -> bytes:
    return bytes([kind]) + struct.pack("!H", len(value)) + value


IP6 = v2(
    0x21,
    socket.inet_pton(socket.AF_INET6, "2001:db8::1")
    + socket.inet_pton(socket.AF_INET6, "::1")
    + struct.pack("!HH", 1, 2),
)
UNIX = v2(0x31, b"/run/client".ljust(108, b"\0") + b"\0" * 108)
CLIENT = ("203.0.113.7", 56324, False)


@pytest.fixture
def front(serve):
    """A server behind a proxy at 127.0.0.1, which notes who it heard of."""

    def make(url="http://127.0.0.1:0", nets=("127.0.0.1/32",), **options):
        seen = []

        def handle(conn, msg):
            seen.append((conn.remote_addr, conn.peer_addr, conn.proxy_info, msg.client_addr))
            conn.reply(200, "ok")

        server = serve(on_http(handle), url, listen={"proxy_protocol": nets, **options})
        server.seen = seen
        return server

    return make


def own_address(seen):
    remote, peer, _, client = seen
    assert remote == peer == client
    assert remote[0] == "127.0.0.1"


@pytest.mark.parametrize("header", [V1, ip4()], ids=["v1", "v2"])
@pytest.mark.parametrize("how", ["whole", "bytes", "apart"])
def test_address_that_is_told_becomes_the_remote_one(front, header, how):
    server = front()
    with server.connect() as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        pieces = {
            "whole": [header + GET],
            "bytes": [bytes([b]) for b in header + GET],
            "apart": [header, GET],
        }[how]
        for piece in pieces:
            sock.sendall(piece)
        assert [a.status for a in parse_all(read_all(sock))] == [200]
    ((remote, peer, info, client),) = server.seen
    assert remote == client == CLIENT
    assert peer[0] == "127.0.0.1"
    assert info["target"] == ("192.0.2.1", 443, False)
    assert not info["local"]
    assert server.mgr.stats().proxy_errors == 0


def test_connection_goes_on_as_any_other(front):
    server = front()
    request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    assert [a.status for a in parse_all(server.talk(V1 + request * 3 + GET))] == [200] * 4
    assert [s[0] for s in server.seen] == [CLIENT] * 4


def test_ipv6_and_unix_clients_are_told(front):
    server = front()
    server.talk(IP6 + GET)
    server.talk(UNIX + GET)
    assert server.seen[0][0] == ("2001:db8:0:0:0:0:0:1", 1, True)
    assert server.seen[1][0] is None
    assert server.seen[1][3] is None
    assert server.seen[1][1][0] == "127.0.0.1"


@pytest.mark.parametrize(
    "header",
    [
        b"PROXY UNKNOWN\r\n",
        b"PROXY UNKNOWN x y\r\n",
        v2(0, b"", 0x20),
        v2(0x11, b"junk", 0x20),
        v2(0, b""),
    ],
)
def test_local_and_unknown_keep_the_connections_own_address(front, header):
    server = front()
    server.talk(header + GET)
    own_address(server.seen[0])
    assert server.seen[0][2]["local"]


def test_tlvs_are_read_or_skipped(front):
    server = front()
    server.talk(ip4(tlv(0x02, b"shop.example") + tlv(0xEE, b"?" * 300) + tlv(0x05, b"\0id")) + GET)
    info = server.seen[0][2]
    assert info["authority"] == "shop.example"
    assert info["unique_id"] == b"\0id"
    assert info["version"] == 2


@pytest.mark.parametrize(
    "data",
    [
        GET,
        b"\0",
        b"PROXY TCP4 1.2.3.4 5.6.7.8 1\r\n" + GET,
        b"PROXY TCP4 999.2.3.4 5.6.7.8 1 2\r\n" + GET,
        b"PROXY UNKNOWN\n" + GET,
        b"PROXY TCP4 " + b"1" * 200,
        SIGNATURE + b"\x11\x11\0\0" + GET,
        v2(0x11, b"short") + GET,
        ip4(tlv(0x02, b"a")[:-1]) + GET,
        ip4(tlv(0x03, b"\0\0\0\0")) + GET,  # not its checksum
    ],
)
def test_missing_or_malformed_header_closes_unseen_and_is_counted(front, data):
    server = front()
    assert server.talk(data) == b""
    assert server.seen == []
    assert server.mgr.stats().proxy_errors == 1
    assert server.mgr.stats().requests == 0


def test_header_that_does_not_come_is_awaited_as_a_head_is(front):
    server = front(limits=Limits(header_timeout=0.1))
    for start in (b"", b"PROXY TCP4 1.2", SIGNATURE):
        assert server.talk(start) == b""
    stats = server.mgr.stats()
    assert (stats.timeouts, stats.proxy_errors) == (3, 3)
    assert server.seen == []


def test_header_longer_than_a_head_may_be_is_refused(front):
    server = front(limits=Limits(max_head=300))
    server.talk(ip4(tlv(0xEE, b"?" * 200)) + GET)
    assert len(server.seen) == 1
    assert server.talk(ip4(tlv(0xEE, b"?" * 600))[:20]) == b""
    assert server.mgr.stats().proxy_errors == 1


def test_other_peers_send_none_and_are_refused_when_they_do(front):
    server = front(nets=["10.0.0.0/8", "::1"])
    assert [a.status for a in parse_all(server.talk(GET))] == [200]
    own_address(server.seen[0])
    assert server.seen[0][2] is None
    for header in (V1, ip4()):
        assert [a.status for a in parse_all(server.talk(header + GET))] == [400]
    assert len(server.seen) == 1


def test_handlers_hear_of_a_connection_when_its_address_is_known(serve):
    events = []

    def handler(conn, ev, data):
        if not conn.is_listening and ev in (MG_EV_OPEN, MG_EV_ACCEPT, MG_EV_READ, MG_EV_CLOSE):
            events.append((ev, conn.remote_addr, conn.recv_data() if ev == MG_EV_READ else b""))
            if ev == MG_EV_READ:
                conn.send(conn.read())

    server = serve(handler, "tcp://127.0.0.1:0", listen={"proxy_protocol": ["127.0.0.1"]})
    server.talk(b"nonsense")  # never heard of
    with server.connect() as sock:
        sock.sendall(V1 + b"hello")
        assert sock.recv(100) == b"hello"
    eventually(lambda: events[-1][0] == MG_EV_CLOSE)
    assert [e for e, _, _ in events] == [MG_EV_OPEN, MG_EV_ACCEPT, MG_EV_READ, MG_EV_CLOSE]
    assert {a for _, a, _ in events} == {CLIENT}
    assert events[2][2] == b"hello"


def test_max_per_address_counts_clients_and_not_the_proxy(front):
    server = front(limits=Limits(max_per_address=1))
    with server.connect() as one, server.connect() as two, server.connect() as three:
        one.sendall(V1)
        two.sendall(V1.replace(b".7 ", b".8 "))
        eventually(lambda: len([c for c in server.mgr.connections if not c.is_listening]) == 2)
        three.sendall(V1 + GET)
        assert read_all(three) == b""
        one.sendall(GET)
        assert [a.status for a in parse_all(read_all(one))] == [200]
    assert server.mgr.stats().refused == 1
    assert [a.status for a in parse_all(server.talk(V1 + GET))] == [200]


def test_peers_of_a_unix_socket_are_named_unix(serve, tmp_path):
    seen = []

    def handle(conn, msg):
        seen.append((conn.remote_addr, conn.peer_addr))
        conn.reply(200)

    path = tmp_path / "s"
    serve(on_http(handle), f"http+unix://{path}", listen={"proxy_protocol": ["unix"]})
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(DEADLINE)
        sock.connect(str(path))
        sock.sendall(V1 + GET)
        assert [a.status for a in parse_all(read_all(sock))] == [200]
    assert seen == [(CLIENT, None)]


@pytest.mark.parametrize("nets", [["127.0.0.1/33"], ["here"], [""], ["1.2.3.4,5.6.7.8"]])
def test_malformed_network_is_a_value_error(nets):
    with Manager() as mgr:
        with pytest.raises(ValueError, match="proxy_protocol"):
            mgr.listen("http://127.0.0.1:0", proxy_protocol=nets)
        with pytest.raises(ValueError, match="trusted_proxies"):
            mgr.listen("http://127.0.0.1:0", trusted_proxies=nets)
        with pytest.raises(TypeError, match="proxy_protocol"):
            mgr.listen("http://127.0.0.1:0", proxy_protocol="127.0.0.1")
        mgr.poll(0)
        assert mgr.connections == ()
