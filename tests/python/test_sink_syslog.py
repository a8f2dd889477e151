"""SyslogSink: rsyslogd receives every event over every transport, and understands each field as it was meant."""

from __future__ import annotations

import os
import re
import signal
import socket
import ssl
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import certs
import pytest
import rsyslog
from conftest import DEADLINE, eventually
from rsyslog import Rsyslog

from pymongoose.sinks import Pipeline, Retry, SyslogSink
from pymongoose.sinks._syslog_format import FACILITIES, SyslogFormat, sd_name

TRANSPORTS = ["udp", "tcp", "tls", "dgram", "stream"]
QUICK = Retry(base=0.01, cap=0.05)


@pytest.fixture(scope="module")
def receiver() -> Iterator[Rsyslog]:
    with rsyslog.running() as it:
        yield it


@pytest.fixture
def fresh(receiver: Rsyslog) -> Rsyslog:
    """It has received nothing yet."""
    eventually(
        lambda: (
            os.truncate(receiver.folder / "out", 0) is None
            if (receiver.folder / "out").exists()
            else True
        )
    )
    return receiver


def context(authority: certs.Authority | None = None) -> ssl.SSLContext:
    pem = (authority or certs.root()).pem
    return ssl.create_default_context(cadata=pem.decode())


def sink_for(receiver: Rsyslog, transport: str, **options: Any) -> SyslogSink:
    if transport == "tls":
        options.setdefault("tls", context())
    return SyslogSink(receiver.addresses[transport], retry=QUICK, breaker=None, **options)


EVENTS: list[tuple[str, dict[str, Any], dict[str, str]]] = [
    ("plain", {}, {}),
    ("Grüße, 世界 🎉", {"wer": "Jürgen"}, {"wer": "Jürgen"}),
    ('two\nlines\tand \\ [x] "y"', {"q": 'a"b]c\\d', "end": "\\"}, {"q": 'a"b]c\\d', "end": "\\"}),
    (
        "  spaces around  ",
        {"n": 1, "f": 1.5, "yes": True, "none": None},
        {"n": "1", "f": "1.5", "yes": "true", "none": "null"},
    ),
    ("nested", {"a": {"b": [1, "]"]}}, {"a": '{"b":[1,"]"]}'}),
    (
        "names",
        {'w x="]ü': "v", "x" * 40: "1", "x" * 41: "2"},
        {"w_x____": "v", "x" * 32: "1", "x" * 30 + "~2": "2"},
    ),
    ("", {"only": "fields"}, {"only": "fields"}),
]


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_every_event_arrives_and_is_understood(fresh: Rsyslog, transport: str) -> None:
    sink = sink_for(
        fresh,
        transport,
        facility="local3",
        app_name="shop",
        hostname="box",
        msgid="ID47",
        batch_size=40,
    )
    count = 300
    with Pipeline([sink]) as log:
        for n in range(count):
            message, fields, _ = EVENTS[n % len(EVENTS)]
            assert log.emit(message, level="warning", ts=1700000000.25 + n, number=n, **fields)
    got = fresh.wait_for(count)
    assert len(got) == count
    got.sort(key=lambda m: int(m["sd"]["number"]))  # datagrams have no order
    for n, message in enumerate(got):
        text, _, params = EVENTS[n % len(EVENTS)]
        assert message["msg"] == text if text.isascii() else message["msg"] == "\ufeff" + text
        assert message["sd"] == {"number": str(n), **params}
        assert (message["sd_id"], message["pri"]) == ("fields@32473", FACILITIES["local3"] * 8 + 4)
        assert (message["host"], message["app"], message["msgid"]) == ("box", "shop", "ID47")
        assert message["procid"] == str(os.getpid())
        assert (
            datetime.fromisoformat(message["ts"].replace("Z", "+00:00")).timestamp()
            == 1700000000.25 + n
        )
    assert (sink.stats().sent, sink.stats().retried, sink.stats().dropped) == (count, 0, {})


