"""LokiSink, OtlpSink and ElasticSink against receivers that refuse whatever the published schemas do not have."""

from __future__ import annotations

import datetime
import json
import math
import os
import signal
import sys
import warnings
from collections import UserDict
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from conftest import DEADLINE
from receivers import Elastic, Loki, Otlp, records

from pymongoose.sinks import ElasticSink, LokiSink, OtlpSink, Pipeline, Retry, Sink
from pymongoose.sinks._time import iso, nanoseconds

SOON = Retry(base=0.01, cap=0.05)
T0 = 1_700_000_000.25


def deliver(sink: Sink, events: Sequence[dict[str, Any]], **options: Any) -> Any:
    """Events through a pipeline, whole: ts, level and message are among the fields."""
    with Pipeline([sink], **options) as pipe:
        for event in events:
            fields = dict(event)
            level = fields.pop("level", "info")
            assert pipe.emit(fields.pop("message", "event"), level=level, **fields)
        assert pipe.flush(DEADLINE)
        return pipe.stop(DEADLINE)


# -- time --


@pytest.mark.parametrize(
    ("ts", "ns"),
    [
        (T0, 1_700_000_000_250_000_000),
        (1_700_000_000.123457, 1_700_000_000_123_457_000),
        (1_700_000_000, 1_700_000_000_000_000_000),
        ("1700000000.5", 1_700_000_000_500_000_000),
        ("2023-11-14T22:13:20.250000+00:00", 1_700_000_000_250_000_000),
        ("2023-11-14T22:13:20.250000Z", 1_700_000_000_250_000_000),
        ("2023-11-15T00:13:20+02:00", 1_700_000_000_000_000_000),
        (
            datetime.datetime.fromtimestamp(T0, datetime.timezone.utc),
            1_700_000_000_250_000_000,
        ),
    ],
)
def test_time_of_an_event_in_any_form(ts: Any, ns: int) -> None:
    assert nanoseconds(ts) == ns
    assert iso(ns).endswith("Z")


@pytest.mark.parametrize(
    "ts", [None, "yesterday", math.nan, math.inf, -1.0, 1e300, 1 << 80, True, {}]
)
def test_without_a_usable_time_it_is_now(ts: Any) -> None:
    now = nanoseconds(None)
    assert now <= nanoseconds(ts) < now + DEADLINE * 10**9
    assert iso(nanoseconds(ts))[:2] == "20"


# -- Loki --


def test_loki_gets_streams_by_level_each_in_order_and_with_the_times_of_the_events() -> None:
    with Loki() as loki:
        sink = LokiSink(loki.url, labels={"app": "shop"}, batch_size=50, tenant="t1")
        events = [
            {"ts": T0 + i, "level": ("info", "error")[i % 3 == 0], "message": "m", "n": i}
            for i in range(200)
        ]
        result = deliver(sink, events)
        assert (result.sent, result.dropped) == (200, 0)
        for level in ("info", "error"):
            entries = loki.streams[frozenset({("app", "shop"), ("level", level)})]
            assert [json.loads(line) for _, line, _ in entries] == [
                {"message": "m", "n": e["n"]} for e in events if e["level"] == level
            ]
            assert [ns for ns, _, _ in entries] == [
                nanoseconds(e["ts"]) for e in events if e["level"] == level
            ]
        assert loki.tenants == {"t1": 4}
        assert loki.got[0].headers["Content-Encoding"] == "gzip"


def test_loki_keeps_both_of_two_entries_that_are_alike() -> None:
    with Loki() as loki:
        deliver(LokiSink(loki.url), [{"ts": T0, "message": "same"}] * 5)
        (entries,) = loki.streams.values()
        assert [ns - nanoseconds(T0) for ns, _, _ in entries] == [0, 1, 2, 3, 4]


def test_loki_labels_have_no_more_values_than_allowed_and_what_is_left_out_stays_in_the_line() -> (
    None
):
    with Loki() as loki:
        sink = LokiSink(loki.url, label_fields={"user-id": "user-id"}, max_label_values=3)
        deliver(sink, [{"ts": T0 + i, "user-id": f"u{i % 10}"} for i in range(100)])
        streams = {dict(labels)["user_id"]: entries for labels, entries in loki.streams.items()}
        assert set(streams) == {"u0", "u1", "u2", "__other__"}
        assert {json.loads(line).get("user-id") for _, line, _ in streams["u1"]} == {None}
        others = {json.loads(line)["user-id"] for _, line, _ in streams["__other__"]}
        assert others == {f"u{i}" for i in range(3, 10)}
        assert sum(len(e) for e in streams.values()) == 100


