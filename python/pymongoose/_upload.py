"""Connection.upload(): forms with files of any size, in constant memory.

Pieces of the body go through the parser to the files as they come: on the loop thread, or, where the manager has a pool, on one of its
threads at a time, with a bounded queue between and reading paused while it is full. Files have names of our making until all is there.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Final, TypeAlias

from . import _core
from ._errors import ConnectionClosed, FormError, QueueFull
from ._forms import Form, FormFile, Value, safe_filename
from ._replies import Response

Target: TypeAlias = "str | os.PathLike[str] | Callable[[FormFile], Any]"

HIGH: Final = 1 << 20  # bytes between loop and worker from which reading pauses
LOW: Final = 1 << 18


class _Spool:
    """One file of an upload to a folder."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.name = secrets.token_hex(16)
        self.path = os.path.join(folder, f".{self.name}.part")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        flags |= (
            getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
        )
        self._fd = os.open(self.path, flags, 0o600)

    def write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._fd, view) :]

    def close(self) -> None:
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)

    def keep(self, original: str | None) -> None:
        """Give it its last name; nothing that is there is replaced."""
        if original is None:
            final = os.path.join(self.folder, self.name)
        else:
            final = self._claim(safe_filename(original))
        os.replace(self.path, final)
        self.path = final

    def _claim(self, name: str) -> str:
        stem, ext = os.path.splitext(name)
        n = 0
        while True:
            path = os.path.join(self.folder, f"{stem}-{n}{ext}" if n else name)
            try:
                os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
            except FileExistsError:
                n += 1
            else:
                return path

    def remove(self) -> None:
        self.close()
        with contextlib.suppress(OSError):
            os.unlink(self.path)


class _Part:
    """The part that is being received."""

    def __init__(self, head: Any) -> None:
        self.name: str = head[0]
        filename, kind, headers = head[1:]
        self.file = (
            FormFile(filename, kind or "application/octet-stream", 0, headers=tuple(headers))
            if filename is not None
            else None
        )
        self.size = 0
        self.pieces: list[bytes] = []
        self.sink: Any = None
        self.write: Callable[[bytes], object] | None = None
        self.open = False

    def done(self, path: str | None = None) -> Value:
        if self.file is None:
            return b"".join(self.pieces).decode("utf-8", "replace")
        f = self.file
        return FormFile(f.filename, f.content_type, self.size, b"", path, f.headers, self.sink)


class _Upload:
    def __init__(
        self,
        conn: _core.Connection,
        parser: _core.MultipartParser,
        to: Target,
        on_end: Callable[[Form], Any],
        max_file: int,
        max_field: int,
        original_names: bool,
    ) -> None:
        self._conn, self._parser, self._on_end = conn, parser, on_end
        self._folder = None if callable(to) else os.path.abspath(os.fspath(to))
        self._to = to if callable(to) else None
        self._max_file, self._max_field, self._original = max_file, max_field, original_names
        self._field_bytes = 0
        self._part: _Part | None = None
        self._items: list[tuple[str, Value | _Spool, _Part]] = []
        self._spools: list[_Spool] = []
        self.over = False
        self._form: Form | None = None

    # -- parse and write: one thread at a time --

    def take(self, piece: bytes) -> None:
        for event in self._parser.feed(piece):
            if isinstance(event, tuple):
                self._begin(_Part(event))
            elif event is None:
                self._finish_part()
            else:
                self._content(event)

    def _begin(self, part: _Part) -> None:
        self._part = part
        self._count_field(len(part.name.encode("utf-8", "replace")))
        if part.file is not None and part.file.filename:
            self._open(part)

    def _open(self, part: _Part) -> None:
        part.open = True
        assert part.file is not None
        if self._folder is not None:
            part.sink = _Spool(self._folder)
            self._spools.append(part.sink)
            part.write = part.sink.write
            return
        assert self._to is not None
        part.sink = self._to(part.file)
        part.write = getattr(part.sink, "write", part.sink)
        if part.sink is not None and not callable(part.write):
            raise TypeError(
                "to(part) must return an object with write(), a function or None, "
                f"not {type(part.sink).__name__}"
            )

    def _content(self, data: bytes) -> None:
        part = self._part
        assert part is not None
        part.size += len(data)
        if part.file is None:
            self._count_field(len(data))
            part.pieces.append(data)
            return
        if part.size > self._max_file:
            raise FormError(413, f"file too large, more than {self._max_file} bytes")
        if not part.open:
            self._open(part)
        if part.write is not None:
            part.write(data)

    def _count_field(self, n: int) -> None:
        self._field_bytes += n
        if self._field_bytes > self._max_field:
            raise FormError(413, f"fields too large, more than {self._max_field} bytes")

    def _finish_part(self) -> None:
        part, self._part = self._part, None
        assert part is not None
        if part.file is not None and not part.open:
            return  # no file was chosen
        self._close(part)
        self._items.append(
            (part.name, part.sink if isinstance(part.sink, _Spool) else part.done(), part)
        )

    def _close(self, part: _Part) -> None:
        close = getattr(part.sink, "close", None)
        part.open = False
        if close is not None:
            close()

    def finish(self) -> None:
        """All is there: the files get their names."""
        self._parser.finish()
        items: list[tuple[str, Value]] = []
        for name, value, part in self._items:
            if isinstance(value, _Spool):
                assert part.file is not None
                value.keep(part.file.filename if self._original else None)
                part.sink = None
                items.append((name, part.done(value.path)))
            else:
                items.append((name, value))
        self._form = Form(items)

    def clean_up(self) -> None:
        """The request failed: nothing of it stays."""
        self.over = True
        if self._part is not None and self._part.open:
            with contextlib.suppress(Exception):
                self._close(self._part)
        for spool in self._spools:
            spool.remove()
        self._spools.clear()

    def deliver(self) -> Any:
        assert self._form is not None
        self.over = True
        try:
            return self._on_end(self._form)
        except BaseException:
            self.clean_up()
            raise

    # -- on the loop thread, without a pool --

    def on_data(self, piece: bytes) -> None:
        self.take(piece)  # what it raises becomes the answer, and clean_up is called

    def on_end(self) -> None:
        try:
            self.finish()
        except BaseException:
            self.clean_up()
            raise
        self._conn._settle(self.deliver)

    def on_abort(self) -> None:
        self.clean_up()


