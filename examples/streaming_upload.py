"""Bodies of any size in constant memory: PUT goes to a file piece by piece, GET sends it back the same way.
curl -T big.iso http://127.0.0.1:8000/; curl http://127.0.0.1:8000/ -o copy.iso"""

import argparse
import os
import tempfile

from pymongoose import MG_EV_CLOSE, MG_EV_HTTP_HDRS, MG_EV_HTTP_MSG, Connection, Manager

STORE = os.path.join(tempfile.mkdtemp(), "upload.bin")


def receive(conn: Connection) -> None:
    part = f"{STORE}.{conn.id}"
    out = conn.userdata = open(part, "wb")  # noqa: SIM115  (closed in finish, or when the client goes away)

    def finish() -> None:
        out.close()
        os.replace(part, STORE)
        conn.reply(201, f"{os.path.getsize(STORE)} bytes\n")

    conn.stream_body(out.write, finish)


def send(conn: Connection) -> None:
    source = conn.userdata = open(STORE, "rb")  # noqa: SIM115  (closed at the end, or when the client goes away)

    def more() -> None:  # until enough waits; then again when it went out
        while not body.full and not body.closed:
            if piece := source.read(1 << 18):
                body.write(piece)
            else:
                source.close()
                body.end()

    size = {"Content-Length": str(os.path.getsize(STORE))}
    body = conn.start_response(200, size, on_drain=more)
    more()


def handler(conn: Connection, ev: int, data: object) -> None:
    if ev == MG_EV_HTTP_HDRS and data.method == "PUT":
        receive(conn)
    elif ev == MG_EV_HTTP_MSG and data.method == "GET" and os.path.exists(STORE):
        send(conn)
    elif ev == MG_EV_HTTP_MSG:
        conn.reply(404, "nothing was uploaded yet\n")
    elif ev == MG_EV_CLOSE and conn.userdata is not None:
        conn.userdata.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8000, help="0: a free one")
    mgr = Manager(handler)
    site = mgr.listen(f"http://127.0.0.1:{parser.parse_args().port}")
    print(f"http://127.0.0.1:{site.local_addr[1]}", flush=True)
    mgr.run()


if __name__ == "__main__":
    main()
