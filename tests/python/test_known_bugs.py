"""One named case for each HTTP bug that other servers are known for: sent raw, answered in one defined way.

The bytes are in tests/vectors/http; this table says which of them belong to which report. Those without bytes have a test of their own.
"""

from __future__ import annotations

import socket

import pytest
import vectors
from conftest import eventually, get, on_http, parse_all, read_answer

TABLE = {
    "CVE-2023-34188 negative length": ["smuggling-cve-2023-34188-negative-length"],
    "CVE-2026-73256 coding in HTTP/1.0": ["smuggling-cve-2026-73256-te-in-http-1-0"],
    "CVE-2026-73257 length and coding": [
        "smuggling-cve-2026-73257-length-then-coding",
        "smuggling-cve-2026-73257-coding-then-length",
    ],
    "CVE-2019-13503 many fields": ["limits-cve-2019-13503-fields-101"],
    "garden 8 lone CR ends a header": ["refused-garden-8-lone-cr-ends-a-header"],
    "garden 13 lone CR": ["refused-garden-13-lone-cr-before-crlf"],
    "garden 14 empty chunk size": ["chunked-garden-14-chunk-empty-size"],
    "garden 17 ,chunked": ["smuggling-garden-17-te-comma-chunked"],
    "garden 18 no name": ["refused-garden-18-no-name"],
    "garden 21 no name truncates": ["refused-garden-21-no-name-truncates"],
    "garden 26 no colon": ["refused-garden-26-no-colon"],
    "garden 27 no colon, last line": ["refused-garden-27-no-colon-in-the-last-line"],
    "garden 28 chunk size 1Z": ["chunked-garden-28-chunk-size-1z"],
    "garden 29 length with a letter": ["smuggling-garden-29-length-with-letter"],
    "h11: CRLF behind chunk data": ["chunked-chunk-no-crlf-after-data"],
    "aiohttp: sizes 0x and _": ["chunked-chunk-size-0x", "chunked-chunk-size-underscore"],
    "aiohttp: LF in an extension": ["chunked-chunk-extension-with-lf"],
    "aiohttp: trailers": ["chunked-chunk-trailer-no-colon", "chunked-chunk-trailer-bare-lf"],
    "gunicorn: unknown coding": ["smuggling-te-unknown"],
    "gunicorn: coding twice": ["smuggling-te-two-fields"],
    "node: endless extension": ["chunked-cve-node-2024-22019-chunk-extension-without-end"],
}
CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
BEHIND = b"GET /behind HTTP/1.1\r\nHost: a\r\n\r\n"
VECTORS = {v.name: v for v in vectors.load("request", "chunked")}


@pytest.mark.parametrize(
    ("name", "report"),
    [pytest.param(n, r, id=f"{r}: {n}") for r, names in TABLE.items() for n in names],
)
def test_report_has_its_case_and_its_answer(serve, name, report):
    """And nothing behind a refusal is served (as in waitress, CVE-2024-49768)."""
    seen = []
    server = serve(on_http(lambda conn, msg: (seen.append(msg.uri), conn.reply(200))))
    v = VECTORS[name]
    data = v.data if v.kind == "request" else CHUNKED + v.data
    status = int(v.expect) if v.expect.isdigit() else 400
    answers = parse_all(server.talk(data + BEHIND, half_close=True))
    assert [a.status for a in answers] == [status], report
    assert answers[0].header("Connection") == "close"
    assert seen == []


def test_garden_45_good_answer_is_not_followed_by_an_early_close(serve):
    """A request that asks for no close is answered and the connection goes on."""
    server = serve(on_http(lambda conn, msg: conn.reply(200, "ok")))
    with server.connect() as sock:
        for _ in range(3):
            sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert read_answer(sock)[0].body == b"ok"


def test_half_closed_and_reset_peers_do_not_make_the_loop_spin(serve):
    """As in waitress, CVE-2024-49769: turns are counted, not time."""
    kept = []
    server = serve(on_http(lambda conn, msg: kept.append(conn.defer())))
    socks = [server.connect() for _ in range(20)]
    for i, sock in enumerate(socks):
        sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        if i % 2:
            sock.shutdown(socket.SHUT_WR)
    eventually(lambda: server.mgr.stats().requests == 20)
    for i, sock in enumerate(socks):
        if i % 4 == 0:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            sock.close()
    # Nobody writes or reads from here on. Whatever the loop has to tidy up is bounded by what happened.
    eventually(lambda: server.mgr.stats().connections <= 1 + 5)
    before = server.mgr.stats().turns
    for _ in range(5):
        server.mgr.wakeup(0)  # refused: it is not a turn's reason
    assert server.mgr.stats().turns - before <= 5
    for sock in socks:
        sock.close()
    kept.clear()


@pytest.mark.parametrize("bad", ["a\r\nSet-Cookie: b=c", "a\nb", "a\rb", "a\0b"])
def test_header_values_cannot_end_their_line(serve, bad):
    """As in uvicorn, CVE-2020-7695."""
    raised = []

    def handle(conn, msg):
        for headers in ({"X": bad}, {bad: "x"}, [("X", bad)]):
            with pytest.raises(ValueError, match="illegal character"):
                conn.reply(200, "", headers)
            raised.append(headers)
        conn.reply(200, "intact")

    server = serve(on_http(handle))
    answer = get(server.port)
    assert answer.body == b"intact"
    assert len(raised) == 3
    assert answer.header("Set-Cookie") is None
