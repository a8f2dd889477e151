"""What does another Python thread get done beside the loop, with Python's lock let go or kept?

A thread counts as fast as it can in the server's process: alone, beside a server nobody asks, and
beside one under load; with this build and with one made with USE_NOGIL=0. The count is read from
shared memory, because a process whose lock is held cannot be asked.
"""

import mmap
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from . import environment, load
from .servers import Place

BATCH = 10_000  # additions between two notes of the count
ALONE = 1.5  # seconds before the loop starts to turn
SECONDS = 3


def serve(path):
    """The measured process."""
    import pymongoose as m

    with open(path, "r+b") as f:
        shared = mmap.mmap(f.fileno(), 8)

    def count():
        done = 0
        while True:
            n = 0
            for i in range(BATCH):
                n += i
            done += BATCH
            shared[:] = done.to_bytes(8, "little")

    def handler(conn, ev, data):
        if ev == m.MG_EV_HTTP_MSG:
            conn.reply(200, b"Hello, World!")

    mgr = m.Manager(handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    print(mgr.listen("http://127.0.0.1:0").local_addr[1], m.build_info()["nogil"], flush=True)
    threading.Thread(target=count, daemon=True).start()
    time.sleep(ALONE)
    while True:
        mgr.poll(1000)


def measure(place, package):
    """-> nogil, additions per second alone, beside an idle loop, beside a loaded one; that load."""
    environ = dict(os.environ)
    if package:
        environ["PYTHONPATH"] = os.pathsep.join(
            filter(None, [str(package), environ.get("PYTHONPATH", "")])
        )
    path = place.tmp / "count"
    path.write_bytes(bytes(8))
    command = [sys.executable, "-m", "benchmarks.nogil", str(path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environ)
    try:
        words = process.stdout.readline().split()
        if len(words) != 2:
            raise RuntimeError("did not start")

        def rate(do):
            before, start = int.from_bytes(path.read_bytes(), "little"), time.monotonic()
            result = do()
            done = int.from_bytes(path.read_bytes(), "little") - before
            return done / (time.monotonic() - start), result

        alone, _ = rate(lambda: time.sleep(ALONE - 0.5))
        time.sleep(1)  # by now the loop turns
        idle, _ = rate(lambda: time.sleep(SECONDS))
        loaded, done = rate(
            lambda: load.run(place, int(words[0]), load.SCENARIOS["c100"], SECONDS, pin=False)
        )
        return words[1] == "True", alone, idle, loaded, done
    finally:
        process.kill()
        process.wait()


def main():
    locked = Path(os.environ.get("BENCH_LOCKED", environment.WITHOUT_NOGIL))
    print(
        "| build | thread alone | beside an idle loop | beside 100 busy connections "
        "| req/s meanwhile | p99 ms |\n|---|---|---|---|---|---|"
    )
    with tempfile.TemporaryDirectory(prefix="bench-") as tmp:
        place = Place(sys.executable, os.environ.get("BENCH_LIMITS", environment.LIMITS), tmp)
        for package in (None, locked):
            if package and not package.exists():
                print("| USE_NOGIL=0 | not built | | | | |")
                continue
            nogil, alone, idle, loaded, done = measure(place, package)
            if nogil == bool(package):
                sys.exit("the build is not what it should be")
            print(
                f"| {'lets go of the lock' if nogil else 'USE_NOGIL=0'} | {alone / 1e6:.1f} "
                f"| {idle / 1e6:.1f} ({idle / alone:.0%}) | {loaded / 1e6:.1f} ({loaded / alone:.0%}) "
                f"| {done.requests / done.seconds:,.0f} | {done.p99 / 1e3:.1f} |",
                flush=True,
            )
    print(
        "\nMillions of additions per second by the busy thread. Python hands its lock on after 5 ms, "
        "when asked for it:"
    )
    print("that, not the server, bounds requests per second beside a thread that never waits.")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        serve(sys.argv[1])
    else:
        main()
