"""PostgresSink: every event is a row of a real server, once, also when the server dies in the middle; a row that is refused harms no other."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any

import postgres
import pytest
from conftest import DEADLINE, eventually
from postgres import Postgres

from pymongoose.sinks import Pipeline, PostgresSink, Retry

QUICK = Retry(base=0.01, cap=0.1)


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with postgres.running() as it:
        yield it


@pytest.fixture
def db(server: Postgres) -> Postgres:
    """With nothing in it."""
    server.ask("DROP SCHEMA IF EXISTS logs CASCADE")
    for (table,) in server.ask("SELECT tablename FROM pg_tables WHERE schemaname = 'public'"):
        server.ask(f'DROP TABLE "{table}"')
    return server


def sink_for(server: Postgres, **options: Any) -> PostgresSink:
    options = {"create_table": True, "retry": QUICK, "breaker": None, **options}
    return PostgresSink(server.dsn, **options)


def numbers(server: Postgres, table: str = "events") -> list[int]:
    return [n for (n,) in server.ask(f"SELECT (fields->>'n')::int FROM {table} ORDER BY 1")]


def test_each_event_is_a_row(db: Postgres) -> None:
    with Pipeline([sink_for(db)]) as log:
        log.emit("ü\n\t\\N", level="error", ts=1.5, n=1, nested={"a": [1, "x"]})
        log.emit("m", ts="2026-01-31T23:00:00+00:00")
        log.emit("m", ts="today")
        log.emit("a\ud800", b=1 << 70)
    first, second, third, fourth = db.ask(
        "SELECT ts, level, message, fields FROM events ORDER BY ctid"
    )
    assert first[:3] == (datetime.fromtimestamp(1.5, timezone.utc), "error", "ü\n\t\\N")
    assert json.loads(first[3]) == {"n": 1, "nested": {"a": [1, "x"]}}
    assert second == (datetime(2026, 1, 31, 23, tzinfo=timezone.utc), "info", "m", "{}")
    assert json.loads(third[3]) == {"ts": "today"}
    assert abs(third[0].timestamp() - time.time()) < 3600
    assert (fourth[2], json.loads(fourth[3])["b"]) == ("a?", str(1 << 70))


COLUMNS: dict[str, tuple[str, Any, Any]] = {  # column: type, value of the event, value of the row
    "small": ("smallint", 7, 7),
    "whole": ("integer", -5, -5),
    "big": ("bigint", 1 << 62, 1 << 62),
    "short": ("real", 1.5, 1.5),
    "long": ("double precision", 3, 3.0),
    "exact": ("numeric(10, 2)", 1.25, Decimal("1.25")),
    "yes": ("boolean", True, True),
    "words": ("text", "ü", "ü"),
    "shown": ("varchar(50)", [1], "[1]"),
    "doc": ("jsonb", {"a": [1]}, '{"a": [1]}'),
    "moment": ("timestamptz", 1.5, datetime.fromtimestamp(1.5, timezone.utc)),
    "day": ("date", "2026-01-31", datetime(2026, 1, 31).date()),
    "id": (
        "uuid",
        "5f0c9a7e-0000-4000-8000-000000000001",
        uuid.UUID("5f0c9a7e-0000-4000-8000-000000000001"),
    ),
    "bytes": ("bytea", b"\0\xff", b"\0\xff"),
}


def test_fields_have_columns_of_their_own_where_asked_for(db: Postgres) -> None:
    columns = {name: kind for name, (kind, _, _) in COLUMNS.items()}
    with Pipeline([sink_for(db, columns={**columns, "http.path": ("path", "text")})]) as log:
        log.emit(
            "m",
            **{name: value for name, (_, value, _) in COLUMNS.items()},
            **{"http.path": "/", "rest": 1},
        )
        log.emit("m")
    names = ", ".join(f'"{name}"' for name in COLUMNS)
    one, two = db.ask(f"SELECT {names}, path, fields FROM events ORDER BY ctid")
    assert one == (*(value for _, _, value in COLUMNS.values()), "/", '{"rest": 1}')
    assert two == (*(None for _ in COLUMNS), None, "{}")


def test_a_value_that_does_not_fit_its_column_stays_among_the_fields(db: Postgres) -> None:
    wrong = {
        "small": 1 << 15, "whole": "5", "big": 1 << 63, "long": "x", "yes": 1, "exact": "x", "moment": "soon",
        "day": "x", "id": "x", "bytes": "x",
    }  # fmt: skip
    columns = {name: COLUMNS[name][0] for name in wrong}
    with Pipeline([sink_for(db, columns=columns)]) as log:
        log.emit("m", **wrong)
    ((*row, fields),) = db.ask(f"SELECT {', '.join(wrong)}, fields FROM events")
    assert row == [None] * len(wrong)
    assert json.loads(fields) == wrong


def test_no_value_holds_up_the_others_for_ever(db: Postgres) -> None:
    sink = sink_for(db, columns={"real": "double precision", "exact": "numeric"})
    with Pipeline([sink]) as log:
        log.emit("before")
        log.emit("real", real=10**400)
        log.emit("exact", exact=10**5000)
        log.emit("time", ts=datetime.min)
        log.emit("after")
        assert log.flush(DEADLINE)
    assert sink.stats().retried == 0
    assert [m for (m,) in db.ask("SELECT message FROM events ORDER BY ctid")] == [
        "before", "real", "exact", "time", "after",
    ]  # fmt: skip
    ((real, exact),) = db.ask("SELECT max(real), max(exact) FROM events")
    assert (real, exact) == (None, 10**5000)


def test_what_cannot_be_tidied_harms_no_batch(db: Postgres, caplog: Any) -> None:
    sink = sink_for(db, batch_size=10)
    real = sink._sql_name
    with Pipeline([sink]) as log:
        log.emit("m", n=0)
        assert log.flush(DEADLINE)
        sink._chores_at = 0.0
        db.ask("CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE ''no''; END'")
        db.ask("CREATE TRIGGER no BEFORE DELETE ON events_batches EXECUTE FUNCTION no()")
        log.emit("m", n=1)
        log.emit("m", n=2, text="\0")
        assert log.flush(DEADLINE)
    assert real() == '"events"'
    assert numbers(db) == [0, 1]
    assert (sink.stats().sent, sink.stats().dropped) == (2, {"rejected": 1})
    assert "could not be removed" in caplog.text


def test_columns_that_a_table_lacks_are_added(db: Postgres) -> None:
    with Pipeline([sink_for(db)]) as log:
        log.emit("old", status=1)
    with Pipeline([sink_for(db, columns={"status": "integer"})]) as log:
        log.emit("new", status=2)
    assert db.ask("SELECT message, status FROM events ORDER BY ctid") == [("old", None), ("new", 2)]


def test_a_table_of_a_schema_with_an_odd_name(db: Postgres) -> None:
    db.ask("CREATE SCHEMA logs")
    with Pipeline([sink_for(db, table='logs.My "table"')]) as log:
        log.emit("m", n=1)
    assert numbers(db, 'logs."My ""table"""') == [1]
    assert db.ask("SELECT tablename FROM pg_tables WHERE schemaname = 'logs' ORDER BY 1") == [
        ('My "table"',),
        ('My "table"_batches',),
    ]


