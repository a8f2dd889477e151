"""serve(), serve_dir(), serve_file(): files arrive whole, with the fields they should have, also while they change."""

from __future__ import annotations

import email
import email.utils
import os
import re
import threading
import urllib.parse

import httpx
import pytest
from conftest import DEADLINE, parse, read_all, read_answer
from static_helpers import TEXT, field

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
