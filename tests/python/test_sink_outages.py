"""What breaks around a sink: receivers that fail in every way, disks that fill, clocks that jump, stops at any moment. Looked at event by event."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import random
import socket
import struct
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from conftest import DEADLINE
from sink_helpers import Receiver

from pymongoose.sinks import (
    BatchedSink,
    Breaker,
    Partial,
    Pipeline,
    PooledSink,
    Rejected,
    Retry,
    RetryLater,
    Spool,
)

OUTAGE = float(os.environ.get("OUTAGE_SECONDS", "3"))
ANSWERS = ["busy", "reset", "late reset", "ok", "refuse", "hang", "reset", "ok", "half", "deaf"]


class Moody:
    """A receiver on a TCP port: ``id number\\n`` and so many lines, answered by ok, busy or no. While `failing` it has another mood each time."""

    def __init__(self) -> None:
        self.failing = True
        self.got: dict[str, list[int]] = {}
        self.twice = 0
        self.failed = 0
        self.refused: list[int] = []
        self._moods = itertools.cycle(ANSWERS)
        self._hanging: list[Any] = []

    async def start(self) -> None:
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=1 << 20)
        self.port = self.server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        self.server.close()
        for writer in self._hanging:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._hanging.append(writer)
        try:
            while head := await reader.readline():
                batch_id, n = head.decode().split()
                numbers = [json.loads(await reader.readline())["n"] for _ in range(int(n))]
                mood = next(self._moods) if self.failing else "ok"
                if mood == "refuse" and batch_id in self.got:  # it has it
                    mood = "ok"
                self.failed += mood != "ok"
                if mood in (
                    "ok",
                    "late reset",
                    "deaf",
                ):  # the latter two have it, and do not say so
                    self.twice += batch_id in self.got
                    assert self.got.setdefault(batch_id, numbers) == numbers
                if mood in ("hang", "deaf"):
                    continue
                if "reset" in mood:
                    sock = writer.get_extra_info("socket")
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    return
                if mood == "refuse":
                    self.refused += numbers
                answer = {"busy": b"busy 0.01\n", "half": b"o", "refuse": b"no\n"}.get(
                    mood, b"ok\n"
                )
                writer.write(answer)
                await writer.drain()
                if mood == "half":
                    return
        except (ConnectionError, asyncio.IncompleteReadError, ValueError):
            pass
        finally:
            writer.close()


class Wire(BatchedSink, PooledSink):
    accepts = "json"

    def __init__(self, port: int, **options: Any) -> None:
        super().__init__(**options)
        self.port = port

    async def open_connection(self) -> Any:
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def close_connection(self, conn: Any) -> None:
        conn[1].close()

    async def send_lines(self, lines: list[bytes]) -> None:
        async with self.connection() as (reader, writer):
            head = f"{self.batch_id} {len(lines)}\n".encode()
            writer.write(head + b"\n".join(lines) + b"\n")
            await writer.drain()
            answer = await reader.readline()
            if not answer.endswith(b"\n"):
                raise ConnectionError("the receiver hung up")
        if answer.startswith(b"busy"):
            raise RetryLater(float(answer.split()[1]))
        if answer.startswith(b"no"):
            raise Rejected("no")


@pytest.mark.slow
@pytest.mark.parametrize("durable", [False, True], ids=["memory", "spool"])
def test_after_an_outage_under_load_everything_accepted_is_there_once_and_in_order(
    tmp_path: Path, durable: bool
) -> None:
    """Busy, reset before and after it took the batch, silent, half an answer: by batch id each event is there once, unless it was refused (and counted)."""

    async def main() -> None:
        moody = Moody()
        await moody.start()
        sink = Wire(
            moody.port,
            batch_size=50,
            batch_timeout=0.01,
            max_pending=1000,
            send_timeout=0.2,
            retry=Retry(base=0.005, cap=0.05),
            breaker=Breaker(failures=4, reset=0.1),
            spool=Spool(tmp_path) if durable else None,
        )
        log = Pipeline([sink], max_events=2000)
        log.start()
        accepted: list[int] = []
        refused = 0
        until = time.monotonic() + OUTAGE
        for n in itertools.count():
            if log.emit("m", n=n):
                accepted.append(n)
            else:
                refused += 1
            if n % 20 == 0:
                await asyncio.sleep(0.002)
                if time.monotonic() > until and moody.failed >= 2 * len(ANSWERS):
                    break
        assert durable == (refused == 0)
        moody.failing = False
        assert await asyncio.to_thread(log.flush, DEADLINE * 3)
        stats = log.stats()
        assert await asyncio.to_thread(log.stop) is not None
        await moody.stop()
        arrived = [n for numbers in moody.got.values() for n in numbers]
        assert moody.twice > 0
        assert len(moody.refused) > 0
        assert arrived == sorted(set(arrived))
        assert sorted(arrived + moody.refused) == accepted
        assert stats.dropped == {"rejected": len(moody.refused)}
        assert sum(stats.refused.values()) == refused
        assert stats.sent == len(arrived)

    asyncio.run(main())


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("when", ["accept", "outage"])
def test_stops_at_any_moment_lose_nothing_and_double_nothing_that_has_an_id(
    tmp_path: Path, when: Any, seed: int
) -> None:
    """Several runs on one spool; sends fail before and after the receiver took them, hang, and are cut off by stop()."""
    rng = random.Random(seed)
    got: dict[str, list[int]] = {}

    class Flaky(Receiver):
        async def send_lines(self, lines: list[bytes]) -> None:
            numbers = [json.loads(line)["n"] for line in lines]
            for _ in range(rng.randrange(3)):
                await asyncio.sleep(0)
            mood = rng.random() if not self.up.is_set() else 1.0
            if mood < 0.25:
                raise OSError("down")
            if mood < 0.35:
                await asyncio.Event().wait()
            assert got.setdefault(self.batch_id, numbers) == numbers
            if mood < 0.5:
                raise OSError("the answer was lost")
            if mood < 0.6:
                await asyncio.Event().wait()

    async def run(first: int, last: bool) -> int:
        spool = Spool(tmp_path, when=when, segment_bytes=4096, max_bytes=1 << 20)
        sink = Flaky(
            spool=spool,
            batch_size=rng.randrange(1, 9),
            batch_timeout=0.0,
            max_pending=rng.randrange(1, 30),
            retry=Retry(base=0.0005),
            breaker=rng.choice([None, Breaker(2, 0.001)]),
            drain_timeout=20 if last else rng.choice([0.0, 0.001, 0.01]),
        )
        if last:
            sink.up.set()
        await sink.start()
        recovered, n = sink.stats().recovered, rng.randrange(60)
        for i in range(first, first + n):
            await sink.write({"n": i, "text": "x" * rng.randrange(300)})
            for _ in range(rng.randrange(3)):
                await asyncio.sleep(0)
        result = await sink.stop()
        assert result.sent + result.spooled == n + recovered
        assert result.dropped == 0
        return first + n

    async def main() -> None:
        n = 0
        for k in range(4):
            n = await run(n, k == 3)
        assert sorted(i for numbers in got.values() for i in numbers) == list(range(n))

    asyncio.run(main())


@pytest.mark.parametrize("seed", range(20))
def test_every_event_has_one_fate_whatever_a_receiver_answers(seed: int) -> None:
    rng = random.Random(seed)
    fates: dict[int, str] = {}

    class Mixed(BatchedSink):
        async def send_batch(self, batch: list[dict[str, Any]]) -> None:
            numbers = [event["n"] for event in batch]
            await asyncio.sleep(0)
            mood = rng.random()
            if mood < 0.2:
                raise OSError("down")
            if mood < 0.3:
                raise RetryLater(0.0001)
            if mood < 0.4:
                assert not fates.keys() & set(numbers)
                fates.update(dict.fromkeys(numbers, "rejected"))
                raise Rejected("no")
            kinds = [rng.choice(["sent", "rejected", "again"]) for _ in batch]
            if mood < 0.7:
                kinds = ["sent"] * len(batch)
            for n, kind in zip(numbers, kinds, strict=True):
                assert n not in fates
                if kind != "again":
                    fates[n] = kind
            bad = {i: "bad" for i, kind in enumerate(kinds) if kind == "rejected"}
            again = [i for i, kind in enumerate(kinds) if kind == "again"]
            if bad or again:
                raise Partial(bad, again)

    async def main() -> None:
        sink = Mixed(
            batch_size=7, batch_timeout=0.0, retry=Retry(base=0.0), breaker=None, drain_timeout=20
        )
        await sink.start()
        for n in range(100):
            await sink.write({"n": n})
        result = await sink.stop()
        assert fates.keys() == set(range(100))
        counts = list(fates.values())
        assert (result.sent, result.dropped) == (counts.count("sent"), counts.count("rejected"))
        assert sink.stats().dropped.get("rejected", 0) == counts.count("rejected")

    asyncio.run(main())


def test_a_full_disk_refuses_what_it_counts_and_takes_events_again_when_there_is_room(
    small_disk: Path,
) -> None:
    sink = Receiver(
        spool=Spool(small_disk / "spool", segment_bytes=1 << 16),
        batch_size=20,
        batch_timeout=0.01,
    )
    accepted = []
    with Pipeline([sink]) as log:
        ballast = small_disk / "ballast"
        for n in itertools.count():
            if not log.emit("m", n=n, text="x" * 200):
                break
            accepted.append(n)
            if n == 1000:
                ballast.write_bytes(b"x" * (300 << 10))
        assert sink.spool is not None
        assert sink.spool.reason == "disk_full"
        refused = 1
        for n in range(100_000, 100_500):
            if log.emit("m", n=n, text="x" * 200):
                accepted.append(n)
            else:
                refused += 1
        assert sum(log.stats().refused.values()) == refused
        ballast.unlink()  # room on the disk: at once events are taken again
        for n in range(200_000, 200_100):
            assert log.emit("m", n=n, text="x" * 200)
            accepted.append(n)
        sink.up.set()
        assert log.flush(DEADLINE)
        for n in range(300_000, 305_000):  # and after the replay as many as ever
            assert log.emit("m", n=n) or log.flush(DEADLINE)
            accepted.append(n)
        assert log.flush(DEADLINE)
        stats = log.stats()
    assert stats.sent == len(set(sink.numbers))
    assert set(sink.numbers) <= set(accepted)
    missing = set(accepted) - set(sink.numbers)
    assert len(missing) == sum(stats.refused.values()) - refused
    assert not any(n < 300_000 for n in missing)


def test_a_disk_that_is_full_of_delivered_events_is_not_full(small_disk: Path) -> None:
    """The last file is full to the brim and everything in it acknowledged: it makes way."""

    async def main() -> None:
        sink = Receiver(spool=Spool(small_disk / "spool"), batch_size=100, batch_timeout=0.0)
        await sink.start()
        assert sink.spool is not None
        total = 0
        for _ in range(3):
            n = 0
            while sink.append_durable(b'{"n":%d,"text":"%s"}' % (n, b"x" * 5000)):
                n += 1
            assert sink.spool.reason == "disk_full"
            assert n > 100
            total += n
            sink.up.set()
            assert await sink.flush(DEADLINE)
            sink.up.clear()
        assert (await sink.stop()).sent == total

    asyncio.run(main())


@pytest.mark.parametrize("durable", [False, True], ids=["memory", "spool"])
def test_clocks_that_jump_by_days_move_no_timer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, durable: bool
) -> None:
    """Back: nobody waits for a day. Forward: nothing leaves, is given up or counts as old before its time."""
    days = [0.0]
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + days[0] * 86400)

    async def main() -> None:
        failures: list[Exception] = []

        class Out(Receiver):
            async def send_lines(self, lines: list[bytes]) -> None:
                if failures:
                    raise failures.pop()
                await super().send_lines(lines)

        async def arrives(sink: Receiver, n: int) -> None:
            while n not in sink.numbers:
                await asyncio.sleep(0.001)

        options: dict[str, Any] = {"retry": Retry(base=0.02, max_elapsed=1000), "batch_size": 10}
        spool = Spool(tmp_path, fsync=0.02) if durable else None
        sink = Out(batch_timeout=0.05, spool=spool, breaker=Breaker(1, 0.02), **options)
        sink.up.set()
        await sink.start()
        for n, jump in enumerate([-1, 1, -2, 0, 30, -30]):
            failures += [RetryLater(0.02), OSError("down")]
            await sink.write({"n": 2 * n})
            days[0] = jump
            while failures:
                await asyncio.sleep(0)
            days[0] = -jump
            await asyncio.wait_for(arrives(sink, 2 * n), DEADLINE)
            await sink.write({"n": 2 * n + 1})
            days[0] = jump
            await asyncio.wait_for(arrives(sink, 2 * n + 1), DEADLINE)
        assert sink.stats().batch_max < 1000
        assert (await sink.stop()).sent == 12

        slow = Out(batch_timeout=1000, spool=spool, **options)
        slow.up.set()
        await slow.start()
        await slow.write({"n": 100})
        days[0] += 2
        for _ in range(50):
            await asyncio.sleep(0)
        assert slow.numbers == []
        assert slow.stats().oldest_age < 1000
        assert await slow.flush(DEADLINE)
        assert slow.numbers == [100]
        await slow.stop()

    asyncio.run(main())


def test_emitters_on_many_threads_into_a_spool_lose_nothing(tmp_path: Path) -> None:
    sink = Receiver(
        spool=Spool(tmp_path, segment_bytes=4096, max_bytes=1 << 24),
        batch_size=50,
        batch_timeout=0.0,
    )
    sink.up.set()
    with Pipeline([sink]) as log:

        def emit(first: int) -> None:
            for n in range(first, first + 500):
                assert log.emit("m", n=n)

        threads = [threading.Thread(target=emit, args=(i * 500,)) for i in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert log.flush(DEADLINE)
    assert sorted(sink.numbers) == list(range(3000))
    assert sink.stats().dropped == {}
