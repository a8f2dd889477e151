"""HttpRequest: one request from its first byte to the last of its response, over redirects and retries.

waiting for a wire --> asking --> head --> body --> over
    ^                    |          |
    '---- retry once ----'          '-- redirect: the same again with another target
"""

from __future__ import annotations

import contextlib
import time
import weakref
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from . import _core
from ._bodies import Body
from ._decoding import ACCEPT_ENCODING, Decoder, decoder_for
from ._errors import MongooseError, ProtocolError, TimedOut
from ._fields import basic
from ._response import BodyStream, HttpResponse
from ._urls import Target, join
from ._wires import TO_HEAD, Pool, Wire, typed

if TYPE_CHECKING:
    from ._client import Client

Then: TypeAlias = Callable[[HttpResponse], object]

MAX_BODY = 64 << 20  # bytes of a body that is collected, unless told otherwise
CONTINUE_WAIT = 1000  # ms for 100 Continue; a server that never heard of it gets the body then (RFC 9110 10.1.1)

_IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})  # RFC 9110 9.2.2
_SECRET = frozenset(
    {"authorization", "proxy-authorization", "cookie", "host"}
)  # for the origin they were given for
_OF_BODY = frozenset(
    {
        "content-type",
        "content-length",
        "content-encoding",
        "content-language",
        "content-location",
        "expect",
    }
)
_AGENT = f"pymongoose/{_core.build_info()['version']}"


