"""A Manager inside an asyncio loop, on one thread: requests are answered by asyncio tasks.
python examples/asyncio_embed.py --port 8000, then: curl http://127.0.0.1:8000/"""

import argparse
import asyncio
import signal

from pymongoose import MG_EV_HTTP_MSG, Connection, Manager, Reply


class Embedded:
    """Gives a manager a turn when its descriptor is readable and when its next deadline has come."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.mgr = Manager(self.handler)
        self.deadline: asyncio.TimerHandle | None = None
        self.tasks: set[asyncio.Task[None]] = set()
        self.loop.add_reader(self.mgr.fileno(), self.turn)

    def turn(self) -> None:
        if self.deadline is not None:
            self.deadline.cancel()
        self.mgr.poll(0)
        seconds = self.mgr.timeout()
        self.deadline = None if seconds is None else self.loop.call_later(seconds, self.turn)

    def handler(self, conn: Connection, ev: int, data: object) -> None:
        if ev == MG_EV_HTTP_MSG:
            task = self.loop.create_task(self.answer(conn.defer(), data.uri))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

    async def answer(self, reply: Reply, uri: str) -> None:
        await asyncio.sleep(0.01)  # whatever asyncio can wait for
        if not reply.cancelled:
            reply.reply(200, f"{uri} was answered by a task\n")
            self.turn()  # what is queued between turns leaves with the next one


async def serve(port: int) -> None:
    embedded, stopped = Embedded(), asyncio.Event()
    site = embedded.mgr.listen(f"http://127.0.0.1:{port}")
    print(f"http://127.0.0.1:{site.local_addr[1]}", flush=True)
    for number in (signal.SIGINT, signal.SIGTERM):
        embedded.loop.add_signal_handler(number, stopped.set)
    embedded.turn()
    await stopped.wait()
    embedded.loop.remove_reader(embedded.mgr.fileno())
    embedded.mgr.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8000, help="0: a free one")
    asyncio.run(serve(parser.parse_args().port))
