"""Spool, when an append is cut short: by Ctrl-C, by a disk that fails in the middle, by a medium that does not take it. What was not accepted is not there,
and what was accepted later is."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import DEADLINE, eventually
from sink_helpers import Receiver, drained, opened

from pymongoose.sinks import Pipeline, Spool, _spool_lane, _spool_medium

Write = Callable[[int, bytes], int]


def failing(error: BaseException, after: int, part: float = 0.5) -> Write:
    """os.write() that fails once, when so many calls went well, with part of the data written."""
    real, calls = os.write, 0

    def write(fd: int, data: bytes) -> int:
        nonlocal calls
        calls += 1
        if calls == after + 1:
            if part:
                real(fd, data[: max(int(len(data) * part), 1)])
            raise error
        return real(fd, data)

    return write


def short_then(error: BaseException) -> Write:
    """os.write() that takes half, and fails for the rest; once."""
    real, calls = os.write, 0

    def write(fd: int, data: bytes) -> int:
        nonlocal calls
        calls += 1
        if calls == 1:
            return real(fd, data[: len(data) // 2])
        if calls == 2:
            raise error
        return real(fd, data)

    return write


def failing_sync(every: int) -> Callable[[int], None]:
    """A medium that takes all but each such call."""
    real, calls = _spool_medium.data_sync, 0

    def sync(fd: int) -> None:
        nonlocal calls
        calls += 1
        if calls % every == 0:
            raise OSError(errno.EIO, "no")
        real(fd)

    return sync


def reopened(spool: Spool, path: Path, **options: Any) -> list[bytes]:
    """What a later process finds; it must not find damage."""
    spool.close()
    again = opened(path, **options)
    found = drained(again)
    assert again.damaged == 0
    again.close()
    return found


@pytest.mark.parametrize("part", [0.3, 0.9, 1.0])
@pytest.mark.parametrize("many", [False, True])
def test_an_interrupted_append_leaves_nothing_that_hides_later_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, many: bool, part: float
) -> None:
    spool = opened(tmp_path)
    assert spool.append(b"before")
    with monkeypatch.context() as m:
        m.setattr(os, "write", failing(KeyboardInterrupt(), 0, part))
        with pytest.raises(KeyboardInterrupt):
            spool.append_many([b"x" * 50, b"y" * 50]) if many else spool.append(b"x" * 50)
    assert spool.events == 1
    assert spool.append(b"after")
    assert spool.append_many([b"one", b"more"]) == 2
    assert drained(spool) == [b"before", b"after", b"one", b"more"]
    assert spool.damaged == 0


def test_an_append_interrupted_behind_its_write_is_not_half_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = opened(tmp_path)
    assert spool.append(b"before")
    lane = spool._lanes[-1]

    class Interrupting(type(lane)):  # type: ignore[misc]
        @property
        def next(self) -> int:
            return int(self.__dict__["next"])

        @next.setter
        def next(self, value: int) -> None:
            if armed and value > self.__dict__["next"]:
                armed.pop()
                raise KeyboardInterrupt
            self.__dict__["next"] = value

    armed = [True]
    lane.__class__ = Interrupting
    with pytest.raises(KeyboardInterrupt):
        spool.append(b"x" * 50)
    assert spool.append(b"after")
    assert spool.events == 2
    size = spool.bytes
    assert reopened(spool, tmp_path) == [b"before", b"after"]
    assert size == 20 + 8 + 6 + 8 + 5


@pytest.mark.parametrize("many", [False, True])
def test_a_disk_that_fails_in_the_middle_of_a_write_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, many: bool
) -> None:
    spool = opened(tmp_path)
    assert spool.append(b"before")
    with monkeypatch.context() as m:
        m.setattr(os, "write", short_then(OSError(errno.EIO, "no")))
        with pytest.raises(OSError, match="no"):
            spool.append_many([b"x" * 50, b"y" * 50]) if many else spool.append(b"x" * 50)
    assert spool.append(b"after")
    assert reopened(spool, tmp_path) == [b"before", b"after"]


def test_an_interrupted_append_of_many_files_leaves_none_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {"segment_bytes": 4096, "max_bytes": 1 << 20}
    spool = opened(tmp_path, **options)
    assert spool.append(b"before")
    with monkeypatch.context() as m:
        m.setattr(os, "write", failing(KeyboardInterrupt(), 5))
        with pytest.raises(KeyboardInterrupt):
            spool.append_many([b"%04d" % n + b"x" * 1000 for n in range(50)])
    assert spool.events == 1
    assert spool.append(b"after")
    assert reopened(spool, tmp_path, **options) == [b"before", b"after"]


@pytest.mark.parametrize("fault", ["sync", "dup"])
@pytest.mark.parametrize("many", [False, True])
def test_what_the_medium_does_not_take_is_refused_and_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, many: bool, fault: str
) -> None:
    spool = opened(tmp_path, fsync="always")
    assert spool.append(b"before")

    def fails(*_: Any) -> int:
        raise OSError(errno.EIO, "no")

    with monkeypatch.context() as m:
        if fault == "sync":
            m.setattr(_spool_medium, "data_sync", fails)
        else:
            m.setattr(os, "dup", fails)
        with pytest.raises(OSError, match="no"):
            spool.append_many([b"x", b"y"]) if many else spool.append(b"x")
        assert spool.events == 1
    assert spool.append(b"after")
    assert reopened(spool, tmp_path) == [b"before", b"after"]


def test_sums_are_exact_when_the_medium_fails_under_a_durable_pipeline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = Receiver(spool=Spool(tmp_path, fsync="always"), batch_timeout=0.01)
    sink.up.set()
    log = Pipeline([sink])
    real = _spool_medium.data_sync
    monkeypatch.setattr(_spool_medium, "data_sync", failing_sync(3))
    with log:
        accepted = [n for n in range(60) if log.emit("m", n=n)]
        assert 0 < len(accepted) < 60
        monkeypatch.setattr(_spool_medium, "data_sync", real)
        assert log.flush(30)
    assert sorted(sink.numbers) == accepted
    stats = log.stats()
    assert stats.refused == {"disk_error": 60 - len(accepted)}
    assert (stats.sent, stats.spooled, stats.dropped) == (len(accepted), 0, {})


def test_what_was_written_before_a_file_could_not_be_made_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {"segment_bytes": 4096, "max_bytes": 1 << 20}
    spool = opened(tmp_path, **options)
    assert spool.append(b"before")
    records = [b"%04d" % n + b"x" * 1000 for n in range(20)]
    with monkeypatch.context() as m:
        m.setattr(_spool_lane.os, "open", refusing(".seg"))
        done = spool.append_many(records)
        assert 0 < done < 20
        assert spool.reason == "disk_error"
        assert spool.events == done + 1
        with pytest.raises(OSError, match="no"):
            spool.append_many(records[done:])
    assert spool.append(b"after")
    assert reopened(spool, tmp_path, **options) == [b"before", *records[:done], b"after"]


def test_a_batch_cut_off_by_a_file_that_could_not_be_made_has_an_id_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {"segment_bytes": 4096, "max_bytes": 1 << 20}
    spool = opened(tmp_path, **options)
    records = [b"%04d" % n + b"x" * 1000 for n in range(20)]
    assert spool.append(b"before")
    with monkeypatch.context() as m:
        m.setattr(_spool_lane.os, "open", refusing(".seg"))
        done = spool.append_batch(records, "batch")
        assert 0 < done < 20
    assert spool.append_many(records[done:]) == 20 - done
    spool.close()
    again = opened(tmp_path, **options)
    ids = {}
    while (batch := again.read(1000)) is not None:
        ids[batch.id] = len(batch.lines)
        again.ack(batch)
    assert "batch" not in ids
    assert ids["batch.1"] == done
    assert sum(ids.values()) == 21


def refusing(end: str) -> Callable[..., int]:
    real = os.open

    def open_(path: Any, *args: Any, **options: Any) -> int:
        if str(path).endswith(end):
            raise OSError(errno.EMFILE, "no")
        return real(path, *args, **options)

    return open_


def test_threads_that_append_at_the_same_time_share_a_sync_and_each_waits_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the first sync runs seven others append; the second one is for all of them."""
    spool = opened(tmp_path, fsync="always")
    assert spool.append(b"before")
    real, syncs, covered = _spool_medium.data_sync, 0, []
    entered, go = threading.Event(), threading.Event()

    def sync(fd: int) -> None:
        nonlocal syncs
        syncs += 1
        covered.append(spool.events)
        entered.set()
        assert go.wait(30)
        real(fd)

    monkeypatch.setattr(_spool_medium, "data_sync", sync)
    done: list[int] = []

    def append(n: int) -> None:
        assert spool.append(b"%d" % n)
        done.append(n)

    threads = [threading.Thread(target=append, args=(n,), daemon=True) for n in range(8)]
    threads[0].start()
    assert entered.wait(30)
    for thread in threads[1:]:
        thread.start()
    while spool.events < 9:
        pass
    assert done == []
    go.set()
    for thread in threads:
        thread.join(30)
    assert (sorted(done), covered) == (list(range(8)), [2, 9])
    assert sorted(drained(spool)) == sorted([b"before", *(b"%d" % n for n in range(8))])


