"""Below HTTP: raw TCP, UDP, Unix sockets, IPv6, inherited descriptors, shared ports, and addresses that cannot be."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import textwrap
import threading

import pytest
from conftest import DEADLINE, Until, eventually, get, on_http, parse, read_all

from pymongoose import (
    MG_EV_ACCEPT,
    MG_EV_CLOSE,
    MG_EV_CONNECT,
    MG_EV_ERROR,
    MG_EV_HTTP_MSG,
    MG_EV_READ,
    AddressInUse,
    Limits,
    Manager,
    MongooseError,
    TlsError,
    build_info,
)

CURL = shutil.which("curl")


def hello(conn, msg):
    conn.reply(200, "hello")


def recv_exactly(sock, n):
    data = b""
    while len(data) < n:
        part = sock.recv(n - len(data))
        assert part, data
        data += part
    return data


# -- TCP --


def echo(conn, ev, data):
    if ev == MG_EV_READ:
        conn.send(conn.read())


def test_q14_read_takes_what_came(serve):
    """Q14: there was no way to consume, so the buffer grew until the connection died at 3 MiB."""
    server = serve(echo, "tcp://127.0.0.1:0")
    block = bytes(range(256)) * 1024
    with server.connect() as sock:
        for _ in range(32):  # 8 MiB in all
            sock.sendall(block)
            assert recv_exactly(sock, len(block)) == block


def test_q14_recv_data_peeks_and_consume_takes(serve):
    seen = Until()

    def handler(conn, ev, data):
        if ev == MG_EV_READ and conn.recv_len >= 10:
            assert conn.is_readable
            facts = [
                conn.recv_data(),
                conn.recv_data(4),
                conn.recv_data(0),
                conn.recv_data(99),
                conn.recv_len,
            ]
            facts += [
                conn.consume(3),
                conn.recv_data(),
                conn.read(2),
                conn.recv_data(),
                conn.consume(99),
                conn.recv_len,
            ]
            facts += [conn.read(), conn.recv_data(), conn.is_readable]
            with pytest.raises(ValueError, match="n must be"):
                conn.consume(-1)
            with pytest.raises(TypeError):
                conn.consume()
            seen.set(facts)

    server = serve(handler, "tcp://127.0.0.1:0")
    with server.connect() as sock:
        sock.sendall(b"0123456789")
        facts = seen.get()
    assert facts[:5] == [b"0123456789", b"0123", b"", b"0123456789", 10]
    assert facts[5:11] == [3, b"3456789", b"34", b"56789", 5, 0]
    assert facts[11:] == [b"", b"", False]


def test_q14_what_is_not_consumed_stays_and_is_seen_with_the_next(serve):
    lines = []

    def handler(conn, ev, data):
        if ev == MG_EV_READ:
            while (at := conn.recv_data().find(b"\n")) >= 0:
                lines.append(conn.read(at + 1))
                conn.send(b"ok\n")

    server = serve(handler, "tcp://127.0.0.1:0")
    with server.connect() as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in b"one\ntwo\nthr":
            sock.sendall(bytes([byte]))
        sock.sendall(b"ee\nfour\n")
        assert recv_exactly(sock, 12) == b"ok\n" * 4
    assert lines == [b"one\n", b"two\n", b"three\n", b"four\n"]


def test_unread_input_beyond_max_recv_pauses_reading_and_loses_nothing(serve):
    total, taken, conns = 4 << 20, [], Until()
    peak = []

    def handler(conn, ev, data):
        if ev == MG_EV_READ:
            peak.append(conn.recv_len)
            conns.set(conn)

    server = serve(handler, "tcp://127.0.0.1:0", listen={"limits": Limits(max_recv=65536)})
    with server.connect() as sock:
        sender = threading.Thread(target=lambda: sock.sendall(b"x" * total))
        sender.start()
        conn = conns.get()
        while sum(taken) < total:
            done = Until()
            server.mgr.call(lambda d=done: d.set(len(conn.read())))
            taken.append(done.get())
        sender.join(15)
    assert sum(taken) == total
    assert max(peak) <= 65536 + (1 << 20)


def test_listener_cannot_send_and_wrong_data_is_named(serve):
    seen = Until()

    def handler(conn, ev, data):
        if ev == MG_EV_READ:
            with pytest.raises(TypeError, match="data must be str or bytes-like"):
                conn.send(5)
            conn.send("tëxt")
            conn.send(bytearray(b"\0"))
            conn.send(memoryview(b"b"))
            conn.drain()
            seen.set(True)

    server = serve(handler, "tcp://127.0.0.1:0")
    with server.connect() as sock:
        sock.sendall(b"x")
        assert read_all(sock) == "tëxt\0b".encode()
    assert seen.get()
    done = Until()

    def attempt():
        with pytest.raises(MongooseError, match="listener"):
            server.listener.send(b"x")
        done.set(True)

    server.mgr.call(attempt)
    assert done.get()


def test_client_and_server_in_one_loop(serve):
    got = Until()
    events = []
    server = serve(echo, "tcp://127.0.0.1:0")

    def client(conn, ev, data):
        events.append(ev)
        if ev == MG_EV_CONNECT:
            assert conn.is_client
            conn.send(b"ping")
        elif ev == MG_EV_READ:
            got.set(conn.read())
            conn.close()

    conn = server.mgr.connect(f"tcp://127.0.0.1:{server.port}", client)
    assert got.get() == b"ping"
    eventually(lambda: events[-1] == MG_EV_CLOSE)
    assert MG_EV_ERROR not in events
    assert repr(conn) == "<Connection closed>"


def test_connect_to_nobody_is_an_error_event_and_a_close(serve):
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    events, closed = [], Until()

    def client(conn, ev, data):
        events.append((ev, data))
        if ev == MG_EV_CLOSE:
            closed.set()

    server = serve(None, None)
    server.mgr.connect(f"tcp://127.0.0.1:{port}", client)
    closed.get()
    errors = [data for ev, data in events if ev == MG_EV_ERROR]
    assert len(errors) == 1
    assert type(errors[0]) is str
    assert "refused" in errors[0].lower()


def test_error_raises_an_event_and_closes(serve):
    events = Until()

    def handler(conn, ev, data):
        if ev == MG_EV_READ:
            conn.error("my %s reason\0")
        elif ev == MG_EV_ERROR:
            events.set(data)

    server = serve(handler, "tcp://127.0.0.1:0")
    with server.connect() as sock:
        sock.sendall(b"x")
        assert read_all(sock) == b""
    assert events.get().startswith("my %s reason")


# -- UDP --


def test_q14_udp_datagrams_do_not_run_together(serve):
    """Q14: recv_data() grew with every datagram."""
    seen = []

    def handler(conn, ev, data):
        if ev == MG_EV_READ:
            assert conn.is_udp
            seen.append(conn.recv_data())  # not consumed: cleared by itself
            conn.send(conn.recv_data()[::-1])

    server = serve(handler, "udp://127.0.0.1:0")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(DEADLINE)
        sock.connect(("127.0.0.1", server.port))
        for data in (b"one", b"", b"two\0", b"x" * 8000):
            sock.send(data)
            assert sock.recv(65536) == data[::-1]  # an empty datagram is one, too
    assert seen == [b"one", b"", b"two\0", b"x" * 8000]


def test_udp_answers_go_to_the_peer_that_asked(serve):
    def handler(conn, ev, data):
        if ev == MG_EV_READ:
            conn.send(f"{conn.remote_addr[1]} {conn.read().decode()}")

    server = serve(handler, "udp://127.0.0.1:0")
    with contextlib.ExitStack() as stack:
        socks = [
            stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) for _ in range(5)
        ]
        for sock in socks:
            sock.settimeout(DEADLINE)
            sock.bind(("127.0.0.1", 0))
        for turn in range(20):
            for sock in socks:
                sock.sendto(b"%d" % turn, ("127.0.0.1", server.port))
            for sock in socks:
                assert sock.recv(1000) == b"%d %d" % (sock.getsockname()[1], turn)


def test_udp_client(serve):
    got = Until()
    server = serve(echo, "udp://127.0.0.1:0")

    def client(conn, ev, data):
        if ev == MG_EV_CONNECT:
            conn.send(b"ping")
        elif ev == MG_EV_READ:
            got.set(conn.read())

    server.mgr.connect(f"udp://127.0.0.1:{server.port}", client)
    assert got.get() == b"ping"


# -- Unix --


@pytest.fixture
def path(tmp_path):
    found = str(tmp_path / "s")
    assert len(found) < 100
    return found


def test_q17_unix_sockets_are_unix_sockets(serve, path):
    """Q17: unix:// silently bound a random TCP port on 0.0.0.0."""
    server = serve(echo, f"unix://{path}")
    assert server.listener.local_addr is None
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(DEADLINE)
        sock.connect(path)
        sock.sendall(b"hello")
        assert sock.recv(10) == b"hello"
    assert os.path.exists(path)
    server.stop()
    assert not os.path.exists(path)


