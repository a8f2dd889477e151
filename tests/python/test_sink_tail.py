"""``python -m pymongoose tail``: what is shown, what is left out, and what becomes of a file that is rotated."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from pymongoose.sinks._tail import Followed, main, where


def write(path: Path, *events: object) -> Path:
    with open(path, "ab") as f:
        f.writelines(json.dumps(e).encode() + b"\n" for e in events)
    return path


def run(*args: object) -> str:
    out = io.StringIO()
    assert main([str(a) for a in args], out) == 0
    return out.getvalue()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    events = [
        {
            "ts": time.time() - 3600,
            "level": "info",
            "message": "old",
            "status": 200,
            "user": {"id": 7},
        },
        {"ts": time.time(), "level": "warning", "message": "slow", "status": 404, "ok": True},
        {"ts": time.time(), "level": "error", "message": "bad\x1b[31m", "status": 500},
    ]
    return write(tmp_path / "e.jsonl", *events)


def test_events_are_shown_for_people_and_cannot_steer_the_terminal(file: Path) -> None:
    text = run(file)
    assert [line.split()[2] for line in text.splitlines()] == ["INFO", "WARNING", "ERROR"]
    assert "\x1b" not in text


@pytest.mark.parametrize(
    ("args", "messages"),
    [
        (["-l", "warning"], ["slow", "bad"]),
        (["-w", "status>=404"], ["slow", "bad"]),
        (["-w", "status<500", "-w", "status>200"], ["slow"]),
        (["-w", "message~^(old|slow)$"], ["old", "slow"]),
        (["-w", "user.id=7"], ["old"]),
        (["-w", "level!=info", "-n", "1"], ["bad"]),
        (["-w", "ok=true"], ["slow"]),
        (["-s", "10m"], ["slow", "bad"]),
        (["-n", "2"], ["slow", "bad"]),
        (["-n", "0"], ["old", "slow", "bad"]),
    ],
)
def test_filters_choose(file: Path, args: list[str], messages: list[str]) -> None:
    shown = [
        json.loads(line)["message"].split("\x1b")[0]
        for line in run(file, "--json", *args).splitlines()
    ]
    assert shown == messages


def test_what_is_no_json_is_shown_as_it_is_unless_something_is_asked_for(file: Path) -> None:
    with open(file, "ab") as f:
        f.write(b"not json \xff\n[1]\n\ncut")
    assert run(file, "-n", "0").endswith("not json \\xff\n[1]\ncut\n")
    assert "not json" not in run(file, "-l", "info")


def test_a_line_that_is_no_json_cannot_steer_the_terminal_either(tmp_path: Path) -> None:
    path = tmp_path / "mixed.log"
    path.write_bytes(b"\x1b]0;title\x07 \xc2\x9b2J\r\n[1]\ncut\x1b")
    assert run(path) == "\\x1b]0;title\\x07 \\x9b2J\\r\n[1]\ncut\\x1b\n"
    assert run(path, "-n", "1") == "cut\\x1b\n"
    assert run(path, "--json").startswith("\x1b]0;title")


def test_an_age_is_compared_with_times_in_any_form(tmp_path: Path) -> None:
    now = datetime.now(timezone.utc)
    times = [now, now - timedelta(hours=2)]
    events = [{"ts": f(t), "message": str(i)} for i, t in enumerate(times) for f in (str, _stamp)]
    path = write(tmp_path / "e.jsonl", *events)
    found = [json.loads(line)["message"] for line in run(path, "--json", "-s", "1h").splitlines()]
    assert found == ["0", "0"]


def _stamp(t: datetime) -> float:
    return t.timestamp()


@pytest.mark.parametrize(
    "args",
    [["-w", "status"], ["-w", "a>b"], ["-w", "a~("], ["-l", "loud"], ["-s", "soon"], ["-n", "-1"]],
)
def test_wrong_arguments_are_named(
    file: Path, args: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(file), *args]) == 2
    assert "pymongoose tail: " in capsys.readouterr().err


def test_a_missing_file_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "no")]) == 2
    assert "is not there" in capsys.readouterr().err


def test_conditions_compare_numbers_as_numbers() -> None:
    assert where("n>9")({"n": 10})
    assert not where("n>9")({"n": "10"})
    assert not where("n>9")({})
    assert where("n!=1")({})
    assert where("a.b=x")({"a.b": "x"})


def test_a_followed_file_is_followed_over_rotation_and_truncation(tmp_path: Path) -> None:
    path = tmp_path / "e.jsonl"
    file = Followed(str(path))
    assert list(file.lines()) == []  # not there yet
    write(path, 1)
    assert list(file.lines()) == [b"1"]
    with open(path, "ab") as f:
        f.write(b"2")
    assert list(file.lines()) == []  # half a line
    with open(path, "ab") as f:
        f.write(b"2\n")
    os.rename(path, tmp_path / "e.1")
    assert list(file.lines()) == [b"22"]
    write(tmp_path / "e.1", 3)
    write(path, 4)
    assert list(file.lines()) == [b"3", b"4"]
    os.truncate(path, 0)
    assert list(file.lines()) == []
    write(path, 5)
    assert list(file.lines()) == [b"5"]
    file.close()


def test_the_command_follows_until_it_is_interrupted(tmp_path: Path) -> None:
    path = write(tmp_path / "e.jsonl", {"message": "first"})
    command = [sys.executable, "-m", "pymongoose", "tail", "-f", "--json", str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert b"first" in process.stdout.readline()
        write(path, {"message": "second"})
        assert b"second" in process.stdout.readline()
        process.kill()