def test_a_sync_that_fails_takes_back_all_that_it_was_for_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = opened(tmp_path, fsync="always", segment_bytes=4096, max_bytes=1 << 20)
    real = _spool_medium.data_sync
    monkeypatch.setattr(_spool_medium, "data_sync", failing_sync(4))
    kept: list[bytes] = []
    refused: list[bytes] = []

    def append(n: int) -> None:
        for k in range(60):
            line = b"%d.%d " % (n, k) + b"x" * 100
            try:
                assert spool.append(line)
            except OSError:
                refused.append(line)
            else:
                kept.append(line)

    threads = [threading.Thread(target=append, args=(n,), daemon=True) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    monkeypatch.setattr(_spool_medium, "data_sync", real)
    assert len(kept) + len(refused) == 360
    assert refused
    assert spool.events == len(kept)
    assert sorted(reopened(spool, tmp_path)) == sorted(kept)


def _refuses(*_: Any) -> int:
    raise OSError(errno.EIO, "no")


@pytest.mark.parametrize("fsync", [1000.0, "always"])
def test_a_spool_that_cannot_be_synced_at_its_close_keeps_what_it_accepted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fsync: Any
) -> None:
    spool = opened(tmp_path, fsync=fsync)
    assert all(spool.append(b"%d" % n) for n in range(5))
    spool._lanes[-1]._moved = True  # there is something to sync
    with monkeypatch.context() as m:
        m.setattr(_spool_medium, "data_sync", _refuses)
        with pytest.raises(OSError, match="no"):
            spool.close()
    assert drained(opened(tmp_path)) == [b"%d" % n for n in range(5)]


