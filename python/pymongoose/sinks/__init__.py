"""pymongoose.sinks: log and event delivery that never blocks the caller and counts every loss.

Example::

    from pymongoose.sinks import Pipeline, Sink

    class Printer(Sink):
        async def write(self, event):
            print(event)

    with Pipeline([Printer()]) as log:
        log.emit("order created", level="info", order=42)
"""

from ._asgi import LogMiddleware
from ._batch_options import BatchOptions
from ._batched import BatchedSink
from ._config import configure, configure_env, configure_toml
from ._context import bind, binding, bound, clear_bound, unbind
from ._elastic import ElasticSink
from ._file import RotatingFileSink
from ._http import HttpSink
from ._levels import LEVELS, Level, level_name, level_number
from ._logging import LoggingHandler, loguru_sink, structlog_processor
from ._loki import LokiSink
from ._metrics import PipelineCollector
from ._otlp import OtlpSink
from ._outcome import Partial, PoolTimeout, Rejected, RetryLater
from ._pipeline import Pipeline
from ._pipeline_stats import PipelineStats
from ._policy import Overflow
from ._pooled import PooledSink
from ._postgres import PostgresSink
from ._processors import Dedupe, Enrich, Processor, RateLimit, Sample, Truncate
from ._redact import Redact, hashed, masked
from ._retry import Breaker, Retry
from ._route import Route
from ._sink import DrainResult, Sink, SinkStats
from ._spool import Spool, SpoolBatch
from ._sqlite import SqliteSink
from ._stdout import StdoutSink
from ._sync import SyncSink
from ._syslog import SyslogSink
from ._trace import TraceParent
from ._uncaught import capture_uncaught

__all__ = [
    "LEVELS",
    "BatchOptions",
    "BatchedSink",
    "Breaker",
    "Dedupe",
    "DrainResult",
    "ElasticSink",
    "Enrich",
    "HttpSink",
    "Level",
    "LogMiddleware",
    "LoggingHandler",
    "LokiSink",
    "OtlpSink",
    "Overflow",
    "Partial",
    "Pipeline",
    "PipelineCollector",
    "PipelineStats",
    "PoolTimeout",
    "PooledSink",
    "PostgresSink",
    "Processor",
    "RateLimit",
    "Redact",
    "Rejected",
    "Retry",
    "RetryLater",
    "RotatingFileSink",
    "Route",
    "Sample",
    "Sink",
    "SinkStats",
    "Spool",
    "SpoolBatch",
    "SqliteSink",
    "StdoutSink",
    "SyncSink",
    "SyslogSink",
    "TraceParent",
    "Truncate",
    "bind",
    "binding",
    "bound",
    "capture_uncaught",
    "clear_bound",
    "configure",
    "configure_env",
    "configure_toml",
    "hashed",
    "level_name",
    "level_number",
    "loguru_sink",
    "masked",
    "structlog_processor",
    "unbind",
]
