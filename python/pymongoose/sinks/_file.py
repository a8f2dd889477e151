"""RotatingFileSink: events as lines of JSON in a file."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Literal

from ._archive import Archive, Compress, Period, absolute, logger
from ._batched import BatchedSink
from ._checks import a_count, a_duration, one_of
from ._log_file import HalfWritten, LogFile
from ._outcome import Partial
from ._sink import DrainResult
from ._work_thread import WorkThread, finish


class RotatingFileSink(BatchedSink):
    """Appends events to a file, one JSON object a line, and starts a new file by size or time.

    A batch is one write, on a thread of the sink, so a disk that hangs holds up nobody else. Lines are whole: a write that fails half-way (disk
    full) is taken back and tried again later, and where a killed process left half a line, the next one begins on a new line. Any number of
    processes may write, and rotate, the same file on a local file system. When somebody else renames, removes or truncates it (logrotate), the
    next batch goes to the file that the path names then.

    Rotated files stand beside it with the time of rotation in UTC in their name: ``events.20260131T230000.000000Z.jsonl``, with ``.gz`` or
    ``.zst`` behind it when compressed. That and removing them happens on a second thread, with low priority. A file is rotated by the batch
    that finds it full or its time over: one to which nothing is written stays as it is.

    Args:
        path: the file; folders that are missing are made. Relative paths count from the working directory of now.
        max_bytes: size (bytes) that no file exceeds, except by a single line longer than that. None: any size.
        interval: seconds of wall-clock time that share a file, counted from 1970-01-01 UTC: with 3600, a file holds one hour.
        at: local time or times of day, ``"00:00"`` or ``["06:00", "18:00:00"]``, at which the next file starts. Instead of ``interval``.
        keep: number of rotated files to keep. None: all.
        keep_seconds: remove rotated files whose last line is older (seconds).
        keep_bytes: remove the oldest rotated files when all of them take more room (bytes).
        compress: ``"gzip"`` or ``"zstd"`` (3.14, or the package zstandard) for rotated files.
        fsync: ``"never"``, ``"always"`` (a batch counts as sent when it is on the disk itself), or the seconds after which written lines
            are brought there.
        mode: permissions of the files made, such as ``0o640``, whatever the umask. None: 0o666 less the umask.
        batch_size: events that are written without waiting for more, and so many at once at most.
        batch_timeout: seconds after which fewer are.
        options: of :class:`BatchedSink`: name, max_pending, retry, breaker, dead_letter, spool, drain_timeout.

    Raises:
        TypeError, ValueError: an argument is wrong. ImportError: the package for ``compress`` is missing. start() raises OSError when the file
        cannot be opened, and ValueError when it is something else than a regular file.

    Example::

        with Pipeline([RotatingFileSink("log/events.jsonl", max_bytes=64 << 20, keep=10, compress="gzip")]) as log:
            log.emit("order created", order=42)
    """

    accepts: ClassVar[Literal["dict", "json"]] = "json"
    blocks: ClassVar[bool] = True

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        max_bytes: int | None = None,
        interval: float | None = None,
        at: str | Iterable[str] | None = None,
        keep: int | None = None,
        keep_seconds: float | None = None,
        keep_bytes: int | None = None,
        compress: Compress | None = None,
        fsync: Literal["never", "always"] | float = "never",
        mode: int | None = None,
        batch_size: int = 8192,
        batch_timeout: float = 0.2,
        **options: Any,
    ) -> None:
        super().__init__(batch_size=batch_size, batch_timeout=batch_timeout, **options)
        self.path = absolute(path)
        if max_bytes is not None:
            a_count("max_bytes", max_bytes, "bytes")
        if isinstance(fsync, str):
            one_of("fsync", fsync, ("never", "always"))
        else:
            a_duration("fsync", fsync)
        if mode is not None:
            a_count("mode", mode, least=0, most=0o7777)
        self._fsync = fsync
        self._archive = Archive(
            self.path,
            compress=compress,
            keep=keep,
            keep_seconds=keep_seconds,
            keep_bytes=keep_bytes,
        )
        self._log = LogFile(
            self.path,
            self._archive,
            mode=mode,
            max_bytes=max_bytes,
            period=Period(interval, at),
            durable=fsync != "never",
        )
        self._file_thread = WorkThread("pymongoose-file")
        self._archive_thread = WorkThread("pymongoose-archive")
        self._syncing: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        await self._file_thread.run(self._log.open)
        self._tidy()
        await super().start()

    async def send_lines(self, lines: Sequence[bytes]) -> None:
        rotations = self._log.rotations
        try:
            await self._file_thread.run_to_end(self._write_lines, lines)
        except HalfWritten as e:
            logger.warning(
                "%s: %d of %d lines written: %s", self.path, e.done, len(lines), e.__cause__
            )
            raise Partial(retry=range(e.done, len(lines))) from e.__cause__
        finally:
            if self._log.rotations != rotations:
                self._tidy()
        if self._syncing is None and not isinstance(self._fsync, str):
            loop = asyncio.get_running_loop()
            self._syncing = loop.call_later(self._fsync, self._sync_later)

    def _write_lines(self, lines: Sequence[bytes]) -> None:
        try:
            self._log.write(lines)
        finally:  # those that are there before one that is not count, too
            if self._fsync == "always":
                self._log.sync()

    def _sync_later(self) -> None:
        self._syncing = None
        self._file_thread.post(self._sync_file)

    def _sync_file(self) -> None:
        try:
            self._log.sync()
        except OSError:
            logger.exception("%s was written, but may not be on the disk", self.path)

    def _tidy(self) -> None:
        self._archive_thread.post(self._archive.tidy)

    async def stop(self) -> DrainResult:
        try:
            return await super().stop()
        finally:
            if self._syncing is not None:
                self._syncing.cancel()
                self._syncing = None
            # A disk that hangs, much to compress: it goes on meanwhile, and the next start does the rest.
            await finish(self._file_thread, self._end_file)
            await finish(self._archive_thread)

    def forked(self) -> None:
        super().forked()
        self._syncing = None  # threads and the file's lock are made anew by themselves

    def _end_file(self) -> None:
        if self._fsync != "never":
            self._sync_file()
        self._log.close()
