"""What an event costs its sender on the way to an HTTP server, in batches: python -m benchmarks.sinks_http [--events N] [--batch N] [--compress gzip]

CPU time of the sending process alone (caller, queue, worker, sink, client), pinned to core 0; the receiver is a process of its own on core 1
and counts what arrives. The event is that of emit_bench: level, message and six fields.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import subprocess
import sys
import time
import urllib.request
from typing import Any

FIELDS: dict[str, Any] = {
    "method": "GET",
    "path": "/items/42",
    "status": 200,
    "duration_ms": 1.25,
    "client": "127.0.0.1",
    "request_id": "5f0c9a7e",
}

RECEIVER = """
import sys, zlib
from pymongoose import MG_EV_HTTP_MSG, Manager

counts = {"requests": 0, "lines": 0, "bytes": 0}

def handler(conn, ev, data):
    if ev != MG_EV_HTTP_MSG:
        return
    if data.method == "GET":
        conn.reply_json(counts)
        return
    body = data.body_bytes
    counts["requests"] += 1
    counts["bytes"] += len(body)
    if data.header("Content-Encoding") == "gzip":
        body = zlib.decompress(body, 31)
    counts["lines"] += body.count(b"\\n")
    conn.reply(200, b"" if data.uri == "/v1/logs" else b'{"errors":false,"items":[]}')

mgr = Manager(handler)
print(mgr.listen("http://127.0.0.1:0").local_addr[1], flush=True)
mgr.run()
"""


def pin(core: int) -> None:
    if hasattr(os, "sched_setaffinity") and core < (os.cpu_count() or 1):
        os.sched_setaffinity(0, {core})


def floor(url: str, n: int, batch: int, compress: Any) -> dict[str, float]:
    """Serialised and sent by http.client, without queue or thread."""
    import orjson

    conn = http.client.HTTPConnection(url.partition("://")[2])
    dumps, now = orjson.dumps, time.time
    cpu, began = time.process_time(), time.perf_counter()
    for _ in range(n // batch):
        lines = [
            dumps({"ts": now(), "level": "info", "message": "request", **FIELDS})
            for _ in range(batch)
        ]
        conn.request("POST", "/", b"\n".join(lines) + b"\n")
        conn.getresponse().read()
    ended, cpu = time.perf_counter(), time.process_time() - cpu
    conn.close()
    return {
        "emit_us": (ended - began) * 1e6 / n,
        "cpu_us": cpu * 1e6 / n,
        "events_s": n / (ended - began),
        "sent": n,
    }


def measure(kind: str, url: str, n: int, batch: int, compress: Any) -> dict[str, float]:
    if kind == "floor":
        return floor(url, n, batch, compress)
    from pymongoose import sinks

    options: Any = {
        "batch_size": batch,
        "batch_timeout": 0.2,
        "max_pending": n + 2000,
        "compress": compress,
    }
    sink: sinks.Sink
    if kind == "http":
        sink = sinks.HttpSink(url, **options)
    elif kind == "loki":
        sink = sinks.LokiSink(url, labels={"app": "bench"}, **options)
    elif kind == "elastic":
        sink = sinks.ElasticSink(url, **options)
    else:
        encoding: Any = kind.partition("-")[2]
        sink = sinks.OtlpSink(url, encoding=encoding, **options)
    pipe = sinks.Pipeline([sink], max_events=n + 2000)
    pipe.start()
    emit = pipe.emit
    for _ in range(1000):
        emit("request", **FIELDS)
    pipe.flush(10)
    cpu, began = time.process_time(), time.perf_counter()
    for _ in range(n):
        emit("request", **FIELDS)
    emitted = time.perf_counter()
    result = pipe.stop(60)
    ended, cpu = time.perf_counter(), time.process_time() - cpu
    return {
        "emit_us": (emitted - began) * 1e6 / n,
        "cpu_us": cpu * 1e6 / n,
        "events_s": n / (ended - began),
        "sent": result.sent - 1000,
    }


SINKS = {
    "floor": "the floor: orjson and http.client, no queue",
    "http": "HttpSink",
    "loki": "LokiSink",
    "elastic": "ElasticSink",
    "otlp-json": "OtlpSink, JSON",
    "otlp-protobuf": "OtlpSink, protobuf",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--batch", type=int, default=500)
    parser.add_argument("--compress", choices=["gzip", "zstd"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sink", choices=list(SINKS), help="default: all")
    args = parser.parse_args()
    pin(1)  # which the child inherits
    receiver = subprocess.Popen([sys.executable, "-c", RECEIVER], stdout=subprocess.PIPE, text=True)
    assert receiver.stdout is not None
    url = f"http://127.0.0.1:{receiver.stdout.readline().strip()}"
    pin(0)
    try:
        print(f"Batches of {args.batch}, {args.events:,} events, {args.rounds} rounds, the best:\n")
        print("| sink | us at the caller | CPU us per event in all | events/s to drained | sent |")
        print("|---|---|---|---|---|")
        for kind in [args.sink] if args.sink else SINKS:
            rows = [
                measure(kind, url, args.events, args.batch, args.compress)
                for _ in range(args.rounds)
            ]
            row = min(rows, key=lambda r: r["cpu_us"])
            sent = "all" if all(r["sent"] == args.events for r in rows) else f"{row['sent']:,.0f}"
            print(
                f"| {SINKS[kind]} | {row['emit_us']:.2f} | {row['cpu_us']:.2f} | {row['events_s']:,.0f} | {sent} |",
                flush=True,
            )
        with urllib.request.urlopen(url) as answer:
            print("\nThe receiver counted", json.load(answer))
    finally:
        receiver.terminate()
        receiver.wait(10)


if __name__ == "__main__":
    main()
