"""Do slow clients hold up the others? 1,000 that send their head slowly and 1,000 that send their body slowly, while wrk asks.

    python -m benchmarks.slow_clients [--slow 1000] [--seconds 5] [--rounds 3]

The slow ones are slowhttptest's (-H and -B), a line each every second. Prints requests per second and the server's CPU time for one: alone,
while the slow ones are at another server, and while they are at ours; and when slowhttptest saw the last of its connections closed.
Wants `wrk` and `slowhttptest`. The server has one core; wrk, the slow clients and the other server share the second. So what slowhttptest
itself costs wrk is the difference between the first two, and what the slow ones do to a server's others that between the last two.
"""

from __future__ import annotations

import argparse
import csv
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from . import machine

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
ESTABLISHED = "01"


def pinned(core: int) -> dict[str, object]:
    return {"preexec_fn": machine.pinned(core), "stdout": subprocess.PIPE, "text": True}


class Crowd:
    """Slow clients of one kind: "H", heads, or "B", bodies."""

    def __init__(self, kind: str, port: int, count: int, deadline: int, folder: Path) -> None:
        self._csv = folder / f"slow-{kind}"
        command = ["slowhttptest", f"-{kind}", "-c", str(count), "-r", str(count), "-i", "1"]
        command += ["-l", str(3 * deadline), "-p", "5", "-s", "100000", "-g", "-o", str(self._csv)]
        command += ["-u", f"http://127.0.0.1:{port}/"]
        self._process = subprocess.Popen(command, **pinned(machine.CLIENT_CPU))  # type: ignore[call-overload]

    def ended(self) -> tuple[int, bool]:
        """The second in which its last connection was closed; False: some never were."""
        out = re.sub(r"\x1b\[[0-9;]*m", "", self._process.communicate()[0])
        rows = list(csv.reader(self._csv.with_suffix(".csv").read_text().splitlines()))
        return int(rows[-1][0]), "No open connections left" in out


def open_connections(port: int) -> int:
    """Established ones, the server's side."""
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    mine = f"0100007F:{port:04X}"
    return sum(f[1] == mine and f[3] == ESTABLISHED for f in map(str.split, lines))


def ask(server: int, port: int, seconds: int) -> tuple[float, float]:
    """wrk's requests per second, and the server's CPU microseconds for one."""
    before = sum(machine.cpu(server))
    command = ["wrk", "-t1", "-c64", f"-d{seconds}s", f"http://127.0.0.1:{port}/"]
    out = subprocess.run(command, check=True, **pinned(machine.CLIENT_CPU)).stdout  # type: ignore[call-overload]
    cpu = sum(machine.cpu(server)) - before
    rate = re.search(r"Requests/sec:\s*([\d.]+)", out)
    count = re.search(r"(\d+) requests in", out)
    assert rate, out
    assert count, out
    return float(rate[1]), cpu * 1e6 / int(count[1])


def start(core: int, deadline: int) -> tuple[subprocess.Popen[str], int]:
    code = SERVER.replace("DEADLINE", str(float(deadline)))
    server = subprocess.Popen([sys.executable, "-c", code], **pinned(core))  # type: ignore[call-overload]
    return server, int(server.stdout.readline())


def beside(
    crowd_at: int, server: int, port: int, count: int, seconds: int, deadline: int
) -> tuple[float, float, int, bool]:
    """wrk at one port and a crowd at a port: rate, CPU, the second in which the last of the crowd was closed, and whether all were."""
    with tempfile.TemporaryDirectory(prefix="bench-slow-") as tmp:
        crowds = [Crowd(kind, crowd_at, count, deadline, Path(tmp)) for kind in "HB"]
        end = time.monotonic() + 3
        while open_connections(crowd_at) < 2 * count:
            assert time.monotonic() < end, "the slow clients do not get in"
        rate, cpu = ask(server, port, seconds)
        assert open_connections(crowd_at) >= 2 * count, "the slow ones did not stay"
        told = [crowd.ended() for crowd in crowds]
    return rate, cpu, max(s for s, _ in told), all(closed for _, closed in told)


def measure(count: int, seconds: int, rounds: int) -> None:
    deadline = seconds + 4  # they live as long as wrk runs
    server, port = start(machine.SERVER_CPU, deadline)
    other, other_port = start(machine.CLIENT_CPU, deadline)
    shares, costs = [], []
    print("| alone | slow ones elsewhere | slow ones here | closed |\n|---|---|---|---|")
    try:
        for _ in range(rounds):
            rate0, cpu0 = ask(server.pid, port, seconds)
            rate1, cpu1, *_ = beside(other_port, server.pid, port, count, seconds, deadline)
            rate2, cpu2, last, every = beside(port, server.pid, port, count, seconds, deadline)
            shares.append(rate2 / rate1)
            costs.append(cpu2 / cpu1)
            print(
                f"| {rate0:,.0f}/s, {cpu0:.2f} us | {rate1:,.0f}/s, {cpu1:.2f} us | {rate2:,.0f}/s, {cpu2:.2f} us "
                f"| {'all' if every else 'NOT all'} within {last} s |",
                flush=True,
            )
    finally:
        for process in (server, other):
            process.terminate()
            process.wait()
    print(
        f"\n{2 * count} slow clients here instead of elsewhere: {statistics.median(shares):.1%} of the rate, "
        f"{statistics.median(costs):.2f} of the CPU time for a request (medians). Their deadline was {deadline} s from the first byte; "
        f"slowhttptest counts whole seconds from its start."
    )


def main() -> None:
    args = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    args.add_argument("--slow", type=int, default=1000)
    args.add_argument("--seconds", type=int, default=5)
    args.add_argument("--rounds", type=int, default=3)
    a = args.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536), hard))
    measure(a.slow, a.seconds, a.rounds)


if __name__ == "__main__":
    main()
