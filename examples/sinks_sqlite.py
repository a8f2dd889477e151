"""A server that keeps its requests in an SQLite database, nothing else needed, and shows the latest ones.
python examples/sinks_sqlite.py --port 8000 --db requests.db, then: curl http://127.0.0.1:8000/recent"""

import argparse
import sqlite3
import time
from contextlib import closing

from pymongoose import MG_EV_HTTP_MSG, Connection, HttpMessage, Manager
from pymongoose.sinks import Pipeline, SqliteSink

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--port", type=int, default=8000, help="0: a free one")
parser.add_argument("--db", default="requests.db")
args = parser.parse_args()


def recent() -> list[dict[str, object]]:
    with closing(sqlite3.connect(args.db)) as db:  # beside the writer: readers hold up nobody
        rows = db.execute("SELECT ts, method, path, ms FROM events ORDER BY id DESC LIMIT 10")
        return [dict(zip(("ts", "method", "path", "ms"), row, strict=True)) for row in rows]


def handler(conn: Connection, ev: int, data: HttpMessage) -> None:
    if ev != MG_EV_HTTP_MSG:
        return
    if data.uri == "/recent":
        conn.reply_json(recent())
        return
    started = time.perf_counter()
    conn.reply(200, "hello\n")
    ms = round((time.perf_counter() - started) * 1000, 3)
    log.emit("request", method=data.method, path=data.uri, ms=ms, agent=data.header("User-Agent"))


sink = SqliteSink(
    args.db,
    columns={
        "method": "TEXT",
        "path": "TEXT",
        "ms": "REAL",
    },  # the agent is in the JSON of `fields`
    keep_seconds=30 * 86400,
    batch_timeout=0.1,
)
with Pipeline([sink]) as log:
    log.emit("started", level="debug")
    log.flush(5.0)  # the table is there
    mgr = Manager(handler)
    listener = mgr.listen(f"http://127.0.0.1:{args.port}")
    print(f"http://127.0.0.1:{listener.local_addr[1]}", flush=True)
    mgr.run()
