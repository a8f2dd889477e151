"""Processors and routes: what they change, what they filter, and what they count."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pymongoose.sinks import (
    Dedupe,
    Enrich,
    Pipeline,
    RateLimit,
    Redact,
    Route,
    Sample,
    Sink,
    Truncate,
    hashed,
    masked,
)


def event(**fields: Any) -> dict[str, Any]:
    return {"ts": 1.0, "level": "info", "message": "m", **fields}


class Kept(Sink):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.events: list[dict[str, Any]] = []

    async def write(self, event: dict[str, Any]) -> None:
        self.events.append(event)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_enrich_adds_values_and_results_and_keeps_what_is_there() -> None:
    n = iter(range(10))
    enrich = Enrich(service="shop", serial=lambda: next(n))
    assert enrich(event(service="own")) == event(service="own", serial=0)
    assert enrich(event()) == event(service="shop", serial=1)
    assert Enrich(overwrite=True, a=1)(event(a=2)) == event(a=1)


def test_sample_keeps_its_share_and_everything_that_matters() -> None:
    sample = Sample(0.25, seed=7)
    kept = [e for _ in range(4000) if (e := sample(event()))]
    assert 800 < len(kept) < 1200
    assert kept[0]["sample_rate"] == 0.25
    assert all(sample(event(level="error")) for _ in range(100))
    assert Sample(0.0)(event()) is None
    assert Sample(1.0)(event()) == event()


def test_sample_by_a_field_keeps_a_trace_whole_or_not_at_all() -> None:
    sample = Sample(0.5, by="trace_id")
    for trace in range(200):
        fates = {sample(event(trace_id=str(trace))) is None for _ in range(5)}
        assert len(fates) == 1


def test_rate_limit_lets_a_burst_through_and_says_what_it_held_back() -> None:
    clock = Clock()
    limit = RateLimit(1.0, burst=2, clock=clock)
    assert [limit(event()) is not None for _ in range(5)] == [True, True, False, False, False]
    assert limit(event(message="other")) is not None
    clock.now += 1.0
    assert limit(event()) == event(suppressed=3)
    assert limit(event()) is None


def test_rate_limit_remembers_so_many_keys_and_no_more() -> None:
    limit = RateLimit(1.0, burst=1, max_keys=3, clock=Clock())
    for n in range(100):
        assert limit(event(message=str(n))) is not None
    assert len(limit._buckets) == 3


def test_dedupe_passes_once_in_a_window_and_counts_the_repetitions() -> None:
    clock = Clock()
    dedupe = Dedupe(5.0, clock=clock)
    assert [dedupe(event()) is not None for _ in range(4)] == [True, False, False, False]
    assert dedupe(event(message="other")) is not None
    assert dedupe(event(level="critical")) is not None
    assert dedupe(event(level="critical")) is not None
    clock.now += 5.0
    assert dedupe(event()) == event(repeated=3)


def test_truncate_cuts_and_says_how_much_is_missing() -> None:
    cut = Truncate(5, max_items=2, max_depth=2)
    assert cut(event(text="123456789"))["text"] == "12345…(+4)"
    assert cut(event(items=[1, 2, 3]))["items"] == [1, 2, "…(+1)"]
    assert cut(event(map={"a": 1, "b": 2, "c": 3}))["map"] == {"a": 1, "b": 2, "…": "…(+1)"}
    assert cut(event(deep=[[[["x"]]]]))["deep"] == [["[['x'…(+2)"]]
    assert cut(event(data=b"\xff12345678"))["data"] == "\\xff1…(+7)"
    assert cut(event(n=10**30, f=1.5, none=None)) == event(n=10**30, f=1.5, none=None)


@pytest.mark.parametrize(
    ("text", "preset", "hidden"),
    [
        ("mail bob.b+x@mail.example.com now", "pii", "bob.b+x@mail.example.com"),
        ("card 4111 1111 1111 1111 paid", "pci", "4111 1111 1111 1111"),
        ("card 4111111111111111", "pci", "4111111111111111"),
        ("iban DE89 3704 0044 0532 0130 00.", "pii", "DE89 3704 0044 0532 0130 00"),
        ("ssn 078-05-1120", "pii", "078-05-1120"),
        ("call +49 (89) 1234-5678", "pii", "+49 (89) 1234-5678"),
        ("from 192.0.2.17:80", "gdpr", "192.0.2.17"),
        ("Authorization: Bearer abcdef123456", "credentials", "Bearer abcdef123456"),
        ("postgres://app:s3cret@db/x", "credentials", "app:s3cret"),
        ("key AKIAIOSFODNN7EXAMPLE", "credentials", "AKIAIOSFODNN7EXAMPLE"),
        (
            "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.dozjgNryP4J3jVmN",
            "credentials",
            "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.dozjgNryP4J3jVmN",
        ),
    ],
)
def test_presets_hide_what_they_are_for(text: str, preset: str, hidden: str) -> None:
    out = Redact(presets=[preset])(event(note=text, nested={"list": [text]}, message=text))
    assert hidden not in str(out)
    assert "[redacted]" in out["note"]
    assert "[redacted]" in out["message"]
    assert "[redacted]" in out["nested"]["list"][0]


@pytest.mark.parametrize(
    "text",
    ["order 4111 1111 1111 1112", "version 1.2.3.4.5", "2026-11-26", "DE00 1234 5678 9012", "a@b"],
)
def test_what_only_looks_alike_is_left_alone(text: str) -> None:
    assert Redact(presets=["pii", "pci", "gdpr"])(event(note=text))["note"] == text


def test_fields_are_hidden_by_name_and_by_path_at_any_depth() -> None:
    redact = Redact(["password", "*_key", "user.name"])
    out = redact(
        event(
            Password="x",
            user={"name": "bob", "id": 1, "api_KEY": "k"},
            name="free",
            list=[{"password": {"a": 1}}],
            secret_key=17,
        )
    )
    assert out["Password"] == out["secret_key"] == "[redacted]"
    assert out["user"] == {"name": "[redacted]", "id": 1, "api_KEY": "[redacted]"}
    assert out["list"] == [{"password": "[redacted]"}]
    assert out["name"] == "free"


def test_secrets_in_keys_bytes_and_objects_are_found() -> None:
    class Odd:
        def __str__(self) -> str:
            return "Odd(bob@example.com)"

    out = Redact(presets=["pii"])(
        event(
            map={"bob@example.com": 1},
            data=b"to bob@example.com",
            odd=Odd(),
            err=ValueError("bob@example.com"),
        )
    )
    assert "bob@example.com" not in str(out)


def test_replacements_can_mask_or_hash() -> None:
    assert (
        Redact(patterns=["card"], replace=masked(4))(event(n="4111111111111111"))["n"]
        == "*" * 12 + "1111"
    )
    redact = Redact(patterns=["email"], replace=hashed("key"))
    one, two = redact(event(a="x@example.com"))["a"], redact(event(a="x@example.com"))["a"]
    assert one == two != "x@example.com"
    assert Redact(patterns=["email"], replace=hashed("other"))(event(a="x@example.com"))["a"] != one


def test_ts_level_and_kept_fields_are_left_alone() -> None:
    redact = Redact(["ts", "level", "email"], keep=["email"])
    assert redact(event(email="a@example.com")) == event(email="a@example.com")


@pytest.mark.parametrize("pattern", ["(a+)+b", "(a*)*", "(?:x+y*)+", "([a-z]+)*@", "("])
def test_patterns_that_could_take_forever_are_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="pattern"):
        Redact(patterns=[pattern])


@given(st.text(alphabet="abe@.-+ 0123456789:/eyJ_=", max_size=3000))
@settings(max_examples=60, deadline=None)
def test_no_text_takes_the_presets_long(text: str) -> None:
    redact = Redact(presets=["credentials", "pii", "pci", "gdpr", "hipaa"])
    out = redact(event(note=text * 4))  # an exponential search would outlast the test's time limit
    assert isinstance(out["note"], str)


def test_unknown_presets_are_named() -> None:
    with pytest.raises(ValueError, match="'nope'"):
        Redact(presets=["nope"])


def test_a_processor_that_raises_costs_the_event_and_never_lets_it_through() -> None:
    sink = Kept()

    def broken(event: dict[str, Any]) -> dict[str, Any]:
        raise RuntimeError("bug")

    with Pipeline([sink], processors=[broken]) as log:
        assert log.emit("secret")
    assert sink.events == []
    assert log.stats().dropped == {"processor_error": 1}


def test_filtered_events_are_counted_apart() -> None:
    sink = Kept()
    with Pipeline([sink], processors=[Sample(0.0)]) as log:
        for _ in range(5):
            log.emit("m")
    stats = log.stats()
    assert (stats.filtered, stats.dropped, stats.sent) == (5, {}, 0)


def test_routes_choose_by_level_field_and_function() -> None:
    errors, orders, both, low = Kept(), Kept(), Kept(), Kept()
    sinks = [
        Route(errors, level="error"),
        Route(orders, where={"kind": {"order", "refund"}, "n": lambda n: n > 1}),
        Route(both, where=lambda e: e["message"].startswith("x")),
        Route(low, below="info"),
    ]
    with Pipeline(sinks) as log:
        log.emit("a", level="error", kind="order", n=1)
        log.emit("b", kind="refund", n=2)
        log.emit("x", level="debug")
    assert [e["message"] for e in errors.events] == ["a"]
    assert [e["message"] for e in orders.events] == ["b"]
    assert [e["message"] for e in both.events] == ["x"]
    assert [e["message"] for e in low.events] == ["x"]


def test_a_route_needs_a_function_or_a_mapping() -> None:
    with pytest.raises(TypeError, match="where"):
        Route(Kept(), where="level")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="loud"):
        Route(Kept(), level="loud")


@pytest.mark.parametrize(
    "make",
    [
        lambda: Sample(1.5),
        lambda: RateLimit(0),
        lambda: RateLimit(1, burst=0.5),
        lambda: RateLimit(1, max_keys=0),
        lambda: Dedupe(0),
        lambda: Dedupe(max_keys=0),
        lambda: Truncate(0),
        lambda: Redact(max_text=0),
        lambda: masked(-1),
        lambda: hashed(""),
        lambda: hashed("k", 4),
    ],
)
def test_numbers_out_of_range_are_refused(make: Any) -> None:
    with pytest.raises(ValueError, match=r"must"):
        make()
