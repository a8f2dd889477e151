"""One process's part of a spool: numbered records in segment files, and how far they are acknowledged.

    lane/  lock                   flock'ed by whoever owns the lane; the kernel lets go of it when the process dies, however it dies
           cursor                 two slots, written in turns, each with a checksum: what is acknowledged, what is in flight
           names                  ids of batches that had one before they came here (rarely there)
           0000000000000000.seg   head, then records; the name is the number of the first record, in hexadecimal
           00000000000004d2.seg   …

    segment  "PMSPOOL1"  first number: u64   checksum: u32    then records, as _spool_records.py has them

A record is there when its checksum is right. What a crash left half written at the end of the last segment is cut off when the lane is
opened; damage elsewhere costs the records it hit, which are counted, and nothing else: behind a length that cannot be, the next record is
searched for. A file goes only after everything in it was acknowledged or given up. Nothing here locks: the Spool does.
"""

from __future__ import annotations

import contextlib
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

from ._spool_records import RECORD, SEARCH, data_sync, is_right, record_end, search, write_all

MAGIC: Final = b"PMSPOOL1"
_HEAD: Final = struct.Struct("<8sQI")
_SLOT: Final = struct.Struct(
    "<8sQQQ16sI"
)  # magic, generation, acknowledged, end of what is in flight, lane id, checksum
_SLOT_SIZE: Final = 64
_READ: Final = 1 << 18
_KEEP: Final = 1 << 20  # a file without events that is larger is not written on
HEAD_SIZE: Final = _HEAD.size


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


class End(NamedTuple):
    """Where a lane ended, to go back there."""

    number: int  # of the next record
    segment: int  # number of the last segment's first record; -1: there was none
    size: int  # of that segment


class Taken(NamedTuple):
    """What a read found."""

    lines: list[bytes]
    end: Place
    damaged: int  # records in front of the end that are lost
    mark: str = ""  # differs when the lines do


