"""``python -m pymongoose tail FILE``: the events of a file of JSON lines, for people: filtered, readable, followed over rotations."""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import IO, Any

from ._columns import epoch
from ._encode import decode
from ._levels import level_number
from ._pretty import harmless

_TEST = re.compile(r"([^=!<>~]+?)\s*(!=|<=|>=|=|<|>|~)\s*(.*)", re.DOTALL)
_AGE = re.compile(r"(\d+(?:\.\d+)?)(s|m|h|d)")
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_LOOK = 0.1  # seconds between looks at a file that is followed

Wanted = Callable[[dict[str, Any]], bool]


def where(text: str) -> Wanted:
    """``status>=500``, ``path~^/api``, ``user.id=7``, ``level!=info``: dots go into nested fields; numbers compare as numbers.

    Raises:
        ValueError: it is none of these.
    """
    found = _TEST.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"a condition is FIELD=VALUE, !=, <, <=, >, >= or ~PATTERN, not {text!r}")
    field, operator, value = found.groups()
    if operator == "~":
        try:
            pattern = re.compile(value)
        except re.error as e:
            raise ValueError(f"{text!r}: {e}") from None
        return lambda event: pattern.search(_text(_field(event, field))) is not None
    if operator in ("=", "!="):
        return lambda event: (_text(_field(event, field)) == value) is (operator == "=")
    try:
        bound = float(value)
    except ValueError:
        raise ValueError(f"{text!r}: {value!r} is not a number") from None
    compare: dict[str, Callable[[float], bool]] = {
        "<": lambda n: n < bound,
        "<=": lambda n: n <= bound,
        ">": lambda n: n > bound,
        ">=": lambda n: n >= bound,
    }
    test = compare[operator]

    def matches(event: dict[str, Any]) -> bool:
        n = _field(event, field)
        return isinstance(n, (int, float)) and not isinstance(n, bool) and test(n)

    return matches


def _field(event: dict[str, Any], path: str) -> Any:
    if path in event:
        return event[path]
    value: Any = event
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _text(value: Any) -> str:
    if value is None:
        return ""
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else str(value)


def at_least(level: str) -> Wanted:
    """Events of that level and above; those without a level count as info. Raises ValueError for an unknown one."""
    least = level_number(level)

    def matches(event: dict[str, Any]) -> bool:
        try:
            return level_number(event.get("level", "info")) >= least
        except (TypeError, ValueError):
            return True

    return matches


def since(text: str, now: float) -> Wanted:
    """Events not older than ``90s``, ``10m``, ``2h``, ``1d``. Raises ValueError for anything else."""
    found = _AGE.fullmatch(text)
    if found is None:
        raise ValueError(f"an age is a number and s, m, h or d, as 10m, not {text!r}")
    first = now - float(found[1]) * _UNITS[found[2]]

    def matches(event: dict[str, Any]) -> bool:
        ts = epoch(event.get("ts"))
        return ts is None or ts >= first

    return matches


class Followed:
    """A file that grows, is rotated away, cut short, or not there yet; gives whole lines only."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._file: IO[bytes] | None = None
        self._rest = b""

    def lines(self) -> Iterator[bytes]:
        """What came since the last call. Of a file that was rotated away the rest comes first, then the new one's."""
        while True:
            if self._file is None:
                try:
                    self._file = open(self.path, "rb")  # noqa: SIM115  (kept open)
                except FileNotFoundError:
                    return
            yield from self._read(self._file)
            if not self._is_replaced(self._file):
                return
            yield from self._read(self._file)  # what was written between the two looks
            if self._rest:
                yield self._rest
            self.close()

    def all(self) -> Iterator[bytes]:
        """The same, and then what has no line's end."""
        yield from self.lines()
        if self._rest:
            yield self._rest

    def _read(self, file: IO[bytes]) -> Iterator[bytes]:
        if os.fstat(file.fileno()).st_size < file.tell():  # cut short, as copytruncate does
            file.seek(0)
            self._rest = b""
        while piece := file.read(1 << 16):
            *whole, self._rest = (self._rest + piece).split(b"\n")
            yield from whole

    def _is_replaced(self, file: IO[bytes]) -> bool:
        try:
            there = os.stat(self.path)
        except FileNotFoundError:
            return False
        return not os.path.samestat(there, os.fstat(file.fileno()))

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()
        self._file, self._rest = None, b""


