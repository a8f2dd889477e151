"""What reply() sends, byte for byte, and what it refuses."""

import datetime
import email.utils
import json
import sys
import threading

import pytest
from conftest import Until, get, on_http, parse, parse_all, read_all, read_answer

from pymongoose import MG_EV_ACCEPT, MG_EV_CLOSE, MG_EV_HTTP_MSG, ConnectionClosed, MongooseError

ALL = bytes(range(256))


def request(target="/", headers="", body=b"", method="GET", proto="HTTP/1.1"):
    return f"{method} {target} {proto}\r\nHost: a\r\n{headers}\r\n".encode() + body


def answer_of(serve, *args, method="GET", **kwargs):
    return serve(on_http(lambda conn, msg: conn.reply(*args, **kwargs))).get("/", method=method)


# -- headers --


def test_plain_reply_has_exactly_the_usual_headers(serve):
    answer = answer_of(serve, 200, "hi")
    assert (answer.status, answer.reason, answer.proto, answer.body) == (
        200,
        "OK",
        "HTTP/1.1",
        b"hi",
    )
    assert sorted(n for n, _ in answer.headers) == [
        "Connection",
        "Content-Length",
        "Content-Type",
        "Date",
    ]
    assert answer.header("Content-Type") == "text/plain"
    assert answer.header("Content-Length") == "2"
    assert answer.header("Connection") == "close"  # because the client asked for it


def test_keep_alive_answer_carries_no_connection_header_in_1_1_but_does_in_1_0(serve):
    server = serve(on_http(lambda conn, msg: conn.reply(200)))
    with server.connect() as sock:
        sock.sendall(request())
        assert read_answer(sock)[0].header("Connection") is None
    with server.connect() as sock:
        sock.sendall(request(proto="HTTP/1.0", headers="Connection: keep-alive\r\n"))
        assert read_answer(sock)[0].header("Connection").lower() == "keep-alive"
        sock.sendall(request(proto="HTTP/1.0"))
        assert read_answer(sock)[0].status == 200
        assert read_all(sock) == b""


def test_date_is_now_in_the_form_of_rfc_9110(serve):
    date = answer_of(serve, 200).header("Date")
    when = email.utils.parsedate_to_datetime(date)
    assert email.utils.format_datetime(when, usegmt=True) == date
    assert abs((datetime.datetime.now(datetime.timezone.utc) - when).total_seconds()) < 3600


def test_date_of_the_application_stays(serve):
    then = "Sun, 06 Nov 1994 08:49:37 GMT"
    assert answer_of(serve, 200, "", {"Date": then}).all("Date") == [then]


@pytest.mark.parametrize(
    "headers",
    [
        {"X-A": "1", "X-B": "zwei"},
        [("X-A", "1"), ("X-B", "zwei")],
        (("X-A", "1"), ["X-B", "zwei"]),
        {"X-A": 1, b"X-B": b"zwei"},
        type("M", (dict,), {})({"X-A": "1", "X-B": "zwei"}),
    ],
)
def test_headers_may_be_a_mapping_or_pairs(serve, headers):
    answer = answer_of(serve, 200, "", headers)
    assert (answer.header("X-A"), answer.header("X-B")) == ("1", "zwei")


