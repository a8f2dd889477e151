"""The small functions, against the standard library wherever it has the same."""

import base64
import binascii
import contextlib
import hashlib
import hmac
import http
import string
import sys
import threading
import time
import urllib.parse
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

import pymongoose
from pymongoose import (
    base64_decode,
    base64_encode,
    crc32,
    hmac_sha256,
    http_status_text,
    http_var,
    log_get,
    log_set,
    match,
    md5,
    millis,
    random_bytes,
    random_str,
    sha1,
    sha256,
    url_decode,
    url_encode,
    url_host,
    url_is_ssl,
    url_pass,
    url_port,
    url_uri,
    url_user,
)

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
LARGE = b"0123456789abcdef" * 8192  # digested without the GIL
TAKE_DATA = [url_encode, url_decode, md5, sha1, sha256, base64_encode, base64_decode, crc32]
TAKE_URL = [url_port, url_host, url_user, url_pass, url_uri, url_is_ssl]


# URLs


@pytest.mark.parametrize(
    ("url", "port", "host", "user", "password", "uri", "ssl"),
    [
        ("http://a.com/x?y=1", 80, "a.com", "", "", "/x?y=1", False),
        ("https://a.com", 443, "a.com", "", "", "/", True),
        ("ws://a.com/chat", 80, "a.com", "", "", "/chat", False),
        ("wss://a.com:9/chat", 9, "a.com", "", "", "/chat", True),
        ("mqtt://b", 1883, "b", "", "", "/", False),
        ("mqtts://b", 8883, "b", "", "", "/", True),
        ("tcp://b:1234", 1234, "b", "", "", "/", False),
        ("tcp://b", 0, "b", "", "", "/", False),
        ("http://u:p@h:81/z", 81, "h", "u", "p", "/z", False),
        ("http://u@h", 80, "h", "u", "", "/", False),
        ("http://[::1]:8080/", 8080, "[::1]", "", "", "/", False),
        ("http://h:99999", 0, "h", "", "", "/", False),
        ("http://h:65535", 65535, "h", "", "", "/", False),
        ("http://h:x", 0, "h", "", "", "/", False),
        ("", 0, "", "", "", "/", False),
    ],
)
def test_a_url_is_taken_apart(url, port, host, user, password, uri, ssl):
    assert url_port(url) == port
    assert url_host(url) == host
    assert url_user(url) == user
    assert url_pass(url) == password
    assert url_uri(url) == uri
    assert url_is_ssl(url) is ssl


@pytest.mark.parametrize("function", TAKE_URL)
def test_a_url_is_a_str_without_nul(function):
    with pytest.raises(TypeError, match=r"^url must be str, not bytes$"):
        function(b"http://a/")
    with pytest.raises(ValueError, match=r"^url must not contain a NUL"):
        function("http://a/\0b")
    assert function(url="https://u:p@h:1/x") == function("https://u:p@h:1/x")


@pytest.mark.parametrize(
    ("plain", "encoded"),
    [
        ("", ""),
        ("azAZ09-._~", "azAZ09-._~"),
        ("a b/é", "a%20b%2f%c3%a9"),
        ("\0%+", "%00%25%2b"),
        (b"\xff", "%ff"),
        ("\udcff", "%ff"),
    ],
)
def test_url_encode_escapes_in_lower_case(plain, encoded):
    assert url_encode(plain) == encoded


@given(st.binary())
def test_url_encode_agrees_with_urllib_but_for_the_case(data):
    assert url_encode(data).lower() == urllib.parse.quote_from_bytes(data, safe="").lower()


@given(TEXT | st.binary())
def test_what_is_encoded_decodes_to_the_same(data):
    plain = data if isinstance(data, str) else data.decode("utf-8", "surrogateescape")
    assert url_decode(url_encode(data)) == plain


def test_url_decode_takes_plus_for_a_space_in_forms_only():
    assert url_decode("a+b%20c") == "a+b c"
    assert url_decode("a+b%20c", form=True) == "a b c"


@pytest.mark.parametrize("wrong", ["%", "%a", "%zz", "a%2", "%%30"])
def test_url_decode_refuses_what_is_not_encoded(wrong):
    with pytest.raises(ValueError, match=r"^data has a '%'"):
        url_decode(wrong)


@pytest.mark.parametrize(
    ("buf", "name", "value"),
    [
        ("a=1&b=2", "b", "2"),
        (b"a=1&b=2", "a", "1"),
        ("a=&b=2", "a", ""),
        ("a=1", "c", None),
        ("", "a", None),
        ("a=%20+", "a", "%20+"),
        ("A=1", "a", "1"),
        ("aa=1&a=2", "a", "2"),
        ("a=1&a=2", "a", "1"),
        (b"a=\xff", b"a", "\udcff"),
    ],
)
def test_http_var_finds_the_value_as_it_stands(buf, name, value):
    assert http_var(buf, name) == value


