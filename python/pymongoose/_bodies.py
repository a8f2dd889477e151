"""Bodies of requests: whatever can give bytes, asked for one piece at a time."""

from __future__ import annotations

import os
import stat
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol, TypeAlias

from ._errors import ConnectionClosed, QueueFull

PIECE = 64 * 1024
HIGH, LOW, MOST = 1 << 20, 256 << 10, 64 << 20  # bytes of a RequestBody that wait


class Readable(Protocol):
    """A binary file, or what reads like one."""

    def read(self, size: int, /) -> bytes: ...


class RequestBody:
    """The body of a request, written piece by piece as it comes to be: ``Manager.request(..., body=RequestBody())``.

    The counterpart of what start_response() gives. It belongs to one request, and is sent chunked, unless the request's headers have a
    Content-Length. All methods may be called from any thread, before and after the request was made.

    Args:
        on_drain: called without arguments when it is no longer full, on the loop's thread.
    """

    def __init__(self, on_drain: Callable[[], object] | None = None) -> None:
        self.on_drain = on_drain
        self._lock = threading.Lock()
        self._pieces: deque[bytes] = deque()
        self._size = 0
        self._taken = self._ended = self._closed = self._was_full = False
        self._wake: Callable[[], object] | None = None  # the request waits for a piece

    @property
    def full(self) -> bool:
        """1 MiB waits for the server to take it: pause until on_drain is called."""
        with self._lock:
            full = self._size >= HIGH and not self._closed
            self._was_full = self._was_full or full
        return full

    @property
    def closed(self) -> bool:
        """Ended, or the request is over: its server may have answered without reading all of it."""
        return self._ended or self._closed

    def write(self, data: str | bytes | bytearray | memoryview) -> None:
        """Send a piece; str as UTF-8.

        Raises:
            ConnectionClosed: it was ended, or the request is over.
            QueueFull: the server does not read, and 64 MiB are waiting.
        """
        piece = _bytes(data)
        with self._lock:
            if self._ended or self._closed:
                raise ConnectionClosed("the request takes no more of its body")
            if self._size + len(piece) > MOST:
                raise QueueFull(f"{self._size} bytes wait for a server that does not read")
            if piece:
                self._pieces.append(piece)
                self._size += len(piece)
            wake, self._wake = self._wake, None
        if wake is not None:
            wake()

    def end(self) -> None:
        """That was all of it. Idempotent."""
        with self._lock:
            self._ended = True
            wake, self._wake = self._wake, None
        if wake is not None:
            wake()

    def _next(self, wake: Callable[[], object]) -> bytes | None:
        """The next piece, b"" at the end, None when there is none yet: then wake is called once there is. Loop thread."""
        drained = None
        with self._lock:
            self._taken = True
            if not self._pieces:
                if self._ended:
                    return b""
                self._wake = wake
                return None
            piece = self._pieces.popleft()
            self._size -= len(piece)
            if self._was_full and self._size <= LOW:
                self._was_full, drained = False, self.on_drain
        if drained is not None:
            drained()
        return piece

    def _close(self) -> None:
        """The request is over."""
        with self._lock:
            self._closed, self._size, self._wake, self.on_drain = True, 0, None, None
            self._pieces.clear()


BodyLike: TypeAlias = (
    str
    | bytes
    | bytearray
    | memoryview
    | Readable
    | Iterable[bytes | str]
    | Callable[[], bytes | None]
    | RequestBody
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
        self.wake: Callable[[], object] = (
            _nobody  # called when next() was None, and will not be any more
        )
        self._next: Callable[[], bytes | None]
        if source is None:
            source = b""
        if isinstance(source, str):
            source = source.encode()
        if isinstance(source, (bytes, bytearray, memoryview)):
            self._data = bytes(source)
            self._at = 0
            self.length = len(self._data)
            self._next = self._slice
        elif isinstance(source, RequestBody):
            self._next = self._written
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

    def next(self) -> bytes | None:
        """The next piece; empty at the end, None when it is not there yet. Whatever the source raises comes out of here."""
        return self._next()

    def close(self) -> None:
        """Nothing is asked for any more."""
        if isinstance(self._source, RequestBody):
            self._source._close()

    def rewind(self) -> bool:
        """Back to the beginning, to be sent again. False: this source cannot."""
        if self._next == self._slice:
            self._at = 0
            return True
        if isinstance(self._source, RequestBody):
            return not self._source._taken
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

    def _written(self) -> bytes | None:
        return self._source._next(self.wake)  # type: ignore[no-any-return]

    def _call(self) -> bytes:
        return _bytes(self._source())

    def _item(self) -> bytes:
        for item in self._iter:
            if piece := _bytes(item):
                return piece
        return b""


def _nobody() -> None:
    pass


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