class _PooledUpload(_Upload):
    """The same with take() and finish() on a worker. _lock guards the four attributes behind it."""

    def __init__(self, pool: Any, *args: Any) -> None:
        super().__init__(*args)
        self._pool = pool
        manager = self._conn.manager
        assert manager is not None
        self._manager = manager
        self._lock = threading.Lock()
        self._queue: deque[bytes | None] = deque()
        self._waiting = 0
        self._running = self._aborted = self._paused = False
        self._reply: _core.Reply | None = (
            None  # once the body is whole: a client that shut its side down still waits
        )

    def on_data(self, piece: bytes) -> None:
        self._put(piece)

    def on_end(self) -> None:
        self._reply = self._conn.defer()
        self._put(None)

    def _put(self, piece: bytes | None) -> None:
        with self._lock:
            if self._aborted:
                return
            self._queue.append(piece)
            self._waiting += len(piece or b"")
            if self._waiting >= HIGH and not self._paused:
                self._paused = True
                self._conn.pause_reading()
            if self._running:
                return
            self._running = True
        try:
            self._pool.submit(self._work).add_done_callback(self._given_up)
        except BaseException as exc:  # noqa: BLE001  (told to the client)
            self._fail(exc)

    def _work(self) -> None:
        try:
            while self._next():
                pass
        except BaseException as exc:  # noqa: BLE001  (told on the loop thread)
            self._fail(exc)

    def _next(self) -> bool:
        with self._lock:
            if self._aborted or not self._queue:
                self._running = False
                stop = self._aborted
            else:
                stop = None
                piece = self._queue.popleft()
        if stop is not None:
            if stop:
                self.clean_up()
            return False
        if piece is None:
            self.finish()
            self._manager.call(self._arrived)
            return True
        self.take(piece)
        with self._lock:
            self._waiting -= len(piece)
            resume = self._paused and self._waiting <= LOW
            if resume:
                self._paused = False
        if resume:
            with contextlib.suppress(ConnectionClosed):
                self._conn.resume_reading()
        return True

    def _arrived(self) -> None:
        if self._conn.id == 0:  # the client left while we wrote
            self.clean_up()
        else:
            assert self._reply is not None
            self._reply._settle(self.deliver)

    def _given_up(self, job: Any) -> None:
        """The pool did not run it: it was full, or is ending."""
        if job.cancelled():
            self._fail(QueueFull("the upload was given up"))
        elif job.exception() is not None:
            self._fail(job.exception())

    def _fail(self, exc: BaseException) -> None:
        with self._lock:
            self._aborted, self._running = True, False
            self._queue.clear()
        self.clean_up()
        with contextlib.suppress(RuntimeError):  # the connection or the manager is gone
            self._manager.call(self._refuse, exc)

    def _refuse(self, exc: BaseException) -> None:
        if self._conn.id == 0:
            return

        def fail() -> Response:
            if isinstance(exc, QueueFull):
                return Response(503, "busy", {"Retry-After": "1"})
            raise exc

        if self._reply is not None:
            self._reply._settle(fail)
            return
        self._conn._settle(fail)  # reports it, and answers
        if self._conn.id:
            self._conn._refuse_body(500, "")
            self._conn.resume_reading()

    def on_abort(self) -> None:
        with self._lock:
            self._aborted = True
            self._queue.clear()
            if self._running:
                return  # whoever runs cleans up
        self.clean_up()


def upload(
    conn: _core.Connection,
    message: _core.HttpMessage,
    to: Target,
    on_end: Callable[[Form], Any],
    *,
    max_parts: int = 1000,
    max_file: int = 1 << 30,
    max_total: int = 4 << 30,
    max_field: int = 1 << 20,
    original_names: bool = False,
) -> None:
    """Connection.upload()."""
    if not callable(on_end):
        raise TypeError(f"on_end must be callable, not {type(on_end).__name__}")
    if not callable(to) and not os.path.isdir(to):
        raise NotADirectoryError(f"to must be a folder or a function, not {os.fspath(to)!r}")
    try:
        parser = _core.MultipartParser(message.header("Content-Type", ""), max_parts)
    except FormError as exc:
        conn.reply(exc.status, str(exc))
        return
    common = (conn, parser, to, on_end, max_file, max_field, original_names)
    pool = conn.manager.pool if conn.manager is not None else None
    it = _PooledUpload(pool, *common) if pool is not None else _Upload(*common)
    conn.stream_body(it.on_data, it.on_end, max_total, it.on_abort)
