"""Forms, in memory and streamed: what producers that we did not write send arrives, and what is wrong is told by a status."""

import os
import socket
import subprocess
import threading

import httpx
import pytest
from conftest import Until, on_http, parse_all

from pymongoose import (
    MG_EV_HTTP_HDRS,
    FormError,
    FormFile,
    Limits,
    WorkerPool,
    http_parse_multipart,
    safe_filename,
)
from pymongoose._forms import parse_multipart, parse_urlencoded

B = "multipart/form-data; boundary=b"


def part(params, content=b"", more=b""):
    return (
        b"--b\r\nContent-Disposition: form-data; "
        + params.encode()
        + b"\r\n"
        + more
        + b"\r\n"
        + content
        + b"\r\n"
    )


def post(body, content_type=B, headers=""):
    return (
        f"POST /up HTTP/1.1\r\nHost: a\r\nContent-Type: {content_type}\r\n{headers}Content-Length: {len(body)}\r\n\r\n".encode()
        + body
    )


# -- decoding --


@pytest.mark.parametrize(
    ("data", "want"),
    [
        (b"", []),
        (b"&&a=1&", [("a", "1")]),
        (b"a&b=&=c", [("a", ""), ("b", ""), ("", "c")]),
        (b"a=1=2;b=3", [("a", "1=2;b=3")]),
        (b"a+b=c%20d+%2B", [("a b", "c d +")]),
        (b"%C3%A4=\xc3\xa4", [("ä", "ä")]),
        (b"a=%zz%4&%=%", [("a", "%zz%4"), ("%", "%")]),
        (b"a=%ff\xc3", [("a", "\ufffd\ufffd")]),
        (b"a=\xc3%A4", [("a", "ä")]),
        (b"a=%00\n", [("a", "\0\n")]),
        (b"a=%EF%BB%BFb", [("a", "\ufeffb")]),
        (b"a=1&a=2", [("a", "1"), ("a", "2")]),
    ],
)
def test_urlencoded_is_read_as_the_url_standard_says(data, want):
    assert parse_urlencoded(data) == want


def test_urlencoded_has_at_most_1000_fields():
    assert len(parse_urlencoded(b"a&" * 1000)) == 1000
    with pytest.raises(FormError) as e:
        parse_urlencoded(b"a&" * 1001)
    assert e.value.status == 413


def test_a_form_is_a_mapping_that_keeps_order_and_repeats():
    body = part("name=a", b"1") + part(
        'name="f"; filename="x.png"', b"\x89PNG", b"Content-Type: image/png\r\nX-A: b\r\n"
    )
    body += part("name=a", "zwölf".encode()) + part('name="none"; filename=""', b"") + b"--b--\r\n"
    form = parse_multipart(B, body)
    assert dict(form) == {"a": "1", "f": form["f"]}
    assert form.all("a") == ["1", "zwölf"]
    assert form.fields == {"a": ["1", "zwölf"]}
    (file,) = form.files["f"]
    assert (file.filename, file.content_type, file.size, file.data, file.path) == (
        "x.png",
        "image/png",
        4,
        b"\x89PNG",
        None,
    )
    assert ("X-A", "b") in file.headers
    assert [name for name, _ in form.pairs] == [
        "a",
        "f",
        "a",
    ]  # a file input that was left empty is not there


@pytest.mark.parametrize(
    ("content_type", "body", "status"),
    [
        ("multipart/form-data", b"--b--", 400),
        (B, b"--b\r\n", 400),
        (B, part("name=a") * 1001 + b"--b--", 413),
        (B, b"--b\r\nContent-Disposition: form-data; name=a\n\r\n\r\n--b--", 400),
        ("application/x-www-form-urlencoded", b"a&" * 1001, 413),
        ("text/plain", b"a=1", 415),
        ("multipart/mixed; boundary=b", b"--b--", 415),
    ],
)
def test_a_form_that_cannot_be_read_is_answered_for_the_handler(serve, content_type, body, status):
    """The handler just reads data.form; the client hears what was wrong, and nobody logs an error."""
    server = serve(on_http(lambda conn, data: conn.reply(200, repr(dict(data.form)))))
    (answer,) = parse_all(server.talk(post(body, content_type, "Connection: close\r\n")))
    assert answer.status == status
    assert answer.body


