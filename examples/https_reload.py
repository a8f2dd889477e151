"""HTTPS with certificates that are changed while it runs: renew the files, and the next connection
gets the new ones. To try it:"""

#   openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=localhost \
#     -addext subjectAltName=DNS:localhost,IP:127.0.0.1 -keyout site.key -out site.pem
#   python https_reload.py --cert site.pem --key site.key
#   curl --cacert site.pem https://localhost:8443/

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from pymongoose import MG_EV_HTTP_MSG, Connection, Manager, TlsError, TlsOpts


def handler(conn: Connection, ev: int, data: Any) -> None:
    if ev == MG_EV_HTTP_MSG:
        conn.reply(200, f"{conn.tls}\n")


class Watch:
    """Reload a listener's certificates when their files change."""

    def __init__(self, listener: Connection, opts: TlsOpts, files: list[Path]) -> None:
        self.listener, self.opts, self.files = listener, opts, files
        self.seen = self.now()

    def now(self) -> list[tuple[int, int]]:
        return [(s.st_mtime_ns, s.st_ino) for s in (f.stat() for f in self.files if f.exists())]

    def __call__(self) -> None:
        if (now := self.now()) == self.seen:
            return
        try:
            self.listener.tls_reload(self.opts)
        except (
            TlsError
        ) as exc:  # half written, perhaps: the old ones stay, the next look tries again
            print(f"not reloaded: {exc}", flush=True)
        else:
            self.seen = now


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8443)
    parser.add_argument("--cert", type=Path, required=True)
    parser.add_argument("--key", type=Path, required=True)
    parser.add_argument("--every", type=float, default=1.0, help="seconds between looks")
    args = parser.parse_args()
    opts = TlsOpts(cert=args.cert, key=args.key)
    mgr = Manager(handler)
    site = mgr.listen(f"https://127.0.0.1:{args.port}", tls=opts)
    mgr.timer_add(args.every * 1000, Watch(site, opts, [args.cert, args.key]), repeat=True)
    print(f"https://127.0.0.1:{site.local_addr[1]}", flush=True)
    mgr.run()


if __name__ == "__main__":
    main()
