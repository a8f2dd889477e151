"""For tests of sinks: spools opened and drained, a receiver that is down or up, a small disk."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

from pymongoose.sinks import BatchedSink, Retry, Spool


def lines(*numbers: int) -> list[bytes]:
    return [json.dumps({"n": n}).encode() for n in numbers]


def opened(path: Path, **options: Any) -> Spool:
    spool = Spool(path, **options)
    spool.open()
    return spool


def drained(spool: Spool, most: int = 1000) -> list[bytes]:
    out: list[bytes] = []
    while (batch := spool.read(most)) is not None:
        out += batch.lines
        spool.ack(batch)
    return out


class Receiver(BatchedSink):
    """Acknowledges what `up` lets through; keeps it by batch id, as a receiver that drops duplicates does."""

    accepts = "json"

    def __init__(self, **options: Any) -> None:
        options.setdefault("retry", Retry(base=0.01, cap=0.02))
        options.setdefault("breaker", None)
        super().__init__(**options)
        self.up = threading.Event()
        self.got: dict[str, list[bytes]] = {}

    async def send_lines(self, lines: list[bytes]) -> None:
        if not self.up.is_set():
            raise OSError("down")
        self.got.setdefault(self.batch_id, lines)

    @property
    def numbers(self) -> list[int]:
        return [json.loads(line)["n"] for batch in self.got.values() for line in batch]