def test_form_errors_can_be_handled(serve):
    def handler(conn, data):
        with pytest.raises(FormError) as e:
            data.form  # noqa: B018
        conn.reply(418, f"{e.value.status} {e.value}")

    server = serve(on_http(handler))
    answer = server.get(method="POST", body=b"x", headers="Content-Type: text/css\r\n")
    assert (answer.status, answer.body) == (418, b"415 text/css is no form")


def test_no_body_is_an_empty_form_and_a_form_is_parsed_once(serve):
    def handler(conn, data):
        assert data.form is data.form
        conn.reply(200, str(len(data.form)))

    assert serve(on_http(handler)).get().body == b"0"


# -- producers --


@pytest.fixture
def describe(serve):
    """A server that says what it found in data.form."""

    def handler(conn, data):
        form = data.form
        conn.reply_json(
            [
                [n, v] if isinstance(v, str) else [n, v.filename, v.content_type, v.data.hex()]
                for n, v in form.pairs
            ]
        )

    return serve(on_http(handler))


def test_httpx_forms(describe):
    url = f"http://127.0.0.1:{describe.port}/"
    with httpx.Client(trust_env=False) as client:
        assert client.post(url, data={"a": "1 + 2 = ä", "b": ["x", "y"]}).json() == [
            ["a", "1 + 2 = ä"],
            ["b", "x"],
            ["b", "y"],
        ]
        files = {
            "f": ("naïve.bin", bytes(range(256)), "application/x-a"),
            "g": ('q"uo\\te.txt', b""),
        }
        got = client.post(url, data={"a": "ä\r\nb"}, files=files).json()
    assert got[0] == ["a", "ä\r\nb"]
    assert got[1] == ["f", "naïve.bin", "application/x-a", bytes(range(256)).hex()]
    assert got[2][1].startswith("q")
    assert got[2][1].endswith("te.txt")


def test_requests_toolbelt_streams_a_form(describe):
    encoder_of = pytest.importorskip("requests_toolbelt").MultipartEncoder
    requests = pytest.importorskip("requests")
    encoder = encoder_of({"a": "1", "f": ("a b.txt", b"\r\n--" * 1000, "text/plain")})
    session = requests.Session()
    session.trust_env = False
    with session:
        got = session.post(
            f"http://127.0.0.1:{describe.port}/",
            data=encoder,
            headers={"Content-Type": encoder.content_type},
        )
    assert got.json() == [["a", "1"], ["f", "a b.txt", "text/plain", (b"\r\n--" * 1000).hex()]]


def test_aiohttp_forms(describe):
    aiohttp = pytest.importorskip("aiohttp")
    import asyncio

    async def send():
        form = aiohttp.FormData()
        form.add_field("a", "ü")
        form.add_field("f", b"\0\1", filename="ünï.bin", content_type="application/octet-stream")
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"http://127.0.0.1:{describe.port}/", data=form) as r,
        ):
            return await r.json()

    got = asyncio.run(send())
    assert got[0] == ["a", "ü"]
    assert got[1][0] == "f"
    assert got[1][2:] == ["application/octet-stream", "0001"]
    assert got[1][1] in ("ünï.bin", "%C3%BCn%C3%AF.bin")


def test_curl_forms(describe, tmp_path):
    path = tmp_path / "data.bin"
    path.write_bytes(bytes(range(256)) * 300)
    done = subprocess.run(
        [
            "curl",
            "-sS",
            "--noproxy",
            "*",
            "-F",
            "a=1",
            "-F",
            f'f=@{path};filename="x;y.bin";type=a/b',
            f"http://127.0.0.1:{describe.port}/",
        ],
        capture_output=True,
        timeout=30,
        check=True,
    )
    import json

    assert json.loads(done.stdout) == [
        ["a", "1"],
        ["f", "x;y.bin", "a/b", (bytes(range(256)) * 300).hex()],
    ]


