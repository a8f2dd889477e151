"""serve(), serve_dir(), serve_file(): the files of a folder, all of them and nothing else, by the rules of RFC 9110."""

from __future__ import annotations

import email
import email.utils
import gzip
import html
import os
import re
import shutil
import socket
import subprocess
import threading
import urllib.parse

import httpx
import pytest
from conftest import DEADLINE, eventually, get, on_http, parse, read_all, read_answer

from pymongoose import ConnectionClosed, MongooseError

TEXT = b"0123456789abcdefghijklmnopqrstuvwxyz\n"


@pytest.fixture
def root(tmp_path):
    """A folder to serve, with secrets beside it."""
    (tmp_path / "secret.txt").write_bytes(b"SECRET")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "secret.txt").write_bytes(b"SECRET")
    folder = tmp_path / "public"
    folder.mkdir()
    (folder / "index.html").write_bytes(b"<h1>index</h1>\n")
    (folder / "text.txt").write_bytes(TEXT)
    (folder / "empty.css").write_bytes(b"")
    (folder / "big.bin").write_bytes(os.urandom(300_001))
    (folder / "sub").mkdir()
    (folder / "sub" / "page.html").write_bytes(b"<p>page</p>")
    (folder / ".env").write_bytes(b"SECRET")
    (folder / ".git").mkdir()
    (folder / ".git" / "config").write_bytes(b"SECRET")
    return folder


@pytest.fixture(params=["serve", "serve_dir"])
def site(request, serve, root):
    """A server of `root`, natively and through a handler."""

    def make(**options):
        if request.param == "serve":
            server = serve(on_http(lambda conn, msg: conn.reply(299, "python")))
            server.listener.serve("/", root, **options)
        else:
            server = serve(on_http(lambda conn, msg: conn.serve_dir(msg, root, **options)))
        return server

    return make


def field(name, value):
    return f"{name}: {value}\r\n"


# -- whole files --


def test_a_file_comes_whole_with_its_type_and_validators(site, root):
    server = site()
    answer = server.get("/text.txt")
    assert (answer.status, answer.body) == (200, TEXT)
    assert answer.header("Content-Type") == "text/plain; charset=utf-8"
    assert answer.header("Accept-Ranges") == "bytes"
    assert answer.header("Vary") is None
    assert re.fullmatch(r'"[!#-~]+"', answer.header("ETag"))
    modified = email.utils.parsedate_to_datetime(answer.header("Last-Modified"))
    assert modified.timestamp() == int((root / "text.txt").stat().st_mtime)
    assert server.get("/big.bin").body == (root / "big.bin").read_bytes()
    empty = server.get("/empty.css")
    assert (empty.status, empty.body, empty.header("Content-Length")) == (200, b"", "0")
    assert empty.header("Content-Type") == "text/css; charset=utf-8"


def test_head_has_the_same_fields_and_no_body(site):
    server = site()
    for path in ("/text.txt", "/big.bin", "/empty.css"):
        whole, head = server.get(path), server.get(path, method="HEAD")
        drop = {"Date"}
        assert [h for h in head.headers if h[0] not in drop] == [
            h for h in whole.headers if h[0] not in drop
        ]
        assert head.status == 200
        ranged = server.get(path, method="HEAD", headers=field("Range", "bytes=0-1"))
        assert ranged.status == 200, "Range is for GET only (RFC 9110 14.2)"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "BREW"])
def test_other_methods_get_405_and_change_nothing(site, root, method):
    server = site()
    for path in ("/text.txt", "/nothing", "/", "/sub"):
        answer = server.get(path, method=method, body=b"x")
        assert answer.status == 405
        assert answer.header("Allow") == "GET, HEAD"
    assert (root / "text.txt").read_bytes() == TEXT


def test_a_folder_is_its_index_behind_a_slash(site, root):
    server = site()
    assert server.get("/").body == b"<h1>index</h1>\n"
    answer = server.get("/sub?a=b")
    assert (answer.status, answer.header("Location")) == (301, "/sub/?a=b")
    assert server.get("/sub/").status == 404, "no listing unless asked for"
    assert server.get("/text.txt/").status == 404
    (root / "sub" / "index.html").mkdir()
    assert server.get("/sub/").status == 404


@pytest.mark.parametrize("path", ["//evil.example/..", "//sub", "///sub", "/%2f%2fevil.example"])
def test_a_redirect_never_leads_to_another_host(site, path):
    location = site().get(path).header("Location")
    assert location is None or re.match(r"/[^/\\]", location), location


def test_names_are_decoded_once(site, root):
    names = [
        "ä ö.txt",
        "100%.txt",
        "%41.txt",
        "a+b.txt",
        "日本語.txt",
        "semi;colon,comma.txt",
        "q?h#.txt",
        "tab\t.txt",
    ]
    names += [b"caf\xe9.txt".decode(errors="surrogateescape")]
    server = site()
    for name in names:
        raw = os.fsencode(name)
        (root / name).write_bytes(raw)
        answer = server.get("/" + urllib.parse.quote(raw))
        assert (answer.status, answer.body) == (200, raw)
    assert server.get("/a+b.txt").body == b"a+b.txt"
    assert server.get("/%2541.txt").body == b"%41.txt"


