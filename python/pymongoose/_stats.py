"""Numbers for people who watch a running loop."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Stats:
    """A snapshot of a manager's counters since it was made; always on."""

    connections: int
    """Open now, listeners included."""
    accepted: int
    """Connections that came in."""
    requests: int
    """HTTP requests whose head was read, refused ones included."""
    responses_4xx: int
    """Answers with a status of 400-499, refusals included."""
    responses_5xx: int
    """Answers with a status of 500-599."""
    bytes_in: int
    """Received."""
    bytes_out: int
    """Sent."""
    errors: int
    """MG_EV_ERROR events."""
    timeouts: int
    """Connections refused or closed because a limit of time had passed."""
    refused: int
    """Connections over ``max_per_address``."""
    proxy_errors: int
    """Connections closed because the PROXY header that was due was missing or malformed."""
    accept_pauses: int
    """How often accepting stopped for want of descriptors or room."""
    handler_errors: int
    """Exceptions that left a handler."""
    slow_handlers: int
    """Handlers that took longer than ``Manager(slow_handler=...)``."""
    wakeups: int
    """Messages and calls that came from other threads."""
    wakeups_refused: int
    """Those that were refused: unknown connection or full queue."""
    queue_messages: int
    """Waiting now."""
    queue_bytes: int
    """Bytes of them, counted against ``Manager(wakeup_limit=...)``."""
    ws_messages_in: int
    """WebSocket messages received."""
    ws_messages_out: int
    """WebSocket messages queued, a broadcast once for each member."""
    ws_dropped: int
    """Broadcasts that slow members missed (``WsLimits(slow="drop")``)."""
    turns: int
    """Iterations of the loop."""
    busy_seconds: float
    """Time spent dispatching and writing, waits excluded."""
    lock_wait_seconds: float
    """Time the loop waited for Python's lock, in all; waits below 50 us are not counted."""
    lock_takes: int
    """How often it took the lock: at most once per turn with work for Python."""
    pool: PoolStats | None = None
    """Of the manager's WorkerPool; None without one, or with another executor."""


@dataclass(frozen=True, slots=True)
class PoolStats:
    """A snapshot of a worker pool."""

    threads: int
    """Worker threads; 0 before the first job."""
    idle: int
    """Threads without a job."""
    queued: int
    """Jobs waiting for a thread now."""
    running: int
    """Jobs being run now."""
    submitted: int
    """Jobs that were accepted."""
    completed: int
    """Jobs that returned."""
    failed: int
    """Jobs that raised."""
    rejected: int
    """Refused because the queue was full."""
    dropped: int
    """Given up for newer ones (overflow='drop_oldest')."""
    cancelled: int
    """Jobs of clients that went away, and those given up by a shutdown."""
    wakes: int
    """Threads woken: far fewer than jobs when jobs come in batches."""
    run_seconds: float
    """Time jobs ran, in all."""
    wait_seconds: float
    """Time jobs spent in the queue, in all."""
