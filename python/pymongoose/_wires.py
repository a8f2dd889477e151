"""Connections of the asking side, kept open and used again: one pool for each origin.

Everything in here runs on the loop thread.
"""

from __future__ import annotations

import contextlib
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from . import _core
from ._errors import ConnectionClosed, MongooseError, ProtocolError, QueueFull, from_status
from ._limits import Limits
from ._tls import TlsOpts

if TYPE_CHECKING:
    from ._manager import Manager

_VERIFIED = TlsOpts()  # by the system's authorities

TO_HEAD, TO_CONNECT, INTERIM = 1, 2, 4  # enum mg_http_expect


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientLimits:
    """How many connections Manager.request() may hold, and for how long."""

    max_per_origin: int = 16
    """Open at once to one origin; further requests wait for their turn."""
    max_idle: int = 64
    """Open without a request, over all origins; beyond, the one idle for longest is closed."""
    idle_timeout: float = 30.0
    """Seconds a connection is kept without a request. Shorter than what servers allow, so that ours is the one who hangs up."""
    max_waiting: int = 10_000
    """Requests of one origin waiting for a connection; beyond: QueueFull."""

    def __post_init__(self) -> None:
        for name in ("max_per_origin", "max_waiting"):
            if not isinstance(getattr(self, name), int) or getattr(self, name) < 1:
                raise ValueError(f"{name} must be an int >= 1, not {getattr(self, name)!r}")
        if self.max_idle < 0 or self.idle_timeout < 0:
            raise ValueError("max_idle and idle_timeout must be >= 0")


class Route(NamedTuple):
    """What two requests must have in common to share a connection."""

    scheme: str
    host: str
    port: int
    unix: str | None
    tls: TlsOpts | None
    proxy: tuple[str, int] | None
    proxy_auth: str | None

    @property
    def connect_url(self) -> str:
        if self.unix is not None:
            return f"http+unix://{self.unix}"
        host, port = self.proxy or (self.host, self.port)
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    @property
    def tunnel(self) -> bool:
        """Through the proxy with CONNECT: it may know whom we talk to, not what about."""
        return self.proxy is not None and self.scheme == "https"


class User(Protocol):
    """Who uses a wire: one request at a time."""

    connect_timeout: float | None
    read_timeout: float | None
    deadline: float | None
    fresh: bool  # wants a connection that nobody used before

    def on_connecting(self, wire: Wire) -> None: ...
    def on_wire(self, wire: Wire) -> None: ...
    def on_interim(self, status: int) -> None: ...
    def on_head(self, msg: _core.HttpMessage) -> None: ...
    def on_message(self, msg: _core.HttpMessage) -> None: ...
    def on_fault(self, error: Exception, stale: bool) -> None: ...


class Wire:
    """One connection and the request that is on it."""

    def __init__(self, pool: Pool, user: User) -> None:
        self.pool = pool
        self.user: User | None = user
        self.used = 0  # requests begun on it
        self.heard = False  # something of the current answer came
        self.idle_since = 0.0
        self.closed = False
        self._tunnelling = False
        timeout = user.connect_timeout
        if timeout is None and user.deadline is not None:
            timeout = max(0.001, user.deadline - time.monotonic())
        limits = Limits(
            max_headers=100,
            max_head=64 << 10,
            connect_timeout=10.0 if timeout is None else timeout,
            tls_timeout=10.0 if timeout is None else timeout,
            send_high=256 << 10,
            send_low=64 << 10,
        )
        user.on_connecting(self)
        pool.open.add(self)  # before: a connect that fails at once says so before it returns
        try:
            self.conn = pool.wires.mgr._connect(
                pool.route.connect_url, self._on_event, True, limits, None
            )
        except BaseException:
            self.closed = True
            pool.open.discard(self)
            raise

    def expect(self, what: int, read_timeout: float | None, max_body: int) -> None:
        ms = 0 if read_timeout is None else max(1, int(read_timeout * 1000))
        self.conn._http_expect(what | INTERIM, ms, max_body)

    def close(self) -> None:
        """For good, whatever is on it."""
        if not self.closed:
            self.closed = True
            self.user = None
            self.conn.close()
            self.pool.gone(self)

    def release(self, reusable: bool) -> None:
        """The request is done with it."""
        self.user = None
        if reusable and not self.closed and self.conn._http_reusable():
            self.pool.free(self)
        else:
            self.close()

    def start(self, user: User) -> None:
        self.user = user
        self.used += 1
        self.heard = False
        user.on_wire(self)

    # -- events --

    def _on_event(self, conn: _core.Connection, ev: int, data: Any) -> None:
        try:
            self._tell(conn, ev, data)
        except Exception as exc:  # whatever it is, the request is not left without an end
            self._fault(MongooseError(f"{type(exc).__name__}: {exc}"))
            raise

    def _tell(self, conn: _core.Connection, ev: int, data: Any) -> None:
        user, self.conn = self.user, conn
        if ev == _core.MG_EV_HTTP_HDRS:
            self._head(user, data)
        elif ev == _core.MG_EV_HTTP_MSG:
            if user is None:
                self.close()
            elif self._tunnelling:
                self._tunnelled(data)
            else:
                user.on_message(data)
        elif ev == _core.MG_EV_CONNECT:
            self._connected()
        elif ev == _core.MG_EV_TLS_HS:
            if user is not None:
                self.start(user)
        elif ev == _core.MG_EV_ERROR:
            self._fault(from_status(conn._status, str(data), conn.id))
        elif ev == _core.MG_EV_CLOSE:
            self._fault(ConnectionClosed("connection closed"))

    def _head(self, user: User | None, msg: _core.HttpMessage) -> None:
        if user is None:  # what nobody asked for: the two sides do not agree about whose turn it is
            self.close()
            return
        self.heard = True
        if self._tunnelling:
            return
        status = msg.status() or 0
        if 100 <= status < 200:
            if status == 101:
                self._fault(ProtocolError("101 Switching Protocols, which was not asked for"))
            else:
                user.on_interim(status)
        else:
            user.on_head(msg)

    def _fault(self, error: Exception) -> None:
        user = self.user
        stale = self.used > 1 and not self.heard and self.conn.recv_len == 0
        self.close()
        if user is not None:
            user.on_fault(error, stale)

    def _connected(self) -> None:
        route = self.pool.route
        if self.user is None:
            self.close()
        elif route.tunnel:
            self._tunnelling = True
            address = (
                f"[{route.host}]:{route.port}"
                if ":" in route.host
                else f"{route.host}:{route.port}"
            )
            auth = f"Proxy-Authorization: {route.proxy_auth}\r\n" if route.proxy_auth else ""
            self.conn.send(f"CONNECT {address} HTTP/1.1\r\nHost: {address}\r\n{auth}\r\n")
            self.expect(TO_CONNECT, self.user.read_timeout, 64 << 10)
        elif route.scheme == "https":
            self._secure()
        else:
            self.start(self.user)

    def _tunnelled(self, msg: _core.HttpMessage) -> None:
        status = msg.status() or 0
        if 200 <= status < 300:
            self._tunnelling = False
            self.pool.wires.mgr.call(self._secure)  # when the proxy's answer is out of the way
        else:
            self._fault(ConnectionClosed(f"the proxy refused the tunnel: {status} {msg.proto}"))

    def _secure(self) -> None:
        """TLS over what is connected; MG_EV_TLS_HS comes when the peer has proved who it is."""
        if self.closed:
            return
        route = self.pool.route
        try:
            self.conn.tls_init(route.tls or _VERIFIED, route.host)
        except (MongooseError, TypeError) as exc:
            self._fault(exc)