def shown(
    lines: Iterable[bytes],
    wanted: list[Wanted],
    render: Callable[[dict[str, Any], bytes], str],
    render_text: Callable[[str], str] = str,
) -> Iterator[str]:
    """The lines that are wanted, as text. A line that is no JSON object is shown as text, unless something is asked for."""
    for line in lines:
        if not line.strip():
            continue
        try:
            event = decode(line)
        except ValueError:
            event = None
        if isinstance(event, dict):
            if all(test(event) for test in wanted):
                yield render(event, line)
        elif not wanted:
            yield render_text(line.decode("utf-8", "backslashreplace")) + "\n"


def main(argv: list[str], out: IO[str] | None = None) -> int:
    """The command. 0; 2 for a wrong argument or a file that cannot be read; 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m pymongoose tail", description=__doc__)
    parser.add_argument("file", help="JSON lines; - for standard input")
    parser.add_argument(
        "-f", "--follow", action="store_true", help="go on with what is added, over rotations"
    )
    parser.add_argument(
        "-n",
        "--lines",
        type=int,
        default=10,
        help="how many events of the end; 0: all (default 10)",
    )
    parser.add_argument("-l", "--level", help="this level and above")
    parser.add_argument(
        "-w",
        "--where",
        action="append",
        default=[],
        metavar="COND",
        help="FIELD=VALUE, !=, <, <=, >, >=, ~PATTERN; several: all of them",
    )
    parser.add_argument("-s", "--since", metavar="AGE", help="not older than 90s, 10m, 2h, 1d")
    parser.add_argument("--json", action="store_true", help="lines as they are")
    parser.add_argument(
        "--colour", choices=["auto", "always", "never"], default="auto", help="(default auto)"
    )
    args = parser.parse_args(argv)
    out = sys.stdout if out is None else out
    try:
        wanted = [where(text) for text in args.where]
        if args.level:
            wanted.append(at_least(args.level))
        if args.since:
            wanted.append(since(args.since, time.time()))
        if args.lines < 0:
            raise ValueError("--lines must not be negative")
        render = _renderer(
            args.json, args.colour == "always" or (args.colour == "auto" and out.isatty())
        )
        as_text = str if args.json else harmless
        return _tail(args.file, wanted, render, as_text, args.lines, args.follow, out)
    except (ValueError, ImportError, OSError) as e:
        if isinstance(e, BrokenPipeError):
            return 0
        print(f"pymongoose tail: {e}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _renderer(as_json: bool, colour: bool) -> Callable[[dict[str, Any], bytes], str]:
    if as_json:
        return lambda _, line: line.decode("utf-8", "backslashreplace") + "\n"
    from ._pretty import Pretty

    pretty = Pretty(colour)
    return lambda event, _: pretty.line(event)


def _tail(
    path: str,
    wanted: list[Wanted],
    render: Callable[[dict[str, Any], bytes], str],
    as_text: Callable[[str], str],
    last: int,
    follow: bool,
    out: IO[str],
) -> int:
    if path == "-":
        lines = shown(sys.stdin.buffer, wanted, render, as_text)
        for text in deque(lines, last) if last and not follow else lines:
            out.write(text)
            if follow:
                out.flush()
        out.flush()
        return 0
    if not follow and not os.path.exists(path):
        raise FileNotFoundError(f"{path} is not there")
    file = Followed(path)
    try:
        first = shown(file.lines() if follow else file.all(), wanted, render, as_text)
        for text in deque(first, last) if last else first:
            out.write(text)
        out.flush()
        while follow:
            n = 0
            for text in shown(file.lines(), wanted, render, as_text):
                out.write(text)
                n += 1
            if n:
                out.flush()
            else:
                time.sleep(_LOOK)
    finally:
        file.close()
    return 0