def test_levels_become_severities(fresh: Rsyslog) -> None:
    levels = {"trace": 7, "debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}
    with Pipeline([sink_for(fresh, "tcp", facility=16)]) as log:
        for level in levels:
            log.emit(level, level=level)
    assert {m["msg"]: m["pri"] - 128 for m in fresh.wait_for(len(levels))} == levels


def test_line_feeds_end_a_message_of_the_old_framing(fresh: Rsyslog) -> None:
    with Pipeline([sink_for(fresh, "stream", framing="lines")]) as log:
        log.emit("one\ntwo", text="a\nb")
        log.emit("three")
    assert [(m["msg"], m["sd"]) for m in fresh.wait_for(2)] == [
        ("one two", {"text": "a b"}),
        ("three", {}),
    ]


def test_a_message_that_is_too_long_arrives_shortened_and_says_so(fresh: Rsyslog) -> None:
    with Pipeline([sink_for(fresh, "udp")]) as log:
        log.emit("ü" * 5000, small="s", large="l" * 5000)
    (message,) = fresh.wait_for(1)
    assert message["sd"] == {"truncated": "1", "small": "s"}
    assert re.fullmatch("\ufeffü{500,1100}", message["msg"])


@pytest.mark.parametrize("transport", ["tcp", "tls", "stream", "dgram"])
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_what_is_emitted_while_the_receiver_is_away_arrives_when_it_is_back(
    transport: str, how: signal.Signals
) -> None:
    with rsyslog.running() as receiver:
        sink = sink_for(receiver, transport)
        with Pipeline([sink]) as log:
            log.emit("m", n=0)
            assert log.flush(DEADLINE)
            receiver.wait_for(1)
            receiver.stop(how)
            for n in range(1, 50):
                log.emit("m", n=n)
            eventually(lambda: sink.stats().retried > 0)
            for n in range(50, 100):
                log.emit("m", n=n)
            receiver.start()
            assert log.flush(DEADLINE)
        eventually(lambda: {int(m["sd"]["n"]) for m in receiver.received()} == set(range(100)))
        assert sink.stats().dropped == {}


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"tls": context(certs.other_root())}, "certificate verify failed"),
        ({}, "certificate verify failed"),  # the system's authorities
        ({"tls": context(), "server_name": "elsewhere.example"}, "Hostname mismatch"),
    ],
    ids=["other authority", "default", "other name"],
)
def test_a_receiver_that_cannot_be_verified_gets_nothing(
    fresh: Rsyslog, options: dict[str, Any], complaint: str
) -> None:
    sink = SyslogSink(
        fresh.addresses["tls"], retry=QUICK, breaker=None, drain_timeout=0.2, **options
    )
    with pytest.raises(ssl.SSLCertVerificationError, match=complaint):
        sink._wire.send([b"secret"])
    log = Pipeline([sink])
    log.start()
    log.emit("secret")
    eventually(lambda: sink.stats().retried > 0)
    result = log.stop(0.5)
    assert (result.sent, result.dropped) == (0, 1)
    assert fresh.received() == []


def test_a_client_certificate_is_shown_to_a_receiver_that_asks() -> None:
    with rsyslog.running("x509/certvalid") as receiver:
        own = context()
        (receiver.folder / "alice.pem").write_bytes(certs.client().pem + certs.client().key_pem)
        own.load_cert_chain(receiver.folder / "alice.pem")
        with Pipeline([sink_for(receiver, "tls", tls=own)]) as log:
            log.emit("m")
        assert [m["msg"] for m in receiver.wait_for(1)] == ["m"]


def test_a_receiver_that_does_not_read_is_given_up_and_the_batch_sent_once_more() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(DEADLINE)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        sink = SyslogSink(address, timeout=1.0, retry=QUICK, breaker=None, max_message=1 << 20)
        with Pipeline([sink], max_bytes=1 << 26) as log:
            for n in range(20):
                log.emit("m", n=n, text="x" * 50_000)
            hung, _ = server.accept()
            reader, _ = server.accept()  # it came again
            with hung, reader:
                reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
                reader.settimeout(DEADLINE)
                data = b""
                while data.count(b' n="') < 20:
                    data += reader.recv(1 << 20)
                assert [int(n) for n in re.findall(rb' n="(\d+)"', data)] == list(range(20))
        assert sink.stats().dropped == {}


def test_a_message_too_long_for_a_datagram_is_rejected_and_the_others_go(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(path))
        receiver.settimeout(DEADLINE)
        sink = SyslogSink(f"unix:{path}", max_message=1 << 20, batch_size=4, batch_timeout=60.0)
        with Pipeline([sink]) as log:
            log.emit("one")
            log.emit("x" * 1_000_000)
            log.emit("time", ts=datetime.min)
            log.emit("two")
            assert [receiver.recv(1 << 21).split()[-1] for _ in range(3)] == [
                b"one",
                b"time",
                b"two",
            ]
            assert log.flush(DEADLINE)
    assert (sink.stats().sent, sink.stats().dropped) == (3, {"rejected": 1})


# -- messages --

