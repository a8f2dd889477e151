"""json_get and its typed relatives: one value out of a document, judged by json.loads."""

import contextlib
import inspect
import json
import math
import sys
import threading
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pymongoose import json_get, json_get_bool, json_get_long, json_get_num, json_get_str

ALL = [json_get, json_get_num, json_get_bool, json_get_long, json_get_str]
WITH_DEFAULT = [json_get_num, json_get_bool, json_get_long]
LARGE = " " * (300 * 1024)  # beyond this the search lets go of the GIL

DOC = '{"user": {"name": "Ada", "id": 7, "ok": true}, "items": [1, {"n": -2.5e1}, "x"], "no": null}'


@pytest.mark.parametrize(
    ("path", "token"),
    [
        ("$.user.name", '"Ada"'),
        ("$.user.id", "7"),
        ("$.user.ok", "true"),
        ("$.user", '{"name": "Ada", "id": 7, "ok": true}'),
        ("$.items", '[1, {"n": -2.5e1}, "x"]'),
        ("$.items[1].n", "-2.5e1"),
        ("$.items[2]", '"x"'),
        ("$.no", "null"),
        ("$", DOC),
        ("$.absent", None),
        ("$.items[3]", None),
        ("$.items.n", None),
        ("$.user[0]", None),
        ("user", None),
        ("", None),
        ("$.", None),
        ("$.items[]", None),
        ("$.items[-1]", None),
    ],
)
def test_a_path_leads_to_the_text_of_a_value_or_to_none(path, token):
    assert json_get(DOC, path) == token


@pytest.mark.parametrize(
    "document",
    [
        DOC,
        DOC.encode(),
        bytearray(DOC.encode()),
        memoryview(DOC.encode()),
        memoryview(b"--" + DOC.encode())[2:],
        array("B", DOC.encode()),
        '{"é":"' + "ü" * 9 + '",' + DOC[1:],
        LARGE + DOC,
        (LARGE + DOC).encode(),
        bytearray((LARGE + DOC).encode()),
    ],
    ids=[
        "str",
        "bytes",
        "bytearray",
        "memoryview",
        "slice",
        "array",
        "wide str",
        "large str",
        "large bytes",
        "large bytearray",
    ],
)
def test_documents_may_be_text_or_any_bytes(document):
    assert json_get_str(document, "$.user.name") == "Ada"
    assert json_get_num(document, "$.items[1].n") == -25.0
    assert json_get_long(document, "$.user.id") == 7
    assert json_get_bool(document, "$.user.ok") is True
    assert json_get(document, "$.no") == "null"


def test_a_str_of_any_class_and_a_bytes_of_any_class_are_documents():
    class Text(str):
        pass

    class Data(bytes):
        pass

    assert json_get_long(Text("[5]"), Text("$[0]")) == 5
    assert json_get_long(Data(b"[5]"), "$[0]") == 5


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", 0.0),
        ("-0", -0.0),
        ("3.14", 3.14),
        ("1e3", 1000.0),
        ("9007199254740993", 9007199254740992.0),
        ("1e999", math.inf),
        ("-1e999", -math.inf),
        ("1e-999", 0.0),
        ("true", None),
        ('"1"', None),
        ("null", None),
        ("01", None),
        ("1.", None),
        ("+1", None),
        ("NaN", None),
        ("", None),
    ],
)
def test_numbers_are_floats_and_nothing_else_is_a_number(text, number):
    got = json_get_num(text, "$")
    assert got == number
    assert repr(got) == repr(number)  # -0.0 == 0.0


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("3.14", 3),
        ("-3.99", -3),
        ("0", 0),
        ("1e2", 100),
        (str(2**63 - 1), 2**63 - 1),
        (str(-(2**63)), -(2**63)),
        (str(2**63), 0),
        ("1e400", 0),
        ('"3"', 0),
        ("true", 0),
        ("", 0),
    ],
)
@pytest.mark.skipif(sys.maxsize < 2**63 - 1, reason="a C long has 32 bits here")
def test_longs_are_cut_to_their_integer_part_and_zero_is_the_default(text, number):
    assert json_get_long(text, "$") == number


def test_a_long_zero_in_the_document_is_not_taken_for_the_default():
    assert json_get_long("0", "$", default=9) == 0
    assert json_get_long("1", "$", default=9) == 1
    assert json_get_long("-0.7", "$", default=9) == 0


