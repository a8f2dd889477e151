"""A sink of one's own: batches over a pool of connections, by a protocol nobody else speaks; waits in spool/, refused: refused.jsonl.
python examples/sinks_own.py --collector 127.0.0.1:9000, then: curl http://127.0.0.1:8000/lamp"""

import argparse
import asyncio
from typing import Any, TypeAlias

from pymongoose import MG_EV_HTTP_MSG, Connection, HttpMessage, Manager
from pymongoose.sinks import BatchedSink, Pipeline, PooledSink, Rejected, RetryLater

Wire: TypeAlias = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class CollectorSink(BatchedSink, PooledSink):
    """`BATCH id lines`, the lines, and back comes `OK`, `LATER seconds` or `NO why`."""

    accepts = "json"  # lines of JSON, made once for all sinks, in place of dicts

    def __init__(self, address: str, **options: Any) -> None:
        super().__init__(**options)
        self.host, _, self.port = address.rpartition(":")

    async def open_connection(self) -> Wire:
        return await asyncio.open_connection(self.host, int(self.port))

    async def close_connection(self, conn: Wire) -> None:
        conn[1].close()

    async def check_connection(self, conn: Wire) -> bool:
        return not conn[0].at_eof()

    async def send_lines(self, lines: list[bytes]) -> None:
        async with self.connection() as (reader, writer):  # one that fails in here is closed
            writer.write(f"BATCH {self.batch_id} {len(lines)}\n".encode())
            writer.write(b"\n".join(lines) + b"\n")
            answer = (await reader.readuntil(b"\n")).decode().split()
        if answer[0] == "LATER":
            raise RetryLater(float(answer[1]))
        if answer[0] == "NO":
            raise Rejected(answer[1])
        if answer[0] != "OK":
            raise ValueError(f"not an answer: {answer}")  # any other exception: again


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8000, help="0: a free one")
    parser.add_argument("--collector", default="127.0.0.1:9000", help="HOST:PORT")
    options = parser.parse_args()
    sink = CollectorSink(
        options.collector, pool_size=2, batch_size=500, spool="spool", dead_letter="refused.jsonl"
    )

    def handler(conn: Connection, ev: int, data: HttpMessage) -> None:
        if ev == MG_EV_HTTP_MSG:
            kept = log.emit("asked for", item=data.uri.strip("/"))  # True: it is on disk
            conn.reply(200 if kept else 503, "thank you\n")

    with Pipeline([sink]) as log:
        mgr = Manager(handler)
        site = mgr.listen(f"http://127.0.0.1:{options.port}")
        print("http://{}:{}".format(*site.local_addr[:2]), flush=True)
        mgr.run()
