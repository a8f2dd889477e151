"""What sinks over HTTP are tested against: a server on aiohttp that counts connections and can be told to fail, and on top of it receivers
that are as strict as the published schemas of Loki's push API, OTLP/HTTP and Elasticsearch's bulk API."""

from __future__ import annotations

import asyncio
import base64
import binascii
import datetime
import json
import re
import ssl
import threading
import zlib
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import zstandard
from aiohttp import web
from conftest import DEADLINE


@dataclass
class Got:
    """A request, its body decoded."""

    path: str
    headers: dict[str, str]
    body: bytes
    wire: bytes

    @property
    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.body.splitlines()]


Answer = tuple[int, dict[str, str], bytes]
OK: Answer = (200, {}, b"")
HANG, RESET, DRIP, HALF = "hang", "reset", "drip", "half-open"  # instead of an answer
SLOW = "slow"  # taken and answered, but not before let_go()


class Receiver:
    """Takes requests in a thread of its own.

    Attributes:
        got: requests that were answered with 2xx, in order.
        refused: the others.
        faults: answers, or one of HANG, RESET, DRIP, HALF, SLOW, for the next requests, before any is taken.
        connections: how many were accepted.
        waiting: requests that SLOW has hold of, or had.
        problems: what a strict receiver found wrong.
    """

    limit: int | None = None
    """Bytes of the largest body, as it is sent; beyond: 413."""

    def __init__(self, *, tls: ssl.SSLContext | None = None) -> None:
        self.got: list[Got] = []
        self.refused: list[tuple[int, Got]] = []
        self.faults: deque[Answer | str] = deque()
        self.waiting: list[Got] = []
        self.connections = 0
        self.problems: list[str] = []
        self._tls = tls
        self._seen: set[int] = set()
        self._alive: list[Any] = []
        self._news = threading.Condition()
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._release = asyncio.Event()
        self._stop = asyncio.Event()
        self.port = 0
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()
        assert self._ready.wait(DEADLINE)

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    def take(self, got: Got) -> Answer:
        """The answer to a request that no fault hit."""
        return OK

    def wait(self, predicate: Callable[[], Any]) -> None:
        """Until it is true; looked at after each request."""
        with self._news:
            assert self._news.wait_for(predicate, DEADLINE), "it never came to be"

    def let_go(self) -> None:
        """Answer those that hang."""
        self._loop.call_soon_threadsafe(self._release.set)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._release.set)
        self._loop.call_soon_threadsafe(self._stop.set)
        self.thread.join(DEADLINE)
        assert not self.thread.is_alive()

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
        if exc[0] is None:
            assert self.problems == []

    # -- its thread --

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        app = web.Application(client_max_size=1 << 30)
        app.router.add_route("*", "/{path:.*}", self._answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1, auto_decompress=False)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=self._tls)
        await site.start()
        self.port = runner.addresses[0][1]
        self._ready.set()
        await self._stop.wait()
        await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        transport = request.transport
        if id(transport) not in self._seen:
            self._seen.add(id(transport))
            self._alive.append(transport)  # so that no other gets its id
            self.connections += 1
        wire = await request.read()
        got = Got(request.path_qs, dict(request.headers), decoded(request, wire), wire)
        fault = self.faults.popleft() if self.faults else None
        if fault == SLOW:
            with self._news:
                self.waiting.append(got)
                self._news.notify_all()
            await self._release.wait()
            fault = None
        if isinstance(fault, str):
            return await self._fail(request, got, fault)
        if fault is None and self.limit is not None and len(wire) > self.limit:
            fault = (413, {}, b"too much")
        try:
            status, headers, body = fault if fault is not None else self.take(got)
        except Exception as exc:  # noqa: BLE001
            self._note(599, got, f"{type(exc).__name__}: {exc}")
            return web.Response(status=400, text=repr(exc))
        self._note(status, got)
        return web.Response(status=status, headers=headers, body=body)

    async def _fail(self, request: web.Request, got: Got, fault: str) -> web.StreamResponse:
        self._note(0, got)
        if fault == DRIP:  # a byte of the head now and then, and never all of it
            assert request.transport is not None
            request.transport.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
            while not self._release.is_set() and request.transport is not None:
                request.transport.write(b"x")
                await asyncio.sleep(0.02)
        elif fault == HALF:  # the head of an answer whose body never comes
            assert request.transport is not None
            request.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nxx")
            await self._release.wait()
        elif fault == HANG:
            await self._release.wait()
        if request.transport is not None:
            request.transport.abort()
        return web.Response()

    def _note(self, status: int, got: Got, problem: str = "") -> None:
        with self._news:
            if 200 <= status < 300:
                self.got.append(got)
            else:
                self.refused.append((status, got))
            if problem:
                self.problems.append(problem)
            self._news.notify_all()


