"""HttpResponse: what the asking side gets."""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar, overload

from . import _core
from ._errors import MongooseError, TimedOut

if TYPE_CHECKING:
    from typing_extensions import Self

T = TypeVar("T")

HIGH, LOW = (
    1 << 20,
    256 << 10,
)  # bytes waiting for a reader: from HIGH on the peer is not read, from LOW on it is again


class BodyStream:
    """Pieces of a body on their way from the loop to whoever reads them, on another thread."""

    def __init__(self, pause: Callable[[], None], resume: Callable[[], None]) -> None:
        self._pause, self._resume = pause, resume
        self._cond = threading.Condition()
        self._pieces: deque[bytes] = deque()
        self._size = 0
        self._paused = self._ended = False
        self._error: BaseException | None = None

    def put(self, piece: bytes) -> None:
        with self._cond:
            self._pieces.append(piece)
            self._size += len(piece)
            pause = self._size >= HIGH and not self._paused
            self._paused = self._paused or pause
            self._cond.notify()
        if pause:
            self._pause()

    def end(self, error: BaseException | None = None) -> None:
        with self._cond:
            if not self._ended:
                self._ended, self._error = True, error
            self._cond.notify_all()

    def get(self, timeout: float | None) -> bytes:
        """The next piece, empty at the end."""
        with self._cond:
            if not self._cond.wait_for(lambda: self._pieces or self._ended, timeout):
                raise TimedOut(f"no piece of the body within {timeout} s")
            if not self._pieces:
                if self._error is not None:
                    raise self._error
                return b""
            piece = self._pieces.popleft()
            self._size -= len(piece)
            resume = self._paused and self._size <= LOW
            self._paused = self._paused and not resume
        if resume:
            self._resume()
        return piece


class HttpResponse:
    """The answer to Manager.request(), or why there is none.

    Like an HttpMessage it may be kept for as long as you like and used on any thread, and ``body`` is a view of the bytes where they
    arrived, unless they had to be decompressed.

    Attributes:
        status: status code; 0 when the request failed before there was one.
        reason, proto: of the status line.
        url: what answered in the end, after redirects.
        history: the redirects on the way: ``(status, url)`` of each, the first first.
        error: what went wrong, else None. ResolveError, TimedOut, ConnectionClosed, ProtocolError, TooBig, TlsError, QueueFull,
            concurrent.futures.CancelledError, or what a body source or on_data raised.
    """

    __slots__ = (
        "__weakref__",
        "_body",
        "_msg",
        "_on_close",
        "_stream",
        "error",
        "history",
        "status",
        "url",
    )

    def __init__(self, url: str, history: tuple[tuple[int, str], ...] = ()) -> None:
        self.url = url
        self.history = history
        self.status = 0
        self.error: BaseException | None = None
        self._msg: _core.HttpMessage | None = None
        self._body: bytes | None = None
        self._stream: BodyStream | None = None
        self._on_close: Callable[[], object] | None = None

    @property
    def ok(self) -> bool:
        """A response came, and its status is below 400."""
        return self.error is None and 0 < self.status < 400

    def raise_for_error(self) -> Self:
        """Raise ``error`` if there is one, MongooseError for a status of 400 and above; else return the response itself."""
        if self.error is not None:
            raise self.error
        if self.status >= 400:
            raise MongooseError(f"{self.status} {self.reason} from {self.url}")
        return self

    @property
    def reason(self) -> str:
        return self._msg.proto if self._msg is not None else ""

    @property
    def proto(self) -> str:
        return self._msg.method if self._msg is not None else ""

    @overload
    def header(self, name: str) -> str | None: ...
    @overload
    def header(self, name: str, default: T) -> str | T: ...
    def header(self, name: str, default: Any = None) -> Any:
        """Value of the first field of that name, ASCII case ignored."""
        return self._msg.header(name, default) if self._msg is not None else default

    def headers(self) -> list[tuple[str, str]]:
        """All fields in order, repeated ones too."""
        return self._msg.headers() if self._msg is not None else []

    @property
    def body(self) -> memoryview:
        """The body, decoded. Empty when it was handed to on_data, or is read as a stream."""
        if self.error is not None:
            return memoryview(b"")
        if self._body is not None:
            return memoryview(self._body)
        if self._msg is not None and self._stream is None:
            return self._msg.body
        return memoryview(b"")

    @property
    def body_bytes(self) -> bytes:
        """The body as bytes."""
        return self._body if self._body is not None and self.error is None else bytes(self.body)

    @property
    def text(self) -> str:
        """The body as text, by the charset that Content-Type names, else UTF-8; undecodable bytes as surrogate escapes."""
        charset = self._msg.header_var("Content-Type", "charset") if self._msg is not None else None
        try:
            return self.body_bytes.decode(charset or "utf-8", "surrogateescape")
        except (LookupError, ValueError):  # no such charset
            return self.body_bytes.decode("utf-8", "surrogateescape")

    body_text = text

    def json(self) -> Any:
        """The body parsed as JSON.

        Raises:
            ValueError: it is none.
        """
        return json.loads(self.body_bytes)

    # -- stream=True --

    def iter_bytes(self, timeout: float | None = None) -> Iterator[bytes]:
        """With ``stream=True``: the body piece by piece, as it comes. On any thread but the loop's.

        Args:
            timeout: seconds to wait for one piece.

        Raises:
            TimedOut: it took longer; iterating again goes on.
            MongooseError: the body broke off, as ``error`` would say.
        """
        while piece := self.read(timeout):
            yield piece

    __iter__ = iter_bytes

    def read(self, timeout: float | None = None) -> bytes:
        """With ``stream=True``: the next piece; empty at the end. Raises as iter_bytes()."""
        if self._stream is None:
            raise MongooseError("the body is not a stream: ask with stream=True")
        return self._stream.get(timeout)

    def close(self) -> None:
        """With ``stream=True``: give up what was not read. Any thread; no-op at the end. A response that nobody holds is closed, too."""
        if self._on_close is not None:
            self._on_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        what = f"{self.error!r}" if self.error is not None else f"{self.status} {self.reason}"
        return f"<HttpResponse {what} {self.url}>"
