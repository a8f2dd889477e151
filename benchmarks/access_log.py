"""What does the access log add to a request? python -m benchmarks.access_log [--rounds N] [--seconds S of each a round]

The same server answers ``GET /`` from a Python handler, with and without ``listen(access_log=Pipeline([RotatingFileSink(...)]))``: servers on
one core, wrk with 100 connections on the other, both before all else there. A round has a fresh process of each, which get a second of load
in turns, so that both see the same moods of the machine. CPU time is that of the whole server process, the worker that writes the file
included; every answer must be in the file.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from statistics import median

from .machine import CLIENT_CPU, SERVER_CPU, cpu, pinned

SERVER = """
import sys
from pymongoose import MG_EV_HTTP_MSG, Manager
from pymongoose.sinks import Pipeline, RotatingFileSink

def handler(conn, ev, data):
    if ev == MG_EV_HTTP_MSG:
        conn.reply(200, b"Hello, World!")

log = Pipeline([RotatingFileSink(sys.argv[1])], max_events=1_000_000) if sys.argv[1] else None
if log is not None:
    log.start()
mgr = Manager(handler)
print(mgr.listen("http://127.0.0.1:0", access_log=log).local_addr[1], flush=True)
mgr.run()
if log is not None:
    print(log.stop().sent, sum(log.stats().refused.values()), flush=True)
"""


class Server:
    """A process of its own; `path` of its log, or empty."""

    def __init__(self, path):
        self.path = path
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVER, path],
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=pinned(SERVER_CPU),  # noqa: PLW1509
        )
        self.url = f"http://127.0.0.1:{self.process.stdout.readline().strip()}/"
        self.requests = self.cpu = 0
        self.load(1)
        self.requests, self.warm = 0, self.cpu_now()

    def cpu_now(self):
        return sum(cpu(self.process.pid))

    def load(self, seconds):
        out = load(self.url, seconds)
        self.requests += int(next(ln for ln in out.splitlines() if "requests in" in ln).split()[0])

    def cost(self):
        """CPU us per request since it was warm."""
        return (self.cpu_now() - self.warm) / self.requests * 1e6

    def stop(self):
        """Records sent, and refused by the queue."""
        self.process.terminate()
        return [int(n) for n in self.process.communicate(timeout=30)[0].split()]

    def kill(self):
        self.process.kill()
        self.process.wait()


def measure(folder, seconds):
    """CPU us per request without and with the log, records missing."""
    path = os.path.join(folder, "log")
    servers = [Server(""), Server(path)]
    off, on = servers
    try:
        warm = settled(path)
        for n in range(seconds):
            for server in servers[:: 1 if n % 2 == 0 else -1]:
                server.load(1)
        requests, records = on.requests, settled(path) - warm
        costs = off.cost(), on.cost()
        refused = on.stop()[1]
        return *costs, max(0, requests - records - refused)
    finally:
        for server in servers:
            server.kill()


def settled(path):
    """Records in the file, when it grows no longer."""
    before, now = -1, count(path)
    while now != before:
        time.sleep(0.5)
        before, now = now, count(path)
    return now


def load(url, seconds):
    """What wrk says."""
    return subprocess.run(
        ["wrk", "-t1", "-c100", f"-d{seconds}s", url],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=pinned(CLIENT_CPU),
    ).stdout


def count(path):
    if not path or not os.path.exists(path):
        return 0
    with open(path, "rb") as f:
        return sum(piece.count(b"\n") for piece in iter(lambda: f.read(1 << 20), b""))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4)
    args = parser.parse_args()
    without, with_log, missing = [], [], 0
    for _ in range(args.rounds):
        with tempfile.TemporaryDirectory() as folder:
            off, on, lost = measure(folder, args.seconds)
        without.append(off)
        with_log.append(on)
        missing += lost
    print("| access log | CPU us/request, best (median) |")
    print("|---|---|")
    print(f"| off | {min(without):.2f} ({median(without):.2f}) |")
    print(f"| on, into a file | {min(with_log):.2f} ({median(with_log):.2f}) |")
    pairs = [b / a for a, b in zip(without, with_log, strict=True)]
    print(
        f"\nWith / without: {min(with_log) / min(without):.2f} of the best rounds, {median(pairs):.2f} median of the rounds; "
        f"{missing} records missing."
    )


if __name__ == "__main__":
    main()