def test_a_batch_that_cannot_be_replaced_leaves_nothing_of_what_others_wait_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = opened(tmp_path, fsync="always")
    assert spool.append_many([b"a", b"b"]) == 2
    batch = spool.read(2)
    assert batch is not None
    waiting = [spool.begin(b"c"), spool.begin(b"d")]
    with monkeypatch.context() as m:
        m.setattr(_spool_medium, "data_sync", _refuses)
        with pytest.raises(OSError, match="no"):
            spool.replace(batch, [b"b"], "other")
    for ticket in waiting:
        assert ticket is not None
        with pytest.raises(OSError, match="not to the medium"):
            spool.commit(ticket)
    assert spool.events == 2
    assert drained(spool) == [b"a", b"b"]
    assert (spool.events, spool.damaged) == (0, 0)
    spool.close()


def test_an_overflow_spool_that_cannot_be_synced_does_not_keep_stop_from_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = Pipeline([], overflow="spool", spool=Spool(tmp_path, fsync=1000.0))
    assert log._backlog is not None
    monkeypatch.setattr(log._backlog, "take", lambda n: (None, []))  # the worker is busy
    log.start()
    assert log._backlog.append(b'{"n":1}')
    with monkeypatch.context() as m:
        m.setattr(_spool_medium, "data_sync", _refuses)
        log.stop(0.0)
        assert log.stop().spooled == log.stats().spooled
    assert log.stats().spooled == 1
    assert drained(opened(tmp_path)) == [b'{"n":1}']


def test_flush_does_not_wait_for_what_a_failed_sync_takes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached, release = threading.Event(), threading.Event()
    real = _spool_medium.data_sync

    def held(fd: int) -> None:
        if reached.is_set():
            real(fd)
            return
        reached.set()
        release.wait(DEADLINE)
        raise OSError(errno.EIO, "no")

    sink = Receiver(spool=Spool(tmp_path, fsync="always"), batch_timeout=60.0)
    with Pipeline([sink]) as log:
        monkeypatch.setattr(_spool_medium, "data_sync", held)
        emitting = threading.Thread(target=log.emit, args=("m",), daemon=True)
        emitting.start()
        assert reached.wait(DEADLINE)
        told: list[bool] = []
        flushing = threading.Thread(target=lambda: told.append(log.flush(None)), daemon=True)
        flushing.start()
        eventually(lambda: sink._flushing)
        release.set()
        emitting.join(DEADLINE)
        flushing.join(DEADLINE)
        assert told == [True]
    assert log.stats().refused == {"disk_error": 1}
