"""Ids of batches that had one before they came to disk: where each begins and ends. Rarely there."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import TypeAlias
from zlib import crc32

from ._spool_records import data_sync, write_all

Names: TypeAlias = "dict[int, tuple[int, str]]"
"""Number of the first record: number behind the last one, and the id."""


def read_names(folder: Path, acked: int, limit: int) -> Names:
    """Those that are whole and lie between two numbers."""
    names: Names = {}
    try:
        text = (folder / "names").read_text("utf-8", "replace")
    except FileNotFoundError:
        return names
    for line in text.splitlines():
        check, _, rest = line.partition(" ")
        if check != f"{crc32(rest.encode()):08x}":
            continue
        start, end, batch_id = rest.split(" ", 2)
        if acked <= int(start) and int(end) <= limit:
            names[int(start)] = (int(end), batch_id)
    return names


def write_names(folder: Path, names: Names) -> None:
    """In place of those that are there; their file is synced, its name is not. Raises OSError."""
    texts = [f"{start} {end} {batch_id}" for start, (end, batch_id) in names.items()]
    new = folder / "names.new"
    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        data = "".join(f"{crc32(t.encode()):08x} {t}\n" for t in texts).encode()
        if not write_all(fd, data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(new))
        data_sync(fd)
    finally:
        os.close(fd)
    new.replace(folder / "names")