def test_http_over_a_unix_socket(serve, path):
    server = serve(on_http(hello), f"http+unix://{path}", listen={"unix_mode": 0o600})
    assert os.stat(path).st_mode & 0o777 == 0o600
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(path)
        sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert parse(read_all(sock))[0].body == b"hello"
    assert server.listener.is_listening


@pytest.mark.skipif(CURL is None, reason="no curl")
def test_curl_over_a_unix_socket(serve, path):
    serve(on_http(lambda conn, msg: conn.reply(200, msg.header("Host"))), f"http+unix://{path}")
    done = subprocess.run(
        [CURL, "-sS", "--max-time", "15", "--unix-socket", path, "http://some.host/x"],
        capture_output=True,
        check=True,
    )
    assert done.stdout == b"some.host"


def test_httpx_over_a_unix_socket(serve, path):
    httpx = pytest.importorskip("httpx")
    serve(on_http(lambda conn, msg: conn.reply_json({"uri": msg.uri})), f"http+unix://{path}")
    with httpx.Client(transport=httpx.HTTPTransport(uds=path)) as client:
        for _ in range(3):
            assert client.get("http://host/path").json() == {"uri": "/path"}


def test_unix_client(serve, path):
    got = Until()
    server = serve(echo, f"unix://{path}")

    def client(conn, ev, data):
        if ev == MG_EV_CONNECT:
            conn.send(b"ping")
        elif ev == MG_EV_READ:
            got.set(conn.read())

    server.mgr.connect(f"unix://{path}", client)
    assert got.get() == b"ping"


