"""StdoutSink: JSON for programs, text for people, and a reader that is slow or gone harms nobody."""

from __future__ import annotations

import errno
import fcntl
import io
import json
import os
import pty
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import DEADLINE, eventually

from pymongoose.sinks import Pipeline, Retry, RotatingFileSink, StdoutSink
from pymongoose.sinks._pretty import Pretty

PROGRAM = """
import sys
from pymongoose.sinks import Pipeline, StdoutSink
with Pipeline([StdoutSink(**eval(sys.argv[1]))]) as log:
    log.emit("hello", level="warning", ts=1.5, n=1)
    log.emit("again", level="error", ts=2.5, exception="Traceback\\n  File x\\nValueError: no")
"""


def command(**options: Any) -> list[str]:
    return [sys.executable, "-c", PROGRAM, repr(options)]


def on_terminal(env: dict[str, str] | None = None, **options: Any) -> str:
    """What the program says to a terminal."""
    master, slave = pty.openpty()
    with subprocess.Popen(
        command(**options), stdout=slave, env={**os.environ, "TERM": "xterm", **(env or {})}
    ) as process:
        os.close(slave)
        said = b""
        while True:
            try:
                said += os.read(master, 65536)
            except OSError:  # EIO: the other side is closed
                break
        os.close(master)
        assert process.wait(DEADLINE) == 0
    return said.decode().replace("\r\n", "\n")


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def test_a_program_that_reads_gets_json() -> None:
    said = subprocess.run(command(), check=True, capture_output=True, timeout=DEADLINE)
    assert said.stderr == b""
    assert [json.loads(line) for line in said.stdout.splitlines()] == [
        {"ts": 1.5, "level": "warning", "message": "hello", "n": 1},
        {
            "ts": 2.5,
            "level": "error",
            "message": "again",
            "exception": "Traceback\n  File x\nValueError: no",
        },
    ]


def test_a_terminal_gets_text_in_colour() -> None:
    said = on_terminal({"TZ": "UTC"})
    assert "\x1b[33mWARNING" in said
    assert plain(said).splitlines() == [
        "1970-01-01 00:00:01.500 WARNING  hello  n=1",
        "1970-01-01 00:00:02.500 ERROR    again",
        "    Traceback",
        "      File x",
        "    ValueError: no",
    ]


def test_no_colour_where_it_is_not_wanted() -> None:
    said = on_terminal({"NO_COLOR": "1"})
    assert "WARNING  hello  n=1" in said
    assert "\x1b" not in said
    piped = subprocess.run(
        command(format="pretty"), check=True, capture_output=True, timeout=DEADLINE
    )
    assert b"WARNING  hello  n=1" in piped.stdout
    assert b"\x1b" not in piped.stdout


def test_a_terminal_gets_json_when_told_so() -> None:
    assert [json.loads(line)["message"] for line in on_terminal(format="json").splitlines()] == [
        "hello",
        "again",
    ]


# -- lines for people --


@pytest.mark.parametrize(
    ("event", "line"),
    [
        ({"level": "info", "message": "m"}, "INFO     m"),
        ({"level": "critical", "message": "m"}, "CRITICAL m"),
        ({"level": "odd", "message": "m"}, "INFO     m"),
        ({"level": "info", "message": "a\nb\x1b[2J"}, r"INFO     a\nb\x1b[2J"),
        ({"level": "info", "message": "[bold]m[/bold] :smile:"}, "INFO     [bold]m[/bold] :smile:"),
        ({"level": "info", "message": {"a": 1}}, 'INFO     {"a":1}'),
        (
            {"level": "info", "message": "m", "a": 1, "b": "two", "c": "three four"},
            'INFO     m  a=1 b=two c="three four"',
        ),
        (
            {"level": "info", "message": "m", "a": None, "b": True, "c": [1, "x"]},
            'INFO     m  a=null b=true c=[1,"x"]',
        ),
        (
            {"level": "info", "message": "m", "a": "", "b": 'q"', "c": "x=1"},
            r'INFO     m  a="" b="q\"" c="x=1"',
        ),
        (
            {"level": "info", "message": "m", "a\x1b": "\x1b\u202e\x9b"},
            r"INFO     m  a\x1b=\x1b\u202e\x9b",
        ),
        (
            {"level": "info", "message": "m", "exception": "one line"},
            'INFO     m  exception="one line"',
        ),
        (
            {"level": "info", "message": "m", "exception": "a\n\x1bb\n"},
            "INFO     m\n    a\n    \\x1bb",
        ),
        ({"level": "info", "message": "x" * 500}, "INFO     " + "x" * 500),
    ],
)
def test_lines_for_people(event: dict[str, Any], line: str) -> None:
    shown = Pretty().line(event)
    assert shown == f"{'-':23} {line}\n"
    assert plain(Pretty(colour=True).line(event)) == shown


# -- streams --


@pytest.mark.parametrize("make", [io.StringIO, io.BytesIO])
def test_any_stream_will_do(make: Callable[[], Any]) -> None:
    stream = make()
    with Pipeline([StdoutSink(stream)]) as log:
        log.emit("ü", n=1)
    assert json.loads(stream.getvalue())["message"] == "ü"


