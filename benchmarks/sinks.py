"""What does a structured event cost, from the call that logs it to its line in a file?

Everything on one core, an event of a level, a message and six fields into a file of JSON lines; each
logger in a process of its own, three rounds. The floor serialises and writes without a queue or a
thread. "Arrived" counts the lines in the file after the logger was drained.
"""

import json
import logging
import logging.handlers
import os
import queue
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROUNDS = 3
FIELDS = {
    "method": "GET",
    "path": "/items/42",
    "status": 200,
    "duration_ms": 1.25,
    "client": "127.0.0.1",
    "request_id": "5f0c9a7e",
}

# Each returns the call to be measured and what waits until everything is in the file.


def floor(path):
    import orjson

    out = open(path, "ab", buffering=1 << 20)  # noqa: SIM115
    dumps, now = orjson.dumps, time.time

    def emit():
        out.write(dumps({"ts": now(), "level": "info", "message": "request", **FIELDS}) + b"\n")

    return emit, out.close


def pipeline(path, **options):
    from pymongoose.sinks import Pipeline, RotatingFileSink

    log = Pipeline([RotatingFileSink(path)], max_events=2_000_000, **options)
    log.start()
    return log


def pymongoose_plain(path):
    """The pipeline's own share: the sink is one write for each slice."""
    from pymongoose.sinks import Pipeline, Sink

    class File(Sink):
        accepts = "json"

        def offer(self, events, lines):
            out.write(b"\n".join(lines) + b"\n")
            return len(lines)

    out = open(path, "ab", buffering=0)  # noqa: SIM115
    log = Pipeline([File()], max_events=2_000_000)
    log.start()
    return (lambda: log.emit("request", **FIELDS)), lambda: log.stop(120)


def pymongoose(path):
    log = pipeline(path)
    return (lambda: log.emit("request", **FIELDS)), lambda: log.stop(120)


def pymongoose_keywords(path):
    log = pipeline(path)

    def emit():
        log.emit(
            "request",
            method="GET",
            path="/items/42",
            status=200,
            duration_ms=1.25,
            client="127.0.0.1",
            request_id="5f0c9a7e",
        )

    return emit, lambda: log.stop(120)


def pymongoose_processor(path):
    """With a processor in Python, for which each event becomes a dict."""

    def processor(event):
        event["service"] = "shop"
        return event

    log = pipeline(path, processors=[processor])
    return (lambda: log.emit("request", **FIELDS)), lambda: log.stop(120)


def structlog(path):
    import orjson
    import structlog as s

    out = open(path, "wb")  # noqa: SIM115
    s.configure(
        processors=[
            s.processors.add_log_level,
            s.processors.TimeStamper(fmt="iso"),
            s.processors.JSONRenderer(orjson.dumps),
        ],
        logger_factory=s.BytesLoggerFactory(out),
        cache_logger_on_first_use=True,
    )
    log = s.get_logger()
    return (lambda: log.info("request", **FIELDS)), out.close


def stdlib_queue(path):
    from pythonjsonlogger.orjson import OrjsonFormatter

    waiting = queue.SimpleQueue()
    handler = logging.FileHandler(path)
    handler.setFormatter(OrjsonFormatter("%(asctime)s %(levelname)s %(message)s"))
    listener = logging.handlers.QueueListener(waiting, handler)
    listener.start()
    log = logging.getLogger("bench")
    log.setLevel(logging.INFO)
    log.propagate = False
    log.addHandler(logging.handlers.QueueHandler(waiting))
    return (lambda: log.info("request", extra=FIELDS)), lambda: (listener.stop(), handler.close())


def loguru(path):
    from loguru import logger

    logger.remove()
    logger.add(path, serialize=True)
    bound = logger.bind(**FIELDS)
    return (lambda: bound.info("request")), logger.complete


def loguru_enqueue(path):
    from loguru import logger

    logger.remove()
    logger.add(path, serialize=True, enqueue=True)
    bound = logger.bind(**FIELDS)
    return (lambda: bound.info("request")), logger.complete


