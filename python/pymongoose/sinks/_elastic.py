"""Events to Elasticsearch and what speaks its bulk API (OpenSearch and others)."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

from .._client import HeadersLike
from .._fields import make_headers
from .._tls import TlsOpts
from .._urls import parse
from ._codings import Coding
from ._encode import decode, encode, encode_all
from ._http import PostingSink
from ._outcome import Partial, RetryLater
from ._poster import Poster, printable
from ._time import iso, nanoseconds

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ._batch_options import BatchOptions

Index = Callable[[dict[str, Any]], str]


class ElasticSink(PostingSink):
    """Sends batches to ``_bulk``; each event is a document whose ``ts`` became ``@timestamp`` (ISO 8601, UTC).

    Each document has an id made of the batch's, so that a batch which is sent again adds nothing twice. Of a batch that was taken in part,
    the documents answered with 429 or 5xx are sent again, those with 4xx are rejected with their reason, and 409 for one that is there
    already is what was wanted.

    Args:
        url: of the cluster, as ``https://localhost:9200``.
        index: name of a data stream or index; ``{level}`` stands for the event's level and ``{date}`` for its day, as 2026.01.31; or a
            function of the event.
        action: "create", which data streams want, or "index".
        api_key: as it is shown, encoded, or ``(id, key)``.
        pipeline: ingest pipeline of the documents.
        timestamp: field for the time of the event.
        **options: those of BatchedSink. The others are those of HttpSink.
    """

    def __init__(
        self,
        url: str,
        index: str | Index = "logs-pymongoose-default",
        *,
        action: Literal["create", "index"] = "create",
        api_key: str | tuple[str, str] | None = None,
        pipeline: str | None = None,
        timestamp: str = "@timestamp",
        headers: HeadersLike | None = None,
        compress: Coding | None = "gzip",
        compress_level: int | None = None,
        auth: tuple[str, str] | str | None = None,
        tls: TlsOpts | None = None,
        proxy: str | None = None,
        timeout: float = 30.0,
        connect_timeout: float = 10.0,
        **options: Unpack[BatchOptions],
    ) -> None:
        super().__init__(**options)
        if action not in ("create", "index"):
            raise ValueError(f"action must be 'create' or 'index', not {action!r}")
        if not callable(index) and (
            not index or set(re.findall(r"{[^}]*}", index)) - {"{level}", "{date}"}
        ):
            raise ValueError(f"index must be a name with {{level}} and {{date}}, not {index!r}")
        fields = make_headers(headers)
        if api_key is not None:
            if auth is not None:
                raise ValueError("give api_key or auth, not both")
            if not isinstance(api_key, str):
                api_key = base64.b64encode(":".join(api_key).encode()).decode()
            fields.append(("Authorization", f"ApiKey {api_key}"))
        place = parse(url)
        query = "filter_path=errors,items.*.status,items.*.error"
        if pipeline is not None:
            query += f"&pipeline={quote(pipeline, safe='')}"
        base = url.partition("?")[0].rstrip("/") if place.uri != "/" else url.rstrip("/")
        self.poster = Poster(
            f"{base}/_bulk?{query}",
            "application/x-ndjson",
            headers=fields,
            auth=auth,
            tls=tls,
            proxy=proxy,
            compress=compress,
            compress_level=compress_level,
            timeout=timeout,
            connect_timeout=connect_timeout,
        )
        self._index = index
        self._fixed = not callable(index) and "{" not in index
        self._action = action
        self._timestamp = timestamp

    async def send_batch(self, batch: list[dict[str, Any]]) -> None:
        await self.deliver(batch)

    async def send_part(self, items: Sequence[dict[str, Any]], at: int, key: str) -> None:
        rejected: dict[int, str] = {}
        body, whole = self._body(items, at, rejected), len(items) == 1
        if not body:
            raise Partial(rejected=rejected, retry=[])
        answer = await self.poster.post(body, keep=64 << 20, whole=whole)
        try:
            found = decode(answer.body)
            results = [next(iter(r.values())) for r in (found["items"] if found["errors"] else ())]
            statuses = [int(result["status"]) for result in results]
        except (ValueError, LookupError, TypeError, AttributeError, StopIteration):
            raise RetryLater(
                None, f"no answer of a bulk request: {printable(answer.body)}"
            ) from None
        asked = [i for i in range(len(items)) if i not in rejected]
        if results and len(results) != len(asked):
            raise RetryLater(None, f"{len(asked)} documents, but {len(results)} answers")
        retry: list[int] = []
        for i, status, result in zip(asked, statuses, results, strict=False):
            if status < 300 or (status == 409 and self._action == "create"):
                continue
            if status == 429 or status >= 500:
                retry.append(i)
            else:
                rejected[i] = _reason(status, result.get("error"))
        if rejected or retry:
            raise Partial(rejected=rejected, retry=retry)

    def _body(self, batch: Sequence[dict[str, Any]], at: int, bad: dict[int, str]) -> bytes:
        heads: list[bytes] = []
        documents: list[dict[str, Any]] = []
        head = b'{"%s":{"_index":%%s,"_id":"%s-%%d"}}' % (
            self._action.encode(),
            self.first_id.encode(),
        )
        name = b"" if not self._fixed else encode({"": self._index})[4:-1]
        for i, event in enumerate(batch):
            ns = nanoseconds(event.get("ts"))
            day = iso(ns)
            if not self._fixed:
                try:
                    name = encode({"": self._name(event, day)})[4:-1]
                except Exception as exc:  # noqa: BLE001  (of a function that we were given)
                    bad[i] = f"index: {type(exc).__name__}: {exc}"
                    continue
            document = {self._timestamp: day, **event}
            document.pop("ts", None)
            heads.append(head % (name, self.places[at + i]))
            documents.append(document)
        lines = zip(heads, encode_all(documents), strict=True)
        return b"".join([b"%s\n%s\n" % line for line in lines])

    def _name(self, event: dict[str, Any], day: str) -> str:
        if callable(self._index):
            return str(self._index(event))
        name = self._index.replace("{date}", day[:10].replace("-", "."))
        return name.replace("{level}", str(event.get("level", "info")))


def _reason(status: int, error: Any) -> str:
    if isinstance(error, dict):
        return f"{status} {error.get('type', 'error')}: {error.get('reason', '')}"[:300]
    return f"{status} {error}"[:300]
