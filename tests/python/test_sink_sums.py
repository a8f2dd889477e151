"""Odd ends: letters that are no JSON, disks with nothing but damage, files given up while they are sent, stops that fail half way. Sums stay exact."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path
from typing import Any

import pytest
from sink_helpers import Receiver, drained, opened

from pymongoose.sinks import (
    BatchedSink,
    DrainResult,
    Partial,
    PooledSink,
    Rejected,
    Spool,
)


class Refuses(Receiver):
    async def send_lines(self, lines: list[bytes]) -> None:
        raise Rejected("schema")


class Letters(BatchedSink):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.events: list[dict[str, Any]] = []

    async def send_batch(self, batch: list[dict[str, Any]]) -> None:
        self.events += batch


ODD = [b"no json", b"\xff\xfe", b"[1,2]", b"3", b'{"n":1}']
SHOWN = ["no json", "\ufffd\ufffd", [1, 2], 3, {"n": 1}]


def test_a_line_that_is_no_json_is_a_letter_too(tmp_path: Path) -> None:
    async def main() -> None:
        sink = Refuses(batch_size=5, dead_letter=tmp_path / "dead")
        await sink.start()
        assert sink.offer((), ODD) == 5
        assert await sink.stop() == DrainResult(dropped=5)
        assert sink.stats().dropped == {"dead_letter": 5}

    asyncio.run(main())
    letters = [json.loads(line) for line in (tmp_path / "dead").read_text().splitlines()]
    assert [letter["event"] for letter in letters] == SHOWN


def test_a_line_that_is_no_object_goes_into_one_for_a_sink_of_letters() -> None:
    async def main() -> None:
        other = Letters(batch_size=1)
        sink = Refuses(batch_size=5, dead_letter=other)
        await sink.start()
        assert sink.offer((), ODD) == 5
        await sink.stop()
        assert sink.stats().dropped == {"dead_letter": 5}
        assert [event.get("value", event.get("n")) for event in other.events] == [*SHOWN[:4], 1]
        assert all(event["dead_letter"]["reason"] == "schema" for event in other.events)

    asyncio.run(main())


def test_flush_ends_when_all_that_is_on_disk_is_damaged(tmp_path: Path) -> None:
    spool = opened(tmp_path, segment_bytes=4096, max_bytes=1 << 20)
    spool.append_many([b"x" * 1000] * 5)
    sink = Receiver(spool=spool, batch_size=100, batch_timeout=1000)
    for segment in tmp_path.glob("0000/*.seg"):
        data = bytearray(segment.read_bytes())
        data[20:] = bytes(b ^ 0xFF for b in data[20:])
        segment.write_bytes(data)

    async def main() -> None:
        await sink.start()
        assert await asyncio.wait_for(sink.flush(), 20)
        assert sink.stats().dropped == {"damaged": 5}
        await sink.stop()

    asyncio.run(main())


class Pooled(Receiver, PooledSink):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.open = 0

    async def open_connection(self) -> object:
        self.open += 1
        return object()

    async def close_connection(self, conn: object) -> None:
        self.open -= 1


@pytest.mark.parametrize("what", ["spool", "letters"])
def test_stop_goes_on_when_a_part_of_it_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, what: str
) -> None:
    def fails(*_: Any) -> None:
        raise OSError("no disk")

    async def main() -> None:
        spool = Spool(tmp_path / "spool", when="outage")
        sink = Pooled(spool=spool, batch_size=2, dead_letter=tmp_path / "dead", drain_timeout=0.0)
        await sink.start()
        assert sink.open == 1
        await sink.write({"n": 1})
        monkeypatch.setattr(
            *((spool, "close") if what == "spool" else (sink._letters, "stop")), fails
        )
        assert await sink.stop() == DrainResult(spooled=1)
        assert sink.open == 0
        assert "no disk" in caplog.text
        monkeypatch.undo()
        spool.close()

    with caplog.at_level(logging.WARNING):
        asyncio.run(main())


@pytest.mark.parametrize("fill", [0, 6000])
def test_what_is_left_of_a_batch_is_on_disk_once_also_when_that_is_full(
    tmp_path: Path, fill: int
) -> None:
    async def main() -> None:
        class Partly(Receiver):
            async def send_lines(self, lines: list[bytes]) -> None:
                if len(lines) == 4:
                    raise Partial({}, retry=[1, 2, 3])
                raise OSError("down")

        spool = Spool(tmp_path, segment_bytes=4096, max_bytes=8192)
        sink = Partly(spool=spool, batch_size=4, batch_timeout=0.0, drain_timeout=0.05)
        await sink.start()
        for n in range(4):
            await sink.write({"n": n, "text": "x" * 300})
        while sink.stats().retried == 0:
            await asyncio.sleep(0.001)
        more = 0
        while fill and sink.append_durable(b'{"n":%d,"text":"%s"}' % (4 + more, b"y" * 180)):
            more += 1
        assert await sink.stop() == DrainResult(sent=1, spooled=3 + more)
        again = Receiver(spool=Spool(tmp_path, segment_bytes=4096, max_bytes=8192))
        again.up.set()
        await again.start()
        assert await again.flush(20)
        await again.stop()
        assert sorted(again.numbers) == list(range(1, 4 + more))

    asyncio.run(main())


@pytest.mark.parametrize("ends", ["sent", "stopped", "part", "rejected"])
@pytest.mark.parametrize("when", ["accept", "outage"])
def test_events_given_up_while_they_are_sent_are_counted_once(
    tmp_path: Path, ends: str, when: Any
) -> None:
    async def main() -> None:
        gate = asyncio.Event()
        begun = asyncio.Event()

        class Waits(Receiver):
            async def send_lines(self, lines: list[bytes]) -> None:
                begun.set()
                await gate.wait()
                if ends == "part" and len(lines) == 10:
                    raise Partial({0: "bad"}, retry=[1, 2])
                if ends == "rejected":
                    raise Rejected("schema")
                await super().send_lines(lines)

        spool = Spool(
            tmp_path, when=when, on_full="drop_oldest", segment_bytes=4096, max_bytes=8192
        )
        options: dict[str, Any] = {"batch_size": 10, "batch_timeout": 0.0, "drain_timeout": 0.05}
        sink = Waits(spool=spool, max_pending=1, **options)
        sink.up.set()

        def total() -> int:
            stats = sink.stats()
            return stats.sent + stats.spooled + stats.pending + sum(stats.dropped.values())

        spool.open()
        accepted = spool.append_many([b'{"n":%d,"text":"%s"}' % (n, b"x" * 200) for n in range(12)])
        await sink.start()
        await begun.wait()
        for n in range(12, 60):
            accepted += sink.append_durable(b'{"n":%d,"text":"%s"}' % (n, b"x" * 200))
            assert sink._disk is not None
            sink._disk.count_lost()
            assert total() == accepted == n + 1
        assert spool.evicted > 0
        if ends != "stopped":
            gate.set()
            assert await sink.flush(20)
            assert total() == accepted
        result = await sink.stop()
        assert result.sent + result.spooled + result.dropped == accepted
        assert total() == accepted
        if ends == "sent":
            assert result == DrainResult(accepted - spool.evicted, 0, spool.evicted)
            assert len(sink.numbers) == len(set(sink.numbers)) == result.sent
        left = opened(tmp_path, segment_bytes=4096, max_bytes=8192)
        assert len(drained(left)) == result.spooled

    asyncio.run(main())


def test_a_check_that_cancels_itself_is_an_answer() -> None:
    class Pool(PooledSink):
        made = closed = 0

        async def open_connection(self) -> int:
            self.made += 1
            return self.made

        async def close_connection(self, conn: int) -> None:
            self.closed += 1

        async def check_connection(self, conn: int) -> bool:
            raise asyncio.CancelledError  # of a timeout inside a driver, say

    async def main() -> None:
        pool = Pool(pool_size=1)
        await pool.start()
        async with pool.connection() as conn:
            assert conn == 2
        await pool.stop()
        assert (pool.made, pool.closed) == (2, 2)

    asyncio.run(main())
