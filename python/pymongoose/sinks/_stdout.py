"""StdoutSink: events on the standard output, as JSON lines for programs or as text for people."""

from __future__ import annotations

import os
import select
import sys
from typing import Any, ClassVar, Literal

from ._batched import BatchedSink
from ._checks import one_of
from ._encode import decode
from ._outcome import Partial, Rejected
from ._pretty import Pretty, harmless
from ._sink import DrainResult
from ._work_thread import WorkThread


class StdoutSink(BatchedSink):
    """Writes events to the standard output, or another stream.

    It writes straight to the descriptor, whole batches, on a thread of its own: a pipe whose reader does not read holds up nobody else. What
    ``print()`` keeps in its buffer comes later; use ``flush=True`` where the order matters. When the reader of a pipe is gone, events
    are counted as dropped, "rejected".

    Args:
        stream: anything with ``fileno()``, or with ``write()`` for text (bytes where text is refused). None: what ``sys.stdout`` is when the
            sink starts.
        format: "json", "pretty" (needs the package rich; colours on a terminal only, and not where ``NO_COLOR`` is set), or
            "auto": pretty on a terminal when rich is installed, JSON everywhere else.
        batch_size: events that are written at once, without waiting.
        batch_timeout: seconds after which fewer are.
        options: of :class:`BatchedSink`.

    Raises:
        TypeError, ValueError: an argument is wrong. ImportError: ``format="pretty"`` without rich.

    Example::

        with Pipeline([StdoutSink()]) as log:
            log.emit("order created", order=42)
    """

    accepts: ClassVar[Literal["dict", "json"]] = "json"

    def __init__(
        self,
        stream: Any = None,
        *,
        format: Literal["auto", "json", "pretty"] = "auto",
        batch_size: int = 500,
        batch_timeout: float = 0.1,
        **options: Any,
    ) -> None:
        super().__init__(batch_size=batch_size, batch_timeout=batch_timeout, **options)
        one_of("format", format, ("auto", "json", "pretty"))
        if stream is not None and not hasattr(stream, "write") and not hasattr(stream, "fileno"):
            raise TypeError(f"stream must have write() or fileno(), not {type(stream).__name__}")
        if format == "pretty":
            Pretty()  # say now that rich is missing
        self._given = stream
        self._wanted = format
        self._stream: Any = None
        self._stream_fd: int | None = None
        self._pretty: Pretty | None = None
        self._torn = False  # the last thing there is a part of a line
        self._stream_thread = WorkThread("pymongoose-stdout")

    async def start(self) -> None:
        self._stream = sys.stdout if self._given is None else self._given
        self._torn = False
        try:
            self._stream_fd = self._stream.fileno()
        except (AttributeError, OSError, ValueError):  # None, or not a file
            self._stream_fd = None
        self._pretty = self._choose()
        await super().start()

    def _choose(self) -> Pretty | None:
        tty = self._stream_fd is not None and os.isatty(self._stream_fd)
        if self._wanted == "json" or (self._wanted == "auto" and not tty):
            return None
        try:
            return Pretty(colour=tty and not os.environ.get("NO_COLOR"))
        except ImportError:
            if self._wanted == "pretty":
                raise
            return None

    async def send_lines(self, lines: list[bytes]) -> None:
        await self._stream_thread.run_to_end(self._write_lines, lines)

    def _write_lines(self, lines: list[bytes]) -> None:
        texts = [self._shown(line) for line in lines]
        try:
            if self._stream_fd is not None:
                self._write_texts(self._stream_fd, texts)
            elif self._stream is not None:
                self._write_stream(b"".join(texts))
        except (BrokenPipeError, ValueError) as e:  # ValueError: the stream was closed
            raise Rejected(f"nobody reads: {e}") from e

    def _write_texts(self, fd: int, texts: list[bytes]) -> None:
        """All of them; Partial: some are there whole. One that is there in part is ended, and comes again."""
        data = memoryview(b"".join([b"\n" * self._torn, *texts]))
        n = -self._torn
        try:
            while data:
                try:
                    written = os.write(fd, data)
                except BlockingIOError:  # somebody made it non-blocking
                    select.select([], [fd], [])
                    continue
                n, data = n + written, data[written:]
                self._torn = False
        except OSError as e:
            done = 0
            for text in texts:
                if n < len(text):
                    break
                n -= len(text)
                done += 1
            self._torn = self._torn or n > 0
            if not done or isinstance(e, BrokenPipeError):
                raise
            raise Partial(retry=range(done, len(texts))) from e

    def _shown(self, line: bytes) -> bytes:
        if self._pretty is None:
            return line + b"\n"
        try:
            return self._pretty.line(decode(line)).encode("utf-8", "replace")
        except Exception:  # noqa: BLE001  (somebody's own line, which is no event)
            return harmless(line.decode("utf-8", "backslashreplace")).encode() + b"\n"

    def _write_stream(self, data: bytes) -> None:
        try:
            self._stream.write(data.decode())
        except TypeError:
            self._stream.write(data)
        if hasattr(self._stream, "flush"):
            self._stream.flush()

    async def stop(self) -> DrainResult:
        try:
            return await super().stop()
        finally:
            self._stream_thread.close()
