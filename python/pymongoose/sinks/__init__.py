"""pymongoose.sinks: log and event delivery that never blocks the caller and counts every loss.

Example::

    from pymongoose.sinks import Pipeline, Sink

    class Printer(Sink):
        async def write(self, event):
            print(event)

    with Pipeline([Printer()]) as log:
        log.emit("order created", level="info", order=42)
"""

from ._levels import LEVELS, Level, level_name, level_number
from ._pipeline import Pipeline
from ._pipeline_stats import PipelineStats
from ._policy import Overflow
from ._sink import DrainResult, Sink, SinkStats

__all__ = [
    "LEVELS",
    "DrainResult",
    "Level",
    "Overflow",
    "Pipeline",
    "PipelineStats",
    "Sink",
    "SinkStats",
    "level_name",
    "level_number",
]
