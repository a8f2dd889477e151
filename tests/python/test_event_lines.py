"""Lines that lie behind each other in memory, and the events that are written as such without being dicts first."""

import contextvars
import json
import math
import os
import random
import string
import struct
import time

import pytest
from conftest import eventually
from test_event_queue import queue

from pymongoose._core import Lines
from pymongoose.sinks import Pipeline, RotatingFileSink, Sink, bind
from pymongoose.sinks._buffer import COPIED, LineBuffer
from pymongoose.sinks._encode import LINES, encode


def drained(q, n=1 << 20, enough=1 << 30):
    return q.drain_lines(n, enough, *LINES)


def texts(n, size=10):
    return [b"%0*d" % (size, i) for i in range(n)]


# ---- Lines ----


def test_lines_are_a_sequence_and_a_buffer():
    lines = Lines([b"a", b"", b"ccc"])
    assert list(lines) == [b"a", b"", b"ccc"]
    assert len(lines) == 3
    assert lines[-1] == b"ccc"
    assert bytes(lines) == b"a\n\nccc\n"
    assert lines.nbytes == 7
    for i in (3, -4):
        with pytest.raises(IndexError):
            lines[i]
    with pytest.raises(ValueError, match="one piece"):
        lines[::2]
    with pytest.raises(TypeError, match="bytes"):
        Lines(["text"])
    assert list(Lines([])) == []
    assert bytes(Lines([])) == b""


def test_slices_of_lines_and_of_slices_are_those_of_a_list():
    items = texts(9)
    lines = Lines(items)
    for a in range(-10, 11):
        for b in range(-10, 11):
            part = lines[a:b]
            assert list(part) == items[a:b]
            assert bytes(part) == b"".join(t + b"\n" for t in items[a:b])
            assert list(part[1:3]) == items[a:b][1:3]


def test_join_puts_slices_behind_each_other():
    a, b = texts(300), texts(5, 1000)
    both = Lines.join([Lines(a)[7:250], Lines([]), Lines(b)[1:]])
    assert list(both) == a[7:250] + b[1:]
    assert list(both[242:245]) == [a[249], b[1], b[2]]
    assert list(Lines.join([])) == []
    with pytest.raises(TypeError, match="Lines"):
        Lines.join([[b"a"]])


def test_fit_says_how_many_lines_have_room_with_their_line_feeds():
    lines = Lines([b"12345", b"12", b"", b"1"])[1:]  # 3, 1 and 2 bytes
    assert [lines.fit(n) for n in (-1, 0, 2, 3, 4, 5, 6, 100)] == [0, 0, 0, 1, 2, 2, 3, 3]


# ---- out of the queue ----


def random_value(rnd):
    kinds = [
        lambda: rnd.choice((None, True, False, 0, -1, 1 << 63, (1 << 63) - 1, -(1 << 63), 1 << 64)),
        lambda: rnd.randint(-(10**6), 10**6),
        lambda: struct.unpack("d", rnd.randbytes(8))[0],
        lambda: rnd.choice((0.0, -0.0, 1.0, 1e15, 1e16, 1e22, 1e-5, 9.99e-6, math.inf, math.nan)),
        lambda: rnd.uniform(-1000, 1000),
        lambda: "".join(rnd.choices(string.ascii_letters + "/.- ", k=rnd.randint(0, 40))),
        lambda: "".join(rnd.choices('ab"\\\b\f\n\r\t\0\x1f\x7f', k=rnd.randint(0, 20))),
        lambda: "".join(rnd.choices("aé€𝄞\ud800\x7f\xff\u2028", k=rnd.randint(0, 20))),
        lambda: [1, {"a": "b"}],
        lambda: {"k": b"bytes"},
    ]
    return rnd.choice(kinds)()


def emit_bound(queues, bound, message, level, fields):
    bind(**bound)
    for q in queues:
        q.emit(message, level=level, **fields)


def test_a_line_says_what_the_encoder_says_of_the_dict():
    rnd = random.Random(7)
    plain, quick = queue(clock=lambda: 1.25), queue(clock=lambda: 1.25)
    names = ["ts", "level_", "a", "é", 'q"', "n\n", "x y", "", "Level", "message_"]
    for _ in range(3000):
        fields = {n: random_value(rnd) for n in rnd.sample(names, rnd.randint(0, 6))}
        message, level = str(random_value(rnd)), rnd.choice(("info", "error", 10))
        bound = {
            n: random_value(rnd)
            for n in rnd.sample(["a", "ts", "level", "other"], rnd.randint(0, 2))
        }
        contextvars.copy_context().run(emit_bound, (plain, quick), bound, message, level, fields)
    for event, line in zip(plain.drain(10000), drained(quick), strict=True):
        wanted = json.loads(encode(event), object_pairs_hook=list)
        assert json.loads(line, object_pairs_hook=list) == wanted
        assert b"\n" not in line


def test_a_time_in_a_line_is_that_of_the_dict():
    rnd = random.Random(5)
    times = [
        1.0,
        1e-7,
        0.0,
        -5.5,
        5e9 + 0.1,
        1795732516.0,
        1795732516.1,
        1795732516.000001,
        1795732516.9999998,
        2.0**30,
        2.0**32,
    ]
    times += [rnd.uniform(2**30, 2**32) for _ in range(2000)] + [
        rnd.randint(2**50, 2**52) / 1e6 for _ in range(2000)
    ]
    given = iter(times)
    q = queue(max_events=5000, clock=lambda: next(given))
    for _ in times:
        q.emit("m")
    for now, line in zip(times, drained(q), strict=True):
        assert json.loads(line)["ts"] == now
        assert len(line) <= len(encode({"ts": now, "level": "info", "message": "m"})) + 1
    before = time.time()
    q = queue()
    q.emit("m")
    (line,) = drained(q)
    assert before <= json.loads(line)["ts"] <= time.time()


