"""Run wstest against pymongoose and pymongoose against wstest, and judge the reports. Started by autobahn.sh.

A case is clean when its behaviour is OK, NON-STRICT (allowed, but not what the suite likes best) or INFORMATIONAL; so for its close.
"""

from __future__ import annotations

import collections
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from pymongoose import (
    MG_EV_CLOSE,
    MG_EV_ERROR,
    MG_EV_HTTP_MSG,
    MG_EV_WS_MSG,
    Connection,
    Deflate,
    Limits,
    Manager,
    WsLimits,
)

AGENT = "pymongoose"
LIMITS = WsLimits(max_message=64 << 20, max_ratio=0)
SUITE_ENV = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}  # theirs is another Python
CLEAN = {"OK", "NON-STRICT", "INFORMATIONAL"}
DEFLATE = Deflate(context_takeover=True)


def echo(conn: Connection, ev: int, data: Any) -> None:
    if ev == MG_EV_HTTP_MSG:
        conn.ws_upgrade(data, compress=DEFLATE, limits=LIMITS)
    elif ev == MG_EV_WS_MSG:
        conn.ws_send(data)


def words(name: str) -> list[str]:
    return os.environ.get(name, "").replace(",", " ").split()


def judge(out: Path, side: str) -> int:
    """Print what the report says; the number of cases that are not clean."""
    cases = json.loads((out / "index.json").read_text())[AGENT]
    total = collections.Counter(case["behavior"] for case in cases.values())
    bad = {
        name: f"{case['behavior']}/{case['behaviorClose']}"
        for name, case in cases.items()
        if case["behavior"] not in CLEAN or case["behaviorClose"] not in CLEAN
    }
    counts = ", ".join(f"{count} {name}" for name, count in sorted(total.items()))
    print(f"{side}: {len(cases)} cases: {counts}; not clean: {bad or 'none'}", flush=True)
    return len(bad) if cases else 1


def run_server(wstest: str, out: Path) -> int:
    """Their client, our server."""
    mgr = Manager(echo)
    listener = mgr.listen("ws://127.0.0.1:0", limits=Limits(send_max=256 << 20))
    assert listener.local_addr is not None
    thread = threading.Thread(target=mgr.run)
    thread.start()
    report = out / "server"
    shutil.rmtree(report, ignore_errors=True)
    spec = {
        "outdir": str(report),
        "servers": [{"agent": AGENT, "url": f"ws://127.0.0.1:{listener.local_addr[1]}"}],
        "cases": words("CASES"),
        "exclude-cases": words("SKIP"),
        "exclude-agent-cases": {},
    }
    (out / "server.json").write_text(json.dumps(spec))
    command = [wstest, "-m", "fuzzingclient", "-s", "server.json"]
    try:
        with (out / "server.log").open("w") as log:
            subprocess.run(command, cwd=out, env=SUITE_ENV, stdout=log, stderr=log, check=True)
    finally:
        mgr.stop()
        thread.join()
    return judge(report, "server")


class Client:
    """Our client, told by their server how many cases there are."""

    def __init__(self, url: str) -> None:
        self.url, self.total, self.current = url, 0, 0
        self.mgr = Manager(error_handler=print)
        self.failed: str | None = None

    def connect(self, path: str, handler: Any) -> None:
        self.mgr.ws_connect(f"{self.url}{path}", handler, compress=DEFLATE, limits=LIMITS)

    def on_count(self, conn: Connection, ev: int, data: Any) -> None:
        if ev == MG_EV_WS_MSG:
            self.total = int(data.text)
        elif ev == MG_EV_ERROR:
            self.failed = data
            self.mgr.stop()
        elif ev == MG_EV_CLOSE and self.failed is None:
            self.next()

    def on_case(self, conn: Connection, ev: int, data: Any) -> None:
        if ev == MG_EV_WS_MSG:
            conn.ws_send(data)
        elif ev == MG_EV_CLOSE:
            self.next()

    def next(self) -> None:
        if self.current < self.total:
            self.current += 1
            self.connect(f"/runCase?case={self.current}&agent={AGENT}", self.on_case)
        else:
            self.connect(f"/updateReports?agent={AGENT}", self.on_report)

    def on_report(self, conn: Connection, ev: int, data: Any) -> None:
        if ev == MG_EV_CLOSE:
            self.mgr.stop()

    def run(self) -> None:
        self.connect("/getCaseCount", self.on_count)
        self.mgr.run()


def run_client(wstest: str, out: Path) -> int:
    """Their server, our client."""
    report = out / "client"
    shutil.rmtree(report, ignore_errors=True)
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    spec = {
        "outdir": str(report),
        "url": f"ws://127.0.0.1:{port}",
        "cases": words("CASES"),
        "exclude-cases": words("SKIP"),
        "exclude-agent-cases": {},
    }
    (out / "client.json").write_text(json.dumps(spec))
    with (out / "client.log").open("w") as log:
        command = [wstest, "-m", "fuzzingserver", "-w", "0", "-s", "client.json"]
        server = subprocess.Popen(command, cwd=out, env=SUITE_ENV, stdout=log, stderr=log)
    try:
        end = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except ConnectionRefusedError:
                if time.monotonic() > end or server.poll() is not None:
                    raise RuntimeError(f"wstest does not listen; see {out}/client.log") from None
                time.sleep(0.1)
        client = Client(f"ws://127.0.0.1:{port}")
        client.run()
        if client.failed:
            raise RuntimeError(client.failed)
    finally:
        server.terminate()
        server.wait()
    return judge(report, "client")


def main() -> None:
    out, wstest, side = Path(os.environ["OUT"]), os.environ["WSTEST"], os.environ["SIDE"]
    out.mkdir(parents=True, exist_ok=True)
    bad = 0
    if side in ("both", "server"):
        bad += run_server(wstest, out)
    if side in ("both", "client"):
        bad += run_client(wstest, out)
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