@pytest.mark.parametrize(
    ("code", "phrase"),
    [(200, "OK"), (404, "Not Found"), (101, "Switching Protocols"), (299, ""), (0, ""), (-1, "")],
)
def test_a_status_has_its_phrase(code, phrase):
    assert http_status_text(code) == phrase


COMMON = [
    200,
    201,
    204,
    206,
    301,
    302,
    304,
    400,
    401,
    403,
    404,
    405,
    408,
    429,
    431,
    500,
    501,
    502,
    503,
    504,
]


@pytest.mark.parametrize("status", COMMON)
def test_phrases_are_those_of_the_standard_library(status):
    assert http_status_text(http.HTTPStatus(status)) == http.HTTPStatus(status).phrase


# globs


@pytest.mark.parametrize(
    ("s", "pattern", "result"),
    [
        ("/api/users", "/api/*", (True, ["users"])),
        ("/api/users/7", "/api/*", (False, [])),
        ("/api/users/7", "/api/#", (True, ["users/7"])),
        ("/api/users/7", "/*/*/?", (True, ["api", "users", "7"])),
        ("ab", "a?", (True, ["b"])),
        ("a", "a?", (False, [])),
        ("", "", (True, [])),
        ("", "#", (True, [""])),
        ("a", "", (False, [])),
        ("abc", "abc", (True, [])),
        ("abcd", "abc", (False, [])),
        (b"x.\xff", "*.*", (True, ["x", "\udcff"])),
        ("é", "??", (True, ["\udcc3", "\udca9"])),
    ],
)
def test_match_tells_whether_and_what(s, pattern, result):
    assert match(s, pattern) == result


@pytest.mark.parametrize("count", [1, 20, 21, 25, 31, 32, 33, 34, 1000])
@pytest.mark.parametrize("wildcard", ["?", "*", "#"])
def test_match_knows_any_number_of_wildcards(count, wildcard):
    letters = [string.ascii_letters[i % 52] for i in range(count)]
    assert match("-".join(letters), "-".join([wildcard] * count)) == (True, letters)


def test_match_answers_soon_where_backtracking_would_not():
    assert match("a" * 2000, "*a" * 30 + "b") == (False, [])


@given(
    st.lists(st.text("ab/", max_size=3), min_size=1, max_size=6),
    st.lists(st.sampled_from("?*#"), max_size=5),
)
def test_captures_put_in_place_of_the_wildcards_give_the_string_back(parts, wildcards):
    pattern = "".join(
        part + wildcard for part, wildcard in zip(parts, [*wildcards, "#"], strict=False)
    )
    found, captures = match("ab/ab/ba", pattern)
    if found:
        rebuilt, rest = "", iter(captures)
        for char in pattern:
            rebuilt += next(rest) if char in "?*#" else char
        assert rebuilt == "ab/ab/ba"
        assert next(rest, None) is None
    else:
        assert captures == []


# digests and codecs


@pytest.mark.parametrize("ours", [md5, sha1, sha256])
@pytest.mark.parametrize("data", [b"", b"abc", b"x" * 55, b"x" * 56, b"x" * 64, b"x" * 65, LARGE])
def test_digests_are_those_of_hashlib(ours, data):
    expected = hashlib.new(ours.__name__, data).digest()
    assert (
        ours(data)
        == ours(bytearray(data))
        == ours(memoryview(data))
        == ours(data.decode())
        == expected
    )


@given(st.binary(), st.binary())
def test_hmac_is_that_of_the_standard_library(key, data):
    assert hmac_sha256(key, data) == hmac.digest(key, data, "sha256")


def test_a_large_hmac_and_a_long_key_are_right_too():
    assert hmac_sha256(key=LARGE, data=LARGE) == hmac.digest(LARGE, LARGE, "sha256")


@given(st.binary())
def test_base64_is_that_of_the_standard_library_both_ways(data):
    encoded = base64_encode(data)
    assert encoded == base64.b64encode(data).decode()
    assert base64_decode(encoded) == base64_decode(encoded.encode()) == data


def test_large_base64_is_right_too():
    assert base64_decode(base64_encode(LARGE)) == LARGE
    assert base64_encode(LARGE) == binascii.b2a_base64(LARGE, newline=False).decode()


@pytest.mark.parametrize(
    "garbage",
    ["YQ", "YQ=", "YQ===", "YR==", "YQ==\n", "Y Q=", "_-==", "!!!!", "=", "é", b"\xff\xff\xff\xff"],
)
def test_base64_that_is_none_decodes_to_nothing(garbage):
    assert base64_decode(garbage) == b""


@given(st.binary(), st.binary())
def test_crc32_is_that_of_zlib_in_one_go_or_in_two(a, b):
    assert crc32(a) == zlib.crc32(a)
    assert crc32(b, crc32(a)) == crc32(b, initial=crc32(a)) == zlib.crc32(a + b)


def test_a_large_crc32_is_right_too():
    assert crc32(LARGE) == zlib.crc32(LARGE)


