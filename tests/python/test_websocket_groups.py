"""join, leave, broadcast: who gets what, from which thread, and what happens to members who do not read."""

import contextlib
import json
import threading

import pytest
from conftest import DEADLINE, Until, eventually
from ws_helpers import BINARY, CLOSE, TEXT, RawClient, WsHandler, dial

from pymongoose import (
    WEBSOCKET_OP_BINARY,
    WEBSOCKET_OP_PING,
    ConnectionClosed,
    Limits,
    WsLimits,
)


def joiner(*groups, **options):
    def join(conn):
        for group in groups:
            conn.join(group)

    return WsHandler(on_open=join, **options)


def test_a_broadcast_reaches_the_members_and_nobody_else(serve):
    handler = WsHandler(on_open=lambda conn: conn.join(conn.userdata) if conn.userdata else None)
    server = serve(
        lambda conn, ev, data: (
            setattr(conn, "userdata", data.uri[1:]) if hasattr(data, "uri") else None,
            handler(conn, ev, data),
        )
    )
    mgr = server.mgr
    with contextlib.ExitStack() as stack:
        rooms = {
            name: [stack.enter_context(dial(server.port, "/" + name)) for _ in range(3)]
            for name in ("a", "b", "")
        }
        eventually(lambda: len(handler.opened) == 9)
        assert (mgr.members("a"), mgr.members("b"), mgr.members("c")) == (3, 3, 0)
        assert mgr.broadcast("a", "to a") == 3
        assert mgr.broadcast("b", b"\xff", WEBSOCKET_OP_BINARY) == 3
        assert mgr.broadcast("nobody", "x") == 0
        assert [ws.recv(DEADLINE) for ws in rooms["a"]] == ["to a"] * 3
        assert [ws.recv(DEADLINE) for ws in rooms["b"]] == [b"\xff"] * 3
        for ws in (w for room in rooms.values() for w in room):
            with pytest.raises(TimeoutError):
                ws.recv(0)


def test_members_come_and_go(serve):
    handler = joiner("g", "h")
    server = serve(handler)
    mgr = server.mgr
    with dial(server.port) as one, dial(server.port) as two:
        eventually(lambda: len(handler.opened) == 2)
        first, second = handler.opened
        first.join("g")  # again
        assert mgr.members("g") == 2
        first.leave("g")
        first.leave("g")
        first.leave("never")
        assert (mgr.members("g"), mgr.members("h")) == (1, 2)
        assert mgr.broadcast("g", "1") == 1
        assert mgr.broadcast("h", "2", exclude=second) == 1
        first.ws_close()
        eventually(lambda: first.id == 0)
        assert mgr.broadcast("h", "3", exclude=first) == 1
        with pytest.raises(ConnectionClosed):
            first.join("g")
        assert [two.recv(DEADLINE) for _ in range(2)] == ["1", "3"]
        assert one.recv(DEADLINE) == "2"
        with pytest.raises(Exception, match="1000"):
            one.recv(DEADLINE)
    eventually(lambda: mgr.members("h") == 0)


def test_a_message_goes_on_as_the_kind_it_is(serve):
    server = serve(joiner("g", on_message=lambda conn, msg: conn.manager.broadcast("g", msg)))
    with dial(server.port) as one, dial(server.port) as two:
        eventually(lambda: server.mgr.members("g") == 2)
        one.send("Zoë")
        one.send(b"\xff")
        for ws in (one, two):
            assert [ws.recv(DEADLINE), ws.recv(DEADLINE)] == ["Zoë", b"\xff"]


@pytest.mark.parametrize(
    ("args", "kind"),
    [
        (("g", b"\xff"), ValueError),
        (("g", "x", WEBSOCKET_OP_PING), ValueError),
        (("g", "x", 3), ValueError),
        (("", "x"), ValueError),
        ((5, "x"), TypeError),
        (("g", 5), TypeError),
        (("g", "x", "1"), TypeError),
    ],
)
def test_what_cannot_be_broadcast(serve, args, kind):
    server = serve(joiner("g"))
    with dial(server.port):
        eventually(lambda: server.mgr.members("g") == 1)
        with pytest.raises(kind):
            server.mgr.broadcast(*args)
        with pytest.raises(TypeError):
            server.mgr.broadcast("g", "x", exclude=5)


