"""Do slow clients hold up the others? 1,000 that send their head byte by byte and 1,000 that send their body so, while wrk asks.

    python -m benchmarks.slow_clients [--slow 1000] [--seconds 8] [--rounds 3]

Prints requests per second without and with them, the share that is left, and when the last slow client was closed. Wants `wrk`. Server, slow
clients and wrk are three processes on the same cores: what the slow clients themselves cost is in the number.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import resource
import selectors
import socket
import statistics
import subprocess
import sys
import time

SERVER = """
from pymongoose import MG_EV_HTTP_MSG, Limits, Manager
def handler(conn, ev, data):
    if ev == MG_EV_HTTP_MSG:
        conn.reply(200, "Hello, World!")
mgr = Manager(handler)
limits = Limits(header_timeout=DEADLINE, body_timeout=DEADLINE, body_grace=DEADLINE)
print(mgr.listen("http://127.0.0.1:0", limits=limits).local_addr[1], flush=True)
mgr.run()
"""
HEAD = b"GET / HTTP/1.1\r\nHost: a\r\nX: "
BODY = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n"


def slow(port: int, count: int, deadline: float) -> None:
    """A byte of each every half second, until the server has closed them all; prints how many it closed, and when."""
    sel = selectors.DefaultSelector()
    opened: dict[socket.socket, float] = {}
    for i in range(2 * count):
        sock = socket.create_connection(("127.0.0.1", port))
        sock.sendall(HEAD if i % 2 else BODY)
        sock.setblocking(False)
        sel.register(sock, selectors.EVENT_READ)
        opened[sock] = time.monotonic()
    print("ready", flush=True)
    lives: list[float] = []
    end = time.monotonic() + 3 * deadline
    while opened and time.monotonic() < end:
        for sock in list(opened):
            with contextlib.suppress(OSError):
                sock.send(b"x")
        for key, _ in sel.select(0.5):
            sock = key.fileobj  # type: ignore[assignment]
            with contextlib.suppress(OSError):
                if sock.recv(1000):
                    continue  # its 408
            sel.unregister(sock)
            sock.close()
            lives.append(time.monotonic() - opened.pop(sock))
    print(json.dumps({"closed": len(lives), "longest": max(lives, default=0.0)}), flush=True)


def wrk(port: int, seconds: int) -> float:
    out = subprocess.run(
        ["wrk", "-t1", "-c64", f"-d{seconds}s", f"http://127.0.0.1:{port}/"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    found = re.search(r"Requests/sec:\s*([\d.]+)", out)
    assert found, out
    return float(found[1])


def measure(count: int, seconds: int, rounds: int) -> None:
    deadline = float(seconds + 4)  # they live as long as wrk runs
    code = SERVER.replace("DEADLINE", str(deadline))
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        port = int(server.stdout.readline())
        try:
            shares = []
            for _ in range(rounds):
                alone = wrk(port, seconds)
                me = [sys.executable, "-m", "benchmarks.slow_clients", "--port", str(port)]
                me += ["--slow", str(count), "--deadline", str(deadline)]
                with subprocess.Popen(me, stdout=subprocess.PIPE, text=True) as crowd:
                    assert crowd.stdout is not None
                    assert crowd.stdout.readline() == "ready\n"
                    beside = wrk(port, seconds)
                    told = json.loads(crowd.stdout.readline())
                shares.append(beside / alone)
                print(
                    f"alone {alone:,.0f}/s, beside {2 * count} slow ones {beside:,.0f}/s: {beside / alone:.1%}; "
                    f"{told['closed']} of {2 * count} closed, the last after {told['longest']:.1f} s (limit {deadline:.0f} s)",
                    flush=True,
                )
            print(f"median share {statistics.median(shares):.1%}")
        finally:
            server.terminate()


def main() -> None:
    args = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    args.add_argument("--slow", type=int, default=1000)
    args.add_argument("--seconds", type=int, default=8)
    args.add_argument("--rounds", type=int, default=3)
    args.add_argument("--port", type=int, help=argparse.SUPPRESS)
    args.add_argument("--deadline", type=float, default=12.0, help=argparse.SUPPRESS)
    a = args.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536), hard))
    if a.port:
        slow(a.port, a.slow, a.deadline)
    else:
        measure(a.slow, a.seconds, a.rounds)


if __name__ == "__main__":
    main()