def test_the_standard_output_of_the_moment_is_used(capfd: pytest.CaptureFixture[str]) -> None:
    with Pipeline([StdoutSink(format="json")]) as log:
        log.emit("m")
    assert json.loads(capfd.readouterr().out)["message"] == "m"


def test_a_reader_that_does_not_read_holds_up_nobody_else_and_gets_everything_later(
    tmp_path: Path,
) -> None:
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETFL, os.O_NONBLOCK)  # as some parents do
    with os.fdopen(writer, "wb", buffering=0) as stream, os.fdopen(reader, "rb") as source:
        slow = StdoutSink(stream)
        log = Pipeline([slow, RotatingFileSink(tmp_path / "e.jsonl")])
        log.start()
        for n in range(1000):
            assert log.emit("m", n=n, text="x" * 200)
        eventually(
            lambda: (
                (tmp_path / "e.jsonl").exists()
                and (tmp_path / "e.jsonl").read_bytes().count(b"\n") == 1000
            )
        )
        assert slow.stats().sent < 1000
        got = [json.loads(source.readline())["n"] for _ in range(1000)]
        assert log.stop().dropped == 0
    assert got == list(range(1000))


def test_a_write_that_outlasts_the_sinks_patience_is_not_done_twice() -> None:
    reader, writer = os.pipe()
    with os.fdopen(writer, "wb") as stream:
        sink = StdoutSink(stream, format="json", batch_size=50, send_timeout=0.05)
        sent_again = threading.Event()
        real = sink.send_lines

        async def watched(lines: list[bytes]) -> None:
            if sink.stats().retried > 2:
                sent_again.set()
            await real(lines)

        sink.send_lines = watched  # type: ignore[method-assign]
        with Pipeline([sink]) as log:
            for n in range(50):
                assert log.emit("m", n=n, fill="x" * 4096)
            sent_again.wait(1.0)  # time enough to do wrong
            said = b""
            while said.count(b"\n") < 50:
                said += os.read(reader, 1 << 16)
        assert log.stats().sent == 50
    with os.fdopen(reader, "rb") as rest:
        said += rest.read()
    assert [json.loads(line)["n"] for line in said.splitlines()] == list(range(50))


def test_what_a_full_disk_took_is_not_written_again_and_a_torn_line_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "out"
    real, room, torn = os.write, [1000], threading.Event()

    def small(fd: int, data: Any) -> int:
        if fd != stream.fileno():
            return real(fd, data)
        if not room[0]:
            torn.set()
            raise OSError(errno.ENOSPC, "no space")
        n = real(fd, data[: room[0]])
        room[0] -= n
        return n

    with path.open("wb") as stream:
        monkeypatch.setattr(os, "write", small)
        sink = StdoutSink(stream, format="json", retry=Retry(base=0.01), breaker=None)
        with Pipeline([sink]) as log:
            for n in range(50):
                assert log.emit("m", n=n)
            assert torn.wait(DEADLINE)
            room[0] = 1 << 20
            assert log.flush(DEADLINE)
    found = []
    halves = 0
    for line in path.read_bytes().splitlines():
        try:
            found.append(json.loads(line)["n"])
        except ValueError:
            halves += 1
    assert found == list(range(50))
    assert halves == 1


def test_a_line_that_is_no_event_cannot_steer_the_terminal() -> None:
    sink = StdoutSink(format="pretty")
    sink._pretty = Pretty(colour=True)
    assert sink._shown(b"\x1b[2Jno \xc2\x9b json") == b"\\x1b[2Jno \\x9b json\n"


def test_events_for_a_reader_that_is_gone_are_rejected_and_the_others_go_on(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb", buffering=0) as stream:
        gone = StdoutSink(stream)
        with Pipeline([gone, RotatingFileSink(tmp_path / "e.jsonl")]) as log:
            for n in range(10):
                log.emit("m", n=n)
            assert log.flush(DEADLINE)
        assert (gone.stats().sent, gone.stats().dropped) == (0, {"rejected": 10})
    assert (tmp_path / "e.jsonl").read_bytes().count(b"\n") == 10


def test_a_program_whose_reader_left_ends_without_a_complaint() -> None:
    with subprocess.Popen(command(), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        complaints = process.stderr.read().decode()
        assert process.wait(DEADLINE) == 0
    assert "Traceback" not in complaints


def test_without_rich_a_terminal_gets_json_and_pretty_says_what_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "rich.console", None)
    with pytest.raises(ImportError, match="pip install rich"):
        StdoutSink(format="pretty")
    master, slave = pty.openpty()
    with os.fdopen(slave, "wb", buffering=0) as stream:
        with Pipeline([StdoutSink(stream)]) as log:
            log.emit("m")
        assert json.loads(os.read(master, 1000))["message"] == "m"
    os.close(master)


@pytest.mark.parametrize(
    ("arguments", "error"), [({"format": "xml"}, ValueError), ({"stream": 5}, TypeError)]
)
def test_wrong_arguments_are_named(arguments: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error, match=next(iter(arguments))):
        StdoutSink(**arguments)
