"""Reads tests/vectors/http/*.md (see tests/vectors/README.md)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent / "vectors" / "http"
PIECE = re.compile(r"\\(?:([rnt\\])|x([0-9a-f]{2})|\{(\d+) ([^}]*)\})")
SIMPLE = {"r": "\r", "n": "\n", "t": "\t", "\\": "\\"}


def unescape(text: str) -> bytes:
    def one(m: re.Match[str]) -> str:
        return SIMPLE[m[1]] if m[1] else chr(int(m[2], 16)) if m[2] else m[4] * int(m[3])

    return PIECE.sub(one, text).encode("latin-1")


@dataclass
class Vector:
    name: str
    kind: str = ""
    data: bytes = b""
    facts: dict[str, str] = field(default_factory=dict)
    headers: list[tuple[str, str]] = field(default_factory=list)

    @property
    def expect(self) -> str:
        return self.facts["expect"]

    def fact(self, key: str) -> bytes:
        return unescape(self.facts.get(key, ""))


def read(path: Path) -> list[Vector]:
    vectors: list[Vector] = []
    block: list[str] | None = None
    for line in path.read_text("utf-8").splitlines():
        if block is not None:
            if line == "```":
                vectors[-1].data = unescape("".join(block))
                block = None
            else:
                block.append(line)
        elif line.startswith("## "):
            vectors.append(Vector(f"{path.stem}-{line[3:].strip()}"))
        elif line.startswith("```"):
            vectors[-1].kind, block = line[3:].strip(), []
        elif vectors and (m := re.match(r"- (\w+): ?(.*)$", line)):
            if m[1] == "header":
                name, _, value = m[2].partition(" =")
                vectors[-1].headers.append(
                    (unescape(name).decode("latin-1"), unescape(value[1:]).decode("latin-1"))
                )
            else:
                vectors[-1].facts[m[1]] = m[2]
    return vectors


def load(*kinds: str, expect: tuple[str, ...] = ()) -> list[Vector]:
    found = [v for path in sorted(FOLDER.glob("*.md")) for v in read(path)]
    return [v for v in found if v.kind in kinds and (not expect or v.expect in expect)]
