"""Server-sent events (WHATWG HTML 9.2): one answer that goes on, an event at a time."""

from __future__ import annotations

import re
import weakref
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any

from . import _core
from ._errors import MongooseError

if TYPE_CHECKING:
    from typing_extensions import Self

_LINE = re.compile(r"\r\n|\r|\n")  # 9.2.5: these three and no others end a line


def format_event(
    data: str | None,
    event: str | None = None,
    id: str | None = None,
    retry: float | None = None,
) -> str:
    """One event as it goes over the wire. Each line of data, however it ends, gets a field of its own.

    Raises:
        ValueError: a line end in event or id, a NUL in id (a browser would ignore the field), a negative retry.
    """
    lines = []
    if event is not None:
        if _LINE.search(event):
            raise ValueError(f"event must be one line, not {event!r}")
        lines.append(f"event: {event}")
    if id is not None:
        if _LINE.search(id) or "\0" in id:
            raise ValueError(f"id must be one line without NUL, not {id!r}")
        lines.append(f"id: {id}")
    if retry is not None:
        if retry < 0:
            raise ValueError(f"retry must be seconds >= 0, not {retry!r}")
        lines.append(f"retry: {int(retry * 1000)}")
    if data is not None:
        lines.extend(f"data: {line}" for line in _LINE.split(data))
    return "\n".join(lines) + "\n\n"


class EventStream:
    """An answer that is a stream of events; made by Connection.start_sse(). Any thread.

    It ends with close(), when the client goes away, and when the manager stops. A context manager that closes.
    """

    def __init__(self, body: _core.ResponseBody, watch: _Watch) -> None:
        self._body = body
        self._watch = watch
        self._closed = False

    def send(
        self,
        data: str | None,
        event: str | None = None,
        id: str | None = None,
        retry: float | None = None,
    ) -> None:
        """Send one event.

        Args:
            data: text of any number of lines; None: none, to set id or retry alone. A browser ignores an event without data.
            event: its type; None means "message".
            id: comes back as Last-Event-ID when the browser connects again.
            retry: seconds after which it does.

        Raises:
            ConnectionClosed: the client went away.
            MongooseError: the stream was closed.
            QueueFull: the client does not read, and Limits.send_max bytes are waiting.
            ValueError: a line end in event or id.
        """
        text = format_event(data, event, id, retry)
        if self._closed:
            raise MongooseError("this stream is closed already")
        self._body.write(text)

    def comment(self, text: str = "") -> None:
        """Send what every client ignores."""
        self._body.write("".join(f": {line}\n" for line in _LINE.split(text)) + "\n")

    @property
    def full(self) -> bool:
        """Limits.send_high bytes are waiting: pause until on_drain, or leave events out."""
        return self._body.full

    @property
    def closed(self) -> bool:
        """Ended by either side."""
        return self._closed or self._body.closed

    def close(self) -> None:
        """End the stream. A browser connects again, unless it is answered with 204 then. Idempotent."""
        self._closed = True
        self._watch.stop()
        self._body.end()

    def __del__(self) -> None:
        self.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class _Watch:
    """Heartbeat and end of one stream; does not keep it."""

    def __init__(self, on_close: Callable[[], object] | None) -> None:
        self.on_close = on_close
        self.timer: _core.Timer | None = None
        self.stream: weakref.ref[EventStream] | None = None

    def stop(self) -> None:
        if self.timer is not None:
            self.timer.cancel()

    def closed(self) -> None:
        self.stop()
        if self.on_close is not None:
            self.on_close()

    def beat(self) -> None:
        stream = self.stream() if self.stream is not None else None
        if stream is None or stream.closed:
            self.stop()
        elif not stream.full:
            stream.comment()


def start_sse(
    conn: _core.Connection,
    headers: Mapping[str, str] | Iterable[tuple[str, str]] | None = None,
    *,
    heartbeat: float = 15.0,
    retry: float | None = None,
    on_drain: Callable[[], object] | None = None,
    on_close: Callable[[], object] | None = None,
) -> EventStream:
    """Connection.start_sse()."""
    if heartbeat < 0:
        raise ValueError(f"heartbeat must be seconds >= 0, not {heartbeat!r}")
    given: list[tuple[str, Any]] = list(
        headers.items() if isinstance(headers, Mapping) else headers or ()
    )
    names = {name.lower() for name, _ in given}
    own = [
        ("Content-Type", "text/event-stream"),
        ("Cache-Control", "no-store"),
        ("X-Accel-Buffering", "no"),
    ]
    watch = _Watch(on_close)
    opening = (
        format_event(None, retry=retry) if retry is not None else ":\n\n"
    )  # tells the client that it is open
    body = conn.start_response(
        200,
        [*given, *(h for h in own if h[0].lower() not in names)],
        on_drain,
        compress=False,  # an event is to arrive when it was sent
        on_close=watch.closed,
    )
    stream = EventStream(body, watch)
    watch.stream = weakref.ref(stream)
    body.write(opening)
    manager = conn.manager
    if manager is not None:
        manager._event_streams.add(stream)
        if heartbeat > 0:
            watch.timer = manager.timer_add(heartbeat * 1000, watch.beat, repeat=True)
    return stream
