"""One named case for each bug that other servers are known for, and one for each limit: a register of where it is.

TABLE has those that are raw bytes of HTTP (tests/vectors/http): each is sent, and answered in one defined way. QUIRKS, REPORTS and LIMITS name the
tests of all others; a test here looks whether they are there, and some of the cases are at the end of this file. What concerns DNS and MQTT is
with those protocols.
"""

from __future__ import annotations

import ast
import base64
import dataclasses
import functools
import hmac
import inspect
import re
import socket
from pathlib import Path

import pytest
import vectors
import ws_helpers
from conftest import eventually, get, on_http, parse_all, read_answer

from pymongoose import BasicAuth, Limits, WorkerPool, WsLimits, match

HERE = Path(__file__).parent
# fmt: off
# What cymongoose does that programs stumble over.
QUIRKS = {
    "Q1 reply, then close crashes": "test_http_reply.test_q1_reply_then_close_in_the_handler_is_safe",
    "Q2 wakeups are lost": "test_http_server.test_q2_wakeups_are_lossless_whatever_their_size",
    "Q2 wakeups to nobody": "test_http_server.test_q2_wakeup_of_an_unknown_or_closed_connection_is_false",
    "Q3 one accept in a turn": "test_http_server.test_q3_one_turn_accepts_all_that_wait",
    "Q3 one wakeup in a turn": "test_http_server.test_q3_wakeups_are_delivered_in_one_turn",
    "Q4 idle connections cost calls": "test_http_server.test_q4_idle_connections_cost_no_python_calls",
    "Q5 bodies end at NUL": "test_http_reply.test_q5_every_byte_of_a_body_arrives_nul_too",
    "Q6 raw answers end keep-alive": "test_http_raw_answers.test_q6_keep_alive_goes_on_after_a_raw_answer",
    "Q7 fields vanish": "test_http_limits.test_q7_all_100_headers_are_kept_and_the_101st_is_431",
    "Q8 no 400": "test_http_limits.test_q8_duplicate_cookie_is_served_and_malformed_is_counted",
    "Q9 Host, Expect, HEAD": "test_http_server.test_q9_expect_100_continue_is_answered_before_the_body",
    "Q9 HEAD with a body": "test_http_reply.test_q9_head_gets_the_head_of_the_get_and_no_body",
    "Q9 no Host": "test_http_server.test_http_1_1_without_host_is_400_and_1_0_without_is_served",
    "Q10 no 413": "test_http_limits.test_q10_default_takes_8_mib_and_refuses_more_with_413",
    "Q11 HTTP_HDRS repeats": "test_http_streaming.test_q11_hdrs_is_told_once_however_slow_the_body",
    "Q12 no 500": "test_http_errors.test_q12_exception_in_a_handler_is_500_and_the_connection_goes_on",
    "Q13 KeyboardInterrupt is swallowed": "test_http_errors.test_q13_keyboard_interrupt_leaves_the_loop",
    "Q14 bytes cannot be consumed": "test_tcp_udp_unix.test_q14_recv_data_peeks_and_consume_takes",
    "Q14 datagrams run together": "test_tcp_udp_unix.test_q14_udp_datagrams_do_not_run_together",
    "Q15 lax WebSocket": "test_known_bugs.test_q15_what_breaks_the_websocket_protocol_is_closed_for_it",
    "Q16 match crashes": "test_known_bugs.test_q16_match_knows_any_number_of_wildcards",
    "Q17 unix:// is TCP": "test_tcp_udp_unix.test_q17_unix_sockets_are_unix_sockets",
    "Q18 no IPv6": "test_tcp_udp_unix.test_q18_ipv6",
    "Q19 query_var": "test_http_message.test_q19_query_var_keeps_the_classic_rules",
    "Q20 numbers wrap": "test_http_server.test_q20_numbers_do_not_wrap_round",
    "Q20 surrogate pairs": "test_json.test_strings_come_unescaped_and_nothing_else_is_a_string",
    "Q21 managers are never freed": "test_http_server.test_q21_manager_and_handler_are_freed",
    "Q22 one Set-Cookie": "test_http_reply.test_q22_set_cookie_may_be_repeated",
    "Q23 the streaming recipe": "test_http_reply.test_q23_the_classic_recipe_streams",
    "Q24 static files": "test_known_bugs.test_q24_files_are_served_as_they_should",
    "Q25 calls from other threads race": "test_http_reply.test_q25_replies_from_other_threads_are_queued_to_the_loop",
    "Q28 views are copies": "test_known_bugs.test_q28_a_body_is_one_view_of_where_it_arrived",
}
# Advisories by their number; r: as recalled. "c." names a test of tests/c, "fuzz." a harness of tests/fuzz.
REPORTS = {
    "CVE-2022-25299 upload leaves its folder": "test_forms.test_cve_2022_25299_no_name_leads_out_of_the_folder",
    "CVE-2022-25299 in C": "c.http_upload.no_name_leads_out_of_the_folder",
    "CVE-2024-42383 name at its bound": "test_tls_edges.test_cve_2024_42383_a_name_that_would_be_cut_is_refused",
    "CVE-2024-42384, 42386-42391 hellos": "test_tls.test_malformed_hellos_are_refused_and_others_served",
    "CVE-2024-42385 junk in PEM": "test_tls.test_unusable_options_raise_when_they_are_used",
    "CVE-2024-42392 loops on odd characters: URL": "fuzz.url",
    "CVE-2024-42392: JSON": "test_json.test_no_input_does_harm",
    "CVE-2024-42392: match": "test_util.test_match_answers_soon_where_backtracking_would_not",
    "CVE-2025-51495 WebSocket length overflow": "test_known_bugs.test_cve_2025_51495_no_length_overflows",
    "CVE-2025-65502 TLS set-up fails": "c.tls.a_context_without_memory_is_an_error_and_leaks_nothing",
    "CVE-2026-2968 altered record": "test_tls.test_an_altered_record_kills_the_session",
    "CVE-2026-5246, 73251 forged client": "test_tls_edges.test_cve_2026_5246_no_forged_client_comes_in",
    "CVE-2026-73253 wildcard over labels": "test_tls_trust.test_our_client_refuses_a_wildcard_over_two_labels",
    "CVE-2026-73258 lone CR or LF in a part": "test_known_bugs.test_cve_2026_73258_lone_cr_or_lf_in_a_part",
    "GHSA-h7m9-764r-7x4x includes outside": "test_static_paths.test_includes_are_put_in_and_stay_inside",
    "GHSA-h7m9-764r-7x4x in C": "c.http_ssi.nothing_outside_is_included",
    "CVE-2020-25756 odd fields": "fuzz.http_parse",
    "CVE-2017-7185, 2018-20355, 2018-10945 no boundary": "test_known_bugs.test_cve_2018_10945_multipart_without_a_boundary",
    "CVE-2021-26528, 26529 no memory: HTTP": "c.http_conn.any_allocation_may_fail",
    "CVE-2021-26528: WebSocket": "c.ws_read.running_out_of_memory_in_a_message_ends_with_1011_or_nothing_at_all",
    "CVE-2021-26528: files": "c.http_static.without_memory_it_says_so_or_ends",
    "CVE-2021-26528: answers put off": "c.http_xchg.any_allocation_of_the_queue_may_fail",
    "aiohttp 2024-23334 r links": "test_static_paths.test_no_path_leads_out_of_the_root",
    "aiohttp 2024-30251 r multipart without end": "c.multipart.cut_forms_are_refused",
    "aiohttp 2025-69223 r bomb": "test_client_malformed.test_a_bomb_is_defused",
    "websockets 2018-1000518 r bomb": "test_websocket_closing.test_a_message_that_is_too_big_is_1009",
    "websockets 2018-1000518 r bomb in C": "c.ws_deflate.what_inflates_too_far_is_1009_and_what_is_none_1007",
    "websockets 2021-33880 r timing": "test_known_bugs.test_cve_2021_33880_passwords_are_compared_in_constant_time",
    "waitress 2024-49768 r served behind an error": "test_http_malformed.test_malformed_request_gets_its_status_and_nothing_behind_it_is_served",
    "waitress 2024-49769 r spin": "test_known_bugs.test_half_closed_and_reset_peers_do_not_make_the_loop_spin",
    "uvicorn 2020-7694 r log injection": "test_access_log.test_hostile_bytes_stay_one_line_of_json",
    "uvicorn 2020-7695 r field injection": "test_known_bugs.test_header_values_cannot_end_their_line",
    "werkzeug 2023-25577 r, starlette 2024-47874 r parts": "c.multipart.the_1001st_part_is_413",
    "werkzeug 2023-46136 r, python-multipart 2024-53981 r slow search": "c.multipart.no_content_takes_longer_than_linear_time",
    "starlette 2025-62727 r, httpd 2011-3192 r ranges": "test_static_conditions.test_several_ranges_are_a_multipart",
}
# Each limit: its default, what becomes of those beyond, and the test that says so.
LIMITS = {
    "max_uri": (8192, "414", "test_http_limits.test_uri_up_to_the_limit_is_served_and_beyond_is_414"),
    "max_header": (8192, "431", "test_http_limits.test_header_line_beyond_the_limit_is_431"),
    "max_head": (32768, "431", "test_http_limits.test_head_beyond_the_limit_is_431"),
    "max_headers": (100, "431", "test_http_limits.test_header_count_beyond_the_limit_is_431"),
    "max_body": (8 << 20, "413", "test_http_limits.test_body_beyond_the_limit_is_413_at_the_head"),
    "max_pipeline": (16, "waits", "test_http_limits.test_pipeline_beyond_its_limit_waits_and_is_served"),
    "max_requests": (10_000, "close", "test_http_limits.test_after_max_requests_the_connection_is_closed_politely"),
    "header_timeout": (10.0, "408", "test_http_limits.test_head_that_does_not_end_is_408"),
    "body_timeout": (30.0, "408", "test_http_limits.test_body_that_does_not_end_is_408"),
    "body_grace": (10.0, "408", "test_http_limits.test_body_below_the_lowest_rate_is_408"),
    "min_rate": (500, "408", "test_http_limits.test_body_below_the_lowest_rate_is_408"),
    "idle_timeout": (75.0, "close", "test_http_limits.test_idle_connection_is_closed_without_a_word"),
    "send_timeout": (30.0, "reset", "test_http_limits.test_peer_that_does_not_read_is_reset"),
    "connect_timeout": (10.0, "error", "test_client.test_time_is_up"),
    "tls_timeout": (10.0, "error", "test_tls.test_a_slow_handshake_is_ended"),
    "half_close": (False, "gone", "test_pool_limits.test_a_queued_job_of_a_client_that_left_never_runs"),
    "max_recv": (3 << 20, "waits", "test_tcp_udp_unix.test_unread_input_beyond_max_recv_pauses_reading_and_loses_nothing"),
    "send_high": (4 << 20, "full", "test_http_streaming.test_client_that_stops_reading_is_bounded_and_served_to_the_end_when_it_reads"),
    "send_low": (1 << 20, "on_drain", "test_http_streaming.test_client_that_stops_reading_is_bounded_and_served_to_the_end_when_it_reads"),
    "send_max": (64 << 20, "QueueFull", "test_http_streaming.test_writing_without_looking_ends_in_queue_full"),
    "max_connections": (0, "waits", "test_http_limits.test_max_connections_pauses_accepting_and_goes_on"),
    "max_per_address": (0, "close", "test_http_limits.test_max_per_address_closes_what_is_too_many"),
    "ws.max_message": (1 << 20, "1009", "test_websocket_closing.test_a_message_that_is_too_big_is_1009"),
    "ws.max_frame": (0, "1009", "c.ws_read.limits_hold_before_the_bytes_are_there"),
    "ws.max_ratio": (100, "1009", "c.ws_deflate.what_inflates_too_far_is_1009_and_what_is_none_1007"),
    "ws.ping_interval": (20.0, "ping", "test_websocket_closing.test_a_peer_that_answers_pings_stays"),
    "ws.ping_timeout": (20.0, "1006", "test_websocket_closing.test_a_peer_that_does_not_answer_pings_is_closed"),
    "ws.close_timeout": (5.0, "close", "c.ws_conn.a_peer_who_does_not_answer_our_close_is_cut"),
    "ws.max_backlog": (4 << 20, "slow", "test_websocket_groups.test_a_member_that_does_not_read"),
    "ws.slow": ("close", "1013", "test_websocket_groups.test_a_slow_member_is_told_1013"),
    "chunk extensions and trailers": (16384, "400", "test_known_bugs.test_report_has_its_case_and_its_answer"),
    "blank lines before a request": (2, "400", "test_http_server.test_blank_lines_between_requests_are_skipped"),
    "multipart: parts": (1000, "413", "c.multipart.the_1001st_part_is_413"),
    "multipart: head of a part": (8192, "400", "c.multipart.a_head_of_8_kib_is_the_most"),
    "JSON: depth": (64, "no value", "test_json.test_nesting_without_end_is_no_value_and_no_crash"),
    "static files: ranges": (16, "200", "test_static_conditions.test_several_ranges_are_a_multipart"),
    "workers: queue": (1024, "503", "test_http_limits.test_full_worker_queue_is_503_with_retry_after"),
    "workers: wait": (30.0, "503", "test_pool_limits.test_max_wait_gives_up_stale_jobs"),
}
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
# fmt: on
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


