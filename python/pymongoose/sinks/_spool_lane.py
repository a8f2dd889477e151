"""One process's part of a spool: numbered records in segment files, and how far they are acknowledged.

    lane/  lock                   flock'ed by whoever owns the lane; the kernel lets go of it when the process dies, however it dies
           cursor                 two slots, written in turns, each with a checksum: what is acknowledged, what is in flight
           0000000000000000.seg   head, then records; the name is the number of the first record, in hexadecimal
           00000000000004d2.seg   …

    segment  "PMSPOOL1"  first number: u64   checksum: u32    then records
    record   length: u32 checksum: u32       payload
             the checksum is over number, length and payload, so that a record cannot be taken for another one

A record is there when its checksum is right. What a crash left half written at the end of the last segment is cut off when the lane is
opened; damage elsewhere costs the records it hit, which are counted, and nothing else. Nothing here locks: the Spool does.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple
from zlib import crc32

MAGIC: Final = b"PMSPOOL1"
_HEAD: Final = struct.Struct("<8sQI")
_RECORD: Final = struct.Struct("<II")
_NUMBER: Final = struct.Struct("<QI")
_SLOT: Final = struct.Struct(
    "<8sQQQ16sI"
)  # magic, generation, acknowledged, end of what is in flight, lane id, checksum
_SLOT_SIZE: Final = 64
_READ: Final = 1 << 18
HEAD_SIZE: Final = _HEAD.size
MAX_RECORD: Final = 1 << 30


class Place(NamedTuple):
    """A position between two records."""

    segment: int  # number of the segment's first record
    offset: int
    number: int  # of the record that begins there


@dataclass(slots=True)
class Segment:
    first: int
    path: Path
    size: int


class Taken(NamedTuple):
    """What a read found."""

    lines: list[bytes]
    start: int
    end: Place
    damaged: int  # records between start and end that are lost


def _checksum(number: int, payload: bytes) -> int:
    return crc32(payload, crc32(_NUMBER.pack(number, len(payload))))


class Lane:
    """Opened by try_open(). All numbers are of records; ``acked <= next``."""

    def __init__(self, folder: Path, lock: int, *, fsync: bool) -> None:
        self.folder, self._lock, self._fsync = folder, lock, fsync
        self.segments: list[Segment] = []
        self.damaged = 0  # records found to be lost
        self.acked = 0
        self.next = 0
        self.in_flight = 0  # end of the batch that is or was being sent; <= acked: none
        self.id = secrets.token_bytes(16)
        self._generation = 0
        self._cursor = -1
        self._file = -1  # the last segment, for appending
        self._head = Place(0, 0, 0)  # of the first record that is not acknowledged
        self._dirty = False  # the last segment is not on the medium
        self._moved = False  # the cursor is not
        try:
            self._open_cursor()
            self._open_segments()
        except BaseException:
            self.close()
            raise

    @classmethod
    def try_open(cls, folder: Path, *, create: bool, fsync: bool) -> Lane | None:
        """The lane in that folder, ours from now on; None when it is somebody else's, or not there."""
        if create:
            folder.mkdir(parents=True, exist_ok=True)
            if fsync:
                sync_folder(folder.parent)
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
        return cls(folder, lock, fsync=fsync)

    # -- opening --

    def _open_cursor(self) -> None:
        self._cursor = os.open(self.folder / "cursor", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        data = os.pread(self._cursor, 2 * _SLOT_SIZE, 0)
        for i in (0, 1):
            slot = data[i * _SLOT_SIZE : i * _SLOT_SIZE + _SLOT.size]
            if len(slot) < _SLOT.size or crc32(slot[:-4]) != int.from_bytes(slot[-4:], "little"):
                continue
            magic, generation, acked, in_flight, lane_id, _ = _SLOT.unpack(slot)
            if magic == MAGIC and generation > self._generation:
                self._generation, self.acked, self.in_flight, self.id = (
                    generation,
                    acked,
                    in_flight,
                    lane_id,
                )
        if len(data) < 2 * _SLOT_SIZE:  # room for both, now: later there may be none
            os.pwrite(self._cursor, bytes(2 * _SLOT_SIZE - len(data)), len(data))
        if self._generation == 0:
            self._write_cursor()

    def _write_cursor(self) -> None:
        self._generation += 1
        body = _SLOT.pack(MAGIC, self._generation, self.acked, self.in_flight, self.id, 0)[:-4]
        slot = body + crc32(body).to_bytes(4, "little")
        os.pwrite(self._cursor, slot, (self._generation & 1) * _SLOT_SIZE)
        self._moved = True

    def _open_segments(self) -> None:
        for path in self.folder.glob("*.seg"):
            try:
                first = int(path.stem, 16)
            except ValueError:
                continue
            self.segments.append(Segment(first, path, path.stat().st_size))
        self.segments.sort(key=lambda s: s.first)
        while self.segments:
            if self._open_last(self.segments[-1]):
                break
            self.segments.pop().path.unlink(missing_ok=True)  # a crash before its head was whole
        if (
            self.segments and self.next < self.acked
        ):  # the last records are gone, but were delivered
            self._unlink(self.segments.pop())
        if not self.segments:
            self.next = max(self.next, self.acked)
        elif self.acked < self.segments[0].first:
            if self._generation > 1:  # of a new cursor nothing is known
                self.damaged += self.segments[0].first - self.acked
            self.acked = self.segments[0].first
        self._drop_old()
        self._rewind()

    def _open_last(self, segment: Segment) -> bool:
        """Read the last segment to its end, and cut off what is no record there."""
        with open(segment.path, "rb") as f:
            data = f.read()
        if not self._head_is_right(data, segment.first):
            return False
        offset, number = _HEAD.size, segment.first
        good, good_number = offset, number
        while (end := _record_end(data, offset)) > 0:
            payload = data[offset + _RECORD.size : end]
            right = _checksum(number, payload) == _RECORD.unpack_from(data, offset)[1]
            offset, number = end, number + 1
            if right:  # a damaged record in the middle is passed over, at the end it is cut off
                good, good_number = offset, number
        if good < len(data):
            self.damaged += max(number - good_number, 1 if any(data[good:]) else 0)
            os.truncate(segment.path, good)
        segment.size, self.next = good, good_number
        return True

    @staticmethod
    def _head_is_right(data: bytes, first: int) -> bool:
        if len(data) < _HEAD.size:
            return False
        magic, number, check = _HEAD.unpack_from(data)
        return bool(magic == MAGIC and number == first and check == crc32(data[: _HEAD.size - 4]))

    def _rewind(self) -> None:
        """Find the first record that is not acknowledged."""
        if not self.segments:
            self._head = Place(self.next, _HEAD.size, self.next)
            return
        segment = self.segments[0]
        self._head = Place(segment.first, _HEAD.size, segment.first)
        if self.acked > segment.first:
            while self._head.number < self.acked:
                taken = self._scan(self._head, self.acked - self._head.number, _READ)
                if taken.end == self._head:
                    break
                self._head = taken.end

    # -- records in --

    def append(self, lines: Sequence[bytes], segment_bytes: int) -> int:
        """Write records behind each other; how many are there, which is all, unless the disk is full. Raises OSError for anything else."""
        done, most = 0, len(lines)
        while done < len(lines):
            full = not self.segments or self._file < 0 or self.segments[-1].size >= segment_bytes
            if full and not self._roll():
                break
            n = self._write(lines[done : done + most], segment_bytes)
            done += n
            if n == 0:  # the disk has no room for so many: perhaps for half of them
                if most == 1:
                    break
                most = max(1, min(most, len(lines) - done) // 2)
        return done

    def _write(self, lines: Sequence[bytes], segment_bytes: int) -> int:
        """As many as belong into the last segment, in one write; 0: there is no room on the disk for them."""
        segment = self.segments[-1]
        room = max(segment_bytes - segment.size, 1)
        parts: list[bytes] = []
        size, number = 0, self.next
        for line in lines:
            parts.append(_RECORD.pack(len(line), _checksum(number, line)))
            parts.append(line)
            size += _RECORD.size + len(line)
            number += 1
            if size >= room:
                break
        if not _write_all(self._file, b"".join(parts)):
            os.ftruncate(self._file, segment.size)  # never half a record
            return 0
        n = number - self.next
        segment.size += size
        self.next = number
        self._dirty = True
        return n

    def _roll(self) -> bool:
        """A new last segment, or the one that is there opened. False: the disk is full."""
        if self._file < 0 and self.segments and self.segments[-1].size < (1 << 20):
            self._file = os.open(self.segments[-1].path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
            return True
        self._close_file()
        path = self.folder / f"{self.next:016x}.seg"
        head = _HEAD.pack(MAGIC, self.next, 0)[:-4]
        head += crc32(head).to_bytes(4, "little")
        try:
            fd = os.open(
                path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600
            )
        except OSError as e:
            if e.errno in (errno.ENOSPC, errno.EDQUOT):
                return False
            raise
        if not _write_all(fd, head):
            os.close(fd)
            path.unlink(missing_ok=True)
            return False
        self._file = fd
        if not self.segments:
            self._head = Place(self.next, _HEAD.size, self.next)
        self.segments.append(Segment(self.next, path, _HEAD.size))
        if self._fsync:
            sync_folder(self.folder)
        return True

    def sync(self) -> None:
        """What was appended and acknowledged is on the medium when this returns."""
        if self._dirty and self._file >= 0:
            os.fdatasync(self._file)
        if self._moved:
            os.fdatasync(self._cursor)
        self._dirty = self._moved = False

    # -- records out --

    def read(self, most: int, most_bytes: int) -> Taken:
        """The oldest records that are not acknowledged. The range is noted as in flight, and is the same again until it is acknowledged,
        in whatever process."""
        if self.in_flight > self._head.number:
            most, most_bytes = self.in_flight - self._head.number, 1 << 62
        taken = self._scan(self._head, most, most_bytes)
        if taken.end.number != self.in_flight and taken.end != self._head:
            self.in_flight = taken.end.number
            self._write_cursor()
        return taken

    def _scan(self, place: Place, most: int, most_bytes: int) -> Taken:
        lines: list[bytes] = []
        start, damaged, size = place.number, 0, 0
        at = next((i for i, s in enumerate(self.segments) if s.first == place.segment), None)
        if at is None:
            return Taken([], start, place, 0)
        _, offset, number = place
        stop = number + most
        while number < stop and (size < most_bytes or not lines):
            segment = self.segments[at]
            ends_at = self.segments[at + 1].first if at + 1 < len(self.segments) else self.next
            data = self._piece(segment, offset)
            used = 0
            while number < min(stop, ends_at) and (size < most_bytes or not lines):
                end = _record_end(data, used)
                if end <= 0:
                    break
                payload = data[used + _RECORD.size : end]
                if _checksum(number, payload) == _RECORD.unpack_from(data, used)[1]:
                    lines.append(payload)
                    size += len(payload)
                else:
                    damaged += 1
                used, number = end, number + 1
            offset += used
            if number >= ends_at:
                if at + 1 == len(self.segments):
                    break
                at, offset = at + 1, _HEAD.size
            elif (
                used == 0
            ):  # damage that hides where the next record is: the rest of the segment is lost
                lost = min(ends_at, stop) - number
                damaged += lost
                number += lost
                if number < ends_at:
                    break
                if at + 1 == len(self.segments):
                    offset = segment.size
                    break
                at, offset = at + 1, _HEAD.size
        return Taken(lines, start, Place(self.segments[at].first, offset, number), damaged)

    def _piece(self, segment: Segment, offset: int) -> bytes:
        """Bytes of the segment from there on, with at least one whole record if there is one."""
        if segment is self.segments[-1] and self._file >= 0:
            return _pread(self._file, offset, segment.size)
        try:
            fd = os.open(segment.path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return b""
        try:
            return _pread(fd, offset, segment.size)
        finally:
            os.close(fd)

    def ack(self, end: Place, damaged: int = 0) -> None:
        """Everything in front of that place was delivered, but for so many records that could not be read."""
        if end.number <= self._head.number:
            return  # given up meanwhile to make room
        self.damaged += damaged
        self._head = end
        self.acked = end.number
        self._write_cursor()
        self._drop_old()

    def _drop_old(self) -> None:
        while len(self.segments) > 1 and self.segments[1].first <= self.acked:
            self._unlink(self.segments.pop(0))
        large = len(self.segments) == 1 and self.segments[0].size > (1 << 20)
        if large and self.acked >= self.next:  # and empty
            self._close_file()
            self._unlink(self.segments.pop())
            self._head = Place(self.next, _HEAD.size, self.next)

    def evict(self) -> int:
        """Give the oldest segment up; how many records that costs. 0: there is only one, which is being written."""
        if len(self.segments) < 2:
            return 0
        end = self.segments[1].first
        lost = max(end - max(self.acked, self.segments[0].first), 0)
        self.acked = max(self.acked, end)
        if self._head.number < end:
            self._head = Place(end, _HEAD.size, end)
        self._write_cursor()
        self._unlink(self.segments.pop(0))
        return lost

    def _unlink(self, segment: Segment) -> None:
        segment.path.unlink(missing_ok=True)
        if self._fsync:
            sync_folder(self.folder)

    # -- the rest --

    @property
    def records(self) -> int:
        return self.next - self.acked

    @property
    def bytes(self) -> int:
        return sum(s.size for s in self.segments)

    @property
    def oldest(self) -> float:
        """When the oldest segment was last written, by the clock on the wall."""
        try:
            return self.segments[0].path.stat().st_mtime if self.records else time.time()
        except OSError:
            return time.time()

    def _close_file(self) -> None:
        if self._file >= 0:
            if self._fsync and self._dirty:
                os.fdatasync(self._file)
            os.close(self._file)
            self._file = -1
        self._dirty = False

    def close(self) -> None:
        """Let go of the lane; what is in it stays."""
        self._close_file()
        if self._cursor >= 0:
            os.close(self._cursor)
            self._cursor = -1
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def _record_end(data: bytes, offset: int) -> int:
    """Where the record at offset ends; 0: it is not whole, or none."""
    if offset + _RECORD.size > len(data):
        return 0
    length = _RECORD.unpack_from(data, offset)[0]
    if length == 0 or length > MAX_RECORD:
        return 0
    end = offset + _RECORD.size + int(length)
    return end if end <= len(data) else 0


def _pread(fd: int, offset: int, size: int) -> bytes:
    want = min(_READ, size - offset)
    data = os.pread(fd, want, offset) if want > 0 else b""
    if len(data) >= _RECORD.size:
        length = _RECORD.unpack_from(data)[0]
        if length <= MAX_RECORD and _RECORD.size + length > len(data) and offset + len(data) < size:
            data = os.pread(fd, min(_RECORD.size + length, size - offset), offset)
    return data


def _write_all(fd: int, data: bytes) -> bool:
    """False: the disk is full; part of it may be there."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except OSError as e:
            if e.errno in (errno.ENOSPC, errno.EDQUOT):
                return False
            raise
    return True


def sync_folder(folder: Path) -> None:
    """Names in a folder are on the medium when this returns."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
