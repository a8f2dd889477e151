"""`python -m pymongoose pack`: files into a C program, which then serves them."""

from __future__ import annotations

import gzip
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from programs import ROOT, serving

LIBRARY = ROOT / "third_party" / "mongoose"

SERVER = """
#include <signal.h>
#include <stdio.h>
#include "mongoose.h"

static volatile sig_atomic_t stopped;

static void stop(int number) {
  stopped = number;
}

static void handler(struct mg_connection *c, int ev, void *data) {
  struct mg_http_serve_opts opts = {.root_dir = "/web", .fs = &mg_fs_packed, .listing = true, .ssi_pattern = "#.shtml",
                                    .page404 = "/web/404.html"};
  if (ev == MG_EV_HTTP_MSG) mg_http_serve_dir(c, (struct mg_http_message *) data, &opts);
}

int main(void) {
  struct mg_mgr mgr;
  struct mg_connection *c;
  signal(SIGTERM, stop);
  mg_mgr_init(&mgr);
  c = mg_http_listen(&mgr, "http://127.0.0.1:0", handler, NULL);
  if (c == NULL) return 1;
  printf("http://127.0.0.1:%d\\n", mg_ntohs(c->loc.port));
  fflush(stdout);
  while (!stopped) mg_mgr_poll(&mgr, 1000);
  mg_mgr_free(&mgr);
  return 0;
}
"""


def pack(*args: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pymongoose", "pack", *map(str, args)]
    return subprocess.run(command, check=False, capture_output=True, text=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "web"
    (root / "sub").mkdir(parents=True)
    (root / "index.html").write_text("<h1>packed</h1>")
    (root / "sub" / "bytes.bin").write_bytes(bytes(range(256)) * 1000)
    (root / "sub" / 'ä "?".txt').write_text("names")
    (root / "text.txt").write_text("a" * 5000)
    (root / "empty.txt").write_text("")
    (root / "page.shtml").write_text('[<!--#include virtual="/sub/part.html" -->]')
    (root / "sub" / "part.html").write_text("part")
    (root / "404.html").write_text("nothing packed")
    (root / ".hidden").write_text("SECRET")
    (root / "link").symlink_to("/etc/passwd")
    os.utime(root / "text.txt", (1_000_000_000, 1_000_000_000))
    return root


def test_wrong_folders_are_refused(tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    for path, why in ((tmp_path / "nowhere", "not a folder"), (tmp_path / "none", "no files")):
        done = pack(path, "-o", tmp_path / "out.c")
        assert done.returncode == 2
        assert why in done.stderr


def test_the_same_files_make_the_same_c(folder: Path) -> None:
    first, second = pack(folder, "--gzip"), pack(folder, "--gzip")
    assert first.returncode == 0
    assert first.stdout == second.stdout
    assert "hidden" not in first.stdout
    assert '"/link"' not in first.stdout
    assert ".hidden" in pack(folder, "--hidden").stdout


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
def test_a_program_serves_what_is_packed_into_it(folder: Path, tmp_path: Path) -> None:
    assert pack(folder, "--prefix", "/web", "--gzip", "-o", tmp_path / "packed.c").returncode == 0
    (tmp_path / "main.c").write_text(SERVER)
    sources = [tmp_path / "main.c", tmp_path / "packed.c", *LIBRARY.glob("mongoose/*/*.c")]
    command = [
        "cc",
        "-std=gnu11",
        "-O0",
        "-Wall",
        "-Wextra",
        "-Werror",
        f"-I{LIBRARY}",
        *map(str, sources),
    ]
    subprocess.run([*command, "-o", str(tmp_path / "server"), "-pthread"], check=True)
    with serving(tmp_path / "server") as it:
        assert it.get("/") == b"<h1>packed</h1>"
        assert it.get("/sub/bytes.bin") == bytes(range(256)) * 1000
        assert it.get("/sub/%C3%A4%20%22%3F%22.txt") == b"names"
        assert it.get("/empty.txt") == b""
        assert it.get("/page.shtml") == b"[part]"
        headers = it.ask("GET", "/text.txt")[2]
        assert headers["Last-Modified"] == "Sun, 09 Sep 2001 01:46:40 GMT"
        assert headers["Vary"] == "Accept-Encoding"
        assert gzip.decompress(it.get("/text.txt.gz")) == b"a" * 5000
        page = it.get("/sub/")
        assert b"bytes.bin" in page
        assert it.ask("GET", "/sub")[2]["Location"] == "/sub/"
        for path in ("/.hidden", "/../web/text.txt", "/link", "/nothing", "/nothing/"):
            assert it.ask("GET", path)[:2] == (404, b"nothing packed")