def decoded(request: web.Request, wire: bytes) -> bytes:
    coding = request.headers.get("Content-Encoding")
    if coding == "gzip":
        return zlib.decompress(wire, wbits=31)
    if coding == "zstd":
        return zstandard.ZstdDecompressor().decompress(wire)
    assert coding is None, coding
    return wire


def keys(what: dict[str, Any], must: Iterable[str], may: Iterable[str] = ()) -> None:
    """No other keys than these, and all that must be there."""
    assert isinstance(what, dict), what
    missing, unknown = set(must) - what.keys(), what.keys() - set(must) - set(may)
    assert not missing, f"missing: {missing}"
    assert not unknown, f"unknown: {unknown}"


class Loki(Receiver):
    """POST /loki/api/v1/push. Entries older than ``oldest`` (ns) are refused as Loki does: with 400, the others of the push are taken.

    Attributes:
        streams: entries by labels (a frozenset of pairs): (ns, line, metadata).
        tenants: requests by X-Scope-OrgID.
    """

    oldest = 0
    names_refused = True

    def __init__(self, **options: Any) -> None:
        self.streams: dict[frozenset[tuple[str, str]], list[tuple[int, str, dict[str, str]]]] = {}
        self.tenants: Counter[str | None] = Counter()
        super().__init__(**options)

    def take(self, got: Got) -> Answer:
        assert got.path == "/loki/api/v1/push", got.path
        assert got.headers["Content-Type"] == "application/json"
        self.tenants[got.headers.get("X-Scope-OrgID")] += 1
        push = json.loads(got.body)
        keys(push, ["streams"])
        assert push["streams"], "an empty push"
        seen = set()
        complaints = []
        for stream in push["streams"]:
            keys(stream, ["stream", "values"])
            labels = stream["stream"]
            assert 1 <= len(labels) <= 15, labels
            for name, value in labels.items():
                assert re.fullmatch("[a-zA-Z_][a-zA-Z0-9_]*", name), name
                assert isinstance(value, str), value
                assert 0 < len(value) <= 2048, value
            key = frozenset(labels.items())
            assert key not in seen, "a stream twice in a push"
            seen.add(key)
            complaints += self._entries(key, labels, stream["values"])
        if complaints:
            return 400, {}, "\n".join(complaints).encode()
        return 204, {}, b""

    def _entries(
        self, key: frozenset[tuple[str, str]], labels: dict[str, str], values: list[Any]
    ) -> list[str]:
        assert values, "a stream without entries"
        late = []
        for entry in values:
            assert len(entry) in (2, 3), entry
            ns, line = entry[:2]
            assert isinstance(ns, str), ns
            assert re.fullmatch(r"\d{19}", ns), ns
            assert isinstance(line, str), line
            more = entry[2] if len(entry) == 3 else {}
            assert all(isinstance(v, str) for v in more.values()), more
            if int(ns) < self.oldest:
                late.append(int(ns))
                continue
            entries = self.streams.setdefault(key, [])
            assert (int(ns), line, more) not in entries[-1000:], (
                "Loki keeps one of two that are alike"
            )
            entries.append((int(ns), line, more))
        if not late:
            return []
        shown = "{" + ", ".join(f'{k}="{v}"' for k, v in labels.items()) + "}"
        named = [
            f"entry with timestamp {go_time(ns)} ignored, reason: 'entry too far behind, entry timestamp is: {go_time(ns)}, "
            f"oldest acceptable timestamp is: {go_time(self.oldest)}',"
            for ns in (late if self.names_refused else late[:1])
        ]
        return [
            *named,
            f"user 'fake', total ignored: {len(late)} out of {len(values)} for stream: {shown}",
        ]

    @property
    def lines(self) -> list[str]:
        return [line for entries in self.streams.values() for _, line, _ in entries]


def go_time(ns: int) -> str:
    whole = datetime.datetime.fromtimestamp(ns // 10**9, datetime.timezone.utc)
    fraction = f"{ns % 10**9:09d}".rstrip("0")
    return f"{whole:%Y-%m-%d %H:%M:%S}{'.' + fraction if fraction else ''} +0000 UTC"


class Otlp(Receiver):
    """POST /v1/logs, in protobuf parsed by the official package, or in JSON held against its message types.

    Attributes:
        requests: ExportLogsServiceRequest messages, however they were sent.
        reject: what partial_success says of the next requests: (records, text).
    """

    def __init__(self, **options: Any) -> None:
        self.requests: list[Any] = []
        self.reject: deque[tuple[int, str]] = deque()
        super().__init__(**options)

    def take(self, got: Got) -> Answer:
        from google.protobuf import json_format
        from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
            ExportLogsServiceRequest,
            ExportLogsServiceResponse,
        )

        assert got.path == "/v1/logs", got.path
        kind = got.headers["Content-Type"]
        request, response = ExportLogsServiceRequest(), ExportLogsServiceResponse()
        if kind == "application/x-protobuf":
            request.ParseFromString(got.body)
            assert request.SerializeToString() == got.body, "unknown fields"
        else:
            assert kind == "application/json", kind
            tree = json.loads(got.body)
            check_otlp_json(tree)
            json_format.ParseDict(hex_to_base64(tree), request)  # unknown keys raise
        for record in records(request):
            assert len(record.trace_id) in (0, 16), record.trace_id
            assert len(record.span_id) in (0, 8), record.span_id
            assert 0 < record.time_unix_nano < 1 << 63
            assert record.observed_time_unix_nano > 0
            names = [a.key for a in record.attributes]
            assert len(names) == len(set(names)), names
            assert all(names), names
        self.requests.append(request)
        if self.reject:
            n, text = self.reject.popleft()
            response.partial_success.rejected_log_records = n
            response.partial_success.error_message = text
        if kind == "application/json":
            return 200, {"Content-Type": kind}, json_format.MessageToJson(response).encode()
        return 200, {"Content-Type": kind}, response.SerializeToString()

    @property
    def records(self) -> list[Any]:
        return [record for request in self.requests for record in records(request)]


