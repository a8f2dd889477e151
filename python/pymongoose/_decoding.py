"""Content codings of responses undone, in bounded steps (RFC 9110 8.4).

A few bytes can stand for gigabytes. So no step makes more than some hundred kilobytes, and who expands beyond reason is refused.
"""

from __future__ import annotations

import importlib
import zlib
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from ._errors import ProtocolError, TooBig

STEP = 256 * 1024
BITE = (
    16 * 1024
)  # of input at a time: what a step leaves over is copied, and there are steps that eat 20 bytes
RATIO = 250  # text that repeats itself stays below; what is made to explode does not
RATIO_FROM = 8 << 20  # bytes of output from which the ratio counts


class _Coding(Protocol):
    def feed(self, data: bytes) -> Iterator[bytes]: ...
    @property
    def done(self) -> bool: ...


class _Zlib:
    """gzip, in any number of members (RFC 1952 2.2), and deflate, with the header it should have or without."""

    def __init__(self, wbits: int) -> None:
        self._wbits = wbits
        self._z = zlib.decompressobj(wbits)
        self._began = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        while data:
            if self._z.eof:
                if self._wbits < zlib.MAX_WBITS + 16 or not data.strip(b"\0"):
                    return  # padding behind the end
                self._z = zlib.decompressobj(self._wbits)
            try:
                out = self._z.decompress(data, STEP)
            except zlib.error:
                if self._began or self._wbits != zlib.MAX_WBITS:
                    raise
                self._z = zlib.decompressobj(-zlib.MAX_WBITS)  # "deflate" without the zlib header
                out = self._z.decompress(data, STEP)
            self._began = True
            data = self._z.unconsumed_tail or self._z.unused_data
            if out:
                yield out
        while not self._z.eof and (out := self._z.decompress(b"", STEP)):
            yield out

    @property
    def done(self) -> bool:
        return self._z.eof or not self._began


class _Brotli:
    def __init__(self, module: Any) -> None:
        self._d = module.Decompressor()

    def feed(self, data: bytes) -> Iterator[bytes]:
        out = self._d.process(data, output_buffer_limit=STEP)
        while out:
            yield out
            out = self._d.process(b"", output_buffer_limit=STEP)

    @property
    def done(self) -> bool:
        return bool(self._d.is_finished())


class _Zstd:
    """compression.zstd of Python 3.14 and its backport."""

    def __init__(self, module: Any) -> None:
        self._make = module.ZstdDecompressor
        self._d = self._make()

    def feed(self, data: bytes) -> Iterator[bytes]:
        while True:
            if self._d.eof:
                if not data:
                    return
                self._d = self._make()
            if out := self._d.decompress(data, STEP):
                yield out
            data = self._d.unused_data if self._d.eof else b""
            if not data and (self._d.eof or self._d.needs_input):
                return

    @property
    def done(self) -> bool:
        return bool(self._d.eof)


class _Zstandard:
    """The package of that name gives out as much as comes, so it gets little at a time."""

    def __init__(self, module: Any) -> None:
        self._d = module.ZstdDecompressor(max_window_size=8 << 20).decompressobj()

    def feed(self, data: bytes) -> Iterator[bytes]:
        for at in range(0, len(data), 512):
            if self._d.eof:
                return
            if out := self._d.decompress(data[at : at + 512]):
                yield out

    @property
    def done(self) -> bool:
        return bool(self._d.eof)


def _found() -> dict[str, Callable[[], _Coding]]:
    makers: dict[str, Callable[[], _Coding]] = {
        "gzip": lambda: _Zlib(zlib.MAX_WBITS + 16),
        "deflate": lambda: _Zlib(zlib.MAX_WBITS),
    }
    for name in ("brotli", "brotlicffi"):
        try:
            module = importlib.import_module(name)
            module.Decompressor().process(b"", output_buffer_limit=STEP)
        except Exception:  # noqa: BLE001, S112  (not there, or without a bound for its output)
            continue
        makers["br"] = lambda module=module: _Brotli(module)  # type: ignore[misc]
        break
    for name, kind in (
        ("compression.zstd", _Zstd),
        ("backports.zstd", _Zstd),
        ("zstandard", _Zstandard),
    ):
        try:
            module = importlib.import_module(name)
        except ImportError:
            continue
        makers["zstd"] = lambda module=module, kind=kind: kind(module)  # type: ignore[misc]
        break
    return makers


MAKERS = _found()
ACCEPT_ENCODING = ", ".join(MAKERS)


class Decoder:
    """The codings of one response, the last applied first.

    Args:
        codings: value of the Content-Encoding field.
        max_body: bytes of the decoded body, 0: no bound.
    """

    def __init__(self, codings: list[str], max_body: int) -> None:
        self._chain = [MAKERS[name]() for name in reversed(codings)]
        self._max = max_body
        self._in = 0
        self._out = [0] * len(codings)  # what came out of each coding

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Decoded pieces of the next bytes.

        Raises:
            ProtocolError: they are not what the header says.
            TooBig: the body exceeds max_body, or expands like nothing that is meant to be read.
        """
        self._in += len(data)
        try:
            yield from self._run(data, 0)
        except TooBig:
            raise
        except Exception as exc:
            raise ProtocolError(f"response body cannot be decoded: {exc}") from exc

    def _run(self, data: bytes, level: int) -> Iterator[bytes]:
        if level == len(self._chain):
            yield data
            return
        for at in range(0, len(data), BITE):
            for piece in self._chain[level].feed(data[at : at + BITE]):
                self._count(level, len(piece))
                yield from self._run(piece, level + 1)

    def _count(self, level: int, n: int) -> None:
        """At every level: the last coding may swallow what the others blew up."""
        self._out[level] += n
        out = self._out[level]
        if self._max and out > self._max:
            raise TooBig(f"response body is larger than {self._max} bytes when decoded")
        if out > RATIO_FROM and out > RATIO * self._in:
            raise TooBig(f"response body expands more than {RATIO}:1")

    def end(self) -> None:
        """Raises ProtocolError when something is missing."""
        if self._in and not all(coding.done for coding in self._chain):
            raise ProtocolError("response body ends in the middle of its compressed data")


def decoder_for(content_encoding: str | None, max_body: int) -> Decoder | None:
    """None when there is nothing to undo, or a coding nobody here knows: then the body is given as it is."""
    names = [n.strip().lower().removeprefix("x-") for n in (content_encoding or "").split(",")]
    names = [n for n in names if n not in ("", "identity")]
    if not names or len(names) > 4 or any(n not in MAKERS for n in names):
        return None
    return Decoder(names, max_body)