# -- the registers --


@functools.cache
def named_tests(place: str) -> set[str]:
    if place.startswith("c."):
        text = (HERE.parent / "c" / f"test_{place[2:]}.c").read_text()
        return set(re.findall(r"^(?:LOOP_)?TEST\((\w+)\)", text, re.MULTILINE))
    tree = ast.parse((HERE / f"{place}.py").read_text())
    return {n.name for n in tree.body if isinstance(n, ast.FunctionDef)}


REGISTERED = {**QUIRKS, **REPORTS, **{name: row[2] for name, row in LIMITS.items()}}


@pytest.mark.parametrize("case", REGISTERED)
def test_case_has_its_test(case):
    place, _, name = REGISTERED[case].rpartition(".")
    if place == "fuzz":
        assert (HERE.parent / "fuzz" / f"fuzz_{name}.c").exists()
    else:
        assert name in named_tests(place)


def test_limits_have_the_defaults_of_the_register_and_none_is_missing():
    ours = {f.name: f.default for f in dataclasses.fields(Limits) if f.name != "ws"}
    ours |= {f"ws.{f.name}": f.default for f in dataclasses.fields(WsLimits)}
    assert {
        name: row[0] for name, row in LIMITS.items() if name in ours or name.isidentifier()
    } == ours
    told = (HERE.parents[1] / "docs" / "limits.md").read_text()
    assert [n for n in ours if "." not in n and f"`{n}`" not in told] == []
    pool = inspect.signature(WorkerPool).parameters
    assert LIMITS["workers: queue"][0] == pool["max_queue"].default
    assert LIMITS["workers: wait"][0] == pool["max_wait"].default


