"""Events to an OpenTelemetry collector, by OTLP/HTTP."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal

from .. import _core
from .._client import HeadersLike
from .._tls import TlsOpts
from ._codings import Coding
from ._http import PostingSink
from ._otlp_records import JsonWriter, ProtobufWriter, Writer
from ._outcome import Rejected
from ._poster import Poster, with_path

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ._batch_options import BatchOptions

logger = logging.getLogger("pymongoose.sinks")

PATH = "/v1/logs"
RETRYABLE: Final = frozenset({429, 502, 503, 504})
"""What the protocol lets a client send again; all other 4xx and 5xx are final."""


class OtlpSink(PostingSink):
    """Sends batches as ExportLogsServiceRequest, in protobuf or JSON.

    ``message`` is the record's body, ``level`` its severity, ``ts`` its time; ``trace_id`` and ``span_id`` (hexadecimal) and
    ``trace_flags``, or a ``traceparent``, say where in a trace it belongs. All other fields are attributes, nested ones too. Records that
    the collector counts as rejected (``partial_success``) are counted as dropped, "rejected": it does not say which they are.

    Args:
        url: of the collector, as ``http://localhost:4318``; without a path, ``/v1/logs`` is appended.
        resource: attributes of whoever logs: ``{"service.name": "shop"}``. ``service.name``, ``host.name`` and ``process.pid`` have defaults.
        scope: name and version of the instrumentation scope.
        encoding: "protobuf" (that needs the package opentelemetry-proto) or "json"; default: protobuf where the package is installed.
        **options: those of BatchedSink. The others are those of HttpSink.

    Raises:
        ModuleNotFoundError: encoding="protobuf" without opentelemetry-proto.
    """

    def __init__(
        self,
        url: str = "http://localhost:4318",
        *,
        resource: Mapping[str, Any] | None = None,
        scope: tuple[str, str] = ("pymongoose.sinks", _core.build_info()["version"]),
        encoding: Literal["protobuf", "json"] | None = None,
        headers: HeadersLike | None = None,
        compress: Coding | None = "gzip",
        compress_level: int | None = None,
        auth: tuple[str, str] | str | None = None,
        tls: TlsOpts | None = None,
        proxy: str | None = None,
        timeout: float = 10.0,
        connect_timeout: float = 10.0,
        **options: Unpack[BatchOptions],
    ) -> None:
        super().__init__(**options)
        if encoding not in ("protobuf", "json", None):
            raise ValueError(f"encoding must be 'protobuf', 'json' or None, not {encoding!r}")
        self._about = encoding, dict(resource or {}), scope
        self._form = _writer(*self._about)
        self.poster = Poster(
            with_path(url, PATH),
            self._form.content_type,
            headers=headers,
            auth=auth,
            tls=tls,
            proxy=proxy,
            compress=compress,
            compress_level=compress_level,
            timeout=timeout,
            connect_timeout=connect_timeout,
            retry_statuses=RETRYABLE,
        )

    def forked(self) -> None:
        super().forked()
        self._form = _writer(*self._about)  # the process is another one

    async def send_batch(self, batch: list[dict[str, Any]]) -> None:
        await self.deliver(batch)

    async def send_part(self, items: Sequence[dict[str, Any]], at: int, key: str) -> None:
        body = self._form.request(items, time.time_ns())
        answer = await self.poster.post(body, keep=1 << 20, whole=len(items) == 1)
        try:
            rejected, why = self._form.partial(answer.body)
        except (ValueError, TypeError):  # 200 is what counts
            return
        if why or rejected:
            logger.warning(
                "%s: collector rejected %d of %d records: %s", self.name, rejected, len(items), why
            )
        if rejected >= len(items):
            raise Rejected(why or "rejected by the collector")
        if rejected > 0:  # nobody knows which: counted, but in no dead letter
            self.count_refused(rejected)


def _writer(encoding: str | None, given: Mapping[str, Any], scope: tuple[str, str]) -> Writer:
    resource = {
        "service.name": "unknown_service:python",
        "host.name": socket.gethostname(),
        "process.pid": os.getpid(),
        **given,
    }
    if encoding != "json":
        try:
            return ProtobufWriter(resource, scope)
        except ModuleNotFoundError as exc:
            if encoding == "protobuf":
                raise ModuleNotFoundError(
                    "encoding='protobuf' needs the package opentelemetry-proto", name=exc.name
                ) from exc
    return JsonWriter(resource, scope)
