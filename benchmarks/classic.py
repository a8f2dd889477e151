"""What does the usual command show: `wrk -t4 -c100 -d10s`, nothing pinned?

Requests per second depend on the machine and on what the load generator leaves of it; the
factors between servers are the point.
"""

import os
import sys
import tempfile

from . import environment, load
from .servers import OURS, Place, Server

WHO = {
    OURS: "pymongoose",
    "cymongoose": "cymongoose",
    "aiohttp": "aiohttp",
    "fastapi": "FastAPI on uvicorn",
    "flask": "Flask, threaded",
}


def main(seconds=10):
    rates = {}
    print(
        "| server | req/s | pymongoose answers | p50 ms | p99 ms | errors |\n|---|---|---|---|---|---|"
    )
    with tempfile.TemporaryDirectory(prefix="bench-") as tmp:
        place = Place(sys.executable, os.environ.get("BENCH_LIMITS", environment.LIMITS), tmp)
        for name, label in WHO.items():
            try:
                with Server(place, name, "plain", pin=False) as server:
                    load.run(place, server.port, load.SCENARIOS["c8"], 1, pin=False)
                    done = load.run(
                        place, server.port, load.SCENARIOS["c100"], seconds, threads=4, pin=False
                    )
            except (RuntimeError, OSError) as e:
                print(f"| {label} | failed: {e} | | | | |")
                continue
            rates[name] = done.requests / done.seconds
            times = f"{rates[OURS] / rates[name]:.2f} x" if OURS in rates else "-"
            print(
                f"| {label} | {rates[name]:,.0f} | {times} | {done.p50 / 1e3:.2f} | "
                f"{done.p99 / 1e3:.2f} | {done.errors:.0f} |",
                flush=True,
            )
    print(f"\n`wrk -t4 -c100 -d{seconds}s`, 13 bytes of text, one process each.")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
