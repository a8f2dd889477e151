"""What wakes the task that sends: a batch that is due, an event that came, a flush, the end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ._bell import Bell
from ._spool import Spool


class Alarm:
    """Sleeps until a batch is due.

    Args:
        wait: seconds until then; 0: now; None: there is nothing.
    """

    def __init__(self, wait: Callable[[], float | None]) -> None:
        self._wait = wait
        self._loop: asyncio.AbstractEventLoop | None = None
        self._bell = Bell()
        self.ring = self._bell.ring
        self._timed = False  # the sleeper wakes by itself when a batch is due
        self._calling = False  # another thread's ring is under way

    def start(self) -> None:
        """From now on it belongs to the running loop; what was under way to another one is forgotten."""
        self._loop = asyncio.get_running_loop()
        self._calling = False

    @property
    def is_set(self) -> bool:
        """Somebody sleeps."""
        return self._bell.is_set

    def ring_if_due(self) -> None:
        self._calling = False
        wait = self._wait()
        if wait == 0.0 or (wait is not None and not self._timed):
            self.ring()  # now, or to sleep until then: a timer that runs is for the oldest event, so it is early enough

    def call(self, is_full: Callable[[], bool]) -> None:
        """Something came, perhaps a whole batch. Any thread."""
        loop = self._loop
        if (
            not self._bell.is_set
            or self._calling
            or loop is None
            or (self._timed and not is_full())
        ):
            return  # it is awake, or wakes by itself in time
        if loop is asyncio._get_running_loop():
            self.ring_if_due()
            return
        self._calling = True
        try:
            loop.call_soon_threadsafe(self.ring_if_due)
        except RuntimeError:  # the loop is closed: a later process sends it
            self._calling = False

    async def until_due(self, ends: Callable[[], bool], spool: Spool | None) -> None:
        """Return when a batch is due, or when there is nothing and all ends. Meanwhile look what processes that died have left in the spool."""
        while True:
            self._timed = False
            self._bell.set()  # first: whoever appends after this rings
            wait = self._wait()
            if wait == 0.0 or (wait is None and ends()):
                self._bell.put_away()
                return
            self._timed = wait is not None
            if wait is None and spool is not None:
                wait = spool.look() + 0.001
                if spool.events:
                    continue
            await self._bell.rest(wait)
