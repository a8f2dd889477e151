"""How many system calls does a keep-alive request take?

The server runs under `strace -c -f` while wrk asks over 100 connections; the counts are divided by
the requests answered. Tracing makes everything slow, so more requests are ready in each turn than
otherwise: epoll_wait per request is a lower bound.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from . import environment, load
from .servers import Place, Server

WATCHED = {
    "recv": "recvfrom recvmsg read readv",
    "send": "sendto sendmsg write writev",
    "epoll_ctl": "epoll_ctl",
    "epoll_wait": "epoll_wait epoll_pwait epoll_pwait2",
    "accept": "accept accept4",
    "futex": "futex",
    "others": "",
}


class Traced(Place):
    """A place whose servers run under strace."""

    def command(self, name, mode, port):
        return [
            "strace",
            "-f",
            "-c",
            "-U",
            "name,calls",
            "-o",
            str(self.tmp / "calls"),
            *super().command(name, mode, port),
        ]


def count(place, name, seconds=3):
    """-> requests, {system call: times}"""
    with Server(place, name, "plain") as server:
        done = load.run(place, server.port, load.SCENARIOS["c100"], seconds)
        for pid in load.machine.tree(server.pid)[1:]:  # not strace: it has to write its summary
            os.kill(pid, signal.SIGTERM)
        end = time.monotonic() + 10
        while server.running() and time.monotonic() < end:
            time.sleep(0.05)
    calls = {}
    for line in (place.tmp / "calls").read_text().splitlines():
        if found := re.fullmatch(r"\s*(\w+)\s+(\d+)\s*", line):
            calls[found[1]] = int(found[2])
    calls.pop("total", None)
    return done.requests, calls


def main():
    if not shutil.which("strace"):
        sys.exit("strace is not installed")
    print("| server | requests | " + " | ".join(WATCHED) + " |\n|" + "---|" * (2 + len(WATCHED)))
    with tempfile.TemporaryDirectory(prefix="bench-") as tmp:
        place = Traced(sys.executable, os.environ.get("BENCH_LIMITS", environment.LIMITS), tmp)
        for name in ("limit-epoll", "pymongoose", "cymongoose"):
            try:
                requests, calls = count(place, name)
            except (RuntimeError, subprocess.SubprocessError, OSError) as e:
                print(f"| {name} | failed: {e} |" + " |" * len(WATCHED))
                continue
            groups = {
                group: sum(calls.pop(c, 0) for c in members.split())
                for group, members in WATCHED.items()
            }
            groups["others"] = sum(calls.values())
            print(
                f"| {name} | {requests:,.0f} | "
                + " | ".join(f"{n / requests:.3f}" for n in groups.values())
                + " |",
                flush=True,
            )
    print("\nPer request; 'others' and part of recv are the start of the process.")


if __name__ == "__main__":
    main()
