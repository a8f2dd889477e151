"""For tests of the manager, its threads and its lifetimes: programs of their own, and managers polled by hand."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from conftest import DEADLINE, on_http

from pymongoose import Connection, Manager

REQUEST = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


# A test run that was itself started in the background ignores SIGINT, and its children would, too.
CTRL_C = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"


def program(code: str, *args: str) -> subprocess.Popen[str]:
    """Python with this code and the same path as ours; its output is told apart."""
    env = dict(os.environ, PYTHONPATH=os.pathsep.join(p for p in sys.path if p))
    return subprocess.Popen(
        [sys.executable, "-X", "faulthandler", "-c", CTRL_C + code, *args],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=env,
    )


def finish(process: subprocess.Popen[str], timeout: float = 30.0) -> str:
    """Its output, when it ended by itself, with status 0 and no complaint."""
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        raise AssertionError(f"it did not end; so far: {out}{err}") from None
    assert process.returncode == 0, (process.returncode, out, err)
    assert "Traceback" not in err, err
    assert "terminate called" not in err, err
    return out


def run_program(code: str, *args: str) -> str:
    return finish(program(code, *args))


def port_of(listener: Connection) -> int:
    assert listener.local_addr is not None
    return listener.local_addr[1]


def poll_until(mgr: Manager, predicate: Callable[[], Any]) -> Any:
    """Poll until predicate() is true; its value."""
    end = time.monotonic() + DEADLINE
    while not (value := predicate()):
        assert time.monotonic() < end, "it never came to be"
        mgr.poll(20)
    return value


def offloading(fn: Callable[..., Any], **how: Any) -> Callable[[Connection, int, Any], None]:
    """A handler that has each request answered by fn(request), in the pool."""
    return on_http(lambda conn, msg: conn.offload(fn, msg, **how))


def collect() -> None:
    for _ in range(3):
        gc.collect()


def open_fds() -> int:
    return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