def test_httpx_reads_what_it_should(site, root):
    with httpx.Client(base_url=f"http://127.0.0.1:{site(max_age=60).port}") as client:
        for _ in range(3):
            answer = client.get("/big.bin")
            assert answer.content == (root / "big.bin").read_bytes()
            assert answer.headers["Cache-Control"] == "max-age=60"
            again = client.get("/big.bin", headers={"If-None-Match": answer.headers["ETag"]})
            assert (again.status_code, again.content) == (304, b"")
            assert again.headers["ETag"] == answer.headers["ETag"]
            assert again.headers["Cache-Control"] == "max-age=60"
            assert "Content-Length" not in again.headers


def test_pipelined_requests_are_answered_in_order(site, root):
    server = site()
    paths = ["/text.txt", "/big.bin", "/nothing", "/sub/page.html", "/big.bin", "/"] * 5
    data = b"".join(f"GET {p} HTTP/1.1\r\nHost: a\r\n\r\n".encode() for p in paths)
    with server.connect() as sock:
        sock.sendall(data)
        have = b""
        for path in paths:
            answer, have = read_answer(sock, have=have)
            file = root / (path.strip("/") or "index.html")
            want = (200, file.read_bytes()) if file.exists() else (404, b"404 Not Found\n")
            assert (answer.status, answer.body) == want
        assert have == b""


def test_http_1_0_gets_a_counted_body_and_the_end(site, root):
    answer = site().get("/big.bin", proto="HTTP/1.0")
    assert answer.body == (root / "big.bin").read_bytes()
    assert answer.header("Content-Length") == "300001"


# -- nothing outside --

TRAVERSAL = [
    "/../secret.txt", "/../../etc/passwd", "/..", "/../", "/sub/../../secret.txt", "/./../secret.txt", "/sub/..", "/.",
    "/%2e%2e/secret.txt", "/%2E%2E/secret.txt", "/.%2e/secret.txt", "/..%2fsecret.txt", "/..%2Fsecret.txt", "/%2e%2e%2fsecret.txt",
    "/..%5csecret.txt", "/..\\secret.txt", "/sub\\..\\..\\secret.txt", "/%5c..%5csecret.txt", "/..;/secret.txt", "/;/../secret.txt",
    "/%252e%252e/secret.txt", "/%252e%252e%252fsecret.txt", "/%c0%ae%c0%ae/secret.txt", "/%c0%af../secret.txt", "/..%c0%afsecret.txt",
    "/%u002e%u002e/secret.txt", "//../secret.txt", "/...//secret.txt", "/....//secret.txt", "/.../secret.txt",
    "/text.txt/../../secret.txt", "/~/secret.txt", "/~root", "/%00", "/text.txt%00", "/text.txt%00.html", "/%00/../../secret.txt",
    "/..%00/secret.txt", "/../public/../secret.txt", "/link-out", "/link-out/secret.txt", "/link-file", "/link-absolute", "/link-up/secret.txt",
    "/sub/link-chain/secret.txt", "/.env", "/.git/config", "/.git/", "/.git", "/%2egit/config", "/sub/..%2f..%2fsecret.txt",
    "/proc-link/self/environ", "/%2fetc%2fpasswd", "/%2Fetc/passwd", "//etc/passwd", "/C:/secret.txt", "/C:%5csecret.txt",
]  # fmt: skip


@pytest.mark.parametrize("listing", [False, True])
def test_no_path_leads_out_of_the_root(site, root, listing):
    (root / "link-out").symlink_to("../other")
    (root / "link-file").symlink_to("../secret.txt")
    (root / "link-absolute").symlink_to(root.parent / "secret.txt")
    (root / "link-up").symlink_to("..")
    (root / "sub" / "link-chain").symlink_to("../link-out")
    (root / "proc-link").symlink_to("/proc")
    server = site(listing=listing)
    for path in TRAVERSAL:
        answer = server.get(path)
        assert answer.status in (400, 404), (path, answer)
        assert b"SECRET" not in answer.body
        assert b"root:" not in answer.body
    listed = server.get("/sub/").body
    assert b"link" not in listed


def test_links_inside_of_the_root_are_followed(site, root):
    (root / "sub" / "up.txt").symlink_to("../text.txt")
    (root / "alias").symlink_to("sub")
    server = site()
    assert server.get("/sub/up.txt").body == TEXT
    assert server.get("/alias/page.html").body == b"<p>page</p>"
    (root / "loop").symlink_to("loop")
    (root / "broken").symlink_to("nowhere")
    assert [server.get(p).status for p in ("/loop", "/broken")] == [404, 404]


def test_a_file_that_becomes_a_link_out_is_gone(site, root):
    server = site()
    assert server.get("/text.txt").body == TEXT
    (root / "text.txt").unlink()
    (root / "text.txt").symlink_to("../secret.txt")
    assert server.get("/text.txt").status == 404


