"""A server whose access log goes to Grafana Loki, in batches and without a word of Python for each request.
python examples/sinks_access_log_loki.py --port 8000 --loki http://127.0.0.1:3100, then: curl http://127.0.0.1:8000/"""

import argparse

from pymongoose import MG_EV_HTTP_MSG, Connection, Manager
from pymongoose.sinks import LokiSink, Pipeline


def handler(conn: Connection, ev: int, data: object) -> None:
    if ev == MG_EV_HTTP_MSG:
        if data.uri == "/":
            conn.reply(200, "Hello, World!\n")
        else:
            conn.reply(404, "nothing here\n")


def serve(port: int, loki: str) -> None:
    sink = LokiSink(
        loki,
        labels={"app": "example", "log": "access"},
        label_fields=["level"],  # few values: each set of labels is a stream
        metadata_fields=["request_id", "trace_id"],  # to search for, without a stream for each
        batch_size=500,
        batch_timeout=1.0,
    )
    log = Pipeline(
        [sink]
    )  # while Loki is away the records wait in memory; what does not fit is counted
    log.start()
    mgr = Manager(handler)
    site = mgr.listen(f"http://127.0.0.1:{port}", access_log=log)
    print(f"http://127.0.0.1:{site.local_addr[1]}", flush=True)
    mgr.run()
    result = log.stop(timeout=5.0)
    print(f"{result.sent} records sent, {result.dropped} lost", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8000, help="0: a free one")
    parser.add_argument("--loki", default="http://127.0.0.1:3100", help="URL of Loki")
    args = parser.parse_args()
    serve(args.port, args.loki)
