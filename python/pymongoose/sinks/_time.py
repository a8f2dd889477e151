"""When an event happened, as receivers want it."""

from __future__ import annotations

import datetime
import time

_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
_END = 1 << 63  # as far as receivers count: the year 2262


def nanoseconds(ts: object) -> int:
    """An event's ``ts`` in nanoseconds since 1970: a number of seconds, a datetime, or text in ISO 8601. Without any of these: now.

    Floating point has about a quarter of a microsecond here, so the microsecond is what is kept of it.
    """
    ns = -1
    try:
        if isinstance(ts, str):
            ts = _parsed(ts)
        if isinstance(ts, float):
            ns = int(round(ts * 1e6) * 1000)
        elif isinstance(ts, datetime.datetime):
            if ts.tzinfo is None:
                ts = ts.astimezone()
            ns = (ts - _EPOCH) // datetime.timedelta(microseconds=1) * 1000
        elif isinstance(ts, int) and not isinstance(ts, bool):
            ns = int(ts) * 1_000_000_000
    except (ValueError, OverflowError):  # not a number; nothing that anybody wrote on purpose
        pass
    return ns if 0 < ns < _END else time.time_ns()


def _parsed(text: str) -> datetime.datetime | float:
    text = text.strip()
    try:
        return float(text)
    except ValueError:
        return datetime.datetime.fromisoformat(
            text[:-1] + "+00:00" if text.endswith(("Z", "z")) else text
        )


_second: tuple[int, str] = (
    0,
    "1970-01-01T00:00:00",
)  # the last one written: others of its time follow


def iso(ns: int) -> str:
    """In ISO 8601, UTC, to the microsecond."""
    global _second
    seconds, rest = divmod(ns, 1_000_000_000)
    of, text = _second
    if of != seconds:
        text = (_EPOCH + datetime.timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")
        _second = seconds, text
    return f"{text}.{rest // 1000:06d}Z"
