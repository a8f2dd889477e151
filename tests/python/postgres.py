"""Debian's PostgreSQL with a cluster of its own in a temporary folder, on a Unix socket there; not as root, which it refuses."""

from __future__ import annotations

import asyncio
import contextlib
import glob
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from conftest import DEADLINE, eventually

BIN = next(
    iter(sorted(glob.glob("/usr/lib/postgresql/*/bin"), key=lambda p: -float(p.split("/")[-2]))),
    None,
) or (os.path.dirname(shutil.which("initdb") or "") or None)


class Postgres:
    """Running from start() to stop().

    Attributes:
        dsn: of the database.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.process: subprocess.Popen[bytes] | None = None
        self.dsn = f"postgresql://tester@/postgres?host={folder}"
        self._as: dict[str, Any] = {"cwd": folder, "stdout": subprocess.DEVNULL}
        if os.getuid() == 0:
            user = pwd.getpwnam("postgres")
            os.chown(folder, user.pw_uid, user.pw_gid)
            self._as |= {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        self._run(
            "initdb",
            "-D",
            self.data,
            "-N",
            "-A",
            "trust",
            "-U",
            "tester",
            "-E",
            "UTF8",
            "--locale",
            "C",
        )
        with open(self.data / "postgresql.conf", "a") as config:
            config.write(
                f"listen_addresses = ''\nunix_socket_directories = '{folder}'\nfsync = off\n"
            )

    def _run(self, program: str, *args: str | Path) -> None:
        assert BIN is not None
        subprocess.run([f"{BIN}/{program}", *args], check=True, timeout=DEADLINE * 2, **self._as)

    def start(self) -> None:
        """Have it running and answering; right after a kill it takes more than one attempt, as long as the old one's children live."""
        eventually(self._answers)

    def _answers(self) -> bool:
        if self.process is None or self.process.poll() is not None:
            with open(self.folder / "log", "ab") as log:
                command = [f"{BIN}/postgres", "-D", self.data]
                self.process = subprocess.Popen(
                    command, **{**self._as, "stdout": log, "stderr": log}
                )
        try:
            return self.ask("SELECT 1") == [(1,)]
        except (OSError, asyncpg.PostgresError):
            return False

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """By default the server's own "fast": connections are ended, everything is written."""
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(DEADLINE)
            self.process = None

    def ask(self, query: str, *args: Any) -> list[tuple[Any, ...]]:
        """Rows of a query, over a connection of its own."""

        async def run() -> list[tuple[Any, ...]]:
            conn = await asyncpg.connect(self.dsn, timeout=DEADLINE)
            try:
                return [tuple(row) for row in await conn.fetch(query, *args)]
            finally:
                await conn.close()

        return asyncio.run(run())


@contextlib.contextmanager
def running() -> Iterator[Postgres]:
    if BIN is None:
        pytest.skip("PostgreSQL is not installed (Debian: postgresql)")
    with tempfile.TemporaryDirectory(prefix="postgres-") as folder:  # short: paths of sockets are
        it = Postgres(Path(folder))
        it.start()
        try:
            yield it
        finally:
            it.stop()
