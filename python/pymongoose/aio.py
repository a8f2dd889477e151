"""A manager inside an asyncio loop: one thread, no hop between two.

Example::

    import asyncio
    from pymongoose import aio

    async def main():
        async with aio.Client() as client:
            answer = await client.request("GET", "http://127.0.0.1:8000/")
            print(answer.status, answer.text)

    asyncio.run(main())
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any

from ._bodies import BodyLike
from ._client import HeadersLike, Then
from ._errors import MongooseError
from ._manager import Manager
from ._response import HttpResponse
from ._tls import TlsOpts
from ._urls import Params
from ._wires import ClientLimits

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Attached", "Client", "attach"]


class Attached:
    """A manager that has its turns from an asyncio loop. Made by attach(); everything on the loop's thread.

    Handlers run on that thread, between the loop's own callbacks, and may do what those may: create tasks, set futures.
    """

    def __init__(self, mgr: Manager, loop: asyncio.AbstractEventLoop) -> None:
        self.mgr = mgr
        self.loop = loop
        self._timer: asyncio.TimerHandle | None = None
        self._soon: asyncio.Handle | None = None
        self._fd = mgr.fileno()
        if self._fd < 0:
            raise MongooseError("this system has no descriptor for a manager")
        loop.add_reader(self._fd, self.turn)
        self.turn()  # for what was done before, and so that posts of other threads are heard

    def turn(self) -> None:
        """Give the manager a turn now: for what was sent, closed or asked outside of its handlers. In a handler: no-op."""
        mgr = self.mgr
        if mgr._polling:
            return
        if mgr.closed:
            self.detach()
            return
        try:
            mgr.poll(0)
        finally:
            if self._fd >= 0:  # no handler detached it
                self._watch(mgr.timeout())

    def soon(self) -> None:
        """A turn when the loop comes to it: one for any number of calls."""
        if self._soon is None and self._fd >= 0:
            self._soon = self.loop.call_soon(self._now)

    def _now(self) -> None:
        self._soon = None
        self.turn()

    def _watch(self, seconds: float | None) -> None:
        timer = self._timer
        if seconds is None:
            self._timer = None
        else:
            at = self.loop.time() + seconds
            if timer is not None and timer.when() <= at and not timer.cancelled():
                return  # a turn too early costs less than another timer with each
            self._timer = self.loop.call_at(at, self._due)
        if timer is not None:
            timer.cancel()

    def _due(self) -> None:
        self._timer = None
        self.turn()

    def detach(self) -> None:
        """No more turns. The manager stays open. Idempotent."""
        fd, self._fd = self._fd, -1
        if fd < 0:
            return
        for handle in (self._timer, self._soon):
            if handle is not None:
                handle.cancel()
        self._timer = self._soon = None
        if not self.loop.is_closed():
            self.loop.remove_reader(fd)


def attach(mgr: Manager, loop: asyncio.AbstractEventLoop | None = None) -> Attached:
    """Let an asyncio loop give a manager its turns, until ``detach()``. Works with every loop that has add_reader(), such as uvloop's.

    Args:
        mgr: nobody else may poll it from then on.
        loop: default: the running one.

    Raises:
        NotImplementedError: the loop cannot watch descriptors.
        RuntimeError: no loop is running, and none was given.
    """
    return Attached(mgr, loop or asyncio.get_running_loop())


class Client:
    """Asks HTTP servers from an asyncio loop, on its thread: what ``Manager.request()`` does, to be awaited.

    Belongs to the loop that runs when it is made. An async context manager that closes.

    Args:
        limits: how many connections it may hold, and for how long.

    Raises:
        RuntimeError: no loop is running.
    """

    def __init__(self, limits: ClientLimits | None = None) -> None:
        loop = asyncio.get_running_loop()
        self._mgr = Manager(enable_wakeup=True, client=limits)
        try:
            self._attached = attach(self._mgr, loop)
        except BaseException:
            self._mgr.close()
            raise

    @property
    def closed(self) -> bool:
        return self._mgr.closed

    @property
    def connections(self) -> int:
        """How many are open, kept ones included."""
        return len(self._mgr.connections)

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: HeadersLike | None = None,
        body: BodyLike = None,
        json: Any = None,
        params: Params | None = None,
        auth: tuple[str, str] | None = None,
        timeout: float | None = 10.0,
        connect_timeout: float | None = None,
        read_timeout: float | None = None,
        follow_redirects: bool = True,
        allow_downgrade: bool = False,
        max_redirects: int = 10,
        on_data: Callable[[bytes], object] | None = None,
        on_head: Then | None = None,
        proxy: str | None = None,
        tls: TlsOpts | None = None,
        unix: str | None = None,
        max_body: int | None = None,
        idempotent: bool | None = None,
        raw: bool = False,
    ) -> HttpResponse:
        """Ask and wait for the response. The arguments are those of ``Manager.request()``.

        Cancelling the task closes the request's connection.

        Returns:
            HttpResponse: a status of 400 and above is a response like any other.

        Raises:
            MongooseError: there was none: what ``HttpResponse.error`` lists, or what a body source or on_data raised.
            TypeError, ValueError: a wrong argument.
            RuntimeError: the client is closed.
        """
        loop, attached = asyncio.get_running_loop(), self._attached
        if loop is not attached.loop:
            raise RuntimeError("a Client belongs to the loop it was made in")
        done: asyncio.Future[HttpResponse] = loop.create_future()

        def then(response: HttpResponse) -> None:
            if not done.done():
                done.set_result(response)

        request = self._mgr.request(
            method,
            url,
            headers=headers,
            body=body,
            json=json,
            params=params,
            auth=auth,
            timeout=timeout,
            connect_timeout=connect_timeout,
            read_timeout=read_timeout,
            follow_redirects=follow_redirects,
            allow_downgrade=allow_downgrade,
            max_redirects=max_redirects,
            on_data=on_data,
            on_head=on_head,
            then=then,
            proxy=proxy,
            tls=tls,
            unix=unix,
            max_body=max_body,
            idempotent=idempotent,
            raw=raw,
        )
        attached.turn()  # it leaves at once, not when the loop has seen that something waits
        try:
            response = await done
        except asyncio.CancelledError:
            request.cancel()
            attached.turn()
            raise
        if response.error is not None:
            raise response.error
        return response

    def close(self) -> None:
        """Close all connections; requests under way end with ConnectionClosed. On the loop's thread. Idempotent."""
        self._attached.detach()
        self._mgr.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with contextlib.suppress(MongooseError):
            self.close()
