"""Spool, where it is easy to get wrong: boundaries of files, damage in the middle, ids, the medium, lanes of others, sizes that do not fit."""

from __future__ import annotations

import asyncio
import errno
import gc
import json
import os
import shutil
import stat
import threading
from pathlib import Path
from typing import Any

import pytest
from helpers import program
from sink_helpers import Receiver, drained, lines, opened

from pymongoose.sinks import (
    BatchedSink,
    DrainResult,
    Partial,
    Spool,
    _spool,
    _spool_lane,
    _spool_medium,
    _spool_names,
    _spool_segment,
)


def test_a_file_that_ends_between_read_and_ack_does_not_hide_the_next_one(tmp_path: Path) -> None:
    spool = opened(tmp_path, segment_bytes=4096, max_bytes=1 << 20)
    first = [b"%04d" % n + b"x" * 400 for n in range(10)]  # just fills a file
    assert spool.append_many(first) == 10
    batch = spool.read(100)
    assert batch is not None
    assert spool.append(b"begins a file")
    spool.ack(batch)
    assert drained(spool) == [b"begins a file"]
    assert spool.damaged == 0


def test_a_file_given_up_that_was_read_to_its_end_does_not_hide_the_next_one(
    tmp_path: Path,
) -> None:
    spool = opened(tmp_path, segment_bytes=4096, max_bytes=12288, on_full="drop_oldest")
    records = [b"%04d" % n + b"x" * 400 for n in range(60)]
    spool.append_many(records[:10])
    batch = spool.read(100)
    assert batch is not None
    spool.ack(batch)
    spool.append_many(records[10:])
    kept = drained(spool)
    assert kept == records[-len(kept) :]
    assert spool.damaged == 0
    assert spool.evicted + len(kept) == 50


