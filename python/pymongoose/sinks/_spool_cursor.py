"""How far a lane is acknowledged, and what of it is in flight: two slots, written in turns, each with a checksum."""

from __future__ import annotations

import os
import secrets
import struct
from pathlib import Path
from typing import Final
from zlib import crc32

_MAGIC: Final = b"PMSPOOL1"
_SLOT: Final = struct.Struct(
    "<8sQQQ16sI"
)  # magic, generation, acknowledged, end of what is in flight, lane id, checksum
_SLOT_SIZE: Final = 64


class Cursor:
    """The file, open; what the newer slot that is whole said. Raises OSError."""

    def __init__(self, folder: Path) -> None:
        self.acked = self.in_flight = 0
        self.id = secrets.token_bytes(16)
        self._generation = 0
        self.fd = os.open(folder / "cursor", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self._read()
        except BaseException:
            self.close()
            raise

    def _read(self) -> None:
        data = os.pread(self.fd, 2 * _SLOT_SIZE, 0)
        for i in (0, 1):
            slot = data[i * _SLOT_SIZE : i * _SLOT_SIZE + _SLOT.size]
            if len(slot) < _SLOT.size or crc32(slot[:-4]) != int.from_bytes(slot[-4:], "little"):
                continue
            magic, generation, acked, in_flight, lane_id, _ = _SLOT.unpack(slot)
            if magic == _MAGIC and generation > self._generation:
                self._generation, self.id = generation, lane_id
                self.acked, self.in_flight = acked, in_flight
        if len(data) < 2 * _SLOT_SIZE:  # room for both, now: later there may be none
            os.pwrite(self.fd, bytes(2 * _SLOT_SIZE - len(data)), len(data))
        if self._generation == 0:
            self.write(self.acked, self.in_flight)

    def write(self, acked: int, in_flight: int) -> None:
        """Into the older slot. Raises OSError."""
        self._generation += 1
        body = _SLOT.pack(_MAGIC, self._generation, acked, in_flight, self.id, 0)[:-4]
        slot = body + crc32(body).to_bytes(4, "little")
        os.pwrite(self.fd, slot, (self._generation & 1) * _SLOT_SIZE)

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
        self.fd = -1
