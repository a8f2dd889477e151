"""Options that sinks with batches share."""

from __future__ import annotations

import os
from typing import TypedDict

from ._retry import Breaker, Retry
from ._sink import Sink
from ._spool import Spool


class BatchOptions(TypedDict, total=False):
    """What subclasses hand on to BatchedSink."""

    name: str | None
    batch_size: int
    batch_timeout: float
    max_bytes: int | None
    max_pending: int | None
    retry: Retry | None
    breaker: Breaker | None
    dead_letter: Sink | str | os.PathLike[str] | None
    spool: Spool | str | os.PathLike[str] | None
    drain_timeout: float
    send_timeout: float | None