def fapilog(path):
    import asyncio

    import fapilog as f

    builder = f.LoggerBuilder().with_level("INFO").with_queue_size(2_000_000).with_batch_size(1000)
    log = builder.add_file(os.path.dirname(path), max_bytes=1 << 32).build()
    return (lambda: log.info("request", **FIELDS)), lambda: asyncio.run(log.stop_and_drain())


# name -> what it is called in the table, events per round
LOGGERS = {
    "floor": ("the floor: orjson and write, no queue", 1_000_000),
    "pymongoose_plain": ("pymongoose: Pipeline, a plain file", 1_000_000),
    "pymongoose": ("pymongoose: Pipeline, RotatingFileSink", 1_000_000),
    "pymongoose_keywords": ("the same, keywords in the call", 1_000_000),
    "pymongoose_processor": ("the same, with a processor", 1_000_000),
    "structlog": ("structlog, straight to the file", 100_000),
    "stdlib_queue": ("logging: QueueHandler, JSON formatter", 50_000),
    "loguru": ("loguru, straight to the file", 50_000),
    "loguru_enqueue": ("loguru, enqueue=True", 20_000),
    "fapilog": ("fapilog, file sink", 20_000),
}


def measure(name, n):
    with tempfile.TemporaryDirectory() as folder:
        emit, drain = globals()[name](os.path.join(folder, "events.jsonl"))
        for _ in range(1000):
            emit()
        cpu, own, start = time.process_time(), time.thread_time(), time.perf_counter()
        for _ in range(n):
            emit()
        own, called = time.thread_time() - own, time.perf_counter()
        drain()
        end, cpu_end = time.perf_counter(), time.process_time()
        files = [p for p in Path(folder).rglob("*") if p.is_file()]
        arrived = sum(p.read_bytes().count(b"\n") for p in files) - 1000
    print(
        json.dumps(
            {
                "caller": (called - start) * 1e6 / n,
                "own": own * 1e6 / n,
                "cpu": (cpu_end - cpu) * 1e6 / n,
                "rate": n / (end - start),
                "lost": n - arrived,
            }
        )
    )


def ask(name, n):
    """One round in a process of its own, pinned to one core; None where the peer is not there."""
    cpu = min(os.sched_getaffinity(0))
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.sinks", name, str(n)],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: os.sched_setaffinity(0, {cpu}),
        timeout=120,
    )
    if done.returncode:
        if "ModuleNotFoundError" not in done.stderr:
            sys.stderr.write(done.stderr)
        return None
    return json.loads(done.stdout.splitlines()[-1])


def main():
    rounds = {name: [] for name in LOGGERS}
    for _ in range(ROUNDS):  # interleaved, so that a slow minute of the machine meets all
        for name, (_, n) in LOGGERS.items():
            if (row := ask(name, n)) is not None:
                rounds[name].append(row)
    print(
        "| logger | us at the caller, best (median) | of them its own CPU | CPU us per event in all, best (median) | of the floor | events/s to drained | arrived |"
    )
    print("|" + "---|" * 7)
    least = min((r["cpu"] for r in rounds["floor"]), default=float("nan"))
    lost_ours = 0
    for name, (title, _) in LOGGERS.items():
        if not rounds[name]:
            continue
        caller = [r["caller"] for r in rounds[name]]
        own = min(r["own"] for r in rounds[name])
        cpu = [r["cpu"] for r in rounds[name]]
        lost = sum(r["lost"] for r in rounds[name])
        lost_ours += lost if name.startswith("pymongoose") else 0
        print(
            f"| {title} | {min(caller):.2f} ({statistics.median(caller):.2f}) | {own:.2f} "
            f"| {min(cpu):.2f} ({statistics.median(cpu):.2f}) | {min(cpu) / least:.2f} "
            f"| {max(r['rate'] for r in rounds[name]):,.0f} | {'all' if lost == 0 else f'{lost:,} lost'} |"
        )
    print(
        f"\nOne core, {ROUNDS} rounds; an event of level, message and six fields. What the caller waits "
        "includes the time in which others, the worker of a pipeline too, have the core."
    )
    sys.exit(lost_ours != 0)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        measure(sys.argv[1], int(sys.argv[2]))
    else:
        main()