def test_stale_socket_file_is_replaced_and_a_living_one_is_busy(serve, path):
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(path)
        sock.listen()
    assert os.path.exists(path)  # left behind by a process that died
    server = serve(echo, f"unix://{path}")
    with pytest.raises(AddressInUse):
        server.listen(f"unix://{path}")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(DEADLINE)
        sock.connect(path)
        sock.sendall(b"x")
        assert sock.recv(1) == b"x"


def test_file_in_the_way_is_not_removed(serve, tmp_path):
    path = tmp_path / "precious"
    path.write_text("data")
    server = serve(None, None)
    with pytest.raises(MongooseError):
        server.listen(f"unix://{path}")
    assert path.read_text() == "data"


# -- IPv6, ports --


def has_ipv6():
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET6) as sock:
        sock.bind(("::1", 0))
        return True
    return False


@pytest.mark.skipif(not has_ipv6(), reason="no IPv6 here")
def test_q18_ipv6(serve):
    """Q18: it was not built in."""
    seen = Until()

    def handle(conn, msg):
        seen.set((conn.local_addr, conn.remote_addr))
        conn.reply(200, "six")

    server = serve(on_http(handle), "http://[::1]:0")
    ip, port, is6 = server.listener.local_addr
    assert is6
    assert ip == "0:0:0:0:0:0:0:1"
    with socket.create_connection(("::1", port), DEADLINE) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: [::1]\r\nConnection: close\r\n\r\n")
        assert parse(read_all(sock))[0].body == b"six"
        local, remote = seen.get()
        assert local == ("0:0:0:0:0:0:0:1", port, True)
        assert remote[0] == "0:0:0:0:0:0:0:1"
        assert remote[1:] == (sock.getsockname()[1], True)


