"""One process's part of a spool: numbered records in segment files, and how far they are acknowledged.

    lane/  lock                   flock'ed by whoever owns the lane; the kernel lets go of it when the process dies, however it dies
           cursor                 two slots, written in turns, each with a checksum: what is acknowledged, what is in flight
           names                  ids of batches that had one before they came here (rarely there)
           0000000000000000.seg   head, then records; the name is the number of the first record, in hexadecimal
           00000000000004d2.seg   …

A record is there when its checksum is right. What a crash left half written at the end of the last segment is cut off when the lane is
opened; damage elsewhere costs the records it hit, which are counted, and nothing else: behind a length that cannot be, the next record is
searched for. A file goes only after everything in it was acknowledged or given up. Nothing here locks: the Spool does.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple
from zlib import crc32

from ._spool_cursor import Cursor
from ._spool_names import Names, read_names, write_names
from ._spool_records import RECORD, write_all
from ._spool_segment import HEAD_SIZE, READ, Place, Reader, Segment, Taken, new_head, open_last

_KEEP: Final = 1 << 20  # a file without events that is larger is not written on


class End(NamedTuple):
    """Where a lane ended, to go back there."""

    number: int  # of the next record
    segment: int  # number of the last segment's first record; -1: there was none
    size: int  # of that segment


class Lane:
    """Opened by try_open(). All numbers are of records; ``acked <= next``."""

    def __init__(self, folder: Path, lock: int, *, syncs: bool) -> None:
        self.folder, self._lock, self._syncs = folder, lock, syncs
        self.segments: list[Segment] = []
        self._reader = Reader(self.segments)
        self.damaged = 0  # records found to be lost
        self.acked = 0
        self.next = 0
        self.in_flight = 0  # end of the batch that is or was being sent; <= acked: none
        self._cursor: Cursor | None = None
        self._head = Place(0, 0, 0)  # of the first record that is not acknowledged
        self.bytes = 0  # size of the segments
        self.names: Names = {}
        self._unsynced: list[int] = []  # descriptors, of our own, of earlier segments
        self._dirty = False  # the last segment is not on the medium
        self._moved = False  # the cursor is not
        self._renamed = False  # the names in the folder are not
        self.cuts: list[int] = []
        """Where the lane was cut, each time that the medium did not take what was written."""
        self._torn: End | None = None  # an append began there and did not end
        self._misnamed = False  # the names on disk are not those that hold
        try:
            self._cursor = cursor = Cursor(folder)
            self.acked, self.in_flight = cursor.acked, cursor.in_flight
            self.id = cursor.id
            self._moved = self._renamed = True
            self._open_segments()
            self.names = read_names(folder, self.acked, self.next)
            self.safe = self.end
            """As far as the medium has it, as far as anybody asked."""
        except BaseException:
            self.close()
            raise

    @classmethod
    def try_open(cls, folder: Path, *, create: bool, syncs: bool) -> Lane | None:
        """The lane in that folder, ours from now on; None when it is somebody else's, or not there."""
        if create:
            folder.mkdir(exist_ok=True)
        try:
            flags = os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if create else 0)
            lock = os.open(folder / "lock", flags, 0o600)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as e:
            os.close(lock)
            if e.errno in (errno.EWOULDBLOCK, errno.EACCES):
                return None
            raise
        return cls(folder, lock, syncs=syncs)

    # -- opening --

    def _open_segments(self) -> None:
        for path in self.folder.glob("*.seg"):
            try:
                first = int(path.stem, 16)
            except ValueError:
                continue
            self.segments.append(Segment(first, path, path.stat().st_size))
        self.segments.sort(key=lambda s: s.first)
        while self.segments:
            found = open_last(self.segments[-1])
            if found is not None:
                self.next, lost = found
                self.damaged += lost
                break
            self.segments.pop().path.unlink(missing_ok=True)  # a crash before its head was whole
        if (
            self.segments and self.next < self.acked
        ):  # the last records are gone, but were delivered
            while self.segments:
                self.segments.pop().path.unlink(missing_ok=True)
        if not self.segments:
            self.next = max(self.next, self.acked)
        else:
            self.acked = max(self.acked, self.segments[0].first)
        self.bytes = sum(s.size for s in self.segments)
        self._drop_old()
        self._rewind()

    def _rewind(self) -> None:
        """Find the first record that is not acknowledged."""
        if not self.segments:
            self._head = Place(self.next, HEAD_SIZE, self.next)
            return
        segment = self.segments[0]
        self._head = Place(segment.first, HEAD_SIZE, segment.first)
        if self.acked > segment.first:
            while self._head.number < self.acked:
                taken = self._scan(self._head, self.acked - self._head.number, READ)
                if taken.end == self._head:
                    break
                self._head = taken.end

    def _scan(self, place: Place, most: int, most_bytes: int) -> Taken:
        return self._reader.scan(place, most, most_bytes, self.next)

    def _write_cursor(self) -> None:
        if self._cursor is not None:
            self._cursor.write(self.acked, self.in_flight)
            self._moved = True

    def _write_names(self) -> None:
        write_names(self.folder, self.names)
        self._renamed, self._misnamed = True, False

    # -- records in --

    def append(self, lines: Sequence[bytes], segment_bytes: int) -> int:
        """Write records behind each other; how many are there, which is all, unless the disk is full. Raises OSError for anything else."""
        self._mend()
        done, most = 0, len(lines)
        while done < len(lines):
            full = (
                self._reader.file < 0
                or not self.segments
                or self.segments[-1].size >= segment_bytes
            )
            if full and not self._roll():
                break
            n = self._write(
                lines[done : done + most] if done or most < len(lines) else lines, segment_bytes
            )
            done += n
            if n == 0:  # the disk has no room for so many: perhaps for half of them
                if most == 1:
                    break
                most = max(1, min(most, len(lines) - done) // 2)
        return done

    def append_one(self, line: bytes, segment_bytes: int) -> bool:
        """One record into the last segment, if that is open and has room, and nothing else stands in the way."""
        if self._reader.file < 0 or not line or len(line) > _KEEP or self._torn or self._misnamed:
            return False
        segment, number = self.segments[-1], self.next
        if segment.size >= segment_bytes:
            return False
        data = RECORD.pack(len(line), crc32(line, number & 0xFFFFFFFF)) + line
        self._torn = End(number, segment.first, segment.size)
        try:
            if os.write(self._reader.file, data) != len(data):
                self._mend()  # never half a record
                return False
            self._wrote(segment, len(data), number + 1)
        except OSError:
            self._torn = None
            return False  # append() will say what it is
        except BaseException:  # of a signal handler
            self._mend()
            raise
        return True

    def _wrote(self, segment: Segment, size: int, number: int) -> None:
        segment.size += size
        self.bytes += size
        self.next = number
        self._dirty = True
        self._torn = None

    @property
    def end(self) -> End:
        """For undo()."""
        last = self.segments[-1] if self.segments else None
        return End(self.next, last.first if last else -1, last.size if last else 0)

    def undo(self, end: End) -> None:
        """Take back what was appended since, and not given up for newer ones. Raises OSError when the file cannot be cut."""
        while self.segments and not (
            self.segments[-1].first < end.number or self.segments[-1].first == end.segment
        ):
            self._drop_file()
            self._unlink(self.segments.pop())
        last = self.segments[-1] if self.segments else None
        if last is not None and last.first == end.segment:
            if self._reader.file >= 0:
                os.ftruncate(self._reader.file, end.size)
            else:
                os.truncate(last.path, end.size)
            last.size = end.size
        self.bytes = sum(segment.size for segment in self.segments)
        self.next = max(end.number, self.acked)
        self._reader.forget()
        self._torn = None
        if last is None:
            self._head = Place(self.next, HEAD_SIZE, self.next)
        if any(start >= self.next for start in self.names):
            self.names = {s: e for s, e in self.names.items() if s < self.next}
            self._rename()

    def cut(self) -> None:
        """The medium did not take what was written since it was last asked."""
        self.cuts.append(self.safe.number)
        self.undo(self.safe)
        self.safe = self.end
        self._moved = self._renamed = True

    def _mend(self) -> None:
        """What an append that did not end has left."""
        if self._torn is not None:
            self.undo(self._torn)
        if self._misnamed:
            self._write_names()

    def _rename(self) -> None:
        """Note the names that hold; at the latest before the next record comes, which must not get a name of others."""
        self._misnamed = True
        with contextlib.suppress(OSError):
            self._write_names()

    def append_named(self, lines: Sequence[bytes], segment_bytes: int, batch_id: str) -> int:
        """The same for a batch that has an id, which read() gives it again. The id is noted first: what has it was never without."""
        self._mend()
        start = self.next
        self.names[start] = (start + len(lines), batch_id)
        try:
            self._write_names()
        except OSError:  # perhaps the events can be kept, at least
            del self.names[start]
            return self.append(lines, segment_bytes)
        try:
            return self.append(lines, segment_bytes)
        finally:
            n = self.next - start
            if n < len(lines):
                del self.names[start]
                if n:
                    self.names[start] = (start + n, f"{batch_id}.1")  # they are others now
                self._rename()

    def _write(self, lines: Sequence[bytes], segment_bytes: int) -> int:
        """As many as belong into the last segment, in one write; 0: there is no room on the disk for them."""
        segment, number = self.segments[-1], self.next
        if len(lines) == 1:
            line = lines[0]
            data = RECORD.pack(len(line), crc32(line, number & 0xFFFFFFFF)) + line
            number += 1
        else:
            room = max(segment_bytes - segment.size, 1)
            parts: list[bytes] = []
            size, pack = 0, RECORD.pack
            for line in lines:
                parts.append(pack(len(line), crc32(line, number & 0xFFFFFFFF)))
                parts.append(line)
                size += 8 + len(line)
                number += 1
                if size >= room:
                    break
            data = b"".join(parts)
        count = number - self.next
        self._torn = End(self.next, segment.first, segment.size)
        try:
            if not write_all(self._reader.file, data):
                self._mend()  # never half a record
                return 0
            self._wrote(segment, len(data), number)
        except BaseException:
            self._mend()
            raise
        return count

    def _roll(self) -> bool:
        """A new last segment, or the one that is there opened. False: the disk is full."""
        if self._reader.file < 0 and self.segments and self.segments[-1].size < _KEEP:
            self._reader.file = os.open(
                self.segments[-1].path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC
            )
            return True
        self._close_file()
        path = self.folder / f"{self.next:016x}.seg"
        head = new_head(self.next)
        try:
            fd = os.open(
                path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600
            )
        except OSError as e:
            if e.errno in (errno.ENOSPC, errno.EDQUOT):
                return False
            raise
        try:
            there = write_all(fd, head)
        except BaseException:
            os.close(fd)
            path.unlink(missing_ok=True)
            raise
        if not there:
            os.close(fd)
            path.unlink(missing_ok=True)
            return False
        if not self.segments:
            self._head = Place(self.next, HEAD_SIZE, self.next)
        self.segments.append(Segment(self.next, path, HEAD_SIZE))
        self.bytes += HEAD_SIZE
        self._reader.file = fd
        self._dirty = self._renamed = True
        return True

    def unsynced(self) -> list[int]:
        """What is not on the medium yet, as descriptors that are the caller's to sync and close; no longer ours to care about."""
        fds, self._unsynced = self._unsynced, []
        try:
            if self._dirty and self._reader.file >= 0:
                fds.append(os.dup(self._reader.file))
            if self._moved and self._cursor is not None:
                fds.append(os.dup(self._cursor.fd))
            if self._renamed:  # last: a name without its contents is worse than neither
                fds.append(os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        except OSError:
            self._unsynced = fds
            raise
        self._dirty = self._moved = self._renamed = False
        return fds

    def unsynced_again(self, fds: list[int]) -> None:
        """Those were not synced after all."""
        self._unsynced = fds + self._unsynced

    # -- records out --

    def read(self, most: int, most_bytes: int) -> tuple[Taken, str]:
        """The oldest records that are not acknowledged, and their id. The range is noted as in flight, and is the same again until it is
        acknowledged, in whatever process."""
        start = self._head.number
        end, named = self.names.get(start, (0, ""))
        if self.in_flight > start:
            end = self.in_flight
        if end > start:
            taken = self._scan(self._head, end - start, 1 << 62)
        else:
            for other in self.names:
                if other > start:
                    most = min(most, other - start)
            taken = self._scan(self._head, most, most_bytes)
        if taken.end.number > start and taken.end.number != self.in_flight:
            self.in_flight = taken.end.number
            with contextlib.suppress(
                OSError
            ):  # a disk so full: better sent under an id that may change
                self._write_cursor()
        if named and self.names[start][0] == taken.end.number:
            return taken, named
        return taken, f"{self.id.hex()}-{start:x}-{taken.mark}"

    def ack(self, end: Place, damaged: int = 0) -> None:
        """Everything in front of that place was delivered, but for so many records that could not be read."""
        if end.number <= self._head.number:
            return  # given up meanwhile to make room
        self.damaged += damaged
        self._head = end
        self.acked = end.number
        try:
            self._write_cursor()
        finally:  # on a full disk the files that go make room for the cursor, too
            self._drop_old()
            if self.names and min(end for end, _ in self.names.values()) <= self.acked:
                self.names = {s: (e, i) for s, (e, i) in self.names.items() if e > self.acked}
                self._write_names()

    def _drop_old(self) -> None:
        while len(self.segments) > 1 and self.segments[1].first <= self.acked:
            self._unlink(self.segments.pop(0))
        if self.segments and self.acked >= self.next and self.bytes > _KEEP:
            self.clear()

    def clear(self) -> bool:
        """Remove the files when everything is acknowledged; whether that made room."""
        if self.acked < self.next or self.bytes <= HEAD_SIZE:
            return False
        self._close_file()
        while self.segments:
            self._unlink(self.segments.pop())
        self._head = Place(self.next, HEAD_SIZE, self.next)
        return True

    def evict(self) -> int:
        """Give the oldest segment up; how many records that costs. 0: there is only one, which is being written."""
        if len(self.segments) < 2:
            return 0
        end = self.segments[1].first
        lost = max(end - max(self.acked, self.segments[0].first), 0)
        self.acked = max(self.acked, end)
        if self._head.number < end:
            self._head = Place(end, HEAD_SIZE, end)
        self._unlink(self.segments.pop(0))
        self._write_cursor()
        return lost

    def _unlink(self, segment: Segment) -> None:
        # Not synced: should the name come back after a power failure, all in it is acknowledged still.
        segment.path.unlink(missing_ok=True)
        self.bytes -= segment.size
        self._reader.forget()

    # -- the rest --

    @property
    def records(self) -> int:
        return self.next - self.acked

    @property
    def payload(self) -> int:
        """Bytes of the events that are not acknowledged."""
        if not self.segments:
            return 0
        begun = max(self._head.offset - HEAD_SIZE, 0)
        return max(self.bytes - HEAD_SIZE * len(self.segments) - begun - 8 * self.records, 0)

    @property
    def oldest(self) -> float:
        """When the oldest segment was last written, by the clock on the wall."""
        try:
            return self.segments[0].path.stat().st_mtime if self.records else time.time()
        except (OSError, IndexError):
            return time.time()

    def _drop_file(self) -> None:
        """The last segment goes: nobody need sync it."""
        if self._reader.file >= 0:
            os.close(self._reader.file)
        self._reader.file, self._dirty = -1, False

    def _close_file(self) -> None:
        if self._reader.file >= 0:
            if self._dirty and self._syncs:
                self._unsynced.append(self._reader.file)
            else:
                os.close(self._reader.file)
            self._reader.file = -1
        self._dirty = False

    def __del__(self) -> None:
        self.close()  # of a spool that nobody closed: others may take the lane over

    def close(self) -> None:
        """Let go of the lane; what is in it stays."""
        for fd in (*self._unsynced, self._reader.file, self._lock):
            if fd >= 0:
                os.close(fd)
        if self._cursor is not None:
            self._cursor.close()
        self._unsynced = []
        self._reader.file = self._lock = -1
