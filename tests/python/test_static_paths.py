"""Paths lead to the files of a served folder and to nothing outside of it; listings and options."""

from __future__ import annotations

import html
import os
import re
import shutil
import socket

import pytest
from conftest import eventually, on_http, parse, read_all
from static_helpers import TEXT, field

from pymongoose import ConnectionClosed, MongooseError

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
