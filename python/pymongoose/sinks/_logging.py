"""From other loggers into a pipeline: the standard library's, structlog, loguru."""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Callable, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any, NoReturn

from ._levels import level_number

if TYPE_CHECKING:
    from ._pipeline import Pipeline

# What every record has; all else came by extra=.
_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class _NoLock:
    """Where :mod:`logging` expects a lock: some of its versions enter it without looking whether there is one."""

    def acquire(self) -> None: ...

    def release(self) -> None: ...

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...


class LoggingHandler(logging.Handler):
    """A handler for :mod:`logging` that emits into a pipeline; formats no more than the message, takes no time of the caller's otherwise.

    Fields of an event: ``ts`` is when the record was made, ``logger`` its name, whatever ``extra=`` brought, ``exception`` (the traceback as text) and
    ``stack`` where there are. In ``dictConfig``: ``{"class": "pymongoose.sinks.LoggingHandler", "pipeline": "ext://myapp.log"}``, or a
    configuration for ``sinks.configure()`` in place of the pipeline, which the handler then starts, and stops at ``close()``.

    Args:
        pipeline: where to.
        level: as for every handler.
        fields: names of attributes of the record to add, such as ``("funcName", "lineno", "threadName")``.

    A record that the pipeline does not take is counted there; nothing is raised into the program that logs. Records of the pipeline's
    own logger ("pymongoose.sinks") are passed over, since they may be about this very pipeline.
    """

    def __init__(
        self,
        pipeline: Pipeline | Mapping[str, Any],
        level: int | str = logging.NOTSET,
        *,
        fields: tuple[str, ...] | list[str] = (),
    ) -> None:
        super().__init__(level)
        self._owned = isinstance(pipeline, Mapping)
        if isinstance(pipeline, Mapping):
            from ._config import configure

            pipeline = configure(pipeline)
            pipeline.start()
        self.pipeline = pipeline
        self._fields = tuple(fields)

    def createLock(self) -> None:
        """No lock: the pipeline takes events from any thread."""
        self.lock = _NoLock()  # type: ignore[assignment]

    def emit(self, record: logging.LogRecord) -> None:
        """Called by :mod:`logging`."""
        if record.name.startswith("pymongoose.sinks"):
            return
        try:
            self.pipeline.emit(
                record.getMessage(), level=_level_of(record.levelno), **self._event(record)
            )
        except Exception:  # noqa: BLE001  (as every handler does)
            self.handleError(record)

    def _event(self, record: logging.LogRecord) -> dict[str, Any]:
        event: dict[str, Any] = {"ts": record.created, "logger": record.name}
        for name, value in vars(record).items():
            if name not in _OWN:
                event[_free(str(name))] = value
        for name in self._fields:
            event[_free(name)] = getattr(record, name, None)
        if record.exc_info and record.exc_info[0] is not None:
            event["exception"] = "".join(traceback.format_exception(*record.exc_info)).rstrip()
        elif record.exc_text:
            event["exception"] = record.exc_text
        if record.stack_info:
            event["stack"] = record.stack_info
        return event

    def flush(self) -> None:
        """Nothing waits here: ``pipeline.flush()`` waits for the sinks."""

    def close(self) -> None:
        """Stop the pipeline if it was made from a configuration."""
        if self._owned:
            self.pipeline.stop()
        super().close()


def _free(name: str) -> str:
    return name + "_" if name in ("level", "message", "ts") else name


def _level_of(number: int) -> int:
    return max(number, 1)  # 0, which logging allows, is below all


def structlog_processor(
    pipeline: Pipeline,
) -> Callable[[Any, str, MutableMapping[str, Any]], NoReturn]:
    """The last processor of a structlog chain: the event goes into the pipeline, and structlog writes nothing itself.

    ``structlog.configure(processors=[structlog.contextvars.merge_contextvars, structlog_processor(log)])``. ``event`` becomes the message,
    the method's name (or ``level``, where add_log_level set it) the level, ``exc_info`` and what ``format_exc_info`` made of it the field
    ``exception``; ``timestamp`` is a field like others.
    """
    from structlog import DropEvent

    def processor(_: Any, method: str, event: MutableMapping[str, Any]) -> NoReturn:
        fields = dict(event)
        message = fields.pop("event", "")
        level = fields.pop("level", None) or method
        exc_info = fields.pop("exc_info", None)
        if exc_info and "exception" not in fields:
            fields["exception"] = _exception_text(exc_info)
        if not isinstance(message, str):
            message = str(message)
        pipeline.emit(message, level=_known(level), **{_free(k): v for k, v in fields.items()})
        raise DropEvent

    return processor


def _exception_text(exc_info: Any) -> str | None:
    if isinstance(exc_info, BaseException):
        exc: Any = exc_info
    else:
        exc = exc_info[1] if isinstance(exc_info, tuple) else sys.exc_info()[1]
    return None if exc is None else "".join(traceback.format_exception(exc)).rstrip()


def _known(level: Any) -> str | int:
    """A level of ours for one of another logger: ``exception`` is error, ``success`` is info, what nobody knows is info, too."""
    try:
        level_number(level)
    except (TypeError, ValueError):
        return {"exception": "error", "msg": "info", "err": "error"}.get(str(level).lower(), "info")
    return level  # type: ignore[no-any-return]


def loguru_sink(pipeline: Pipeline) -> Callable[[Any], None]:
    """A sink for loguru: ``logger.add(loguru_sink(log), format="{message}")``; what was bound or given as ``extra`` becomes fields."""

    def sink(message: Any) -> None:
        record = message.record
        fields = {_free(str(k)): v for k, v in record["extra"].items()}
        exception = record["exception"]
        if exception is not None and exception.type is not None:
            text = traceback.format_exception(exception.type, exception.value, exception.traceback)
            fields["exception"] = "".join(text).rstrip()
        pipeline.emit(
            record["message"],
            level=record["level"].no,
            **{"ts": record["time"].timestamp(), "logger": record["name"], **fields},
        )

    return sink