def test_loki_a_label_that_is_cut_stays_whole_in_the_line() -> None:
    with Loki() as loki:
        sink = LokiSink(loki.url, label_fields=["level", "path"])
        paths = ["x" * 2000, "x" * 1024 + "y", "x" * 1024, "short"]
        deliver(sink, [{"ts": T0 + i, "path": path} for i, path in enumerate(paths)])
        streams = {dict(labels)["path"]: entries for labels, entries in loki.streams.items()}
        assert set(streams) == {"x" * 1024, "short"}
        lines = [json.loads(line).get("path") for _, line, _ in streams["x" * 1024]]
        assert lines == [*paths[:2], None]


def test_loki_structured_metadata_is_text_and_no_label() -> None:
    with Loki() as loki:
        sink = LokiSink(loki.url, metadata_fields=["trace_id", "shard", "deep", "none", "yes"])
        fields = {"trace_id": "ab" * 16, "shard": 7, "deep": {"a": [1]}, "none": None, "yes": True}
        deliver(sink, [{"ts": T0, "message": "m", **fields}])
        ((labels, entries),) = loki.streams.items()
        assert labels == {("level", "info")}
        ((_, line, more),) = entries
        assert more == {"trace_id": "ab" * 16, "shard": "7", "deep": '{"a":[1]}', "yes": "true"}
        assert json.loads(line) == {"message": "m"}


def test_loki_lines_are_what_the_user_wants() -> None:
    with Loki() as loki:
        deliver(LokiSink(loki.url, line="message"), [{"ts": T0, "message": "just this", "a": 1}])
        assert loki.lines == ["just this"]

    def shout(event: dict[str, Any]) -> str:
        return event["message"].upper() + 1 // event["ok"] * "!"

    with Loki() as loki:
        sink = LokiSink(loki.url, line=shout, batch_size=3)
        result = deliver(sink, [{"ts": T0 + i, "message": "m", "ok": i != 1} for i in range(3)])
        assert loki.lines == ["M!", "M!"]
        assert (result.sent, result.dropped) == (2, 1)


def test_loki_entries_that_are_too_old_are_rejected_and_the_others_of_the_push_are_not() -> None:
    with Loki() as loki:
        loki.oldest = nanoseconds(T0 + 4.1)
        sink = LokiSink(loki.url, batch_size=10)
        result = deliver(sink, [{"ts": T0 + i, "message": f"m{i}"} for i in range(10)])
        assert (result.sent, result.dropped) == (5, 5)
        assert sink.stats().dropped == {"rejected": 5}
        assert [json.loads(line)["message"] for line in loki.lines] == [
            f"m{i}" for i in range(5, 10)
        ]


def test_loki_that_does_not_name_all_it_refused_rejects_the_batch_for_what_it_says() -> None:
    with Loki() as loki:
        loki.oldest = nanoseconds(T0 + 4.1)
        loki.names_refused = False
        sink = LokiSink(loki.url, batch_size=10)
        result = deliver(sink, [{"ts": T0 + i, "message": f"m{i}"} for i in range(10)])
        assert result.dropped == 10
        assert len(loki.lines) == 5


def test_loki_is_asked_again_after_503_and_in_halves_after_413() -> None:
    with Loki() as loki:
        loki.faults += [(503, {}, b""), (500, {}, b"")]
        loki.limit = 1500
        sink = LokiSink(loki.url, batch_size=100, compress=None, retry=SOON)
        result = deliver(sink, [{"ts": T0 + i, "n": i} for i in range(200)])
        assert (result.sent, result.dropped) == (200, 0)
        assert [json.loads(line)["n"] for line in loki.lines] == list(range(200))


