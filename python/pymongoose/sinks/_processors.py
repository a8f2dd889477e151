"""Processors: plain callables that see every event before the sinks do.

A processor takes an event and returns it, changed in place or not, or None: then the event goes no further and is counted as filtered.
They run one after the other on the pipeline's worker thread (in durable pipelines on the caller's), so none needs a lock of its own
there; those that keep state hold one, because a durable pipeline calls them from many threads. Redaction has a file of its own.
"""

from __future__ import annotations

import random
import threading
import time
import zlib
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from typing import Any, TypeAlias

from ._encode import represented, shown
from ._levels import level_number

Event: TypeAlias = dict[str, Any]
Processor: TypeAlias = Callable[[Event], Event | None]


class Enrich:
    """Add fields to every event: ``Enrich(service="shop", version="1.4", host=socket.gethostname())``.

    Args:
        fields: values, or functions without arguments that are called for each event. They run where processors run: what belongs to the
            request or task that emits goes into ``bind()`` instead.
        overwrite: replace a field that the event has already.
    """

    def __init__(self, *, overwrite: bool = False, **fields: Any) -> None:
        self._fixed = {k: v for k, v in fields.items() if not callable(v)}
        self._made = {k: v for k, v in fields.items() if callable(v)}
        self._overwrite = overwrite

    def __call__(self, event: Event) -> Event:
        for name, value in self._fixed.items():
            if self._overwrite or name not in event:
                event[name] = value
        for name, make in self._made.items():
            if self._overwrite or name not in event:
                event[name] = make()
        return event


class Sample:
    """Let a share of the events through.

    Args:
        rate: 0.0 to 1.0.
        by: a field: events with the same value share one fate, so that a trace is kept whole or not at all; without it, and for events
            that lack the field, chance decides.
        keep: events of this level and above always pass.
        mark: add ``sample_rate`` to those that were drawn, so that counts can be made good.
        seed: for chance that can be repeated.

    Raises:
        ValueError: rate is not in [0, 1]; unknown level.
    """

    def __init__(
        self,
        rate: float,
        *,
        by: str | None = None,
        keep: str | int = "warning",
        mark: bool = True,
        seed: int | None = None,
    ) -> None:
        if not 0.0 <= rate <= 1.0:
            raise ValueError(f"rate must be between 0 and 1, not {rate!r}")
        self.rate = rate
        self._by, self._mark, self._keep = by, mark, level_number(keep)
        self._draw = random.Random(seed).random

    def __call__(self, event: Event) -> Event | None:
        if level_number(event["level"]) >= self._keep:
            return event
        key = None if self._by is None else event.get(self._by)
        if key is None:
            drawn = self._draw()
        else:
            drawn = zlib.crc32(str(key).encode("utf-8", "surrogatepass")) / 0x1_0000_0000
        if drawn >= self.rate:
            return None
        if self._mark and self.rate < 1.0:
            event["sample_rate"] = self.rate
        return event


def _key_of(by: Iterable[str]) -> Callable[[Event], Hashable]:
    names = (by,) if isinstance(by, str) else tuple(by)

    def key(event: Event) -> Hashable:
        return tuple([str(event.get(name)) for name in names])

    return key


