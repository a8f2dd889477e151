"""RotatingFileSink: every accepted event stands in the files once, on a line of its own, whatever happens to the file meanwhile."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from conftest import DEADLINE, eventually
from log_files import emit, events, files, numbers, text_of
from programs import run

from pymongoose.sinks import Pipeline, RotatingFileSink, _log_file
from pymongoose.sinks._archive import Archive
from pymongoose.sinks._log_file import HalfWritten, LogFile


def log_file(path: Path, **options: Any) -> LogFile:
    return LogFile(str(path), Archive(str(path)), **options)


# -- lines and files --


def test_each_event_is_one_line_of_json_and_missing_folders_are_made(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "e.jsonl"
    with Pipeline([RotatingFileSink(path)]) as log:
        log.emit("line\nbreak", level="error", n=1, text="ü", at=1.5)
        log.emit("m", ts=5.0, n=2)
    first, second = path.read_bytes().splitlines()
    event = json.loads(first)
    assert list(event) == ["ts", "level", "message", "n", "text", "at"]
    assert (event["level"], event["message"], event["n"], event["text"]) == (
        "error",
        "line\nbreak",
        1,
        "ü",
    )
    assert json.loads(second) == {"ts": 5.0, "level": "info", "message": "m", "n": 2}


def test_a_stopped_sink_appends_when_it_is_started_again(tmp_path: Path) -> None:
    sink = RotatingFileSink(tmp_path / "e.jsonl")
    emit(sink, 1, 2)
    emit(sink, 3)
    emit(RotatingFileSink(tmp_path / "e.jsonl"), 4)
    assert numbers(tmp_path) == [1, 2, 3, 4]


def test_permissions_are_those_asked_for_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        emit(RotatingFileSink(tmp_path / "asked" / "e.jsonl", mode=0o664), 1)
        emit(RotatingFileSink(tmp_path / "not" / "e.jsonl"), 1)
    finally:
        os.umask(before)
    assert (tmp_path / "asked" / "e.jsonl").stat().st_mode & 0o7777 == 0o664
    assert (tmp_path / "not" / "e.jsonl").stat().st_mode & 0o7777 == 0o600


def test_a_path_that_is_relative_stays_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    sink = RotatingFileSink("e.jsonl")
    monkeypatch.chdir("/")
    emit(sink, 1)
    assert numbers(tmp_path) == [1]


def test_what_is_no_regular_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(ValueError, match="is not a regular file"):
        log_file(tmp_path / "fifo").open()
    with pytest.raises(IsADirectoryError):
        log_file(tmp_path).open()


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"path": 5}, TypeError),
        ({"path": ""}, ValueError),
        ({"path": "a\0b"}, ValueError),
        ({"max_bytes": 0}, ValueError),
        ({"max_bytes": 1.5}, TypeError),
        ({"interval": 0}, ValueError),
        ({"at": "24:00"}, ValueError),
        ({"at": "7"}, ValueError),
        ({"at": []}, ValueError),
        ({"at": "00:00", "interval": 60}, ValueError),
        ({"keep": -1}, ValueError),
        ({"keep_seconds": -1}, ValueError),
        ({"keep_bytes": -1}, ValueError),
        ({"compress": "lzma"}, ValueError),
        ({"fsync": "sometimes"}, ValueError),
        ({"fsync": 0}, ValueError),
        ({"mode": 0o10000}, ValueError),
        ({"mode": "640"}, TypeError),
    ],
)
def test_wrong_arguments_are_named(arguments: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error, match=next(iter(arguments))):
        RotatingFileSink(**{"path": "e.jsonl", **arguments})


# -- rotation --


def test_no_file_grows_beyond_its_size_and_all_lines_are_there_in_order(tmp_path: Path) -> None:
    sink = RotatingFileSink(tmp_path / "e.jsonl", max_bytes=1000, batch_size=37)
    with Pipeline([sink]) as log:
        for n in range(500):
            log.emit("m", n=n, ts=1.0, text="x" * (n % 50))
    assert numbers(tmp_path) == list(range(500))
    *full, last = [p.stat().st_size for p in files(tmp_path)]
    assert all(900 < size <= 1000 for size in full), full
    assert 0 < last <= 1000


def test_a_line_longer_than_the_size_has_a_file_of_its_own(tmp_path: Path) -> None:
    emit(RotatingFileSink(tmp_path / "e.jsonl", max_bytes=500), 1, 2)
    emit(RotatingFileSink(tmp_path / "e.jsonl", max_bytes=500), 3, text="x" * 600)
    emit(RotatingFileSink(tmp_path / "e.jsonl", max_bytes=500), 4)
    assert [[json.loads(x)["n"] for x in p.read_bytes().splitlines()] for p in files(tmp_path)] == [
        [1, 2],
        [3],
        [4],
    ]


def test_a_file_whose_time_is_over_is_rotated_by_the_next_batch(tmp_path: Path) -> None:
    sink = RotatingFileSink(tmp_path / "e.jsonl", interval=3600)
    emit(sink, 1, 2)
    an_hour_ago = time.time() - 3600
    os.utime(tmp_path / "e.jsonl", (an_hour_ago, an_hour_ago))
    emit(sink, 3, 4)
    one, two = files(tmp_path)
    assert (len(one.read_bytes().splitlines()), len(two.read_bytes().splitlines())) == (2, 2)
    assert numbers(tmp_path) == [1, 2, 3, 4]


def test_an_empty_file_is_not_rotated(tmp_path: Path) -> None:
    (tmp_path / "e.jsonl").touch()
    os.utime(tmp_path / "e.jsonl", (1.0, 1.0))
    emit(RotatingFileSink(tmp_path / "e.jsonl", interval=3600, max_bytes=100), 1)
    assert files(tmp_path) == [tmp_path / "e.jsonl"]


def test_a_rotation_that_fails_does_not_stop_the_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    file = log_file(tmp_path / "e.jsonl", max_bytes=10)
    file.write([b"12345678"])
    monkeypatch.setattr(_log_file.os, "rename", _refuse)
    file.write([b"abcdefgh", b"ijklmnop"])
    file.write([b"more"])
    assert (tmp_path / "e.jsonl").read_bytes() == b"12345678\nabcdefgh\nijklmnop\nmore\n"
    assert caplog.text.count("cannot be rotated") == 1  # not for each batch
    monkeypatch.undo()
    monkeypatch.setattr(_log_file, "RELUCTANCE", 0.0)
    file._rotate_after = 0.0
    file.write([b"next"])
    assert (tmp_path / "e.jsonl").read_bytes() == b"next\n"
    file.close()


def _refuse(*_: Any) -> None:
    raise PermissionError(13, "Permission denied")


# -- others at the same file --


def test_logrotate_moves_it_away_and_nothing_is_lost(tmp_path: Path) -> None:
    config, state = tmp_path / "conf", tmp_path / "state"
    folder = tmp_path / "log"
    folder.mkdir(mode=0o755)
    config.write_text(f"{folder}/e.jsonl {{\n rotate 100\n nocreate\n missingok\n}}\n")
    config.chmod(0o644)
    with Pipeline([RotatingFileSink(folder / "e.jsonl")]) as log:
        for n in range(5):
            log.emit("m", n=n)
            assert log.flush(DEADLINE)
            run("/usr/sbin/logrotate", "-f", "-s", state, config)
        log.emit("m", n=5)
    order = [
        *sorted(folder.glob("e.jsonl.*"), key=lambda p: -int(p.suffix[1:])),
        folder / "e.jsonl",
    ]
    assert [[json.loads(x)["n"] for x in p.read_bytes().splitlines()] for p in order] == [
        [n] for n in range(6)
    ]


def test_logrotate_truncates_it_and_the_next_line_is_the_first(tmp_path: Path) -> None:
    config, state = tmp_path / "conf", tmp_path / "state"
    folder = tmp_path / "log"
    folder.mkdir(mode=0o755)
    config.write_text(f"{folder}/e.jsonl {{\n rotate 100\n copytruncate\n}}\n")
    config.chmod(0o644)
    with Pipeline([RotatingFileSink(folder / "e.jsonl")]) as log:
        log.emit("m", n=1)
        assert log.flush(DEADLINE)
        run("/usr/sbin/logrotate", "-f", "-s", state, config)
        log.emit("m", n=2)
    assert [json.loads((folder / name).read_bytes())["n"] for name in ("e.jsonl.1", "e.jsonl")] == [
        1,
        2,
    ]


def test_a_file_or_folder_that_was_removed_is_made_again(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    with Pipeline([RotatingFileSink(folder / "e.jsonl")]) as log:
        for n, remove in enumerate(
            [(folder / "e.jsonl").unlink, lambda: shutil.rmtree(folder), lambda: None]
        ):
            log.emit("m", n=n)
            assert log.flush(DEADLINE)
            assert numbers(folder) == [n]
            remove()


PROCESS = """
import sys
from pymongoose.sinks import Pipeline, RotatingFileSink
path, who, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
sink = RotatingFileSink(path, max_bytes=50_000, compress="gzip", batch_size=50)
print("ready", flush=True)
sys.stdin.readline()
with Pipeline([sink]) as log:
    for n in range(count):
        assert log.emit("m", who=who, n=n, text="x" * (n % 200))
        if n % 100 == 0:
            log.flush(10)
