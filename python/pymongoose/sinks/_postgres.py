"""PostgresSink: events in a table of PostgreSQL, by COPY."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

from ._batched import BatchedSink
from ._checks import a_count, a_duration, a_name
from ._columns import clean, epoch, json_text, moment, parse_columns, quoted
from ._encode import encode
from ._outcome import Partial, each_of
from ._postgres_values import converter
from ._sink import DrainResult, logger

FORGOTTEN = "7 days"  # age of batch ids that are removed
CHORES = 3600.0  # seconds between two removals
PATIENCE = 2.0  # seconds that stop() waits for connections to end well
Row = tuple[Any, ...]


class PostgresSink(BatchedSink):
    """Copies events into a table: a batch is one COPY in one transaction, over a connection of an asyncpg pool.

    With ``create_table`` the table is made when it is missing::

        CREATE TABLE events (ts timestamptz NOT NULL, level text NOT NULL, message text NOT NULL, fields jsonb NOT NULL)
                             -- and the columns asked for; fields is a JSON object of the rest

    with a BRIN index of ``ts`` (time of arrival, and ``ts`` among the fields, for a timestamp that is none). Connections are made when they are
    needed, and anew when the server was gone; meanwhile batches wait. A row that the server refuses (a NUL in a text, a constraint) is found
    by halving the batch: the others are stored, it alone is rejected, with the server's reason.

    Duplicates: with ``dedupe`` the ids of batches are stored with them, in the same transaction, in the table ``events_batches``, and a batch
    that comes again (the answer was lost; the process was killed and replays its spool) is not stored again. With ``conflict`` rows go
    through a temporary table and those whose key is there already are left out, whoever wrote them.

    Args:
        dsn: ``postgresql://user:password@host:port/database``; what is left out comes from the environment (``PGHOST``, ``~/.pgpass`` …).
        table: its name, ``schema.table`` for one that is not on the search path.
        columns: fields with a column of their own: ``{"status": "integer"}``, or ``{"http.path": ("path", "text")}`` for another name. A value
            that does not fit the type stays in ``fields``, and the column is NULL.
        create_table: make what is missing of the tables, columns and indexes.
        dedupe: None: if ``create_table``. Without it, or with False, a batch whose confirmation is lost is stored twice.
        conflict: columns of a unique constraint or index: rows that violate it are left out.
        pool_size: connections at most.
        timeout: seconds for connecting, for a free connection, and for each command.
        connect: further arguments of ``asyncpg.connect()``: ``{"ssl": context, "statement_cache_size": 0}``.
        batch_size: events that are copied at once, without waiting.
        batch_timeout: seconds after which fewer are.
        options: of :class:`BatchedSink`.

    Raises:
        TypeError, ValueError: an argument is wrong. ImportError: the package asyncpg is missing.

    Example::

        sink = PostgresSink("postgresql://log@db/logs", columns={"status": "integer"}, create_table=True)
        with Pipeline([sink]) as log:
            log.emit("request", status=200, path="/")
    """

    def __init__(
        self,
        dsn: str | None = None,
        *,
        table: str = "events",
        columns: Mapping[str, str | tuple[str, str]] | None = None,
        create_table: bool = False,
        dedupe: bool | None = None,
        conflict: Sequence[str] | None = None,
        pool_size: int = 2,
        timeout: float = 30.0,
        connect: Mapping[str, Any] | None = None,
        batch_size: int = 500,
        batch_timeout: float = 1.0,
        **options: Any,
    ) -> None:
        super().__init__(batch_size=batch_size, batch_timeout=batch_timeout, **options)
        try:
            import asyncpg  # type: ignore[import-untyped]
        except ImportError:
            raise ImportError(
                "PostgresSink needs the package asyncpg: pip install asyncpg"
            ) from None
        if dsn is not None and not re.match(r"postgres(ql)?://", dsn):
            raise ValueError(
                "dsn must start with postgresql://"
            )  # it is not shown: there may be a password in it
        a_name("table", table)
        if not re.fullmatch(r"([^.]+\.)?[^.]+", table):
            raise ValueError(f"table must be a name or schema.name, not {table!r}")
        a_count("pool_size", pool_size, "connections")
        a_duration("timeout", timeout)
        if isinstance(conflict, str):
            raise TypeError("conflict must be a sequence of column names, not str")
        self.table = table
        self._asyncpg: Any = asyncpg
        self._dsn = dsn
        self._connect = dict(connect or {})
        self._pool_size = pool_size
        self._timeout = timeout
        self._create_table = create_table
        self._dedupe = create_table if dedupe is None else dedupe
        self._columns = parse_columns(columns)
        self._convert = [(c.field, converter(c.type)) for c in self._columns]
        self._names = ["ts", "level", "message", *(c.name for c in self._columns), "fields"]
        self._conflict = list(conflict or ())
        unknown = [c for c in self._conflict if c not in self._names]
        if unknown:
            raise ValueError(f"conflict: {', '.join(map(repr, unknown))} are not among the columns")
        *schema, self._table = table.split(".")
        self._schema = schema[0] if schema else None
        self._pool: Any = None
        self._tables_ready = False
        self._chores_at = 0.0

    async def start(self) -> None:
        # No connection yet: a server that is away must not keep events from being taken.
        self._tables_ready = False
        self._pool = self._asyncpg.create_pool(
            self._dsn,
            min_size=0,
            max_size=self._pool_size,
            timeout=self._timeout,
            command_timeout=self._timeout,
            **self._connect,
        )
        await self._pool
        await super().start()

    def forked(self) -> None:
        super().forked()
        if self._pool is not None:
            _of_the_parent.append(self._pool)  # ending its connections here would end the parent's
            self._pool = None

    async def stop(self) -> DrainResult:
        try:
            return await super().stop()
        finally:
            pool, self._pool = self._pool, None
            if pool is not None:
                try:
                    await asyncio.wait_for(pool.close(), PATIENCE)
                except (asyncio.CancelledError, Exception) as e:
                    pool.terminate()
                    if isinstance(e, asyncio.CancelledError):
                        raise

    async def send_batch(self, batch: list[dict[str, Any]]) -> None:
        rows, places, rejected = each_of(batch, self._row)
        batch_id = self.batch_id
        refused: dict[int, str] = {}
        async with self._pool.acquire(timeout=self._timeout) as conn:
            if not self._tables_ready:
                await self._prepare_tables(conn)
                self._tables_ready = True
            try:
                async with conn.transaction():
                    if self._dedupe and not await self._is_new(conn, batch_id):
                        return
                    if rows:
                        await self._copy_rows(conn, rows, 0, refused)
            except (self._asyncpg.UndefinedTableError, self._asyncpg.UndefinedColumnError):
                self._tables_ready = False  # somebody removed it
                raise
            if self._dedupe and time.monotonic() >= self._chores_at:
                self._chores_at = time.monotonic() + CHORES
                await self._forget_batches(conn)
        rejected.update({places[i]: reason for i, reason in refused.items()})
        if rejected:
            raise Partial(rejected=rejected)

    async def _forget_batches(self, conn: Any) -> None:
        """Never raises: the batch at hand is stored."""
        try:
            await conn.execute(
                f"DELETE FROM {self._sql_name('_batches')} WHERE stored < now() - interval '{FORGOTTEN}'"
            )
        except Exception:  # noqa: BLE001  (it is logged, and tried again in an hour)
            logger.exception("%s: old ids of batches could not be removed", self.table)

    # ---- rows ----

    def _row(self, event: dict[str, Any]) -> Row:
        rest = event.copy()
        ts = epoch(event.get("ts"))
        if ts is None:
            ts = time.time()
        else:
            del rest["ts"]
        row = [moment(ts), _text(rest.pop("level", "info")), _text(rest.pop("message", ""))]
        for field, convert in self._convert:
            value = rest.get(field)
            if value is not None:
                value = convert(value)
            if value is not None:
                del rest[field]
            row.append(value)
        row.append(encode(rest).decode())
        return tuple(row)

    async def _copy_rows(
        self, conn: Any, rows: list[Row], first: int, rejected: dict[int, str]
    ) -> None:
        """All rows, but for those that are refused; in a transaction."""
        try:
            async with conn.transaction():  # a savepoint: what comes before it stays
                await self._copy_all(conn, rows)
        except Exception as e:
            if not self._is_about_rows(e):
                raise
            if len(rows) == 1:
                rejected[first] = f"{type(e).__name__}: {e}"
                return
            half = len(rows) // 2
            await self._copy_rows(conn, rows[:half], first, rejected)
            await self._copy_rows(conn, rows[half:], first + half, rejected)

    async def _copy_all(self, conn: Any, rows: list[Row]) -> None:
        if not self._conflict:
            await conn.copy_records_to_table(
                self._table, schema_name=self._schema, columns=self._names, records=rows
            )
            return
        names = ", ".join(map(quoted, self._names))
        stage = "pymongoose_stage"
        await conn.execute(
            f"CREATE TEMP TABLE {stage} ON COMMIT DROP AS SELECT {names} FROM {self._sql_name()} WITH NO DATA"
        )
        await conn.copy_records_to_table(stage, columns=self._names, records=rows)
        key = ", ".join(map(quoted, self._conflict))
        await conn.execute(
            f"INSERT INTO {self._sql_name()} ({names}) SELECT {names} FROM {stage} ON CONFLICT ({key}) DO NOTHING"
        )
        await conn.execute(f"DROP TABLE {stage}")

    def _is_about_rows(self, e: Exception) -> bool:
        """Whether the rows are at fault, and not the server, the connection, the table or the rights."""
        state = getattr(e, "sqlstate", None)
        if state is None:
            # Not from the server: a value that asyncpg cannot encode.
            return isinstance(e, ValueError | TypeError | OverflowError | UnicodeError)
        return state[:2] in ("22", "23", "44") or state == "54000"

    async def _is_new(self, conn: Any, batch_id: str) -> bool:
        done = await conn.execute(
            f"INSERT INTO {self._sql_name('_batches')} (id) VALUES ($1) ON CONFLICT DO NOTHING",
            batch_id,
        )
        return bool(done != "INSERT 0 0")

    # ---- tables ----

    def _sql_name(self, behind: str = "") -> str:
        schema = "" if self._schema is None else quoted(self._schema) + "."
        return schema + quoted(self._table + behind)

    async def _prepare_tables(self, conn: Any) -> None:
        if self._create_table:
            async with conn.transaction():
                # Two who make the same table at once get errors of a kind that IF NOT EXISTS does not cover.
                await conn.execute(
                    "SELECT pg_advisory_xact_lock(hashtext($1))", f"pymongoose {self.table}"
                )
                await self._create_all(conn)
        there = {a["attname"] for a in await conn.fetch(
            "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped",
            self._sql_name(),
        )}  # fmt: skip
        if not there:
            raise LookupError(f"there is no table {self.table}; create_table=True makes it")
        missing = [name for name in self._names if name not in there]
        if missing:
            raise LookupError(f"the table {self.table} lacks the columns {', '.join(missing)}")

    async def _create_all(self, conn: Any) -> None:
        own = "".join(f", {quoted(c.name)} {c.type}" for c in self._columns)
        await conn.execute(
            f"CREATE TABLE IF NOT EXISTS {self._sql_name()} (ts timestamptz NOT NULL, level text NOT NULL, "
            f"message text NOT NULL{own}, fields jsonb NOT NULL)"
        )
        for c in self._columns:
            await conn.execute(
                f"ALTER TABLE {self._sql_name()} ADD COLUMN IF NOT EXISTS {quoted(c.name)} {c.type}"
            )
        await conn.execute(
            f"CREATE INDEX IF NOT EXISTS {quoted(self._table + '_ts')} ON {self._sql_name()} USING brin (ts)"
        )
        if self._dedupe:
            await conn.execute(
                f"CREATE TABLE IF NOT EXISTS {self._sql_name('_batches')} "
                "(id text PRIMARY KEY, stored timestamptz NOT NULL DEFAULT now())"
            )


_of_the_parent: list[Any] = []


def _text(value: Any) -> str:
    if value is None:
        return ""
    return clean(value) if isinstance(value, str) else json_text(value)
