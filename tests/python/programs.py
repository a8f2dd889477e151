"""Start a program that serves, learn its address from its first line, stop it by SIGTERM, and look whether it complained."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parents[2]
DEADLINE = 30.0


@dataclass
class Program:
    url: str

    @property
    def address(self) -> tuple[str, int]:
        parts = urlsplit(self.url)
        assert parts.hostname is not None
        assert parts.port is not None
        return parts.hostname, parts.port

    def ask(
        self, method: str, path: str, body: bytes | None = None
    ) -> tuple[int, bytes, http.client.HTTPMessage]:
        """One request on a connection of its own."""
        with contextlib.closing(http.client.HTTPConnection(*self.address, timeout=DEADLINE)) as c:
            c.request(method, path, body)
            answer = c.getresponse()
            return answer.status, answer.read(), answer.headers

    def get(self, path: str = "/") -> bytes:
        status, body, _ = self.ask("GET", path)
        assert status == 200, (status, body)
        return body


@contextlib.contextmanager
def serving(*command: str | os.PathLike[str], complaint: str = "") -> Iterator[Program]:
    """Run `command`; at the end it must exit with 0, and say nothing on stderr but `complaint`."""
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors) as process,
    ):
        try:
            assert process.stdout is not None
            line = process.stdout.readline().decode().strip()
            if "://" not in line:
                process.wait(DEADLINE)
                errors.seek(0)
                raise AssertionError(f"{command} does not serve: {line!r} {errors.read().decode()}")
            yield Program(line)
            process.send_signal(signal.SIGTERM)
            code = process.wait(DEADLINE)
        finally:
            process.kill()
        errors.seek(0)
        assert errors.read().decode().strip() == complaint
        assert code == 0


@contextlib.contextmanager
def example(name: str, *args: str | os.PathLike[str], complaint: str = "") -> Iterator[Program]:
    """examples/<name> on a free port."""
    command = (sys.executable, ROOT / "examples" / name, "--port", "0", *args)
    with serving(*command, complaint=complaint) as program:
        yield program


def run(*command: str | os.PathLike[str], **options: object) -> str:
    """What a command prints; an error shows everything it said."""
    done = subprocess.run(command, check=False, capture_output=True, text=True, **options)  # type: ignore[call-overload]
    assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return str(done.stdout).strip()
