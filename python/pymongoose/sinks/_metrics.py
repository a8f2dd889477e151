"""A pipeline's counters for Prometheus, through its official client."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prometheus_client.core import Metric

    from ._pipeline import Pipeline


class PipelineCollector:
    """``prometheus_client.REGISTRY.register(PipelineCollector(log))``; then ``generate_latest()`` has it in the text format.

    Series (all begin with ``pymongoose_sinks_``): ``accepted``, ``refused{reason}``, ``filtered``, ``queue_events``, ``queue_bytes``,
    ``oldest_age_seconds`` of the pipeline; ``sent{sink}``, ``retried{sink}``, ``dropped{sink,reason}``, ``spooled_events{sink}``, ``pending_events{sink}``,
    ``batch_seconds{sink}`` (histogram) and ``breaker{sink,state}`` of each sink.

    Args:
        pipeline: looked at when it is collected; nothing is counted twice, nothing is stored.
        labels: constant labels for every series, such as ``{"service": "shop"}``.

    Raises:
        ImportError: prometheus_client is not installed.
    """

    def __init__(self, pipeline: Pipeline, labels: dict[str, str] | None = None) -> None:
        import prometheus_client  # noqa: F401  # missing: said now, not when it is scraped

        self._pipeline, self._labels = pipeline, dict(labels or {})

    def collect(self) -> Iterator[Metric]:
        """Called by the registry, on any thread."""
        from prometheus_client.core import (
            CounterMetricFamily,
            GaugeMetricFamily,
            HistogramMetricFamily,
        )

        names, values = list(self._labels), list(self._labels.values())
        stats = self._pipeline.stats()

        def counter(name: str, text: str, *labels: str) -> CounterMetricFamily:
            return CounterMetricFamily(f"pymongoose_sinks_{name}", text, labels=[*names, *labels])

        def gauge(name: str, text: str, *labels: str) -> GaugeMetricFamily:
            return GaugeMetricFamily(f"pymongoose_sinks_{name}", text, labels=[*names, *labels])

        accepted = counter("accepted", "Events taken by emit()")
        accepted.add_metric(values, stats.accepted)
        refused = counter("refused", "Events not taken by emit(), by reason", "reason")
        for reason, n in stats.refused.items():
            refused.add_metric([*values, reason], n)
        filtered = counter("filtered", "Events taken out by processors and routes")
        filtered.add_metric(values, stats.filtered)
        queue_events = gauge("queue_events", "Events that wait for the worker")
        queue_events.add_metric(values, stats.queued)
        queue_bytes = gauge("queue_bytes", "What they count for against max_bytes")
        queue_bytes.add_metric(values, stats.queued_bytes)
        oldest = gauge("oldest_age_seconds", "Age of the oldest event that no sink has delivered")
        oldest.add_metric(values, stats.oldest_age)
        yield from (accepted, refused, filtered, queue_events, queue_bytes, oldest)

        sent = counter("sent", "Events acknowledged", "sink")
        retried = counter("retried", "Sends that were tried again", "sink")
        dropped = counter("dropped", "Events lost, by reason", "sink", "reason")
        spooled = gauge("spooled_events", "Events on disk", "sink")
        pending = gauge("pending_events", "Events buffered or being sent", "sink")
        breaker = gauge("breaker", "1 for the state the circuit breaker is in", "sink", "state")
        batches = HistogramMetricFamily(
            "pymongoose_sinks_batch_seconds",
            "Time a batch took until it was acknowledged",
            labels=[*names, "sink"],
        )
        for name, sink in stats.sinks.items():
            of = [*values, name]
            sent.add_metric(of, sink.sent)
            retried.add_metric(of, sink.retried)
            for reason, n in sink.dropped.items():
                dropped.add_metric([*of, reason], n)
            spooled.add_metric(of, sink.spooled)
            pending.add_metric(of, sink.pending)
            if sink.breaker is not None:
                for state in ("closed", "open", "half_open"):
                    breaker.add_metric([*of, state], float(sink.breaker == state))
            if sink.batch_buckets:
                batches.add_metric(
                    of,
                    [
                        ("+Inf" if le == float("inf") else str(le), n)
                        for le, n in sink.batch_buckets
                    ],
                    sink.batch_seconds,
                )
        for reason, n in stats.dropped.items():
            own = n - sum(s.dropped.get(reason, 0) for s in stats.sinks.values())
            if own > 0:
                dropped.add_metric([*values, "", reason], own)
        yield from (sent, retried, dropped, spooled, pending, breaker, batches)
