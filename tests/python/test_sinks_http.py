"""HttpSink against aiohttp: what arrives, what is sent again, what is given up, over real sockets."""

from __future__ import annotations

import asyncio
import datetime
import email.utils
import json
import ssl
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from certs import root, server
from conftest import DEADLINE
from receivers import DRIP, HALF, HANG, OK, RESET, SLOW, Answer, Got, Receiver

from pymongoose import TlsOpts
from pymongoose.sinks import HttpSink, Pipeline, Rejected, Retry, RetryLater
from pymongoose.sinks._http_client import _all
from pymongoose.sinks._poster import Poster, TooLarge

SOON = Retry(base=0.01, cap=0.05)


def deliver(sink: HttpSink, n: int, **fields: Any) -> Any:
    with Pipeline([sink]) as pipe:
        for i in range(n):
            assert pipe.emit("event", number=i, **fields)
        assert pipe.flush(DEADLINE)
        return pipe.stop(DEADLINE)


def numbers(receiver: Receiver) -> list[int]:
    return [event["number"] for got in receiver.got for event in got.lines]


def post(url: str, body: bytes = b"x", **options: Any) -> Any:
    """What Poster.post() returns or raises."""
    whole = options.pop("whole", False)

    async def main() -> Any:
        poster = Poster(url, "text/plain", **options)
        poster.open()
        try:
            return await poster.post(body, whole=whole)
        finally:
            poster.close()

    return asyncio.run(main())


def test_everything_arrives_in_order_over_one_connection_each_batch_with_its_own_key() -> None:
    with Receiver() as receiver:
        result = deliver(HttpSink(receiver.url + "/in?a=1", batch_size=50), 1000)
        assert (result.sent, result.dropped) == (1000, 0)
        assert numbers(receiver) == list(range(1000))
        assert receiver.connections == 1
        assert {len(got.lines) for got in receiver.got} == {50}
        ids = [got.headers["Idempotency-Key"] for got in receiver.got]
        assert len(set(ids)) == 20
        assert all(i[0] == i[-1] == '"' for i in ids)
        got = receiver.got[0]
        assert got.path == "/in?a=1"
        assert got.headers["Content-Type"] == "application/x-ndjson"
        assert list(got.lines[0]) == ["ts", "level", "message", "number"]


def test_json_is_one_array() -> None:
    with Receiver() as receiver:
        headers = {"X-Own": "1"}
        sink = HttpSink(
            receiver.url,
            method="PUT",
            format="json",
            headers=headers,
            auth="token",
            batch_header="X-Batch-Id",
            batch_size=10,
        )
        deliver(sink, 25)
        bodies = [json.loads(got.body) for got in receiver.got]
        assert [e["number"] for body in bodies for e in body] == list(range(25))
        got = receiver.got[0]
        assert got.headers["Content-Type"] == "application/json"
        assert got.headers["Authorization"] == "Bearer token"
        assert got.headers["X-Own"] == "1"
        assert got.headers["X-Batch-Id"].isascii()
        assert '"' not in got.headers["X-Batch-Id"]


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
def test_a_compressed_body_is_what_its_header_says(coding: Any) -> None:
    with Receiver() as receiver:
        deliver(HttpSink(receiver.url, compress=coding, batch_size=500), 500)
        assert numbers(receiver) == list(range(500))
        (got,) = receiver.got
        assert got.headers["Content-Encoding"] == coding
        assert len(got.wire) < len(got.body) / 4


@pytest.mark.parametrize("fault", [(503, {}, b""), (429, {}, b""), RESET, HALF, HANG, DRIP])
def test_a_batch_that_was_not_acknowledged_is_sent_again_under_the_same_key(
    fault: Answer | str,
) -> None:
    with Receiver() as receiver:
        receiver.faults += [OK, fault, fault]
        sink = HttpSink(receiver.url, batch_size=10, timeout=0.2, retry=SOON)
        result = deliver(sink, 30)
        receiver.let_go()
        assert (result.sent, result.dropped) == (30, 0)
        assert numbers(receiver) == list(range(30))
        ids = [got.headers["Idempotency-Key"] for got in receiver.got]
        again = {got.headers["Idempotency-Key"] for _, got in receiver.refused}
        assert len(set(ids)) == 3
        assert again == {ids[1]}
        assert {got.body for _, got in receiver.refused} == {receiver.got[1].body}


@pytest.mark.parametrize("status", [200, 201, 202, 204, 207])
def test_2xx_acknowledges(status: int) -> None:
    with Receiver() as receiver:
        receiver.faults.append((status, {}, b""))
        assert post(receiver.url).status == status


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_status_that_is_no_verdict(status: int) -> None:
    with Receiver() as receiver:
        receiver.faults.append((status, {}, b"come back later"))
        with pytest.raises(RetryLater, match=rf"^{status} .*come back later") as info:
            post(receiver.url)
        assert info.value.after is None


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 410, 415, 422, 501, 505])
def test_status_that_rejects_tells_why(status: int) -> None:
    with Receiver() as receiver:
        receiver.faults.append((status, {}, b"field 'x'\r\n  is \x00 unknown" + b"!" * 5000))
        with pytest.raises(Rejected, match=rf"^{status} .*: field 'x' is unknown!+\.\.\.$") as info:
            post(receiver.url)
        assert len(str(info.value)) < 400


