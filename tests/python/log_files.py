"""Reading what RotatingFileSink wrote, in whatever files it is by now."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path
from typing import Any

import zstandard
from conftest import DEADLINE

from pymongoose.sinks import Pipeline, RotatingFileSink


def text_of(path: Path) -> bytes:
    """What a log or a rotated one holds, unpacked."""
    data = path.read_bytes()
    if path.suffix == ".gz":
        return gzip.decompress(data)
    if path.suffix == ".zst":
        return zstandard.ZstdDecompressor().stream_reader(io.BytesIO(data)).read()
    return data


def files(folder: Path) -> list[Path]:
    """Rotated files, oldest first, and the log itself behind them."""
    rotated = sorted(
        p for p in folder.iterdir() if p.name != "e.jsonl" and not p.name.endswith(".tmp")
    )
    return rotated + ([folder / "e.jsonl"] if (folder / "e.jsonl").exists() else [])


def events(folder: Path) -> list[dict[str, Any]]:
    """All events in the order of the files; every line must be whole."""
    found = []
    for path in files(folder):
        data = text_of(path)
        assert not data or data.endswith(b"\n"), path
        found += [json.loads(line) for line in data.splitlines()]
    return found


def numbers(folder: Path) -> list[int]:
    return [e["n"] for e in events(folder)]


def emit(sink: RotatingFileSink, *ns: int, **fields: Any) -> None:
    """Each number in a batch of its own."""
    with Pipeline([sink]) as log:
        for n in ns:
            assert log.emit("m", n=n, **fields)
            assert log.flush(DEADLINE)
