"""A Manager inside an asyncio loop, on one thread: requests are answered by asyncio tasks.
python examples/asyncio_embed.py --port 8000, then: curl http://127.0.0.1:8000/"""

import argparse
import asyncio
import signal

from pymongoose import MG_EV_HTTP_MSG, Connection, Manager, Reply, aio


class Embedded:
    """A manager that has its turns from the running loop: when its descriptor is readable and when its next deadline has come."""

    def __init__(self) -> None:
        self.mgr = Manager(self.handler)
        self.attached = aio.attach(self.mgr)
        self.tasks: set[asyncio.Task[None]] = set()

    def handler(self, conn: Connection, ev: int, data: object) -> None:
        if ev == MG_EV_HTTP_MSG:
            task = asyncio.get_running_loop().create_task(self.answer(conn.defer(), data.uri))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

    async def answer(self, reply: Reply, uri: str) -> None:
        await asyncio.sleep(0.01)  # whatever asyncio can wait for
        if not reply.cancelled:
            reply.reply(200, f"{uri} was answered by a task\n")
            self.attached.soon()  # what is queued between turns leaves with the next one


async def serve(port: int) -> None:
    embedded, stopped, loop = Embedded(), asyncio.Event(), asyncio.get_running_loop()
    site = embedded.mgr.listen(f"http://127.0.0.1:{port}")
    embedded.attached.soon()
    print(f"http://127.0.0.1:{site.local_addr[1]}", flush=True)
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    await stopped.wait()
    embedded.attached.detach()
    embedded.mgr.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8000, help="0: a free one")
    asyncio.run(serve(parser.parse_args().port))
