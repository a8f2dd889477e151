"""A file that several processes append lines to, and rotate.

Every write holds a lock (flock) on the file that the path names at that moment, so it is known where the file ends: lines of two
processes never mix, a write that fails half-way is taken back, a line that somebody was killed over is ended first. A file that is renamed
while others wait for its lock is recognised by its inode: whoever gets the lock of a file that the path no longer names opens the new one.
That covers our own rotation, that of other processes, and that of logrotate (both of its ways).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import stat
import time
import weakref
from collections.abc import Sequence

from .._core import Lines
from ._archive import Archive, Period

logger = logging.getLogger("pymongoose.sinks")
RELUCTANCE = 1.0  # seconds until a rotation that failed is tried again


class HalfWritten(Exception):
    """The first `done` lines are in the file, the others are not; __cause__ says why."""

    def __init__(self, done: int) -> None:
        super().__init__(f"{done} lines written")
        self.done = done


class LogFile:
    """Blocking, and for one thread at a time.

    Args:
        path: absolute.
        mode: permissions of files that are made; None: 0o666 less the umask.
        max_bytes: a file is rotated before it would grow beyond; None: never.
        period: and when its time is over.
        archive: what becomes of rotated files.
        durable: a file that is made or renamed is so on disk, too.
    """

    def __init__(
        self,
        path: str,
        archive: Archive,
        *,
        mode: int | None = None,
        max_bytes: int | None = None,
        period: Period | None = None,
        durable: bool = False,
    ) -> None:
        self.path = path
        self.rotations = 0
        self._archive = archive
        self._mode = mode
        self._max = max_bytes
        self._period = period or Period(None, None)
        self._durable = durable
        self._fd = -1
        self._clean_end = -1  # the file is known to end with a line's end when it ends here
        self._rotate_after = 0.0
        _open_files.add(self)

    def open(self) -> None:
        """Be sure that it can be written. OSError says why not; ValueError: it is no file."""
        self._lock()
        self._unlock()

    def write(self, lines: Sequence[bytes]) -> None:
        """Append lines, whole or not at all. OSError: none is there; HalfWritten: a rotation came between, and some are."""
        done = 0
        try:
            while done < len(lines):
                status = self._lock()
                try:
                    done += self._write_some(lines[done:] if done else lines, status)
                finally:
                    self._unlock()
        except OSError as e:
            if done:
                raise HalfWritten(done) from e
            raise

    def sync(self) -> None:
        """What was written is on disk."""
        if self._fd >= 0:
            os.fsync(self._fd)

    def close(self) -> None:
        """Let go of the file. The next write opens it again."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)

    # ---- with the lock ----

    def _write_some(self, lines: Sequence[bytes], status: os.stat_result) -> int:
        data = memoryview(lines) if isinstance(lines, Lines) else b"\n".join((*lines, b""))
        size, room = status.st_size, self._max
        rotate = bool(size) and status.st_mtime < self._period.start(time.time())
        if not rotate and (room is None or size + len(data) <= room):
            self._append(data, size)
            return len(lines)
        fit = (
            len(lines)
            if rotate or room is None
            else _how_many(lines, room - size, at_least=not size)
        )
        if fit == 0 or rotate:
            if self._rotate():
                return 0
            fit = len(lines)  # better a file too long than none
        if fit < len(lines):
            data = data[: _length(lines, fit)]
        self._append(data, size)
        return fit

    def _append(self, data: bytes | memoryview, size: int) -> None:
        if size and size != self._clean_end and os.pread(self._fd, 1, size - 1) != b"\n":
            data = b"\n" + data  # whoever wrote there was killed in the middle of a line
        self._clean_end = -1
        n = os.write(self._fd, data)
        if n < len(data):
            self._append_rest(memoryview(data), n, size)
        self._clean_end = size + len(data)

    def _append_rest(self, data: memoryview, n: int, size: int) -> None:
        """A write was cut short: the disk is full, or a signal came. All of it, or nothing."""
        try:
            while n < len(data):
                more = os.write(self._fd, data[n:])
                if not more:
                    raise OSError(errno.EIO, "nothing was written", self.path)
                n += more
        except BaseException:
            with contextlib.suppress(OSError):
                if os.fstat(self._fd).st_size == size + n:  # nobody wrote without the lock
                    os.ftruncate(self._fd, size)
            raise

    def _rotate(self) -> bool:
        now = time.monotonic()
        if now < self._rotate_after:
            return False
        try:
            real = os.path.realpath(self.path)
            self._archive.place(real)
            os.rename(real, self._archive.next_path(time.time()))
        except OSError as e:
            self._rotate_after = now + RELUCTANCE
            logger.warning("%s cannot be rotated and grows on: %s", self.path, e)
            return False
        self.rotations += 1
        if self._durable:
            self.sync()
            _sync_folder(real)
        return True

    # ---- the lock ----

    def _lock(self) -> os.stat_result:
        while True:
            if self._fd < 0:
                self._open()
            _flock(self._fd, fcntl.LOCK_EX)
            try:
                status = os.fstat(self._fd)
                with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                    named = os.stat(self.path)
                    if named.st_ino == status.st_ino and named.st_dev == status.st_dev:
                        return status
            except BaseException:
                self._unlock()  # others may still be able to
                raise
            self._unlock()
            if self._durable:
                self.sync()
            self.close()

    def _unlock(self) -> None:
        if self._fd >= 0:
            _flock(self._fd, fcntl.LOCK_UN)

    def _open(self) -> None:
        flags = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
        made = False
        while True:
            try:
                fd = os.open(self.path, flags)
                break
            except FileNotFoundError:
                real = os.path.realpath(self.path)  # where a link leads, there may be nothing
                os.makedirs(os.path.dirname(real), exist_ok=True)
            try:
                mode = 0o666 if self._mode is None else self._mode
                fd = os.open(real, flags | os.O_CREAT | os.O_EXCL, mode)
                made = True
                break
            except FileExistsError:  # another process was faster
                continue
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise ValueError(f"{self.path} is not a regular file")
            if made and self._mode is not None:
                os.fchmod(fd, self._mode)  # whatever the umask
            if made and self._durable:
                _sync_folder(os.path.realpath(self.path))
        except BaseException:
            os.close(fd)
            raise
        self._fd = fd
        self._clean_end = -1

    def _forked(self) -> None:
        # The lock belongs to the open file, which parent and child share: the child must have one of its own.
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


_open_files: weakref.WeakSet[LogFile] = weakref.WeakSet()


def _after_fork() -> None:
    for file in list(_open_files):
        file._forked()


os.register_at_fork(after_in_child=_after_fork)


def _how_many(lines: Sequence[bytes], room: int, *, at_least: bool) -> int:
    """Lines from the front that fit into room; one at least when told so."""
    if isinstance(lines, Lines):
        return max(lines.fit(room), int(at_least))
    n = 0
    for line in lines:
        room -= len(line) + 1
        if room < 0:
            break
        n += 1
    return max(n, int(at_least))


def _length(lines: Sequence[bytes], n: int) -> int:
    """Bytes of the first n, with their line feeds."""
    return lines[:n].nbytes if isinstance(lines, Lines) else sum(map(len, lines[:n])) + n


def _flock(fd: int, how: int) -> None:
    try:
        fcntl.flock(fd, how)
    except OSError as e:
        if e.errno not in (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS):
            raise
        # A file system without locks: O_APPEND keeps whole writes apart, which is what there is.


def _sync_folder(path: str) -> None:
    fd = os.open(os.path.dirname(path), os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
