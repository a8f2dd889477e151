"""Trace context as the W3C recommendation has it: the header ``traceparent``."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass, replace
from typing import Final

_TRACEPARENT: Final = re.compile(
    r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.DOTALL
)


@dataclass(frozen=True, slots=True)
class TraceParent:
    """One span's place in a trace."""

    trace_id: str
    """32 hexadecimal digits, not all zero."""
    span_id: str
    """16 hexadecimal digits, not all zero: the span that is the parent of what it is handed to."""
    flags: int = 1
    """Bit 0: the caller records this trace."""

    @classmethod
    def parse(cls, header: str | None) -> TraceParent | None:
        """What a header says; None when there is none or it is not valid (W3C Trace Context 2.2.2: then a new trace begins)."""
        found = _TRACEPARENT.fullmatch(header.strip()) if header else None
        if found is None:
            return None
        version, trace, span, flags, more = found.groups()
        if (
            version == "ff"
            or (version == "00" and more)
            or not trace.strip("0")
            or not span.strip("0")
        ):
            return None
        return cls(trace, span, int(flags, 16))

    @classmethod
    def new(cls) -> TraceParent:
        """A trace of our own."""
        return cls(secrets.token_hex(16), secrets.token_hex(8))

    def child(self) -> TraceParent:
        """A new span in the same trace."""
        return replace(self, span_id=secrets.token_hex(8))

    def __str__(self) -> str:
        return f"00-{self.trace_id}-{self.span_id}-{self.flags & 1:02x}"
