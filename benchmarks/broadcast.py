"""How fast does a message of 1 KiB reach a thousand WebSocket clients?

The same program sends with pymongoose (a group) and with cymongoose (one ws_send for each connection, which is what it offers); the limit
(limit/epoll_limit.c, mode room) makes one system call for each client of all that is due after a turn. The clients are one C program
(limit/ws_room.c): one of them sends "go", the server sends 1 KiB to all. With one message outstanding the next "go" is sent when every byte
has arrived; with more there are always so many on their way, each of another client. Servers are interleaved, seconds apart. Server on
one core, clients on the other.
"""

import argparse
import importlib
import importlib.util
import os
import socket
import statistics
import subprocess
import sys
from pathlib import Path

from . import machine

ROOT = Path(__file__).resolve().parent.parent
LIMITS = Path(os.environ.get("BENCH_LIMITS", ROOT / "build/bench-limits"))
CLIENTS, SIZE = 1000, 1024


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


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as s:
        return s.getsockname()[1]


def start(name, python):
    """The server process, and its port."""
    if (
        name == "limit"
    ):  # it tells nobody when it is ready, and needs no time for it: clients that come too early fail the run
        port = free_port()
        command = [str(LIMITS / "epoll_limit"), str(port), "room"]
    else:
        command = [python, "-m", "benchmarks.broadcast", "--serve", name]
    server = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=machine.pinned(machine.SERVER_CPU),  # noqa: PLW1509
    )
    if name != "limit":
        port = int(server.stdout.readline())
    else:
        await_port(port)
    return server, port


def await_port(port):
    """Until the kernel lists it: a connection to try would be a member."""
    line = f"0100007F:{port:04X} 00000000:0000 0A"
    while line not in Path("/proc/net/tcp").read_text():
        pass


def measure(name, python, outstanding, seconds):
    """Messages delivered in a second, server CPU microseconds for one, median and p99 of the milliseconds to everyone."""
    server, port = start(name, python)
    load = [LIMITS / "ws_room", port, CLIENTS, outstanding, SIZE, seconds]
    try:
        with subprocess.Popen(
            list(map(str, load)),
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=machine.pinned(machine.CLIENT_CPU),  # noqa: PLW1509
        ) as clients:
            assert clients.stdout.readline() == "ready\n", "the clients did not get in"
            before = sum(machine.cpu(server.pid))
            messages, took, p50, p99, errors = map(float, clients.stdout.readline().split())
            cpu = sum(machine.cpu(server.pid)) - before
        assert errors == 0, f"{errors} errors"
        return messages / took, cpu * 1e6 / messages, p50 / 1e3, p99 / 1e3
    finally:
        server.kill()
        server.wait()


def report(results, many):
    print(
        "| outstanding | server | messages/s | median | server CPU us/message | ms to all | p99 |"
    )
    print("|---|---|---|---|---|---|---|")
    for n in many:
        for (name, outstanding), rounds in results.items():
            if outstanding == n:
                rate, cpu, p50, p99 = zip(*rounds, strict=True)
                middle = statistics.median
                print(
                    f"| {n} | {name} | {max(rate):,.0f} | {middle(rate):,.0f} | {min(cpu):.2f} "
                    f"| {middle(p50):.1f} | {middle(p99):.1f} |"
                )
    for peer in dict.fromkeys(name for name, _ in results if name != "pymongoose"):
        for n in many:
            ours, theirs = results["pymongoose", n], results[peer, n]
            rates = max(r[0] for r in ours) / max(r[0] for r in theirs)
            rounds = statistics.median(a[0] / b[0] for a, b in zip(ours, theirs, strict=True))
            cost = min(r[1] for r in theirs) / min(r[1] for r in ours)
            print(
                f"\n{n} outstanding: {rates:.2f} times the rate of {peer} (median of rounds {rounds:.2f}), "
                f"{cost:.2f} times less CPU a message."
            )


def main():
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--serve", metavar="MODULE")
    ap.add_argument("--peer", default="cymongoose", help="'' for none")
    ap.add_argument("--peer-python", default=sys.executable, help="an interpreter that has it")
    ap.add_argument("--outstanding", default="1,4,16,64")
    ap.add_argument("--rounds", type=int, default=3)
    ap.add_argument("--seconds", type=float, default=1.5)
    args = ap.parse_args()
    if args.serve:
        serve(args.serve)
        return
    if args.peer and args.peer_python == sys.executable and not importlib.util.find_spec(args.peer):
        print(f"{args.peer} is not installed: measured without.\n")
        args.peer = ""
    names = ["pymongoose", *([args.peer] if args.peer else []), "limit"]
    many = [int(n) for n in args.outstanding.split(",")]
    results = {(name, n): [] for n in many for name in names}
    for number in range(args.rounds):
        for n in many:
            for name in names if number % 2 == 0 else reversed(names):
                python = args.peer_python if name == args.peer else sys.executable
                results[name, n].append(measure(name, python, n, args.seconds))
    print(f"{SIZE} bytes to {CLIENTS:,} clients.\n")
    report(results, many)


if __name__ == "__main__":
    main()
