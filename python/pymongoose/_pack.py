"""Files into a C program: ``python -m pymongoose pack public/ --prefix /web > packed.c``.

The C file defines mg_packed_files, which mg_fs_packed serves (mongoose/base/fs.h).
"""

from __future__ import annotations

import argparse
import gzip
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

_ROW = 24  # bytes in a line


def _files(root: Path, hidden: bool) -> Iterator[tuple[str, Path]]:
    """Name with slashes and path of each regular file, in the order of names; links and hidden files are left out."""
    for path in sorted(root.rglob("*"), key=lambda p: p.relative_to(root).as_posix()):
        parts = path.relative_to(root).parts
        if path.is_symlink() or not path.is_file():
            continue
        if hidden or not any(part.startswith(".") for part in parts):
            yield "/".join(parts), path


def _text(name: str) -> str:
    """A C string literal: printable ASCII as it is, the rest in three octal digits, which end by themselves."""
    raw = name.encode("utf-8", "surrogateescape")
    return "".join(chr(b) if 32 <= b < 127 and chr(b) not in '"\\?' else f"\\{b:03o}" for b in raw)


def _array(out: TextIO, number: int, data: bytes) -> None:
    out.write(f"static const unsigned char file{number}[] = {{\n")
    rows = (data[at : at + _ROW] for at in range(0, len(data), _ROW))
    out.writelines("  " + ",".join(map(str, row)) + ",\n" for row in rows)
    out.write("  0};\n")  # behind the end, and so that none is empty


def write_c(out: TextIO, root: Path, prefix: str, *, compress: bool, hidden: bool) -> int:
    """Write the C file; returns the number of files in it.

    Raises:
        ValueError: root is no folder, or there is nothing in it.
        OSError: a file cannot be read.
    """
    if not root.is_dir():
        raise ValueError(f"{root} is not a folder")
    rows: list[tuple[str, int, int]] = []
    out.write('/* Made by "python -m pymongoose pack". */\n#include "mongoose/base/fs.h"\n\n')
    for name, path in _files(root, hidden):
        data, mtime = path.read_bytes(), int(path.stat().st_mtime)
        variants = [(name, data)]
        if compress and len(small := gzip.compress(data, 9, mtime=0)) < len(data):
            variants.append((name + ".gz", small))
        for variant, content in variants:
            _array(out, len(rows), content)
            rows.append((f"{prefix.rstrip('/')}/{variant}", len(content), mtime))
    if not rows:
        raise ValueError(f"there are no files in {root}")
    out.write("\nconst struct mg_mem_file mg_packed_files[] = {\n")
    for number, (name, size, mtime) in enumerate(rows):
        out.write(f'  {{"{_text(name)}", file{number}, {size}, {mtime}}},\n')
    out.write("  {NULL, NULL, 0, 0}};\n")
    return len(rows)


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m pymongoose pack", description=__doc__)
    parser.add_argument("root", type=Path, help="folder")
    parser.add_argument("-o", "--output", type=Path, help="C file to write; default: stdout")
    parser.add_argument("--prefix", default="", help="what paths begin with, as /web")
    parser.add_argument("--gzip", action="store_true", help="add name.gz where that is smaller")
    parser.add_argument("--hidden", action="store_true", help="names that begin with a dot, too")
    args = parser.parse_args(argv)
    options = {"compress": args.gzip, "hidden": args.hidden}
    try:
        if args.output is None:
            write_c(sys.stdout, args.root, args.prefix, **options)
        else:
            with args.output.open("w", encoding="ascii") as out:
                write_c(out, args.root, args.prefix, **options)
    except (OSError, ValueError) as e:
        print(f"pymongoose pack: {e}", file=sys.stderr)
        return 2
    return 0
