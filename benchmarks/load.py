"""The load: wrk, ws_load or idle connections, and what one measured cell consists of."""

import json
import socket
import subprocess
import time
from dataclasses import dataclass, field

from . import machine


@dataclass(frozen=True)
class Scenario:
    mode: str
    connections: int = 100
    path: str = "/"
    script: str = "done"
    headers: tuple = ()
    idle: int = 0  # silent connections beside the active ones


SCENARIOS = {
    "c100": Scenario("plain"),
    "c8": Scenario("plain", 8),
    "c1000": Scenario("plain", 1000),
    "pipe16": Scenario("plain", script="pipe"),
    "native": Scenario("native"),
    "json1k": Scenario("json", path="/json", script="post"),
    "get64k": Scenario("big"),
    "file1m": Scenario("static", 32, "/big.bin"),
    "close": Scenario("close", headers=("Connection: close",)),
    "ws64": Scenario("ws", path="/ws", script="ws"),
    "offload": Scenario("offload"),
    "offload1ms": Scenario("offload1ms"),
    "idle0": Scenario("idle", 8),
    "idle10k": Scenario("idle", 8, idle=10_000),
}

_ITEMS = [{"sku": f"A-{i:04}", "n": i, "price": 9.5 + i} for i in range(10)]
_USER = {"name": "Ada Lovelace", "id": 12345, "mail": "ada@example.org"}
_BODY = json.dumps({"event": "order.created", "items": _ITEMS, "user": _USER, "note": ""})
_BODY = _BODY[:-2] + "n" * (1024 - len(_BODY)) + '"}'
_DONE = """done = function(s, l, r) local e = s.errors
 print(string.format("RESULT %d %d %d %d %d %d", s.requests, s.duration, l:percentile(50),
  l:percentile(99), s.bytes, e.connect + e.read + e.write + e.status + e.timeout)) end
"""
_SCRIPTS = {
    "done": _DONE,
    "post": _DONE
    + f"wrk.method = 'POST'; wrk.body = '{_BODY}'\nwrk.headers['Content-Type'] = 'application/json'\n",
    "pipe": _DONE + "local p; init = function() local t = {}\n"
    "for i = 1, 16 do t[i] = wrk.format() end; p = table.concat(t) end\nrequest = function() return p end\n",
}


class LoadFailed(RuntimeError):
    pass


@dataclass
class Load:
    requests: float
    seconds: float
    p50: float  # microseconds, as p99
    p99: float
    bytes: float
    errors: float


def run(place, port, scenario, seconds, *, threads=1, pin=True, prefix="", scheme="http"):
    """One run of the load generator against a port."""
    s = scenario
    if s.script == "ws":
        command = [str(place.limits / "ws_load"), str(port), str(s.connections), str(seconds)]
    else:
        script = place.tmp / f"{s.script}.lua"
        script.write_text(_SCRIPTS[s.script])
        command = [
            "wrk",
            f"-t{threads}",
            f"-c{s.connections}",
            f"-d{seconds}s",
            "--timeout",
            "5s",
            "-s",
            str(script),
        ]
        for header in s.headers:
            command += ["-H", header]
        command.append(f"{scheme}://127.0.0.1:{port}{prefix}{s.path}")
    done = subprocess.run(
        command,
        check=False,
        capture_output=True,
        text=True,
        timeout=seconds + 30,
        preexec_fn=machine.pinned(machine.CLIENT_CPU) if pin else None,
    )
    if s.script == "ws" and not done.returncode:
        requests, took, p50, p99, errors = map(float, done.stdout.split())
        return Load(requests, took, p50, p99, 0, errors)
    for line in done.stdout.splitlines():
        if line.startswith("RESULT"):
            requests, took, p50, p99, size, errors = map(float, line.split()[1:])
            return Load(requests, took / 1e6, p50, p99, size, errors)
    raise LoadFailed((done.stdout + done.stderr).strip()[-200:])


def cell(place, server, scenario, seconds, *, scheme="http"):
    """Measure once: rates, latencies, and the CPU time of the server's processes per request."""
    user0, system0 = machine.cpu(server.pid)
    steal0, all0, start = machine.stolen(), machine.busy(), time.monotonic()
    prefix = "/static" if scenario.mode == "static" and server.name.startswith("granian") else ""
    done = run(place, server.port, scenario, seconds, prefix=prefix, scheme=scheme)
    wall = time.monotonic() - start
    user1, system1 = machine.cpu(server.pid)
    everything = machine.busy() - all0
    if not done.requests:
        raise LoadFailed("no request was answered")
    busy = user1 + system1 - user0 - system0
    return {
        "rps": round(done.requests / done.seconds, 1),
        "cpu_us": round(busy * 1e6 / done.requests, 4),
        "user_us": round((user1 - user0) * 1e6 / done.requests, 4),
        "all_us": round(everything * 1e6 / done.requests, 4),
        "cpu_pct": round(100 * busy / wall, 1),
        "p50_us": done.p50,
        "p99_us": done.p99,
        "errors": done.errors,
        "mb_s": round(done.bytes / done.seconds / 1e6, 1),
        "steal_pct": round(
            100 * (machine.stolen() - steal0) / machine.TICK / wall / machine.os.cpu_count(), 1
        ),
    }


@dataclass
class Idlers:
    """Keep-alive connections that each had one request answered and then say nothing."""

    port: int
    sockets: list = field(default_factory=list)

    def open(self, count):
        """Open so many; returns the seconds it took."""
        start = time.monotonic()
        while count > 0:
            batch = [
                socket.create_connection(("127.0.0.1", self.port), 20)
                for _ in range(min(250, count))
            ]
            for s in batch:
                s.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            for s in batch:
                s.settimeout(60)
                got = b""
                while not got.endswith(b"Hello, World!"):
                    got += s.recv(4096) or self._closed()
            self.sockets += batch
            count -= len(batch)
        return time.monotonic() - start

    def alive(self):
        count = 0
        for s in self.sockets:
            s.setblocking(False)
            try:
                count += bool(s.recv(1))
            except BlockingIOError:
                count += 1
            except OSError:
                pass
        return count

    def close(self):
        for s in self.sockets:
            s.close()

    def _closed(self):
        raise LoadFailed("an idle connection was closed")