SYSLOG_MSG = re.compile(
    rb"<(?P<pri>\d{1,3})>1 (?P<ts>-|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?Z) (?P<host>[!-~]{1,255}) (?P<app>[!-~]{1,48}) "
    rb"(?P<procid>[!-~]{1,128}) (?P<msgid>[!-~]{1,32}) "
    rb'(?P<sd>-|\[[!#-<>-\\^-~]{1,32}(?: [!#-<>-\\^-~]{1,32}="(?:[^"\\\]]|\\["\\\]])*")*\])(?P<msg> (?:\xef\xbb\xbf)?.*)?',
    re.DOTALL,
)  # RFC 5424, section 6


def message(event: dict[str, Any], limit: int = 480, **header: str) -> bytes:
    values = {"hostname": "h", "app_name": "a", "msgid": "-", "sd_id": "f@1", **header}
    made = SyslogFormat(1, **values, max_message=limit).message(event, "1")  # type: ignore[arg-type]
    match = SYSLOG_MSG.fullmatch(made)
    assert match is not None, made
    match["sd"].decode()
    (match["msg"] or b"").decode()
    assert len(made) <= limit
    return made


@pytest.mark.parametrize("size", [0, 1, 100, 390, 395, 400, 405, 410, 430, 450, 480, 5000])
@pytest.mark.parametrize("character", ["x", "ü", "世", "🎉", '"', "]"])
def test_messages_of_every_size_are_whole_characters_within_the_limit(
    size: int, character: str
) -> None:
    text = character * size
    message({"ts": 1.0, "level": "info", "message": text})
    message({"ts": 1.0, "level": "info", "message": "m", "a": text, "b": 1})
    message({"ts": 1.0, "level": "info", "message": text, "a": text, "b": text})
    message(
        {"ts": 1.0, "level": "info", "message": "m", **{f"{character}{n}": n for n in range(size)}}
    )


@pytest.mark.parametrize(
    ("event", "made"),
    [
        (
            {"ts": 1.5, "level": "info", "message": "m"},
            b"<14>1 1970-01-01T00:00:01.500000Z h a 1 - - m",
        ),
        (
            {"ts": "2026-01-31T23:00:00+01:00", "message": "m"},
            b"<14>1 2026-01-31T22:00:00.000000Z h a 1 - - m",
        ),
        ({"ts": "today", "message": "m"}, b'<14>1 - h a 1 - [f@1 ts="today"] m'),
        ({"ts": -1, "message": ""}, b'<14>1 - h a 1 - [f@1 ts="-1"]'),
        ({"message": None}, b"<14>1 - h a 1 - - null"),
        ({"message": "a\ud800", "b": "\udfff"}, b'<14>1 - h a 1 - [f@1 b="?"] a?'),
        ({"message": "m", "": 1}, b'<14>1 - h a 1 - [f@1 _="1"] m'),
    ],
)
def test_messages_as_bytes(event: dict[str, Any], made: bytes) -> None:
    assert message(event) == made


def test_a_header_that_fills_the_message_leaves_no_room_for_text() -> None:
    made = SyslogFormat(1, "h" * 300, "a" * 300, "i" * 300, "f@1", 480)
    assert not made.message({"message": "x" * 5000}, "p" * 300).endswith(b"x")


def test_header_values_are_printable_and_within_their_lengths() -> None:
    made = message(
        {"message": "m"}, 1000, hostname="hö st" + "x" * 300, app_name="", msgid="i" * 50
    )
    match = SYSLOG_MSG.fullmatch(made)
    assert match is not None
    assert match["host"] == b"h__st" + b"x" * 250
    assert (match["app"], match["msgid"]) == (b"-", b"i" * 32)
    assert sd_name("a" * 50) == "a" * 32


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"address": "http://a"}, ValueError),
        ({"address": "udp://"}, ValueError),
        ({"address": "udp://a:99999"}, ValueError),
        ({"address": "unix:relative"}, ValueError),
        ({"address": 514}, TypeError),
        ({"facility": "local8"}, ValueError),
        ({"facility": 24}, ValueError),
        ({"framing": "nul"}, ValueError),
        ({"sd_id": "two words"}, ValueError),
        ({"sd_id": ""}, ValueError),
        ({"max_message": 479}, ValueError),
        ({"timeout": 0}, ValueError),
        ({"address": "tls://a", "tls": True}, TypeError),
        ({"address": "tcp://a", "tls": context()}, ValueError),
    ],
)
def test_wrong_arguments_are_named(arguments: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error, match=list(arguments)[-1]):
        SyslogSink(**arguments)