class HttpRequest(Future[HttpResponse]):
    """A request under way, as a Future of its response. Made by Manager.request().

    ``result()`` gives the response or raises its ``error``; like every wait it belongs on another thread than the loop's. All methods may
    be called from any thread.
    """

    def __init__(
        self,
        client: Client,
        method: str,
        target: Target,
        headers: list[tuple[str, str]],
        body: Body,
        *,
        timeout: float | None,
        connect_timeout: float | None,
        read_timeout: float | None,
        follow_redirects: bool,
        allow_downgrade: bool,
        max_redirects: int,
        stream: bool,
        on_data: Callable[[bytes], object] | None,
        on_head: Then | None,
        then: Then | None,
        raw: bool,
        proxy: Target | None,
        tls: Any,
        max_body: int,
        idempotent: bool | None,
    ) -> None:
        super().__init__()
        self.connect_timeout = connect_timeout
        self.read_timeout = read_timeout
        self.deadline = None if timeout is None else time.monotonic() + timeout
        self.fresh = False
        self._client = client
        self._method = method
        self._target = target
        self._headers = headers
        self._body = body
        self._timeout = timeout
        self._redirects_left = max_redirects if follow_redirects else -1
        self._allow_downgrade = allow_downgrade
        self._stream = BodyStream(self.pause, self.resume) if stream else None
        self._on_data = on_data
        self._on_head = on_head
        self._raw = raw
        body.wake = self._more_body
        self._then = then
        self._proxy = proxy
        self._tls = tls
        self._max_body = max_body
        self._idempotent = idempotent
        self._response = HttpResponse(target.url)
        # A streamed response that nobody holds is given up; so once it was handed over, we do not hold it either.
        self._kept: HttpResponse | None = None
        self._handed: weakref.finalize[Any, HttpResponse] | None = None
        self._wire: Wire | None = None
        self._timer: _core.Timer | None = None
        self._continue_timer: _core.Timer | None = None
        self._decoder: Decoder | None = None
        self._retried = self._over = self._answered = False
        self._sent = False  # all of the request is queued
        self._begun = False  # its head is queued, and its body is not held back for 100 Continue
        self._left: int | None = (
            None  # bytes of the body that are promised and not queued; None: chunked
        )
        self._pool: Pool | None = None

    # -- any thread --

    def cancel(self) -> bool:
        """Give it up: its connection is closed, and ``then`` gets a response whose error is CancelledError.

        Returns:
            False when the response is there already.
        """
        if not super().cancel():
            return False
        with contextlib.suppress(RuntimeError):  # a manager that closes ends it, too
            self._client.mgr.call(self._end, CancelledError())
        return True

    def result(self, timeout: float | None = None) -> HttpResponse:
        """The response; waits for it at most timeout seconds.

        Raises:
            MongooseError: what ``error`` of the response says.
            concurrent.futures.TimeoutError, CancelledError: as for every Future.
            RuntimeError: called on the loop's thread, where it would wait for itself.
        """
        self._must_not_wait()
        response = super().result(timeout)
        if self._handed is None:
            return response
        kept, self._kept = self._kept, None
        if kept is None:
            kept = self._still_there()
        if kept is None:
            raise MongooseError("the response was dropped, and what was left of its body with it")
        return kept

    def _still_there(self) -> HttpResponse | None:
        alive = self._handed.peek() if self._handed is not None else None
        return alive[0] if alive is not None else None

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """The error or None; otherwise as result()."""
        self._must_not_wait()
        return super().exception(timeout)

    def pause(self) -> None:
        """Read nothing more of the response until resume(): on_data cannot take it."""
        if not self._client.mgr.closed:
            self._client.mgr.call(self._set_pause, True)

    def resume(self) -> None:
        """Go on after pause()."""
        if not self._client.mgr.closed:
            self._client.mgr.call(self._set_pause, False)

    @property
    def response(self) -> HttpResponse:
        """The response as far as it is there: in on_data its head."""
        return self._still_there() or self._response

    def __repr__(self) -> str:
        state = "done" if self.done() else "under way"
        return f"<HttpRequest {self._method} {self._target.url} {state}>"

    def _must_not_wait(self) -> None:
        if not self.done() and self._client.on_loop_thread():
            raise RuntimeError(
                "waiting for a response on the loop's thread would wait for ever: use then="
            )

    # -- the loop's thread from here on --

    def _set_pause(self, on: bool) -> None:
        if self._wire is None or self._over:
            return
        if on:
            self._wire.conn.pause_reading()
            return
        self._wire.conn.resume_reading()
        if self._begun and not self._sent:
            self._send_body()

    def begin(self) -> None:
        if self.cancelled() or self._over:
            self._end(CancelledError())
            return
        if self.deadline is not None:
            left = max(0.0, (self.deadline - time.monotonic()) * 1000)
            self._timer = self._client.mgr._timer_add(left, self._timed_out, False, False)
        self._ask(False)

    def _ask(self, fresh: bool) -> None:
        self.fresh = fresh
        self._begun = self._sent = False
        try:
            self._pool = self._client.pool(self._target, self._proxy, self._tls)
            self._pool.acquire(self)
        except Exception as exc:  # noqa: BLE001
            self._end(typed(exc))

    def on_connecting(self, wire: Wire) -> None:
        self._wire = wire

    def on_wire(self, wire: Wire) -> None:
        """A connection is ours: send the request."""
        self._wire = wire
        self._left = self._promised()
        try:
            head, whole = self._head(), self._body.whole
            self._expect(None)
            if self._expects_continue():
                wire.conn.send(head)
                wait = self._client.mgr._timer_add(CONTINUE_WAIT, self._send_body, False, False)
                self._continue_timer = wait
            elif whole is not None and self._left == len(whole):
                wire.conn.send(head + whole)
                self._request_sent()
            else:
                wire.conn.send(head)
                self._send_body()
        except Exception as exc:  # noqa: BLE001
            self._end(exc)

    def _expect(self, read_timeout: float | None) -> None:
        assert self._wire is not None
        what = TO_HEAD if self._method == "HEAD" else 0
        self._wire.expect(what, read_timeout, self._max_body or MAX_BODY)

    def _head(self) -> bytes:
        target = self._target
        plain_proxy = self._proxy is not None and target.scheme == "http"
        uri = target.url if plain_proxy else target.uri  # RFC 9112 3.2.2
        names = {name.lower() for name, _ in self._headers}
        lines = [f"{self._method} {uri} HTTP/1.1"]
        if "host" not in names:
            lines.append(f"Host: {target.authority}")
        lines += [f"{name}: {value}" for name, value in self._headers]
        for name, value in (
            ()
            if self._raw
            else (
                ("User-Agent", _AGENT),
                ("Accept", "*/*"),
                ("Accept-Encoding", ACCEPT_ENCODING),
            )
        ):
            if name.lower() not in names:
                lines.append(f"{name}: {value}")
        if plain_proxy and self._proxy is not None and (auth := basic(self._proxy)) is not None:
            lines.append(f"Proxy-Authorization: {auth}")
        if "content-length" not in names:
            if self._body.length is None:
                lines.append("Transfer-Encoding: chunked")
            elif self._body.length > 0 or self._method in ("POST", "PUT", "PATCH"):
                lines.append(f"Content-Length: {self._body.length}")
        return "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape")

    def _expects_continue(self) -> bool:
        return self._body.length != 0 and any(
            n.lower() == "expect" and v.lower() == "100-continue" for n, v in self._headers
        )

    def _promised(self) -> int | None:
        """Content-Length as it was sent, None when chunked."""
        for name, value in self._headers:
            if name.lower() == "content-length":
                return int(value)
        return self._body.length

    def _more_body(self) -> None:
        """A RequestBody has something again; it is told so on any thread."""
        if self._client.on_loop_thread():
            self._send_body()
        elif not self._client.mgr.closed:
            with contextlib.suppress(RuntimeError):  # it closes just now
                self._client.mgr.call(self._send_body)

    def _send_body(self) -> None:
        """As much as the connection takes; called again by on_drain."""
        self._stop_waiting()
        if self._wire is None or self._over or self._sent:
            return
        conn, self._begun = self._wire.conn, True
        try:
            while not conn.is_full:
                piece = self._body.next()
                if piece is None:
                    conn.on_drain = None
                    return
                if self._left is not None:
                    self._left -= len(piece)
                    if self._left < 0 or (not piece and self._left > 0):
                        raise ValueError(
                            f"body has not the {self._promised()} bytes that were announced"
                        )
                    if piece:
                        conn.send(piece)
                else:
                    conn.http_chunk(piece)
                if not piece:
                    conn.on_drain = None
                    self._request_sent()
                    return
        except Exception as exc:  # noqa: BLE001
            self._end(exc)
            return
        conn.on_drain = self._send_body

    def _request_sent(self) -> None:
        self._sent = True
        if self.read_timeout is not None:
            with contextlib.suppress(MongooseError):  # an answer is being read already
                self._expect(self.read_timeout)

    def _stop_waiting(self) -> None:
        if self._continue_timer is not None:
            self._continue_timer.cancel()
            self._continue_timer = None

    # -- the answer --

    def on_interim(self, status: int) -> None:
        if status == 100 and self._continue_timer is not None:
            self._send_body()

    def on_head(self, msg: _core.HttpMessage) -> None:
        """A final response. What of the body was held back for it is not sent any more; what was begun goes on, for servers that answer
        while they read."""
        self._stop_waiting()
        response, wire = self._response, self._wire
        response.status = msg.status() or 0
        if (self._stream is None and self._on_data is None) or wire is None:
            return
        if self._is_redirect(msg):  # its body is for nobody: collected, and followed
            return
        response._msg = msg
        if self._on_head is not None:
            try:
                self._on_head(response)
            except Exception as exc:  # noqa: BLE001
                self._end(exc)
            if self._over:
                return
        self._decoder = self._decoder_for(msg)
        wire.conn.stream_body(self._piece, self._stream_ended, self._max_body)
        if self._stream is not None:
            response._stream, response._on_close = self._stream, self._close_stream
            self._answer()
        else:
            response._body = b""

    def on_message(self, msg: _core.HttpMessage) -> None:
        response = self._response
        response._msg = msg
        if self._is_redirect(msg):
            self._follow(msg.header("Location", ""))
            return
        decoder = self._decoder_for(msg)
        try:
            if decoder is not None:
                response._body = b"".join(decoder.feed(msg.body_bytes))
                decoder.end()
        except Exception as exc:  # noqa: BLE001
            self._end(exc)
            return
        self._end(None)

    def _decoder_for(self, msg: _core.HttpMessage) -> Decoder | None:
        return None if self._raw else decoder_for(msg.header("Content-Encoding"), self._max_body)

    def _piece(self, data: bytes) -> None:
        try:
            for piece in self._decoder.feed(data) if self._decoder is not None else (data,):
                if self._stream is not None:
                    self._stream.put(piece)
                elif self._on_data is not None:
                    self._on_data(piece)
        except Exception as exc:  # noqa: BLE001
            self._end(exc)

    def _stream_ended(self) -> None:
        try:
            if self._decoder is not None:
                self._decoder.end()
        except Exception as exc:  # noqa: BLE001
            self._end(exc)
        else:
            self._end(None)

    def _close_stream(self) -> None:
        with contextlib.suppress(RuntimeError):
            self._client.mgr.call(self._end, CancelledError())

    # -- redirects --

    def _is_redirect(self, msg: _core.HttpMessage) -> bool:
        return (
            self._redirects_left >= 0
            and msg.status() in (301, 302, 303, 307, 308)
            and msg.header("Location") is not None
        )

    def _follow(self, location: str) -> None:
        """RFC 9110 15.4."""
        response, before = self._response, self._target
        try:
            if self._redirects_left == 0:
                raise ProtocolError(f"too many redirects, the last to {location}")
            try:
                target = join(before, location)
                auth = basic(target)
            except ValueError as exc:
                raise ProtocolError(f"redirect to nowhere: {exc}") from exc
            if before.scheme == "https" and target.scheme == "http" and not self._allow_downgrade:
                raise ProtocolError(
                    f"redirect from https to {target.url}: allow_downgrade=True would follow it"
                )
            method, body, headers = self._method, self._body, self._headers
            if (response.status == 303 and method != "HEAD") or (
                response.status in (301, 302) and method == "POST"
            ):
                body.close()
                method, body = "GET", Body(None)
                headers = [h for h in headers if h[0].lower() not in _OF_BODY]
            elif not body.rewind():
                raise MongooseError(f"redirect to {target.url}, but the body cannot be sent again")
            if target.origin != before.origin:
                headers = [h for h in headers if h[0].lower() not in _SECRET]
                if auth is not None:
                    headers.append(("Authorization", auth))
        except MongooseError as exc:
            self._end(exc)
            return
        self._redirects_left -= 1
        self._method, self._body, self._headers, self._target = method, body, headers, target
        history = (*response.history, (response.status, before.url))
        self._response = HttpResponse(target.url, history)
        self._retried = False
        self._let_go()
        self._ask(False)

    # -- ends --

    def on_fault(self, error: Exception, stale: bool) -> None:
        """The connection broke. One that was kept open may have been closed by the peer just as we asked."""
        self._wire = None
        self._stop_waiting()
        if (
            stale
            and not self._retried
            and not self._over
            and (self._method in _IDEMPOTENT if self._idempotent is None else self._idempotent)
            and self._body.rewind()
        ):
            self._retried = True
            self._ask(True)
            return
        self._end(error)

    def _timed_out(self) -> None:
        self._end(TimedOut(f"no complete response within {self._timeout} s"))

    def _let_go(self) -> None:
        wire, self._wire = self._wire, None
        if wire is not None:
            wire.conn.on_drain = None
            wire.release(self._sent)

    def _end(self, error: BaseException | None) -> None:
        """The one way out of every exchange; what comes later does nothing."""
        if self._over:
            return
        self._over = True
        self._body.close()
        self._stop_waiting()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if error is None:
            self._let_go()
        elif self._wire is not None:
            wire, self._wire = self._wire, None
            wire.close()
        elif self._pool is not None:
            self._pool.give_up(self)
        self._client.done(self)
        if self._stream is not None:
            self._stream.end(error)
        if not self._answered:
            self._response.error = error
            self._answer()

    def _answer(self) -> None:
        """Tell whoever asked: once."""
        self._answered = True
        then, self._then, response = self._then, None, self._response
        if not self.set_running_or_notify_cancel():
            response.error = CancelledError()
        elif response.error is not None:
            self.set_exception(response.error)
        elif self._stream is not None:
            self._handed = weakref.finalize(response, self._close_stream)
            self._handed.atexit = False
            self._kept, self._response = response, HttpResponse(response.url, response.history)
            self.set_result(cast("HttpResponse", None))  # result() knows better
            if then is not None:
                self._kept = None
        else:
            self.set_result(response)
        if then is not None:
            try:
                then(response)
            except Exception as exc:  # noqa: BLE001
                self._client.report(exc)