print(sink.stats().sent)
"""


def processes(code: str, *arguments: list[object]) -> list[subprocess.Popen[str]]:
    """Started, and at work at the same moment."""
    pipe = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    made = [subprocess.Popen([sys.executable, "-c", code, *map(str, a)], **pipe) for a in arguments]  # type: ignore[call-overload]
    for process in made:
        assert process.stdout.readline() == "ready\n"
    for process in made:
        process.stdin.write("go\n")
        process.stdin.flush()
    return made


def test_several_processes_write_and_rotate_one_file(tmp_path: Path) -> None:
    count, writers = 3000, 4
    made = processes(PROCESS, *[[tmp_path / "e.jsonl", who, count] for who in range(writers)])
    for process in made:
        said, _ = process.communicate(timeout=DEADLINE * 2)
        assert (process.returncode, said) == (0, f"{count}\n")
    everything = events(tmp_path)
    for who in range(writers):  # each line once, and those of one process in order
        assert [e["n"] for e in everything if e["who"] == who] == list(range(count))
    sizes = [len(text_of(p)) for p in files(tmp_path)]
    assert max(sizes) <= 50_000
    # A file that two had rotated would be short.
    assert min(sizes[:-1]) > 40_000, sizes


def test_a_forked_process_has_a_lock_of_its_own(tmp_path: Path) -> None:
    code = """