def test_parse_multipart_as_cymongoose_has_it():
    body = part('name="a"', b"1\r\n2") + part('name="f"; filename="x.txt"', b"\0") + b"--b--\r\n"
    at, got = http_parse_multipart(body)
    assert got == {"name": "a", "filename": "", "body": b"1\r\n2"}
    at, got = http_parse_multipart(body, at)
    assert got == {"name": "f", "filename": "x.txt", "body": b"\0"}
    assert http_parse_multipart(body, at) == (0, None)
    assert http_parse_multipart(b"") == (0, None)
    assert http_parse_multipart("no form") == (0, None)
    assert http_parse_multipart(body, len(body) + 1) == (0, None)
    with pytest.raises(ValueError, match="offset"):
        http_parse_multipart(body, -1)


# -- uploads --


@pytest.fixture(params=["loop", "pool"])
def uploads(request, serve, tmp_path):
    """uploads(**upload options) -> a server that takes forms; folder and forms are attributes."""

    def make(to=None, on_end=None, listen=None, **options):
        forms = []
        folder = tmp_path / "up"
        folder.mkdir()

        def end(form):
            forms.append(form)
            return {n: v if isinstance(v, str) else [v.filename, v.size] for n, v in form.items()}

        def handler(conn, ev, data):
            if ev == MG_EV_HTTP_HDRS:
                conn.upload(data, to or folder, on_end or end, **options)

        server = serve(
            handler, listen=listen, **({"workers": 2} if request.param == "pool" else {})
        )
        server.folder, server.forms = folder, forms
        return server

    return make


def names(folder):
    return sorted(os.listdir(folder))


def test_upload_stores_files_under_names_of_its_own(uploads):
    server = uploads()
    data = os.urandom(3 << 20)
    with httpx.Client(trust_env=False) as client:
        got = client.post(
            f"http://127.0.0.1:{server.port}/", data={"a": "ä"}, files={"f": ("../../etc/x", data)}
        )
        assert got.json() == {"a": "ä", "f": ["../../etc/x", len(data)]}
        again = client.post(f"http://127.0.0.1:{server.port}/", files={"f": ("y", b"")})
        assert again.json() == {"f": ["y", 0]}
    first = server.forms[0]["f"]
    assert isinstance(first, FormFile)
    assert os.path.dirname(first.path) == str(server.folder)
    with open(first.path, "rb") as f:
        assert f.read() == data
    assert len(names(server.folder)) == 2
    assert not any(
        n.startswith(".") or "x" in n
        for n in names(server.folder)
        if n != os.path.basename(first.path)
    )
    assert os.stat(first.path).st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "filename",
    [
        "../evil",
        "..\\evil",
        "/etc/evil",
        "C:\\x\\evil",
        "..",
        "\0evil",
        "a/../../evil",
        ".evil",
        "~/evil",
        "-evil",
    ],
)
def test_cve_2022_25299_no_name_leads_out_of_the_folder(uploads, filename):
    server = uploads(original_names=True)
    before = names(server.folder.parent)
    body = part(f'name=f; filename="{filename}"', b"1") + b"--b--"
    (answer,) = parse_all(server.talk(post(body, headers="Connection: close\r\n")))
    if "\0" in filename:
        assert answer.status == 400
        assert names(server.folder) == []
        return
    assert answer.status == 200
    assert names(server.folder.parent) == before
    (name,) = names(server.folder)
    assert not name.startswith(".")
    assert server.forms[0]["f"].path == str(server.folder / name)


def test_original_names_replace_nothing(uploads):
    server = uploads(original_names=True)
    (server.folder / "a.txt").write_text("old")
    body = (
        part('name=f; filename="a.txt"', b"1") + part('name=f; filename="a.txt"', b"2") + b"--b--"
    )
    (answer,) = parse_all(server.talk(post(body, headers="Connection: close\r\n")))
    assert answer.status == 200
    assert {n: (server.folder / n).read_text() for n in names(server.folder)} == {
        "a.txt": "old",
        "a-1.txt": "1",
        "a-2.txt": "2",
    }


