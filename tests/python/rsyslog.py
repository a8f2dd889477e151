"""Debian's rsyslogd as a receiver: on loopback and on sockets of a temporary folder, with a configuration of its own, writing what it
understood as JSON."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import certs
import pytest
from conftest import DEADLINE, eventually

PROGRAM = shutil.which("rsyslogd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
CONFIG = """
global(workDirectory="{folder}" maxMessageSize="64k" parser.escapeControlCharactersOnReceive="off"
       defaultNetstreamDriverCAFile="{folder}/ca.pem" defaultNetstreamDriverCertFile="{folder}/cert.pem"
       defaultNetstreamDriverKeyFile="{folder}/key.pem")
module(load="imudp")
module(load="imtcp")
module(load="imptcp")
module(load="imuxsock" SysSock.Use="off")
module(load="mmpstrucdata")
template(name="json" type="list") {{
  constant(value="{{\\"pri\\":") property(name="pri")
  constant(value=",") property(outname="ts" name="timereported" dateFormat="rfc3339" format="jsonf")
  constant(value=",") property(outname="host" name="hostname" format="jsonf")
  constant(value=",") property(outname="app" name="app-name" format="jsonf")
  constant(value=",") property(outname="procid" name="procid" format="jsonf")
  constant(value=",") property(outname="msgid" name="msgid" format="jsonf")
  constant(value=",") property(outname="msg" name="msg" format="jsonf")
  constant(value=",\\"sd\\":[") property(name="$!rfc5424-sd")
  constant(value="]}}\\n")
}}
ruleset(name="all") {{
  action(type="mmpstrucdata" sd_name.lowercase="off")
  action(type="omfile" file="{folder}/out" template="json")
}}
input(type="imudp" address="127.0.0.1" port="{udp}" rcvbufSize="4m" ruleset="all")
input(type="imtcp" address="127.0.0.1" port="{tcp}" ruleset="all")
input(type="imtcp" address="127.0.0.1" port="{tls}" streamDriver.name="ossl" streamDriver.mode="1"
      streamDriver.authMode="{auth}" ruleset="all")
input(type="imptcp" path="{folder}/stream" unlink="on" ruleset="all")
input(type="imuxsock" socket="{folder}/dgram" useSysTimeStamp="off" ignoreTimestamp="off" useSpecialParser="off" parseHostname="on"
      rateLimit.interval="0" unlink="on" ruleset="all")
"""


class Rsyslog:
    """Running from start() to stop().

    Attributes:
        addresses: of its inputs, by name: udp, tcp, tls, dgram, stream.
    """

    def __init__(self, folder: Path, auth: str = "anon") -> None:
        self.folder = folder
        self.process: subprocess.Popen[bytes] | None = None
        self.ports = {name: _free_port(name) for name in ("udp", "tcp", "tls")}
        self.addresses = {name: f"{name}://127.0.0.1:{port}" for name, port in self.ports.items()}
        self.addresses |= {name: f"unix:{folder}/{name}" for name in ("dgram", "stream")}
        (folder / "ca.pem").write_bytes(certs.root().pem)
        (folder / "cert.pem").write_bytes(certs.server().pem)
        (folder / "key.pem").write_bytes(certs.server().key_pem)
        (folder / "conf").write_text(CONFIG.format(folder=folder, auth=auth, **self.ports))

    def start(self) -> None:
        assert PROGRAM is not None
        with open(self.folder / "log", "ab") as log:
            command = [PROGRAM, "-n", "-f", self.folder / "conf", "-i", self.folder / "pid"]
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        eventually(self._listens)

    def _listens(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.folder / "log").read_text()
        if not all((self.folder / name).exists() for name in ("dgram", "stream")):
            return False
        return all(_bound(name, port) for name, port in self.ports.items())

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(DEADLINE)
            self.process = None

    def received(self) -> list[dict[str, Any]]:
        """Messages so far, as it understood them; `sd` holds the parameters."""
        try:
            text = (self.folder / "out").read_text()
        except FileNotFoundError:
            return []
        found = []
        for line in text[: text.rfind("\n") + 1].splitlines():
            message = json.loads(line)
            elements = message["sd"][0] if message["sd"] else {"": {}}
            ((message["sd_id"], message["sd"]),) = elements.items()
            found.append(message)
        return found

    def wait_for(self, count: int) -> list[dict[str, Any]]:
        eventually(lambda: len(self.received()) >= count)
        return self.received()


def _kind(name: str) -> int:
    return socket.SOCK_DGRAM if name == "udp" else socket.SOCK_STREAM


def _free_port(name: str) -> int:
    with socket.socket(socket.AF_INET, _kind(name)) as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def _bound(name: str, port: int) -> bool:
    """Seen in the kernel's table: to bind the port for an answer would take it from the one who is about to."""
    listens = "07" if name == "udp" else "0A"
    with open(f"/proc/net/{'udp' if name == 'udp' else 'tcp'}") as table:
        return any(f":{port:04X} " in line and line.split()[3] == listens for line in table)


@contextlib.contextmanager
def running(auth: str = "anon") -> Iterator[Rsyslog]:
    if PROGRAM is None:
        pytest.skip("rsyslogd is not installed (Debian: rsyslog, rsyslog-openssl)")
    with tempfile.TemporaryDirectory(prefix="rsyslog-") as folder:  # short: paths of sockets are
        it = Rsyslog(Path(folder), auth)
        it.start()
        try:
            yield it
        finally:
            it.stop()