import fcntl, os, sys
from pymongoose.sinks._archive import Archive
from pymongoose.sinks._log_file import LogFile
path = sys.argv[1]
file = LogFile(path, Archive(path))
file.write([b"parent"])
file._lock()
if os.fork() == 0:
    assert file._fd == -1
    fd = os.open(path, os.O_RDWR)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os._exit(7)
    os._exit(0)
assert os.waitstatus_to_exitcode(os.wait()[1]) == 7
file._unlock()
if os.fork() == 0:
    file.write([b"child"])
    os._exit(0)
os.wait()
file.write([b"parent again"])
"""
    run(sys.executable, "-c", code, tmp_path / "e.jsonl")
    assert (tmp_path / "e.jsonl").read_bytes() == b"parent\nchild\nparent again\n"


# -- what goes wrong while writing --


@pytest.mark.parametrize("step", [1, 7, 1000])
def test_short_writes_are_continued(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    write = os.write
    monkeypatch.setattr(_log_file.os, "write", lambda fd, data: write(fd, bytes(data[:step])))
    file = log_file(tmp_path / "e.jsonl", max_bytes=200)
    lines = [b"%d" % n + b"x" * n for n in range(20)]
    file.write(lines)
    file.close()
    assert b"".join(p.read_bytes() for p in files(tmp_path)).splitlines() == lines


def test_a_write_that_fails_half_way_is_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = log_file(tmp_path / "e.jsonl")
    file.write([b"first"])
    write = os.write
    room = 10

    def fill(fd: int, data: Any) -> int:
        nonlocal room
        if not room:
            raise OSError(28, "No space left on device")
        n = write(fd, bytes(data[:room]))
        room -= n
        return n

    monkeypatch.setattr(_log_file.os, "write", fill)
    with pytest.raises(OSError, match="No space"):
        file.write([b"second", b"third"])
    monkeypatch.undo()
    assert (tmp_path / "e.jsonl").read_bytes() == b"first\n"
    file.write([b"second", b"third"])
    assert (tmp_path / "e.jsonl").read_bytes() == b"first\nsecond\nthird\n"
    file.close()


def test_lines_before_a_rotation_are_not_written_twice_when_those_behind_it_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write
    calls = 0

    def second_fails(fd: int, data: Any) -> int:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise OSError(28, "No space left on device")
        return write(fd, data)

    monkeypatch.setattr(_log_file.os, "write", second_fails)
    file = log_file(tmp_path / "half.jsonl", max_bytes=20)
    with pytest.raises(HalfWritten) as raised:
        file.write([b"123456789", b"abcdefghi", b"ABCDEFGHI"])
    assert raised.value.done == 2
    file.close()
    calls = 1
    folder = tmp_path / "sink"
    folder.mkdir()
    with Pipeline([RotatingFileSink(folder / "e.jsonl", max_bytes=300, batch_size=20)]) as log:
        for n in range(20):
            log.emit("m", n=n)
    assert calls > 2
    assert numbers(folder) == list(range(20))


def test_a_line_that_somebody_was_killed_over_is_ended_first(tmp_path: Path) -> None:
    (tmp_path / "e.jsonl").write_bytes(b'{"n":0}\n{"n":1,"te')
    file = log_file(tmp_path / "e.jsonl")
    file.write([b'{"n":2}'])
    with open(tmp_path / "e.jsonl", "ab") as other:  # while it is open, too
        other.write(b'{"n":3,')
    file.write([b'{"n":4}'])
    file.close()
    assert (
        tmp_path / "e.jsonl"
    ).read_bytes() == b'{"n":0}\n{"n":1,"te\n{"n":2}\n{"n":3,\n{"n":4}\n'


WRITER = """
import sys
from pymongoose.sinks import Pipeline, RotatingFileSink
print("ready", flush=True)
sys.stdin.readline()
log = Pipeline([RotatingFileSink(sys.argv[1], max_bytes=3_000_000, batch_size=200)], max_events=2000, max_bytes=1 << 28, overflow="block")
log.start()
n = 0
while True:
    n += log.emit("m", n=n, text="x" * 5000)
