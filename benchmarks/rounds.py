"""Rounds: every scenario for all servers one after the other, in short cells, again and again.

Within a scenario the limit, ours and the peers lie seconds apart, so a ratio compares what the
machine was like at one time. All servers of a mode are started together and hold still (SIGSTOP)
unless it is their turn; idle scenarios have one server at a time, from few connections to many.
"""

import json
import time

from . import load, machine
from .servers import LIMIT, OURS, SERVERS, DidNotStart, Server

BOTH = f"{LIMIT} {OURS}"
# Who matters where. A server that is slow to open 10,000 connections costs a minute in idle10k.
MATTERS = {
    "c100": f"{BOTH} cymongoose mrhttp bjoern fastpysgi socketify uvicorn aiohttp fastapi",
    "c8": f"{BOTH} cymongoose mrhttp",
    "c1000": f"{BOTH} cymongoose mrhttp",
    "pipe16": f"{BOTH} cymongoose mrhttp fastpysgi uvicorn aiohttp",
    "native": f"{BOTH} nginx",
    "json1k": f"{BOTH} cymongoose mrhttp fastpysgi uvicorn aiohttp",
    "get64k": f"{BOTH} cymongoose mrhttp fastpysgi uvicorn aiohttp",
    "file1m": f"{BOTH} nginx nginx-nopush aiohttp",
    "close": f"{BOTH} cymongoose bjoern uvicorn aiohttp",
    "ws64": f"{BOTH} cymongoose picows websockets",
    "offload": f"{BOTH} cymongoose uvicorn aiohttp",
    "offload1ms": f"{BOTH} cymongoose uvicorn aiohttp",
    "idle0": f"{BOTH} nginx cymongoose",
    "idle10k": f"{BOTH} nginx cymongoose",
}
ALWAYS = {
    LIMIT,
    OURS,
    "cymongoose",
    "mrhttp",
    "nginx",
    "nginx-nopush",
}  # the others in every second round: time is short
DEFAULT = [
    "c100",
    "c8",
    "c1000",
    "pipe16",
    "native",
    "json1k",
    "get64k",
    "close",
    "offload",
    "idle0",
    "idle10k",
]


class Rounds:
    def __init__(self, place, out, *, scenarios, servers=None, rounds=5, seconds=2):
        """out: a file for rows; servers: names, None for those that matter."""
        self._place, self._out = place, out
        self._scenarios, self._servers = scenarios, servers
        self._rounds, self._seconds = rounds, seconds
        self._failed = set()  # (server, mode) that will not start: said once

    def run(self):
        modes = dict.fromkeys(load.SCENARIOS[s].mode for s in self._scenarios)
        for number in range(1, self._rounds + 1):
            for mode in modes:
                names = [s for s in self._scenarios if load.SCENARIOS[s].mode == mode]
                if mode == "idle":
                    self._idle(number, names)
                else:
                    self._interleaved(number, mode, names)

    def _who(self, scenario, number):
        """The servers in their order, backwards in every second round: nobody is always first."""
        names = list(self._entitled(scenario))
        if number % 2 == 0:
            names.reverse()
            if self._servers is None:
                names = [n for n in names if n in ALWAYS]
        return names

    def _entitled(self, scenario):
        mode = load.SCENARIOS[scenario].mode
        for name in self._servers if self._servers is not None else MATTERS[scenario].split():
            modes = SERVERS[name][1].split()
            stand_in = name == LIMIT and mode in (
                "native",
                "offload",
                "offload1ms",
            )  # what it is compared with: plain answers
            if mode == "native" and name == "nginx":
                stand_in = True
            if mode in modes or stand_in:
                yield name

    def _start(self, name, mode, number):
        if (name, mode) in self._failed:
            return None
        try:
            return Server(self._place, name, mode)
        except (DidNotStart, OSError) as e:
            self._failed.add((name, mode))
            self._row({"server": name, "mode": mode, "round": number, "failed": str(e)})
            return None

    def _interleaved(self, number, mode, scenarios):
        running = {}
        try:
            for name in dict.fromkeys(n for s in scenarios for n in self._who(s, number)):
                if server := self._start(name, mode, number):
                    running[name] = server
                    load.run(self._place, server.port, load.SCENARIOS[scenarios[0]], 1)
                    server.rest()
            for scenario in scenarios:
                for name in self._who(scenario, number):
                    if name in running:
                        running[name].resume()
                        self._measure(running[name], scenario, number)
                        running[name].rest()
        finally:
            for server in running.values():
                server.stop()

    def _idle(self, number, scenarios):
        for name in dict.fromkeys(n for s in scenarios for n in self._who(s, number)):
            if number > 1 and name not in (LIMIT, OURS):
                continue  # once is enough to see what they are like
            server = self._start(name, "idle", number)
            if not server:
                continue
            idlers = load.Idlers(server.port)
            try:
                for scenario in scenarios:
                    extra = self._open(
                        server, idlers, load.SCENARIOS[scenario].idle - len(idlers.sockets)
                    )
                    load.run(self._place, server.port, load.SCENARIOS[scenario], 1)
                    before, start = sum(machine.cpu(server.pid)), time.monotonic()
                    time.sleep(1)  # nobody asks anything: what does waiting cost?
                    waited = sum(machine.cpu(server.pid)) - before
                    extra["waiting_cpu_pct"] = round(100 * waited / (time.monotonic() - start), 1)
                    self._measure(server, scenario, number, extra, idlers)
            except (OSError, load.LoadFailed) as e:
                self._row({"server": name, "scenario": scenario, "round": number, "failed": str(e)})
            finally:
                idlers.close()
                server.stop()

    def _open(self, server, idlers, count):
        if count <= 0:
            return {}
        before = machine.rss(server.pid)
        took = idlers.open(count)
        time.sleep(0.3)
        return {
            "open_s": round(took, 2),
            "rss_per_idle": round((machine.rss(server.pid) - before) / count),
        }

    def _measure(self, server, scenario, number, extra=None, idlers=None):
        row = {"server": server.name, "scenario": scenario, "round": number, **(extra or {})}
        try:
            row.update(load.cell(self._place, server, load.SCENARIOS[scenario], self._seconds))
            if idlers and idlers.sockets:
                row["alive"] = idlers.alive()
        except (OSError, load.LoadFailed, load.subprocess.TimeoutExpired) as e:
            row["failed"] = str(e)
        self._row(row)

    def _row(self, row):
        self._out.write(json.dumps(row) + "\n")
        self._out.flush()
        what = (
            f"  round {row['round']} {row.get('scenario') or row.get('mode'):8} {row['server']:14}"
        )
        if "failed" in row:
            print(f"{what} failed: {row['failed'][-120:]}", flush=True)
            return
        idle = f"  open {row['open_s']} s, {row['rss_per_idle']} B/idle" if "open_s" in row else ""
        print(
            f"{what} {row['cpu_us']:9.2f} us/req {row['rps']:9,.0f}/s at {row['cpu_pct']:3.0f} % CPU "
            f"p99 {row['p99_us'] / 1e3:7.2f} ms, errors {row['errors']:.0f}{idle}",
            flush=True,
        )