# -- cases that have no better place --


BROKEN = {
    "not masked": (ws_helpers.frame(1, b"x", mask=False), 1002),
    "wrong UTF-8": (ws_helpers.frame(1, b"\xff"), 1007),
    "reserved bit": (b"\xc1\x80\0\0\0\0", 1002),
    "continuation of nothing": (ws_helpers.frame(0, b"xy"), 1002),
    "unknown opcode": (ws_helpers.frame(3, b"x"), 1002),
    "long ping": (ws_helpers.frame(9, b"x" * 126), 1002),
    "fragmented ping": (ws_helpers.frame(9, b"x", fin=False), 1002),
    "close code 1005": (ws_helpers.frame(8, b"\x03\xed"), 1002),
}


@pytest.mark.parametrize("what", BROKEN)
def test_q15_what_breaks_the_websocket_protocol_is_closed_for_it(serve, what):
    data, code = BROKEN[what]
    messages = []
    server = serve(ws_helpers.WsHandler(lambda conn, msg: messages.append(msg.data)))
    with ws_helpers.RawClient(server.port) as raw:
        raw.send(data)
        assert raw.recv_close()[0] == code
    assert messages == []


@pytest.mark.parametrize("length", [1 << 63, (1 << 64) - 1, (1 << 64) - 14, 1 << 62, 1 << 32])
def test_cve_2025_51495_no_length_overflows(serve, length):
    """Refused when it is seen, before a byte of it is there."""
    server = serve(ws_helpers.WsHandler(ws_helpers.echo))
    with ws_helpers.RawClient(server.port) as raw:
        raw.send(b"\x82\xff" + length.to_bytes(8, "big") + b"\0\0\0\0")
        assert raw.recv_close()[0] == 1009
    with ws_helpers.RawClient(server.port) as raw:  # and it lives
        raw.send(ws_helpers.frame(2, b"x"))
        assert raw.recv()[1] == b"x"