"""


def test_killed_in_the_middle_of_writes_at_most_the_last_line_is_cut(tmp_path: Path) -> None:
    for _ in range(6):
        (process,) = processes(WRITER, [tmp_path / "e.jsonl"])
        eventually(
            lambda: (
                (tmp_path / "e.jsonl").exists() and (tmp_path / "e.jsonl").stat().st_size > 500_000
            )
        )
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=DEADLINE)
        emit(RotatingFileSink(tmp_path / "e.jsonl", max_bytes=3_000_000), -1)
        whole: list[int] = []
        broken = 0
        for path in files(tmp_path):
            data = path.read_bytes()
            assert data.endswith(b"\n")
            for line in data.splitlines():
                try:
                    whole.append(json.loads(line)["n"])
                except ValueError:
                    broken += 1
        assert broken <= 1
        assert whole.pop() == -1
        assert whole == list(range(len(whole)))
        for path in files(tmp_path):
            path.unlink()


FULL_DISK = """
import fcntl, os, sys, json, subprocess
from pymongoose.sinks import Pipeline, Retry, RotatingFileSink
folder = sys.argv[1]
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", folder], check=True)
ballast = os.path.join(folder, "ballast")
with open(ballast, "wb") as out:
    out.write(b"x" * 100_000)
path = os.path.join(folder, "e.jsonl")
sink = RotatingFileSink(path, retry=Retry(base=0.01, cap=0.05), breaker=None, batch_size=50)
log = Pipeline([sink], max_events=10_000)
log.start()
n = 0
while sink.stats().retried == 0:  # until the disk is full
    assert log.emit("m", n=n, text="x" * 100)
    n += 1
    if n % 50 == 0:
        log.flush(0.05)
