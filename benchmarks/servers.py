"""Who is measured: how each server is started, stopped, and held still meanwhile."""

import contextlib
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

from . import machine

HERE = Path(__file__).resolve().parent

# name -> (command, modes it serves). A word that ends in .py is a file in servers/, run as
# `NAME_.py PORT MODE ...`.
COMMON = "plain json big static close ws idle"
SERVERS = {
    "limit-epoll": (["epoll_limit"], COMMON),
    "limit-uring": (["uring_limit"], "plain close"),
    "pyfloor": (["pyfloor_.py"], "plain"),  # the least work with a Python handler
    "pymongoose": (["pymongoose_.py"], COMMON + " offload offload1ms native"),
    "cymongoose": (["cymongoose_.py"], COMMON + " offload offload1ms"),
    "nginx": (["nginx"], "plain static idle"),
    "nginx-nopush": (["nginx", "nopush"], "static"),  # head and file in one go, as ours sends them
    "mrhttp": (["mrhttp_.py"], "plain json big"),
    "bjoern": (["bjoern_.py"], "plain json big close"),
    "fastpysgi": (["fastpysgi_.py", "wsgi"], "plain json big close"),
    "fastpysgi-asgi": (["fastpysgi_.py", "asgi"], "plain json"),
    "fastwsgi": (["fastwsgi_.py"], "plain"),
    "socketify": (["socketify_.py"], "plain json big close ws idle"),
    "granian-rsgi": (["granian_.py", "rsgi"], "plain json big static close ws idle"),
    "granian-asgi": (["granian_.py", "asgi"], "plain json ws"),
    "robyn": (["robyn_.py"], "plain json big static"),
    "uvicorn": (["uvicorn_.py"], COMMON + " offload offload1ms"),
    "fastapi": (["fastapi_.py"], "plain json static"),
    "aiohttp": (["aiohttp_.py"], COMMON + " offload offload1ms"),
    "flask": (["flask_.py"], "plain"),
    "sanic": (["sanic_.py"], "plain"),
    "blacksheep": (["blacksheep_.py"], "plain"),
    "picows": (["picows_.py"], "ws"),
    "websockets": (["websockets_.py"], "ws"),
}
LIMIT, OURS = "limit-epoll", "pymongoose"


class DidNotStart(RuntimeError):
    pass


class Server:
    """One running server on a port of its own."""

    _port = 18000 + os.getpid() % 2000

    def __init__(self, place, name, mode, *, pin=True, patience=15):
        """place: a Place; mode: one of servers/_common.py."""
        Server._port += 1
        self.name, self.port = name, Server._port
        self._log = place.tmp / f"{name}-{mode}.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                place.command(name, mode, self.port),
                stdout=log,
                stderr=log,
                env=place.environment(),
                cwd=HERE / "servers",
                preexec_fn=machine.pinned(machine.SERVER_CPU) if pin else os.setsid,  # noqa: PLW1509
            )
        self.pid = self._process.pid
        self._await_port(patience)

    def _await_port(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end and self._process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                time.sleep(0.2)  # some open the port before they are ready
                return
            except OSError:
                time.sleep(0.05)
        self.stop()
        words = self._log.read_text(errors="replace").split()
        raise DidNotStart(
            " ".join(w for w in words if "/" not in w)[-200:] or "opened no port in time"
        )

    def rest(self):
        """Hold still: no tick of its timers disturbs another server's measurement."""
        self._signal(signal.SIGSTOP)

    def resume(self):
        self._signal(signal.SIGCONT)

    def running(self):
        return self._process.poll() is None

    def stop(self):
        self.resume()
        for number, wait in ((signal.SIGTERM, 1), (signal.SIGKILL, 5)):
            self._signal(number)
            try:
                self._process.wait(wait)
                return
            except subprocess.TimeoutExpired:
                pass

    def _signal(self, number):
        for pid in machine.tree(self.pid):
            with contextlib.suppress(OSError):
                os.kill(pid, number)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.stop()


class Place:
    """Where things are: the interpreter with the peers, the built limits, scratch space."""

    def __init__(self, python, limits, tmp):
        self.python, self.limits, self.tmp = (
            Path(python).absolute(),
            Path(limits).absolute(),
            Path(tmp),
        )
        self.static = self.tmp / "static"
        self.static.mkdir(parents=True, exist_ok=True)
        self.tmp.chmod(0o755)  # nginx's worker is another user, when we are root
        (self.static / "big.bin").write_bytes(bytes(range(256)) * 4096)

    def environment(self):
        paths = [str(HERE / "servers"), str(self.limits), os.environ.get("PYTHONPATH", "")]
        return {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
            "PYTHONDONTWRITEBYTECODE": "1",
            "BENCH_STATIC": str(self.static),
        }

    def command(self, name, mode, port):
        program, *options = SERVERS[name][0]
        if mode == "idle" or (mode in ("native", "offload", "offload1ms") and "limit" in name):
            mode = "plain"
        if program == "nginx":
            return ["nginx", "-c", str(self._nginx_conf(port, "on" if options else "off"))]
        if program.endswith(".py"):
            return [str(self.python), str(HERE / "servers" / program), str(port), mode, *options]
        return [str(self.limits / program), str(port), mode, str(self.static / "big.bin")]

    def _nginx_conf(self, port, nopush):
        text = (HERE / "servers/nginx.conf.tmpl").read_text()
        values = {"PORT": port, "TMP": self.tmp, "STATIC": self.static, "NOPUSH": nopush}
        for key, value in values.items():
            text = text.replace(f"@{key}@", str(value))
        conf = self.tmp / f"nginx-{port}.conf"
        conf.write_text(text)
        return conf
