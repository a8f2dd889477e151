"""Events to an HTTP server, in batches."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from .._client import HeadersLike
from .._fields import make_headers
from .._tls import TlsOpts
from ._batched import BatchedSink
from ._codings import Coding
from ._outcome import Partial
from ._parts import Parts
from ._poster import RETRY_STATUSES, Poster
from ._sink import DrainResult

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ._batch_options import BatchOptions


class PostingSink(BatchedSink):
    """A batched sink whose batches are sent by ``self.poster``; send_part() sends some of a batch."""

    poster: Poster
    _rest: tuple[str, str, Sequence[int], int, Sequence[int]] = ("", "", (), 0, ())
    first_id: str = ""
    """The batch's id when it was sent first, from which all names for its events are made."""
    places: Sequence[int] = ()
    """Where the events being sent stood in the batch then: what is sent again after a part was taken begins elsewhere, under another id."""

    async def send_part(self, items: Sequence[Any], at: int, key: str) -> None:
        """Send items, the first of which is number ``at`` of the batch. The key is theirs alone. Outcome as of send_batch(), or TooLarge."""
        raise NotImplementedError

    async def deliver(self, items: Sequence[Any], at_once: int = 1) -> None:
        stem = self.batch_id.partition(".")[0]
        of, first, places, total, sizes = self._rest
        if of != stem or len(places) != len(items):
            n = len(items)
            first, places, total = self.batch_id, range(n), n
            size = -(-n // at_once)
            sizes = [min(size, n - at) for at in range(0, n, size)]
        self.first_id, self.places = first, places
        parts = Parts(self.send_part, self.batch_id, first, places, total)
        try:
            await parts.deliver(items, sizes, at_once)
        except Partial as exc:
            left = [places[i] for i in exc.retry]
            self._rest = (stem, first, left, total, parts.left)
            raise

    async def start(self) -> None:
        await super().start()
        try:
            self.poster.open()
        except BaseException:
            await self.stop()
            raise

    async def _stop(self) -> DrainResult:
        try:
            return await super()._stop()
        finally:
            self.poster.close()

    def forked(self) -> None:
        super().forked()
        self.poster.close()


class HttpSink(PostingSink):
    """Sends each batch as the body of one request, over kept connections.

    An answer of 2xx acknowledges the batch. 408, 425, 429, 500, 502, 503, 504, a redirect that is not followed, and every failure without
    an answer mean that the same batch is sent again, after what ``Retry-After`` says or as ``retry`` says. 413: it is sent in halves, and an
    event that is too large alone is rejected. Every other answer rejects the batch, with the beginning of its body as the reason.
    Redirects are followed if they keep method and body (307, 308) and lead to the same origin.

    Args:
        url: ``http://``, ``https://``, or ``http+unix://%2Fpath%2Fof%2Fsocket/uri``.
        method: of the requests.
        headers: further header fields.
        format: "ndjson", a JSON object on each line, or "json", an array of them.
        compress: "gzip" or "zstd" (that needs Python 3.14, or the package zstandard or backports.zstd).
        compress_level: 1 to 9 for gzip, 1 to 19 for zstd; default: 3.
        auth: ``(user, password)`` for basic authentication, or a bearer token.
        tls: whom to trust, and a certificate of our own; the server's is verified by default.
        proxy: ``http://host:port``.
        timeout: seconds for one request with its answer.
        connect_timeout: seconds for name and connection.
        concurrency: requests to divide a batch among, under way at the same time; more than 1 gives up the order of events.
        retry_statuses: in place of those above.
        batch_header: header field with the batch's id, by which a server can tell what it got before; None: none. A part of a batch has an id
            of its own. In ``Idempotency-Key`` it stands in quotation marks, as the draft for that field wants it.
        **options: those of BatchedSink: name, batch_size, batch_timeout, max_bytes, retry, breaker, dead_letter, spool and the others.

    Raises:
        TypeError, ValueError: a wrong argument.
        ModuleNotFoundError: compress="zstd", and nothing here has it.
    """

    accepts: ClassVar[Literal["dict", "json"]] = "json"

    def __init__(
        self,
        url: str,
        *,
        method: str = "POST",
        headers: HeadersLike | None = None,
        format: Literal["ndjson", "json"] = "ndjson",
        compress: Coding | None = None,
        compress_level: int | None = None,
        auth: tuple[str, str] | str | None = None,
        tls: TlsOpts | None = None,
        proxy: str | None = None,
        timeout: float = 30.0,
        connect_timeout: float = 10.0,
        concurrency: int = 1,
        retry_statuses: Collection[int] = RETRY_STATUSES,
        batch_header: str | None = "Idempotency-Key",
        **options: Unpack[BatchOptions],
    ) -> None:
        super().__init__(**options)
        if format not in ("ndjson", "json"):
            raise ValueError(f"format must be 'ndjson' or 'json', not {format!r}")
        if concurrency < 1:
            raise ValueError(f"concurrency must be an int >= 1, not {concurrency!r}")
        self.poster = Poster(
            url,
            "application/x-ndjson" if format == "ndjson" else "application/json",
            method=method,
            headers=headers,
            auth=auth,
            tls=tls,
            proxy=proxy,
            compress=compress,
            compress_level=compress_level,
            timeout=timeout,
            connect_timeout=connect_timeout,
            retry_statuses=retry_statuses,
        )
        if batch_header is not None:
            make_headers({batch_header: ""})  # say now that it is none
        self._array = format == "json"
        self._at_once = concurrency
        self._key_header = batch_header
        self._key_form = '"%s"' if (batch_header or "").lower() == "idempotency-key" else "%s"

    async def send_lines(self, lines: list[bytes]) -> None:
        await self.deliver(lines, self._at_once)

    async def send_part(self, items: Sequence[bytes], at: int, key: str) -> None:
        body = b"[" + b",".join(items) + b"]" if self._array else b"\n".join(items) + b"\n"
        more: tuple[Any, ...] = ()
        if self._key_header is not None:
            more = ((self._key_header, self._key_form % key),)
        await self.poster.post(body, *more, whole=len(items) == 1)
