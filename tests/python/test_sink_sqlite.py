"""SqliteSink: every event is a row, once, also with other writers, readers, crashes and a file that goes away."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from conftest import DEADLINE, eventually
from programs import run

from pymongoose.sinks import Pipeline, Retry, SqliteSink, _sqlite


def rows(path: Path, what: str = "*", table: str = "events") -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as db:
        return db.execute(f"SELECT {what} FROM {table} ORDER BY id").fetchall()


def numbers(path: Path) -> list[int]:
    return [n for (n,) in rows(path, "json_extract(fields, '$.n')")]


def test_each_event_is_a_row(tmp_path: Path) -> None:
    path = tmp_path / "a" / "e.db"
    with Pipeline([SqliteSink(path)]) as log:
        log.emit(
            "ü\n\0",
            level="error",
            ts=1.5,
            n=1,
            nested={"a": [1, "x"]},
            when=datetime(2026, 1, 31, tzinfo=timezone.utc),
        )
        log.emit("m", ts="2026-01-31T23:00:00+00:00")
        log.emit("m", ts="today")
        log.emit("a\ud800", b=1 << 70, c={1, 2} - {2})
    first, second, third, fourth = rows(path)
    assert first[:4] == (1, 1.5, "error", "ü\n\0")
    assert json.loads(first[4]) == {
        "n": 1,
        "nested": {"a": [1, "x"]},
        "when": "2026-01-31T00:00:00+00:00",
    }
    assert second == (2, 1769900400.0, "info", "m", "{}")
    assert json.loads(third[4]) == {"ts": "today"}
    assert abs(third[1] - time.time()) < 3600
    assert fourth[3] == "a?"
    assert json.loads(fourth[4])["c"] == [1]


def test_fields_have_columns_of_their_own_where_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "e.db"
    columns = {
        "status": "INTEGER",
        "http.path": ("path", "TEXT"),
        "any": "BLOB",
        'odd "name"': "REAL",
    }
    with Pipeline([SqliteSink(path, table="my table", columns=columns)]) as log:  # type: ignore[arg-type]
        log.emit(
            "m", **{"status": 200, "http.path": "/ü", "any": [1], 'odd "name"': 1.5, "rest": 1}
        )
        log.emit("m", status=True, any=1 << 63)
        log.emit("m", status=None)
    assert rows(path, 'status, path, any, "odd ""name""", fields', '"my table"') == [
        (200, "/ü", "[1]", 1.5, '{"rest":1}'),
        (1, None, "9223372036854775808", None, "{}"),
        (None, None, None, None, "{}"),
    ]


def test_columns_that_a_table_lacks_are_added_and_one_that_does_not_fit_is_refused(
    tmp_path: Path,
) -> None:
    path = tmp_path / "e.db"
    with Pipeline([SqliteSink(path)]) as log:
        log.emit("old", status=1)
    with Pipeline([SqliteSink(path, columns={"status": "INTEGER"})]) as log:
        log.emit("new", status=2)
    assert rows(path, "message, status, fields") == [
        ("old", None, '{"status":1}'),
        ("new", 2, "{}"),
    ]
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE other (id INTEGER PRIMARY KEY, message TEXT)")
    with pytest.raises(ValueError, match="the table other lacks the columns ts, level, fields"):
        SqliteSink(path, table="other")._open_db()
    (tmp_path / "text").write_text(
        "this is no database at all, but long enough to be looked at" * 10
    )
    with pytest.raises(sqlite3.DatabaseError, match="not a database"):
        SqliteSink(tmp_path / "text")._open_db()


def test_a_reader_and_another_writer_hold_up_nobody_for_good(tmp_path: Path) -> None:
    path = tmp_path / "e.db"
    sink = SqliteSink(path, busy_timeout=0.01, retry=Retry(base=0.01, cap=0.05), breaker=None)
    with Pipeline([sink]) as log, closing(sqlite3.connect(path, isolation_level=None)) as other:
        log.emit("m", n=0)
        assert log.flush(DEADLINE)
        other.execute("BEGIN")
        assert other.execute("SELECT count(*) FROM events").fetchone() == (
            1,
        )  # a snapshot that stays open
        log.emit("m", n=1)
        assert log.flush(DEADLINE)
        other.execute("COMMIT")
        other.execute("BEGIN IMMEDIATE")
        log.emit("m", n=2)
        eventually(lambda: sink.stats().retried > 0)
        other.execute("COMMIT")
        assert log.flush(DEADLINE)
    assert numbers(path) == [0, 1, 2]


