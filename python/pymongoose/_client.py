"""The asking side of a manager: requests are checked on the caller's thread, and done on the loop's."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from . import _core
from ._bodies import Body, BodyLike
from ._errors import ConnectionClosed, TlsError
from ._fields import TOKEN, HeadersLike, basic, basic_of, make_headers
from ._replies import dumps
from ._request import MAX_BODY, HttpRequest, Then
from ._urls import Params, Target, parse
from ._wires import ClientLimits, Pool, Route, Wires

if TYPE_CHECKING:
    from ._manager import Manager

__all__ = ["Client", "HeadersLike", "HttpRequest", "Then", "make_request"]


class Client:
    """The asking side of a manager."""

    def __init__(
        self,
        mgr: Manager,
        limits: ClientLimits,
        report: Callable[[_core.Connection | None, int, BaseException], object],
    ) -> None:
        self.mgr = mgr
        self._wires = Wires(mgr, limits)
        self._report = report
        self._lock = threading.Lock()
        self._open: set[HttpRequest] = set()

    def start(self, request: HttpRequest) -> None:
        with self._lock:
            self._open.add(request)
        try:
            self.mgr.call(request.begin)
        except BaseException:
            self.done(request)
            raise

    def done(self, request: HttpRequest) -> None:
        with self._lock:
            self._open.discard(request)

    def report(self, exc: BaseException) -> None:
        self._report(None, _core.MG_EV_HTTP_MSG, exc)

    def on_loop_thread(self) -> bool:
        return self.mgr._running()[0] == threading.get_ident()

    def pool(self, target: Target, proxy: Target | None, tls: Any) -> Pool:
        return self._wires.pool(_route(target, proxy, tls))

    def close(self) -> None:
        """The manager is closed: what is still under way will not end by itself."""
        with self._lock:
            left = list(self._open)
        for request in left:
            request._end(ConnectionClosed("manager is closed"))


def _route(target: Target, proxy: Target | None, tls: Any) -> Route:
    if proxy is None:
        return Route(*target.origin, tls, None, None)
    if target.scheme == "http":  # all of them go over the same connections
        return Route("http", "", 0, None, None, (proxy.host, proxy.port), None)
    return Route(*target.origin, tls, (proxy.host, proxy.port), basic(proxy))


def _is_token(value: object) -> bool:
    return isinstance(value, str) and TOKEN.fullmatch(value) is not None


def _is_count(value: object) -> bool:
    return isinstance(value, int) and value > 0


def make_request(
    client: Client,
    method: str,
    url: str,
    *,
    headers: HeadersLike | None,
    body: BodyLike,
    json: Any,
    params: Params | None,
    auth: tuple[str, str] | None,
    unix: str | None,
    proxy: str | None,
    tls: Any,
    max_body: int | None,
    stream: bool,
    on_data: Callable[[bytes], object] | None,
    on_head: Then | None,
    **options: Any,
) -> HttpRequest:
    """Check everything that can be checked before anything is sent."""
    if not _is_token(method):
        raise ValueError(f"method {method!r} contains an illegal character")
    if method.upper() == "CONNECT":
        raise ValueError("method CONNECT belongs to proxy=")
    if stream and on_data is not None:
        raise ValueError("give stream or on_data, not both")
    if on_head is not None and on_data is None:
        raise ValueError("on_head goes with on_data")
    for name, fn in (("on_data", on_data), ("on_head", on_head), ("then", options["then"])):
        if fn is not None and not callable(fn):
            raise TypeError(f"{name} must be callable or None, not {type(fn).__name__}")
    for name in ("timeout", "connect_timeout", "read_timeout"):
        value = options[name]
        if value is not None and not (isinstance(value, (int, float)) and 0 < value <= 1e9):
            raise ValueError(f"{name} must be seconds > 0 or None, not {value!r}")
    if max_body is not None and not _is_count(max_body):
        raise ValueError(f"max_body must be an int > 0 or None, not {max_body!r}")
    if options["max_redirects"] < 0:
        raise ValueError(f"max_redirects must be >= 0, not {options['max_redirects']!r}")
    target = parse(url, params, unix)
    via = None if proxy is None else parse(proxy)
    if via is not None and (via.scheme != "http" or via.unix is not None):
        raise ValueError(f"proxy must be an http:// URL, not {proxy!r}")
    if via is not None and target.unix is not None:
        raise ValueError("a Unix socket is not reached through a proxy")
    if target.scheme == "https" and not _core.build_info()["tls"]:
        raise TlsError(f"TLS is not part of this build, so {target.url} cannot be asked")
    fields = make_headers(headers)
    names = {name.lower() for name, _ in fields}
    if json is not None:
        if body is not None:
            raise ValueError("give body or json, not both")
        body = dumps(json)
        if "content-type" not in names:
            fields.append(("Content-Type", "application/json"))
    content = Body(body)
    for name, text in fields:
        if name.lower() == "content-length" and (
            not text.isascii() or not text.isdigit() or content.length not in (None, int(text))
        ):
            raise ValueError(f"Content-Length {text} does not fit the body")
    if "authorization" not in names:
        credentials = basic_of(*auth) if auth is not None else basic(target)
        if credentials is not None:
            fields.append(("Authorization", credentials))
    collected = not stream and on_data is None
    return HttpRequest(
        client,
        method,
        target,
        fields,
        content,
        stream=stream,
        on_data=on_data,
        on_head=on_head,
        proxy=via,
        tls=tls,
        max_body=max_body or (MAX_BODY if collected else 0),
        **options,
    )
