"""Half a minute of a receiver that fails in every way there is, under load; and processes that are forked. Looked at event by event."""

from __future__ import annotations

import itertools
import random
import time
from typing import Any

import pytest
from conftest import DEADLINE
from helpers import run_program
from receivers import DRIP, HALF, HANG, RESET, Receiver

from pymongoose.sinks import Breaker, HttpSink, Pipeline, Retry

OUTAGE = 30.0  # seconds


class Failing(Receiver):
    """Fails, each time in another way, until told otherwise."""

    def __init__(self) -> None:
        self.failing = True
        self.count = 0
        self._kinds = itertools.cycle(
            [
                (503, {}, b""),
                RESET,
                (429, {"Retry-After": "1"}, b""),
                HALF,
                RESET,
                (500, {}, b""),
                DRIP,
                HANG,
            ]
        )
        super().__init__()

    @property
    def faults(self) -> Any:
        return self if self.failing else ()

    @faults.setter
    def faults(self, value: Any) -> None:
        pass

    def popleft(self) -> Any:
        self.count += 1
        return next(self._kinds)

    def __len__(self) -> int:
        return 1


class Load:
    """A pipeline with a receiver of its own, and what became of each emit()."""

    def __init__(self, receiver: Failing, room: int) -> None:
        self.receiver = receiver
        self.accepted: list[int] = []
        self.count = 0
        self.sink = HttpSink(
            receiver.url,
            batch_size=200,
            batch_timeout=0.1,
            max_pending=room,
            timeout=0.3,
            retry=Retry(base=0.05, cap=0.5),
            breaker=Breaker(failures=3, reset=0.5),
        )
        self.pipe = Pipeline([self.sink], max_events=room)
        self.pipe.start()

    def emit(self, n: int) -> None:
        for _ in range(n):
            if self.pipe.emit("event", number=self.count):
                self.accepted.append(self.count)
            self.count += 1

    def end(self) -> None:
        """The receiver is well again: what was accepted is there, nothing is under a key that stands for something else, too."""
        assert self.receiver.got == []
        assert self.receiver.count >= 8, "each kind of fault"
        self.receiver.failing = False
        self.receiver.let_go()
        assert self.pipe.flush(DEADLINE)
        result = self.pipe.stop(DEADLINE)
        assert (result.sent, result.dropped) == (len(self.accepted), 0)
        numbers = [event["number"] for got in self.receiver.got for event in got.lines]
        assert sorted(set(numbers)) == self.accepted
        by_key: dict[str, set[bytes]] = {}
        for got in [*self.receiver.got, *(got for _, got in self.receiver.refused)]:
            by_key.setdefault(got.headers["Idempotency-Key"], set()).add(got.body)
        assert {len(bodies) for bodies in by_key.values()} == {1}


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_what_was_accepted_arrives_after_a_receiver_failed_for_half_a_minute_under_load() -> None:
    """With room for all of it, and with room for little: then emit() says which events it refused, and no other is missing."""
    with Failing() as one, Failing() as other:
        roomy, cramped = Load(one, 1_000_000), Load(other, 2_000)
        end = time.monotonic() + OUTAGE
        while time.monotonic() < end:
            for load in (roomy, cramped):
                load.emit(random.randrange(100))
            time.sleep(0.02)  # the load's own pace
        assert len(roomy.accepted) == roomy.count
        assert len(cramped.accepted) < cramped.count
        roomy.end()
        cramped.end()


FORK = """
import os, sys
from pymongoose.sinks import HttpSink, Pipeline

log = Pipeline([HttpSink(sys.argv[1], batch_size=10)])
log.start()
for i in range(25):
    assert log.emit("event", who="parent", number=i)
assert log.flush(10)  # its connection is open, and kept
pid = os.fork()
who = "parent" if pid else "child"
for i in range(25, 50):
    assert log.emit("event", who=who, number=i)
result = log.stop(10)
assert result.dropped == 0, result
if pid == 0:
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
print(result.sent)
"""


def test_a_forked_process_has_connections_of_its_own() -> None:
    with Receiver() as receiver:
        assert run_program(FORK, receiver.url) == "50\n"
        seen = sorted((e["who"], e["number"]) for got in receiver.got for e in got.lines)
        assert seen == sorted(
            [("parent", i) for i in range(50)] + [("child", i) for i in range(25, 50)]
        )
        assert receiver.connections == 2
