"""Manager: the loop, its listeners and its clients."""

from __future__ import annotations

import inspect
import logging
import signal
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeAlias

from . import _core
from ._bodies import BodyLike
from ._client import Client, HeadersLike, HttpRequest, Then, make_request
from ._cors import Cors
from ._edge import Compression, edge
from ._limits import Deflate, Limits, WsLimits
from ._replies import Response, answer_with, dumps
from ._slow import SlowHandler, Watchdog
from ._sse import EventStream
from ._stats import PoolStats, Stats
from ._tls import TlsOpts
from ._urls import Params
from ._wires import ClientLimits
from .workers import WorkerPool

if TYPE_CHECKING:
    from typing_extensions import Self

    from .sinks import Pipeline

Handler: TypeAlias = Callable[[_core.Connection, int, Any], object]
ErrorHandler: TypeAlias = (
    Callable[[BaseException], object]
    | Callable[[_core.Connection | None, int, BaseException], object]
)

_making_client = threading.Lock()
log = logging.getLogger("pymongoose")

__all__ = ["ErrorHandler", "Handler", "Manager", "Response"]


class Manager(_core.ManagerBase):
    """An event loop with its connections.

    Args:
        handler: ``handler(conn, ev, data)`` for every connection that has none of its own. Events are ``MG_EV_*``; data depends on the
            event: HttpMessage for HTTP and MG_EV_WS_OPEN, WsMessage for MG_EV_WS_MSG and MG_EV_WS_CTL, str for MG_EV_ERROR, bytes for MG_EV_WAKEUP, else None.
        enable_wakeup: allow ``wakeup()``; on with a pool, too.
        error_handler: gets exceptions that leave handlers: ``(exc)`` or ``(conn, ev, exc)``. Default: the logger "pymongoose". The client
            gets 500 in either case.
        workers: threads for ``Connection.offload()``; 0: none.
        pool: a WorkerPool or any concurrent.futures.Executor to use instead.
        events: ``MG_EV_*`` to deliver besides the usual ones: MG_EV_POLL, MG_EV_READ and MG_EV_WRITE on HTTP connections,
            MG_EV_HTTP_HDRS for requests without a body.
        slow_handler: seconds; handlers that take longer are reported to on_slow with their Python stack.
        on_slow: called with a SlowHandler; default: a warning in the log.
        wakeup_limit: bytes of messages that may wait for the loop.
        deflate_budget: bytes that the windows of compressed WebSockets may take together. Connections beyond it are made without context
            takeover, and keep none.
        client: how many connections request() may hold.

    One thread polls; every other method may be called from any thread. A context manager that closes.

    Raises:
        OSError: the system has no descriptors for a loop.
    """

    def __init__(
        self,
        handler: Handler | None = None,
        enable_wakeup: bool = False,
        error_handler: ErrorHandler | None = None,
        *,
        workers: int = 0,
        pool: Executor | None = None,
        events: Iterable[int] = (),
        slow_handler: float = 0.0,
        on_slow: Callable[[SlowHandler], object] | None = None,
        wakeup_limit: int = 64 << 20,
        deflate_budget: int = 64 << 20,
        client: ClientLimits | None = None,
    ) -> None:
        super().__init__()
        if workers and pool is not None:
            raise ValueError("give workers or pool, not both")
        if workers < 0:
            raise ValueError(f"workers must be >= 0, not {workers!r}")
        if pool is not None and not callable(getattr(pool, "submit", None)):
            raise TypeError(f"pool must be an Executor, not {type(pool).__name__}")
        if not 0 <= deflate_budget < 1 << 63:
            raise ValueError(f"deflate_budget must be 0 or more bytes, not {deflate_budget!r}")
        report = _reporter(error_handler)
        self._init(handler, report, dumps, answer_with)
        self._report = report
        self._client_limits = client or ClientLimits()
        self._client: Client | None = None  # made by the first request: it refers to us
        self._event_streams: weakref.WeakSet[EventStream] = weakref.WeakSet()
        self._own_pool = WorkerPool(workers) if workers else None
        self._pool: Executor | None = self._own_pool or pool
        if enable_wakeup or self._pool is not None:
            self._enable_wakeup(wakeup_limit)
        if self._pool is not None:
            self._set_pool(self._pool)
        if deflate_budget != 64 << 20:
            self._deflate_budget(deflate_budget)
        if events := tuple(events):
            self._set_events(sum({1 << ev for ev in events}))
        self._watchdog = Watchdog(self, slow_handler, on_slow) if slow_handler > 0 else None
        if self._watchdog is not None:
            self._set_slow(slow_handler, self._watchdog.report)

    # -- turns --

    def poll(self, timeout_ms: int = 0) -> None:
        """One turn of the loop: wait at most timeout_ms milliseconds (-1: until something happens), handle it, write the output.

        Python's lock is free while it waits and writes. A signal ends the wait at once.

        Raises:
            RuntimeError: the manager is closed, or another thread is in poll() or run() ("not reentrant").
            KeyboardInterrupt, SystemExit: raised by a handler or by Ctrl-C.
        """
        self._poll(timeout_ms)

    def run(self, poll_ms: int = -1, *, drain_timeout: float = 5.0) -> None:
        """Poll until SIGINT, SIGTERM or stop(), then finish what is under way and close.

        Stopping accepts no more connections, closes idle ones at once and gives the others drain_timeout seconds. Earlier signal
        handlers are restored. On another thread than the main one, stop() is the only way to end it.

        Args:
            poll_ms: longest wait of one turn; there is no reason to change it.
            drain_timeout: seconds.
        """
        if self.closed:
            raise RuntimeError("manager is closed")
        if self._polling:
            raise RuntimeError("run() is not reentrant: the manager is being polled already")
        previous: dict[int, Any] = {}
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                previous[number] = signal.signal(number, lambda *_: self.stop())
        try:
            self._run(poll_ms)
            self._finish(drain_timeout)
        finally:
            for caught, handler in previous.items():
                signal.signal(caught, handler if handler is not None else signal.SIG_DFL)
            self.close()

    def _finish(self, timeout: float) -> None:
        end = time.monotonic() + timeout
        if self._event_streams:
            self._poll(0)  # what was sent on them before
        for stream in list(self._event_streams):
            stream.close()
        while self._drain() and (left := end - time.monotonic()) > 0:
            self._poll(max(1, min(50, int(left * 1000))))
        self._poll(0)

    def close(self) -> None:
        """Close every connection and free the loop. Idempotent.

        Raises:
            RuntimeError: a poll is active, in this thread or another.
        """
        try:
            self._close()
        finally:
            if self.closed:
                if self._client is not None:
                    self._client.close()
                if self._watchdog is not None:
                    self._watchdog.stop()
                if self._own_pool is not None:
                    self._own_pool.shutdown(wait=False, cancel_futures=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # -- connections --

    def listen(
        self,
        url: str,
        handler: Handler | None = None,
        *,
        http: bool | None = None,
        limits: Limits | None = None,
        backlog: int = 0,
        reuseport: bool = False,
        ipv6_only: bool = False,
        unix_mode: int = 0,
        compress: Compression | bool = False,
        proxy_protocol: Sequence[str] = (),
        trusted_proxies: Sequence[str] = (),
        trusted_headers: Sequence[str] = ("x-forwarded-for", "x-forwarded-proto"),
        tls: TlsOpts | None = None,
        cors: Cors | None = None,
        access_log: Pipeline | None = None,
    ) -> _core.Connection:
        """Listen on ``http://127.0.0.1:8000``, ``tcp://[::1]:0``, ``udp://``, ``unix:///path``, ``http+unix:///path`` or ``fd://3``.

        Args:
            url: port 0 takes a free one; read it from ``local_addr[1]``. The address written there is bound, and without one
                (``http://:8000``, as ``http://0.0.0.0:8000``) every IPv4 address of the machine: name 127.0.0.1 for this machine only.
            handler: for this listener and the connections it accepts; default: the manager's.
            http: speak HTTP; default: by the scheme.
            limits: default: Limits().
            backlog: connections the system holds until they are accepted, 0: 4096 or the system's maximum.
            reuseport: share the port with other processes (SO_REUSEPORT).
            ipv6_only: do not take IPv4 on ``[::]``.
            unix_mode: permission bits of a Unix socket, 0: by umask.
            compress: compress answers for clients that ask for it: a Compression, or True for its defaults.
            proxy_protocol: networks, as ``["127.0.0.1/32", "10.0.0.0/8", "unix"]``, whose connections must begin with a PROXY header,
                version 1 or 2. ``remote_addr`` is then the client it names, ``peer_addr`` the proxy. ``"unix"``: every peer of a
                Unix socket.
            trusted_proxies: networks of proxies whose word on the client is taken: ``client_addr``, ``scheme`` and ``host`` of a message.
            trusted_headers: the fields which all of those proxies set, replacing or extending what the client sent: of
                ``x-forwarded-for``, ``x-forwarded-proto`` and ``x-forwarded-host``, or ``forwarded`` (RFC 7239) alone. Name none that
                they let through: a client could write it.
            tls: certificate and key for ``https://``, ``wss://``, ``mqtts://`` or ``tls://``. Without it, each connection of such a listener
                needs a ``tls_init()`` in the handler of MG_EV_ACCEPT.
            access_log: tells this pipeline of every request when its answer is complete. The records are made in C, whoever answers, and cost the loop
                less than a microsecond; what its queue does not take is counted there, and never waited for. The pipeline is not started here.
            cors: which other sites' scripts may read the answers; preflights are answered before the handler.

        Raises:
            ValueError: bad URL, bad port, unknown scheme; a malformed network; a coding that is not part of this build.
            AddressInUse: the address is busy.
            TlsError: TLS is not part of this build, or something is wrong with certificate or key.
            MongooseError: the system refused.
        """
        if cors is not None:
            own = handler
            handler = cors.wrap(lambda: own if own is not None else self.handler)
        front = edge(compress, proxy_protocol, trusted_proxies, trusted_headers, access_log)
        return self._listen(
            url, handler, http, limits, backlog, reuseport, ipv6_only, unix_mode, front, tls
        )

    def connect(
        self,
        url: str,
        handler: Handler | None = None,
        *,
        http: bool | None = None,
        limits: Limits | None = None,
        tls: TlsOpts | None = None,
    ) -> _core.Connection:
        """Connect to an address, a host name or a Unix path; returns at once.

        Names are looked up by the system's resolver on a helper thread, and all their addresses are tried, within
        ``limits.connect_timeout``. MG_EV_CONNECT follows, or MG_EV_ERROR and MG_EV_CLOSE; with TLS, MG_EV_TLS_HS after that. What is sent
        before waits for it. Wrong URLs raise as in listen().

        Args:
            url: ``https://``, ``wss://``, ``mqtts://`` and ``tls://`` speak TLS and verify the server by the system's authorities and the
                URL's host.
            handler: default: the manager's.
            http: speak HTTP; default: by the scheme.
            limits: default: Limits().
            tls: other authorities, a name to verify instead of the URL's host, a certificate of our own.
        """
        return self._connect(url, handler, http, limits, tls)

    def request(
        self,
        method: str,
        url: str,
        *,
        headers: HeadersLike | None = None,
        body: BodyLike = None,
        json: Any = None,
        params: Params | None = None,
        auth: tuple[str, str] | None = None,
        timeout: float | None = 10.0,
        connect_timeout: float | None = None,
        read_timeout: float | None = None,
        follow_redirects: bool = True,
        allow_downgrade: bool = False,
        max_redirects: int = 10,
        stream: bool = False,
        on_data: Callable[[bytes], object] | None = None,
        on_head: Then | None = None,
        then: Then | None = None,
        proxy: str | None = None,
        tls: TlsOpts | None = None,
        unix: str | None = None,
        max_body: int | None = None,
        idempotent: bool | None = None,
        raw: bool = False,
    ) -> HttpRequest:
        """Ask an HTTP server; returns at once. Any thread.

        Connections are kept open and used again, for each origin (``Manager(client=ClientLimits(...))``). An idempotent request whose kept
        connection turns out to be closed is repeated once on a new one.

        Args:
            method: ``"GET"`` and so on, as it is sent.
            url: ``http://``, ``https://`` or ``http+unix://%2Fpath%2Fof%2Fsocket/uri``. User and password in it are sent as basic auth.
            headers: a mapping or pairs; repeated names are kept.
            body: str (UTF-8), bytes-like, a binary file, an iterable of pieces, or a callable that returns one piece after the other and
                b"" at the end: read on the loop thread as fast as the peer takes it; chunked when its length is not known. Or a RequestBody,
                to be written as it comes.
            json: sent as JSON instead of body.
            params: added to the URL's query, encoded.
            auth: ``(user, password)`` for basic auth (RFC 7617).
            timeout: seconds for all of it, from now to the last byte, redirects too; None: no bound.
            connect_timeout: seconds for name and connection.
            read_timeout: seconds without a byte from the server, once the request is sent.
            follow_redirects: as RFC 9110 15.4 says; Authorization and Cookie stay with the origin they were given for.
            allow_downgrade: follow redirects from https to http, too.
            max_redirects: beyond, ProtocolError.
            stream: the response is there with its head, and its body is read by ``for piece in response`` on another thread.
            on_data: gets the body in pieces (bytes, decoded) on the loop thread; ``pause()`` and ``resume()`` of the request control
                the flow.
            on_head: with on_data: ``on_head(response)`` on the loop thread when the head is there, before any of the body.
            then: ``then(response)`` on the loop thread, exactly once, whether it succeeded or failed.
            proxy: ``http://user:password@host:port``; for https through a tunnel (CONNECT).
            tls: TlsOpts; the peer's certificate is verified unless they say otherwise.
            unix: path of a Unix socket to connect to instead of the URL's host.
            max_body: bytes of the decoded body; default 64 MiB when it is collected, no bound with stream and on_data.
            idempotent: whether the server may get it twice; default: by the method (RFC 9110 9.2.2). True fits a POST that carries a key
                by which the server knows it again.
            raw: for what passes messages on: no header field is added but Host and what frames the body, and the response's body comes as
                it was sent, in its Content-Encoding.

        Returns:
            HttpRequest: ``cancel()``, and a concurrent.futures.Future of the HttpResponse.

        Raises:
            TypeError, ValueError: a wrong argument.
            TlsError: https, and TLS is not part of this build.
            RuntimeError: the manager is closed. All that happens later is the response's ``error``.
        """
        with _making_client:
            if self._client is None:
                self._client = Client(self, self._client_limits, self._report)
        request = make_request(
            self._client,
            method,
            url,
            headers=headers,
            body=body,
            json=json,
            params=params,
            auth=auth,
            timeout=timeout,
            connect_timeout=connect_timeout,
            read_timeout=read_timeout,
            follow_redirects=follow_redirects,
            allow_downgrade=allow_downgrade,
            max_redirects=max_redirects,
            stream=stream,
            on_data=on_data,
            on_head=on_head,
            then=then,
            proxy=proxy,
            tls=tls,
            unix=unix,
            max_body=max_body,
            idempotent=idempotent,
            raw=raw,
        )
        self._client.start(request)
        return request

    def ws_connect(
        self,
        url: str,
        handler: Handler | None = None,
        *,
        protocols: Sequence[str] = (),
        headers: Mapping[str, str] | Iterable[tuple[str, str]] | None = None,
        compress: bool | Deflate = False,
        limits: WsLimits | None = None,
        tls: TlsOpts | None = None,
    ) -> _core.Connection:
        """Connect to a WebSocket server, ``ws://host:port/path?query`` (RFC 6455 4.1); returns at once.

        MG_EV_WS_OPEN with the server's answer follows, or MG_EV_ERROR and MG_EV_CLOSE when it refuses. Send from MG_EV_WS_OPEN on.

        Args:
            url: ``ws://``, ``wss://`` or ``ws+unix://``.
            handler: default: the manager's.
            protocols: subprotocols to offer, the best first; ``Connection.ws_protocol`` is the one the server chose.
            headers: further header lines for the request, such as Origin or Authorization.
            compress: offer permessage-deflate (RFC 7692).
            limits: default: WsLimits().
            tls: for ``wss://``, as in connect().

        Raises:
            ValueError: bad URL, malformed header or protocol.
            TlsError: TLS is not part of this build.
        """
        return self._ws_connect(url, handler, protocols, headers, compress, limits, tls)

    def broadcast(
        self,
        group: str,
        data: _core._Data | _core.WsMessage,
        op: int | None = None,
        *,
        exclude: _core.Connection | None = None,
    ) -> int:
        """Send a text or binary message to all members of a group (see ``Connection.join``), framed and compressed once for all alike.

        Args:
            group: its name; one without members is reached 0 times.
            data: as for ``Connection.ws_send``.
            op: WEBSOCKET_OP_TEXT (the default) or WEBSOCKET_OP_BINARY.
            exclude: a member that is left out.

        Returns:
            int: how many members it was queued for. Those with more than ``WsLimits.max_backlog`` bytes unsent are not among them: they
            are closed, or miss it, by ``WsLimits.slow``.

        Any thread; another one than the loop's waits for it.

        Raises:
            ValueError: text that is not UTF-8, another op, an empty name.
            RuntimeError: the manager is closed.
        """
        return self._broadcast(group, data, op, exclude)

    def members(self, group: str) -> int:
        """How many connections are members of a group. Any thread; another one than the loop's waits for it."""
        return self._members(group)

    def wrap_fd(self, fd: int, handler: Handler | None = None) -> _core.Connection:
        """Adopt an open socket, connected or listening; the manager closes it from then on."""
        return self._wrap_fd(fd, handler)

    def timer_add(
        self,
        ms: float,
        callback: Callable[[], object],
        *,
        repeat: bool = False,
        run_now: bool = False,
    ) -> _core.Timer:
        """Call callback() after ms milliseconds, and again and again with repeat. run_now: the first time in the next turn.

        Exceptions go to the error handler and the timer lives on. Any thread.
        """
        return self._timer_add(ms, callback, repeat, run_now)

    @property
    def pool(self) -> Executor | None:
        """What offload() runs on."""
        return self._pool

    def stats(self) -> Stats:
        """Counters since the manager was made. Any thread; cheap."""
        pool: PoolStats | None = self._pool.stats() if isinstance(self._pool, WorkerPool) else None
        return Stats(**self._stats(), pool=pool)

    def __repr__(self) -> str:
        return (
            "<Manager closed>"
            if self.closed
            else f"<Manager {self._stats()['connections']} connections>"
        )


def _reporter(
    handler: ErrorHandler | None,
) -> Callable[[_core.Connection | None, int, BaseException], object]:
    """Where exceptions of handlers go: the user's function in either of its forms, or the log."""
    if handler is None:
        return _log_error
    if not callable(handler):
        raise TypeError(f"error_handler must be callable or None, not {type(handler).__name__}")
    if _takes_three(handler):
        return handler  # type: ignore[return-value]
    one: Callable[[BaseException], object] = handler  # type: ignore[assignment]
    return lambda conn, ev, exc: one(exc)


def _takes_three(fn: Callable[..., object]) -> bool:
    try:
        inspect.signature(fn).bind(None, 0, None)
    except TypeError:
        return False
    except ValueError:  # a builtin without a signature
        return False
    try:
        inspect.signature(fn).bind(None)
    except TypeError:
        return True
    return False  # takes one as well as three: (*args), a Mock; the classic form wins


def _log_error(conn: _core.Connection | None, ev: int, exc: BaseException) -> None:
    log.error("exception in handler of %s (%r)", _core.event_name(ev), conn, exc_info=exc)
