"""Cookies, Basic authentication, cross-origin rules, headers for whoever answers, interim responses."""

import base64
from datetime import datetime, timedelta, timezone

import httpx
import pytest
from conftest import on_http, parse_all

from pymongoose import (
    MG_EV_CONNECT,
    MG_EV_HTTP_HDRS,
    MG_EV_HTTP_MSG,
    BasicAuth,
    Cors,
    Limits,
    MongooseError,
    basic_auth_header,
    parse_cookies,
    set_cookie,
)

CLOSE = "Connection: close\r\n"


# -- cookies --


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("", {}),
        ("a=1", {"a": "1"}),
        ("a=1; b=2;c=3 ; d = 4", {"a": "1", "b": "2", "c": "3", "d": "4"}),
        ("a=1; a=2", {"a": "1"}),
        ('a="q"; b="; c="', {"a": "q", "b": '"', "c": '"'}),
        ("novalue; =noname; a=", {"a": ""}),
        ("a=b=c; d=%20,x", {"a": "b=c", "d": "%20,x"}),
        ("A=1; a=2", {"A": "1", "a": "2"}),
        (";;;", {}),
    ],
)
def test_cookies_are_read_as_they_are_written_in_the_wild(text, want):
    assert parse_cookies(text) == want


def test_cookies_of_a_request_come_and_go(serve):
    def handler(conn, data):
        headers = [
            set_cookie("seen", str(int(data.cookies.get("seen", "0")) + 1)),
            set_cookie("x", "y", secure=True),
        ]
        conn.reply(200, str(data.cookies), headers)

    server = serve(on_http(handler))
    with httpx.Client(trust_env=False, base_url=f"http://127.0.0.1:{server.port}") as client:
        assert client.get("/").text == "{}"
        assert client.get("/").text == "{'seen': '1'}"
        assert client.get("/").text == "{'seen': '2'}"
    assert server.get(headers="Cookie: a=1\r\nCookie: b=2; a=3\r\n").body == b"{'a': '1', 'b': '2'}"


def test_set_cookie_writes_every_attribute():
    when = datetime(2030, 1, 2, 4, 4, 5, tzinfo=timezone(timedelta(hours=1)))
    got = set_cookie(
        "a",
        "b/=",
        max_age=60,
        expires=when,
        path="/x",
        domain="example.com",
        secure=True,
        same_site="None",
        partitioned=True,
    )
    assert got == (
        "Set-Cookie",
        "a=b/=; Max-Age=60; Expires=Wed, 02 Jan 2030 03:04:05 GMT; Domain=example.com; Path=/x; Secure; HttpOnly; SameSite=None; Partitioned",
    )
    assert set_cookie("a") == ("Set-Cookie", "a=; Path=/; HttpOnly; SameSite=Lax")
    assert set_cookie("a", "b", path=None, http_only=False, same_site=None) == ("Set-Cookie", "a=b")
    assert (
        set_cookie("__Host-a", "b", secure=True)[1]
        == "__Host-a=b; Path=/; Secure; HttpOnly; SameSite=Lax"
    )


@pytest.mark.parametrize(
    ("args", "options"),
    [
        (("", "b"), {}),
        (("a b", "c"), {}),
        (("a=", "c"), {}),
        (("ä", "c"), {}),
        (("a", "b;c"), {}),
        (("a", "b\r\nSet-Cookie: x"), {}),
        (("a", 'b"'), {}),
        (("a", "b,c"), {}),
        (("a", "b c"), {}),
        (("a", "ä"), {}),
        (("a", "b\\"), {}),
        (("a", "b" * 4096), {}),
        (("a", "b"), {"path": "x"}),
        (("a", "b"), {"path": "/;x"}),
        (("a", "b"), {"domain": "a b"}),
        (("a", "b"), {"domain": ""}),
        (("a", "b"), {"domain": "x; Secure"}),
        (("a", "b"), {"same_site": "None"}),
        (("a", "b"), {"same_site": "lax; x"}),
        (("a", "b"), {"partitioned": True}),
        (("a", "b"), {"expires": datetime(2030, 1, 1)}),
        (("__Secure-a", "b"), {}),
        (("__host-a", "b"), {}),
        (("__Host-a", "b"), {"secure": True, "path": "/x"}),
        (("__Host-a", "b"), {"secure": True, "domain": "example.com"}),
    ],
)
def test_cookies_that_browsers_would_refuse_are_not_written(args, options):
    with pytest.raises(ValueError, match=r"."):
        set_cookie(*args, **options)


