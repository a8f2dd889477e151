"""Events to Grafana Loki, by its push API."""

from __future__ import annotations

import datetime
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from .._client import HeadersLike
from .._fields import make_headers
from .._tls import TlsOpts
from ._codings import Coding
from ._encode import encode, encode_all, shown
from ._http import PostingSink
from ._outcome import Partial
from ._poster import Poster, Verdict, with_path
from ._time import nanoseconds

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ._batch_options import BatchOptions

logger = logging.getLogger("pymongoose.sinks")

PUSH = "/loki/api/v1/push"
OTHER = "__other__"  # a label's value when it has had too many
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_ONLY_STR = {str}
MAX_VALUE = 1024  # characters of a label's value

Line = Callable[[dict[str, Any]], str]


class LokiSink(PostingSink):
    """Sends batches to Loki's push API as JSON: a stream for each set of labels, events in the order in which they came, each with its own
    time.

    Labels are what Loki makes streams of, so they should have few values: a field that is a label and has had ``max_label_values``
    different ones is ``__other__`` from then on, and stays in the line. Loki refuses entries that are too old or out of order with 400
    and takes the others of the same push: those that it names are rejected with its reason, the others acknowledged.

    Args:
        url: of Loki; without a path, ``/loki/api/v1/push`` is appended.
        labels: the same for all events.
        label_fields: fields that are labels: names, or field to label. Characters that a label cannot have become ``_``; values are cut after
            1024 characters, and then stand whole in the line.
        metadata_fields: fields that are structured metadata, such as a trace id: found without being labels.
        line: "json": the event without ``ts`` and without what is label or metadata; "message": its message alone; or a function of the
            event.
        max_label_values: different values of one label field.
        tenant: ``X-Scope-OrgID``.
        **options: those of BatchedSink. The others are those of HttpSink.
    """

    def __init__(
        self,
        url: str,
        *,
        labels: Mapping[str, str] | None = None,
        label_fields: Sequence[str] | Mapping[str, str] = ("level",),
        metadata_fields: Sequence[str] = (),
        line: Literal["json", "message"] | Line = "json",
        max_label_values: int = 100,
        tenant: str | None = None,
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
        if max_label_values < 1:
            raise ValueError(f"max_label_values must be >= 1, not {max_label_values!r}")
        if line not in ("json", "message") and not callable(line):
            raise ValueError(f"line must be 'json', 'message' or a function, not {line!r}")
        self.poster = Poster(
            with_path(url, PUSH),
            "application/json",
            headers=headers,
            auth=auth,
            tls=tls,
            proxy=proxy,
            compress=compress,
            compress_level=compress_level,
            timeout=timeout,
            connect_timeout=connect_timeout,
        )
        self._more = () if tenant is None else tuple(make_headers({"X-Scope-OrgID": tenant}))
        self._static = {
            _checked(name): _text(value)[:MAX_VALUE] for name, value in (labels or {}).items()
        }
        pairs = (
            label_fields.items()
            if isinstance(label_fields, Mapping)
            else ((f, f) for f in label_fields)
        )
        self._fields = tuple((field, label_name(label), set[str]()) for field, label in pairs)
        self._metadata = tuple((field, label_name(field)) for field in metadata_fields)
        names = [*self._static, *(label for _, label, _ in self._fields)]
        names += [name for _, name in self._metadata]
        if clash := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"names of labels or metadata given twice: {', '.join(sorted(clash))}")
        if not self._static and not self._fields:
            raise ValueError("Loki wants at least one label")
        self._gone = frozenset({"ts", *(field for field, _ in self._metadata)})
        self._names = tuple(field for field, _, _ in self._fields)
        self._known: dict[tuple[Any, ...], tuple[tuple[str, ...], frozenset[str]]] = {}
        self._max_values = max_label_values
        self._line = line
        self._crowded: set[str] = set()

    async def send_batch(self, batch: list[dict[str, Any]]) -> None:
        await self.deliver(batch)

    async def send_part(self, items: Sequence[dict[str, Any]], at: int, key: str) -> None:
        bad: dict[int, str] = {}
        streams, places = self._streams(items, bad)
        if not streams:
            raise Partial(rejected=bad, retry=[])
        body, whole = encode({"streams": streams}), len(items) == 1
        try:
            await self.poster.post(body, *self._more, keep=1 << 20, whole=whole)
        except Verdict as exc:
            named = refused(exc, streams, places)
            if not named or len(named) == len(items):
                raise
            bad.update(dict.fromkeys(named, str(exc)))
        if bad:
            raise Partial(rejected=bad, retry=[])

    def _streams(
        self, batch: Sequence[dict[str, Any]], bad: dict[int, str]
    ) -> tuple[list[dict[str, Any]], list[list[int]]]:
        """The streams of a push, and for each of them which event every entry is. Events that make no entry go to bad."""
        found: dict[tuple[str, ...], int] = {}
        streams: list[dict[str, Any]] = []
        places: list[list[int]] = []
        times: list[set[int]] = []
        entries: list[list[Any]] = []
        bodies: list[dict[str, Any]] = []  # their lines, encoded in one go
        for i, event in enumerate(batch):
            values, gone = self._values(event)
            text = ""
            if self._line != "json":
                try:
                    text = self._text(event)
                except Exception as exc:  # noqa: BLE001  (of a function that we were given)
                    bad[i] = f"line: {type(exc).__name__}: {exc}"
                    continue
            at = found.setdefault(values, len(streams))
            if at == len(streams):
                streams.append({"stream": self._labels(values), "values": []})
                places.append([])
                times.append(set())
            ns = nanoseconds(event.get("ts"))
            while ns in times[at]:  # the same time and text twice is one entry to Loki
                ns += 1
            times[at].add(ns)
            entry: list[Any] = [str(ns), text]
            if self._metadata:
                more = {n: _value(event[f]) for f, n in self._metadata if event.get(f) is not None}
                if more:
                    entry.append(more)
            streams[at]["values"].append(entry)
            places[at].append(i)
            if self._line == "json":
                entries.append(entry)
                bodies.append({k: v for k, v in event.items() if k not in gone})
        for entry, line in zip(entries, encode_all(bodies), strict=True):
            entry[1] = line.decode()
        return streams, places

    def _values(self, event: dict[str, Any]) -> tuple[tuple[str, ...], frozenset[str]]:
        """Of the label fields, and which fields do not stand in the line."""
        raw = tuple([event.get(field) for field in self._names])
        plain = {*map(type, raw)} == _ONLY_STR  # 1 and True are the same key
        found = self._known.get(raw) if plain else None
        if found is None:
            found = self._label(event)
            if plain and len(self._known) < 1000:
                self._known[raw] = found
        return found

    def _label(self, event: dict[str, Any]) -> tuple[tuple[str, ...], frozenset[str]]:
        gone, values = self._gone, []
        for field, _, seen in self._fields:
            whole = _text(event.get(field))
            value = whole[:MAX_VALUE]
            told = {field} if len(whole) == len(value) else set()  # a cut one stays in the line
            if value in seen:
                gone = gone | told
            elif value and len(seen) < self._max_values:
                seen.add(value)
                gone = gone | told
            elif value:
                if field not in self._crowded:
                    self._crowded.add(field)
                    logger.warning(
                        "%s: field %r has had %d values; as a label the others are %s",
                        self.name,
                        field,
                        self._max_values,
                        OTHER,
                    )
                value = OTHER
            values.append(value)
        return tuple(values), gone

    def _labels(self, values: tuple[str, ...]) -> dict[str, str]:
        labels = dict(self._static)
        for (_, label, _), value in zip(self._fields, values, strict=True):
            if value:
                labels[label] = value
        return labels or {"source": "pymongoose"}

    def _text(self, event: dict[str, Any]) -> str:
        if callable(self._line):
            return str(self._line(event))
        return _value(event.get("message", ""))


