"""Events as OTLP log records: one walk over an event, two ways to write what is found.

https://opentelemetry.io/docs/specs/otlp/ and the data model of logs.
"""

from __future__ import annotations

import base64
import importlib
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from ._encode import decode, encode, shown
from ._levels import level_index
from ._time import nanoseconds

SEVERITY = (1, 5, 9, 13, 17, 21)
"""SeverityNumber of trace, debug, info, warning, error, critical."""

DEEPEST = 16  # levels of nested values; what is below is text
_HEX = re.compile(r"[0-9a-fA-F]+")
_PARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_OWN = frozenset({"ts", "level", "message"})


def hex_id(value: Any, digits: int) -> str:
    """An id in hexadecimal, lower case; empty if it is none. All zeros are none."""
    if not isinstance(value, str) or len(value) != digits or not _HEX.fullmatch(value):
        return ""
    return value.lower() if value.strip("0") else ""


class Trace:
    """Where in a trace an event belongs: of its fields trace_id, span_id and trace_flags, or of a traceparent (W3C)."""

    __slots__ = ("flags", "span_id", "trace_id", "used")

    def __init__(self, event: Mapping[str, Any]) -> None:
        self.trace_id = hex_id(event.get("trace_id"), 32)
        self.span_id = hex_id(event.get("span_id"), 16)
        self.flags = 0
        self.used: frozenset[str] = _OWN
        if self.trace_id:
            self.used |= {"trace_id"}
        if self.span_id:
            self.used |= {"span_id"}
        flags = event.get("trace_flags")
        if isinstance(flags, str) and len(flags) == 2 and _HEX.fullmatch(flags):
            self.flags = int(flags, 16)
            self.used |= {"trace_flags"}
        elif isinstance(flags, int) and 0 <= flags < 256:
            self.flags = int(flags)
            self.used |= {"trace_flags"}
        parent = event.get("traceparent")
        if self.trace_id or not isinstance(parent, str):
            return
        m = _PARENT.fullmatch(parent)
        if m and hex_id(m[1], 32) and hex_id(m[2], 16):
            self.trace_id, self.span_id, self.flags = m[1], m[2], int(m[3], 16)
            self.used |= {"traceparent"}


_NO_TRACE = Trace({})


def trace_of(event: Mapping[str, Any]) -> Trace:
    if "trace_id" in event or "traceparent" in event or "span_id" in event:
        return Trace(event)
    return _NO_TRACE


def severity(event: Mapping[str, Any]) -> int:
    try:
        return SEVERITY[level_index(event.get("level", "info"))]
    except (ValueError, TypeError):  # a level of somebody's own: no number, its text stays
        return 0


class Writer(Protocol):
    """Makes the body of a request, and reads that of an answer."""

    content_type: str

    def request(self, batch: Sequence[Mapping[str, Any]], observed: int) -> bytes: ...
    def partial(self, answer: bytes) -> tuple[int, str]:
        """Records rejected, and the text with it. Raises ValueError: it is no answer."""


class JsonWriter:
    """The JSON form of OTLP: names in camelCase, 64-bit numbers as text, ids in hexadecimal."""

    content_type = "application/json"

    def __init__(self, resource: Mapping[str, Any], scope: tuple[str, str]) -> None:
        self._resource = {"attributes": json_attributes(resource, frozenset())}
        self._scope = {"name": scope[0], "version": scope[1]}

    def request(self, batch: Sequence[Mapping[str, Any]], observed: int) -> bytes:
        seen = str(observed)
        records = [self._safe_record(event, seen) for event in batch]
        logs = [{"scope": self._scope, "logRecords": records}]
        return encode({"resourceLogs": [{"resource": self._resource, "scopeLogs": logs}]})

    def _safe_record(self, event: Mapping[str, Any], observed: str) -> dict[str, Any]:
        try:
            return self._record(event, observed)
        except Exception:  # noqa: BLE001  (of somebody's container)
            return self._record(plain(event), observed)

    def _record(self, event: Mapping[str, Any], observed: str) -> dict[str, Any]:
        trace = trace_of(event)
        record = {
            "timeUnixNano": str(nanoseconds(event.get("ts"))),
            "observedTimeUnixNano": observed,
            "severityNumber": severity(event),
            "severityText": text(event.get("level", "info")),
            "body": json_value(event.get("message", "")),
            "attributes": json_attributes(event, trace.used),
        }
        if trace.trace_id:
            record["traceId"] = trace.trace_id
        if trace.span_id:
            record["spanId"] = trace.span_id
        if trace.flags:
            record["flags"] = trace.flags
        return record

    def partial(self, answer: bytes) -> tuple[int, str]:
        found: Any = decode(answer or b"{}")
        part = found.get("partialSuccess") if isinstance(found, dict) else None
        if not isinstance(part, dict):
            return 0, ""
        return int(part.get("rejectedLogRecords") or 0), str(part.get("errorMessage") or "")


