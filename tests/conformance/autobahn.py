"""Run wstest against pymongoose and pymongoose against wstest, and judge the reports. Started by autobahn.sh.

A case is clean when its behaviour is OK, and its close too, or INFORMATIONAL where the suite only looks on. NON-STRICT (allowed, but not what
the suite likes best) and UNIMPLEMENTED (compression that was not agreed on) are not. Each case that was asked for must have run.
"""

from __future__ import annotations

import ast
import collections
import concurrent.futures
import dataclasses
import json
import os
import re
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
INFORMATIONAL = {
    "7.1.6",
    "7.13.1",
    "7.13.2",
}  # a large message behind a close, close codes that no endpoint sends
DEFLATE = Deflate(context_takeover=True)


def echo(conn: Connection, ev: int, data: Any) -> None:
    if ev == MG_EV_HTTP_MSG:
        conn.ws_upgrade(data, compress=DEFLATE, limits=LIMITS)
    elif ev == MG_EV_WS_MSG:
        conn.ws_send(data)


def words(name: str) -> list[str]:
    return os.environ.get(name, "").replace(",", " ").split()


@dataclasses.dataclass
class Verdict:
    """What a report says: counts for each group of cases, and what is not clean."""

    side: str
    groups: dict[int, collections.Counter[str]]
    bad: dict[str, str]

    @property
    def total(self) -> collections.Counter[str]:
        return sum(self.groups.values(), collections.Counter())


def judge(out: Path, side: str) -> Verdict:
    cases = json.loads((out / side / "index.json").read_text())[AGENT]
    wanted = re.search(r"^Cases = (\[.*\])$", (out / f"{side}.log").read_text(), re.MULTILINE)
    bad = (
        {name: "did not run" for name in ast.literal_eval(wanted[1]) if name not in cases}
        if wanted
        else {"all": "unknown"}
    )
    groups: dict[int, collections.Counter[str]] = {}
    for name, case in cases.items():
        behavior, close = case["behavior"], case["behaviorClose"]
        groups.setdefault(int(name.split(".")[0]), collections.Counter())[behavior] += 1
        clean = {"OK", "INFORMATIONAL"} if name in INFORMATIONAL else {"OK"}
        if behavior not in clean or close not in clean:
            bad[name] = f"{behavior}, close {close}"
    return Verdict(side, groups, bad)


def table(verdicts: list[Verdict]) -> None:
    """Groups down, sides across: cases, and of these OK, informational, and anything else."""
    print("group  " + "  ".join(f"{v.side:>8}: cases    OK  info  other" for v in verdicts))
    for group in [*sorted({g for v in verdicts for g in v.groups}), None]:
        cells = []
        for v in verdicts:
            count = v.total if group is None else v.groups.get(group, collections.Counter())
            ok, info, n = count["OK"], count["INFORMATIONAL"], count.total()
            cells.append(f"{n:>15} {ok:>5} {info:>5} {n - ok - info:>6}")
        print(f"{'all' if group is None else group:>5}  " + "  ".join(cells))
    for v in verdicts:
        print(f"{v.side}: not clean: {v.bad or 'none'}", flush=True)


def run_server(wstest: str, out: Path) -> Verdict:
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
    return judge(out, "server")


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


def run_client(wstest: str, out: Path) -> Verdict:
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
        command = [wstest, "-m", "fuzzingserver", "-u", "0", "-s", "client.json"]
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
    return judge(out, "client")


SIDES = {"server": run_server, "client": run_client}


def main() -> None:
    out, wstest, side = Path(os.environ["OUT"]), os.environ["WSTEST"], os.environ["SIDE"]
    out.mkdir(parents=True, exist_ok=True)
    runs = [run for name, run in SIDES.items() if side in ("both", name)]
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        verdicts = list(pool.map(lambda run: run(wstest, out), runs))
    table(verdicts)
    sys.exit(1 if not verdicts or any(v.bad or not v.groups for v in verdicts) else 0)


if __name__ == "__main__":
    main()