def label_name(name: str) -> str:
    """What stands for a field's name where labels are."""
    clean = re.sub(r"[^a-zA-Z0-9_]", "_", name)
    return clean if clean and not clean[0].isdigit() else f"_{clean}"


def _checked(name: str) -> str:
    if not _LABEL.fullmatch(name):
        raise ValueError(f"{name!r} is no name for a label")
    return name


def _text(value: Any) -> str:
    return "" if value is None else _value(value)


def _value(value: Any) -> str:
    if value.__class__ is str:
        return str(value)
    if value is True or value is False:
        return "true" if value else "false"
    if isinstance(value, (dict, list, tuple)):
        return encode({"": value})[4:-1].decode()
    return str(shown(value))


# "entry with timestamp 2026-01-02 03:04:05.123 +0000 UTC ignored, reason: 'entry too far behind, …'", for each entry refused, and
# "total ignored: 2 out of 500 for stream: {…}" at the end of each stream's.
_IGNORED = re.compile(
    r"entry with timestamp (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)(?:\.(\d{1,9}))? \+0000 UTC ignored"
)
_TOTAL = re.compile(r"total ignored: (\d+) out of (\d+)")


def refused(verdict: Verdict, streams: list[dict[str, Any]], places: list[list[int]]) -> list[int]:
    """Which events a 400 names. Empty: it does not name all that it refused, so nobody knows."""
    if verdict.status != 400:
        return []
    text = verdict.body.decode("utf-8", "replace")
    times = set()
    for stamp, fraction in _IGNORED.findall(text):
        at = datetime.datetime.strptime(f"{stamp}+0000", "%Y-%m-%d %H:%M:%S%z")
        times.add(str(int(at.timestamp()) * 10**9 + int(fraction.ljust(9, "0"))))
    total = sum(int(n) for n, _ in _TOTAL.findall(text))
    hit = [
        index
        for stream, indexes in zip(streams, places, strict=True)
        for entry, index in zip(stream["values"], indexes, strict=True)
        if entry[0] in times
    ]
    return hit if total and len(hit) == total else []