def test_port_0_takes_a_free_one_each_time(serve):
    server = serve(on_http(hello))
    ports = {server.listen().local_addr[1] for _ in range(5)} | {server.port}
    assert len(ports) == 6
    assert 0 not in ports
    assert {get(port).body for port in ports} == {b"hello"}


def test_reuseport_shares_one_port_between_two_managers(serve):
    one = serve(on_http(lambda conn, msg: conn.reply(200, "1")), listen={"reuseport": True})
    two = serve(
        on_http(lambda conn, msg: conn.reply(200, "2")),
        f"http://127.0.0.1:{one.port}",
        listen={"reuseport": True},
    )
    assert one.port == two.port
    assert {get(one.port).body for _ in range(200)} == {b"1", b"2"}
    one.stop()
    assert {get(two.port).body for _ in range(20)} == {b"2"}


@pytest.mark.parametrize(
    "url",
    [
        "nonsense://127.0.0.1:0",
        "htttp://127.0.0.1:0",
        "://127.0.0.1:0",
        "http://127.0.0.1:99999",
        "http://127.0.0.1:-1",
        "http://127.0.0.1:1x",
        "http://256.1.1.1:0",
        "http://127.0.0.1.1:0",
        "http://[::1:0",
        "http://[::g]:0",
        "unix://",
        "fd://x",
        "fd://-1",
        "",
    ],
)
def test_q17_urls_that_cannot_be_are_value_errors(serve, url):
    """Q17, Q20 (url_port wrapped round): nothing is bound by guessing."""
    server = serve(None, None)
    with pytest.raises(ValueError, match=r"."):
        server.listen(url)
    assert server.mgr.connections == ()


@pytest.mark.parametrize("url", [None, 5, b"http://127.0.0.1:0x"])
def test_url_of_a_wrong_kind(serve, url):
    server = serve(None, None)
    with pytest.raises((TypeError, ValueError)):
        server.listen(url)


def test_busy_address_is_address_in_use(serve):
    server = serve(on_http(hello))
    url = f"http://127.0.0.1:{server.port}"
    for kind in (AddressInUse, OSError, RuntimeError, MongooseError):
        with pytest.raises(kind, match=str(server.port)):
            server.listen(url)
    with pytest.raises(AddressInUse) as info:
        server.listen(url)
    assert info.value.code != 0
    assert server.get().body == b"hello"


def test_address_that_is_not_ours_is_an_error(serve):
    server = serve(None, None)
    with pytest.raises(MongooseError) as info:
        server.listen("http://192.0.2.1:0")
    assert not isinstance(info.value, AddressInUse)


@pytest.mark.parametrize("url", ["https://127.0.0.1:0", "wss://127.0.0.1:0"])
def test_tls_that_is_not_there_is_a_tls_error_not_plain_text(serve, url):
    if build_info()["tls"]:
        pytest.skip("this build has TLS")
    server = serve(None, None)
    with pytest.raises(TlsError):
        server.listen(url)
    with pytest.raises(TlsError):
        server.mgr.connect(url.replace(":0", ":1"))


# -- descriptors --


def test_fd_url_adopts_a_listening_socket(serve):
    sock = socket.create_server(("127.0.0.1", 0))
    port = sock.getsockname()[1]
    server = serve(on_http(hello), f"fd://{sock.detach()}", listen={"http": True})
    assert server.port == port
    assert get(port).body == b"hello"


