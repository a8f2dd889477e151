"""Where the C library of this package is, for build systems: ``python -m pymongoose --cmake-dir``.

``python -m pymongoose pack --help``: files into a C program. ``python -m pymongoose tail --help``: events of a log file.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

from . import __version__, _pack, build_info

HOME = Path(__file__).parent


class Missing(Exception):
    """This installation carries no C library; the text says what was looked for."""


def _place(*parts: str) -> str:
    path = HOME.joinpath(*parts)
    if not path.exists():
        raise Missing(
            f"{path} is not there: this installation has no headers and no library. Install a wheel, or build with PYMONGOOSE_INSTALL=ON."
        )
    return str(path.parent if path.is_file() else path)


def _pc(field: str) -> list[str]:
    """The words of a field of mongoose.pc, which knows what else this build is made of."""
    text = Path(_place("lib", "pkgconfig"), "mongoose.pc").read_text("utf-8")
    lines = [line for line in text.splitlines() if line.startswith(f"{field}:")]
    return lines[0].partition(":")[2].replace(",", " ").split() if lines else []


def _includes() -> str:
    defines = [word for word in _pc("Cflags") if word.startswith("-D")]
    return " ".join([f"-I{_place('include', 'mongoose.h')}", *defines])


def _libs() -> str:
    own = [word for word in _pc("Libs") if not word.startswith("-L")]
    required = [
        f"-l{word.removeprefix('lib')}" for word in _pc("Requires") if word.startswith("lib")
    ]
    return " ".join([f"-L{_place('lib', 'libmongoose.a')}", *own, *required])


ANSWERS: dict[str, tuple[str, Callable[[], str]]] = {
    "version": ("version of this package", lambda: __version__),
    "cmake-dir": (
        "folder of the CMake package: -Dpymongoose_DIR=…",
        lambda: _place("share", "cmake", "pymongoose"),
    ),
    "includes": ("compiler flags", _includes),
    "libs": ("linker flags", _libs),
    "pkgconfig-dir": (
        "folder of mongoose.pc: PKG_CONFIG_PATH=…",
        lambda: _place("lib", "pkgconfig"),
    ),
    "build-info": ("what this build is made of, as JSON", lambda: json.dumps(build_info())),
}


def main(argv: list[str] | None = None) -> int:
    argv = sys.argv[1:] if argv is None else argv
    if argv[:1] == ["pack"]:
        return _pack.main(argv[1:])
    if argv[:1] == ["tail"]:
        from .sinks import _tail  # sinks are not loaded for the rest

        return _tail.main(argv[1:])
    parser = argparse.ArgumentParser(prog="python -m pymongoose", description=__doc__)
    choices = parser.add_mutually_exclusive_group(required=True)
    for name, (text, _) in ANSWERS.items():
        choices.add_argument(f"--{name}", dest="what", action="store_const", const=name, help=text)
    what = parser.parse_args(argv).what
    try:
        print(ANSWERS[what][1]())
    except Missing as e:
        print(f"pymongoose: {e}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
