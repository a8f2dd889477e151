"""For tests of sinks: spools opened and drained, a receiver that is down or up, sinks that keep what pipelines give them."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pymongoose.sinks import BatchedSink, PipelineStats, Retry, Sink, Spool

DEADLINE = 30.0


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


class Kept(Sink):
    """Keeps what it gets; `gate` holds it up while it is not set."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.events: list[dict[str, Any]] = []
        self.gate: asyncio.Event | None = None
        self.starts = self.stops = 0

    async def start(self) -> None:
        self.starts += 1

    async def write(self, event: dict[str, Any]) -> None:
        if self.gate is not None:
            await self.gate.wait()
        self.events.append(event)

    async def stop(self) -> None:
        self.stops += 1


class KeptLines(Sink):
    accepts = "json"

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.lines: list[bytes] = []

    def offer(self, events: Sequence[dict[str, Any]], lines: Sequence[bytes]) -> int:
        self.lines += lines
        self._sent += len(lines)
        return len(lines)


class Held(Kept):
    """Delivers nothing before `open` is set."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.open = threading.Event()
        self.busy = threading.Event()

    async def write(self, event: dict[str, Any]) -> None:
        self.busy.set()
        while not self.open.is_set():
            await asyncio.sleep(0.001)
        self.events.append(event)


class Only:
    """A route: the sink gets what `matches` wants."""

    def __init__(self, sink: Sink, matches: Callable[[dict[str, Any]], bool]) -> None:
        self.sink = sink
        self.matches = matches


def is_error(event: dict[str, Any]) -> bool:
    return bool(event["level"] == "error")


def adds_up(stats: PipelineStats) -> bool:
    return stats.deliveries == stats.sent + stats.spooled + stats.pending + stats.filtered + sum(
        stats.dropped.values()
    )
