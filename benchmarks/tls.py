"""What does TLS cost, beside nginx with the same OpenSSL, certificate and cipher?

Keep-alive requests on 100 connections, and full handshakes: one request per connection, resumption off on both sides. nginx answers in
C (`return 200`, one worker), pymongoose from a Python handler. With an RSA key the server is the bottleneck of handshakes; with ECDSA the
client has more to compute than the server, so that what counts there is the server's CPU time. wrk asks; server on one core, wrk on the
other; cells of both servers are interleaved.
"""

from __future__ import annotations

import argparse
import os
import socket
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from . import load, machine
from .servers import Place

KEYS = {"ecdsa": ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"], "rsa": ["rsa:2048"]}
# name -> (key, what wrk does)
QUESTIONS = {
    "keep-alive": ("ecdsa", load.Scenario("plain")),
    "handshake, ECDSA P-256": (
        "ecdsa",
        load.Scenario("close", 32, headers=("Connection: close",)),
    ),
    "handshake, RSA 2048": ("rsa", load.Scenario("close", 32, headers=("Connection: close",))),
}
OURS = """
import sys
from pymongoose import MG_EV_HTTP_MSG, Manager, TlsOpts
def handler(conn, ev, data):
    if ev == MG_EV_HTTP_MSG:
        conn.reply(200, b"Hello, World!")
mgr = Manager(handler)
port, cert, key = sys.argv[1:]
mgr.listen(f"https://127.0.0.1:{port}", tls=TlsOpts(cert=cert, key=key, resumption=False))
mgr.run()
"""
NGINX = """
worker_processes 1;
daemon off;
pid @TMP@/nginx-@PORT@.pid;
error_log /dev/null crit;
events { worker_connections 4000; }
http {
  access_log off;
  keepalive_requests 1000000000;
  server {
    listen 127.0.0.1:@PORT@ ssl backlog=4096;
    ssl_certificate @CERT@;
    ssl_certificate_key @KEY@;
    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_prefer_server_ciphers on;
    ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384;
    ssl_session_tickets off;
    ssl_session_cache off;
    default_type text/plain;
    location = / { return 200 "Hello, World!"; }
  }
}
"""


def certificate(folder: Path, kind: str) -> tuple[Path, Path]:
    cert, key = folder / f"{kind}.pem", folder / f"{kind}.key"
    command = ["openssl", "req", "-x509", "-newkey", *KEYS[kind], "-nodes", "-days", "2"]
    command += ["-subj", "/CN=127.0.0.1", "-keyout", str(key), "-out", str(cert)]
    subprocess.run(command, check=True, capture_output=True)
    return cert, key


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as s:
        return int(s.getsockname()[1])


class Server:
    """One of the two, with one of the keys."""

    def __init__(self, folder: Path, name: str, cert: Path, key: Path) -> None:
        self.port = free_port()
        if name == "nginx":
            text = NGINX
            for word, value in {
                "@TMP@": folder,
                "@PORT@": self.port,
                "@CERT@": cert,
                "@KEY@": key,
            }.items():
                text = text.replace(word, str(value))
            conf = folder / f"nginx-{self.port}.conf"
            conf.write_text(text)
            command = ["nginx", "-c", str(conf)]
        else:
            command = [sys.executable, "-c", OURS, str(self.port), str(cert), str(key)]
        path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"])
        self._process = subprocess.Popen(
            command,
            preexec_fn=machine.pinned(machine.SERVER_CPU),  # noqa: PLW1509
            env={**os.environ, "PATH": path},
        )
        self.pid = self._process.pid
        self.name = name
        self.spoken = self._spoken()

    def _spoken(self) -> str:
        """The version and cipher that a client gets, once the server is there."""
        command = ["openssl", "s_client", "-connect", f"127.0.0.1:{self.port}", "-brief"]
        for _ in range(100):
            out = subprocess.run(
                command, input="", capture_output=True, text=True, check=False
            ).stderr
            found = [
                line.split(":", 1)[1].strip()
                for line in out.splitlines()
                if line.startswith(("Protocol version", "Ciphersuite", "Server Temp Key"))
            ]
            if found:
                return ", ".join(found)
        raise RuntimeError(f"{self.name} does not speak TLS: {out.strip()[-200:]}")

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait()


def main() -> None:
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    ap.add_argument("--rounds", type=int, default=5)
    ap.add_argument("--seconds", type=int, default=2)
    args = ap.parse_args()
    servers: dict[tuple[str, str], Server] = {}
    rows: dict[tuple[str, str], list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory(prefix="bench-tls-") as tmp:
        folder = Path(tmp)
        place = Place(sys.executable, ".", folder)  # for wrk's scripts
        try:
            for kind in KEYS:
                cert, key = certificate(folder, kind)
                for name in ("pymongoose", "nginx"):
                    servers[name, kind] = Server(folder, name, cert, key)
            for number in range(args.rounds):
                for question, (kind, scenario) in QUESTIONS.items():
                    for name in (
                        ("pymongoose", "nginx") if number % 2 == 0 else ("nginx", "pymongoose")
                    ):
                        row = load.cell(
                            place, servers[name, kind], scenario, args.seconds, scheme="https"
                        )
                        assert not row["errors"], row
                        rows.setdefault((question, name), []).append(row)
        finally:
            for server in servers.values():
                server.stop()
    spoken = {server.spoken for server in servers.values()}
    assert len(spoken) == 1, f"not the same on both sides: {spoken}"
    print(f"Both speak {spoken.pop()}.\n")
    report(rows)


def report(rows: dict[tuple[str, str], list[dict[str, float]]]) -> None:
    print("| | server | CPU us best (median) | per second best (median) | its CPU % |")
    print("|---|---|---|---|---|")
    middle = statistics.median
    for (question, name), cells in rows.items():
        cpu, rate = [c["cpu_us"] for c in cells], [c["rps"] for c in cells]
        print(
            f"| {question} | {name} | {min(cpu):.2f} ({middle(cpu):.2f}) | {max(rate):,.0f} ({middle(rate):,.0f}) "
            f"| {middle(c['cpu_pct'] for c in cells):.0f} |"
        )
    for question in QUESTIONS:
        ours, theirs = rows[question, "pymongoose"], rows[question, "nginx"]
        cpu = min(c["cpu_us"] for c in ours) / min(c["cpu_us"] for c in theirs)
        rate = max(c["rps"] for c in ours) / max(c["rps"] for c in theirs)
        pairs = list(zip(ours, theirs, strict=True))
        print(
            f"\n{question}: {cpu:.2f} of nginx's CPU (median of rounds {middle(a['cpu_us'] / b['cpu_us'] for a, b in pairs):.2f}), "
            f"{rate:.2f} of its rate ({middle(a['rps'] / b['rps'] for a, b in pairs):.2f})."
        )


if __name__ == "__main__":
    main()