def json_attributes(event: Mapping[str, Any], without: frozenset[str]) -> list[dict[str, Any]]:
    return [
        {
            "key": k if k.__class__ is str else text(k),
            "value": {"stringValue": v} if v.__class__ is str else json_value(v),
        }
        for k, v in event.items()
        if k not in without
    ]


def json_value(value: Any, depth: int = 0) -> dict[str, Any]:
    kind = value.__class__
    if kind is str:
        return {"stringValue": value}
    if kind is bool:
        return {"boolValue": value}
    if kind is int:
        return (
            {"intValue": str(value)}
            if -(1 << 63) <= value < 1 << 63
            else {"stringValue": hex(value)}
        )
    if kind is float:
        if math.isfinite(value):
            return {"doubleValue": value}
        return {
            "doubleValue": "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
        }
    if value is None:
        return {}
    if depth < DEEPEST:
        if isinstance(value, Mapping):
            pairs = [{"key": text(k), "value": json_value(v, depth + 1)} for k, v in value.items()]
            return {"kvlistValue": {"values": pairs}}
        if isinstance(value, (list, tuple, set, frozenset)):
            return {"arrayValue": {"values": [json_value(v, depth + 1) for v in value]}}
    if isinstance(value, (bytes, bytearray, memoryview)):
        return {"bytesValue": base64.b64encode(value).decode()}
    return {"stringValue": text(value)}


class ProtobufWriter:
    """The binary form, by the official package's messages.

    Raises:
        ModuleNotFoundError: opentelemetry-proto is not installed.
    """

    content_type = "application/x-protobuf"

    def __init__(self, resource: Mapping[str, Any], scope: tuple[str, str]) -> None:
        service = importlib.import_module("opentelemetry.proto.collector.logs.v1.logs_service_pb2")
        self._request: Any = service.ExportLogsServiceRequest
        self._response: Any = service.ExportLogsServiceResponse
        self._resource = resource
        self._scope = scope

    def request(self, batch: Sequence[Mapping[str, Any]], observed: int) -> bytes:
        request = self._request()
        logs = request.resource_logs.add()
        for key, value in self._resource.items():
            put(logs.resource.attributes.add(key=text(key)).value, value, 0)
        logs = logs.scope_logs.add()
        logs.scope.name, logs.scope.version = self._scope
        records = logs.log_records
        add = records.add
        for event in batch:
            try:
                self._record(add, event, observed)
            except Exception:  # noqa: BLE001  (of somebody's container)
                del records[-1]
                self._record(add, plain(event), observed)
        return bytes(request.SerializeToString())

    def _record(self, add: Any, event: Mapping[str, Any], observed: int) -> None:
        trace = trace_of(event)
        record = add(
            time_unix_nano=nanoseconds(event.get("ts")) % (1 << 64),
            observed_time_unix_nano=observed,
            severity_number=severity(event),
            severity_text=text(event.get("level", "info")),
        )
        put(record.body, event.get("message", ""), 0)
        add, without = record.attributes.add, trace.used
        for key, value in event.items():
            if key in without:
                continue
            into = add(key=text(key)).value
            if value.__class__ is str and value.isascii():
                into.string_value = value
            else:
                put(into, value, 0)
        if trace.trace_id:
            record.trace_id = bytes.fromhex(trace.trace_id)
        if trace.span_id:
            record.span_id = bytes.fromhex(trace.span_id)
        if trace.flags:
            record.flags = trace.flags

    def partial(self, answer: bytes) -> tuple[int, str]:
        response = self._response()
        try:
            response.ParseFromString(answer)
        except Exception as exc:
            raise ValueError(str(exc)) from exc
        part = response.partial_success
        return part.rejected_log_records, part.error_message


def plain(event: Mapping[str, Any]) -> dict[str, Any]:
    """The event as it is in JSON."""
    return decode(encode(dict(event)))


def put(into: Any, value: Any, depth: int) -> None:
    """A value into an AnyValue."""
    kind = value.__class__
    if kind is str:
        try:
            into.string_value = value
        except UnicodeEncodeError:  # half of a surrogate pair
            into.string_value = text(value)
    elif kind is bool:
        into.bool_value = value
    elif kind is int:
        if -(1 << 63) <= value < 1 << 63:
            into.int_value = value
        else:
            into.string_value = hex(value)
    elif kind is float:
        into.double_value = value
    elif value is None:
        return
    elif depth < DEEPEST and isinstance(value, Mapping):
        into.kvlist_value.SetInParent()
        for k, v in value.items():
            put(into.kvlist_value.values.add(key=text(k)).value, v, depth + 1)
    elif depth < DEEPEST and isinstance(value, (list, tuple, set, frozenset)):
        into.array_value.SetInParent()
        for v in value:
            put(into.array_value.values.add(), v, depth + 1)
    elif isinstance(value, (bytes, bytearray, memoryview)):
        into.bytes_value = bytes(value)
    else:
        into.string_value = text(value)


def text(value: Any) -> str:
    """Of anything, in clean Unicode."""
    if value.__class__ is str:
        return str(value) if value.isascii() else value.encode("utf-8", "replace").decode()
    return str(shown(value))
