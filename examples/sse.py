"""A clock for everybody: each client of /events gets an event a second; those that do not read are left out until they do.
curl -N http://127.0.0.1:8000/events"""

import argparse
import time

from pymongoose import MG_EV_HTTP_MSG, Connection, EventStream, Manager

PAGE = """<!doctype html>
<pre id="t"></pre>
<script>new EventSource("/events").addEventListener("tick", e => t.textContent = e.data)</script>
"""

streams: set[EventStream] = set()
count = 0


def tick() -> None:
    global count
    count += 1
    for stream in [s for s in streams if not s.full]:
        stream.send(time.ctime(), event="tick", id=str(count))


def handler(conn: Connection, ev: int, data: object) -> None:
    if ev == MG_EV_HTTP_MSG and data.uri == "/events":
        stream = conn.start_sse(on_close=lambda: streams.discard(stream))
        streams.add(stream)
    elif ev == MG_EV_HTTP_MSG:
        conn.reply(200, PAGE, {"Content-Type": "text/html"})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8000, help="0: a free one")
    parser.add_argument("--every", type=float, default=1.0, help="seconds between events")
    options = parser.parse_args()
    mgr = Manager(handler)
    site = mgr.listen(f"http://127.0.0.1:{options.port}")
    mgr.timer_add(options.every * 1000, tick, repeat=True)
    print(f"http://127.0.0.1:{site.local_addr[1]}", flush=True)
    mgr.run()


if __name__ == "__main__":
    main()
