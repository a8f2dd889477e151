"""Processors and routes: what they change, what they filter, and what they count."""

from __future__ import annotations

import enum
import json
import sys
import weakref
from collections import ChainMap, OrderedDict, UserDict, UserList, deque, namedtuple
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import PurePosixPath
from types import MappingProxyType, SimpleNamespace
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
from pymongoose.sinks._encode import _by_json, encode


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


MAIL, CARD, HIDDEN = "bob@example.com", 4111111111111111, "hunter2"


class Text(str):
    pass


class Key(enum.Enum):
    PASSWORD = "password"


class TextKey(str, enum.Enum):
    PASSWORD = "password"


class Mail(enum.Enum):
    BOB = MAIL


class Login:
    """Shows what it has, as most reprs do."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __repr__(self) -> str:
        return f"Login(user='bob', password={self.value!r})"


class Held(Login):
    def __repr__(self) -> str:
        return f"Held({self.value!r})"


@dataclass
class Data:
    password: Any = None
    value: Any = None


@dataclass(slots=True)
class Slots:
    password: Any = None
    value: Any = None


class Lazy(Mapping[str, Any]):
    def __init__(self, of: dict[str, Any]) -> None:
        self.of = of

    def __getitem__(self, key: str) -> Any:
        return self.of[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.of)

    def __len__(self) -> int:
        return len(self.of)


Named = namedtuple("Named", ["password", "value"])  # noqa: PYI024  (what others have)

KEYS: list[Any] = [
    "password",
    "PassWord",
    b"password",
    Text("password"),
    Key.PASSWORD,
    TextKey.PASSWORD,
    ("password", 1),
    "db.password",
    "password.old",
]
LEAVES: list[Any] = [
    MAIL,
    MAIL.encode(),
    bytearray(MAIL.encode()),
    memoryview(MAIL.encode()),
    Text(MAIL),
    Mail.BOB,
    PurePosixPath("/home") / MAIL,
    ValueError(MAIL),
    f"\ud800 {MAIL}",
    CARD,
    float(CARD),
    Decimal(CARD),
    str(CARD),
    Held(MAIL),
    Held({"password": HIDDEN}),
    Login(HIDDEN),
    [("password", HIDDEN)],
    [(b"password", HIDDEN.encode())],
    ["x", None, 1.5, True, 10**30],
]
HOLDERS: list[Any] = [
    lambda v: [v],
    lambda v: (v, 1),
    lambda v: deque([v]),
    lambda v: UserList([v]),
    lambda v: {"a": v}.values(),
    lambda v: {"a": v}.items(),
    lambda v: {"a": v, MAIL: 1, CARD: 2, (MAIL,): 3, MAIL.encode(): 4},
    lambda v: OrderedDict(a=v),
    lambda v: UserDict(a=v),
    lambda v: MappingProxyType({"a": v}),
    lambda v: ChainMap({"a": v}),
    lambda v: Lazy({"a": v, "password": HIDDEN}),
    lambda v: Data(HIDDEN, v),
    lambda v: Slots(HIDDEN, v),
    lambda v: Named(HIDDEN, v),
    lambda v: SimpleNamespace(password=HIDDEN, value=v),
    lambda v: Held(v),
    lambda v: Login(v),
]
SECRETS = st.recursive(
    st.sampled_from(LEAVES) | st.sampled_from(KEYS).map(lambda k: {k: HIDDEN}),
    lambda inner: st.one_of(
        st.builds(lambda hold, v: hold(v), st.sampled_from(HOLDERS), inner),
        st.builds(lambda k, v: {k: [v, HIDDEN], "b": 1}, st.sampled_from(KEYS), inner),
    ),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(["a", "password", MAIL, "user.password"]), SECRETS))
@settings(max_examples=300, deadline=None)
def test_no_type_and_no_nesting_carries_a_secret_past_redaction(fields: dict[str, Any]) -> None:
    out = Redact(["password"], presets=["pii", "pci"])(event(**fields))
    for line in (encode(out), _by_json(out)):
        assert json.loads(line)["message"] == "m"
        for secret in (MAIL, str(CARD), HIDDEN):
            assert secret not in line.decode()


@pytest.mark.parametrize("hold", HOLDERS)
def test_what_is_no_secret_survives_in_every_container(hold: Any) -> None:
    fields = {"value": hold({"status": 200, "note": "all is well"})}
    line = encode(Redact(["password"], presets=["pii"])(event(**fields)))
    if isinstance(fields["value"], Login) and not isinstance(fields["value"], Held):
        assert json.loads(line)["value"] == "[redacted]"  # it shows a password
    else:
        assert b"all is well" in line


def test_values_that_cannot_change_keep_their_type_and_times_are_no_cards() -> None:
    kept = event(
        when=datetime(2026, 1, 2), price=Decimal("1.5"), data=b"x", us=1_732_673_023_445_217
    )
    out = Redact(["password"], presets=["pii", "pci"])(dict(kept))
    assert out == kept
    assert type(out["when"]) is datetime


def test_numbers_are_searched_for_patterns_of_ones_own() -> None:
    out = Redact(patterns=[r"\b\d{9}\b"])(event(id=123456789, n=12345, deep=[123456789, 1.5]))
    assert (out["id"], out["n"], out["deep"]) == ("[redacted]", 12345, ["[redacted]", 1.5])


def test_what_is_nested_in_itself_or_too_deep_is_cut_off() -> None:
    loop: dict[str, Any] = {"password": HIDDEN}
    loop.update(a=loop, b=[loop, loop], c={"d": loop})
    deep: Any = {"password": HIDDEN}
    for _ in range(60):
        deep = [deep]
    for process in (Redact(["password"]), Truncate()):
        out = process(event(loop=loop, deep=deep))
        assert "…" in json.dumps(json.loads(encode(out)), ensure_ascii=False)
    assert HIDDEN.encode() not in encode(Redact(["password"])(event(loop=loop, deep=deep)))
    assert b'"a":"..."' in encode(event(loop=loop))


def test_a_value_whose_str_raises_does_not_cost_the_event() -> None:
    class Bad:
        def __str__(self) -> str:
            raise RuntimeError("no")

    out = Redact(["password"], presets=["pii"], replace=masked())(event(a=Bad(), password=Bad()))
    assert "Bad: str() raised RuntimeError" in out["a"]
    assert out["message"] == "m"
    assert Truncate(50)(event(a=Bad()))["message"] == "m"


def test_an_object_that_cannot_even_be_asked_what_it_is_goes_alone() -> None:
    class Gone:
        pass

    out = Redact(["password"], presets=["pii"])(event(a=weakref.proxy(Gone()), b=[MAIL]))
    assert out["a"] == "<ProxyType: ReferenceError>"
    assert (out["message"], out["b"]) == ("m", ["[redacted]"])


def test_a_secret_at_the_bound_of_what_is_searched_is_not_cut_in_two() -> None:
    redact = Redact(presets=["pii"], max_text=20)
    for before in range(30):
        note = redact(event(note=" " * before + MAIL + " " * 500))["note"]
        assert "bob@" not in note
        assert note.endswith("…")


@pytest.mark.parametrize("newline", ["\n", "\\n"])
def test_private_keys_are_found_whole_escaped_and_cut_off(newline: str) -> None:
    lines = ["-----BEGIN RSA PRIVATE KEY-----", "MIIEpAIBAAKCAQEA", "-----END RSA PRIVATE KEY-----"]
    redact = Redact(presets=["credentials"])
    for text in (newline.join(lines), newline.join(lines[:2])):
        assert "MIIE" not in redact(event(note=f"key: {text}"))["note"]


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


@pytest.mark.parametrize(
    "pattern", ["(a+)+b", "(a*)*", "(?:x+y*)+", "([a-z]+)*@", "(", r"(\w{1,8})+!"]
)
def test_patterns_that_could_take_forever_are_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="pattern"):
        Redact(patterns=[pattern])


@pytest.mark.skipif(sys.version_info < (3, 11), reason="new in 3.11")
@pytest.mark.parametrize("pattern", ["(?>a+)+b", "(?:a++)+b", "(?:(?>(?:a+)))*b"])
def test_patterns_of_newer_kinds_are_refused_too(pattern: str) -> None:
    with pytest.raises(ValueError, match="repeats"):
        Redact(patterns=[pattern])


def test_a_repetition_within_a_condition_is_seen() -> None:
    with pytest.raises(ValueError, match="repeats"):
        Redact(patterns=[r"(?:(x)?(?(1)a+|b+))+c"])


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


class _Raises(dict):
    def items(self):
        raise RuntimeError("no")

    __iter__ = keys = values = items


class _NoInt(int):
    def __int__(self):
        raise RuntimeError("no")


class _Key(str):
    __slots__ = ()


@pytest.mark.parametrize("key", ["a\udc80", _Key("a"), 3, _NoInt(1 << 80), (1, "\udc80")])
@pytest.mark.parametrize("value", [_Raises(a=1), _NoInt(1 << 80)])
def test_no_key_and_no_value_makes_an_encoder_raise(key, value):
    for encoder in (encode, _by_json):
        assert json.loads(encoder(event(n=1) | {key: value}))["n"] == 1
