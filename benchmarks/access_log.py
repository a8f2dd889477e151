"""What does the access log add to a request? python -m benchmarks.access_log [--rounds N] [--seconds S]

The same server answers ``GET /`` from a Python handler, with and without ``listen(access_log=Pipeline([RotatingFileSink(...)]))``, in
interleaved rounds, every second one the other way round: server on one core, wrk with 100 connections on the other, both before all else there.
CPU time is that of the whole server process, the worker that writes the file included; every answer must be in the file.
"""

import argparse
import os
import subprocess
import sys
import tempfile
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


def measure(path, seconds):
    """CPU us per request, requests, records in the file, records refused by the queue."""
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER, path],
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=pinned(SERVER_CPU),  # noqa: PLW1509
    )
    try:
        url = f"http://127.0.0.1:{server.stdout.readline().strip()}/"
        load(url, 1)
        warm = count(path)
        before = sum(cpu(server.pid))
        out = load(url, seconds)
        used = sum(cpu(server.pid)) - before
        requests = int(next(line for line in out.splitlines() if "requests in" in line).split()[0])
        server.terminate()
        refused = int(server.communicate(timeout=30)[0].split()[-1]) if path else 0
        return used / requests * 1e6, requests, count(path) - warm, refused
    finally:
        server.kill()
        server.wait()


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
    parser.add_argument("--seconds", type=int, default=3)
    args = parser.parse_args()
    without, with_log, missing = [], [], 0
    for n in range(args.rounds):
        if n % 2 == 0:
            without.append(measure("", args.seconds)[0])
        with tempfile.TemporaryDirectory() as folder:
            cost, requests, records, refused = measure(os.path.join(folder, "log"), args.seconds)
        with_log.append(cost)
        missing += max(0, requests - records - refused)
        if n % 2:
            without.append(measure("", args.seconds)[0])
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