def test_broadcasts_from_many_threads_keep_their_order(serve):
    server = serve(joiner("g", compress=True))
    threads, count, clients = 4, 100, 5
    reached = []

    def work(t):
        for i in range(count):
            reached.append(server.mgr.broadcast("g", json.dumps([t, i])))

    with contextlib.ExitStack() as stack:
        all_ = [
            stack.enter_context(
                dial(server.port, compression="deflate" if i % 2 else None, max_queue=None)
            )
            for i in range(clients)
        ]
        eventually(lambda: server.mgr.members("g") == clients)
        workers = [threading.Thread(target=work, args=(t,)) for t in range(threads)]
        for w in workers:
            w.start()
        sequences = []
        for ws in all_:
            seen = {t: [] for t in range(threads)}
            sequences.append([])
            for _ in range(threads * count):
                t, i = json.loads(ws.recv(DEADLINE))
                seen[t].append(i)
                sequences[-1].append((t, i))
            assert seen == {t: list(range(count)) for t in range(threads)}
        for w in workers:
            w.join(DEADLINE)
    assert reached == [clients] * (threads * count)
    assert all(s == sequences[0] for s in sequences)  # everybody saw the same


def test_a_thousand_members(serve):
    server = serve(joiner("g"))
    size = 300
    with contextlib.ExitStack() as stack:
        raws = [stack.enter_context(RawClient(server.port)) for _ in range(size)]
        eventually(lambda: server.mgr.members("g") == size)
        payload = bytes(range(256)) * 4
        before = server.mgr.stats()
        for n in (10, 1024, 100_000):  # copied; shared by all
            assert (
                server.mgr.broadcast("g", payload[:10] + b"x" * (n - 10), WEBSOCKET_OP_BINARY)
                == size
            )
            for raw in raws:
                assert raw.recv() == (0x80 | BINARY, payload[:10] + b"x" * (n - 10))
        assert server.mgr.stats().ws_messages_out - before.ws_messages_out == 3 * size
    eventually(lambda: server.mgr.members("g") == 0)


@pytest.mark.parametrize("slow", ["close", "drop"])
def test_a_member_that_does_not_read(serve, slow):
    backlog = 1 << 18
    handler = joiner("g")
    server = serve(handler, listen={"limits": Limits(ws=WsLimits(max_backlog=backlog, slow=slow))})
    mgr = server.mgr
    with RawClient(server.port, rcvbuf=4096), RawClient(server.port) as quick:
        eventually(lambda: len(handler.opened) == 2)
        lazy_conn = handler.opened[0]
        done = Until()

        def flood():
            rounds, worst = 0, 0
            while mgr.broadcast("g", b"x" * 50_000, WEBSOCKET_OP_BINARY) == 2:
                rounds += 1
                worst = max(worst, lazy_conn.send_len)
                for _ in range(1):
                    quick.recv()
            quick.recv()
            done.set((rounds, worst))

        # From this thread: the loop sends between the broadcasts, and the quick one reads.
        flood()
        rounds, worst = done.get()
        assert rounds >= backlog // 50_000
        assert worst <= backlog + 100_000
        if slow == "close":
            assert handler.wait_closed()[0] == 1006
            assert mgr.members("g") == 1
        else:
            assert mgr.members("g") == 2
            assert mgr.stats().ws_dropped >= 1
            assert lazy_conn.id > 0
        assert mgr.broadcast("g", "still") >= 1
        assert quick.recv() == (0x80 | TEXT, b"still")


def test_a_slow_member_is_told_1013(serve):
    handler = joiner("g")
    server = serve(handler, listen={"limits": Limits(ws=WsLimits(max_backlog=100_000))})
    with RawClient(server.port, rcvbuf=4096) as lazy:
        handler.wait_open()
        while server.mgr.broadcast("g", b"x" * 50_000, WEBSOCKET_OP_BINARY):
            pass
        frames = []
        with contextlib.suppress(EOFError):
            while True:
                frames.append(lazy.recv())
                if frames[-1][0] == 0x80 | CLOSE:
                    break
        assert frames[-1][1][:2] == (1013).to_bytes(2, "big")
        assert all(payload == b"x" * 50_000 for _, payload in frames[:-1])


def test_groups_end_with_the_manager(serve):
    server = serve(joiner("g"))
    with dial(server.port):
        eventually(lambda: server.mgr.members("g") == 1)
        server.stop()
    with pytest.raises(RuntimeError):
        server.mgr.broadcast("g", "x")
    with pytest.raises(RuntimeError):
        server.mgr.members("g")
