"""Numbers for people who watch a running loop."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Stats:
    """A snapshot of a manager's counters since it was made; always on."""

    connections: int
    """Open now, listeners included."""
    accepted: int
    requests: int
    """HTTP requests whose head was read, refused ones included."""
    responses_4xx: int
    responses_5xx: int
    bytes_in: int
    bytes_out: int
    errors: int
    """MG_EV_ERROR events."""
    timeouts: int
    """Connections refused or closed because a limit of time had passed."""
    refused: int
    """Connections over ``max_per_address``."""
    accept_pauses: int
    """How often accepting stopped for want of descriptors or room."""
    handler_errors: int
    """Exceptions that left a handler."""
    slow_handlers: int
    wakeups: int
    """Messages and calls that came from other threads."""
    wakeups_refused: int
    """Those that were refused: unknown connection or full queue."""
    queue_messages: int
    """Waiting now."""
    queue_bytes: int
    turns: int
    """Iterations of the loop."""
    busy_seconds: float
    """Time spent dispatching and writing, waits excluded."""
    lock_wait_seconds: float
    """Time the loop waited for Python's lock, in all."""
    lock_takes: int
    """How often it took the lock: at most once per turn with work for Python."""
    pool: PoolStats | None = None


@dataclass(frozen=True, slots=True)
class PoolStats:
    """A snapshot of a worker pool."""

    threads: int
    idle: int
    queued: int
    running: int
    submitted: int
    completed: int
    failed: int
    """Jobs that raised."""
    rejected: int
    """Refused because the queue was full."""
    dropped: int
    """Given up for newer ones (overflow='drop_oldest')."""
    cancelled: int
    wakes: int
    """Threads woken: far fewer than jobs when jobs come in batches."""
    run_seconds: float
    wait_seconds: float
    """Time jobs spent in the queue, in all."""