@pytest.mark.parametrize("count", [1, 2, 50])
def test_rows_that_are_refused_are_found_and_the_others_stored(db: Postgres, count: int) -> None:
    """The server takes no NUL in a text, nor in JSON."""
    sink = sink_for(db, batch_size=50)
    bad = {
        0: {"text": "\0"},
        17: {"text": {"deep": ["\0"]}},
        18: {"message": "a\0b"},
        count - 1: {"text": "\0"},
    }
    bad = {n: what for n, what in bad.items() if n < count}
    with Pipeline([sink]) as log:
        for n in range(count):
            fields = dict(bad.get(n, {}))
            log.emit(fields.pop("message", "m"), n=n, **fields)
    assert numbers(db) == [n for n in range(count) if n not in bad]
    assert (sink.stats().sent, sink.stats().dropped) == (count - len(bad), {"rejected": len(bad)})


def test_rows_that_a_constraint_refuses_go_to_the_dead_letters(db: Postgres, tmp_path: Any) -> None:
    db.ask(
        "CREATE TABLE events (ts timestamptz, level text, message text, n int CHECK (n % 10 <> 3), fields jsonb)"
    )
    sink = sink_for(db, columns={"n": "integer"}, dead_letter=str(tmp_path / "dead.jsonl"))
    with Pipeline([sink]) as log:
        for n in range(40):
            log.emit("m", n=n)
    assert [n for (n,) in db.ask("SELECT n FROM events ORDER BY n")] == [
        n for n in range(40) if n % 10 != 3
    ]
    dead = (tmp_path / "dead.jsonl").read_text()
    assert [int(n) for n in re.findall(r'"n": ?(\d+)', dead)] == [3, 13, 23, 33]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_server_that_goes_away_in_the_middle_loses_and_doubles_nothing(
    how: signal.Signals,
) -> None:
    with postgres.running() as server:
        sink = sink_for(server, batch_size=20)
        with Pipeline([sink]) as log:
            n = 0
            for _ in range(3):
                for _ in range(500):
                    assert log.emit("m", n=n)
                    n += 1
                eventually(lambda until=n - 400: sink.stats().sent > until)
                server.stop(how)
                before = sink.stats().retried
                for _ in range(100):
                    assert log.emit("m", n=n)
                    n += 1
                eventually(lambda before=before: sink.stats().retried > before)
                server.start()
            assert log.flush(DEADLINE)
        assert numbers(server) == list(range(n))
        assert (sink.stats().sent, sink.stats().dropped) == (n, {})


def test_a_server_that_is_away_at_the_start_gets_everything_when_it_is_there() -> None:
    with postgres.running() as server:
        server.stop()
        sink = sink_for(server)
        with Pipeline([sink]) as log:
            for n in range(100):
                assert log.emit("m", n=n)
            eventually(lambda: sink.stats().retried > 0)
            server.start()
            assert log.flush(DEADLINE)
        assert numbers(server) == list(range(100))