@pytest.mark.parametrize(
    ("options", "body", "status", "why"),
    [
        ({"max_file": 3}, part("name=f; filename=x", b"1234"), 413, b"file too large"),
        ({"max_field": 3}, part("name=f", b"123"), 413, b"fields too large"),
        ({"max_parts": 1}, part("name=f; filename=x", b"1") * 2 + b"--b--", 413, b"too many parts"),
        ({"max_total": 30}, part("name=f; filename=x", b"1") + b"--b--", 413, b"body too large"),
        ({}, part("name=f; filename=x", b"1"), 400, b"closing boundary"),
        ({}, part("name=f; filename=x", b"1") + b"--bad", 400, b"behind a boundary"),
        (
            {},
            part("name=f; filename=x", b"1") + part("nothing", b"1") + b"--b--",
            400,
            b"Content-Disposition",
        ),
    ],
)
def test_what_is_too_much_or_malformed_is_answered_and_leaves_no_file(
    uploads, options, body, status, why
):
    server = uploads(**options)
    (answer,) = parse_all(server.talk(post(body, headers="Connection: close\r\n")))
    assert answer.status == status
    assert why in answer.body
    server.stop()
    assert names(server.folder) == []
    assert server.forms == []


def test_a_refused_upload_is_not_read_to_its_end(uploads):
    """A terabyte is announced: the answer comes, and the connection ends, long before."""
    server = uploads(max_file=100, max_total=1 << 41)
    with server.connect() as sock:
        head = post(b"").replace(b"Content-Length: 0", b"Content-Length: %d" % (1 << 40))
        sock.sendall(head + part("name=f; filename=x", b"1" * 200))
        (answer,) = parse_all(sock_until_closed(sock))
    assert answer.status == 413
    assert answer.header("Connection") == "close"


def sock_until_closed(sock):
    sock.settimeout(15)
    out = b""
    while got := sock.recv(65536):
        out += got
    return out


@pytest.mark.parametrize(
    "content_type", ["multipart/form-data", "text/plain", "multipart/form-data; boundary="]
)
def test_what_is_no_form_is_refused_at_its_head(uploads, content_type):
    server = uploads()
    (answer,) = parse_all(server.talk(post(b"x" * 100, content_type, "Connection: close\r\n")))
    assert answer.status == (415 if content_type == "text/plain" else 400)


def test_a_client_that_goes_away_leaves_no_file(uploads):
    writing = Until()

    def to(file):
        sink = open(server.folder / "spool", "wb")  # noqa: SIM115

        class Sink:
            def write(self, data):
                writing.set()
                return sink.write(data)

            def close(self):
                sink.close()
                closed.set()

        return Sink()

    closed = threading.Event()
    server = uploads(to=to)
    with server.connect() as sock:
        sock.sendall(post(b"x" * 1000)[:-1000] + part("name=f; filename=x", b"1" * 200))
        writing.get()
    assert closed.wait(15)


def test_the_spool_of_a_client_that_goes_away_is_removed(uploads):
    server = uploads()
    with server.connect() as sock:
        sock.sendall(post(b"x" * 100000)[:-100000] + part("name=f; filename=x", b"1" * 50000))
        while not names(server.folder):
            pass
        (name,) = names(server.folder)
        assert name.startswith(".")
        assert name.endswith(".part")
    while names(server.folder):
        pass


def test_an_exception_at_the_end_is_500_and_leaves_no_file(uploads):
    server = uploads(on_end=lambda form: 1 / 0)
    (answer,) = parse_all(
        server.talk(
            post(part("name=f; filename=x", b"1") + b"--b--", headers="Connection: close\r\n")
        )
    )
    assert answer.status == 500
    server.expect_error(ZeroDivisionError)
    assert names(server.folder) == []


def test_an_exception_of_a_sink_is_500(uploads):
    def write(data):
        raise OSError("disk full")

    server = uploads(to=lambda file: write)
    (answer,) = parse_all(
        server.talk(
            post(part("name=f; filename=x", b"1") + b"--b--", headers="Connection: close\r\n")
        )
    )
    assert answer.status == 500
    server.expect_error(OSError)


def test_sinks_are_functions_objects_or_none(uploads):
    got, seen = {}, []

    def to(file):
        seen.append(file.filename)
        return (
            None if file.filename == "skip" else got.setdefault(file.filename, bytearray()).extend
        )

    server = uploads(to=to)
    body = (
        part("name=f; filename=a", b"12" * 50000)
        + part("name=g; filename=skip", b"3")
        + part('name=h; filename=""')
        + b"--b--"
    )
    answers = parse_all(server.talk(post(body) + post(body, headers="Connection: close\r\n")))
    assert [a.status for a in answers] == [200, 200]  # the connection goes on
    assert got == {"a": b"12" * 100000}
    assert seen == ["a", "skip"] * 2
    assert dict(server.forms[0])["g"].size == 1
    assert "h" not in server.forms[0]