# -- Basic --


def basic(text):
    data = text if isinstance(text, bytes) else text.encode()
    return f"Authorization: Basic {base64.b64encode(data).decode()}\r\n"


@pytest.mark.parametrize(
    ("headers", "want"),
    [
        ("", None),
        (basic("user:pass"), ("user", "pass")),
        (basic("user:pa:ss"), ("user", "pa:ss")),
        (basic(":"), ("", "")),
        (basic("zoë:pä"), ("zoë", "pä")),
        (basic("nocolon"), None),
        (basic(b"\xff:x"), None),
        (basic("a\n:x"), None),
        (basic("a:b").replace("Basic", "bASIC"), ("a", "b")),
        (basic("a:b").replace("Basic", "Bearer"), None),
        ("Authorization: Basic !!!\r\n", None),
        ("Authorization: Basic\r\n", None),
        (basic("a:b") * 2, None),
    ],
)
def test_basic_auth_reads_one_well_formed_field(serve, headers, want):
    server = serve(on_http(lambda conn, data: conn.reply(200, repr(data.basic_auth()))))
    assert server.get(headers=headers).body.decode() == repr(want)


@pytest.mark.parametrize(
    "users",
    [
        {"ada": "pä:ss", "": ""},
        lambda user, password: (user, password) in [("ada", "pä:ss"), ("", "")],
    ],
)
def test_basic_auth_is_demanded(serve, users):
    auth = BasicAuth(users, realm="ours")

    def handler(conn, data):
        if (user := auth.check(conn, data)) is not None:
            conn.reply(200, f"<{user}>")

    server = serve(on_http(handler))
    answer = server.get()
    assert answer.status == 401
    assert answer.header("WWW-Authenticate") == 'Basic realm="ours", charset="UTF-8"'
    assert server.get(headers=basic("ada:wrong")).status == 401
    assert server.get(headers=basic("nobody:")).status == 401
    assert server.get(headers=basic("ada:pä:ss")).body == b"<ada>"
    assert server.get(headers=basic(":")).body == b"<>"
    with httpx.Client(trust_env=False) as client:
        assert client.get(f"http://127.0.0.1:{server.port}/", auth=("ada", "pä:ss")).text == "<ada>"


def test_realms_that_end_the_field_are_refused():
    for realm in ('a"', "a\n", "ä", "a\\"):
        with pytest.raises(ValueError, match="realm"):
            BasicAuth({}, realm)


def test_a_client_sends_basic_credentials(serve):
    seen = []
    done = []

    def handler(conn, ev, data):
        if ev == MG_EV_CONNECT:
            conn.send("GET / HTTP/1.1\r\nHost: a\r\n")
            conn.http_basic_auth("zoë", "pä:ss")
            with pytest.raises(ValueError, match="user"):
                conn.http_basic_auth("a:b", "c")
            conn.send("\r\n")
        elif ev == MG_EV_HTTP_MSG and conn.is_client:
            done.append(data.status())
            conn.manager.stop()
        elif ev == MG_EV_HTTP_MSG:
            seen.append((data.basic_auth(), data.header("Authorization")))
            conn.reply(200)

    server = serve(handler)
    server.mgr.call(lambda: server.mgr.connect(f"http://127.0.0.1:{server.port}"))
    server.thread.join(15)
    assert done == [200]
    assert seen == [(("zoë", "pä:ss"), basic_auth_header("zoë", "pä:ss")[1])]
    with pytest.raises(ValueError, match="user"):
        basic_auth_header("a:b", "c")


