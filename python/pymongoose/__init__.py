"""pymongoose: the networking engine for Python programmers who want C speed.

    from pymongoose import MG_EV_HTTP_MSG, Manager

    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_MSG:
            conn.reply(200, "Hello, World!")

    mgr = Manager(handler)
    mgr.listen("http://127.0.0.1:8000")
    mgr.run()
"""

from ._core import *  # noqa: F403  (constants and functions; __all__ of _core is made below)
from ._core import Connection, HttpMessage, Reply, ResponseBody, Timer, build_info, event_name
from ._errors import (
    AddressInUse,
    ConnectionClosed,
    MongooseError,
    ProtocolError,
    QueueFull,
    ResolveError,
    TimedOut,
    TlsError,
    TooBig,
)
from ._limits import Limits
from ._manager import Manager
from ._replies import Response
from ._slow import SlowHandler
from ._stats import PoolStats, Stats
from .workers import Job, WorkerPool

__version__: str = build_info()["version"]

__all__ = [
    "AddressInUse",
    "Connection",
    "ConnectionClosed",
    "HttpMessage",
    "Job",
    "Limits",
    "Manager",
    "MongooseError",
    "PoolStats",
    "ProtocolError",
    "QueueFull",
    "Reply",
    "ResolveError",
    "Response",
    "ResponseBody",
    "SlowHandler",
    "Stats",
    "TimedOut",
    "Timer",
    "TlsError",
    "TooBig",
    "WorkerPool",
    "build_info",
    "event_name",
]
