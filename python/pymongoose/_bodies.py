"""Bodies of requests: whatever can give bytes, asked for one piece at a time."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol, TypeAlias

PIECE = 64 * 1024


class Readable(Protocol):
    """A binary file, or what reads like one."""

    def read(self, size: int, /) -> bytes: ...


BodyLike: TypeAlias = (
    str
    | bytes
    | bytearray
    | memoryview
    | Readable
    | Iterable[bytes | str]
    | Callable[[], bytes | None]
    | None
)


class Body:
    """A source of bytes, read on the loop thread as fast as the peer takes them.

    Attributes:
        length: bytes in all, None when that is not known before: then it is sent chunked.
    """

    def __init__(self, source: BodyLike) -> None:
        self.length: int | None = None
        self._source: Any = source
        self._start: int | None = None
        self._next: Callable[[], bytes]
        if source is None:
            source = b""
        if isinstance(source, str):
            source = source.encode()
        if isinstance(source, (bytes, bytearray, memoryview)):
            self._data = bytes(source)
            self._at = 0
            self.length = len(self._data)
            self._next = self._slice
        elif callable(getattr(source, "read", None)):
            self._start, self.length = _measure(source)
            self._next = self._read
        elif callable(source):
            self._next = self._call
        elif isinstance(source, Iterable):
            self._iter: Iterator[Any] = iter(source)
            self._next = self._item
        else:
            raise TypeError(
                f"body must be str, bytes-like, a file, an iterable or a callable, not {type(source).__name__}"
            )

    @property
    def whole(self) -> bytes | None:
        """All of it, when it is short and here already."""
        return self._data if self._next == self._slice and len(self._data) <= PIECE else None

    def next(self) -> bytes:
        """The next piece; empty at the end. Whatever the source raises comes out of here."""
        return self._next()

    def rewind(self) -> bool:
        """Back to the beginning, to be sent again. False: this source cannot."""
        if self._next == self._slice:
            self._at = 0
            return True
        if self._start is None:
            return False
        try:
            self._source.seek(self._start)
        except (OSError, ValueError):  # closed meanwhile
            return False
        return True

    def _slice(self) -> bytes:
        piece = self._data[self._at : self._at + 4 * PIECE]
        self._at += len(piece)
        return piece

    def _read(self) -> bytes:
        return _bytes(self._source.read(PIECE))

    def _call(self) -> bytes:
        return _bytes(self._source())

    def _item(self) -> bytes:
        for item in self._iter:
            if piece := _bytes(item):
                return piece
        return b""


def _bytes(piece: Any) -> bytes:
    if piece is None:
        return b""
    if isinstance(piece, str):
        return piece.encode()
    if isinstance(piece, (bytes, bytearray, memoryview)):
        return bytes(piece)
    raise TypeError(f"a piece of a body must be bytes-like or str, not {type(piece).__name__}")


def _measure(file: Any) -> tuple[int | None, int | None]:
    """Where a file stands and what is left of it; None for pipes and the like."""
    try:
        start = file.tell()
        if isinstance(file.read(0), str):
            return start, None  # characters are not bytes
        try:
            info = os.fstat(file.fileno())
            end = info.st_size if stat.S_ISREG(info.st_mode) else None
        except (OSError, AttributeError):
            end = file.seek(0, os.SEEK_END)
            file.seek(start)
    except (OSError, AttributeError):
        return None, None
    return (None, None) if end is None else (start, max(0, end - start))