def test_retry_statuses_are_the_users() -> None:
    with Receiver() as receiver:
        receiver.faults += [(401, {}, b""), (503, {}, b"")]
        with pytest.raises(RetryLater):
            post(receiver.url, retry_statuses={401})
        with pytest.raises(Rejected):
            post(receiver.url, retry_statuses={401})


@pytest.mark.parametrize(
    ("value", "low", "high"),
    [
        ("7", 7, 7),
        ("0", 0, 0),
        ("999999999999", 3600, 3600),
        ("soon", None, None),
        ("-1", None, None),
        (
            lambda now: email.utils.format_datetime(now + datetime.timedelta(minutes=10), True),
            500,
            600,
        ),
        (lambda now: email.utils.format_datetime(now - datetime.timedelta(days=1), True), 0, 0),
    ],
)
def test_retry_after_is_seconds_or_a_date(
    value: str | Callable[[datetime.datetime], str], low: float | None, high: float | None
) -> None:
    if callable(value):
        value = value(datetime.datetime.now(datetime.timezone.utc))
    with Receiver() as receiver:
        receiver.faults.append((503, {"Retry-After": value}, b""))
        with pytest.raises(RetryLater) as info:
            post(receiver.url)
        if low is None:
            assert info.value.after is None
        else:
            assert info.value.after is not None
            assert low <= info.value.after <= high  # type: ignore[operator]


def test_a_rejected_batch_goes_to_the_dead_letters_and_the_others_arrive(tmp_path: Path) -> None:
    with Receiver() as receiver:
        receiver.faults += [OK, (400, {}, b"malformed"), OK]
        letters = tmp_path / "letters.jsonl"
        sink = HttpSink(receiver.url, batch_size=10, dead_letter=str(letters))
        result = deliver(sink, 30)
        assert (result.sent, result.dropped) == (20, 10)
        assert numbers(receiver) == [*range(10), *range(20, 30)]
        assert sink.stats().dropped == {"dead_letter": 10}
        kept = [json.loads(line) for line in letters.read_text().splitlines()]
        assert [letter["event"]["number"] for letter in kept] == list(range(10, 20))
        assert {letter["reason"] for letter in kept} == {"400 Bad Request: malformed"}


def test_what_is_too_large_is_sent_in_halves_and_an_event_that_is_too_large_alone_is_rejected() -> (
    None
):
    with Receiver() as receiver:
        receiver.limit = 2500
        sink = HttpSink(receiver.url, batch_size=40, retry=SOON)
        with Pipeline([sink]) as pipe:
            for i in range(200):
                pipe.emit("event", number=i, pad="x" * (9000 if i == 77 else 100))
            assert pipe.flush(DEADLINE)
        assert numbers(receiver) == [i for i in range(200) if i != 77]
        assert sink.stats().dropped == {"rejected": 1}
        keys = [got.headers["Idempotency-Key"] for got in receiver.got]
        assert len(set(keys)) == len(keys), "a key stands for one body only"
        asked = [len(got.wire) for _, got in receiver.refused]
        assert len(asked) == len(set(asked)), "what was too large once is not tried again"


def test_413_for_one_event_that_cannot_be_halved_is_a_verdict() -> None:
    with Receiver() as receiver:
        receiver.limit = 10
        with pytest.raises(TooLarge):
            post(receiver.url, b"x" * 11)
        with pytest.raises(Rejected, match=r"^413 "):
            post(receiver.url, b"x" * 11, whole=True)


def test_a_batch_is_divided_among_requests_at_the_same_time() -> None:
    with Receiver() as receiver:
        receiver.faults += [SLOW] * 4
        sink = HttpSink(receiver.url, batch_size=100, concurrency=4)
        with Pipeline([sink]) as pipe:
            for i in range(100):
                pipe.emit("event", number=i)
            receiver.wait(lambda: len(receiver.waiting) == 4)
            receiver.let_go()
            assert pipe.flush(DEADLINE)
        assert sorted(numbers(receiver)) == list(range(100))
        assert receiver.connections == 4
        assert len({got.headers["Idempotency-Key"] for got in receiver.got}) == 4


def test_of_a_divided_batch_only_the_part_that_failed_is_sent_again() -> None:
    with Receiver() as receiver:
        receiver.faults += [OK, (503, {}, b""), OK, OK]
        result = deliver(HttpSink(receiver.url, batch_size=100, concurrency=4, retry=SOON), 100)
        assert result.sent == 100
        assert sorted(numbers(receiver)) == list(range(100))