def test_wrap_fd_of_a_connected_socket(serve):
    ours, theirs = socket.socketpair()
    closed = Until()

    def handler(conn, ev, data):
        echo(conn, ev, data)
        if ev == MG_EV_CLOSE:
            closed.set()

    server = serve(None, None)
    conn = server.mgr.wrap_fd(theirs.detach(), handler)
    assert conn.id > 0
    with ours:
        ours.settimeout(DEADLINE)
        ours.sendall(b"hello")
        assert recv_exactly(ours, 5) == b"hello"
    closed.get()


def test_wrap_fd_of_a_listening_socket(serve):
    sock = socket.create_server(("127.0.0.1", 0))
    port = sock.getsockname()[1]
    accepted = Until()

    def handler(conn, ev, data):
        echo(conn, ev, data)
        if ev == MG_EV_ACCEPT:
            accepted.set()

    server = serve(None, None)
    assert server.mgr.wrap_fd(sock.detach(), handler).is_listening
    with socket.create_connection(("127.0.0.1", port), DEADLINE) as client:
        client.sendall(b"x")
        assert client.recv(1) == b"x"
    accepted.get()


@pytest.mark.parametrize("fd", [-1, 987654])
def test_descriptor_that_is_none_is_refused(serve, fd):
    server = serve(None, None)
    with pytest.raises((MongooseError, ValueError)):
        server.mgr.wrap_fd(fd)
    with pytest.raises((MongooseError, ValueError)):
        server.listen(f"fd://{fd}")


def test_descriptor_of_a_file_is_refused_and_stays_open(serve, tmp_path):
    with (tmp_path / "f").open("wb") as file:
        server = serve(None, None)
        with pytest.raises((MongooseError, ValueError)):
            server.mgr.wrap_fd(file.fileno())
        file.write(b"x")


def test_inherited_listening_socket_as_from_systemd():
    """LISTEN_FDS: a supervisor binds, the process serves what it inherits as descriptor 3 and up."""
    program = textwrap.dedent("""
        import os
        from pymongoose import MG_EV_HTTP_MSG, Manager
        fd = 3
        assert os.environ["LISTEN_FDS"] == "1"
        mgr = Manager(lambda c, ev, d: c.reply(200, "inherited") if ev == MG_EV_HTTP_MSG else None)
        mgr.listen(f"fd://{fd}", http=True)
        print("ready", flush=True)
        mgr.run()
    """)
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
        moved = "import os, sys; os.dup2(int(sys.argv[1]), 3); os.set_inheritable(3, True); exec(sys.argv[2])"
        child = subprocess.Popen(
            [sys.executable, "-c", moved, str(sock.fileno()), program],
            pass_fds=[sock.fileno()],
            env={**os.environ, "LISTEN_FDS": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
            stdout=subprocess.PIPE,
        )
        try:
            assert child.stdout.readline() == b"ready\n"
            assert get(port).body == b"inherited"
            child.terminate()
            assert child.wait(DEADLINE) == 0  # P17
        finally:
            child.kill()
            child.wait()
            child.stdout.close()


def test_url_schemes_infer_http(serve):
    """1.1: http inferred from the scheme; http= overrides."""
    kinds = []

    def handler(conn, ev, data):
        kinds.append(ev)
        if ev == MG_EV_READ:
            conn.read()
            conn.send(b"raw")
            conn.drain()
        elif ev == MG_EV_HTTP_MSG:
            conn.reply(200, "http")

    server = serve(handler, "http://127.0.0.1:0", listen={"http": False})
    assert server.talk(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n") == b"raw"
    other = server.listen("tcp://127.0.0.1:0", http=True)
    assert get(other.local_addr[1]).body == b"http"


def test_closing_a_listener_frees_its_port():
    with Manager(None) as mgr:
        listener = mgr.listen("http://127.0.0.1:0")
        port = listener.local_addr[1]
        listener.close()
        mgr.poll(0)
        mgr.poll(0)
        assert mgr.connections == ()
        assert mgr.listen(f"http://127.0.0.1:{port}").local_addr[1] == port
