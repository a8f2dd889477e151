"""Numbers for people who watch a pipeline."""

from __future__ import annotations

from dataclasses import dataclass

from ._sink import SinkStats


@dataclass(frozen=True)
class PipelineStats:
    """A snapshot of a pipeline's counters since it was made. It adds up at every moment, for any number of sinks::

        deliveries == sent + spooled + pending + filtered + sum(dropped.values())
        deliveries == accepted + recovered, if there is one sink

    An event that goes to two sinks is one event accepted and two deliveries. Every call of emit() is counted once:
    accepted, refused, or below the pipeline's level.
    """

    accepted: int
    """Events for which emit() returned True, and native records that were taken."""
    refused: dict[str, int]
    """Events for which emit() returned False, by reason: queue_full, would_block, too_big, closed, spool_full."""
    below_level: int
    """Events below the pipeline's level, which are not looked at."""
    recovered: int
    """Events that an earlier run had left in the overflow spool."""
    deliveries: int
    """Events accepted or recovered, counted once for each sink they go to."""
    filtered: int
    """Events that a processor took out, or that no route wanted."""
    dropped: dict[str, int]
    """Deliveries that were accepted and lost, by reason: evicted, sink_full, processor_error, route_error, deadline, and the reasons of
    the sinks."""
    sent: int
    """Deliveries acknowledged."""
    spooled: int
    """Deliveries that are on disk."""
    pending: int
    """Deliveries in memory: queued, buffered, or being sent."""
    queued: int
    """Events in the queue, a part of pending."""
    queued_bytes: int
    """What they count for against max_bytes."""
    oldest_age: float
    """Seconds since the oldest event that a sink still has was emitted or buffered; 0.0 when there is none."""
    sinks: dict[str, SinkStats]
    """Each sink's own counters, by its name."""
