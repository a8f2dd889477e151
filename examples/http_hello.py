"""Say hello over HTTP; /healthz is answered in C, without entering Python.
python examples/http_hello.py --port 8000, then: curl http://127.0.0.1:8000/?name=you"""

import argparse

from pymongoose import MG_EV_HTTP_MSG, Connection, HttpMessage, Manager


def handler(conn: Connection, ev: int, data: HttpMessage) -> None:
    if ev == MG_EV_HTTP_MSG:
        name = data.query_var("name") or "World"
        conn.reply(200, f"Hello, {name}!\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8000, help="0: a free one")
    args = parser.parse_args()

    mgr = Manager(handler)
    site = mgr.listen(f"http://127.0.0.1:{args.port}")
    site.respond("/healthz", 200, "ok\n")
    print(f"http://127.0.0.1:{site.local_addr[1]}", flush=True)
    mgr.run()


if __name__ == "__main__":
    main()
