"""The demo server of `make demo`: hello, JSON and work on threads, with a list of things to try.
python examples/demo.py --host 127.0.0.1 --port 8000"""

import argparse
import hashlib
import threading

from pymongoose import MG_EV_HTTP_MSG, Connection, HttpMessage, Manager, build_info, json_get_str


def slow(rounds: int) -> dict[str, object]:
    """Runs on a worker thread; the loop goes on with other requests meanwhile."""
    digest = hashlib.pbkdf2_hmac("sha256", b"password", b"salt", rounds)
    thread = threading.current_thread().name
    return {"rounds": rounds, "digest": digest.hex(), "thread": thread}


def handler(conn: Connection, ev: int, data: HttpMessage) -> None:
    if ev != MG_EV_HTTP_MSG:
        return
    if data.uri == "/":
        conn.reply(200, "Hello, World!\n")
    elif data.uri == "/json" and data.method == "POST":
        name = json_get_str(data.body, "$.name")
        conn.reply_json({"hello": name} if name else {"error": "no name"}, 200 if name else 422)
    elif data.uri == "/threaded":
        conn.offload(slow, 200_000, timeout=10.0)
    elif data.uri == "/stats":
        stats = conn.manager.stats()
        conn.reply_json({"requests": stats.requests, "jobs": stats.pool.completed})
    else:
        conn.reply(404, "not here\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="0.0.0.0: reachable from elsewhere")
    parser.add_argument("--port", type=int, default=8000, help="0: a free one")
    args = parser.parse_args()
    mgr = Manager(handler, workers=4)
    site = mgr.listen(f"http://{args.host}:{args.port}")
    url = f"http://{args.host}:{site.local_addr[1]}"
    print(url)
    print(f"pymongoose {build_info()['version']} serves until Ctrl-C. Try, in another terminal:\n")
    print(f'  curl {url}/\n  curl -d \'{{"name": "Ada"}}\' {url}/json')
    print(f"  curl {url}/threaded\n  curl {url}/stats\n", flush=True)
    mgr.run()


if __name__ == "__main__":
    main()