# -- headers for whoever answers --


def test_set_header_is_on_every_kind_of_answer(serve):
    def handler(conn, ev, data):
        if ev not in (MG_EV_HTTP_HDRS, MG_EV_HTTP_MSG):
            return
        conn.set_header("X-A", "old")
        conn.set_header("X-B", "b")
        conn.set_header("x-a", "new")
        if ev == MG_EV_HTTP_HDRS:
            return
        if data.uri == "/raise":
            raise KeyError
        if data.uri == "/stream":
            with conn.start_response(200) as body:
                body.write("x")
        elif data.uri == "/big":
            conn.reply(200, b"x" * 100_000)
        elif data.uri == "/own":
            conn.reply(200, "x", {"X-A": "mine", "Vary": "Cookie"})
        elif data.uri == "/later":
            reply = conn.defer()
            conn.manager.call(lambda: reply.reply(200, "x"))
        else:
            conn.reply(200, "x")

    server = serve(handler, listen={"limits": Limits(max_body=10)}, error_handler=lambda exc: None)
    for target in ("/", "/raise", "/stream", "/big", "/later"):
        answer = server.get(target)
        assert (answer.header("X-A"), answer.header("X-B")) == ("new", "b"), target
    assert server.get("/own").all("X-A") == ["mine"]
    refused = server.get(method="POST", body=b"x" * 11)
    assert (refused.status, refused.header("X-A")) == (413, "new")
    two = parse_all(
        server.talk(
            b"GET /later HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        )
    )
    assert [a.header("X-A") for a in two] == ["new", "new"]


def test_set_header_refuses_what_would_be_another_line(serve):
    def handler(conn, data):
        for name, value in (("a b", "c"), ("", "c"), ("a", "b\r\nX: y"), ("a", "\0")):
            with pytest.raises(ValueError, match="illegal"):
                conn.set_header(name, value)
        conn.reply(200)
        with pytest.raises(MongooseError, match="answered already"):
            conn.set_header("a", "b")

    answer = serve(on_http(handler)).get()
    assert [n for n, _ in answer.headers if n.lower() in ("a", "x")] == []


def test_interim_responses_are_no_answers(serve):
    def handler(conn, data):
        for status in (100, 103, 199):
            with pytest.raises(ValueError, match="status must be 200-999"):
                conn.reply(status)
        for status in (101, 200, 99):
            with pytest.raises(ValueError, match="status"):
                conn.informational(status)
        conn.informational(103, {"Link": "</a.css>; rel=preload"})
        conn.informational(103, [("Link", "</b.css>; rel=preload")])
        conn.reply(200, "ok")
        with pytest.raises(MongooseError, match="answered already"):
            conn.informational(103)

    server = serve(on_http(handler))
    answers = parse_all(
        server.talk(
            f"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n{CLOSE}\r\n".encode()
        )
    )
    assert [a.status for a in answers] == [103, 103, 200] * 2
    assert answers[0].header("Link") == "</a.css>; rel=preload"
    assert answers[2].body == b"ok"
    old = parse_all(server.talk(b"GET / HTTP/1.0\r\n\r\n"))
    assert [a.status for a in old] == [200]


# -- CORS --

ORIGIN = "Origin: https://app.example\r\n"
PREFLIGHT = (
    ORIGIN
    + "Access-Control-Request-Method: PUT\r\nAccess-Control-Request-Headers: x-a, content-type\r\n"
)


@pytest.fixture
def site(serve):
    def make(cors, **options):
        def handler(conn, ev, data):
            if ev == MG_EV_HTTP_MSG:
                assert data.uri != "/raise"
                conn.reply(404 if data.uri == "/missing" else 200, data.method)

        return serve(
            handler,
            listen={"cors": cors, "limits": Limits(max_body=10)},
            error_handler=lambda exc: None,
        )

    return make


def granted(answer):
    return {
        n.lower(): v
        for n, v in answer.headers
        if n.lower().startswith("access-control-") or n == "Vary"
    }


def test_preflights_are_answered_without_the_handler(site):
    server = site(
        Cors(
            ["https://app.example"],
            methods=["GET", "PUT"],
            headers=["X-A", "Content-Type"],
            credentials=True,
            max_age=60,
        )
    )
    answer = server.get("/raise", method="OPTIONS", headers=PREFLIGHT)
    assert answer.status == 204
    assert granted(answer) == {
        "access-control-allow-origin": "https://app.example",
        "access-control-allow-credentials": "true",
        "access-control-allow-methods": "GET, PUT",
        "access-control-allow-headers": "X-A, Content-Type",
        "access-control-max-age": "60",
        "vary": "Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
    }


@pytest.mark.parametrize(("target", "status"), [("/", 200), ("/missing", 404), ("/raise", 500)])
def test_errors_are_readable_by_scripts_too(site, target, status):
    answer = site(Cors(["https://app.example"], expose=["X-B"])).get(target, headers=ORIGIN)
    assert answer.status == status
    assert granted(answer) == {
        "access-control-allow-origin": "https://app.example",
        "access-control-expose-headers": "X-B",
        "vary": "Origin",
    }


def test_refusals_of_the_engine_are_readable_too(site):
    answer = site(Cors(["https://app.example"])).get(method="POST", body=b"x" * 11, headers=ORIGIN)
    assert answer.status == 413
    assert answer.header("Access-Control-Allow-Origin") == "https://app.example"


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "https://app.example.evil",
        "http://app.example",
        "https://APP.example",
        "null",
        "https://app.example:8443",
    ],
)
def test_other_origins_get_no_leave(site, origin):
    server = site(Cors(["https://app.example"], credentials=True))
    for method, headers in (("GET", ""), ("OPTIONS", "Access-Control-Request-Method: PUT\r\n")):
        answer = server.get(method=method, headers=f"Origin: {origin}\r\n{headers}")
        assert set(granted(answer)) == {"vary"}
        assert "Origin" in answer.header("Vary")


