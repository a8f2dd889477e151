"""Rotated files: when a file's time is over, what it is called then, how it is compressed, and how long it is kept."""

from __future__ import annotations

import gzip
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from log_files import emit, files, numbers
from programs import run

from pymongoose.sinks import Pipeline, RotatingFileSink, _archive
from pymongoose.sinks._archive import Archive, Period


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("berlin")
@pytest.mark.parametrize(
    ("at", "now", "start"),
    [
        ("00:00", "2026-06-15 12:00:00", "2026-06-15 00:00:00"),
        ("12:00", "2026-06-15 12:00:00", "2026-06-15 12:00:00"),
        ("12:00:01", "2026-06-15 12:00:00", "2026-06-14 12:00:01"),
        (["18:00", "06:00"], "2026-06-15 03:00:00", "2026-06-14 18:00:00"),
        (["18:00", "06:00"], "2026-06-15 17:59:59", "2026-06-15 06:00:00"),
        ("04:00", "2026-03-29 05:00:00", "2026-03-29 04:00:00"),  # the night that lacks an hour
        ("04:00", "2026-10-25 03:59:59", "2026-10-24 04:00:00"),  # the night that has one twice
        ("00:00", "2026-10-26 00:00:00", "2026-10-26 00:00:00"),
    ],
)
def test_times_of_day_are_local(at: Any, now: str, start: str) -> None:
    def seconds(text: str) -> float:
        return time.mktime(time.strptime(text, "%Y-%m-%d %H:%M:%S"))

    assert Period(None, at).start(seconds(now)) == seconds(start)


# -- what becomes of rotated files --


def rotated(folder: Path, count: int, *, size: int = 100, age: float = 0.0) -> list[Path]:
    """Rotated files made by hand, oldest first, each a second older than the next."""
    now, made = time.time() - age, []
    for i in range(count):
        stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(now - count + i))
        path = folder / f"e.{stamp}.000000Z.jsonl"
        path.write_bytes(b"x" * (size - 1) + b"\n")
        os.utime(path, (now - count + i,) * 2)
        made.append(path)
    return made


def tidied(folder: Path, **options: Any) -> list[str]:
    Archive(str(folder / "e.jsonl"), **options).tidy()
    return sorted(p.name for p in folder.iterdir())


def test_only_so_many_rotated_files_are_kept_and_nothing_else_is_touched(tmp_path: Path) -> None:
    made = rotated(tmp_path, 5)
    others = [
        "e.jsonl",
        "e.jsonl.1",
        "e.old.jsonl",
        "f.20200101T000000.000000Z.jsonl",
        "e.20200101.jsonl",
        "e.20200101T000000.000000Z.txt",
    ]
    for name in others:
        (tmp_path / name).write_text("x\n")
    assert tidied(tmp_path, keep=2) == sorted([*others, *(p.name for p in made[3:])])
    assert tidied(tmp_path, keep=0) == sorted(others)


def test_rotated_files_are_kept_by_age(tmp_path: Path) -> None:
    old, new = rotated(tmp_path, 3, age=1000.0), rotated(tmp_path, 2)
    assert tidied(tmp_path) == sorted(p.name for p in old + new)
    assert tidied(tmp_path, keep_seconds=500) == sorted(p.name for p in new)


def test_rotated_files_are_kept_by_their_total_size(tmp_path: Path) -> None:
    made = rotated(tmp_path, 5, size=100)
    assert tidied(tmp_path, keep_bytes=300) == sorted(p.name for p in made[2:])
    assert tidied(tmp_path, keep_bytes=299) == sorted(p.name for p in made[3:])


@pytest.mark.parametrize(("how", "suffix"), [("gzip", ".gz"), ("zstd", ".zst")])
def test_rotated_files_are_compressed_and_lose_nothing(
    tmp_path: Path, how: Any, suffix: str
) -> None:
    sink = RotatingFileSink(
        tmp_path / "e.jsonl", max_bytes=2000, compress=how, mode=0o640, batch_size=50
    )
    with Pipeline([sink]) as log:
        for n in range(500):
            log.emit("m", n=n)
    *packed, _ = files(tmp_path)
    assert len(packed) > 10
    assert {p.suffix for p in packed} == {suffix}
    assert {p.stat().st_mode & 0o777 for p in packed} == {0o640}
    assert numbers(tmp_path) == list(range(500))
    assert not list(tmp_path.glob("*.tmp"))
    if how == "gzip":
        run("gzip", "-t", *packed)


def test_what_a_killed_process_left_is_compressed_at_the_next_start(tmp_path: Path) -> None:
    (left,) = rotated(tmp_path, 1)
    text, when = left.read_bytes(), left.stat().st_mtime
    Path(f"{left}.gz.tmp").write_bytes(b"half a copy")
    assert tidied(tmp_path, compress="gzip") == [left.name + ".gz"]
    assert gzip.decompress(Path(f"{left}.gz").read_bytes()) == text
    assert Path(f"{left}.gz").stat().st_mtime == pytest.approx(when, abs=0.001)


def test_a_disk_without_room_for_the_copy_leaves_the_original(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    (left,) = rotated(tmp_path, 1)
    monkeypatch.setattr(_archive, "_compress", full)
    assert tidied(tmp_path, compress="gzip") == [left.name]
    assert "no room to compress" in caplog.text


def test_a_file_that_is_rotated_in_the_same_microsecond_has_another_name(tmp_path: Path) -> None:
    archive = Archive(str(tmp_path / "e.jsonl"))
    names = []
    for _ in range(3):
        names.append(archive.next_path(1.5))
        Path(names[-1]).touch()
    os.rename(names[1], names[1] + ".gz")
    names.append(archive.next_path(1.5))
    Path(names[-1]).touch()
    stem = str(tmp_path / "e.19700101T000001.500000Z")
    assert names == [f"{stem}.jsonl", f"{stem}-1.jsonl", f"{stem}-2.jsonl", f"{stem}-3.jsonl"]
    assert archive.files() == [names[0], names[1] + ".gz", names[2], names[3]]


def test_a_log_behind_a_symbolic_link_is_rotated_where_it_is(tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / "link.jsonl"
    link.symlink_to(real / "e.jsonl")
    emit(RotatingFileSink(link, max_bytes=60, compress="gzip"), 1, 2, 3)
    assert link.is_symlink()
    assert numbers(real) == [1, 2, 3]
    assert len(files(real)) == 3
