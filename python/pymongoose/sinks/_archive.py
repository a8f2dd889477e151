"""Rotated files of a log: when a file's time is over, what it is called then, its compression, and how long it is kept.

    events.jsonl  ──rename──>  events.20260131T230000.000000Z.jsonl  ──>  events.20260131T230000.000000Z.jsonl.gz

The name tells when it was rotated (UTC), so names sort by age. Only names of exactly that form are ever compressed or removed. Several
processes may tidy at once: a file is compressed by whoever holds the lock on its copy, and a copy takes its name when it is complete.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import gzip
import logging
import os
import re
import shutil
import sys
import threading
import time
from collections.abc import Iterable
from datetime import datetime, timedelta, timezone
from datetime import time as dt_time
from pathlib import Path
from typing import Any, BinaryIO, Literal, TypeAlias

from ._checks import a_count, a_duration, one_of

logger = logging.getLogger("pymongoose.sinks")

Compress: TypeAlias = Literal["gzip", "zstd"]
SUFFIXES: dict[str, str] = {"gzip": ".gz", "zstd": ".zst"}
COPY = ".tmp"  # behind the name of a compressed file that is not complete
CHUNK = 1 << 20


class Period:
    """Spans of wall-clock time that share a file: of ``interval`` seconds since the epoch, or between times of day (local)."""

    def __init__(self, interval: float | None, at: str | Iterable[str] | None) -> None:
        if interval is not None and at is not None:
            raise ValueError("interval and at exclude each other")
        if interval is not None:
            a_duration("interval", interval)
        self.interval = interval
        self.times = (
            [] if at is None else sorted(_clock(t) for t in ([at] if isinstance(at, str) else at))
        )
        if at is not None and not self.times:
            raise ValueError("at names no time")
        self._start = self._end = 0.0

    def start(self, now: float) -> float:
        """When the span that contains `now` began; 0 when time does not matter."""
        if self.interval is not None:
            return now - now % self.interval
        if not self.times:
            return 0.0
        if not self._start <= now < self._end:
            self._start, self._end = self._around(now)
        return self._start

    def _around(self, now: float) -> tuple[float, float]:
        today = datetime.fromtimestamp(now).date()
        days = [today + timedelta(days=n) for n in (-2, -1, 0, 1, 2)]
        marks = [datetime.combine(day, t).timestamp() for day in days for t in self.times]
        marks.sort()  # where the clock is put back or forward, two may have changed places
        after = next(i for i, mark in enumerate(marks) if mark > now)
        return marks[after - 1], marks[after]


def _clock(text: Any) -> dt_time:
    if isinstance(text, str) and re.fullmatch(r"\d\d:\d\d(:\d\d)?", text):
        with contextlib.suppress(ValueError):
            return dt_time.fromisoformat(text)
    raise ValueError(f"at must be times of day as 'HH:MM' or 'HH:MM:SS', not {text!r}")


class Archive:
    """The rotated files of one log.

    Args:
        path: of the log.
        compress: "gzip", "zstd" or None.
        keep, keep_seconds, keep_bytes: how many rotated files to keep, how long (seconds since the last line), how much of them (bytes).
    """

    def __init__(
        self,
        path: str,
        *,
        compress: Compress | None = None,
        keep: int | None = None,
        keep_seconds: float | None = None,
        keep_bytes: int | None = None,
    ) -> None:
        one_of("compress", compress, (None, *SUFFIXES))
        if keep is not None:
            a_count("keep", keep, "files", least=0)
        if keep_seconds is not None:
            a_duration("keep_seconds", keep_seconds, zero=True)
        if keep_bytes is not None:
            a_count("keep_bytes", keep_bytes, "bytes", least=0)
        if compress == "zstd":
            _zstd()  # say now that it is missing
        self.compress = compress
        self.keep, self.keep_seconds, self.keep_bytes = keep, keep_seconds, keep_bytes
        self._tidying = threading.Lock()
        self._path = ""
        self.place(os.path.realpath(path))

    def place(self, path: str) -> None:
        """The log is there now (a symbolic link may have been pointed elsewhere)."""
        if path == self._path:
            return
        self._path = path
        self.folder, file = os.path.split(path)
        self._stem, self._suffix = os.path.splitext(file)
        self._pattern = re.compile(
            rf"(?P<plain>{re.escape(self._stem)}\.(?P<when>\d{{8}}T\d{{6}}\.\d{{6}}Z(?:-\d+)?){re.escape(self._suffix)})"
            rf"(?P<coded>\.gz|\.zst)?(?P<copy>{re.escape(COPY)})?"
        )

    def next_path(self, now: float) -> str:
        """A path for a file that is rotated now, which nothing has yet."""
        when = datetime.fromtimestamp(now, timezone.utc).strftime("%Y%m%dT%H%M%S.%fZ")
        number = 0
        while True:
            again = f"-{number}" if number else ""
            path = os.path.join(self.folder, f"{self._stem}.{when}{again}{self._suffix}")
            if not any(os.path.lexists(path + s) for s in ("", *SUFFIXES.values())):
                return path
            number += 1

    def files(self) -> list[str]:
        """Paths of the rotated files, oldest first."""
        found = []
        with contextlib.suppress(FileNotFoundError):
            for file in os.listdir(self.folder):
                match = self._pattern.fullmatch(file)
                if match is not None and not match["copy"]:
                    when, _, number = match["when"].partition("-")
                    found.append((when, int(number or 0), file))
        return [os.path.join(self.folder, file) for *_, file in sorted(found)]

    def tidy(self) -> None:
        """Compress what is not, remove what is not kept. Never raises; what fails is logged, and tried again with the next rotation."""
        with self._tidying:
            try:
                self._remove()  # first: what goes need not be compressed
                if self.compress is not None:
                    for path in self.files():
                        if not path.endswith(tuple(SUFFIXES.values())):
                            self._pack(path, self.compress)
                    self._remove()
            except Exception:
                logger.exception("rotated files in %s could not be tidied", self.folder)

    def _remove(self) -> None:
        if self.keep is None and self.keep_seconds is None and self.keep_bytes is None:
            return
        count = total = 0
        seen = ""
        for path in reversed(self.files()):
            try:
                status = os.stat(path)
            except FileNotFoundError:  # another process removed it
                continue
            plain = path
            for suffix in SUFFIXES.values():
                plain = plain.removesuffix(suffix)
            count += plain != seen  # while it is being compressed it is there twice
            seen = plain
            total += status.st_size
            if (
                (self.keep is not None and count > self.keep)
                or (
                    self.keep_seconds is not None
                    and time.time() - status.st_mtime > self.keep_seconds
                )
                or (self.keep_bytes is not None and total > self.keep_bytes)
            ):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)

    def _pack(self, path: str, how: Compress) -> None:
        target = path + SUFFIXES[how]
        copy = target + COPY
        fd = os.open(copy, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with open(fd, "r+b") as out:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                mine = os.path.samestat(os.fstat(fd), os.stat(copy))
            except (BlockingIOError, FileNotFoundError):
                return  # another process is at it, or has just done it
            if not mine:
                return
            try:
                with open(path, "rb") as source:
                    status = os.fstat(source.fileno())
                    os.ftruncate(fd, 0)
                    _gently()
                    _compress(source, out, how, status.st_mtime)
                os.fchmod(fd, status.st_mode & 0o7777)
                with contextlib.suppress(PermissionError):
                    os.fchown(fd, status.st_uid, status.st_gid)
                os.utime(fd, ns=(status.st_atime_ns, status.st_mtime_ns))
                os.fsync(fd)  # the original goes
                os.rename(copy, target)
                os.unlink(path)
            except FileNotFoundError:  # removed meanwhile, or compressed before we came
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(copy)
            except OSError as e:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(copy)
                if e.errno not in (errno.ENOSPC, errno.EDQUOT):
                    raise
                logger.warning("no room to compress %s; it stays as it is", path)


def _compress(source: BinaryIO, out: BinaryIO, how: Compress, mtime: float) -> None:
    if how == "gzip":
        with gzip.GzipFile("", "wb", 6, out, mtime) as coded:
            shutil.copyfileobj(source, coded, CHUNK)
    else:
        zstd = _zstd()
        if hasattr(zstd, "ZstdFile"):
            with zstd.ZstdFile(out, "wb", level=3) as coded:
                shutil.copyfileobj(source, coded, CHUNK)
        else:
            zstd.ZstdCompressor(level=3, write_checksum=True).copy_stream(source, out)
    out.flush()


def _zstd() -> Any:
    try:
        if sys.version_info >= (3, 14):
            from compression import zstd

            return zstd
        import zstandard
    except ImportError:
        raise ImportError(
            "compress='zstd' needs the package zstandard: pip install zstandard"
        ) from None
    return zstandard


def _gently() -> None:
    """This thread gives way to those who serve."""
    if sys.platform == "linux":  # where threads have priorities of their own
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)


def absolute(path: Any, name: str = "path") -> str:
    """A path that stays right when the working directory changes."""
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"{name} must be str or a path, not {type(path).__name__}")
    text = os.fspath(path)
    if not text or "\0" in text:
        raise ValueError(f"{name} is not a path: {text!r}")
    return str(Path(text).absolute())
