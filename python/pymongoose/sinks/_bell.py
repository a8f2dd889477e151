"""One sleeper on a loop, and those who wake it."""

from __future__ import annotations

import asyncio


class Bell:
    """Belongs to one task; everything on its loop's thread."""

    __slots__ = ("_future",)

    def __init__(self) -> None:
        self._future: asyncio.Future[None] | None = None

    @property
    def is_set(self) -> bool:
        """Somebody sleeps, or is about to."""
        return self._future is not None

    def set(self) -> None:
        """From now on it can be rung: the next rest() is over at once then."""
        self._future = asyncio.get_running_loop().create_future()

    def put_away(self) -> None:
        self._future = None

    def ring(self) -> None:
        if self._future is not None and not self._future.done():
            self._future.set_result(None)

    async def rest(self, seconds: float | None) -> None:
        """Sleep until it rings, or for so long; None: until it rings."""
        if self._future is None:
            self.set()
        assert self._future is not None
        timer = None
        if seconds is not None:
            timer = asyncio.get_running_loop().call_later(seconds, self.ring)
        try:
            await self._future
        finally:
            self._future = None
            if timer is not None:
                timer.cancel()