class AnswerLost(PostgresSink):
    """The first confirmation of each batch does not reach us."""

    lost = ""

    async def send_batch(self, batch: list[dict[str, Any]]) -> None:
        await super().send_batch(batch)
        if self.lost != self.batch_id:
            self.lost = self.batch_id
            raise ConnectionResetError("the answer was lost")


@pytest.mark.parametrize(("dedupe", "times"), [(None, 1), (False, 2)])
def test_a_batch_whose_confirmation_is_lost_is_stored_once(
    db: Postgres, dedupe: bool | None, times: int
) -> None:
    sink = AnswerLost(
        db.dsn, create_table=True, dedupe=dedupe, retry=QUICK, breaker=None, batch_size=10
    )
    with Pipeline([sink]) as log:
        for n in range(30):
            log.emit("m", n=n)
    assert numbers(db) == sorted(list(range(30)) * times)


def test_ids_of_batches_are_removed_in_time(db: Postgres) -> None:
    with Pipeline([sink_for(db)]) as log:
        log.emit("m")
    db.ask(
        "INSERT INTO events_batches (id, stored) VALUES ('old', now() - interval '8 days'), ('new', now() - interval '6 days')"
    )
    with Pipeline([sink_for(db)]) as log:
        log.emit("m")
    ids = [i for (i,) in db.ask("SELECT id FROM events_batches")]
    assert len(ids) == 3
    assert "new" in ids
    assert "old" not in ids


def test_rows_whose_key_is_there_already_are_left_out(db: Postgres) -> None:
    db.ask(
        "CREATE TABLE events (ts timestamptz, level text, message text, id int UNIQUE, fields jsonb)"
    )
    sink = sink_for(
        db, columns={"id": "integer"}, conflict=["id"], create_table=False, batch_size=5
    )
    with Pipeline([sink]) as log:
        for i in [1, 2, 2, 3, 1, 4, 4, 5, 3, 6]:
            log.emit("m", id=i)
        log.emit("a\0", id=7)
        log.emit("m", id=8)
    assert [i for (i,) in db.ask("SELECT id FROM events ORDER BY id")] == [1, 2, 3, 4, 5, 6, 8]
    assert sink.stats().dropped == {"rejected": 1}


def test_events_wait_for_a_table_that_is_not_there(
    db: Postgres, caplog: pytest.LogCaptureFixture
) -> None:
    sink = sink_for(db, create_table=False)
    with Pipeline([sink]) as log:
        log.emit("m", n=1)
        eventually(lambda: sink.stats().retried > 0)
        db.ask("CREATE TABLE events (ts timestamptz, level text, message text)")
        before = sink.stats().retried
        eventually(lambda: sink.stats().retried > before)
        db.ask("ALTER TABLE events ADD COLUMN fields jsonb")
        assert log.flush(DEADLINE)
    assert numbers(db) == [1]


def test_a_table_that_is_dropped_is_made_again(db: Postgres) -> None:
    with Pipeline([sink_for(db)]) as log:
        for n in range(3):
            log.emit("m", n=n)
            assert log.flush(DEADLINE)
            assert numbers(db) == [n]
            db.ask("DROP TABLE events, events_batches")


PROCESS = """
import sys
from pymongoose.sinks import Pipeline, PostgresSink
print("ready", flush=True)
sys.stdin.readline()
with Pipeline([PostgresSink(sys.argv[1], create_table=True)]) as log:
    for n in range(200):
        assert log.emit("m", n=n)
"""


def test_several_processes_make_one_table_at_once(db: Postgres) -> None:
    pipe: dict[str, Any] = {
        "stdin": subprocess.PIPE,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
        "text": True,
    }
    made = [subprocess.Popen([sys.executable, "-c", PROCESS, db.dsn], **pipe) for _ in range(4)]
    for process in made:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    ends = []
    for process in made:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in made:
        _, complaint = process.communicate(timeout=DEADLINE * 2)
        ends.append((process.returncode, complaint))
    assert ends == [(0, "")] * 4
    assert numbers(db) == sorted(list(range(200)) * 4)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"dsn": "mysql://a"}, ValueError),
        ({"table": "a.b.c"}, ValueError),
        ({"table": ""}, ValueError),
        ({"columns": {"a": "hstore"}}, ValueError),
        ({"columns": {"ts": "text"}}, ValueError),
        ({"conflict": "id"}, TypeError),
        ({"conflict": ["id"]}, ValueError),
        ({"pool_size": 0}, ValueError),
        ({"timeout": 0}, ValueError),
    ],
)
def test_wrong_arguments_are_named(arguments: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error, match=next(iter(arguments))):
        PostgresSink(**arguments)


def test_without_asyncpg_it_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "asyncpg", None)
    with pytest.raises(ImportError, match="pip install asyncpg"):
        PostgresSink()


def test_the_password_of_a_dsn_is_in_no_error() -> None:
    with pytest.raises(ValueError, match="dsn") as raised:
        PostgresSink("postgres:secret@host")
    assert "secret" not in str(raised.value)