@pytest.mark.parametrize("initial", [-1, 2**32, 10**30])
def test_crc32_starts_from_32_bits(initial):
    with pytest.raises(ValueError, match=rf"^initial must be 0 to 4294967295, not {initial}$"):
        crc32(b"", initial)


@pytest.mark.parametrize("function", TAKE_DATA)
def test_data_is_text_or_bytes(function):
    for wrong, kind in ((5, "int"), (None, "NoneType"), ([b"x"], "list")):
        with pytest.raises(TypeError, match=f"^data must be str or bytes-like, not {kind}$"):
            function(wrong)
    with pytest.raises(TypeError, match="with gaps"):
        function(memoryview(b"abcd")[::2])
    held = bytearray(b"YWJj")
    function(data=held)
    held.append(0)  # BufferError if the view were still there


def test_arguments_of_the_others_are_named_too():
    with pytest.raises(TypeError, match=r"^key must be"):
        hmac_sha256(1, b"")
    with pytest.raises(TypeError, match=r"^data must be"):
        hmac_sha256(b"", 1)
    with pytest.raises(TypeError, match=r"^buf must be"):
        http_var(1, "a")
    with pytest.raises(TypeError, match=r"^name must be"):
        http_var("a=1", 1)
    with pytest.raises(TypeError, match=r"^s must be"):
        match(1, "a")
    with pytest.raises(TypeError, match=r"^pattern must be"):
        match("a", 1)
    with pytest.raises(TypeError, match=r"^code must be int, not str$"):
        http_status_text("200")


@pytest.mark.parametrize("function", [*TAKE_DATA, *TAKE_URL, random_bytes, random_str])
def test_no_call_keeps_memory(function):
    def calls():
        for argument in (
            b"http://u:p@h/%zz",
            "http://u:p@h/x",
            bytearray(b"YWJj"),
            "\udcff",
            40,
            None,
        ):
            with contextlib.suppress(TypeError, ValueError):
                function(argument)

    calls()
    before = sys.getallocatedblocks()
    for _ in range(200):
        calls()
    assert sys.getallocatedblocks() < before + 100


def test_digests_of_many_threads_do_not_mix():
    inputs = [bytes([i]) * 200_000 for i in range(8)]
    results = [b""] * len(inputs)

    def work(i):
        results[i] = sha256(inputs[i])

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(inputs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [hashlib.sha256(data).digest() for data in inputs]


# clock, randomness, log


def test_millis_goes_with_the_monotonic_clock():
    before = time.monotonic_ns() // 1_000_000
    now = millis()
    after = time.monotonic_ns() // 1_000_000
    if time.get_clock_info("monotonic").implementation == "clock_gettime(CLOCK_MONOTONIC)":
        assert before <= now <= after
    assert millis() >= now


@pytest.mark.parametrize("length", [0, 1, 2, 16, 255, 256, 257, 70_000])
def test_random_bytes_and_letters_have_the_length_asked_for(length):
    assert len(random_bytes(length)) == length
    text = random_str(length)
    assert len(text) == length
    assert set(text) <= set(string.ascii_letters + string.digits)


def test_random_values_do_not_repeat():
    assert len({random_bytes(16) for _ in range(100)}) == 100
    assert len({random_str(16) for _ in range(100)}) == 100


def test_random_text_is_a_str_like_any_other():
    assert random_str(0) == ""
    for _ in range(200):
        text = random_str(1)
        assert text == chr(ord(text))
        assert {text: 1}[chr(ord(text))] == 1


@pytest.mark.parametrize("function", [random_bytes, random_str])
def test_lengths_are_whole_and_not_negative(function):
    with pytest.raises(ValueError, match=r"^length must be 0 to .*, not -1$"):
        function(-1)
    with pytest.raises(ValueError, match=r"^length must be 0 to "):
        function(2**64)
    with pytest.raises(TypeError, match=r"^length must be int, not str$"):
        function("5")
    with pytest.raises(TypeError, match=r"^length must be int, not float$"):
        function(5.0)


@pytest.fixture
def level():
    """Put the level back that was set before."""
    before = log_get()
    yield
    log_set(before)


@pytest.mark.usefixtures("level")
@pytest.mark.parametrize("name", ["NONE", "ERROR", "INFO", "DEBUG", "VERBOSE"])
def test_the_log_level_is_what_was_set(name):
    value = getattr(pymongoose, f"MG_LL_{name}")
    log_set(value)
    assert log_get() == value


@pytest.mark.usefixtures("level")
@pytest.mark.parametrize("wrong", [-1, 5, 99, 2**70])
def test_a_level_that_does_not_exist_is_refused_and_changes_nothing(wrong):
    log_set(1)
    with pytest.raises(ValueError, match=rf"^level must be 0 to 4, not {wrong}$"):
        log_set(wrong)
    assert log_get() == 1


def test_nothing_is_logged_unless_asked_for():
    assert log_get() == pymongoose.MG_LL_NONE