def test_anybody_may_where_nobody_is_known(site):
    server = site(Cors())
    assert granted(server.get(headers=ORIGIN)) == {"access-control-allow-origin": "*"}
    assert granted(server.get())["access-control-allow-origin"] == "*"  # one answer for all caches


def test_an_options_request_that_is_no_preflight_is_the_handlers(site):
    server = site(Cors())
    assert server.get(method="OPTIONS", headers=ORIGIN).body == b"OPTIONS"
    assert (
        server.get(method="OPTIONS", headers="Access-Control-Request-Method: PUT\r\n").body
        == b"OPTIONS"
    )


def test_a_function_decides_and_any_header_is_named(site):
    server = site(Cors(lambda origin: origin.endswith(".example"), headers="*"))
    answer = server.get(method="OPTIONS", headers=PREFLIGHT)
    assert answer.header("Access-Control-Allow-Origin") == "https://app.example"
    assert answer.header("Access-Control-Allow-Headers") == "x-a, content-type"


@pytest.mark.parametrize(
    "options",
    [
        {"origins": "*", "credentials": True},
        {"origins": ["*"], "credentials": True},
        {"origins": ["https://a.example/"]},
        {"origins": ["a.example"]},
        {"origins": ["https://A.example"]},
        {"methods": ["GET, PUT"]},
        {"headers": ["a b"]},
        {"expose": ["a\r\nb"]},
        {"max_age": -1},
    ],
)
def test_rules_that_cannot_be_meant_are_refused(options):
    with pytest.raises(ValueError, match=r"."):
        Cors(**options)
