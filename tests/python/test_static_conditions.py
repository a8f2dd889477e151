"""Conditions, ranges and codings of static files, by the rules of RFC 9110 and as curl asks for them."""

from __future__ import annotations

import email
import email.utils
import gzip
import os
import shutil
import subprocess

import pytest
from conftest import DEADLINE, get
from static_helpers import TEXT, field

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