@pytest.mark.parametrize(
    ("text", "value"),
    [("true", True), ("false", False), ("1", None), ('"true"', None), ("tru", None)],
)
def test_only_true_and_false_are_bools(text, value):
    assert json_get_bool(text, "$") is value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('""', ""),
        ('"plain"', "plain"),
        (r'"\"\\\/\b\f\n\r\t"', '"\\/\b\f\n\r\t'),
        (r'"\u00e9\u20ac"', "é€"),
        (r'"\ud83d\ude00"', "😀"),
        (r'"a\u0000b"', "a\0b"),
        (r'"\ud83d"', "\ufffd"),
        ('"é"', "é"),
        (r'"\q"', None),
        (r'"\u12g4"', None),
        ('"open', None),
        ("5", None),
        ("null", None),
        ('["x"]', None),
    ],
)
def test_strings_come_unescaped_and_nothing_else_is_a_string(text, value):
    assert json_get_str(text, "$") == value


@pytest.mark.parametrize("length", [0, 1, 254, 505, 506, 507, 508, 509, 510, 511, 512, 100_000])
def test_escaped_strings_of_every_length_arrive_whole(length):
    value = "x" * length + "\n"
    assert json_get_str(json.dumps([value]), "$[0]") == value


def test_bytes_that_are_no_utf_8_survive_the_way_through_str():
    document = b'{"\xff":"\xfe\\n","n":1}'
    assert json_get_str(document, "$.\udcff") == "\udcfe\n"
    assert json_get(document, "$.\udcff") == '"\udcfe\\n"'
    again = document.decode("utf-8", "surrogateescape")
    assert json_get_str(again, "$.\udcff") == "\udcfe\n"


def test_a_lone_surrogate_from_elsewhere_is_refused():
    for function in ALL:
        with pytest.raises(UnicodeEncodeError):
            function("\ud800", "$")
        with pytest.raises(UnicodeEncodeError):
            function("{}", "$.\ud800")


def test_a_zero_byte_in_the_path_is_part_of_the_key():
    assert json_get_num('{"a":1}', "$.a\0b") is None
    assert json_get_num('{"a\\u0000b":2,"a":1}', "$.a\0b") == 2.0


@pytest.mark.parametrize("function", WITH_DEFAULT)
def test_the_default_is_given_back_as_it_is(function):
    marker = object()
    assert function("{}", "$.a", marker) is marker
    assert function("{}", "$.a", default=marker) is marker
    assert function("not json", "$.a", marker) is marker
    before = sys.getrefcount(marker)
    for _ in range(100):
        function("{}", "$.a", marker)
    assert sys.getrefcount(marker) == before


@pytest.mark.parametrize("function", ALL)
def test_arguments_may_be_named(function):
    assert (
        function("[3]", path="$[0]") == function(doc="[3]", path="$[0]") == function("[3]", "$[0]")
    )
    assert function(path="$[0]", doc="[3]") == function(data="[3]", path="$[0]")


@pytest.mark.parametrize("function", ALL)
@pytest.mark.parametrize(
    ("args", "kwargs", "message"),
    [
        ((), {}, "missing required argument: 'doc'"),
        (("{}",), {}, "missing required argument: 'path'"),
        ((), {"path": "$"}, "missing required argument: 'doc'"),
        (("{}", "$"), {"doc": "{}"}, "multiple values for argument 'doc'"),
        (("{}", "$"), {"path": "$"}, "multiple values for argument 'path'"),
        (("{}", "$"), {"pfad": "$"}, "unexpected keyword argument 'pfad'"),
        (("{}", "$", 1, 2), {}, "arguments \\(4 given\\)"),
        ((5, "$"), {}, "^doc must be str or bytes-like, not int$"),
        ((None, "$"), {}, "^doc must be str or bytes-like, not NoneType$"),
        (
            (memoryview(b"[1, 2]")[::2], "$"),
            {},
            "^doc must be str or bytes-like, not a memoryview with gaps",
        ),
        (("{}", b"$"), {}, "^path must be str, not bytes$"),
        (("{}", None), {}, "^path must be str, not NoneType$"),
    ],
)
def test_wrong_arguments_are_named_in_a_type_error(function, args, kwargs, message):
    with pytest.raises(TypeError, match=message):
        function(*args, **kwargs)


@pytest.mark.parametrize("function", [json_get, json_get_str])
def test_functions_without_a_default_take_none(function):
    with pytest.raises(TypeError, match="unexpected keyword argument 'default'"):
        function("{}", "$", default=1)
    with pytest.raises(TypeError, match="at most 2 arguments"):
        function("{}", "$", 1)


@pytest.mark.parametrize("function", WITH_DEFAULT)
def test_a_default_given_twice_is_refused(function):
    with pytest.raises(TypeError, match="multiple values for argument 'default'"):
        function("{}", "$", 1, default=2)


def test_a_released_memoryview_is_refused():
    view = memoryview(b"[1]")
    view.release()
    with pytest.raises(ValueError, match="released"):
        json_get(view, "$")


