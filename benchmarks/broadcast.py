"""How fast does a message of 1 KiB reach a thousand WebSocket clients?

The same program sends with pymongoose (a group) and with cymongoose (one ws_send for each connection, which is what it offers), in turns.
One client sends "go"; the server sends 1 KiB to all; when every byte of it has arrived, the next "go" is sent. Rounds of both servers are
interleaved; each line is the best round. Server on the first core, clients on the last.
"""

import argparse
import importlib
import importlib.util
import os
import select
import socket
import subprocess
import sys
import time

CLIENTS, SIZE, ROUNDS, SECONDS = 1000, 1024, 3, 2.0
FRAME = SIZE + 4
UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
GO = b"\x82\x82\0\0\0\0go"


def serve(name):
    m = importlib.import_module(name)
    message, members = b"x" * SIZE, {}

    def group(conn, ev, data):
        if ev == m.MG_EV_HTTP_MSG:
            conn.ws_upgrade(data)
        elif ev == m.MG_EV_WS_OPEN:
            conn.join("all")
        elif ev == m.MG_EV_WS_MSG:
            mgr.broadcast("all", message, m.WEBSOCKET_OP_BINARY)

    def one_by_one(conn, ev, data):
        if ev == m.MG_EV_HTTP_MSG:
            conn.ws_upgrade(data)
        elif ev == m.MG_EV_WS_OPEN:
            members[conn.id] = conn
        elif ev == m.MG_EV_CLOSE:
            members.pop(conn.id, None)
        elif ev == m.MG_EV_WS_MSG:
            for member in members.values():
                member.ws_send(message, m.WEBSOCKET_OP_BINARY)

    mgr = m.Manager(group if name == "pymongoose" else one_by_one)
    print(mgr.listen("http://127.0.0.1:0").local_addr[1], flush=True)
    mgr.run()


def open_clients(port):
    socks = []
    for _ in range(CLIENTS):
        sock = socket.create_connection(("127.0.0.1", port), 30)
        sock.sendall(UPGRADE)
        socks.append(sock)
    for sock in socks:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += sock.recv(1)
        assert head.startswith(b"HTTP/1.1 101 "), head
        sock.setblocking(False)
    return socks


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat") as f:
        fields = f.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(name, python):
    """Messages delivered in a second, and server CPU seconds for a million of them."""
    cores = sorted(os.sched_getaffinity(0))
    command = [python, "-m", "benchmarks.broadcast", "--serve", name]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        os.sched_setaffinity(server.pid, {cores[0]})
        os.sched_setaffinity(0, {cores[-1]})
        socks = open_clients(int(server.stdout.readline()))
        poller = select.epoll()
        by_fd = {s.fileno(): s for s in socks}
        for fd in by_fd:
            poller.register(fd, select.EPOLLIN)
        buffer = bytearray(1 << 16)
        delivered, began, before = 0, time.monotonic(), cpu_seconds(server.pid)
        while time.monotonic() - began < SECONDS:
            socks[0].sendall(GO)
            left = CLIENTS * FRAME
            while left > 0:
                ready = poller.poll(10, CLIENTS)
                assert ready, f"{left} bytes never came"
                for fd, _ in ready:
                    left -= by_fd[fd].recv_into(buffer)
            assert left == 0, "more than was sent"
            delivered += CLIENTS
        took, cpu = time.monotonic() - began, cpu_seconds(server.pid) - before
        for s in socks:
            s.close()
        return delivered / took, cpu / delivered * 1e6
    finally:
        os.sched_setaffinity(0, cores)
        server.kill()
        server.wait()


def main():
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--serve", metavar="MODULE")
    ap.add_argument("--peer", default="cymongoose", help="'' for none")
    ap.add_argument("--peer-python", default=sys.executable, help="an interpreter that has it")
    args = ap.parse_args()
    if args.serve:
        serve(args.serve)
        return
    if args.peer and args.peer_python == sys.executable and not importlib.util.find_spec(args.peer):
        print(f"{args.peer} is not installed: measured alone.\n")
        args.peer = ""
    names = {"pymongoose": sys.executable, **({args.peer: args.peer_python} if args.peer else {})}
    results = {name: [] for name in names}
    for _ in range(ROUNDS):
        for name, python in names.items():
            results[name].append(measure(name, python))
    print("| server | messages/s | server CPU us/message |")
    print("|---|---|---|")
    for name, rounds in results.items():
        print(f"| {name} | {max(r for r, _ in rounds):,.0f} | {min(c for _, c in rounds):.2f} |")
    if len(results) == 2:
        ours, theirs = results.values()
        rate = max(r for r, _ in ours) / max(r for r, _ in theirs)
        cost = min(c for _, c in theirs) / min(c for _, c in ours)
        print(
            f"\n{SIZE} bytes to {CLIENTS:,} clients: {rate:.1f} times the rate, {cost:.1f} times less CPU a message."
        )


if __name__ == "__main__":
    main()