@pytest.mark.parametrize(
    "options",
    [
        {"labels": {"a-b": "c"}},
        {"labels": {"level": "c"}},
        {"label_fields": ()},
        {"max_label_values": 0},
        {"line": "xml"},
        {"tenant": "a\r\nX-Other: b"},
        {"label_fields": ["a.b", "a_b"]},
        {"metadata_fields": ["a.b", "a-b"]},
    ],
)
def test_loki_wrong_arguments(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        LokiSink("http://a/", **options)


# -- OTLP --

FORMS = ["protobuf", "json"]


def value(any_value: Any) -> Any:
    kind = any_value.WhichOneof("value")
    if kind is None:
        return None
    if kind == "array_value":
        return [value(v) for v in any_value.array_value.values]
    if kind == "kvlist_value":
        return {kv.key: value(kv.value) for kv in any_value.kvlist_value.values}
    return getattr(any_value, kind)


@pytest.mark.parametrize("form", FORMS)
def test_otlp_record_is_the_event(form: Any) -> None:
    fields: dict[str, Any] = {
        "text": "héllo",
        "yes": True,
        "no": False,
        "count": -(1 << 63),
        "big": 1 << 70,
        "ratio": 0.5,
        "inf": -math.inf,
        "none": None,
        "raw": b"\x00\xff",
        "list": [1, "a", [True], None],
        "deep": {"a": {"b": [1.5]}, "1": {}},
        "half": "\ud800",
        "when": datetime.date(2026, 1, 2),
    }
    with Otlp() as otlp:
        sink = OtlpSink(otlp.url, encoding=form, resource={"service.name": "shop", "tags": ["a"]})
        deliver(
            sink,
            [
                {
                    "ts": T0,
                    "level": "warning",
                    "message": "hello",
                    "trace_id": "0123456789ABCDEF" * 2,
                    "span_id": "00000000000000ff",
                    "trace_flags": "01",
                    **fields,
                }
            ],
        )
        (request,) = otlp.requests
        (resource,) = request.resource_logs
        about = {a.key: value(a.value) for a in resource.resource.attributes}
        assert about["service.name"] == "shop"
        assert about["tags"] == ["a"]
        assert about["process.pid"] > 0
        (scope,) = resource.scope_logs
        assert scope.scope.name == "pymongoose.sinks"
        (record,) = scope.log_records
        assert record.time_unix_nano == nanoseconds(T0)
        assert (record.severity_number, record.severity_text) == (13, "warning")
        assert record.body.string_value == "hello"
        assert record.trace_id == bytes.fromhex("0123456789ABCDEF" * 2)
        assert record.span_id == bytes.fromhex("00000000000000ff")
        assert record.flags == 1
        got = {a.key: value(a.value) for a in record.attributes}
        expected = {**fields, "big": hex(1 << 70), "half": "?", "when": "2026-01-02"}
        assert got == expected
        kind = "application/json" if form == "json" else "application/x-protobuf"
        assert otlp.got[0].headers["Content-Type"] == kind
        assert otlp.got[0].headers["Content-Encoding"] == "gzip"


@pytest.mark.parametrize("form", FORMS)
def test_otlp_a_forked_process_names_itself(form: Any) -> None:
    with Otlp() as otlp:
        log = Pipeline([OtlpSink(otlp.url, encoding=form, resource={"service.name": "shop"})])
        log.start()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of forks beside threads
            child = os.fork()
        if not child:
            signal.alarm(30)  # the end of a child that hangs
            done = log.emit("from the child") and log.flush(DEADLINE)
            os._exit(0 if done else 1)
        assert os.waitpid(child, 0)[1] == 0
        log.emit("from here")
        assert log.flush(DEADLINE)
        log.stop()
        found = {}
        for request in otlp.requests:
            (logs,) = request.resource_logs
            about = {a.key: value(a.value) for a in logs.resource.attributes}
            assert about["service.name"] == "shop"
            found[records(request)[0].body.string_value] = about["process.pid"]
        assert found == {"from the child": child, "from here": os.getpid()}


@pytest.mark.parametrize("form", FORMS)
def test_otlp_a_container_that_raises_harms_no_other_event(form: Any) -> None:
    class Broken(UserDict[str, int]):
        def items(self) -> Any:
            raise RuntimeError("no")

    with Otlp() as otlp:
        sink = OtlpSink(otlp.url, encoding=form, batch_size=3)
        events: list[dict[str, Any]] = [{"n": 0}, {"n": 1, "odd": Broken(a=1)}, {"n": 2}]
        result = deliver(sink, events)
        assert (result.sent, sink.stats().retried) == (3, 0)
        found = [{a.key: value(a.value) for a in r.attributes} for r in otlp.records]
        assert [f["n"] for f in found] == [0, 1, 2]
        assert found[1]["odd"] == "{'a': 1}"


@pytest.mark.parametrize("form", FORMS)
def test_otlp_severity_of_each_level(form: Any) -> None:
    levels = ["trace", "debug", "info", "warning", "error", "critical"]
    with Otlp() as otlp:
        deliver(OtlpSink(otlp.url, encoding=form), [{"level": level} for level in levels])
        numbers = [(r.severity_number, r.severity_text) for r in otlp.records]
        assert numbers == list(zip([1, 5, 9, 13, 17, 21], levels, strict=True))


@pytest.mark.parametrize("form", FORMS)
def test_otlp_ids_that_are_none_stay_attributes_and_a_traceparent_is_taken_apart(form: Any) -> None:
    bad = {"trace_id": "xyz", "span_id": "0" * 16}
    parent = f"00-{'ab' * 16}-{'cd' * 8}-01"
    with Otlp() as otlp:
        deliver(OtlpSink(otlp.url, encoding=form), [bad, {"traceparent": parent}])
        first, second = otlp.records
        assert {a.key: value(a.value) for a in first.attributes} == bad
        assert first.trace_id == b""
        assert (second.trace_id.hex(), second.span_id.hex(), second.flags) == (
            "ab" * 16,
            "cd" * 8,
            1,
        )
        assert not second.attributes


@pytest.mark.parametrize("form", FORMS)
def test_otlp_partial_success_is_counted(form: Any) -> None:
    with Otlp() as otlp:
        otlp.reject += [(3, "too old"), (0, "slow down, please")]
        sink = OtlpSink(otlp.url, encoding=form, batch_size=10)
        result = deliver(sink, [{"n": i} for i in range(20)])
        assert (result.sent, result.dropped) == (17, 3)
        assert sink.stats().dropped == {"rejected": 3}
        assert len(otlp.requests) == 2


@pytest.mark.parametrize(
    ("status", "sent"), [(429, 10), (502, 10), (503, 10), (504, 10), (500, 0), (400, 0)]
)
def test_otlp_only_what_the_protocol_calls_retryable_is_sent_again(status: int, sent: int) -> None:
    with Otlp() as otlp:
        otlp.faults.append((status, {"Retry-After": "0"}, b""))
        result = deliver(
            OtlpSink(otlp.url, batch_size=10, retry=SOON), [{"n": i} for i in range(10)]
        )
        assert (result.sent, result.dropped) == (sent, 10 - sent)
        assert len(otlp.records) == sent


def test_otlp_falls_back_to_json_without_the_package_and_says_so_when_protobuf_was_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name = "opentelemetry.proto.collector.logs.v1.logs_service_pb2"
    with Otlp() as otlp:
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, name, None)
            sink = OtlpSink(otlp.url)
            with pytest.raises(ModuleNotFoundError, match="opentelemetry-proto"):
                OtlpSink(otlp.url, encoding="protobuf")
        deliver(sink, [{"n": 1}])
        assert otlp.got[0].headers["Content-Type"] == "application/json"
        deliver(OtlpSink(otlp.url), [{"n": 1}])
        assert otlp.got[1].headers["Content-Type"] == "application/x-protobuf"


