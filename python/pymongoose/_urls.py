"""URLs of requests, taken apart once and strictly (RFC 3986, RFC 9110 4.2)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias
from urllib.parse import quote, unquote, urlencode, urljoin, urlsplit

Params: TypeAlias = Mapping[str, Any] | Iterable[tuple[str, Any]]

PORTS = {"http": 80, "https": 443}
_SAFE = (
    "%/:=&?~+!$,;'@()*[]"  # besides letters, digits and "-._~": what may stand in path and query
)
_CONTROLS = re.compile(r"[\x00-\x20\x7f]")
_HOST = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=-]+|(?=.*:)[0-9A-Fa-f:.]+(%[A-Za-z0-9._~-]+)?")


@dataclass(frozen=True, slots=True)
class Target:
    """Where a request goes and what it asks for.

    Attributes:
        scheme: ``http`` or ``https``.
        host: lower case, without brackets; of a Unix socket the name for the Host field.
        port: TCP port, 0 for a Unix socket.
        unix: path of the socket instead.
        uri: path and query as they are sent.
        user, password: of the URL's userinfo, decoded; None when there is none.
    """

    scheme: str
    host: str
    port: int
    unix: str | None
    uri: str
    user: str | None = None
    password: str | None = None

    @property
    def authority(self) -> str:
        """For the Host field: without the port when it is the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port in (0, PORTS[self.scheme]) else f"{host}:{self.port}"

    @property
    def address(self) -> str:
        """host:port, for CONNECT."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """Absolute, without userinfo."""
        return f"{self.scheme}://{self.authority}{self.uri}"

    @property
    def origin(self) -> tuple[str, str, int, str | None]:
        """RFC 9110 4.3.1."""
        return (self.scheme, self.host, self.port, self.unix)


def parse(url: str, params: Params | None = None, unix: str | None = None) -> Target:
    """Take an absolute URL apart: http, https, or ``http+unix://%2Fpath%2Fof%2Fsocket/uri``.

    Raises:
        TypeError, ValueError: it is no such URL; the text names what is wrong.
    """
    if not isinstance(url, str):
        raise TypeError(f"url must be str, not {type(url).__name__}")
    if _CONTROLS.search(url.strip(" ")):
        raise ValueError(f"url must not contain blanks or control characters: {url!r}")
    parts = urlsplit(url.strip(" "))
    scheme, _, kind = parts.scheme.partition("+")
    if scheme not in PORTS or kind not in ("", "unix"):
        raise ValueError(f"url must begin with http://, https:// or http+unix://, not {url!r}")
    if kind:
        unix, host, port = unquote(parts.netloc.rpartition("@")[2]), "localhost", 0
    else:
        host = _host(parts.hostname, url)
        try:
            port = 0 if unix is not None else PORTS[scheme] if parts.port is None else parts.port
        except ValueError as exc:
            raise ValueError(f"url has no valid port: {url!r}") from exc
        if port == 0 and unix is None:
            raise ValueError(f"url has port 0: {url!r}")
    if unix is not None and not unix.startswith(("/", "@")):
        raise ValueError(f"the path of a Unix socket must be absolute, not {unix!r}")
    query = parts.query
    if params:
        more = urlencode(
            list(params.items() if isinstance(params, Mapping) else params), doseq=True
        )
        query = f"{query}&{more}" if query and more else query or more
    uri = quote(parts.path or "/", safe=_SAFE) + (f"?{quote(query, safe=_SAFE)}" if query else "")
    userinfo, at, _ = parts.netloc.rpartition("@")
    user, _, password = userinfo.partition(":")
    return Target(
        scheme,
        host,
        port,
        unix,
        uri,
        unquote(user) if at else None,
        unquote(password) if at else None,
    )


def join(base: Target, location: str) -> Target:
    """Where a Location field leads (RFC 9110 10.2.2). Relative ones stay on a Unix socket."""
    location = quote(location.strip(" \t"), safe=_SAFE + "#")
    parts = urlsplit(location)
    if not parts.scheme and not parts.netloc:
        target = parse(urljoin(f"http://x{base.uri}", location))
        return replace(base, uri=target.uri)
    if parts.scheme.partition("+")[2]:  # a server does not choose which sockets of ours are opened
        raise ValueError(f"a redirect must not lead to {location!r}")
    return parse(urljoin(base.url, location))


def _host(name: str | None, url: str) -> str:
    if not name:
        raise ValueError(f"url has no host: {url!r}")
    if not name.isascii():
        try:
            name = name.encode("idna").decode("ascii")
        except UnicodeError as exc:
            raise ValueError(f"host {name!r} has no ASCII form") from exc
    if not _HOST.fullmatch(name):
        raise ValueError(f"host {name!r} contains an illegal character")
    return name