def test_no_buffer_stays_locked_after_a_call():
    document = bytearray(b'{"a": 1}')
    for function in ALL:
        function(document, "$.a")
        with pytest.raises(TypeError):
            function(document, b"$.a")
    document.extend(b" ")  # BufferError while anybody holds it


@pytest.mark.parametrize("function", ALL)
def test_no_call_keeps_memory(function):
    wide = '{"é": "\\u00e9' + "x" * 600 + '", "n": 1.5, "b": true}'
    escaped = b'{"\xff": 300}'.decode("utf-8", "surrogateescape")

    def calls():
        for document in (wide, wide.encode(), bytearray(wide.encode()), escaped):
            for path in ("$.é", "$.n", "$.b", "$.absent", "$.\udcff", "wrong"):
                function(document, path)
        for args in ((1, "$"), ("{}", 1), ("{}",), ("\ud800", "$")):
            with contextlib.suppress(TypeError, UnicodeEncodeError):
                function(*args)

    calls()
    before = sys.getallocatedblocks()
    for _ in range(200):
        calls()
    assert sys.getallocatedblocks() < before + 100


def test_signatures_can_be_read():
    assert str(inspect.signature(json_get)) == "(doc, path)"
    assert str(inspect.signature(json_get_num)) == "(doc, path, default=None)"
    assert str(inspect.signature(json_get_long)) == "(doc, path, default=0)"
    for function in ALL:
        assert function.__doc__


def test_nesting_without_end_is_no_value_and_no_crash():
    assert json_get("[" * 100_000, "$") is None
    assert json_get_num("[" * 100_000 + "1", "$" + "[0]" * 100_000) is None


@pytest.fixture
def patient_threads():
    """Threads take the GIL from another only where that one lets go of it."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1000.0)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("patient_threads")
def test_other_threads_run_while_a_large_document_is_searched():
    document = json.dumps({"pad": ["x" * 40] * 200_000, "n": 5}).encode()
    go, ran = threading.Lock(), []

    def other():
        with go:
            ran.append(True)

    go.acquire()
    thread = threading.Thread(target=other)
    thread.start()
    go.release()
    searches = 0
    while not ran and searches < 1000:
        assert json_get_long(document, "$.n") == 5
        searches += 1
    other_ran = bool(ran)
    thread.join()
    assert other_ran


def test_a_document_that_changes_under_the_search_gives_any_value_or_none():
    """As with hashlib: what comes out may be a mixture of both, but nothing breaks."""
    head = b'{"pad": "' + b"x" * 400_000 + b'", "s": '
    texts = [b'"a\\nb"', b"12.3e1", b"[0, 1]"]
    document = bytearray(head + texts[0] + b"}")
    stop = threading.Event()

    def rewrite():
        while not stop.is_set():
            for text in texts:
                document[len(head) : len(head) + 6] = text

    thread = threading.Thread(target=rewrite)
    thread.start()
    try:
        for _ in range(300):
            assert isinstance(json_get_num(document, "$.s"), float | None)
            assert isinstance(json_get_str(document, "$.s"), str | None)
    finally:
        stop.set()
        thread.join()


KEYS = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters=".["), min_size=1, max_size=8
)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


def leaves(value, path="$"):
    """Every value in a document, with the path that leads there."""
    yield path, value
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, f"{path}.{key}")
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            yield from leaves(inner, f"{path}[{i}]")


@given(VALUES, st.booleans(), st.sampled_from([None, 0, 3]))
def test_every_value_of_a_document_is_what_json_loads_finds_there(value, ascii_only, indent):
    document = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    for source in (document, document.encode()):
        for path, leaf in leaves(value):
            token = json_get(source, path)
            assert token is not None
            assert json.loads(token) == leaf
            is_number = isinstance(leaf, int | float) and not isinstance(leaf, bool)
            assert json_get_num(source, path) == (float(leaf) if is_number else None)
            assert json_get_bool(source, path) is (leaf if isinstance(leaf, bool) else None)
            assert json_get_str(source, path) == (leaf if isinstance(leaf, str) else None)
            if isinstance(leaf, int) and not isinstance(leaf, bool):
                assert json_get_long(source, path) == leaf


@given(VALUES, KEYS)
def test_what_is_not_there_is_not_found(value, key):
    document = json.dumps(value)
    present = isinstance(value, dict) and key in value
    assert (json_get(document, f"$.{key}") is not None) == present


@given(
    st.binary(max_size=200),
    st.text(max_size=20) | st.sampled_from(["$", "$.a", "$[0]", "$.a[1].b"]),
)
def test_no_input_does_harm(document, path):
    for function in ALL:
        try:
            function(document, path)
        except UnicodeEncodeError:
            assert any("\ud800" <= c <= "\udfff" for c in path)