def test_a_database_that_was_removed_or_replaced_is_made_again(tmp_path: Path) -> None:
    path = tmp_path / "e.db"
    with Pipeline([SqliteSink(path)]) as log:
        for n in range(3):
            log.emit("m", n=n)
            assert log.flush(DEADLINE)
            assert numbers(path) == [n]
            for file in tmp_path.iterdir():
                file.unlink()


PROCESS = """
import sys
from pymongoose.sinks import Pipeline, SqliteSink
sink = SqliteSink(sys.argv[1], columns={"who": "INTEGER"}, batch_size=20)
with Pipeline([sink]) as log:
    for n in range(500):
        assert log.emit("m", who=int(sys.argv[2]), n=n)
        if n % 50 == 0:
            assert log.flush(20)
"""


def test_several_processes_write_one_database(tmp_path: Path) -> None:
    path = tmp_path / "e.db"
    made = [subprocess.Popen([sys.executable, "-c", PROCESS, path, str(who)]) for who in range(3)]
    assert [p.wait(DEADLINE * 2) for p in made] == [0, 0, 0]
    for who in range(3):
        assert [n for w, n in rows(path, "who, json_extract(fields, '$.n')") if w == who] == list(
            range(500)
        )


def test_a_batch_that_comes_twice_is_stored_once(tmp_path: Path) -> None:
    path = tmp_path / "e.db"
    sink = SqliteSink(path)
    batch = [{"ts": 1.0, "level": "info", "message": "m", "n": n} for n in range(3)]
    sink._store_rows(batch, "one")
    sink._store_rows(batch, "one")
    sink._store_rows(batch[:1], "two")
    sink._close_db()
    sink._store_rows(batch, "one")
    sink._close_db()
    assert numbers(path) == [0, 1, 2, 0]


def test_rows_that_a_constraint_refuses_are_rejected_and_the_others_stored(tmp_path: Path) -> None:
    path = tmp_path / "e.db"
    with closing(sqlite3.connect(path)) as db:
        db.execute(
            "CREATE TABLE events (id INTEGER PRIMARY KEY, ts REAL, level TEXT, message TEXT, n INTEGER CHECK (n % 10 <> 3), fields TEXT)"
        )
    sink = SqliteSink(path, columns={"n": "INTEGER"})
    with Pipeline([sink]) as log:
        for n in range(40):
            log.emit("m", n=n)
    assert rows(path, "n") == [(n,) for n in range(40) if n % 10 != 3]
    assert (sink.stats().sent, sink.stats().dropped) == (36, {"rejected": 4})


def test_no_value_holds_up_the_others_for_ever(tmp_path: Path) -> None:
    class Odd(dict[str, int]):
        def __missing__(self, key: str) -> int:
            raise RuntimeError("no")

    sink = SqliteSink(tmp_path / "e.db", columns={"n": "REAL"})
    with Pipeline([sink]) as log:
        log.emit("before")
        log.emit("time", ts=datetime.min)
        log.emit("value", n=10**5000)
        log.emit("odd", n=Odd(a=1))
        log.emit("after")
        assert log.flush(DEADLINE)
    assert sink.stats().retried == 0
    assert [m for (m,) in rows(tmp_path / "e.db", "message")] == [
        "before", "time", "value", "odd", "after",
    ]  # fmt: skip


def test_ids_of_batches_are_forgotten_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_sqlite, "REMEMBERED", 10)
    sink = SqliteSink(tmp_path / "e.db")
    for n in range(50):
        sink._store_rows([{"n": n}], str(n))
    sink._close_db()
    assert [i for (i,) in rows(tmp_path / "e.db", "id", "events_batches")] != []
    with closing(sqlite3.connect(tmp_path / "e.db")) as db:
        assert [i for (i,) in db.execute("SELECT id FROM events_batches ORDER BY number")] == [
            str(n) for n in range(40, 50)
        ]


def test_old_events_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_sqlite, "CHORES", 0.0)
    monkeypatch.setattr(_sqlite, "CHUNK", 7)
    by_age, by_number = tmp_path / "age.db", tmp_path / "number.db"
    now = time.time()
    with Pipeline(
        [SqliteSink(by_age, keep_seconds=3600), SqliteSink(by_number, keep_events=30)]
    ) as log:
        for n in range(100):
            log.emit("m", ts=now - 7200 if n % 2 else now, n=n)
        assert log.flush(DEADLINE)
    assert numbers(by_age) == list(range(0, 100, 2))
    assert numbers(by_number) == list(range(70, 100))