def test_q22_set_cookie_may_be_repeated(serve):
    """Q22: a dict could carry one Set-Cookie only."""
    answer = answer_of(serve, 200, "", [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2; Path=/")])
    assert answer.all("Set-Cookie") == ["a=1", "b=2; Path=/"]


@pytest.mark.parametrize("name", ["Content-Type", "content-type", "CONTENT-TYPE"])
def test_own_content_type_replaces_the_default(serve, name):
    assert answer_of(serve, 200, "", {name: "image/png"}).all("Content-Type") == ["image/png"]


def test_own_content_length_is_not_doubled(serve):
    answer = answer_of(serve, 200, "abc", {"Content-Length": "3"})
    assert answer.all("Content-Length") == ["3"]


def test_header_values_may_be_utf8_and_tab(serve):
    answer = answer_of(serve, 200, "", {"X-A": "ä\tb"})
    assert answer.header("X-A").encode("latin-1") == "ä\tb".encode()


def test_connection_close_of_the_application_closes(serve):
    server = serve(on_http(lambda conn, msg: conn.reply(200, "x", {"Connection": "close"})))
    answers = parse_all(server.talk(request() * 3))
    assert [a.header("Connection") for a in answers] == ["close"]


@pytest.mark.parametrize(
    ("headers", "what"),
    [
        ({"X-A": "a\r\nX-B: b"}, "value"),
        ({"X-A": "a\nb"}, "value"),
        ({"X-A": "a\rb"}, "value"),
        ({"X-A": "a\0b"}, "value"),
        ({"X-A\r\n": "a"}, "name"),
        ({"X A": "a"}, "name"),
        ({"X-A:": "a"}, "name"),
        ({"": "a"}, "name"),
        ({"X\0": "a"}, "name"),
        ([("X-Ä", "a")], "name"),
        ({b"X-A": b"\x7f"}, "value"),
    ],
)
def test_illegal_character_in_a_header_is_a_value_error(serve, headers, what):
    raised = []

    def handle(conn, msg):
        for call in (
            lambda: conn.reply(200, "", headers),
            lambda: conn.reply_json({}, headers=headers),
            lambda: conn.start_response(200, headers),
        ):
            with pytest.raises(ValueError, match=f"Header {what} .* illegal character") as info:
                call()
            raised.append(info.value)
        conn.reply(200, "fine after all")

    assert serve(on_http(handle)).get().body == b"fine after all"
    assert len(raised) == 3


@pytest.mark.parametrize(
    "headers", [5, "X-A: b", [("a",)], [("a", "b", "c")], [5], {"a": None}, {"a": 1.5}, {5: "a"}]
)
def test_headers_of_a_wrong_kind_are_refused(serve, headers):
    def handle(conn, msg):
        with pytest.raises((TypeError, ValueError), match="header"):
            conn.reply(200, "", headers)
        conn.reply(200, "ok")

    assert serve(on_http(handle)).get().body == b"ok"


# -- bodies --


@pytest.mark.parametrize(
    "kind", [bytes, bytearray, memoryview, lambda b: memoryview(bytearray(b))[:]]
)
@pytest.mark.parametrize("size", [0, 1, 255, 256, 4095, 4096, 4097, 65536, 1_000_003])
def test_q5_every_byte_of_a_body_arrives_nul_too(serve, kind, size):
    """Q5: bodies were cut at their first NUL."""
    body = (ALL * (size // 256 + 1))[:size]
    answer = answer_of(serve, 200, kind(body))
    assert answer.body == body
    assert answer.header("Content-Length") == str(size)


@pytest.mark.parametrize(
    ("body", "sent"),
    [
        ("", b""),
        (None, b""),
        ("Grüße\0€😀", "Grüße\0€😀".encode()),
        ("%s %d %n", b"%s %d %n"),
        ("\udcff", b"\xff"),
    ],
)
def test_text_and_none(serve, body, sent):
    answer = answer_of(serve, 200, body)
    assert answer.body == sent
    assert answer.header("Content-Length") == str(len(sent))


@pytest.mark.parametrize("body", [5, 1.5, ["a"], {"a": 1}, object()])
def test_body_of_a_wrong_kind_is_a_type_error_naming_it(serve, body):
    def handle(conn, msg):
        with pytest.raises(TypeError, match="body must be str or bytes-like"):
            conn.reply(200, body)
        conn.reply(200, "ok")

    assert serve(on_http(handle)).get().body == b"ok"


def test_changing_a_bytearray_after_the_reply_changes_nothing(serve):
    def handle(conn, msg):
        body = bytearray(b"a" * 100_000)
        conn.reply(200, body)
        body[:] = b"b" * 100_000
        body.extend(b"more")  # a held buffer would raise BufferError

    assert serve(on_http(handle)).get().body == b"a" * 100_000


def test_large_bodies_by_reference_are_exact_and_given_back(serve):
    """Sent from where they are; the object lives as long as the output needs it, and no longer."""
    body = bytes(ALL * 4096 * 20)  # 20 MiB
    before = sys.getrefcount(body)
    server = serve(on_http(lambda conn, msg: conn.reply(200, body)))
    assert server.get().body == body
    with server.connect() as sock:  # and this client goes away in the middle
        sock.sendall(request())
        sock.recv(100)
    server.stop()
    assert sys.getrefcount(body) == before


def test_body_that_only_the_output_holds_is_not_freed_early(serve):
    server = serve(on_http(lambda conn, msg: conn.reply(200, bytes([len(msg.uri)]) * (5 << 20))))
    socks = [server.connect() for _ in range(4)]
    for i, sock in enumerate(socks):
        sock.sendall(request("/" + "x" * i))
    for i, sock in enumerate(socks):
        assert read_answer(sock)[0].body == bytes([i + 1]) * (5 << 20)
        sock.close()


def test_reply_json(serve):
    obj = {"a": [1, 2.5, None, True, "ä\0"], "b": {}}

    def handle(conn, msg):
        if msg.uri == "/":
            conn.reply_json(obj)
        else:
            conn.reply_json(obj, 201, {"X-A": "1"})

    server = serve(on_http(handle))
    answer = server.get()
    assert json.loads(answer.body) == obj
    assert (answer.status, answer.header("Content-Type")) == (200, "application/json")
    answer = server.get("/other")
    assert (answer.status, answer.header("X-A")) == (201, "1")
    assert answer.header("Content-Type") == "application/json"


def test_reply_json_of_what_is_none_is_500(serve):
    server = serve(on_http(lambda conn, msg: conn.reply_json(object())))
    assert server.get().status == 500
    server.expect_error(TypeError)


# -- status and method --


@pytest.mark.parametrize("status", [204, 304])
def test_204_and_304_have_no_body_and_the_connection_goes_on(serve, status):
    server = serve(on_http(lambda conn, msg: conn.reply(status, "not sent")))
    answers = parse_all(server.talk(request() + request(headers="Connection: close\r\n")))
    assert [a.status for a in answers] == [status] * 2
    if status == 204:  # RFC 9110 8.6
        assert answers[0].header("Content-Length") is None


@pytest.mark.parametrize("body", [b"", b"abc", b"x" * 100_000])
def test_q9_head_gets_the_head_of_the_get_and_no_body(serve, body):
    """Q9: HEAD through reply() carried a body."""
    server = serve(on_http(lambda conn, msg: conn.reply(200, body)))
    data = server.talk(
        request(method="HEAD") * 2 + request(method="HEAD", headers="Connection: close\r\n")
    )
    answers = parse_all(data, head=True)
    assert [a.status for a in answers] == [200] * 3
    assert {a.header("Content-Length") for a in answers} == {str(len(body))}
    assert data.endswith(b"\r\n\r\n")


@pytest.mark.parametrize("status", [99, 1000, -1, 10**30])
def test_status_out_of_range_is_a_value_error(serve, status):
    def handle(conn, msg):
        with pytest.raises(ValueError, match="status must be 200-999"):
            conn.reply(status)
        conn.reply(299, "odd but legal")

    assert serve(on_http(handle)).get().status == 299


@pytest.mark.parametrize("status", ["200", None, 2.5])
def test_status_of_a_wrong_kind_is_a_type_error(serve, status):
    def handle(conn, msg):
        with pytest.raises(TypeError, match="status must be int"):
            conn.reply(status)
        conn.reply(200)

    assert serve(on_http(handle)).get().status == 200


def test_wrong_arguments_name_the_function(serve):
    def handle(conn, msg):
        for args, kwargs in (
            ((), {}),
            ((200, "", None, None, 5), {}),
            ((200,), {"nonsense": 1}),
            ((200,), {"status": 1}),
        ):
            with pytest.raises(TypeError, match=r"reply\(\)"):
                conn.reply(*args, **kwargs)
        conn.reply(body="kw", status=200, headers={"X-A": "1"})

    answer = serve(on_http(handle)).get()
    assert (answer.body, answer.header("X-A")) == (b"kw", "1")


# -- too often, too late --


def test_second_reply_raises_and_sends_nothing(serve):
    def handle(conn, msg):
        conn.reply(200, "one")
        for call in (
            lambda: conn.reply(200, "two"),
            lambda: conn.reply_json({}),
            lambda: conn.start_response(200),
        ):
            with pytest.raises(MongooseError, match="answered already"):
                call()

    server = serve(on_http(handle))
    answers = parse_all(server.talk(request() + request(headers="Connection: close\r\n")))
    assert [a.body for a in answers] == [b"one", b"one"]


def test_reply_without_a_request_raises(serve):
    told = Until()

    def handler(conn, ev, data):
        if ev == MG_EV_ACCEPT:
            with pytest.raises(MongooseError, match="no request"):
                conn.reply(200, "unasked")
            told.set(True)

    with serve(handler).connect() as sock:
        assert told.get()
        sock.close()


def test_closed_connection_says_so(serve):
    told = Until()

    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_MSG:
            conn.reply(200, "bye")
            conn.close()
        elif ev == MG_EV_CLOSE and not conn.is_listening:
            told.set(conn)

    server = serve(handler)
    server.get()
    conn = told.get()
    done = Until()
    server.mgr.call(done.set)  # a turn later
    done.get()
    for call in (
        lambda: conn.reply(200),
        lambda: conn.reply_json({}),
        lambda: conn.send(b"x"),
        lambda: conn.start_response(200),
        lambda: conn.http_chunk(b"x"),
        lambda: conn.http_sse("a", "b"),
        lambda: conn.defer(),
        lambda: conn.error("x"),
        lambda: conn.pause_reading(),
    ):
        with pytest.raises(ConnectionClosed, match="closed") as info:
            call()
        assert isinstance(info.value, RuntimeError)
    conn.close()
    conn.drain()
    assert repr(conn) == "<Connection closed>"
    assert (conn.id, conn.local_addr, conn.remote_addr, conn.recv_len, conn.send_len) == (
        0,
        None,
        None,
        0,
        0,
    )
    assert (conn.recv_data(), conn.send_data(), conn.recv_size, conn.send_size) == (b"", b"", 0, 0)
    flags = [n for n in dir(conn) if n.startswith("is_")]
    assert len(flags) == 10
    assert [n for n in flags if getattr(conn, n)] == ["is_closing"]


def test_q1_reply_then_close_in_the_handler_is_safe(serve):
    """Q1: reply() then close() inside a handler crashed the process. A small answer still arrives: the socket takes it at once."""

    def handle(conn, msg):
        conn.reply(200, "last words")
        conn.close()
        assert conn.is_closing
        conn.close()

    server = serve(on_http(handle))
    for _ in range(50):
        answer, _ = parse(server.talk(request()))
        assert answer.body == b"last words"


def test_drain_sends_everything_first(serve):
    """S4: all bytes after drain()."""
    body = b"x" * (8 << 20)

    def handle(conn, msg):
        conn.reply(200, body)
        conn.drain()
        assert conn.is_draining

    answers = parse_all(serve(on_http(handle)).talk(request()))
    assert [a.body == body for a in answers] == [True]


def test_q25_replies_from_other_threads_are_queued_to_the_loop(serve):
    """Q25: calls off the loop's thread raced with it."""
    threads = []

    def handle(conn, msg):
        name = msg.uri

        def answer():
            conn.reply(200, name.encode() * 1000)

        threads.append(threading.Thread(target=answer))
        threads[-1].start()

    server = serve(on_http(handle))
    socks = [server.connect() for _ in range(8)]
    for turn in range(10):
        for i, sock in enumerate(socks):
            sock.sendall(request(f"/{turn}-{i}"))
        for i, sock in enumerate(socks):
            assert read_answer(sock)[0].body == f"/{turn}-{i}".encode() * 1000
    for sock in socks:
        sock.close()
    for thread in threads:
        thread.join(15)


# -- chunks --


def test_q23_the_classic_recipe_streams(serve):
    """Q23: reply(200, "", chunked) followed by http_chunk() also sent Content-Length: 0."""

    def handle(conn, msg):
        conn.reply(200, "", {"Transfer-Encoding": "chunked"})
        conn.http_chunk("one")
        conn.http_chunk(b"two\0")
        conn.http_chunk(bytearray(b"x" * 5000))
        conn.http_chunk("")

    server = serve(on_http(handle))
    answers = parse_all(server.talk(request() + request(headers="Connection: close\r\n")))
    for answer in answers:
        assert answer.chunks == [b"one", b"two\0", b"x" * 5000]
        assert answer.header("Content-Length") is None
        assert answer.all("Transfer-Encoding") == ["chunked"]
    assert len(answers) == 2


def test_q23_the_classic_recipe_for_http_1_0_ends_with_the_close(serve):
    def handle(conn, msg):
        conn.reply(200, "", {"Transfer-Encoding": "chunked"})
        conn.http_chunk("one")
        conn.http_chunk("two")
        conn.http_chunk("")

    answer, _ = parse(serve(on_http(handle)).talk(request(proto="HTTP/1.0")))
    assert answer.header("Transfer-Encoding") is None
    assert answer.body == b"onetwo"


def test_sse_gives_each_line_of_data_its_field(serve):
    """1.2: the peer did not split newlines, so the rest of the data was read as other fields."""

    def handle(conn, msg):
        conn.start_response(200, {"Content-Type": "text/event-stream"})
        conn.http_sse("tick", "one\ntwo\r\nthree\rdata: four")
        conn.http_sse("empty", "")
        with pytest.raises(ValueError, match="event_type"):
            conn.http_sse("a\nb", "x")
        conn.http_chunk("")

    answer = serve(on_http(handle)).get()
    assert answer.header("Content-Type") == "text/event-stream"
    assert answer.chunks == [
        b"event: tick\ndata: one\ndata: two\ndata: three\ndata: data: four\n\n",
        b"event: empty\ndata: \n\n",
    ]


def test_head_of_a_chunked_answer_has_no_body(serve):
    def handle(conn, msg):
        with conn.start_response(200) as body:
            body.write("not sent")

    server = serve(on_http(handle))
    data = server.talk(
        request(method="HEAD") + request(method="HEAD", headers="Connection: close\r\n")
    )
    assert len(parse_all(data, head=True)) == 2
    assert b"not sent" not in data


def test_a_large_body_under_transfer_encoding_chunked_is_chunked_however_often(serve):
    """Sent as it is, it would be read as chunks: its bytes would be the framing."""
    body = b"5000\r\n" * 10_000

    def handle(conn, msg):
        conn.reply(200, body, {"Transfer-Encoding": "chunked"})

    server = serve(on_http(handle))
    for _ in range(12):  # from the tenth on from a file
        assert get(server.port).body == body


def test_a_coding_other_than_chunked_ends_with_the_connection(serve):
    """It does not show its own end, and there is no length: only the close can."""

    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_MSG:
            conn.reply(200, b"zipped", {"Transfer-Encoding": "gzip"})

    server = serve(handler)
    with server.connect() as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        got = b""
        while data := sock.recv(1000):
            got += data
    assert got.endswith(b"zipped")
    assert b"Connection: close" in got


def test_what_a_handler_reads_itself_is_not_taken_from_the_next_request(serve):
    """Bytes of its own request may be read away; the pipelined one behind it stays whole."""

    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_MSG:
            conn.read(10)
            conn.reply(200, data.uri)

    server = serve(handler)
    with server.connect() as sock:
        sock.sendall(
            b"GET /1 HTTP/1.1\r\nHost: x\r\n\r\nGET /2 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )
        got = b""
        while data := sock.recv(1000):
            got += data
    assert got.count(b"200 OK") == 2
    assert got.endswith(b"/2")


def test_a_large_body_that_is_sent_often_arrives_whole_every_time(serve):
    """Also once it goes out from a file in memory instead of from the object."""
    body = bytes(range(256)) * 300

    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_MSG:
            conn.reply(200, body)

    server = serve(handler)
    with server.connect() as sock:
        for _ in range(30):
            sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            got = b""
            while b"\r\n\r\n" not in got or len(got.partition(b"\r\n\r\n")[2]) < len(body):
                piece = sock.recv(100_000)
                assert piece
                got += piece
            assert got.partition(b"\r\n\r\n")[2] == body