@pytest.mark.parametrize("wildcard", "?*#")
def test_q16_match_knows_any_number_of_wildcards(wildcard):
    for n in (19, 20, 21, 25, 1000):
        assert match("a" * n, wildcard * n)[0]
        assert len(match("ab" * n, (wildcard + "b") * n)[1]) == n


def test_q24_files_are_served_as_they_should(serve, tmp_path):
    """Methods, hidden names, links out, lists, ranges, Connection: close, and the fields that were missing."""
    root = tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    (root / "a.txt").write_bytes(b"0123456789")
    (root / ".env").write_bytes(b"secret")
    (tmp_path / "secret").write_bytes(b"secret")
    (root / "link").symlink_to(tmp_path / "secret")
    (root / "up").symlink_to("..")
    server = serve(on_http(lambda conn, msg: conn.serve_dir(msg, root)))

    def ask(target, fields="", method="GET"):
        data = (
            f"{method} {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{fields}\r\n".encode()
        )
        return parse_all(server.talk(data))[0]  # and the connection is closed

    assert [ask("/a.txt", method=m).status for m in ("POST", "DELETE", "PUT")] == [405] * 3
    assert [ask(t).status for t in ("/.env", "/link", "/up/secret", "/sub/", "/")] == [404] * 5
    whole = ask("/a.txt")
    assert (whole.status, whole.body) == (200, b"0123456789")
    assert whole.header("Accept-Ranges") == "bytes"
    assert whole.header("Last-Modified") is not None
    last = ask("/a.txt", "Range: bytes=-3\r\n")
    assert (last.status, last.body, last.header("Content-Range")) == (206, b"789", "bytes 7-9/10")
    two = ask("/a.txt", "Range: bytes=0-1,5-6\r\n")
    assert two.status == 206
    assert two.header("Content-Type").startswith("multipart/byteranges")
    assert b"bytes 0-1/10\r\n\r\n01\r\n" in two.body.replace(
        b"Content-Type: text/plain; charset=utf-8\r\n", b""
    )


