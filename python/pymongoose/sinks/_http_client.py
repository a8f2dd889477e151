"""One HTTP client for each event loop, shared by the sinks that live there."""

from __future__ import annotations

import asyncio
import os
import weakref

from .._wires import ClientLimits
from ..aio import Client

# A request waits for its sink's one before, so a handful of connections is a lot; idle ones go before most servers close them.
LIMITS = ClientLimits(max_per_origin=64, max_idle=64, idle_timeout=15.0)


class _Shared:
    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.client = Client(LIMITS)
        self.users = 0


class Lease:
    """A sink's part of its loop's client, from start() to stop()."""

    def __init__(self, shared: _Shared) -> None:
        self._shared: _Shared | None = shared
        self._pid = os.getpid()
        self.loop = shared.loop
        self.client = shared.client
        shared.users += 1

    def release(self) -> None:
        """The last one closes the client. Idempotent."""
        shared, self._shared = self._shared, None
        if shared is None or self._pid != os.getpid():
            return
        shared.users -= 1
        if shared.users == 0:
            if _all.get(shared.loop) is shared:
                del _all[shared.loop]
            shared.client.close()


_all: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Shared] = weakref.WeakKeyDictionary()
_left_behind: list[_Shared] = []


def lease() -> Lease:
    """Take part in the running loop's client.

    Raises:
        RuntimeError: no loop is running.
    """
    loop = asyncio.get_running_loop()
    shared = _all.get(loop)
    if shared is None or shared.client.closed:
        for dead in [
            s for s in _all.values() if s.loop.is_closed()
        ]:  # nobody was left to stop its sinks
            del _all[dead.loop]
            dead.client.close()
        shared = _all[loop] = _Shared(loop)
    return Lease(shared)


def _in_child() -> None:
    """The connections are the parent's: not a byte may go out on them from here, not even a goodbye."""
    global _all
    _left_behind.extend(_all.values())
    _all = weakref.WeakKeyDictionary()


os.register_at_fork(after_in_child=_in_child)