def test_upload_byte_by_byte_and_chunked(uploads):
    server = uploads()
    body = part("name=a", b"1") + part("name=f; filename=x", b"\r\n--\r\n--b") + b"--b--\r\n"
    head = post(b"").replace(
        b"Content-Length: 0", b"Transfer-Encoding: chunked\r\nConnection: close"
    )
    with server.connect() as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.sendall(head)
        for i in range(len(body)):
            sock.sendall(b"1\r\n" + body[i : i + 1] + b"\r\n")
        sock.sendall(b"0\r\n\r\n")
        (answer,) = parse_all(sock_until_closed(sock))
    assert answer.status == 400  # "\r\n--b" in the file is followed by "\r\n--b--"
    body = body.replace(b"--b\r\n--b--", b"--c\r\n--b--")
    (answer,) = parse_all(server.talk(post(body, headers="Connection: close\r\n")))
    assert answer.status == 200
    with open(server.forms[0]["f"].path, "rb") as f:
        assert f.read() == b"\r\n--\r\n--c"


def test_a_slow_disk_pauses_the_client(serve):
    """With a pool: memory between socket and worker is bounded, and all arrives."""
    gate, got = threading.Semaphore(0), []
    waiting = []

    def to(file):
        def write(data):
            gate.acquire()
            waiting.append(len(data))
            got.append(data)

        return write

    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_HDRS:
            conn.upload(data, to, lambda form: str(form["f"].size))

    server = serve(handler, workers=1, listen={"limits": Limits(body_timeout=15)})
    total = 8 << 20
    result = Until()

    def client():
        with httpx.Client(trust_env=False, timeout=30) as c:
            result.set(
                c.post(f"http://127.0.0.1:{server.port}/", files={"f": ("x", b"z" * total)}).text
            )

    thread = threading.Thread(target=client)
    thread.start()
    for _ in range(100000):
        gate.release()
    assert result.get() == str(total)
    thread.join(15)
    assert b"".join(got) == b"z" * total


def test_a_full_pool_answers_503(serve, tmp_path):
    started, go = threading.Event(), threading.Event()
    pool = WorkerPool(1, max_queue=1)

    def block():
        started.set()
        go.wait(15)

    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_HDRS:
            conn.upload(data, tmp_path, lambda form: None)

    server = serve(handler, pool=pool)
    blocker = pool.submit(block)
    assert started.wait(15)
    queued = pool.submit(int)
    (answer,) = parse_all(
        server.talk(
            post(part("name=f; filename=x", b"1") + b"--b--", headers="Connection: close\r\n")
        )
    )
    assert answer.status == 503
    go.set()
    blocker.result(15)
    queued.result(15)
    pool.shutdown()
    assert os.listdir(tmp_path) == []


def test_upload_wants_a_folder_or_a_function(serve, tmp_path):
    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_HDRS:
            with pytest.raises(NotADirectoryError):
                conn.upload(data, tmp_path / "missing", print)
            with pytest.raises(TypeError, match="on_end"):
                conn.upload(data, tmp_path, None)
            conn.reply(200)

    (answer,) = parse_all(serve(handler).talk(post(b"x", headers="Connection: close\r\n")))
    assert answer.status == 200


@pytest.mark.parametrize(
    ("name", "want"),
    [
        ("report.pdf", "report.pdf"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\x\\a.txt", "a.txt"),
        ("..", "file"),
        ("", "file"),
        ("/", "file"),
        (". .hidden. ", "hidden"),
        ("a\0b\r\nc", "abc"),
        ('<a>:"|?*b', "ab"),
        ("CON", "_CON"),
        ("nul.txt", "_nul.txt"),
        ("cafe\u0301", "café"),
        ("ä" * 200 + ".txt", "ä" * 98 + ".txt"),
        ("x" * 300, "x" * 200),
        ("\u202egpj.exe", "gpj.exe"),
    ],
)
def test_safe_filenames(name, want):
    assert safe_filename(name) == want