def test_a_folder_that_becomes_a_link_out_takes_its_files_along(site, root):
    server = site()
    (root / "sub" / "secret.txt").write_bytes(b"mine")
    assert server.get("/sub/secret.txt").body == b"mine"
    shutil.rmtree(root / "sub")
    (root / "sub").symlink_to("../other")
    assert server.get("/sub/secret.txt").status == 404


def test_fifos_sockets_and_devices_are_not_opened(site, root):
    os.mkfifo(root / "fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        here = os.getcwd()
        os.chdir(root)  # the name of a socket is short
        try:
            listener.bind("socket")
        finally:
            os.chdir(here)
        (root / "null").symlink_to("/dev/null")
        server = site()
        for path in ("/fifo", "/socket", "/null", "/fifo/", "/fifo/x"):
            assert server.get(path).status == 404
    with pytest.raises(OSError, match="No such device"):  # nobody reads there
        os.open(root / "fifo", os.O_WRONLY | os.O_NONBLOCK)


def test_dotfiles_come_only_when_asked_for(site):
    server = site(dotfiles=True)
    assert server.get("/.env").body == b"SECRET"
    assert server.get("/.git/config").body == b"SECRET"
    assert [server.get(p).status for p in ("/..", "/.", "/./text.txt", "/../secret.txt")] == [
        404
    ] * 4


def test_malformed_paths_are_told_apart(site):
    server = site()
    assert [server.get(p).status for p in ("/%", "/%4", "/%zz", "/a%00b")] == [400] * 4
    assert server.get("/" + "a" * 5000).status == 404
    assert server.get("/" + "a/" * 2500).status == 404


def test_unreadable_files_are_not_there(site, root):
    if os.geteuid() == 0:
        pytest.skip("root reads everything")
    (root / "text.txt").chmod(0)
    assert site().get("/text.txt").status == 404


# -- conditions --


def test_if_none_match(site):
    server = site()
    etag = server.get("/text.txt").header("ETag")
    for value in (etag, f"W/{etag}", f'"x", {etag}', f'{etag},"x"', "*", f' "a,b" ,\t{etag}'):
        assert server.get("/text.txt", headers=field("If-None-Match", value)).status == 304, value
        assert (
            server.get("/text.txt", method="HEAD", headers=field("If-None-Match", value)).status
            == 304
        )
    for value in ('"x"', f"x{etag}", etag.strip('"'), '"', ""):
        assert server.get("/text.txt", headers=field("If-None-Match", value)).status == 200, value
    two = field("If-None-Match", '"x"') + field("If-None-Match", etag)
    assert server.get("/text.txt", headers=two).status == 304


def test_if_modified_since(site, root):
    server = site()
    os.utime(root / "text.txt", (1_000_000_000, 1_000_000_000))
    assert server.get("/text.txt").header("Last-Modified") == "Sun, 09 Sep 2001 01:46:40 GMT"
    wants = {
        "Sun, 09 Sep 2001 01:46:40 GMT": 304,
        "Sun, 09 Sep 2001 01:46:41 GMT": 304,
        "Sun, 09 Sep 2001 01:46:39 GMT": 200,
        "Sunday, 09-Sep-01 01:46:40 GMT": 304,
        "Sun Sep  9 01:46:40 2001": 304,
        "yesterday": 200,
    }
    for value, status in wants.items():
        assert (
            server.get("/text.txt", headers=field("If-Modified-Since", value)).status == status
        ), value
    both = field("If-Modified-Since", "Sun, 09 Sep 2001 01:46:40 GMT") + field(
        "If-None-Match", '"x"'
    )
    assert server.get("/text.txt", headers=both).status == 200, "the tag decides (RFC 9110 13.2.2)"


def test_if_match_and_if_unmodified_since(site, root):
    server = site()
    os.utime(root / "text.txt", (1_000_000_000, 1_000_000_000))
    etag = server.get("/text.txt").header("ETag")
    old = "Sun, 09 Sep 2001 01:46:39 GMT"
    assert server.get("/text.txt", headers=field("If-Match", etag)).status == 200
    assert server.get("/text.txt", headers=field("If-Match", "*")).status == 200
    assert server.get("/text.txt", headers=field("If-Match", '"x"')).status == 412
    assert server.get("/text.txt", headers=field("If-Match", f"W/{etag}")).status == 412
    assert server.get("/text.txt", headers=field("If-Unmodified-Since", old)).status == 412
    both = field("If-Match", etag) + field("If-Unmodified-Since", old)
    assert server.get("/text.txt", headers=both).status == 200
    none = field("If-Match", '"x"') + field("If-None-Match", etag)
    assert server.get("/text.txt", headers=none).status == 412


def test_if_range(site, root):
    server = site()
    os.utime(root / "text.txt", (1_000_000_000, 1_000_000_000))
    etag = server.get("/text.txt").header("ETag")
    want = {
        etag: 206,
        f"W/{etag}": 200,
        '"x"': 200,
        "Sun, 09 Sep 2001 01:46:40 GMT": 206,
        "Sun, 09 Sep 2001 01:46:41 GMT": 200,
        "nonsense": 200,
    }
    for value, status in want.items():
        answer = server.get(
            "/text.txt", headers=field("Range", "bytes=1-2") + field("If-Range", value)
        )
        assert (answer.status, answer.body) == (status, TEXT[1:3] if status == 206 else TEXT), value


# -- ranges --


@pytest.mark.parametrize(
    ("wanted", "piece"),
    [
        ("bytes=0-4", slice(0, 5)),
        ("bytes=36-36", slice(36, 37)),
        ("bytes=10-", slice(10, None)),
        ("bytes=-5", slice(-5, None)),
        ("bytes=-500", slice(0, None)),
        ("bytes=30-99999999999999999999999", slice(30, None)),
        ("bytes=0-0", slice(0, 1)),
        ("BYTES=1-1", slice(1, 2)),
        ("bytes= 1-1 ", slice(1, 2)),
        ("bytes=,1-1,", slice(1, 2)),
        ("bytes=1-1,100-200", slice(1, 2)),
    ],
)
def test_one_range(site, wanted, piece):
    answer = site().get("/text.txt", headers=field("Range", wanted))
    want = TEXT[piece]
    first = TEXT.index(want)
    assert (answer.status, answer.body) == (206, want)
    assert answer.header("Content-Range") == f"bytes {first}-{first + len(want) - 1}/{len(TEXT)}"


@pytest.mark.parametrize(
    "wanted",
    ["bytes=", "bytes=-", "bytes=5-4", "bytes=a-b", "bytes=1", "bytes 1-2", "lines=1-2", "bytes=1-2;", "bytes=0x1-2", "bytes=1-2,x",
     "bytes=--5", "bytes=+1-2", "bytes=" + ",".join(f"{i}-{i}" for i in range(17)), "bytes=4-5,1-2", "bytes=0-9,5-12"],
)  # fmt: skip
def test_ranges_that_are_none_are_ignored(site, wanted):
    answer = site().get("/text.txt", headers=field("Range", wanted))
    assert (answer.status, answer.body) == (200, TEXT)


@pytest.mark.parametrize(
    "wanted",
    ["bytes=37-", "bytes=37-40", "bytes=99999999999999999999-", "bytes=-0", "bytes=40-41,50-51"],
)
def test_ranges_behind_the_end_get_416(site, wanted):
    answer = site().get("/text.txt", headers=field("Range", wanted))
    assert answer.status == 416
    assert answer.header("Content-Range") == "bytes */37"


def test_ranges_of_an_empty_file(site):
    server = site()
    assert server.get("/empty.css", headers=field("Range", "bytes=0-0")).status == 416
    assert server.get("/empty.css", headers=field("Range", "bytes=-5")).status == 200


@pytest.mark.parametrize(("path", "count"), [("/text.txt", 3), ("/text.txt", 16), ("/big.bin", 2)])
def test_several_ranges_are_a_multipart(site, root, path, count):
    data = (root / path[1:]).read_bytes()
    width = len(data) // (2 * count)
    spans = [(2 * i * width, 2 * i * width + width) for i in range(count)]
    wanted = "bytes=" + ", ".join(f"{a}-{b - 1}" for a, b in spans)
    answer = site().get(path, headers=field("Range", wanted))
    assert answer.status == 206
    assert answer.header("Content-Range") is None
    kind = answer.header("Content-Type")
    assert kind.startswith("multipart/byteranges; boundary=")
    boundary = kind.partition("boundary=")[2].encode()
    parts = answer.body.split(b"--" + boundary)
    assert parts[0] == b""
    assert parts[-1] == b"--\r\n"
    assert len(parts) == count + 2
    for part, (a, b) in zip(parts[1:-1], spans, strict=True):
        head, _, body = part.partition(b"\r\n\r\n")
        fields = email.message_from_bytes(head.lstrip(b"\r\n") + b"\r\n\r\n")
        assert fields["Content-Range"] == f"bytes {a}-{b - 1}/{len(data)}"
        assert fields["Content-Type"] == (
            "text/plain; charset=utf-8" if path == "/text.txt" else "application/octet-stream"
        )
        assert body == data[a:b] + b"\r\n"


def test_offsets_beyond_4_gib(site, root):
    size = (5 << 30) + 7
    with (root / "huge.bin").open("wb") as file:
        file.truncate(size)
        file.seek((4 << 30) + 5)
        file.write(b"MARK")
    server = site()
    assert server.get("/huge.bin", method="HEAD").header("Content-Length") == str(size)
    answer = server.get(
        "/huge.bin", headers=field("Range", f"bytes={(4 << 30) + 3}-{(4 << 30) + 10}")
    )
    assert (answer.status, answer.body) == (206, b"\0\0MARK\0\0")
    answer = server.get(
        "/huge.bin", headers=field("Range", f"bytes={(4 << 30) + 4}-{(4 << 30) + 99_999}")
    )
    assert answer.body == b"\0MARK" + bytes(99_991)
    assert (
        server.get("/huge.bin", headers=field("Range", "bytes=-3")).header("Content-Range")
        == f"bytes {size - 3}-{size - 1}/{size}"
    )


# -- codings --


def test_ranges_are_of_what_is_sent_and_several_of_a_coded_file_are_none(site, root):
    """One range is a piece of the coded file. Several would be a multipart with a Content-Encoding, which clients undo on the multipart
    itself: they get the whole file (RFC 9110 14.2 leaves that open), which curl can read."""
    server = site()
    packed = gzip.compress(TEXT, mtime=0)
    (root / "text.txt.gz").write_bytes(packed)
    coded = field("Accept-Encoding", "gzip")
    one, many = field("Range", "bytes=2-5"), field("Range", "bytes=0-1,4-5")
    answer = server.get("/text.txt", headers=coded)
    tag = answer.header("ETag")
    assert (answer.status, answer.body) == (200, packed)
    for more in (coded, coded + field("If-Range", tag)):
        answer = server.get("/text.txt", headers=one + more)
        assert (answer.status, answer.body, answer.header("ETag")) == (206, packed[2:6], tag)
        assert answer.header("Content-Encoding") == "gzip"
        assert answer.header("Content-Range") == f"bytes 2-5/{len(packed)}"
        answer = server.get("/text.txt", headers=many + more)
        assert (answer.status, answer.body, answer.header("ETag")) == (200, packed, tag)
    answer = server.get("/text.txt", headers=one + field("If-Range", tag))
    assert (answer.status, answer.body) == (200, TEXT), "that tag is of another representation"
    assert server.get("/text.txt", headers=many).status == 206
    if shutil.which("curl"):
        command = ["curl", "-s", "--compressed", "-r", "0-1,4-5"]
        got = subprocess.run([*command, f"http://127.0.0.1:{server.port}/text.txt"], capture_output=True, check=True)  # fmt: skip
        assert got.stdout == TEXT


def test_a_coded_sibling_is_chosen_by_the_client(site, root):
    server = site()
    for suffix in ("br", "zst", "gz"):
        (root / f"text.txt.{suffix}").write_bytes(
            gzip.compress(TEXT) if suffix == "gz" else suffix.encode()
        )
    want = {
        "gzip": "gzip", "br": "br", "zstd": "zstd", "gzip, br": "br", "gzip, deflate, br, zstd": "br", "br;q=0.5, gzip": "gzip",
        "br;q=0, *": "zstd", "*": "br", "identity": None, "gzip;q=0": None, "": None, "deflate": None, "GZIP": "gzip",
        "gzip;q=0.4, identity;q=0.9": None, "gzip ; q=0.4 , identity;q=0.3": "gzip", "x-gzip": "gzip", "gzip;q=1.5": None, "br;q=": None,
    }  # fmt: skip
    for accept, coding in want.items():
        answer = server.get("/text.txt", headers=field("Accept-Encoding", accept))
        assert answer.header("Content-Encoding") == coding, accept
        assert answer.header("Content-Type") == "text/plain; charset=utf-8"
        assert answer.header("Vary") == "Accept-Encoding"
        if coding in (None, "gzip"):
            assert (gzip.decompress(answer.body) if coding else answer.body) == TEXT
    plain, coded = (
        server.get("/text.txt", headers=field("Accept-Encoding", a)) for a in ("identity", "gzip")
    )
    assert plain.header("ETag") != coded.header("ETag")
    not_modified = server.get(
        "/text.txt",
        headers=field("Accept-Encoding", "gzip") + field("If-None-Match", coded.header("ETag")),
    )
    assert (not_modified.status, not_modified.header("Vary")) == (304, "Accept-Encoding")
    piece = server.get(
        "/text.txt", headers=field("Accept-Encoding", "gzip") + field("Range", "bytes=2-5")
    )
    assert piece.body == coded.body[2:6]
    assert server.get("/text.txt.gz").header("Content-Type") == "application/gzip"
    assert server.get("/text.txt.gz").header("Content-Encoding") is None


def test_a_coded_sibling_that_is_out_of_date_is_not_sent(site, root):
    (root / "text.txt.gz").write_bytes(gzip.compress(b"old"))
    os.utime(root / "text.txt.gz", (1_000_000_000, 1_000_000_000))
    answer = site().get("/text.txt", headers=field("Accept-Encoding", "gzip"))
    assert (answer.header("Content-Encoding"), answer.body) == (None, TEXT)


def test_a_coded_sibling_that_leads_out_is_not_sent(site, root):
    (root / "text.txt.gz").symlink_to("../secret.txt")
    answer = site().get("/text.txt", headers=field("Accept-Encoding", "gzip"))
    assert (answer.header("Content-Encoding"), answer.body) == (None, TEXT)


# -- files change --


def test_the_next_request_sees_a_file_that_was_replaced_or_changed_in_place(site, root):
    server, tags, path = site(), set(), root / "text.txt"
    with httpx.Client(base_url=f"http://127.0.0.1:{server.port}") as client:
        for i in range(40):
            data = b"version %d\n" % i * (1 if i % 3 else 5000)
            if i % 2:
                path.write_bytes(data)
            else:
                (root / "new").write_bytes(data)
                (root / "new").replace(path)
            answer = client.get("/text.txt")
            assert answer.content == data
            tags.add(answer.headers["ETag"])
        path.unlink()
        assert client.get("/text.txt").status_code == 404
        path.write_bytes(b"back")
        assert client.get("/text.txt").content == b"back"
    assert len(tags) == 40


def test_a_file_that_shrinks_while_it_is_sent_ends_the_connection(site, root):
    size = 64 << 20
    with (root / "shrinks.bin").open("wb") as file:
        file.truncate(size)
    server = site()
    with server.connect() as sock:
        sock.sendall(
            b"GET /shrinks.bin HTTP/1.1\r\nHost: a\r\n\r\nGET /text.txt HTTP/1.1\r\nHost: a\r\n\r\n"
        )
        got = len(sock.recv(1000))
        os.truncate(root / "shrinks.bin", 1 << 20)
        rest = read_all(sock)
        assert got + len(rest) < size
        assert TEXT not in rest, "the next answer must not be taken for the rest of this one"
    assert server.get("/text.txt").body == TEXT


def test_a_file_that_is_deleted_while_it_is_sent_arrives_whole(site, root):
    data = os.urandom(8 << 20)
    (root / "gone.bin").write_bytes(data)
    server = site()
    with server.connect() as sock:
        sock.sendall(b"GET /gone.bin HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        first = sock.recv(1000)
        (root / "gone.bin").unlink()
        answer, _ = parse(first + read_all(sock))
    assert answer.body == data


def test_many_files_are_served_with_few_descriptors(site, root):
    server = site()
    for i in range(1200):
        (root / f"{i}.txt").write_text(f"file {i}")
    with httpx.Client(base_url=f"http://127.0.0.1:{server.port}") as client:
        for i in [*range(1200), *range(1200)]:
            assert client.get(f"/{i}.txt").text == f"file {i}"
    names = [
        os.readlink(f"/proc/self/fd/{n}")
        for n in os.listdir("/proc/self/fd")
        if os.path.islink(f"/proc/self/fd/{n}")
    ]
    assert sum(str(root) in name for name in names) <= 512
    server.stop()
    names = [
        os.readlink(f"/proc/self/fd/{n}")
        for n in os.listdir("/proc/self/fd")
        if os.path.islink(f"/proc/self/fd/{n}")
    ]
    assert sum(str(root) in name for name in names) == 0


def test_many_clients_read_while_files_are_replaced(site, root):
    server, wrong, done = site(), [], threading.Event()

    def read():
        with httpx.Client(base_url=f"http://127.0.0.1:{server.port}", timeout=DEADLINE) as client:
            while not done.is_set():
                body = client.get("/swap.bin").content
                if body != body[:1] * len(body) or len(body) != 1000 * (body[0] + 1):
                    wrong.append(body[:20])

    (root / "swap.bin").write_bytes(b"\0" * 1000)
    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for i in range(200):
        (root / "swap.new").write_bytes(bytes([i]) * (1000 * (i + 1)))
        (root / "swap.new").replace(root / "swap.bin")
    done.set()
    for thread in threads:
        thread.join(DEADLINE)
    assert wrong == []


# -- listings --


def test_a_listing_shows_what_is_served_and_nothing_is_markup(site, root):
    evil = [
        "<script>alert(1)<",
        '"onmouseover="x',
        "a&amp;b",
        "javascript:alert(1)",
        "'q'",
        "%2e%2e",
        "back\\slash",
        "ünï",
    ]
    for name in evil:
        (root / "sub" / name).write_bytes(name.encode())
    (root / "sub" / "deep <b>").mkdir()
    (root / "sub" / ".hidden").write_bytes(b"")
    (root / "sub" / "out").symlink_to("../../secret.txt")
    (root / "sub" / "in").symlink_to("../text.txt")
    os.mkfifo(root / "sub" / "fifo")
    server = site(listing=True)
    answer = server.get("/sub/")
    assert (answer.status, answer.header("Content-Type")) == (200, "text/html; charset=utf-8")
    page = answer.body.decode()
    assert "<script" not in page
    assert "<b>" not in page
    links = re.findall(r'<a href="([^"]*)">([^<]*)</a>', page)
    shown = {html.unescape(text) for _, text in links}
    assert shown == {"../", "deep <b>/", "in", "page.html", *evil} - {"back\\slash"}
    for href, text in links:
        assert href.startswith(("./", "../"))
        if text != "../" and not text.endswith("/"):
            want = (
                TEXT
                if text == "in"
                else b"<p>page</p>"
                if text == "page.html"
                else html.unescape(text).encode()
            )
            assert server.get("/sub/" + href[2:]).body == want
    assert server.get("/").body == b"<h1>index</h1>\n", "an index comes first"
    assert server.get("/sub/nothing/").status == 404


def test_listings_of_odd_paths_are_escaped(site, root):
    (root / "<b>").mkdir()
    page = site(listing=True).get("/%3Cb%3E/").body.decode()
    assert "<b>" not in page
    assert "/&lt;b&gt;/" in page


# -- options --


def test_extra_headers_types_and_404(site, root):
    (root / "gone.html").write_bytes(b"<h1>gone</h1>")
    (root / "a.foo").write_bytes(b"foo")
    server = site(
        extra_headers="X-One: 1\r\nX-Two: 2\r\n",
        mime_types="foo=text/x-foo; charset=utf-8,bar=a/b,txt=text/mine",
        page404=root / "gone.html",
        max_age=3600,
    )
    answer = server.get("/a.foo")
    assert (answer.header("X-One"), answer.header("X-Two")) == ("1", "2")
    assert answer.header("Content-Type") == "text/x-foo; charset=utf-8"
    assert answer.header("Cache-Control") == "max-age=3600"
    assert server.get("/text.txt").header("Content-Type") == "text/mine"
    missing = server.get(
        "/nothing", headers=field("Range", "bytes=0-1") + field("If-None-Match", "*")
    )
    assert (missing.status, missing.body) == (404, b"<h1>gone</h1>")
    assert missing.header("Content-Type") == "text/html; charset=utf-8"
    assert missing.header("Cache-Control") is None
    assert server.get("/nothing", method="HEAD").status == 404


def test_headers_of_our_own_are_not_doubled(site):
    answer = site(
        extra_headers=[("Content-Type", "a/b"), ("cache-control", "no-store")], max_age=1
    ).get("/text.txt")
    assert answer.header("Content-Type") == "a/b"
    assert answer.header("Cache-Control") == "no-store"


def test_includes_are_put_in_and_stay_inside(site, root):
    (root / "page.shtml").write_bytes(
        b'[<!--#include file="part.html" -->|<!--#include virtual="/sub/page.html" -->|<!--#include virtual="/sub/two.shtml"-->'
        b'|<!-- a comment -->|<!--#exec cmd="id" -->|<!--#include file="../secret.txt" -->|<!--#include virtual="/../secret.txt" -->'
        b'|<!--#include virtual="/%2e%2e/secret.txt" -->|<!--#include file="/etc/passwd" -->|<!--#include file="link" -->'
        b'|<!--#include file=".env" -->|<!--#include file="page.shtml" -->|<!--#include file="unclosed'
    )
    (root / "part.html").write_bytes(b"PART")
    (root / "sub" / "two.shtml").write_bytes(b'{<!--#include file="page.html"-->}')
    (root / "link").symlink_to("../secret.txt")
    answer = site(ssi_pattern="#.shtml").get("/page.shtml")
    assert (answer.status, answer.header("Content-Type")) == (200, "text/html; charset=utf-8")
    text = answer.body.decode()
    assert text.startswith("[PART|<p>page</p>|{<p>page</p>}|<!-- a comment -->|[an error")
    assert "SECRET" not in text
    assert "root:" not in text
    assert text.count("[PART") == 8, "a page that includes itself ends at the depth limit"
    assert text.endswith('<!--#include file="unclosed')
    plain = site().get("/page.shtml")
    assert plain.body == (root / "page.shtml").read_bytes(), "without a pattern it is a file"


def test_prefixes_are_mapped_the_longest_first(serve, root):
    sub = root / "sub"
    server = serve(on_http(lambda conn, msg: conn.serve_dir(msg, f"{root},/a={sub},/a/b={root}")))
    assert server.get("/text.txt").body == TEXT
    assert server.get("/a/page.html").body == b"<p>page</p>"
    assert server.get("/a/b/text.txt").body == TEXT
    assert server.get("/ab/page.html").status == 404
    assert server.get("/a").header("Location") == "/a/"


def test_routes_the_longest_prefix_wins_and_python_gets_the_rest(serve, root):
    server = serve(on_http(lambda conn, msg: conn.reply(299, "python")))
    listener = server.listener
    listener.serve("/assets/", root)
    listener.serve("/assets/sub", root / "sub", extra_headers={"X": "sub"})
    listener.respond("/assets/exact", 200, "exact")
    assert server.get("/assets/text.txt").body == TEXT
    assert server.get("/assets/sub/page.html").header("X") == "sub"
    assert server.get("/assets/exact").body == b"exact"
    assert server.get("/assets").header("Location") == "/assets/"
    assert [server.get(p).status for p in ("/", "/assetsx", "/text.txt", "/Assets/text.txt")] == [
        299
    ] * 4
    assert server.get("/assets/nothing").status == 404
    listener.serve("/assets", root / "sub")
    assert server.get("/assets/page.html").body == b"<p>page</p>"
    assert server.get("/assets/text.txt").status == 404


def test_serve_file_ignores_the_path(serve, root):
    target = {"path": root / "text.txt"}
    server = serve(on_http(lambda conn, msg: conn.serve_file(msg, target["path"], max_age=5)))
    answer = server.get("/whatever", headers=field("Range", "bytes=1-3"))
    assert (answer.status, answer.body, answer.header("Cache-Control")) == (
        206,
        TEXT[1:4],
        "max-age=5",
    )
    assert server.get("/x", method="POST", body=b"").status == 405
    (root / "link").symlink_to("../secret.txt")
    for path, status in (
        (root / "nothing", 404),
        (root, 404),
        (root / "link", 200),
        ("/dev/null", 404),
        (os.fsencode(root / "text.txt"), 200),
    ):
        target["path"] = path
        assert server.get("/").status == status, path


def test_a_kept_message_can_be_answered_later_from_another_thread(serve, root):
    kept = []

    def handle(conn, msg):
        kept.append((conn, msg))

    server = serve(on_http(handle))
    with server.connect() as sock:
        sock.sendall(b"GET /text.txt HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        eventually(lambda: kept)
        conn, msg = kept[0]
        conn.serve_dir(msg, root)
        assert parse(read_all(sock))[0].body == TEXT
    eventually(lambda: conn.id == 0)
    for call in (
        lambda: conn.serve_dir(msg, root),
        lambda: conn.serve_file(msg, "x"),
        lambda: conn.serve("/", root),
    ):
        with pytest.raises(ConnectionClosed):
            call()


def test_wrong_arguments_are_told_by_name(serve, root):
    seen = []

    def handle(conn, msg):
        for error, args, options in [
            (ValueError, (msg, ""), {}),
            (ValueError, (msg, "a\0b"), {}),
            (TypeError, (msg, 5), {}),
            (TypeError, ("msg", root), {}),
            (TypeError, (msg,), {}),
            (TypeError, (msg, root, "", "", "", True), {}),
            (ValueError, (msg, root), {"max_age": -1}),
            (TypeError, (msg, root), {"max_age": "1"}),
            (ValueError, (msg, root), {"extra_headers": "no colon"}),
            (ValueError, (msg, root), {"extra_headers": {"A": "b\r\nC: d"}}),
            (ValueError, (msg, root), {"extra_headers": "A b: c\r\n"}),
            (ValueError, (msg, root), {"mime_types": "a=b\r\nc"}),
            (TypeError, (msg, root), {"mime_types": 5}),
            (TypeError, (msg, root), {"nonsense": 5}),
        ]:
            with pytest.raises(error):
                conn.serve_dir(*args, **options)
        conn.serve_dir(msg, root)
        with pytest.raises(MongooseError):
            conn.serve_file(msg, root / "text.txt")
        with pytest.raises(MongooseError):
            conn.serve("/", root)
        seen.append(True)

    server = serve(on_http(handle))
    assert server.get("/text.txt").body == TEXT
    assert seen == [True]
    for args in (("x", root), ("", root), ("/", "")):
        with pytest.raises(ValueError, match="must"):
            server.listener.serve(*args)
    with pytest.raises(MongooseError):
        server.listen("tcp://127.0.0.1:0").serve("/", root)


# -- curl --


def test_curl_resumes_compares_and_decodes(site, root, tmp_path):
    if shutil.which("curl") is None:
        pytest.skip("no curl")
    server = site()
    base = f"http://127.0.0.1:{server.port}"
    (root / "text.txt.gz").write_bytes(gzip.compress(TEXT))

    def curl(*args):
        return subprocess.run(
            ["curl", "-sS", "--max-time", "20", *args],
            capture_output=True,
            check=True,
            timeout=DEADLINE * 2,
        ).stdout

    assert curl("-r", "3-8", f"{base}/text.txt") == TEXT[3:9]
    assert curl("-r", "0-1,4-5", f"{base}/text.txt").count(b"Content-Range") == 2
    assert curl("--compressed", f"{base}/text.txt") == TEXT
    part = tmp_path / "part"
    part.write_bytes((root / "big.bin").read_bytes()[:1000])
    curl("-C", "-", "-o", str(part), f"{base}/big.bin")
    assert part.read_bytes() == (root / "big.bin").read_bytes()
    assert (
        curl("-z", str(part), "-o", "/dev/null", "-w", "%{http_code}", f"{base}/big.bin") == b"304"
    )
    assert (
        curl(
            "-z",
            "Sat, 01 Sep 2001 00:00:00 GMT",
            "-o",
            "/dev/null",
            "-w",
            "%{http_code}",
            f"{base}/big.bin",
        )
        == b"200"
    )
    tag = tmp_path / "etag"
    curl("--etag-save", str(tag), f"{base}/big.bin", "-o", "/dev/null")
    assert (
        curl("--etag-compare", str(tag), "-o", "/dev/null", "-w", "%{http_code}", f"{base}/big.bin")
        == b"304"
    )
    assert curl("-I", f"{base}/big.bin").startswith(b"HTTP/1.1 200")
    assert (
        curl("-L", "-o", "/dev/null", "-w", "%{http_code} %{num_redirects}", f"{base}/sub")
        == b"404 1"
    )
    assert get(server.port, "/text.txt").body == TEXT