@pytest.mark.parametrize(("limit", "at_once"), [(1200, 1), (500, 1), (None, 4)])
def test_a_part_whose_answer_was_lost_comes_again_under_its_own_key(
    limit: int | None, at_once: int
) -> None:
    class Forgetful(Receiver):
        """Takes the second request and does not say so."""

        keys: dict[str, bytes]

        def take(self, got: Got) -> Any:
            key, lost = got.headers["Idempotency-Key"], len(self.keys) == 1
            known = self.keys.setdefault(key, got.body)
            assert known == got.body, "a key stands for one body only"
            return (503, {}, b"") if lost else OK

    with Forgetful() as receiver:
        receiver.keys = {}
        receiver.limit = limit
        sink = HttpSink(
            receiver.url, batch_size=20, batch_timeout=60.0, retry=SOON, concurrency=at_once
        )
        with Pipeline([sink]) as pipe:
            for n in range(20):
                pipe.emit("m", n=n, fill="x" * 40)
            assert pipe.flush(DEADLINE)
        found = [
            json.loads(line)["n"] for body in receiver.keys.values() for line in body.splitlines()
        ]
        assert sorted(found) == list(range(20))
        assert len(receiver.keys) >= 2


def test_a_redirect_is_followed_within_the_origin_and_with_its_body_only() -> None:
    with Receiver() as other, Receiver() as receiver:
        receiver.faults.append((308, {"Location": "/moved?x"}, b""))
        assert post(receiver.url + "/in", b"body").status == 200
        assert (receiver.got[-1].path, receiver.got[-1].body) == ("/moved?x", b"body")
        for status, where in ((307, other.url + "/"), (301, "/x"), (302, "/x"), (303, "/x")):
            receiver.faults.append((status, {"Location": where}, b""))
            with pytest.raises(RetryLater, match=f"^{status} .*not followed"):
                post(receiver.url)
        receiver.faults += [(307, {"Location": "/round"}, b"")] * 4
        with pytest.raises(RetryLater, match="not followed"):
            post(receiver.url)
        assert other.got == []
        assert len(receiver.got) == 1


def test_a_server_that_cannot_prove_who_it_is_gets_nothing(tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    chain = tmp_path / "chain.pem"
    chain.write_bytes(server().pem + server().key_pem)
    context.load_cert_chain(chain)
    with Receiver(tls=context) as receiver:
        with pytest.raises(RetryLater, match="TlsError"):
            post(receiver.url)
        assert receiver.connections == 0
        answer = post(receiver.url, tls=TlsOpts(ca=root().pem))
        assert answer.status == 200


def test_stopping_during_a_send_waits_for_its_answer_and_sends_nothing_twice() -> None:
    with Receiver() as receiver:
        receiver.faults.append(SLOW)
        pipe = Pipeline([HttpSink(receiver.url, batch_size=10)])
        pipe.start()
        for i in range(25):
            pipe.emit("event", number=i)
        receiver.wait(lambda: receiver.waiting)
        results: list[Any] = []
        stopping = threading.Thread(target=lambda: results.append(pipe.stop(DEADLINE)))
        stopping.start()
        n = 25
        while pipe.emit("event", number=n):  # until it is refused: stop() has begun
            n += 1
        receiver.let_go()
        stopping.join(DEADLINE)
        assert results
        assert (results[0].sent, results[0].dropped) == (n, 0)
        assert numbers(receiver) == list(range(n))


def test_stopping_at_the_deadline_counts_what_never_got_an_answer() -> None:
    with Receiver() as receiver:
        receiver.faults += [OK, HANG, HANG, HANG]
        pipe = Pipeline([HttpSink(receiver.url, batch_size=10)])
        pipe.start()
        for i in range(30):
            pipe.emit("event", number=i)
        receiver.wait(lambda: receiver.refused)
        result = pipe.stop(0.1)
        assert (result.sent, result.dropped) == (10, 20)
        assert numbers(receiver) == list(range(10))


def test_sinks_of_a_pipeline_share_a_client_that_ends_with_them() -> None:
    with Receiver() as receiver:
        sinks = [HttpSink(receiver.url, batch_size=10) for _ in range(3)]
        before = len(_all)
        with Pipeline(sinks) as pipe:
            for i in range(10):
                pipe.emit("event", number=i)
            assert pipe.flush(DEADLINE)
            assert len(_all) == before + 1
        assert len(_all) == before
        assert sorted(numbers(receiver)) == sorted([*range(10)] * 3)
        with Pipeline(sinks) as pipe:  # and begins again with them
            pipe.emit("event", number=10)
        assert numbers(receiver)[-3:] == [10, 10, 10]


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"url": "ftp://a/"}, ValueError),
        ({"url": "http://a/", "format": "xml"}, ValueError),
        ({"url": "http://a/", "compress": "br"}, ValueError),
        ({"url": "http://a/", "compress": "gzip", "compress_level": 10}, ValueError),
        ({"url": "http://a/", "headers": {"a b": "c"}}, ValueError),
        ({"url": "http://a/", "timeout": 0}, ValueError),
        ({"url": "http://a/", "concurrency": 0}, ValueError),
        ({"url": "http://a/", "batch_header": "two words"}, ValueError),
    ],
)
def test_wrong_arguments_are_told_when_the_sink_is_made(
    options: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        HttpSink(**options)