class RateLimit:
    """At most so many events a second for each key: a token bucket. The first that passes again says how many did not: ``suppressed``.

    Args:
        per_second: how fast the bucket fills.
        burst: how many it holds; default: one second's worth, at least 1.
        by: the fields that make the key.
        max_keys: buckets remembered; the longest unused is forgotten first.
        clock: seconds that only go forward.

    Raises:
        ValueError: a rate, burst or number of keys that is not positive.
    """

    def __init__(
        self,
        per_second: float,
        *,
        burst: float | None = None,
        by: Iterable[str] = ("level", "message"),
        max_keys: int = 10_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if per_second <= 0:
            raise ValueError(f"per_second must be positive, not {per_second!r}")
        if burst is not None and burst < 1:
            raise ValueError(f"burst must be at least 1, not {burst!r}")
        if max_keys < 1:
            raise ValueError(f"max_keys must be at least 1, not {max_keys!r}")
        self._rate = per_second
        self._burst = max(1.0, per_second) if burst is None else float(burst)
        self._key, self._max_keys, self._clock = _key_of(by), max_keys, clock
        self._lock = threading.Lock()
        self._buckets: OrderedDict[Hashable, list[float]] = (
            OrderedDict()
        )  # tokens, when, suppressed

    def __call__(self, event: Event) -> Event | None:
        key, now = self._key(event), self._clock()
        with self._lock:
            bucket = self._buckets.get(key)
            if bucket is None:
                bucket = self._buckets[key] = [self._burst, now, 0]
                if len(self._buckets) > self._max_keys:
                    self._buckets.popitem(last=False)
            self._buckets.move_to_end(key)
            bucket[0] = min(self._burst, bucket[0] + (now - bucket[1]) * self._rate)
            bucket[1] = now
            if bucket[0] < 1.0:
                bucket[2] += 1
                return None
            bucket[0] -= 1.0
            suppressed, bucket[2] = bucket[2], 0
        if suppressed:
            event["suppressed"] = int(suppressed)
        return event


class Dedupe:
    """Let an event through once in a while: repetitions within the window are filtered, and the next one after it says how many: ``repeated``.

    Args:
        window: seconds from the one that passed.
        by: the fields that make two events the same.
        keep: events of this level and above always pass.
        max_keys: events remembered; the longest unseen is forgotten first.
        clock: seconds that only go forward.

    Raises:
        ValueError: a window or number of keys that is not positive; unknown level.
    """

    def __init__(
        self,
        window: float = 5.0,
        *,
        by: Iterable[str] = ("level", "message"),
        keep: str | int = "critical",
        max_keys: int = 10_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if window <= 0:
            raise ValueError(f"window must be positive, not {window!r}")
        if max_keys < 1:
            raise ValueError(f"max_keys must be at least 1, not {max_keys!r}")
        self._window, self._key, self._keep = window, _key_of(by), level_number(keep)
        self._max_keys, self._clock = max_keys, clock
        self._lock = threading.Lock()
        self._seen: OrderedDict[Hashable, list[float]] = OrderedDict()  # when it passed, since then

    def __call__(self, event: Event) -> Event | None:
        if level_number(event["level"]) >= self._keep:
            return event
        key, now = self._key(event), self._clock()
        with self._lock:
            seen = self._seen.get(key)
            if seen is not None and now - seen[0] < self._window:
                seen[1] += 1
                self._seen.move_to_end(key)
                return None
            repeated = 0 if seen is None else int(seen[1])
            self._seen[key] = [now, 0]
            self._seen.move_to_end(key)
            if len(self._seen) > self._max_keys:
                self._seen.popitem(last=False)
        if repeated:
            event["repeated"] = repeated
        return event


class Truncate:
    """Cut what is too large, and say that it was cut.

    Args:
        max_string: characters of a string; it then ends in ``…(+N)``, N being how many are missing.
        max_items: entries of a list or dict; a list then ends in ``"…(+N)"``, a dict has a key ``"…"`` with that text.
        max_depth: levels of nesting; what lies deeper is its ``repr``, cut to max_string.

    Raises:
        ValueError: a bound below 1.
    """

    def __init__(
        self, max_string: int = 8192, *, max_items: int = 256, max_depth: int = 16
    ) -> None:
        for name, bound in (
            ("max_string", max_string),
            ("max_items", max_items),
            ("max_depth", max_depth),
        ):
            if bound < 1:
                raise ValueError(f"{name} must be at least 1, not {bound!r}")
        self._string, self._items, self._depth = max_string, max_items, max_depth

    def __call__(self, event: Event) -> Event:
        for name, value in event.items():
            kind = type(value)
            if kind is str:
                if len(value) > self._string:
                    event[name] = self._cut(value)
            elif kind not in (int, float, bool, type(None)):
                event[name] = self._shorten(value, self._depth)
        return event

    def _cut(self, text: str) -> str:
        return f"{text[: self._string]}…(+{len(text) - self._string})"

    def _shorten(self, value: Any, depth: int, above: tuple[int, ...] = ()) -> Any:
        if isinstance(value, str):
            return self._cut(value) if len(value) > self._string else value
        if isinstance(value, (bool, int, float)) or value is None:
            return value
        if isinstance(value, (bytes, bytearray)):
            return self._shorten(bytes(value).decode("utf-8", "backslashreplace"), depth)
        if isinstance(value, (dict, list, tuple, set, frozenset)):
            if id(value) in above:  # it is in itself
                return "…"
            if depth == 0:
                return self._shorten(represented(value), 0)
            inside = (*above, id(value))
            missing = len(value) - self._items
            if isinstance(value, dict):
                pairs = list(value.items())[: self._items]
                out = {k: self._shorten(v, depth - 1, inside) for k, v in pairs}
                if missing > 0:
                    out["…"] = f"…(+{missing})"
                return out
            listed = [*value][: self._items]
            items = [self._shorten(v, depth - 1, inside) for v in listed]
            return [*items, f"…(+{missing})"] if missing > 0 else items
        text = shown(value)
        return self._cut(text) if len(text) > self._string else value