class Lane:
    """Opened by try_open(). All numbers are of records; ``acked <= next``."""

    def __init__(self, folder: Path, lock: int, *, syncs: bool) -> None:
        self.folder, self._lock, self._syncs = folder, lock, syncs
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
        self.bytes = 0  # size of the segments
        self.names: dict[
            int, tuple[int, str]
        ] = {}  # where a batch begins: where it ends, and its id
        self._ahead = (-1, 0, b"")  # read already: segment, offset, what is there
        self._unsynced: list[int] = []  # descriptors, of our own, of earlier segments
        self._dirty = False  # the last segment is not on the medium
        self._moved = False  # the cursor is not
        self._renamed = False  # the names in the folder are not
        self.cuts: list[int] = []
        """Where the lane was cut, each time that the medium did not take what was written."""
        self._torn: End | None = None  # an append began there and did not end
        self._misnamed = False  # the names on disk are not those that hold
        try:
            self._open_cursor()
            self._open_segments()
            self._open_names()
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

    def _open_cursor(self) -> None:
        self._cursor = os.open(self.folder / "cursor", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._renamed = True
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
            while self.segments:
                self.segments.pop().path.unlink(missing_ok=True)
        if not self.segments:
            self.next = max(self.next, self.acked)
        else:
            self.acked = max(self.acked, self.segments[0].first)
        self.bytes = sum(s.size for s in self.segments)
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
        while offset < len(data):
            if (end := record_end(data, offset)) <= 0:
                if (found := search(data, offset, number)) is None:
                    break
                offset, number = found
                continue
            right = is_right(data, offset, end, number)
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

    def _open_names(self) -> None:
        try:
            text = (self.folder / "names").read_text("utf-8", "replace")
        except FileNotFoundError:
            return
        for line in text.splitlines():
            check, _, rest = line.partition(" ")
            if check != f"{crc32(rest.encode()):08x}":
                continue
            start, end, batch_id = rest.split(" ", 2)
            if self.acked <= int(start) and int(end) <= self.next:
                self.names[int(start)] = (int(end), batch_id)

    def _write_names(self) -> None:
        texts = [f"{start} {end} {batch_id}" for start, (end, batch_id) in self.names.items()]
        new = self.folder / "names.new"
        fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            data = "".join(f"{crc32(t.encode()):08x} {t}\n" for t in texts).encode()
            if not write_all(fd, data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(new))
            data_sync(fd)
        finally:
            os.close(fd)
        new.replace(self.folder / "names")
        self._renamed, self._misnamed = True, False

    # -- records in --

    def append(self, lines: Sequence[bytes], segment_bytes: int) -> int:
        """Write records behind each other; how many are there, which is all, unless the disk is full. Raises OSError for anything else."""
        self._mend()
        done, most = 0, len(lines)
        while done < len(lines):
            full = self._file < 0 or not self.segments or self.segments[-1].size >= segment_bytes
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
        if self._file < 0 or not line or len(line) > _KEEP or self._torn or self._misnamed:
            return False
        segment, number = self.segments[-1], self.next
        if segment.size >= segment_bytes:
            return False
        data = RECORD.pack(len(line), crc32(line, number & 0xFFFFFFFF)) + line
        self._torn = End(number, segment.first, segment.size)
        try:
            if os.write(self._file, data) != len(data):
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
            if self._file >= 0:
                os.ftruncate(self._file, end.size)
            else:
                os.truncate(last.path, end.size)
            last.size = end.size
        self.bytes = sum(segment.size for segment in self.segments)
        self.next = max(end.number, self.acked)
        self._ahead = (-1, 0, b"")
        self._torn = None
        if last is None:
            self._head = Place(self.next, _HEAD.size, self.next)
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
            if not write_all(self._file, data):
                self._mend()  # never half a record
                return 0
            self._wrote(segment, len(data), number)
        except BaseException:
            self._mend()
            raise
        return count

    def _roll(self) -> bool:
        """A new last segment, or the one that is there opened. False: the disk is full."""
        if self._file < 0 and self.segments and self.segments[-1].size < _KEEP:
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
            self._head = Place(self.next, _HEAD.size, self.next)
        self.segments.append(Segment(self.next, path, _HEAD.size))
        self.bytes += _HEAD.size
        self._file = fd
        self._dirty = self._renamed = True
        return True

    def unsynced(self) -> list[int]:
        """What is not on the medium yet, as descriptors that are the caller's to sync and close; no longer ours to care about."""
        fds, self._unsynced = self._unsynced, []
        try:
            if self._dirty and self._file >= 0:
                fds.append(os.dup(self._file))
            if self._moved and self._cursor >= 0:
                fds.append(os.dup(self._cursor))
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

    def _scan(self, place: Place, most: int, most_bytes: int) -> Taken:
        lines: list[bytes] = []
        damaged, size, first, last = 0, 0, 0, 0
        _, offset, number = place
        at = next((i for i, s in enumerate(self.segments) if s.first == place.segment), None)
        if at is None:  # the end of a segment that is gone is the beginning of the next
            at = next((i for i, s in enumerate(self.segments) if s.first == number), None)
            offset = _HEAD.size
        if at is None:
            return Taken([], place, 0)
        stop = number + most
        while number < stop:
            segment = self.segments[at]
            ends_at = self.segments[at + 1].first if at + 1 < len(self.segments) else self.next
            begin, data = self._piece(segment, offset)
            used, full = begin, False
            while number < stop and number < ends_at:
                end = record_end(data, used)
                if end <= 0:
                    break
                payload = data[used + 8 : end]
                check = RECORD.unpack_from(data, used)[1]
                if crc32(payload, number & 0xFFFFFFFF) == check:
                    if size + len(payload) > most_bytes and lines:
                        full = True
                        break
                    first, last = first if lines else check, check
                    lines.append(payload)
                    size += len(payload)
                else:
                    damaged += 1
                used, number = end, number + 1
            offset += used - begin
            if full:
                break
            if number < min(stop, ends_at) and used == begin:
                # Damage that hides where the next record is.
                found = search(self._load(segment, offset, 2 * SEARCH), 0, number)
                if found is not None and found[1] < ends_at:
                    damaged += found[1] - number
                    offset, number = offset + found[0], found[1]
                else:  # the rest of the segment is lost
                    damaged += ends_at - number
                    offset, number = segment.size, ends_at
            if number >= ends_at:
                if at + 1 == len(self.segments):
                    break
                at, offset = at + 1, _HEAD.size
        mark = f"{len(lines):x}-{first:08x}{last:08x}"
        return Taken(lines, Place(self.segments[at].first, offset, number), damaged, mark)

    def _piece(self, segment: Segment, offset: int) -> tuple[int, bytes]:
        """Bytes of the segment with at least one whole record, if there is one; the offset is at which of them."""
        first, begin, data = self._ahead
        if first == segment.first and begin <= offset and record_end(data, offset - begin) > 0:
            return offset - begin, data
        data = self._load(segment, offset, _READ)
        length = RECORD.unpack_from(data)[0] if len(data) >= 8 else 0
        if len(data) - 8 < length <= segment.size - offset - 8:
            data = self._load(segment, offset, length + 8)
        self._ahead = (segment.first, offset, data)
        return 0, data

    def _load(self, segment: Segment, offset: int, most: int) -> bytes:
        most = min(most, segment.size - offset)
        if most <= 0:
            return b""
        if segment is self.segments[-1] and self._file >= 0:
            return os.pread(self._file, most, offset)
        try:
            fd = os.open(segment.path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return b""
        try:
            return os.pread(fd, most, offset)
        finally:
            os.close(fd)

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
        if self.acked < self.next or self.bytes <= _HEAD.size:
            return False
        self._close_file()
        while self.segments:
            self._unlink(self.segments.pop())
        self._head = Place(self.next, _HEAD.size, self.next)
        return True

    def evict(self) -> int:
        """Give the oldest segment up; how many records that costs. 0: there is only one, which is being written."""
        if len(self.segments) < 2:
            return 0
        end = self.segments[1].first
        lost = max(end - max(self.acked, self.segments[0].first), 0)
        self.acked = max(self.acked, end)
        if self._head.number < end:
            self._head = Place(end, _HEAD.size, end)
        self._unlink(self.segments.pop(0))
        self._write_cursor()
        return lost

    def _unlink(self, segment: Segment) -> None:
        # Not synced: should the name come back after a power failure, all in it is acknowledged still.
        segment.path.unlink(missing_ok=True)
        self.bytes -= segment.size
        self._ahead = (-1, 0, b"")

    # -- the rest --

    @property
    def records(self) -> int:
        return self.next - self.acked

    @property
    def payload(self) -> int:
        """Bytes of the events that are not acknowledged."""
        if not self.segments:
            return 0
        begun = max(self._head.offset - _HEAD.size, 0)
        return max(self.bytes - _HEAD.size * len(self.segments) - begun - 8 * self.records, 0)

    @property
    def oldest(self) -> float:
        """When the oldest segment was last written, by the clock on the wall."""
        try:
            return self.segments[0].path.stat().st_mtime if self.records else time.time()
        except (OSError, IndexError):
            return time.time()

    def _drop_file(self) -> None:
        """The last segment goes: nobody need sync it."""
        if self._file >= 0:
            os.close(self._file)
        self._file, self._dirty = -1, False

    def _close_file(self) -> None:
        if self._file >= 0:
            if self._dirty and self._syncs:
                self._unsynced.append(self._file)
            else:
                os.close(self._file)
            self._file = -1
        self._dirty = False

    def __del__(self) -> None:
        self.close()  # of a spool that nobody closed: others may take the lane over

    def close(self) -> None:
        """Let go of the lane; what is in it stays."""
        for fd in (*self._unsynced, self._file, self._cursor, self._lock):
            if fd >= 0:
                os.close(fd)
        self._unsynced = []
        self._file = self._cursor = self._lock = -1