with open(path, "rb") as file:
    fcntl.flock(file, fcntl.LOCK_SH)  # not in the middle of the next try
    data = file.read()
assert data.endswith(b"\\n"), data[-200:]
[json.loads(line) for line in data.splitlines()]
os.unlink(ballast)
assert log.flush(20)
log.stop()
with open(path, "rb") as file:
    assert [json.loads(line)["n"] for line in file] == list(range(n))
print("all", n > 100)
"""


def test_a_full_disk_leaves_whole_lines_and_nothing_is_lost_when_there_is_room_again(
    tmp_path: Path, apart: list[str]
) -> None:
    assert run(*apart, sys.executable, "-c", FULL_DISK, tmp_path) == "all True"


# -- fsync --


def test_fsync_always_holds_for_the_lines_before_one_that_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    sink = RotatingFileSink(tmp_path / "a.jsonl", fsync="always")

    def half(lines: list[bytes]) -> None:
        raise _log_file.HalfWritten(1) from OSError("full")

    monkeypatch.setattr(sink._log, "write", half)
    monkeypatch.setattr(sink._log, "sync", lambda: synced.append(1))
    with pytest.raises(_log_file.HalfWritten):
        sink._write_lines([b"1", b"2"])
    assert synced == [1]


def test_a_path_that_cannot_be_looked_at_keeps_no_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = log_file(tmp_path / "a"), log_file(tmp_path / "a")
    one.write([b"1"])

    def broken(path: str) -> os.stat_result:
        raise OSError(errno.EIO, "broken")

    with monkeypatch.context() as patch:
        patch.setattr(_log_file.os, "stat", broken)
        with pytest.raises(OSError, match="broken"):
            one.write([b"2"])
    fd = os.open(tmp_path / "a", os.O_RDWR)
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)  # BlockingIOError: `one` has it
    os.close(fd)
    other.write([b"3"])
    assert (tmp_path / "a").read_bytes() == b"1\n3\n"


def test_fsync_always_brings_each_batch_to_the_disk_before_it_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    fsync = os.fsync

    def count(fd: int) -> None:
        fsync(fd)
        synced.append(os.fstat(fd).st_ino)

    monkeypatch.setattr(_log_file.os, "fsync", count)
    sink = RotatingFileSink(tmp_path / "always.jsonl", fsync="always")
    with Pipeline([sink]) as log:
        for n in range(3):
            before = len(synced)
            log.emit("m", n=n)
            assert log.flush(DEADLINE)
            assert (tmp_path / "always.jsonl").stat().st_ino in synced[before:]
    del synced[:]
    emit(RotatingFileSink(tmp_path / "never.jsonl"), 1, 2, 3)
    assert synced == []
    with Pipeline([RotatingFileSink(tmp_path / "later.jsonl", fsync=0.01)]) as log:
        log.emit("m", n=1)
        assert log.flush(DEADLINE)
        eventually(lambda: (tmp_path / "later.jsonl").stat().st_ino in synced)