class Pool:
    """The wires of one route."""

    def __init__(self, wires: Wires, route: Route) -> None:
        self.wires = wires
        self.route = route
        self.open: set[Wire] = set()
        self.idle: list[Wire] = []
        self.waiting: deque[User] = deque()
        self._filling = False

    def acquire(self, user: User) -> None:
        """Start user on a wire, now or later. Raises QueueFull, or what connecting raises."""
        while self.idle and not user.fresh:
            wire = self.idle.pop()
            self.wires.idle -= 1
            if wire.conn._http_reusable():
                wire.start(user)
                return
            wire.close()
        if user.fresh and self.idle and len(self.open) >= self.wires.limits.max_per_origin:
            self.idle[0].close()  # it may be as dead as the last
        if len(self.open) < self.wires.limits.max_per_origin:
            Wire(self, user)
        elif len(self.waiting) >= self.wires.limits.max_waiting:
            raise QueueFull(
                f"{len(self.waiting)} requests wait for a connection to {self.route.connect_url}"
            )
        else:
            self.waiting.append(user)

    def give_up(self, user: User) -> None:
        """It waits no longer."""
        with contextlib.suppress(ValueError):
            self.waiting.remove(user)

    def free(self, wire: Wire) -> None:
        if self.waiting and self.waiting[0].fresh:
            wire.close()  # which makes room for a new one
            return
        if self.waiting:
            wire.start(self.waiting.popleft())
            return
        wire.idle_since = time.monotonic()
        self.idle.append(wire)
        self.wires.idle += 1
        self.wires.watch_idle()

    def gone(self, wire: Wire) -> None:
        self.open.discard(wire)
        if wire in self.idle:
            self.idle.remove(wire)
            self.wires.idle -= 1
        if self._filling:  # the one below goes on: connects may fail at once, one after the other
            return
        self._filling = True
        while self.waiting and len(self.open) < self.wires.limits.max_per_origin:
            user = self.waiting.popleft()
            try:
                Wire(self, user)
            except Exception as exc:  # noqa: BLE001
                user.on_fault(typed(exc), False)
        self._filling = False
        if not self.open and not self.waiting:
            self.wires.forget(self)


class Wires:
    """All pools of a manager."""

    def __init__(self, mgr: Manager, limits: ClientLimits) -> None:
        self.mgr = mgr
        self.limits = limits
        self.idle = 0  # wires without a request, in all pools
        self._pools: dict[Route, Pool] = {}
        self._timer: _core.Timer | None = None

    def pool(self, route: Route) -> Pool:
        found = self._pools.get(route)
        if found is None:
            found = self._pools[route] = Pool(self, route)
        return found

    def forget(self, pool: Pool) -> None:
        if self._pools.get(pool.route) is pool:
            del self._pools[pool.route]

    def _idle(self) -> list[Wire]:
        """The one idle for longest first."""
        return sorted(
            (w for pool in self._pools.values() for w in pool.idle), key=lambda w: w.idle_since
        )

    def watch_idle(self) -> None:
        if self.idle > self.limits.max_idle:
            self._idle()[0].close()
        if self._timer is None:
            every = max(50.0, min(1000.0, self.limits.idle_timeout * 500))
            self._timer = self.mgr._timer_add(every, self._sweep, True, False)

    def _sweep(self) -> None:
        before = time.monotonic() - self.limits.idle_timeout
        idle = self._idle()
        for wire in idle:
            if wire.idle_since <= before:
                wire.close()
        if not idle and self._timer is not None:
            self._timer.cancel()
            self._timer = None


def typed(exc: Exception) -> Exception:
    """What connecting raised, as requests report it: a manager that is closed has no connections."""
    return ConnectionClosed(str(exc)) if type(exc) is RuntimeError else exc