def test_drain_lines_takes_as_many_as_it_is_told():
    q = queue(max_events=1000)
    for i in range(100):
        q.push_json(b"%09d" % i, "info")
    assert [len(drained(q, n)) for n in (0, 1, 7)] == [0, 1, 7]
    assert list(drained(q, 100, 95)) == [
        b"%09d" % i for i in range(8, 18)
    ]  # until there are 95 bytes
    assert len(drained(q, 100, 0)) == 0
    for _ in range(10):
        q.emit("m")
    assert len(drained(q)) == 92
    assert len(q) == 0


def test_lines_outlive_their_queue_and_large_pieces_that_are_used_again():
    kept, wanted = [], []
    for i in range(12):
        q = queue(max_events=3000)
        for n in range(1000):
            q.push_json(b"%0150d" % (i * 1000 + n), "info")
        kept.append(drained(q)[900:])
        wanted.append([b"%0150d" % (i * 1000 + n) for n in range(900, 1000)])
        if i % 3 == 0:
            kept.pop()
            wanted.pop()
        del q
    assert [list(lines) for lines in kept] == wanted


# ---- into a sink ----


@pytest.mark.parametrize("max_bytes", [None, 100, 35])
def test_a_buffer_of_lines_hands_out_what_it_got_in_order_within_its_bounds(max_bytes):
    rnd = random.Random(3)
    buffer, model, came, out = LineBuffer(max_bytes), [], 0, []
    for _ in range(2000):
        if rnd.random() < 0.5:
            items = [b"%0*d" % (rnd.randint(1, 40), came + i) for i in range(rnd.randint(0, 12))]
            n = buffer.put(rnd.choice((items, Lines(items))), 60)
            assert n == min(len(items), 60 - len(model))
            came += n
            model += items[:n]
        elif rnd.random() < 0.7:
            batch = list(buffer.next_batch(size := rnd.randint(1, 20)))
            sizes = [len(i) for i in model[:size]]
            fitting = len(sizes)
            while max_bytes is not None and fitting > 1 and sum(sizes[:fitting]) > max_bytes:
                fitting -= 1
            assert batch == model[:fitting]
            out += batch
            del model[:fitting]
        else:
            taken = list(buffer.take(n := rnd.randint(0, 5)))
            assert taken == model[:n]
            out += taken
            del model[:n]
        assert len(buffer) == len(model)
        assert buffer.all() == model
        assert buffer.bytes == (0 if max_bytes is None else sum(map(len, model)))
        assert (buffer.since is None) == (not model)
    assert [int(i) for i in out + model] == list(range(came))
    assert buffer.came == came


def test_large_pieces_are_not_copied_together():
    buffer = LineBuffer(None)
    large = Lines([b"x" * COPIED])
    for piece in (Lines([b"a"]), Lines([b"b"]), large, Lines([b"c"])):
        buffer.put(piece, 10)
    assert [list(buffer.next_batch(10)) for _ in range(3)] == [[b"a", b"b"], list(large), [b"c"]]


class Kept(Sink):
    accepts = "json"

    def __init__(self):
        super().__init__(name="kept")
        self.got = []

    def offer(self, events, lines):
        self.got += lines
        return len(lines)


def test_a_file_and_another_sink_get_the_same_lines(tmp_path):
    kept = Kept()
    with Pipeline([RotatingFileSink(tmp_path / "log"), kept]) as log:
        for i in range(3000):
            log.emit("m", i=i, text="é")
    written = (tmp_path / "log").read_bytes().splitlines()
    assert [json.loads(line)["i"] for line in written] == list(range(3000))
    assert kept.got == written
    assert log.stats().sent >= 3000


def test_files_rotate_between_lines_that_came_in_one_piece(tmp_path):
    with Pipeline([RotatingFileSink(tmp_path / "log", max_bytes=5000)], max_events=10_000) as log:
        for i in range(4000):
            log.queue.push_json(b'{"i":%d}' % i, "info")
    found = sorted(tmp_path.iterdir(), key=lambda p: (p.name == "log", p.name))
    assert len(found) > 5
    assert all(4900 < p.stat().st_size <= 5000 for p in found[:-1])
    lines = [json.loads(line)["i"] for p in found for line in p.read_bytes().splitlines()]
    assert lines == list(range(4000))


def test_lines_that_cannot_be_written_are_written_later_once_each(tmp_path):
    folder = tmp_path / "gone"
    folder.mkdir()
    sink = RotatingFileSink(folder / "log", batch_timeout=0.01)
    with Pipeline([sink], max_events=10_000) as log:
        log.emit("first")
        assert log.flush(10)
        sink._log.close()
        os.rename(folder, tmp_path / "moved")
        folder.write_text("in the way")
        for i in range(500):
            log.queue.push_json(b'{"i":%d}' % i, "info")
        eventually(lambda: log.stats().sinks[sink.name].retried)
        folder.unlink()
        folder.mkdir()
        assert log.flush(30)
    assert [json.loads(line)["i"] for line in (folder / "log").read_bytes().splitlines()] == list(
        range(500)
    )
