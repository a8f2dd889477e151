"""pymongoose.aio: a manager that has its turns from an asyncio loop, and the client built on it; servers are aiohttp's and raw sockets."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from conftest import DEADLINE

from pymongoose import (
    MG_EV_HTTP_MSG,
    ClientLimits,
    ConnectionClosed,
    Manager,
    TimedOut,
    TooBig,
    aio,
)

Page = Callable[[web.Request], Awaitable[web.StreamResponse]]


@contextlib.asynccontextmanager
async def site(page: Page) -> AsyncIterator[tuple[str, list[Any]]]:
    """aiohttp answering every path with page; its URL and the transports it accepted."""
    accepted: list[Any] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.transport not in accepted:
            accepted.append(request.transport)
        return await page(request)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    place = web.TCPSite(runner, "127.0.0.1", 0)
    await place.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}", accepted
    finally:
        await runner.cleanup()


async def echo(request: web.Request) -> web.StreamResponse:
    return web.Response(body=await request.read(), headers={"X-Method": request.method})


def run(main: Awaitable[Any]) -> None:
    async def bounded() -> None:
        await asyncio.wait_for(main, DEADLINE)

    asyncio.run(bounded())


def test_requests_one_after_the_other_share_a_connection() -> None:
    async def main() -> None:
        async with site(echo) as (url, accepted), aio.Client() as client:
            for i in range(20):
                answer = await client.request("POST", url, body=f"number {i}")
                assert (answer.status, answer.text) == (200, f"number {i}")
            assert len(accepted) == 1
            assert client.connections == 1

    run(main())


def test_a_large_body_goes_out_and_comes_back() -> None:
    async def main() -> None:
        async with site(echo) as (url, _), aio.Client() as client:
            body = bytes(range(256)) * 3000  # several turns each way, of descriptors only
            assert (await client.request("PUT", url, body=body)).body == body

    run(main())


def test_many_at_once_keep_to_the_limit_and_all_are_answered() -> None:
    async def main() -> None:
        limits = ClientLimits(max_per_origin=3)
        async with site(echo) as (url, accepted), aio.Client(limits) as client:
            bodies = [b"%d" % i for i in range(50)]
            answers = await asyncio.gather(*(client.request("POST", url, body=b) for b in bodies))
            assert [a.body_bytes for a in answers] == bodies
            assert len(accepted) == 3

    run(main())


def test_cancelling_the_task_closes_the_connection_and_the_client_goes_on() -> None:
    async def main() -> None:
        arrived, gone = asyncio.Event(), asyncio.Event()

        async def page(request: web.Request) -> web.StreamResponse:
            if request.path != "/hang":
                return web.Response(text="fine")
            arrived.set()
            try:
                await asyncio.Event().wait()
            finally:
                gone.set()
            raise AssertionError

        app_options = {"handler_cancellation": True}
        app = web.Application()
        app.router.add_get("/{path:.*}", page)
        runner = web.AppRunner(app, shutdown_timeout=0.1, **app_options)  # type: ignore[arg-type]
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        async with aio.Client() as client:
            task = asyncio.create_task(client.request("GET", f"{url}/hang"))
            await arrived.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await gone.wait()
            assert (await client.request("GET", url)).text == "fine"
        await runner.cleanup()

    run(main())


def test_a_server_that_never_answers_is_given_up_in_time() -> None:
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as mute:
            async with aio.Client() as client:
                with pytest.raises(TimedOut):
                    await client.request(
                        "GET", f"http://127.0.0.1:{mute.getsockname()[1]}/", timeout=0.05
                    )
                assert client.connections == 0

    run(main())


def test_a_refused_connection_is_an_error_at_once() -> None:
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        async with aio.Client() as client:
            with pytest.raises(ConnectionClosed):
                await client.request("GET", f"http://127.0.0.1:{port}/", timeout=None)

    run(main())


def test_a_body_beyond_max_body_is_refused() -> None:
    async def main() -> None:
        async def page(request: web.Request) -> web.StreamResponse:
            return web.Response(body=b"x" * 5000)

        async with site(page) as (url, _), aio.Client() as client:
            with pytest.raises(TooBig):
                await client.request("GET", url, max_body=4999)
            pieces: list[bytes] = []
            answer = await client.request("GET", url, on_data=pieces.append)
            assert (answer.status, b"".join(pieces)) == (200, b"x" * 5000)

    run(main())


def test_closing_ends_what_is_under_way() -> None:
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as mute:
            client = aio.Client()
            url = f"http://127.0.0.1:{mute.getsockname()[1]}/"
            task = asyncio.create_task(client.request("GET", url, timeout=None))
            await asyncio.sleep(0)
            client.close()
            client.close()
            assert client.closed
            with pytest.raises(ConnectionClosed):
                await task
            with pytest.raises(RuntimeError):
                await client.request("GET", url)

    run(main())


def test_closing_ends_a_request_that_would_be_repeated(caplog: pytest.LogCaptureFixture) -> None:
    """On a kept connection: closing it looks like a server that hung up, and there is no other to be had."""

    async def main() -> None:
        asked = asyncio.Event()

        async def page(request: web.Request) -> web.StreamResponse:
            if request.path == "/hang":
                asked.set()
                await asyncio.Event().wait()
            return web.Response()

        async with site(page) as (url, _):
            client = aio.Client()
            await client.request("GET", url)
            task = asyncio.create_task(client.request("GET", f"{url}/hang"))
            await asked.wait()
            client.close()
            with pytest.raises(ConnectionClosed):
                await task

    run(main())
    assert caplog.records == []


def test_a_post_on_a_connection_that_died_while_it_was_kept_is_repeated_only_when_told_so() -> None:
    """The server closes after it read the second request, and answers nothing."""
    seen: list[bytes] = []

    def serve(listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                conn, _ = listener.accept()
                with conn, conn.makefile("rb") as reader:
                    for number in range(2):
                        length = 0
                        while line := reader.readline().strip():
                            if line.lower().startswith(b"content-length:"):
                                length = int(line.split(b":")[1])
                        body = reader.read(length)
                        if not body:
                            break
                        seen.append(body)
                        if number == 0:
                            conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    async def main(url: str) -> None:
        async with aio.Client() as client:
            await client.request("POST", url, body="one")
            with pytest.raises(ConnectionClosed):
                await client.request("POST", url, body="two")
            await client.request("POST", url, body="three", idempotent=True)
            answer = await client.request("POST", url, body="four", idempotent=True)
            assert answer.status == 200
            with pytest.raises(ConnectionClosed):
                await client.request("PUT", url, body="five", idempotent=False)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,), daemon=True)
        thread.start()
        run(main(f"http://127.0.0.1:{listener.getsockname()[1]}/"))
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(DEADLINE)
    assert seen == [b"one", b"two", b"three", b"four", b"four", b"five"]


def test_a_client_is_for_its_own_loop() -> None:
    with pytest.raises(RuntimeError):
        aio.Client()
    made: list[aio.Client] = []

    async def first() -> None:
        made.append(aio.Client())

    async def second() -> None:
        with pytest.raises(RuntimeError, match="loop"):
            await made[0].request("GET", "http://127.0.0.1:1/")

    run(first())
    run(second())
    made[0].close()  # its loop is closed: no complaint


def test_an_attached_manager_serves_within_the_loop_and_hears_other_threads() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        called: asyncio.Future[threading.Thread] = loop.create_future()

        def handler(conn: Any, ev: int, data: Any) -> None:
            if ev == MG_EV_HTTP_MSG:
                conn.reply(200, data.body)

        with Manager(handler, enable_wakeup=True) as mgr:
            attached = aio.attach(mgr)
            port = mgr.listen("http://127.0.0.1:0").local_addr[1]
            attached.soon()
            async with aio.Client() as client:
                answer = await client.request("POST", f"http://127.0.0.1:{port}/", body="hi")
                assert answer.text == "hi"
            other = threading.Thread(
                target=mgr.call, args=(lambda: called.set_result(threading.current_thread()),)
            )
            other.start()
            assert await called is threading.current_thread()
            other.join()
            attached.detach()
            attached.detach()
            assert not loop.remove_reader(mgr.fileno())

    run(main())


def test_timers_of_an_attached_manager_are_on_time() -> None:
    async def main() -> None:
        with Manager() as mgr:
            attached = aio.attach(mgr)
            order: list[int] = []
            done = asyncio.Event()
            mgr.timer_add(30, lambda: (order.append(2), done.set()))
            attached.turn()  # watches for the first
            mgr.timer_add(5, lambda: order.append(1))
            attached.turn()  # and now for an earlier one
            await done.wait()
            assert order == [1, 2]
            attached.detach()

    run(main())


def test_a_manager_that_is_closed_by_a_handler_leaves_the_loop() -> None:
    async def main() -> None:
        mgr = Manager()
        attached = aio.attach(mgr)
        fd = mgr.fileno()
        mgr.close()
        attached.turn()
        assert not asyncio.get_running_loop().remove_reader(fd)

    run(main())
