"""Records in a segment file: how one is recognized, and where the next one is behind damage.

record   length: u32 checksum: u32       payload
         the checksum is over the payload and begins with the number, so that a record cannot be taken for another one
"""

from __future__ import annotations

import errno
import os
import struct
from pathlib import Path
from typing import Final
from zlib import crc32

RECORD: Final = struct.Struct("<II")
MAX_RECORD: Final = 1 << 30
SEARCH: Final = 1 << 20  # bytes in which the record behind a damaged one is looked for
data_sync = getattr(os, "fdatasync", os.fsync)  # macOS has one of the two


def checksum(number: int, payload: bytes) -> int:
    return crc32(payload, number & 0xFFFFFFFF)


def record_end(data: bytes, offset: int) -> int:
    """Where the record at offset ends; 0: it is not whole, or none."""
    if offset + RECORD.size > len(data):
        return 0
    length = RECORD.unpack_from(data, offset)[0]
    if length == 0 or length > MAX_RECORD:
        return 0
    end = offset + RECORD.size + int(length)
    return end if end <= len(data) else 0


def is_right(data: bytes, offset: int, end: int, number: int) -> bool:
    check: int = RECORD.unpack_from(data, offset)[1]
    return checksum(number, data[offset + RECORD.size : end]) == check


def search(data: bytes, offset: int, number: int) -> tuple[int, int] | None:
    """Where behind damage the next record begins, and its number: the one expected there, or one of the next two."""
    for at in range(offset, min(len(data) - RECORD.size, offset + SEARCH)):
        end = record_end(data, at)  # text is no length that can be: few places are looked at twice
        if end > 0:
            for n in (number, number + 1, number + 2):
                if is_right(data, at, end, n):
                    return at, n
    return None


def write_all(fd: int, data: bytes) -> bool:
    """False: the disk is full; part of it may be there."""
    done = 0
    while done < len(data):
        try:
            done += os.write(fd, data[done:] if done else data)
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
