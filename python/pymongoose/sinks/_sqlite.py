"""SqliteSink: events in a table of an SQLite database."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from ._archive import absolute, logger
from ._batched import BatchedSink
from ._checks import a_count, a_duration, a_name, one_of
from ._columns import clean, epoch, json_text, parse_columns, quoted
from ._encode import encode
from ._outcome import Partial, each_of
from ._sink import DrainResult
from ._work_thread import WorkThread, finish

REMEMBERED = 1000  # batches whose ids are kept, so that one that comes twice is known
CHORES = 60.0  # seconds between two removals of old events
CHUNK = 5000  # events removed in one transaction
ABOUT_ROWS = (sqlite3.IntegrityError, sqlite3.DataError, sqlite3.InterfaceError, OverflowError)
Row = tuple[Any, ...]


class SqliteSink(BatchedSink):
    """Writes events to a database file that needs no server: a batch is a transaction, on a thread of the sink.

    The table is made when it is missing::

        CREATE TABLE events (id INTEGER PRIMARY KEY, ts REAL NOT NULL, level TEXT NOT NULL, message TEXT NOT NULL,
                             fields TEXT NOT NULL)    -- and the columns asked for; fields is a JSON object of the rest

    with an index of ``ts`` (seconds since 1970; time of arrival, and ``ts`` among the fields, for a timestamp that is none). Ids of the last
    batches are kept in ``events_batches``: with a spool, a batch that is sent again after a crash is not stored again. The database is in
    WAL mode, so readers and the writer do not wait for each other; several processes may write the same file. A row that a constraint of
    a table of your own refuses is rejected, the others of its batch are stored.

    Args:
        path: of the database file; folders that are missing are made.
        table: its name.
        columns: fields with a column of their own: ``{"status": "INTEGER"}``, or ``{"http.path": ("path", "TEXT")}`` for another name.
            Columns that the table lacks are added to it.
        keep_seconds: remove events that are older (seconds). keep_events: remove the oldest beyond that number. Looked at once a minute.
        synchronous: "normal" survives the end of the process, "full" that of the machine at the cost of waiting for the disk, "off" neither.
        busy_timeout: seconds to wait for another process that writes, before the batch is tried again later.
        batch_size: events that are written at once, without waiting.
        batch_timeout: seconds after which fewer are.
        options: of :class:`BatchedSink`.

    Raises:
        TypeError, ValueError: an argument is wrong. start() raises sqlite3.Error when the file is no database, and ValueError when the table
        is there and lacks one of the columns above.

    Example::

        with Pipeline([SqliteSink("events.db", columns={"status": "INTEGER"}, keep_seconds=30 * 86400)]) as log:
            log.emit("request", status=200, path="/")
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        table: str = "events",
        columns: Mapping[str, str | tuple[str, str]] | None = None,
        keep_seconds: float | None = None,
        keep_events: int | None = None,
        synchronous: Literal["off", "normal", "full"] = "normal",
        busy_timeout: float = 5.0,
        batch_size: int = 500,
        batch_timeout: float = 0.5,
        **options: Any,
    ) -> None:
        super().__init__(batch_size=batch_size, batch_timeout=batch_timeout, **options)
        self.path = absolute(path)
        a_name("table", table)
        if table.startswith("sqlite_"):
            raise ValueError(f"table must not start with sqlite_: {table!r}")
        one_of("synchronous", synchronous, ("off", "normal", "full"))
        a_duration("busy_timeout", busy_timeout, zero=True)
        if keep_seconds is not None:
            a_duration("keep_seconds", keep_seconds, zero=True)
        if keep_events is not None:
            a_count("keep_events", keep_events, "events", least=0)
        self.table = table
        self._columns = parse_columns(columns, ("id",))
        self._keep_seconds, self._keep_events = keep_seconds, keep_events
        self._synchronous = synchronous
        self._busy_timeout = busy_timeout
        self._db_thread = WorkThread("pymongoose-sqlite")
        self._db: sqlite3.Connection | None = None
        self._db_file: tuple[int, int] = (0, 0)
        self._db_pid = 0
        self._chores_at = 0.0
        names = ["ts", "level", "message", *(c.name for c in self._columns), "fields"]
        self._insert = f"INSERT INTO {quoted(table)} ({', '.join(map(quoted, names))}) VALUES ({', '.join('?' * len(names))})"
        self._batch_table = quoted(table + "_batches")

    async def start(self) -> None:
        await self._db_thread.run(self._open_db)
        await super().start()

    async def send_batch(self, batch: list[dict[str, Any]]) -> None:
        await self._db_thread.run_to_end(self._store_rows, batch, self.batch_id)

    async def stop(self) -> DrainResult:
        try:
            return await super().stop()
        finally:
            await finish(self._db_thread, self._close_db)

    # ---- on the thread ----

    def _open_db(self) -> sqlite3.Connection:
        if self._db is not None:
            if self._db_pid == os.getpid() and self._db_file == _identity(self.path):
                return self._db
            self._close_db()  # removed or replaced: what is written there is seen by nobody
        os.makedirs(os.path.dirname(self.path), exist_ok=True)
        db = sqlite3.connect(
            self.path, self._busy_timeout, isolation_level=None, check_same_thread=False
        )
        try:
            db.execute("PRAGMA journal_mode=WAL")
            db.execute(f"PRAGMA synchronous={self._synchronous}")
            self._check_schema(db)
        except BaseException:
            db.close()
            raise
        self._db, self._db_file, self._db_pid = db, _identity(self.path), os.getpid()
        return db

    def _check_schema(self, db: sqlite3.Connection) -> None:
        table, index = quoted(self.table), quoted(self.table + "_ts")
        own = ", ".join(f"{quoted(c.name)} {c.type}" for c in self._columns)
        with _transaction(db):
            db.execute(
                f"CREATE TABLE IF NOT EXISTS {table} (id INTEGER PRIMARY KEY, ts REAL NOT NULL, level TEXT NOT NULL, "
                f"message TEXT NOT NULL, {own + ', ' if own else ''}fields TEXT NOT NULL)"
            )
            there = {row[1].lower() for row in db.execute(f"PRAGMA table_info({table})")}
            missing = [
                name for name in ("id", "ts", "level", "message", "fields") if name not in there
            ]
            if missing:
                raise ValueError(
                    f"{self.path}: the table {self.table} lacks the columns {', '.join(missing)}"
                )
            for column in self._columns:
                if column.name.lower() not in there:
                    db.execute(
                        f"ALTER TABLE {table} ADD COLUMN {quoted(column.name)} {column.type}"
                    )
            db.execute(f"CREATE INDEX IF NOT EXISTS {index} ON {table} (ts)")
            db.execute(
                f"CREATE TABLE IF NOT EXISTS {self._batch_table} (number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE)"
            )

    def _store_rows(self, batch: list[dict[str, Any]], batch_id: str) -> None:
        db = self._open_db()
        rows, places, rejected = each_of(batch, self._row)
        refused: dict[int, str] = {}
        try:
            with _transaction(db):
                known = f"INSERT OR IGNORE INTO {self._batch_table} (id) VALUES (?)"
                new = db.execute(known, (batch_id,))
                if new.rowcount == 1:
                    forget = f"DELETE FROM {self._batch_table} WHERE number <= ?"
                    db.execute(forget, ((new.lastrowid or 0) - REMEMBERED,))
                    self._insert_rows(db, rows, refused)
        except sqlite3.Error as e:
            if not _is_locked(e):
                self._close_db()  # begin anew
            raise
        if time.monotonic() >= self._chores_at:
            self._chores_at = time.monotonic() + CHORES
            self._remove_old(db)
        rejected.update({places[i]: reason for i, reason in refused.items()})
        if rejected:
            raise Partial(rejected=rejected)

    def _insert_rows(
        self, db: sqlite3.Connection, rows: list[Row], rejected: dict[int, str]
    ) -> None:
        """All of them, but for those that a constraint or a limit of the database refuses."""
        db.execute("SAVEPOINT pymongoose_rows")
        try:
            db.executemany(self._insert, rows)
        except ABOUT_ROWS:
            db.execute("ROLLBACK TO pymongoose_rows")
            for i, row in enumerate(rows):
                try:
                    db.execute(self._insert, row)
                except ABOUT_ROWS as e:
                    rejected[i] = f"{type(e).__name__}: {e}"
        db.execute("RELEASE pymongoose_rows")

    def _row(self, event: dict[str, Any]) -> Row:
        rest = event.copy()
        ts = epoch(event.get("ts"))
        if ts is None:
            ts = time.time()
        else:
            del rest["ts"]
        row = [ts, _value(rest.pop("level", "info")), _value(rest.pop("message", ""))]
        row += [_value(rest.pop(c.field, None)) for c in self._columns]
        row[1:3] = ["" if v is None else v for v in row[1:3]]
        row.append(encode(rest).decode())
        return tuple(row)

    def _remove_old(self, db: sqlite3.Connection) -> None:
        """In small transactions, so that other writers come between; what fails is tried again next time."""
        table = quoted(self.table)
        doomed = []
        if self._keep_seconds is not None:
            doomed.append(("ts < ? ORDER BY ts", time.time() - self._keep_seconds))
        if self._keep_events is not None:
            newest = f"(SELECT id FROM {table} ORDER BY id DESC LIMIT 1 OFFSET ?)"
            doomed.append((f"id <= {newest} ORDER BY id", self._keep_events))
        try:
            for which, value in doomed:
                statement = f"DELETE FROM {table} WHERE id IN (SELECT id FROM {table} WHERE {which} LIMIT {CHUNK})"
                while db.execute(statement, (value,)).rowcount == CHUNK:
                    pass
        except sqlite3.Error:
            logger.exception("%s: old events could not be removed", self.path)

    def _close_db(self) -> None:
        db, self._db = self._db, None
        if db is None:
            return
        if self._db_pid != os.getpid():
            _of_the_parent.append(db)  # closing it here would take away the parent's locks
        else:
            with contextlib.suppress(sqlite3.Error):
                db.close()


_of_the_parent: list[sqlite3.Connection] = []


@contextlib.contextmanager
def _transaction(db: sqlite3.Connection) -> Iterator[None]:
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            db.execute("ROLLBACK")
        raise


def _is_locked(e: sqlite3.Error) -> bool:
    return isinstance(e, sqlite3.OperationalError) and "locked" in str(e)


def _identity(path: str) -> tuple[int, int]:
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return (0, 0)
    return (status.st_dev, status.st_ino)


def _value(value: Any) -> Any:
    """What SQLite stores as it is, or JSON."""
    if isinstance(value, str):
        return clean(value)
    if value is None or isinstance(value, float):
        return value
    if isinstance(value, int) and -(1 << 63) <= value < 1 << 63:
        return int(value)
    return json_text(value)