def records(request: Any) -> list[Any]:
    return [
        record
        for resource in request.resource_logs
        for scope in resource.scope_logs
        for record in scope.log_records
    ]


def check_otlp_json(tree: Any) -> None:
    """What the JSON mapping of OTLP wants beyond protobuf's own: ids in hexadecimal, 64-bit numbers as text, enums as numbers."""
    if isinstance(tree, list):
        for item in tree:
            check_otlp_json(item)
    elif isinstance(tree, dict):
        for key, value in tree.items():
            assert "_" not in key, f"{key}: names are in camelCase"
            if key in ("traceId", "spanId"):
                assert re.fullmatch("[0-9a-f]{32}|[0-9a-f]{16}", value), value
            elif key in ("timeUnixNano", "observedTimeUnixNano", "intValue"):
                assert isinstance(value, str), value
                assert re.fullmatch(r"-?\d+", value), value
            elif key == "severityNumber":
                assert isinstance(value, int)
            check_otlp_json(value)


def hex_to_base64(tree: Any) -> Any:
    if isinstance(tree, list):
        return [hex_to_base64(item) for item in tree]
    if not isinstance(tree, dict):
        return tree
    return {
        k: base64.b64encode(binascii.unhexlify(v)).decode()
        if k in ("traceId", "spanId")
        else hex_to_base64(v)
        for k, v in tree.items()
    }


class Elastic(Receiver):
    """POST /_bulk, into data streams (which take only "create") and indexes.

    Attributes:
        documents: by index and id.
        verdicts: status and error type for the next documents with this message, instead of taking them.
    """

    def __init__(self, **options: Any) -> None:
        self.documents: dict[str, dict[str, dict[str, Any]]] = {}
        self.verdicts: dict[str, list[tuple[int, str]]] = {}
        super().__init__(**options)

    def take(self, got: Got) -> Answer:
        path, _, query = got.path.partition("?")
        assert path == "/_bulk", path
        known = {"filter_path", "pipeline"}
        assert {part.partition("=")[0] for part in query.split("&")} <= known, query
        assert got.headers["Content-Type"] == "application/x-ndjson"
        assert got.body.endswith(b"\n")
        lines = got.body.split(b"\n")[:-1]
        assert lines
        assert len(lines) % 2 == 0
        items = [
            self._document(json.loads(lines[i]), json.loads(lines[i + 1]))
            for i in range(0, len(lines), 2)
        ]
        errors = any(next(iter(item.values()))["status"] >= 300 for item in items)
        return 200, {}, json.dumps({"errors": errors, "items": items}).encode()

    def _document(self, action: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
        keys(action, [], ["create", "index"])
        ((what, meta),) = action.items()
        keys(meta, ["_index", "_id"])
        assert len(meta["_id"].encode()) <= 512
        name = meta["_index"]
        assert name == name.lower(), name
        stamp = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"
        assert re.fullmatch(stamp, document["@timestamp"]), document
        if name.startswith("logs-") and what != "create":
            return {
                what: {
                    "status": 400,
                    "error": {
                        "type": "illegal_argument_exception",
                        "reason": "only write ops with an op_type of create are allowed in data streams",
                    },
                }
            }
        if self.verdicts.get(document["message"]):
            status, kind = self.verdicts[document["message"]].pop(0)
            return {what: {"status": status, "error": {"type": kind, "reason": "because"}}}
        there = self.documents.setdefault(name, {})
        if meta["_id"] in there and what == "create":
            return {
                what: {
                    "status": 409,
                    "error": {
                        "type": "version_conflict_engine_exception",
                        "reason": "document already exists",
                    },
                }
            }
        status = 200 if meta["_id"] in there else 201
        there[meta["_id"]] = document
        return {what: {"status": status}}
