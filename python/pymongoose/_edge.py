"""What stands between a client and a listener: compression of answers, proxies in front, the access log."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from ._core import build_info

if TYPE_CHECKING:
    from .sinks import Pipeline

TRUSTED_HEADERS = {
    "forwarded": 1,
    "x-forwarded-for": 2,
    "x-forwarded-proto": 4,
    "x-forwarded-host": 8,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Compression:
    """How a listener compresses its answers, for clients whose Accept-Encoding asks for it (RFC 9110 12.5.3).

    Answers are compressed when their Content-Type is one of ``types`` and they are not too small; those with a Content-Encoding,
    Content-Range, digest or ``no-transform`` of their own never are. ``reply(..., compress=False)`` and ``compress=True`` decide for one
    answer. An answer that carries a secret beside text which a stranger chose should say False: its length would tell (BREACH).
    """

    codings: Sequence[str] = ()
    """``"zstd"``, ``"br"``, ``"gzip"``: which, the preferred one first; empty: those three, as far as they are part of this build."""
    levels: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    """Level per coding; default: zstd 1, br 3, gzip 1, which take little time for most of the gain."""
    min_size: int = 1024
    """Bytes of a body below which it is sent as it is."""
    whole_max: int = 256 << 10
    """Bytes up to which an answer is compressed at once. Larger ones go out in chunks, 64 KiB of input in each turn of the loop."""
    types: Sequence[str] = ()
    """Media types, ``*`` for anything but a slash: ``"text/*"``. Empty: text, JSON, XML, scripts, fonts, WebAssembly and the like."""
    auto: bool = True
    """False: only answers that say ``compress=True``."""

    def __post_init__(self) -> None:
        built = build_info()["codings"]
        for name in (*self.codings, *self.levels):
            if name not in ("zstd", "br", "gzip"):
                raise ValueError(f"codings are 'zstd', 'br' and 'gzip', not {name!r}")
            if name not in built:
                raise ValueError(f"coding {name!r} is not part of this build, which has {built!r}")
        if isinstance(self.codings, str) or isinstance(self.types, str):
            raise TypeError("codings and types are sequences of strings")
        if len(set(self.codings)) < len(self.codings):
            raise ValueError(f"a coding is named twice: {self.codings!r}")
        for text in self.types:
            if not re.fullmatch(r"[!#$&^_.+*a-z0-9-]+/[!#$&^_.+*a-z0-9-]+", text):
                raise ValueError(f"{text!r} is not a media type in lower case")
        if self.min_size < 0 or self.whole_max < 0:
            raise ValueError("min_size and whole_max must be >= 0")


class Edge(NamedTuple):
    """The same, as the core wants it."""

    compress: tuple[str, tuple[int, int, int], int, int, str, bool] | None
    proxy_protocol: str
    trusted_proxies: str
    trusted_fields: int
    access_log: Pipeline | None


def edge(
    compress: Compression | bool,
    proxy_protocol: Sequence[str],
    trusted_proxies: Sequence[str],
    trusted_headers: Sequence[str],
    access_log: Pipeline | None = None,
) -> Edge | None:
    """Checked arguments of listen(); None when nothing is asked for."""
    if not (compress or proxy_protocol or trusted_proxies or access_log is not None):
        return None
    return Edge(
        _compression(compress),
        _networks("proxy_protocol", proxy_protocol),
        _networks("trusted_proxies", trusted_proxies),
        _fields(trusted_headers),
        access_log,
    )


def _compression(
    value: Compression | bool,
) -> tuple[str, tuple[int, int, int], int, int, str, bool] | None:
    if not value:
        return None
    c = Compression() if value is True else value
    if not isinstance(c, Compression):
        raise TypeError(f"compress must be a Compression or bool, not {type(value).__name__}")
    codings = c.codings or build_info()["codings"]
    if not codings:
        raise ValueError(
            "this build cannot compress: zlib, brotli and zstd were missing when it was made"
        )
    levels = (c.levels.get("zstd", 0), c.levels.get("br", 0), c.levels.get("gzip", 0))
    return ",".join(codings), levels, c.min_size, c.whole_max, ",".join(c.types), not c.auto


def _networks(name: str, value: Sequence[str]) -> str:
    if isinstance(value, str) or not all(isinstance(n, str) for n in value):
        raise TypeError(f"{name} must be a sequence of strings, as ['127.0.0.1/32']")
    if any("," in n or not n.strip() for n in value):
        raise ValueError(f"{name} has one network in each string, not {value!r}")
    return ",".join(value)


def _fields(value: Sequence[str]) -> int:
    if isinstance(value, str):
        raise TypeError("trusted_headers must be a sequence of strings")
    names = {str(n).lower() for n in value}
    if unknown := names - TRUSTED_HEADERS.keys():
        raise ValueError(f"trusted_headers may have {', '.join(TRUSTED_HEADERS)}, not {unknown!r}")
    if "forwarded" in names and len(names) > 1:
        raise ValueError(
            "trusted_headers has Forwarded beside X-Forwarded-*: a proxy sets one kind and lets the client's other kind through"
        )
    return sum(TRUSTED_HEADERS[n] for n in names)