def test_a_batch_from_disk_never_exceeds_its_bytes_and_a_giant_comes_alone(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    sizes = [30, 30, 30, 500, 99, 1, 100, 101, 1]
    spool.append_many([b"x" * n for n in sizes])
    batches = []
    while (batch := spool.read(1000, 100)) is not None:
        batches.append([len(line) for line in batch.lines])
        spool.ack(batch)
    assert batches == [[30, 30, 30], [500], [99, 1], [100], [101], [1]]


def test_bytes_on_disk_trigger_a_batch(tmp_path: Path) -> None:
    async def main() -> None:
        sink = Receiver(spool=tmp_path, batch_size=1000, batch_timeout=1000, max_bytes=200)
        sink.up.set()
        await sink.start()
        for n in range(3):
            await sink.write({"n": n, "text": "x" * 40})  # 59 bytes each
        await asyncio.sleep(0)
        assert sink.numbers == []
        await sink.write({"n": 3, "text": "x" * 40})
        while not sink.numbers:
            await asyncio.sleep(0.001)
        assert sink.numbers == [0, 1, 2]
        assert await sink.stop() == DrainResult(sent=4)

    asyncio.run(main())


def test_the_time_of_a_batch_on_disk_begins_with_its_own_oldest_event(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr("pymongoose.sinks._spool.time.monotonic", lambda: now[0])
    spool = opened(tmp_path)
    assert spool.since is None
    spool.append(b"a")
    now[0] += 4
    spool.append_many([b"b", b"c"])
    assert spool.since == 1000.0
    batch = spool.read(2)
    assert batch is not None
    spool.ack(batch)
    assert spool.since == 1004.0
    assert spool.oldest_age == 0.0
    now[0] += 7
    assert spool.oldest_age == 7.0
    spool.close()
    again = opened(tmp_path)
    assert again.since == float("-inf")  # it has waited since an earlier process


@pytest.mark.parametrize("last", [True, False], ids=["newest file", "older file"])
def test_a_length_that_cannot_be_costs_one_record(tmp_path: Path, last: bool) -> None:
    spool = opened(tmp_path, segment_bytes=1 << 16, max_bytes=1 << 20)
    records = lines(*range(50))
    spool.append_many(records)
    spool.close()
    (segment,) = tmp_path.glob("0000/*.seg")
    data = bytearray(segment.read_bytes())
    at = _spool_segment.HEAD_SIZE + sum(len(r) + 8 for r in records[:20])
    data[at : at + 4] = b"\xff\xff\xff\x7f"
    segment.write_bytes(data)
    if not last:
        (tmp_path / "0000" / f"{50:016x}.seg").write_bytes(
            b"PMSPOOL1" + (50).to_bytes(8, "little") + b"\0" * 4
        )  # a head that is not whole
    again = opened(tmp_path)
    assert drained(again) == records[:20] + records[21:]
    assert again.damaged == 1


def test_a_tail_that_is_lost_does_not_lend_its_batch_ids_to_what_comes_after(
    tmp_path: Path,
) -> None:
    """As after a power failure: the receiver has a batch that the disk has not; numbers are used again, ids must not be."""
    spool = opened(tmp_path)
    spool.append_many(lines(0, 1, 2))
    shutil.copytree(tmp_path / "0000", tmp_path / "before")
    sent = spool.read(10)
    assert sent is not None
    spool.close()
    shutil.rmtree(tmp_path / "0000")
    (tmp_path / "before").rename(tmp_path / "0000")
    (segment,) = tmp_path.glob("0000/*.seg")
    segment.write_bytes(segment.read_bytes()[: -len(lines(2)[0]) - 8])
    again = opened(tmp_path)
    again.append_many(lines(77))
    batch = again.read(10)
    assert batch is not None
    assert batch.lines == lines(0, 1, 77)
    assert batch.id != sent.id


def test_records_that_are_gone_but_were_acknowledged_are_no_loss(tmp_path: Path) -> None:
    spool = opened(tmp_path, segment_bytes=4096, max_bytes=1 << 20)
    spool.append_many([b"x" * 500] * 20)
    shutil.copytree(tmp_path / "0000", tmp_path / "before")
    while (batch := spool.read(5)) is not None:
        spool.ack(batch)
    spool.close()
    shutil.copy(tmp_path / "0000" / "cursor", tmp_path / "before" / "cursor")
    shutil.rmtree(tmp_path / "0000")
    (tmp_path / "before").rename(tmp_path / "0000")
    newest = max(tmp_path.glob("0000/*.seg"))
    newest.write_bytes(newest.read_bytes()[:20])
    again = opened(tmp_path)
    assert again.events == 0
    assert again.append(b"new")
    assert drained(again) == [b"new"]
    assert again.damaged == 0


def test_a_batch_with_an_id_keeps_it_and_its_bounds(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    spool.append_many(lines(0, 1))
    assert spool.append_batch(lines(2, 3, 4), "mine-1") == 3
    spool.append_many(lines(5))
    spool.close()
    again = opened(tmp_path)
    seen = []
    while (batch := again.read(100)) is not None:
        seen.append(([json.loads(line)["n"] for line in batch.lines], batch.id))
        again.ack(batch)
    assert [numbers for numbers, _ in seen] == [[0, 1], [2, 3, 4], [5]]
    assert [batch_id for _, batch_id in seen][1] == "mine-1"
    again.close()
    assert (tmp_path / "0000" / "names").read_bytes() == b""


def test_an_event_larger_than_the_spool_is_counted_and_keeps_nobody_waiting(tmp_path: Path) -> None:
    async def main() -> None:
        spool = Spool(tmp_path, segment_bytes=4096, max_bytes=8192)
        sink = Receiver(spool=spool, batch_size=1, batch_timeout=0.0)
        sink.up.set()
        await sink.start()
        giant = json.dumps({"n": 1, "text": "x" * 9000}).encode()
        assert sink.offer((), [lines(0)[0], giant, lines(2)[0]]) == 3
        assert await sink.flush(20)
        assert sink.numbers == [0, 2]
        assert sink.stats().dropped == {"too_big": 1}
        await sink.stop()

    asyncio.run(main())


def test_a_line_that_is_no_json_is_counted_and_keeps_nobody_waiting(tmp_path: Path) -> None:
    class Dicts(BatchedSink):
        got: list[dict[str, Any]]

        async def send_batch(self, batch: list[dict[str, Any]]) -> None:
            self.got = batch

    async def main() -> None:
        sink = Dicts(spool=tmp_path, batch_size=10)
        await sink.start()
        assert sink.append_durable(b'{"n":1}')
        assert sink.append_durable(b'{"n":')
        assert await sink.flush(20)
        assert sink.got == [{"n": 1}]
        assert await sink.stop() == DrainResult(sent=1, dropped=1)

    asyncio.run(main())


def test_a_line_that_is_no_json_is_counted_once_however_often_its_batch_is_cut(
    tmp_path: Path,
) -> None:
    class Down(BatchedSink):
        async def send_batch(self, batch: list[dict[str, Any]]) -> None:
            raise OSError("down")

    async def main() -> None:
        sink = Down(spool=tmp_path, batch_size=3, batch_timeout=0.0, drain_timeout=0.0)
        sent = 0
        for line in (b'{"n":1}', b'{"n":', b'{"n":2}'):
            assert sink.append_durable(line)
        for _ in range(3):
            await sink.start()
            while sink.stats().retried == sent:
                await asyncio.sleep(0.001)
            await sink.stop()
            stats = sink.stats()
            sent = stats.retried
            assert (stats.spooled, stats.dropped) == (2, {"damaged": 1})

    asyncio.run(main())


def test_write_waits_while_the_spool_is_full(tmp_path: Path) -> None:
    async def main() -> None:
        spool = Spool(tmp_path, segment_bytes=4096, max_bytes=8192)
        sink = Receiver(spool=spool, batch_size=5, batch_timeout=0.0)
        await sink.start()

        async def write_all() -> None:
            for n in range(60):
                await sink.write({"n": n, "text": "x" * 300})

        writing = asyncio.create_task(write_all())
        while sink.spool.reason != "spool_full":  # type: ignore[union-attr]
            await asyncio.sleep(0.001)
        assert not writing.done()
        sink.up.set()
        await writing
        assert await sink.stop() == DrainResult(sent=60)
        assert sink.numbers == list(range(60))

    asyncio.run(main())


class Medium:
    """What reached the medium, as far as calls can tell: descriptors written to and not synced, folders changed and not synced."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.unsynced: set[str] = set()
        self.synced = threading.Event()
        self.real: dict[str, Any] = {}
        for name in ("write", "pwrite", "open", "mkdir", "fsync"):
            self.real[name] = getattr(os, name)
            monkeypatch.setattr(os, name, getattr(self, name))
        monkeypatch.setattr(_spool_medium, "data_sync", self.fsync)
        monkeypatch.setattr(_spool_names, "data_sync", self.fsync)

    @staticmethod
    def path(fd: int) -> str:
        return os.readlink(f"/proc/self/fd/{fd}")

    def write(self, fd: int, data: bytes) -> int:
        if stat.S_ISREG(os.fstat(fd).st_mode):
            self.unsynced.add(self.path(fd))
        return int(self.real["write"](fd, data))

    def pwrite(self, fd: int, data: bytes, offset: int) -> int:
        self.unsynced.add(self.path(fd))
        return int(self.real["pwrite"](fd, data, offset))

    def open(self, path: Any, flags: int, *args: Any, **kwargs: Any) -> int:
        if flags & os.O_CREAT and not os.path.exists(path) and not str(path).endswith("lock"):
            self.unsynced.add(str(Path(path).parent))
        return int(self.real["open"](path, flags, *args, **kwargs))

    def mkdir(self, path: Any, *args: Any, **kwargs: Any) -> None:
        self.unsynced.add(str(Path(path).parent))
        self.real["mkdir"](path, *args, **kwargs)

    def fsync(self, fd: int) -> None:
        path = self.path(fd)
        self.real["fsync"](fd)
        self.unsynced.discard(path)
        self.synced.set()


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="asks Linux what a descriptor is")
def test_with_fsync_always_everything_is_on_the_medium_when_append_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bytes of the records, the names of their files, and the names of the folders above, all of them new."""
    medium = Medium(monkeypatch)
    spool = opened(tmp_path / "a" / "b", fsync="always", segment_bytes=4096, max_bytes=1 << 20)
    for n in range(30):
        assert spool.append(b"%d" % n + b"x" * 400)
        assert medium.unsynced == set(), n
    while (batch := spool.read(3)) is not None:
        assert medium.unsynced == set()  # the range in flight, before it is sent
        spool.ack(batch)
    spool.close()
    assert medium.unsynced == set()


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="asks Linux what a descriptor is")
def test_with_fsync_of_seconds_the_last_append_is_synced_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    medium = Medium(monkeypatch)
    spool = opened(tmp_path / "a", fsync=0.05, segment_bytes=4096, max_bytes=1 << 20)
    spool.append_many([b"x" * 400] * 30)
    assert medium.unsynced != set()
    timer = spool._medium.timer
    assert timer is not None
    timer.join(20)
    assert medium.unsynced == set()
    spool.close()


def test_lanes_of_processes_that_die_are_taken_over_while_this_one_runs_idle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_spool, "LOOK_AGAIN", 0.05)

    async def main() -> None:
        code = """
import sys
from pymongoose.sinks import Spool
spool = Spool(sys.argv[1]); spool.open()
spool.append(b'{"n":1}')
print("ready", flush=True)
sys.stdin.readline()
"""
        child = program(code, str(tmp_path))
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n", child.communicate()
        sink = Receiver(spool=tmp_path, batch_size=10, batch_timeout=1000)
        sink.up.set()
        await sink.start()
        assert await sink.flush(10)
        assert sink.numbers == []  # it lives
        child.kill()
        await asyncio.to_thread(child.communicate)
        while not sink.numbers:
            await asyncio.sleep(0.01)
        assert sink.numbers == [1]
        assert await sink.stop() == DrainResult(sent=1)

    asyncio.run(main())


def test_what_the_dead_left_is_sent_before_what_is_new(tmp_path: Path) -> None:
    first, second = opened(tmp_path), opened(tmp_path)
    first.append_many(lines(1, 2))
    second.append_many(lines(3))
    second.close()
    first.close()
    ours = opened(tmp_path)  # has the lane of the first, and takes that of the second over
    ours.append_many(lines(4))
    assert drained(ours) == lines(3, 1, 2, 4)
    assert ours.recovered == 3
    other = opened(tmp_path)  # for whom the empty lane is free again
    assert len([p for p in tmp_path.iterdir() if p.is_dir()]) == 2
    other.close()
    ours.close()


def test_a_destructor_that_appends_in_the_middle_of_an_append_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = opened(tmp_path)
    inner: list[bool] = []
    real = os.write

    def write(fd: int, data: bytes) -> int:
        if not inner:
            inner.append(True)
            inner[0] = spool.append(b"from within")
        return real(fd, data)

    monkeypatch.setattr(_spool_lane.os, "write", write)
    assert spool.append(b"outer")
    monkeypatch.undo()
    assert inner == [False]
    assert spool.reason == "busy"
    assert drained(spool) == [b"outer"]


def test_a_sink_stopped_in_the_middle_of_a_send_sends_the_batch_again_with_the_same_id(
    tmp_path: Path,
) -> None:
    """It went to disk from memory; the receiver, which may have it already, can tell."""

    async def main() -> None:
        spool = Spool(tmp_path, when="outage")
        ids: list[tuple[str, list[bytes]]] = []

        class Hangs(Receiver):
            async def send_lines(self, lines: list[bytes]) -> None:
                ids.append((self.batch_id, lines))
                await asyncio.Event().wait()

        sink = Hangs(spool=spool, batch_size=3, batch_timeout=0.0, drain_timeout=0.05)
        await sink.start()
        for n in range(7):
            await sink.write({"n": n})
        while not ids:
            await asyncio.sleep(0)
        assert await sink.stop() == DrainResult(spooled=7)
        again = Receiver(spool=Spool(tmp_path, when="outage"), batch_size=100)
        again.up.set()
        await again.start()
        assert await again.flush(20)
        await again.stop()
        batch_id, sent = ids[0]
        assert again.got[batch_id] == sent
        assert again.numbers == list(range(7))

    asyncio.run(main())


def test_what_is_left_of_a_batch_in_part_is_all_that_stays_on_disk(tmp_path: Path) -> None:
    async def main() -> None:
        class Partly(Receiver):
            async def send_lines(self, lines: list[bytes]) -> None:
                if len(lines) == 4:
                    raise Partial({0: "bad"}, retry=[2])
                raise OSError("down")

        sink = Partly(spool=tmp_path, batch_size=4, batch_timeout=0.0, drain_timeout=0.05)
        await sink.start()
        for n in range(4):
            await sink.write({"n": n})
        while sink.stats().retried == 0:
            await asyncio.sleep(0.001)
        assert await sink.stop() == DrainResult(sent=2, spooled=1, dropped=1)
        again = Receiver(spool=tmp_path)
        again.up.set()
        await again.start()
        assert await again.flush(20)
        await again.stop()
        assert again.numbers == [2]

    asyncio.run(main())


def test_memory_takes_what_a_spool_for_outages_has_no_room_for(tmp_path: Path) -> None:
    async def main() -> None:
        spool = Spool(tmp_path, when="outage", segment_bytes=4096, max_bytes=8192)
        sink = Receiver(spool=spool, batch_size=10, batch_timeout=0.0, max_pending=40)
        await sink.start()
        accepted = sink.offer((), lines(*range(2000)))
        accepted += sink.offer((), lines(*range(accepted, accepted + 1)))
        assert spool.reason == "spool_full"
        sink.up.set()
        while sink.pending:
            await asyncio.sleep(0.001)
        taken = sink.offer((), lines(*range(accepted, accepted + 30)))
        assert taken == 30
        assert await sink.flush(20)
        assert sorted(sink.numbers) == list(range(accepted + 30))
        await sink.stop()

    asyncio.run(main())


def test_the_size_of_a_file_follows_that_of_the_spool(tmp_path: Path) -> None:
    assert Spool(tmp_path, max_bytes=1 << 20).segment_bytes == 1 << 17
    assert Spool(tmp_path).segment_bytes == 8 << 20


def test_retry_of_none_sends_once(tmp_path: Path) -> None:
    async def main() -> None:
        sink = Receiver(spool=tmp_path, batch_size=2, retry=None)
        await sink.start()
        await sink.write({"n": 1})
        assert await sink.flush(20)
        assert sink.stats().dropped == {"gave_up": 1}
        await sink.stop()

    asyncio.run(main())


def test_a_spool_that_nobody_closed_gives_its_lane_back(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    spool.append(b"left")
    del spool
    gc.collect()
    again = opened(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["0000"]
    assert drained(again) == [b"left"]
    again.close()


def test_a_cursor_that_cannot_be_written_holds_no_batch_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a file system that wants room for every write, and has none."""
    spool = opened(tmp_path, segment_bytes=4096, max_bytes=1 << 20)
    records = [b"%04d" % n + b"x" * 400 for n in range(40)]
    spool.append_many(records)

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "no space left on device")

    monkeypatch.setattr(_spool_lane.os, "pwrite", full)
    out: list[bytes] = []
    while (batch := spool.read(7)) is not None:
        out += batch.lines
        with pytest.raises(OSError, match="no space"):
            spool.ack(batch)
    monkeypatch.undo()
    assert out == records
    assert len(list(tmp_path.glob("0000/*.seg"))) == 1  # the others made room
    spool.close()
