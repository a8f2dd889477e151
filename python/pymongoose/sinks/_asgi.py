"""ASGI middleware: one event per request, and its fields on every event that is emitted while it is served.

Works in any ASGI 3 application (FastAPI, Starlette, Django, …) under any ASGI server. Pure ASGI: streams and background tasks pass
through untouched, and nothing is buffered.
"""

from __future__ import annotations

import contextlib
import re
import secrets
import time
import traceback
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from ._context import bind, unbind
from ._trace import TraceParent

if TYPE_CHECKING:
    from ._pipeline import Pipeline

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._:@=+/-]{1,128}")


class LogMiddleware:
    """``app.add_middleware(LogMiddleware, pipeline=log)``.

    Each request has a ``request_id`` (the client's ``X-Request-ID`` where it is well-formed, else a new one; it goes into the answer, too), a
    ``trace_id`` and a ``span_id`` (from ``traceparent``, else a new trace). They are bound while it is served: whatever is emitted meanwhile, in
    tasks and in threads of ``asyncio.to_thread`` too, carries them. Afterwards one event tells ``method``, ``path``, ``status``, ``duration_ms``, ``bytes_out``
    and ``client``: level info, warning from 400 on, error from 500 on and for an exception, which also comes as ``exception`` and is raised on.
    A client that left before its answer was complete has ``status`` 499. WebSockets are told when they end, with ``status`` being their close code.

    Args:
        app: the application.
        pipeline: where to; started by whoever made it, or, with ``manage=True``, with the application (lifespan).
        message: of the event.
        skip: paths that are not told, exactly or, with a ``*`` at their end, by their beginning; their requests still carry the fields.
        sample: share of the requests below 400 that are told.
        headers: names of request headers to tell, as ``header_<name>``; those of ``redact`` as ``"[redacted]"``.
        redact: headers whose values are never written down.
        trust_request_id: take the client's X-Request-ID.
        manage: start and stop the pipeline with the application.
    """

    def __init__(
        self,
        app: App,
        *,
        pipeline: Pipeline,
        message: str = "request",
        skip: Iterable[str] = (),
        sample: float = 1.0,
        headers: Iterable[str] = (),
        redact: Iterable[str] = ("authorization", "cookie", "proxy-authorization", "x-api-key"),
        trust_request_id: bool = True,
        manage: bool = False,
    ) -> None:
        if not 0.0 <= sample <= 1.0:
            raise ValueError(f"sample must be between 0 and 1, not {sample!r}")
        self.app, self.pipeline, self._message = app, pipeline, message
        skipped = list(skip)
        self._skip = frozenset(p for p in skipped if not p.endswith("*"))
        self._skip_under = tuple(p[:-1] for p in skipped if p.endswith("*"))
        self._sample = sample
        self._headers = [(n.lower().encode("latin-1"), _field(n)) for n in headers]
        self._redact = frozenset(n.lower().encode("latin-1") for n in redact)
        self._trust = trust_request_id
        self._manage = manage

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if kind == "lifespan" and self._manage:
            await self._lifespan(scope, receive, send)
        elif kind in ("http", "websocket"):
            await self._serve(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        import asyncio

        self.pipeline.start()
        try:
            await self.app(scope, receive, send)
        finally:
            await asyncio.get_running_loop().run_in_executor(None, self.pipeline.stop)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = dict(reversed(scope["headers"]))  # of a repeated header, the first
        parent = TraceParent.parse(found.get(b"traceparent", b"").decode("latin-1"))
        span = parent.child() if parent else TraceParent.new()
        request_id = found.get(b"x-request-id", b"").decode("latin-1") if self._trust else ""
        if not _REQUEST_ID.fullmatch(request_id):
            request_id = secrets.token_hex(8)
        served = _Served(scope, send, request_id)
        token = bind(request_id=request_id, trace_id=span.trace_id, span_id=span.span_id)
        try:
            await self.app(scope, served.receiving(receive), served.send)
        except BaseException as e:
            served.failed(e)
            raise
        finally:
            try:
                if self._wanted(scope["path"], served):
                    self._tell(scope, served, found, parent)
            finally:
                with contextlib.suppress(ValueError):  # ended in another context: not bound there
                    unbind(token)

    def _wanted(self, path: str, served: _Served) -> bool:
        if served.is_bad:
            return True
        if path in self._skip or (self._skip_under and path.startswith(self._skip_under)):
            return False
        return self._sample >= 1.0 or secrets.randbelow(1 << 32) < self._sample * (1 << 32)

    def _tell(
        self,
        scope: Scope,
        served: _Served,
        found: dict[bytes, bytes],
        parent: TraceParent | None,
    ) -> None:
        fields: dict[str, Any] = {
            "method": scope.get("method", "WEBSOCKET"),
            "path": scope["path"],
            "status": served.status,
            "duration_ms": round((time.perf_counter() - served.began) * 1000, 3),
            "bytes_out": served.bytes_out,
        }
        if scope.get("query_string"):
            fields["query"] = scope["query_string"].decode("latin-1")
        if scope.get("client"):
            fields["client"] = scope["client"][0]
        if parent is not None:
            fields["parent_id"] = parent.span_id
        if self._sample < 1.0 and not served.is_bad:
            fields["sample_rate"] = self._sample
        for name, field in self._headers:
            if name in found:
                hidden = name in self._redact
                fields[field] = "[redacted]" if hidden else found[name].decode("latin-1")
        if served.exception:
            fields["exception"] = served.exception
        self.pipeline.emit(self._message, level=served.level, **fields)


def _field(header: str) -> str:
    return "header_" + header.lower().replace("-", "_")


class _Served:
    """What became of one request."""

    def __init__(self, scope: Scope, send: Send, request_id: str) -> None:
        self.began = time.perf_counter()
        self.status = 0
        self.bytes_out = 0
        self.exception = ""
        self._websocket = scope["type"] == "websocket"
        self._send, self._id = send, request_id.encode("latin-1")
        self._complete = self._gone = False

    @property
    def is_bad(self) -> bool:
        return bool(self.exception) or (self.status >= 500 and not self._websocket)

    @property
    def level(self) -> str:
        if self.is_bad:
            return "error"
        return "warning" if self.status >= 400 and not self._websocket else "info"

    def failed(self, exc: BaseException) -> None:
        cancelled = type(exc).__name__ == "CancelledError"
        if cancelled:
            self.status = self.status if self._complete else 499
        elif isinstance(exc, Exception):
            self.exception = "".join(traceback.format_exception(exc)).rstrip()
            self.status = self.status or 500  # what the server will say

    def receiving(self, receive: Receive) -> Receive:
        async def wrapped() -> Message:
            message = await receive()
            kind = message["type"]
            if kind == "http.disconnect" and not self._complete:
                self._gone, self.status = True, 499
            elif kind == "websocket.disconnect":
                self.status = message.get("code", 1005)
            return message

        return wrapped

    async def send(self, message: Message) -> None:
        kind = message["type"]
        if kind in ("http.response.start", "websocket.http.response.start"):
            self.status = 499 if self._gone else message["status"]
            headers = [
                (n, v) for n, v in message.get("headers", ()) if n.lower() != b"x-request-id"
            ]
            message = {**message, "headers": [*headers, (b"x-request-id", self._id)]}
        elif kind in ("http.response.body", "websocket.http.response.body"):
            self.bytes_out += len(message.get("body", b""))
            self._complete = not message.get("more_body", False)
        elif kind == "http.response.zerocopysend":
            self.bytes_out += message.get("count") or 0
            self._complete = not message.get("more_body", False)
        elif kind == "http.response.pathsend":  # the server sends the file, however large
            self._complete = True
        elif kind == "websocket.send":
            self.bytes_out += len(message.get("bytes") or (message.get("text") or "").encode())
        elif kind == "websocket.close":
            self.status = message.get("code", 1000)
        await self._send(message)
