"""Serve a folder below /files in C, ranges and conditions included; the rest is Python's.
python examples/static_site.py docs --port 8000 --listing, then: curl -r 0-99 http://127.0.0.1:8000/files/index.md"""

import argparse
from pathlib import Path

from pymongoose import MG_EV_HTTP_MSG, Connection, HttpMessage, Manager


def handler(conn: Connection, ev: int, data: HttpMessage) -> None:
    if ev == MG_EV_HTTP_MSG and data.uri == "/":
        conn.reply(200, '<a href="/files/">files</a>\n', {"Content-Type": "text/html"})
    elif ev == MG_EV_HTTP_MSG:
        conn.reply(404, "Not here\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path, nargs="?", default=Path(__file__).parent)
    parser.add_argument("--port", type=int, default=8000, help="0: a free one")
    parser.add_argument("--listing", action="store_true", help="show folders without an index")
    parser.add_argument("--max-age", type=float, help="seconds that clients may keep files")
    args = parser.parse_args()

    mgr = Manager(handler)
    site = mgr.listen(f"http://127.0.0.1:{args.port}")
    site.serve(
        "/files",
        args.root,
        listing=args.listing,
        max_age=args.max_age,
        mime_types={".py": "text/x-python; charset=utf-8"},
        extra_headers={"X-Content-Type-Options": "nosniff"},
    )
    print(f"http://127.0.0.1:{site.local_addr[1]}", flush=True)
    mgr.run()


if __name__ == "__main__":
    main()
