"""pymongoose.sinks: log and event delivery that never blocks the caller and counts every loss.

Example::

    from pymongoose.sinks import Pipeline, Sink

    class Printer(Sink):
        async def write(self, event):
            print(event)

    with Pipeline([Printer()]) as log:
        log.emit("order created", level="info", order=42)
"""

from ._batched import BatchedSink, BatchOptions
from ._elastic import ElasticSink
from ._file import RotatingFileSink
from ._http import HttpSink
from ._levels import LEVELS, Level, level_name, level_number
from ._loki import LokiSink
from ._otlp import OtlpSink
from ._outcome import Partial, PoolTimeout, Rejected, RetryLater
from ._pipeline import Pipeline
from ._pipeline_stats import PipelineStats
from ._policy import Overflow
from ._pooled import PooledSink
from ._postgres import PostgresSink
from ._retry import Breaker, Retry
from ._sink import DrainResult, Sink, SinkStats
from ._spool import Spool, SpoolBatch
from ._sqlite import SqliteSink
from ._stdout import StdoutSink
from ._sync import SyncSink
from ._syslog import SyslogSink

__all__ = [
    "LEVELS",
    "BatchOptions",
    "BatchedSink",
    "Breaker",
    "DrainResult",
    "ElasticSink",
    "HttpSink",
    "Level",
    "LokiSink",
    "OtlpSink",
    "Overflow",
    "Partial",
    "Pipeline",
    "PipelineStats",
    "PoolTimeout",
    "PooledSink",
    "PostgresSink",
    "Rejected",
    "Retry",
    "RetryLater",
    "RotatingFileSink",
    "Sink",
    "SinkStats",
    "Spool",
    "SpoolBatch",
    "SqliteSink",
    "StdoutSink",
    "SyncSink",
    "SyslogSink",
    "level_name",
    "level_number",
]
