"""The manual pattern: a thread and a queue of your own; the answer comes back through wakeup().
python examples/background_thread.py --port 8000, then: curl http://127.0.0.1:8000/any/path"""

import argparse
import queue
import threading

from pymongoose import MG_EV_HTTP_MSG, MG_EV_WAKEUP, Connection, Manager, sha256

work: queue.Queue[tuple[int, str]] = queue.Queue(maxsize=1000)


def worker(mgr: Manager) -> None:
    while True:
        conn_id, uri = work.get()
        digest = sha256(uri).hex()  # whatever takes long
        if not mgr.wakeup(conn_id, digest.encode()):
            print(f"connection {conn_id} is gone", flush=True)


def handler(conn: Connection, ev: int, data: object) -> None:
    if ev == MG_EV_HTTP_MSG:
        try:
            work.put_nowait((conn.id, data.uri))  # no answer yet: the connection waits
        except queue.Full:
            conn.reply(503, "busy\n", {"Retry-After": "1"})
    elif ev == MG_EV_WAKEUP:
        conn.reply(200, data + b"\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8000, help="0: a free one")
    mgr = Manager(handler, enable_wakeup=True)
    threading.Thread(target=worker, args=(mgr,), daemon=True).start()
    site = mgr.listen(f"http://127.0.0.1:{parser.parse_args().port}")
    print(f"http://127.0.0.1:{site.local_addr[1]}", flush=True)
    mgr.run()


if __name__ == "__main__":
    main()
