"""Segment files of a lane: their heads, the last one after a crash, and reading records out of them.

segment  "PMSPOOL1"  first number: u64   checksum: u32    then records, as _spool_records.py has them
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple
from zlib import crc32

from ._spool_records import RECORD, SEARCH, is_right, record_end, search

_MAGIC: Final = b"PMSPOOL1"
_HEAD: Final = struct.Struct("<8sQI")
READ: Final = 1 << 18
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


class Taken(NamedTuple):
    """What a read found."""

    lines: list[bytes]
    end: Place
    damaged: int  # records in front of the end that are lost
    mark: str = ""  # differs when the lines do


def new_head(number: int) -> bytes:
    head = _HEAD.pack(_MAGIC, number, 0)[:-4]
    return head + crc32(head).to_bytes(4, "little")


def _head_is_right(data: bytes, first: int) -> bool:
    if len(data) < HEAD_SIZE:
        return False
    magic, number, check = _HEAD.unpack_from(data)
    return bool(magic == _MAGIC and number == first and check == crc32(data[: HEAD_SIZE - 4]))


def open_last(segment: Segment) -> tuple[int, int] | None:
    """Read the last segment to its end, and cut off what is no record there: the number of the next record, and how many were lost. None: its
    head is not whole."""
    with open(segment.path, "rb") as f:
        data = f.read()
    if not _head_is_right(data, segment.first):
        return None
    offset, number = HEAD_SIZE, segment.first
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
    lost = 0
    if good < len(data):
        lost = max(number - good_number, 1 if any(data[good:]) else 0)
        os.truncate(segment.path, good)
    segment.size = good
    return good_number, lost


class Reader:
    """Reads the records of a lane's segments, in pieces, of which the last one is kept."""

    def __init__(self, segments: list[Segment]) -> None:
        self._segments = segments
        self.file = -1
        """The last segment, where it is open for appending."""
        self._ahead = (-1, 0, b"")  # read already: segment, offset, what is there

    def forget(self) -> None:
        """Files are not what they were."""
        self._ahead = (-1, 0, b"")

    def scan(self, place: Place, most: int, most_bytes: int, limit: int) -> Taken:
        """So many records from a place on, as far as they go; `limit`: the number behind the last one there is."""
        lines: list[bytes] = []
        damaged, size, first, last = 0, 0, 0, 0
        _, offset, number = place
        at = next((i for i, s in enumerate(self._segments) if s.first == place.segment), None)
        if at is None:  # the end of a segment that is gone is the beginning of the next
            at = next((i for i, s in enumerate(self._segments) if s.first == number), None)
            offset = HEAD_SIZE
        if at is None:
            return Taken([], place, 0)
        stop = number + most
        while number < stop:
            segment = self._segments[at]
            ends_at = self._segments[at + 1].first if at + 1 < len(self._segments) else limit
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
                if at + 1 == len(self._segments):
                    break
                at, offset = at + 1, HEAD_SIZE
        mark = f"{len(lines):x}-{first:08x}{last:08x}"
        return Taken(lines, Place(self._segments[at].first, offset, number), damaged, mark)

    def _piece(self, segment: Segment, offset: int) -> tuple[int, bytes]:
        """Bytes of the segment with at least one whole record, if there is one; the offset is at which of them."""
        first, begin, data = self._ahead
        if first == segment.first and begin <= offset and record_end(data, offset - begin) > 0:
            return offset - begin, data
        data = self._load(segment, offset, READ)
        length = RECORD.unpack_from(data)[0] if len(data) >= 8 else 0
        if len(data) - 8 < length <= segment.size - offset - 8:
            data = self._load(segment, offset, length + 8)
        self._ahead = (segment.first, offset, data)
        return 0, data

    def _load(self, segment: Segment, offset: int, most: int) -> bytes:
        most = min(most, segment.size - offset)
        if most <= 0:
            return b""
        if segment is self._segments[-1] and self.file >= 0:
            return os.pread(self.file, most, offset)
        try:
            fd = os.open(segment.path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return b""
        try:
            return os.pread(fd, most, offset)
        finally:
            os.close(fd)
