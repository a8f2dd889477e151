"""Spool: what was accepted survives the process, cuts, damage and full disks, and is told apart from what was not."""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from helpers import finish, program, run_program
from sink_helpers import Receiver, drained, lines, opened

from pymongoose.sinks import DrainResult, Pipeline, Spool


def test_what_was_appended_comes_out_in_order_after_a_restart(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    assert spool.append_many(lines(1, 2)) == 2
    assert spool.append(lines(3)[0])
    assert spool.events == 3
    spool.close()
    again = opened(tmp_path)
    assert (again.events, again.recovered) == (3, 3)
    assert drained(again) == lines(1, 2, 3)
    again.close()
    assert opened(tmp_path).events == 0


def test_a_batch_is_the_same_with_the_same_id_until_it_is_acknowledged(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    spool.append_many(lines(*range(10)))
    first = spool.read(4)
    assert first is not None
    spool.close()
    again = opened(tmp_path)
    again.append_many(lines(10, 11))
    second = again.read(100)  # though more would fit now
    assert second is not None
    assert (second.id, second.lines) == (first.id, first.lines)
    again.ack(second)
    third = again.read(100)
    assert third is not None
    assert third.id != first.id
    assert third.lines == lines(*range(4, 12))


def test_many_segments_are_written_read_and_removed(tmp_path: Path) -> None:
    spool = opened(tmp_path, segment_bytes=4096, max_bytes=1 << 20)
    big = [b"%06d" % n + b"x" * 500 for n in range(200)]
    for line in big:
        assert spool.append(line)
    assert len(list(tmp_path.glob("0000/*.seg"))) > 10
    assert drained(spool, 7) == big
    assert len(list(tmp_path.glob("0000/*.seg"))) <= 1
    assert spool.append(b"after")
    assert drained(spool) == [b"after"]


def test_reading_and_acknowledging_go_on_over_restarts_in_the_middle(tmp_path: Path) -> None:
    out: list[bytes] = []
    expected = lines(*range(300))
    for start in range(0, 300, 30):
        spool = opened(tmp_path, segment_bytes=4096, max_bytes=1 << 20)
        spool.append_many(expected[start : start + 30])
        for _ in range(2):
            batch = spool.read(9)
            assert batch is not None
            out += batch.lines
            spool.ack(batch)
        spool.close()
    spool = opened(tmp_path)
    out += drained(spool)
    assert out == expected
    assert spool.damaged == 0


def test_a_file_cut_at_any_byte_keeps_every_record_in_front_of_the_cut(tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    spool = opened(whole)
    records = lines(*range(5))
    spool.append_many(records)
    spool.close()
    (segment,) = whole.glob("0000/*.seg")
    data = segment.read_bytes()
    ends = [len(data) - sum(len(r) + 8 for r in records[i:]) for i in range(6)]
    for size in range(len(data) + 1):
        cut = tmp_path / "cut"
        shutil.copytree(whole, cut)
        (cut / "0000" / segment.name).write_bytes(data[:size])
        again = opened(cut)
        kept = sum(end <= size for end in ends[1:])
        assert again.append(b"new"), size
        assert drained(again) == [*records[:kept], b"new"], size
        again.close()
        shutil.rmtree(cut)


def test_a_flipped_bit_anywhere_costs_the_records_it_hit_and_never_a_hang(tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    spool = opened(whole)
    records = lines(*range(8))
    spool.append_many(records)
    spool.close()
    (segment,) = whole.glob("0000/*.seg")
    data = segment.read_bytes()
    for at in range(len(data)):
        hurt = tmp_path / "hurt"
        shutil.copytree(whole, hurt)
        changed = bytearray(data)
        changed[at] ^= 0x10
        (hurt / "0000" / segment.name).write_bytes(changed)
        again = opened(hurt)
        assert again.append(b"new")
        found = drained(again)
        assert found[-1] == b"new"
        assert set(found[:-1]) <= set(records)  # nothing that was never written
        if at >= 20:
            assert len(found) >= 2 or at < 40  # damage in one record does not cost them all
        again.close()
        shutil.rmtree(hurt)


def test_damage_in_an_older_segment_is_counted_and_the_next_ones_are_read(tmp_path: Path) -> None:
    spool = opened(tmp_path, segment_bytes=4096, max_bytes=1 << 20)
    records = [b"%04d" % n + b"x" * 400 for n in range(40)]
    spool.append_many(records)
    spool.close()
    first = min(tmp_path.glob("0000/*.seg"))
    data = bytearray(first.read_bytes())
    data[20:24] = b"\xff\xff\xff\xff"  # a length that cannot be
    first.write_bytes(data)
    again = opened(tmp_path)
    found = drained(again)
    assert found == records[40 - len(found) :]
    assert 0 < again.damaged == 40 - len(found) < 15


def test_a_torn_cursor_costs_repetitions_and_nothing_else(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    spool.append_many(lines(*range(6)))
    batch = spool.read(3)
    assert batch is not None
    spool.ack(batch)
    spool.close()
    whole = tmp_path / "whole"
    shutil.copytree(tmp_path / "0000", whole)
    cursor = tmp_path / "0000" / "cursor"
    data = bytearray(cursor.read_bytes())
    for i in range(len(data)):
        torn = bytearray(data)
        torn[i] ^= 0xFF
        cursor.write_bytes(torn)
        again = opened(tmp_path)
        assert again.events in (6, 3)
        assert drained(again)[-3:] == lines(3, 4, 5)
        again.close()
        shutil.rmtree(tmp_path / "0000")
        shutil.copytree(whole, tmp_path / "0000")


def test_the_size_is_bounded_and_new_events_are_refused_with_a_reason(tmp_path: Path) -> None:
    spool = opened(tmp_path, segment_bytes=4096, max_bytes=16384)
    taken = spool.append_many([b"x" * 100] * 1000)
    assert 0 < taken < 1000
    assert spool.reason == "spool_full"
    assert sum(f.stat().st_size for f in tmp_path.glob("0000/*.seg")) <= 16384
    assert len(drained(spool)) == taken
    assert spool.append(b"room again")


def test_drop_oldest_gives_whole_files_up_and_counts_their_events(tmp_path: Path) -> None:
    spool = opened(tmp_path, segment_bytes=4096, max_bytes=16384, on_full="drop_oldest")
    records = [b"%04d" % n + b"x" * 100 for n in range(1000)]
    assert spool.append_many(records) == 1000
    kept = drained(spool)
    assert kept == records[-len(kept) :]
    assert spool.evicted == 1000 - len(kept)


def test_a_batch_whose_file_was_given_up_meanwhile_can_still_be_acknowledged(
    tmp_path: Path,
) -> None:
    spool = opened(tmp_path, segment_bytes=4096, max_bytes=12288, on_full="drop_oldest")
    records = [b"%04d" % n + b"x" * 500 for n in range(100)]
    spool.append_many(records[:5])
    batch = spool.read(3)
    assert batch is not None
    spool.append_many(records[5:])
    spool.ack(batch)
    kept = drained(spool)
    assert kept == records[-len(kept) :]


def test_each_process_has_a_lane_and_those_of_the_dead_are_taken_over(tmp_path: Path) -> None:
    code = """
import sys
from pymongoose.sinks import Spool
spool = Spool(sys.argv[1]); spool.open()
for n in range(5): assert spool.append(b"child %d" % n)
print("ready", flush=True)
sys.stdin.readline()
"""
    child = program(code, str(tmp_path))
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n", child.communicate()
    ours = opened(tmp_path)
    assert ours.append(b"ours")
    assert drained(ours) == [b"ours"]  # the other one lives
    ours.close()
    child.kill()
    child.wait()
    child.communicate()
    heir = opened(tmp_path)
    assert sorted(drained(heir)) == sorted(b"child %d" % n for n in range(5))


def test_a_forked_child_has_a_lane_of_its_own(tmp_path: Path) -> None:
    out = run_program(
        """
import os, sys
from pymongoose.sinks import Spool
spool = Spool(sys.argv[1]); spool.open()
spool.append(b"parent")
pid = os.fork()
if pid == 0:
    spool.forked(); spool.open()
    assert spool.events == 0, spool.events
    spool.append(b"child")
    os._exit(0)
os.waitpid(pid, 0)
print(spool.events, spool.read(10).lines)
""",
        str(tmp_path),
    )
    assert out == "1 [b'parent']\n"
    spool = opened(tmp_path)
    assert sorted(drained(spool)) == [b"child", b"parent"]


def test_a_full_disk_is_a_reason_and_never_half_a_record(small_disk: Path) -> None:
    spool = opened(small_disk / "spool", max_bytes=1 << 30)
    records = [b"%06d" % n + b"x" * 1000 for n in range(3000)]
    taken = spool.append_many(records)
    assert 0 < taken < 3000
    assert spool.reason == "disk_full"
    assert not spool.append(b"y" * 5000)
    spool.close()
    again = opened(small_disk / "spool")
    assert again.damaged == 0
    batch = again.read(500)
    assert batch is not None
    again.ack(batch)
    rest = drained(again)
    assert [*batch.lines, *rest] == records[:taken]
    assert again.append(b"there is room again")
    assert drained(again) == [b"there is room again"]
    again.close()


def test_a_durable_sink_sends_from_disk_and_leaves_what_it_cannot_send(tmp_path: Path) -> None:
    async def main() -> None:
        sink = Receiver(spool=tmp_path, batch_size=10, batch_timeout=0.01, drain_timeout=0.05)
        await sink.start()
        for n in range(25):
            await sink.write({"n": n})
        assert sink.stats().spooled == 25
        assert await sink.stop() == DrainResult(spooled=25)

        sink = Receiver(spool=tmp_path, batch_size=10, batch_timeout=0.01)
        sink.up.set()
        await sink.start()
        assert await sink.flush(20)
        await sink.write({"n": 25})
        result = await sink.stop()
        assert result == DrainResult(sent=26)
        assert sink.numbers == list(range(26))
        assert sink.stats().recovered == 25

    asyncio.run(main())


def test_a_durable_pipeline_accepts_when_it_is_on_disk(tmp_path: Path) -> None:
    sink = Receiver(spool=tmp_path, batch_size=10, batch_timeout=0.01)
    with Pipeline([sink]) as log:
        for n in range(30):
            assert log.emit("m", n=n), (log.stats(), sink.spool.reason)
        assert sink.stats().spooled == 30
        sink.up.set()
        assert log.flush(20)
        stats = log.stats()
    assert sorted(sink.numbers) == list(range(30))
    assert stats.deliveries == stats.sent + stats.spooled + stats.pending == 30


def test_in_an_outage_events_go_to_disk_when_memory_is_full_and_none_is_lost(
    tmp_path: Path,
) -> None:
    async def main() -> None:
        sink = Receiver(
            spool=Spool(tmp_path, when="outage"), batch_size=10, batch_timeout=0.01, max_pending=20
        )
        await sink.start()
        for n in range(200):
            await sink.write({"n": n})
        stats = sink.stats()
        assert stats.pending <= 30
        assert stats.pending + stats.spooled == 200
        sink.up.set()
        assert await sink.flush(20)
        assert await sink.stop() == DrainResult(sent=200)
        assert sink.numbers == list(range(200))

    asyncio.run(main())


def test_stop_puts_what_is_left_in_memory_on_disk(tmp_path: Path) -> None:
    async def main() -> None:
        spool = Spool(tmp_path, when="outage")
        sink = Receiver(spool=spool, batch_size=10, batch_timeout=0.01, drain_timeout=0.05)
        await sink.start()
        for n in range(25):
            await sink.write({"n": n})
        assert await sink.stop() == DrainResult(spooled=25)
        again = Receiver(spool=Spool(tmp_path, when="outage"), batch_timeout=0.01)
        again.up.set()
        await again.start()
        await again.flush(20)
        assert sorted(again.numbers) == list(range(25))
        await again.stop()

    asyncio.run(main())


EMITTER = """
import json, sys, threading
from pymongoose.sinks import BatchedSink, Pipeline, Retry, Spool
out = sys.argv[2]
class Out(BatchedSink):
    accepts = "json"
    async def send_lines(self, lines):
        with open(out, "ab", buffering=0) as f:
            f.write(b"\\n" + json.dumps([self.batch_id, [json.loads(x)["n"] for x in lines]]).encode())
print("up", flush=True)
sink = Out(spool=Spool(sys.argv[1], segment_bytes=16384), batch_size=17, batch_timeout=0.001)
log = Pipeline([sink]); log.start()
n = int(sys.argv[3])
while True:
    assert log.emit("m", n=n), (log.stats(), sink.spool.reason)
    sys.stdout.write(f"{n}\\n"); sys.stdout.flush()
    n += 1
"""


@pytest.mark.slow
def test_nothing_that_was_accepted_is_lost_when_the_process_is_killed(tmp_path: Path) -> None:
    """Fifty times, at random: while it starts and replays what the last one left, and while events come in and go out. By batch id each is there once."""
    rounds = int(os.environ.get("KILL_ROUNDS", "50"))
    out = tmp_path / "out"
    accepted: set[int] = set()
    rng = random.Random()
    for k in range(rounds):
        child = program(EMITTER, str(tmp_path / "spool"), str(out), str(k * 1_000_000))
        assert child.stdout is not None
        assert child.stdout.readline() == "up\n", child.communicate()
        if rng.random() < 0.7:
            for _ in range(rng.randrange(1, 700)):
                line = child.stdout.readline()
                assert line, child.communicate()
                accepted.add(int(line))
        else:
            time.sleep(rng.random() * 0.03)
        child.kill()
        rest = child.stdout.read().split("\n")
        child.communicate()
        accepted |= {int(x) for x in rest[:-1]}
    final = """
import asyncio, json, sys
from pymongoose.sinks import BatchedSink
class Out(BatchedSink):
    accepts = "json"
    async def send_lines(self, lines):
        with open(sys.argv[2], "ab", buffering=0) as f:
            f.write(b"\\n" + json.dumps([self.batch_id, [json.loads(x)["n"] for x in lines]]).encode())
async def main():
    sink = Out(spool=sys.argv[1], batch_timeout=0.01)
    await sink.start(); assert await sink.flush(30); await sink.stop()
    assert sink.stats().dropped == {}, sink.stats()
asyncio.run(main())
"""
    finish(subprocess_of(final, tmp_path / "spool", out))
    batches: dict[str, list[int]] = {}
    for line in out.read_text().splitlines():
        if not line.endswith("]]"):  # killed in the middle of the write: not acknowledged
            continue
        batch_id, numbers = json.loads(line)
        assert batches.setdefault(batch_id, numbers) == numbers  # a repetition is the same batch
    arrived = [n for numbers in batches.values() for n in numbers]
    assert len(arrived) == len(set(arrived))
    assert accepted <= set(arrived)
    assert len(arrived) <= len(accepted) + rounds  # accepted, but killed before it said so


def subprocess_of(code: str, *args: Path) -> subprocess.Popen[str]:
    return program(code, *(str(a) for a in args))


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"when": "later"}, "when"),
        ({"on_full": "wait"}, "on_full"),
        ({"segment_bytes": 1}, "segment_bytes"),
        ({"max_bytes": 1}, "max_bytes"),
        ({"fsync": "sometimes"}, "fsync"),
        ({"fsync": -1.0}, "fsync"),
    ],
)
def test_wrong_options_are_named(tmp_path: Path, options: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        Spool(tmp_path, **options)


@pytest.mark.parametrize("fsync", ["always", 0.0, 60.0])
def test_with_fsync_the_same_holds(tmp_path: Path, fsync: Any) -> None:
    spool = opened(tmp_path, fsync=fsync, segment_bytes=4096, max_bytes=1 << 20)
    spool.append_many([b"x" * 100] * 100)
    spool.close()
    assert len(drained(opened(tmp_path))) == 100