# -- Elasticsearch --


def documents(elastic: Elastic, name: str) -> list[dict[str, Any]]:
    return list(elastic.documents[name].values())


def test_elastic_gets_each_event_as_a_document_with_an_id_of_its_own() -> None:
    with Elastic() as elastic:
        sink = ElasticSink(elastic.url, api_key=("me", "secret"), pipeline="p 1", batch_size=100)
        result = deliver(sink, [{"ts": T0 + i, "n": i} for i in range(250)])
        assert (result.sent, result.dropped) == (250, 0)
        found = documents(elastic, "logs-pymongoose-default")
        assert [d["n"] for d in found] == list(range(250))
        assert found[1] == {
            "@timestamp": "2023-11-14T22:13:21.250000Z",
            "level": "info",
            "message": "event",
            "n": 1,
        }
        assert elastic.got[0].headers["Authorization"] == "ApiKey bWU6c2VjcmV0"
        assert "pipeline=p%201" in elastic.got[0].path


def test_elastic_index_by_day_and_level_or_by_a_function() -> None:
    events = [{"ts": T0, "level": "error"}, {"ts": T0 + 86400, "level": "info"}]
    with Elastic() as elastic:
        deliver(ElasticSink(elastic.url, "app-{level}-{date}", action="index"), events)
        assert set(elastic.documents) == {"app-error-2023.11.14", "app-info-2023.11.15"}

    def where(event: dict[str, Any]) -> str:
        return f"app-{event['shard']}"

    with Elastic() as elastic:
        sink = ElasticSink(elastic.url, where, action="index")
        result = deliver(sink, [{"shard": 1}, {}, {"shard": 2}])
        assert set(elastic.documents) == {"app-1", "app-2"}
        assert (result.sent, result.dropped) == (2, 1)


