"""When to send again, and when to stop trying for a while."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

BreakerState: TypeAlias = Literal["closed", "open", "half_open"]


@dataclass(frozen=True, slots=True)
class Retry:
    """Exponential backoff with full jitter: before the n-th repetition a sink waits between 0 and ``min(cap, base * 2**(n-1))`` seconds.

    A receiver that names a time itself (RetryLater) is not asked before.
    """

    attempts: int | None = None
    """How often a batch is sent at most; None: until it is delivered, or the sink is stopped."""
    base: float = 0.5
    """Seconds."""
    cap: float = 30.0
    """Seconds."""
    max_elapsed: float | None = None
    """Seconds after the first failure until a batch is given up; None: no bound."""

    def __post_init__(self) -> None:
        if self.attempts is not None and self.attempts < 1:
            raise ValueError(f"attempts must be at least 1 or None, not {self.attempts!r}")
        if self.base < 0 or self.cap < 0:
            raise ValueError("base and cap must not be negative")
        if self.max_elapsed is not None and self.max_elapsed < 0:
            raise ValueError(f"max_elapsed must not be negative, not {self.max_elapsed!r}")

    def delay(self, failures: int, draw: Callable[[], float] = random.random) -> float:
        """Seconds to wait after so many failures (1, 2, …)."""
        return draw() * min(self.cap, self.base * 2.0 ** min(failures - 1, 60))

    def is_over(self, failures: int, elapsed: float) -> bool:
        """Whether a batch is given up after so many failures and seconds."""
        if self.attempts is not None and failures >= self.attempts:
            return True
        return self.max_elapsed is not None and elapsed >= self.max_elapsed


@dataclass(frozen=True, slots=True)
class Breaker:
    """After ``failures`` sends in a row that failed nothing is sent for ``reset`` seconds; then one batch is the probe: when it fails, too, the pause
    begins anew, and when it is acknowledged (or rejected, which is an answer) all is well again."""

    failures: int = 5
    reset: float = 10.0
    """Seconds."""

    def __post_init__(self) -> None:
        if self.failures < 1:
            raise ValueError(f"failures must be at least 1, not {self.failures!r}")
        if self.reset < 0:
            raise ValueError(f"reset must not be negative, not {self.reset!r}")


class Circuit:
    """The state of one sink's breaker. Seconds are those of a clock that only goes forward."""

    def __init__(self, rule: Breaker, clock: Callable[[], float] = time.monotonic) -> None:
        self._rule, self._clock = rule, clock
        self._failed = 0
        self._opened: float | None = None

    @property
    def state(self) -> BreakerState:
        if self._opened is None:
            return "closed"
        return "half_open" if self._clock() - self._opened >= self._rule.reset else "open"

    def wait(self) -> float:
        """Seconds until something may be sent; 0: now."""
        if self._opened is None:
            return 0.0
        return max(0.0, self._opened + self._rule.reset - self._clock())

    def failed(self) -> None:
        self._failed += 1
        if self._failed >= self._rule.failures:
            self._opened = self._clock()

    def answered(self) -> None:
        self._failed = 0
        self._opened = None
