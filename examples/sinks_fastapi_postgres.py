"""FastAPI under uvicorn: one event for each request, copied into PostgreSQL in batches, while no request waits for the database.
python examples/sinks_fastapi_postgres.py --port 8000 --dsn postgresql://log@db/logs; needs fastapi, uvicorn, asyncpg"""

import argparse
import asyncio
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from fastapi import FastAPI

from pymongoose.sinks import LogMiddleware, Pipeline, PostgresSink

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--port", type=int, default=8000, help="0: a free one")
parser.add_argument(
    "--dsn", help="postgresql://user:password@host/database; default: PGHOST, PGUSER …"
)
args = parser.parse_args()

columns = {"method": "text", "path": "text", "status": "integer", "duration_ms": "real"}
log = Pipeline([PostgresSink(args.dsn, table="requests", columns=columns, create_table=True)])


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    log.start()
    yield
    result = await asyncio.to_thread(log.stop)  # what is left goes to the database first
    print(result, flush=True)


app = FastAPI(lifespan=lifespan)


app.add_middleware(LogMiddleware, pipeline=log)


@app.get("/orders/{number}")
async def order(number: int) -> dict[str, int]:
    log.emit("order shown", order=number)
    return {"order": number}


if __name__ == "__main__":
    signal.signal(
        signal.SIGTERM, lambda *_: sys.exit(0)
    )  # raised again by uvicorn when it has stopped
    sock = socket.create_server(("127.0.0.1", args.port))
    print(f"http://127.0.0.1:{sock.getsockname()[1]}", flush=True)
    uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[sock])