def test_elastic_each_document_has_its_own_verdict() -> None:
    with Elastic() as elastic:
        elastic.verdicts = {
            "busy": [(429, "es_rejected_execution_exception")] * 2,
            "broken": [(503, "unavailable_shards_exception")],
            "odd": [(400, "document_parsing_exception")],
        }
        sink = ElasticSink(elastic.url, batch_size=10, retry=SOON)
        words = ["a", "busy", "b", "odd", "broken", "c", "d", "e", "f", "g"]
        result = deliver(sink, [{"message": word} for word in words])
        assert (result.sent, result.dropped) == (9, 1)
        assert sink.stats().dropped == {"rejected": 1}
        found = [d["message"] for d in documents(elastic, "logs-pymongoose-default")]
        assert sorted(found) == sorted(w for w in words if w != "odd")


def test_elastic_a_batch_whose_answer_was_lost_adds_nothing_twice() -> None:
    class Forgetful(Elastic):
        """Takes the first batch and does not say so."""

        lost = False

        def take(self, got: Any) -> Any:
            answer = super().take(got)
            if not self.lost:
                self.lost = True
                return 503, {}, b""
            return answer

    with Forgetful() as elastic:
        result = deliver(
            ElasticSink(elastic.url, batch_size=10, retry=SOON), [{"n": i} for i in range(20)]
        )
        assert (result.sent, result.dropped) == (20, 0)
        found = documents(elastic, "logs-pymongoose-default")
        assert sorted(d["n"] for d in found) == list(range(20))


def test_elastic_a_part_whose_answer_was_lost_adds_nothing_twice() -> None:
    class Forgetful(Elastic):
        """Takes the second request and does not say so."""

        taken = 0

        def take(self, got: Any) -> Any:
            answer = super().take(got)
            self.taken += 1
            return (503, {}, b"") if self.taken == 2 else answer

    with Forgetful() as elastic:
        elastic.limit = 1500
        sink = ElasticSink(
            elastic.url, batch_size=20, batch_timeout=60.0, compress=None, retry=SOON
        )
        result = deliver(sink, [{"n": i} for i in range(20)])
        assert (result.sent, result.dropped) == (20, 0)
        assert elastic.taken > 2
        found = documents(elastic, "logs-pymongoose-default")
        assert sorted(d["n"] for d in found) == list(range(20))


def test_elastic_413_is_sent_in_halves() -> None:
    with Elastic() as elastic:
        elastic.limit = 2000
        sink = ElasticSink(elastic.url, batch_size=50, compress=None, retry=SOON)
        result = deliver(sink, [{"n": i} for i in range(100)])
        assert (result.sent, result.dropped) == (100, 0)
        found = documents(elastic, "logs-pymongoose-default")
        assert sorted(d["n"] for d in found) == list(range(100))


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b'{"errors":true}', b'{"errors":true,"items":[{}]}']
)
def test_elastic_an_answer_that_is_none_is_no_acknowledgement(body: bytes) -> None:
    with Elastic() as elastic:
        elastic.faults.append((200, {}, body))
        result = deliver(ElasticSink(elastic.url, retry=SOON), [{"n": 1}])
        assert (result.sent, result.dropped) == (1, 0)
        assert len(documents(elastic, "logs-pymongoose-default")) == 1


@pytest.mark.parametrize(
    "options",
    [{"action": "delete"}, {"index": ""}, {"index": "a-{b}"}, {"api_key": "a", "auth": "b"}],
)
def test_elastic_wrong_arguments(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        ElasticSink("http://a/", **options)


# -- all of them --


@pytest.mark.parametrize(
    ("make", "path"),
    [
        (LokiSink, "/loki/api/v1/push"),
        (OtlpSink, "/v1/logs"),
        (ElasticSink, "/_bulk"),
    ],
)
def test_url_without_a_path_gets_the_usual_one(make: Callable[[str], Any], path: str) -> None:
    for url in ("http://host:1", "http://host:1/"):
        assert make(url).poster.url.partition("?")[0] == f"http://host:1{path}"
    own = make("http://host:1/own").poster.url.partition("?")[0]
    assert own == "http://host:1/own" + ("/_bulk" if make is ElasticSink else "")