KILLED = """
import sys
from pymongoose.sinks import Pipeline, SqliteSink
log = Pipeline([SqliteSink(sys.argv[1], batch_size=50)], max_events=1000, overflow="block")
log.start()
n = 0
while True:
    n += log.emit("m", n=n)
"""


def test_killed_in_the_middle_of_a_transaction_whole_batches_are_there(tmp_path: Path) -> None:
    path = tmp_path / "e.db"
    with subprocess.Popen([sys.executable, "-c", KILLED, path]) as process:
        eventually(
            lambda: (
                path.exists()
                and path.stat().st_size
                and (tmp_path / "e.db-wal").exists()
                and _count(path) > 500
            )
        )
        process.kill()
    with Pipeline([SqliteSink(path)]) as log:
        log.emit("m", n=-1)
    *before, last = numbers(path)
    assert last == -1
    assert before == list(range(len(before)))
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def _count(path: Path) -> int:
    try:
        return len(rows(path, "id"))
    except sqlite3.OperationalError:  # not there yet
        return 0


SPOOLED = """
import sys
from pymongoose.sinks import Pipeline, SqliteSink
log = Pipeline([SqliteSink(sys.argv[1], spool=sys.argv[2], batch_size=7, batch_timeout=0.0)])
log.start()
n = int(sys.argv[3])
while True:
    if log.emit("m", n=n):
        print(n, flush=True)
    n += 1
"""


def test_with_a_spool_each_accepted_event_is_stored_exactly_once_however_often_we_are_killed(
    tmp_path: Path,
) -> None:
    path, spool = tmp_path / "e.db", tmp_path / "spool"
    accepted: list[int] = []
    for wanted in (1, 30, 100, 200, 333, 500):
        command = [
            sys.executable,
            "-c",
            SPOOLED,
            path,
            spool,
            str(accepted[-1] + 10 if accepted else 0),
        ]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            said = [process.stdout.readline() for _ in range(wanted)]
            process.kill()
            said += process.stdout.readlines()
        accepted += [int(line) for line in said if line.endswith("\n")]
    with Pipeline([SqliteSink(path, spool=spool)]) as log:
        eventually(lambda: _count(path) >= len(accepted))
        assert log.flush(DEADLINE)
    stored = numbers(path)
    assert len(stored) == len(set(stored))
    assert set(stored) >= set(accepted)
    assert len(set(stored) - set(accepted)) <= 6  # accepted, and killed before it was said


FULL_DISK = """
import os, sqlite3, subprocess, sys
from pymongoose.sinks import Pipeline, Retry, SqliteSink
folder = sys.argv[1]
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", folder], check=True)
ballast = os.path.join(folder, "ballast")
with open(ballast, "wb") as out:
    out.write(b"x" * 500_000)
sink = SqliteSink(os.path.join(folder, "e.db"), retry=Retry(base=0.01, cap=0.05), breaker=None, batch_size=50)
log = Pipeline([sink])
log.start()
n = 0
while sink.stats().retried == 0:
    assert log.emit("m", n=n, text="x" * 1000)
    n += 1
    if n % 50 == 0:
        log.flush(0.05)
os.unlink(ballast)
assert log.flush(20)
log.stop()
db = sqlite3.connect(os.path.join(folder, "e.db"))
assert [i for i, in db.execute("SELECT json_extract(fields, '$.n') FROM events ORDER BY id")] == list(range(n))
print("all", n > 50)
"""


def test_a_full_disk_loses_nothing_when_there_is_room_again(
    tmp_path: Path, apart: list[str]
) -> None:
    assert run(*apart, sys.executable, "-c", FULL_DISK, tmp_path) == "all True"


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"path": 5}, TypeError),
        ({"table": ""}, ValueError),
        ({"table": "sqlite_x"}, ValueError),
        ({"columns": ["a"]}, TypeError),
        ({"columns": {"a": 5}}, TypeError),
        ({"columns": {"message": "TEXT"}}, ValueError),
        ({"columns": {"a": ("fields", "TEXT")}}, ValueError),
        ({"columns": {"a": ("x", "TEXT"), "b": ("X", "TEXT")}}, ValueError),
        ({"columns": {"a": "TEXT); DROP TABLE events; --"}}, ValueError),
        ({"synchronous": "extra"}, ValueError),
        ({"keep_seconds": -1}, ValueError),
        ({"keep_events": -1}, ValueError),
        ({"busy_timeout": -1}, ValueError),
    ],
)
def test_wrong_arguments_are_named(
    tmp_path: Path, arguments: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error, match=next(iter(arguments))):
        SqliteSink(**{"path": tmp_path / "e.db", **arguments})
    assert os.listdir(tmp_path) == []
