"""Bodies sent to one URL, and what the answers mean for who sent them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection
from email.utils import parsedate_to_datetime
from typing import Final

from .._client import HeadersLike
from .._errors import MongooseError
from .._fields import basic_of, make_headers
from .._response import HttpResponse
from .._tls import TlsOpts
from .._urls import Target, join, parse
from ._codings import Coding, compressor
from ._http_client import Lease, lease
from ._outcome import Rejected, RetryLater

RETRY_STATUSES: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Answers after which the same is sent again: the server may think otherwise later."""

LONGEST_WAIT = 3600.0  # seconds of a Retry-After that are believed
SHOWN = 300  # characters of an answer that stand in a reason
REDIRECTS = 3


class TooLarge(Exception):
    """413: the server does not take that much at once."""


class Verdict(Rejected):
    """Neither taken nor to be tried again."""

    def __init__(self, reason: str, status: int, body: bytes) -> None:
        super().__init__(reason)
        self.status = status
        self.body = body


class Answer:
    """Of 2xx: its response, and as much of the body as was asked for."""

    __slots__ = ("body", "response", "status")

    def __init__(self, response: HttpResponse, body: bytes) -> None:
        self.response = response
        self.status = response.status
        self.body = body


class Poster:
    """Sends bodies to a URL over the loop's client. Everything on the loop's thread.

    Args:
        url: ``http://``, ``https://`` or ``http+unix://``.
        content_type: of all bodies.
        auth: ``(user, password)`` for basic auth; str: a bearer token.
        compress: "gzip" or "zstd".
        timeout: seconds for one request with its answer.
        retry_statuses: answers that are no verdict.

    Raises:
        TypeError, ValueError: a wrong argument. ModuleNotFoundError: zstd without a package for it.
    """

    def __init__(
        self,
        url: str,
        content_type: str,
        *,
        method: str = "POST",
        headers: HeadersLike | None = None,
        auth: tuple[str, str] | str | None = None,
        tls: TlsOpts | None = None,
        proxy: str | None = None,
        compress: Coding | None = None,
        compress_level: int | None = None,
        timeout: float = 30.0,
        connect_timeout: float = 10.0,
        retry_statuses: Collection[int] = RETRY_STATUSES,
    ) -> None:
        for name, value in (("timeout", timeout), ("connect_timeout", connect_timeout)):
            if not 0 < value <= 1e6:
                raise ValueError(f"{name} must be seconds > 0, not {value!r}")
        self.url = url
        self.target: Target = parse(url)
        self._method = method
        self._tls = tls
        self._proxy = proxy
        self._timeout, self._connect_timeout = timeout, connect_timeout
        self._retry = frozenset(retry_statuses)
        self._compress = compressor(compress, compress_level)
        self._headers = make_headers(headers)
        names = {name.lower() for name, _ in self._headers}
        if "content-type" not in names:
            self._headers.append(("Content-Type", content_type))
        if compress is not None:
            self._headers.append(("Content-Encoding", compress))
        if auth is not None:
            credentials = f"Bearer {auth}" if isinstance(auth, str) else basic_of(*auth)
            self._headers += make_headers({"Authorization": credentials})
        self._lease: Lease | None = None
        self._refused: int | None = None  # bytes of the smallest body that was too large

    def open(self) -> None:
        """On the loop that will send. Idempotent; again after close(), on another loop or in a forked process is fine."""
        if self._lease is not None:
            if self._lease.loop is asyncio.get_running_loop():
                return
            self._lease.release()
        self._lease = lease()
        self._refused = None

    def close(self) -> None:
        if self._lease is not None:
            self._lease.release()
            self._lease = None

    async def post(
        self, body: bytes, *more: tuple[str, str], keep: int = 4096, whole: bool = False
    ) -> Answer:
        """Send one body; returns when the server took it.

        Args:
            more: header fields of this one.
            keep: bytes of the answer's body that are of interest; the others are read and forgotten.
            whole: it cannot be made smaller: ask even when less was too large before.

        Raises:
            RetryLater: no answer, or one that is no verdict; with the server's own wish for a pause.
            TooLarge: 413, or as large as what got that before.
            Verdict: any other answer.
        """
        size = len(body)
        if not whole and self._refused is not None and size >= self._refused:
            raise TooLarge
        if self._compress is not None:
            body = self._compress(body)
        response, text = await self._exchange(body, more, keep)
        status = response.status
        if 200 <= status < 300:
            return Answer(response, text)
        if status == 413:
            if self._refused is None or size < self._refused:
                self._refused = size
            if not whole:
                raise TooLarge
        reason = f"{status} {response.reason}".strip()
        if shown := printable(text):
            reason += f": {shown}"
        if status in self._retry:
            raise RetryLater(retry_after(response), reason)
        if 300 <= status < 400:  # a wrong URL, or somebody in between: no verdict on what was sent
            raise RetryLater(None, f"{reason} (to {response.header('Location')!r}: not followed)")
        raise Verdict(reason, status, text)

    async def _exchange(
        self, body: bytes, more: tuple[tuple[str, str], ...], keep: int
    ) -> tuple[HttpResponse, bytes]:
        assert self._lease is not None, "not started"
        request = self._lease.client.request
        url, headers = self.url, [*self._headers, *more]
        end = time.monotonic() + self._timeout
        for hop in range(REDIRECTS + 1):
            kept = Kept(keep)
            try:
                response = await request(
                    self._method,
                    url,
                    headers=headers,
                    body=body,
                    timeout=max(end - time.monotonic(), 0.001),
                    connect_timeout=self._connect_timeout,
                    follow_redirects=False,
                    on_data=kept.take,
                    tls=self._tls,
                    proxy=self._proxy,
                    idempotent=True,  # it carries an id, or may arrive twice anyhow
                )
            except (MongooseError, OSError) as exc:
                raise RetryLater(None, f"{type(exc).__name__}: {exc}") from exc
            following = self._redirect(response, url)
            if following is None or hop == REDIRECTS:
                break
            url = following
        return response, kept.data

    def _redirect(self, response: HttpResponse, url: str) -> str | None:
        """Where to send the same again: only to where it was meant to go, and not as a GET without a body."""
        if response.status not in (307, 308):
            return None
        try:
            target = join(parse(url), response.header("Location", ""))
        except ValueError:
            return None
        if target.origin != self.target.origin:
            return None
        if self.target.unix is not None:
            return f"{self.url.partition('://')[0]}://{self.url.split('://')[1].split('/')[0]}{target.uri}"
        return target.url


class Kept:
    """The beginning of a body."""

    def __init__(self, limit: int) -> None:
        self.data = b""
        self._left = limit

    def take(self, piece: bytes) -> None:
        if self._left > 0:
            self.data += piece[: self._left]
            self._left -= len(piece)


def with_path(url: str, path: str) -> str:
    """The URL, with this path if it has none. Raises ValueError: it is no URL."""
    target = parse(url)
    return url.rstrip("/") + path if target.uri == "/" else url


def printable(text: bytes) -> str:
    """The beginning of an answer, for a reason."""
    words = text[: 4 * SHOWN].decode("utf-8", "replace")
    clean = " ".join("".join(c if c.isprintable() else " " for c in words).split())
    return clean if len(clean) <= SHOWN else clean[: SHOWN - 3] + "..."


def retry_after(response: HttpResponse) -> float | None:
    """Seconds that the server asks for (RFC 9110 10.2.3): a number, or a date."""
    value = response.header("Retry-After", "").strip()
    if not value:
        return None
    if value.isascii() and value.isdigit():
        return min(float(value[:9]), LONGEST_WAIT)
    try:
        at = parsedate_to_datetime(value).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
    return min(max(at - time.time(), 0.0), LONGEST_WAIT)