def test_q28_a_body_is_one_view_of_where_it_arrived(serve):
    seen = []

    def handle(conn, msg):
        first, second = msg.body, msg.body
        assert first.obj is second.obj or first is second
        assert first.readonly
        assert msg.body_bytes is msg.body_bytes
        seen.append(bytes(first))
        conn.reply(200)

    server = serve(on_http(handle))
    get(server.port, method="POST", body=b"x" * 100_000)
    assert seen == [b"x" * 100_000]


def form(body, content_type):
    head = f"POST / HTTP/1.1\r\nHost: a\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return head.encode() + body


@pytest.mark.parametrize("bad", [b"a\rb", b"a\nb", b"a\r\rb", b"a\0b"])
def test_cve_2026_73258_lone_cr_or_lf_in_a_part(serve, bad):
    """In a part's fields, and behind a boundary: two readers would see different forms."""
    seen = []
    server = serve(on_http(lambda conn, msg: (seen.append(msg.form.pairs), conn.reply(200))))
    good = b'--b\r\nContent-Disposition: form-data; name="n"\r\nX: y\r\n\r\nv\r\n--b--\r\n'
    for body in (
        good.replace(b"X: y", b"X: " + bad),
        good.replace(b'"n"', b'"' + bad + b'"'),
        good.replace(b"--b\r\n", b"--b" + bad + b"\r\n"),
    ):
        assert [
            a.status for a in parse_all(server.talk(form(body, "multipart/form-data; boundary=b")))
        ] == [400]
    assert seen == []
    assert [
        a.status for a in parse_all(server.talk(form(good, "multipart/form-data; boundary=b")))
    ] == [200]


@pytest.mark.parametrize(
    "content_type",
    [
        "multipart/form-data",
        "multipart/form-data; boundary=",
        'multipart/form-data; boundary=""',
        f"multipart/form-data; boundary={'b' * 71}",
    ],
)
def test_cve_2018_10945_multipart_without_a_boundary(serve, content_type):
    seen = []
    server = serve(on_http(lambda conn, msg: (seen.append(msg.form.pairs), conn.reply(200))))
    assert [a.status for a in parse_all(server.talk(form(b"--\r\n\r\n----", content_type)))] == [
        400
    ]
    assert seen == []


def test_cve_2021_33880_passwords_are_compared_in_constant_time(serve, monkeypatch):
    """Digests of one length, whatever was sent, and for users who are not known as well."""
    compared = []
    real = hmac.compare_digest
    monkeypatch.setattr(
        hmac, "compare_digest", lambda a, b: (compared.append((len(a), len(b))), real(a, b))[1]
    )
    auth = BasicAuth({"ada": "secret"})
    server = serve(on_http(lambda conn, msg: auth.check(conn, msg) and conn.reply(200)))
    for credentials in (b"ada:secret", b"ada:s", b"eve:secret"):
        get(
            server.port,
            headers=f"Authorization: Basic {base64.b64encode(credentials).decode()}\r\n",
        )
    assert compared == [(32, 32)] * 3
