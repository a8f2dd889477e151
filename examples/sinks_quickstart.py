"""A server whose events go to a file: GET /buy?item=lamp logs a purchase, GET /stats tells how many events were written.
Ctrl-C or SIGTERM ends it; nothing that was logged is lost by that."""

import argparse
import json
from typing import Any, TextIO

from pymongoose import MG_EV_HTTP_MSG, Connection, HttpMessage, Manager
from pymongoose.sinks import Pipeline, Sink


class Lines(Sink):
    """The plainest file there is; RotatingFileSink is the one for real."""

    def __init__(self, path: str) -> None:
        super().__init__(name="lines")
        self.path = path
        self.file: TextIO | None = None

    async def start(self) -> None:
        self.file = open(self.path, "a")  # noqa: ASYNC230, SIM115  (one file, opened once)

    async def write(self, event: dict[str, Any]) -> None:
        print(json.dumps(event), file=self.file)

    async def stop(self) -> None:
        if self.file is not None:
            self.file.close()


def without_card(event: dict[str, Any]) -> dict[str, Any]:
    """A processor: what it returns goes on to the sinks, None would take the event out."""
    event.pop("card", None)
    return event


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8000, help="0: a free one")
    parser.add_argument("--file", default="events.jsonl")
    options = parser.parse_args()

    def handler(conn: Connection, ev: int, data: HttpMessage) -> None:
        if ev != MG_EV_HTTP_MSG:
            return
        if data.uri == "/buy":
            item = data.params.get("item", ["nothing"])[0]
            log.emit("bought", item=item, card="4111 1111 1111 1111")  # does not wait
            conn.reply(200, "thank you\n")
        elif data.uri == "/stats":
            log.flush(1.0)
            conn.reply_json({"written": log.stats().sent})
        else:
            log.emit("not found", level="warning", path=data.uri)
            conn.reply(404, "buy something\n")

    with Pipeline([Lines(options.file)], processors=[without_card], overflow="drop_oldest") as log:
        mgr = Manager(handler)
        site = mgr.listen(f"http://127.0.0.1:{options.port}")
        print("http://{}:{}".format(*site.local_addr[:2]), flush=True)
        mgr.run()


if __name__ == "__main__":
    main()
