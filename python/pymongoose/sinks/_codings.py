"""Bodies made smaller: gzip from the standard library, zstd from wherever it is."""

from __future__ import annotations

import importlib
import zlib
from collections.abc import Callable
from typing import Literal, TypeAlias

Coding: TypeAlias = Literal["gzip", "zstd"]

GZIP_LEVEL, ZSTD_LEVEL = 3, 3  # lines of logs are so alike that more work hardly makes them smaller


def compressor(coding: Coding | None, level: int | None) -> Callable[[bytes], bytes] | None:
    """What makes a whole body smaller; None for None.

    Raises:
        ValueError: another coding, or a level it does not have.
        ModuleNotFoundError: zstd, and no package has it.
    """
    if coding is None:
        return None
    if coding == "gzip":
        return _gzip(GZIP_LEVEL if level is None else level)
    if coding == "zstd":
        return _zstd(ZSTD_LEVEL if level is None else level)
    raise ValueError(f"compress must be 'gzip', 'zstd' or None, not {coding!r}")


def _gzip(level: int) -> Callable[[bytes], bytes]:
    if not 1 <= level <= 9:
        raise ValueError(f"compress_level of gzip must be 1 to 9, not {level!r}")

    def compress(body: bytes) -> bytes:
        z = zlib.compressobj(level, zlib.DEFLATED, zlib.MAX_WBITS + 16)
        return z.compress(body) + z.flush()

    return compress


def _zstd(level: int) -> Callable[[bytes], bytes]:
    if not 1 <= level <= 19:
        raise ValueError(f"compress_level of zstd must be 1 to 19, not {level!r}")
    for name in ("compression.zstd", "backports.zstd"):
        try:
            module = importlib.import_module(name)
        except ModuleNotFoundError:
            continue
        return lambda body: bytes(module.compress(body, level))
    try:
        zstandard = importlib.import_module("zstandard")
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            "compress='zstd' needs Python 3.14, or the package zstandard or backports.zstd",
            name="zstandard",
        ) from None
    made = zstandard.ZstdCompressor(level=level)
    return lambda body: bytes(made.compress(body))
