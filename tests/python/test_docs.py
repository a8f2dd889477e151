"""The documents tell the truth: their programs run, their links lead somewhere.

Every ```python block of README.md and docs/*.md is a whole program and is run, in a process of its own. A block that serves is
asked once for each listener and told to stop after the answer: GET /, or what a comment above it says,
<!-- try: POST /path body -->. The answer must be a 2xx (for ws:// a text after one was sent), and nothing may be said on stderr.

Fragments are ```py blocks: they are only compiled.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from programs import ROOT

PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md")])
BLOCK = re.compile(
    r"(?:^<!-- try: (?P<ask>.*?) -->\n+)?^```(?P<kind>python|py)\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)

# Runs around the block: ports are free ones, and run() asks each listener once before it stops.
RUNNER = """
import http.client, socket, sys, threading
import pymongoose

code, method, path, body = sys.argv[1:5]
listeners = []
listen, run = pymongoose.Manager.listen, pymongoose.Manager.run

def free_port(self, url, *args, **options):
    scheme, _, rest = url.partition("://")
    conn = listen(self, scheme + "://" + rest.rpartition(":")[0] + ":0", *args, **options)
    listeners.append((scheme, conn.local_addr[:2]))
    return conn

def ask(scheme, address):
    if scheme == "http":
        client = http.client.HTTPConnection(*address, timeout=20)
        client.request(method, path, body.encode() if body else None)
        answer = client.getresponse()
        text = answer.read()
        client.close()
        return None if 200 <= answer.status < 300 else f"{answer.status} {text!r}"
    if scheme == "ws":
        return say(address)
    kind = socket.SOCK_DGRAM if scheme == "udp" else socket.SOCK_STREAM
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.settimeout(20)
        sock.connect(address)
        sock.send(b"hello\\n")
        return None if sock.recv(100) == b"hello\\n" else "no echo"

def say(address):
    head = f"{method} {path} HTTP/1.1\\r\\nHost: a\\r\\nUpgrade: websocket\\r\\nConnection: Upgrade\\r\\n"
    head += "Sec-WebSocket-Version: 13\\r\\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\\r\\n\\r\\n"
    with socket.create_connection(address, 20) as sock, sock.makefile("rb") as reader:
        sock.sendall(head.encode() + bytes([0x81, 0x85, 0, 0, 0, 0]) + b"hello")
        if not reader.readline().startswith(b"HTTP/1.1 101 "):
            return "not upgraded"
        while reader.readline().strip():
            pass
        first, length = reader.read(2)
        return None if first == 0x81 and reader.read(length) else "no text"

def ask_all(self):
    try:
        problems.extend(p for p in [ask(*it) for it in listeners] if p)
    except Exception as e:
        problems.append(repr(e))
    self.stop()

def run_once(self, *args, **options):
    if listeners:
        threading.Thread(target=ask_all, args=(self,)).start()
    run(self, *args, **options)

problems = []
pymongoose.Manager.listen, pymongoose.Manager.run = free_port, run_once
exec(compile(code, "<block>", "exec"), {"__name__": "__main__"})
assert not problems, problems
"""


def blocks(kind: str) -> list[object]:
    found = []
    for page in PAGES:
        text = page.read_text()
        for m in BLOCK.finditer(text):
            if m["kind"] == kind:
                line = text.count("\n", 0, m.start("code")) + 1
                found.append(pytest.param(m["code"], m["ask"], id=f"{page.name}:{line}"))
    return found


@pytest.mark.parametrize(("code", "ask"), blocks("python"))
def test_program_in_a_document_runs(code: str, ask: str | None, tmp_path: Path) -> None:
    method, path, body = [*(ask or "GET /").split(" ", 2), ""][:3]
    command = [sys.executable, "-W", "error", "-c", RUNNER, code, method, path, body]
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, cwd=tmp_path, timeout=50
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(("code", "ask"), blocks("py"))
def test_fragment_in_a_document_is_python(code: str, ask: str | None) -> None:
    compile(code, "<block>", "exec")


def anchors(page: Path) -> set[str]:
    """Of headings, as GitHub and mkdocs make them."""
    found = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in found}


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_in_a_document_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if urlsplit(target).scheme:
            continue
        name, _, anchor = target.partition("#")
        there = page.parent / name if name else page
        assert there.exists(), target
        assert not anchor or anchor in anchors(there), target


def test_every_page_is_in_the_navigation() -> None:
    listed = re.findall(r"^  - .*: (\S+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    assert sorted(listed) == sorted(p.name for p in (ROOT / "docs").glob("*.md"))


def test_readme_keeps_a_place_for_the_measurements() -> None:
    text = (ROOT / "README.md").read_text()
    assert text.index("<!-- bench:begin -->") < text.index("<!-- bench:end -->")
