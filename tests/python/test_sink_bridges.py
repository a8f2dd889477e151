"""Bridges: logging, structlog, loguru, ASGI, uncaught exceptions, bound fields, configuration, metrics."""

from __future__ import annotations

import asyncio
import logging
import logging.config
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
import structlog
from helpers import finish, program
from loguru import logger as loguru_logger
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route as Path_
from typing_extensions import Self

from pymongoose.sinks import (
    LoggingHandler,
    LogMiddleware,
    Pipeline,
    PipelineCollector,
    RotatingFileSink,
    Route,
    Sink,
    TraceParent,
    bind,
    binding,
    bound,
    capture_uncaught,
    clear_bound,
    configure,
    configure_env,
    configure_toml,
    loguru_sink,
    structlog_processor,
    unbind,
)


class Kept(Sink):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.events: list[dict[str, Any]] = []

    async def write(self, event: dict[str, Any]) -> None:
        self.events.append(event)


@pytest.fixture
def kept() -> Iterator[tuple[Pipeline, list[dict[str, Any]]]]:
    """A pipeline, and a list that has its events after flush()."""
    sink = Kept()
    with Pipeline([sink]) as log:
        yield log, sink.events


@pytest.fixture
def app_log() -> Iterator[logging.Logger]:
    log = logging.getLogger("test.app")
    log.propagate = False
    log.setLevel(logging.DEBUG)
    yield log
    log.handlers.clear()
    log.propagate = True


# -- bound fields --


def test_bound_fields_are_on_what_is_emitted_there_and_the_call_wins(kept: Any) -> None:
    log, events = kept
    with binding(request_id="r", n=1):
        log.emit("in", n=2)
        assert bound() == {"request_id": "r", "n": 1}
    log.emit("out")
    assert log.flush()
    assert (events[0]["request_id"], events[0]["n"]) == ("r", 2)
    assert "request_id" not in events[1]


def test_bound_fields_belong_to_their_task_and_reach_threads_of_asyncio(kept: Any) -> None:
    log, events = kept

    async def task(n: int) -> None:
        bind(task=n)
        await asyncio.sleep(0)
        log.emit("from the task")
        await asyncio.to_thread(log.emit, "from its thread")

    async def main() -> None:
        await asyncio.gather(*(task(n) for n in range(5)))
        assert bound() == {}

    asyncio.run(main())
    assert log.flush()
    assert sorted(e["task"] for e in events) == sorted([0, 1, 2, 3, 4] * 2)


def test_bound_fields_are_taken_back_by_token_or_by_name() -> None:
    token = bind(a=1, b=2)
    unbind("a", "nobody")
    assert bound() == {"b": 2}
    unbind(token)
    assert bound() == {}
    bind(c=3)
    clear_bound()
    assert bound() == {}


def test_durable_pipelines_have_bound_fields_too(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    with Pipeline([RotatingFileSink(path, spool=tmp_path / "spool")]) as log, binding(a=1):
        assert log.emit("m", b=2)
        assert log.flush(20)
    assert '"b":2,"a":1' in path.read_text()


# -- logging --


def test_records_of_logging_become_events(kept: Any, app_log: logging.Logger) -> None:
    log, events = kept
    app_log.addHandler(LoggingHandler(log, fields=["funcName"]))
    app_log.warning("order %d", 7, extra={"order": 7, "ts_": 1})
    try:
        raise KeyError("k")
    except KeyError:
        app_log.exception("failed")
    app_log.debug("deep", stack_info=True)
    assert log.flush()
    first, second, third = events
    assert (first["level"], first["message"], first["logger"]) == ("warning", "order 7", "test.app")
    assert (first["order"], first["funcName"]) == (7, "test_records_of_logging_become_events")
    assert second["level"] == "error"
    assert "KeyError: 'k'" in second["exception"]
    assert "test_records_of_logging" in third["stack"]


def test_extra_fields_with_reserved_names_are_kept_under_another(kept: Any, app_log: Any) -> None:
    log, events = kept
    app_log.addHandler(LoggingHandler(log))
    app_log.info("m", extra={"level": "x", "ts": "y"})
    assert log.flush()
    assert (events[0]["level"], events[0]["level_"], events[0]["ts_"]) == ("info", "x", "y")


def test_a_logging_that_enters_the_handlers_lock_unasked_can(kept: Any) -> None:
    log, events = kept
    handler = LoggingHandler(log)
    record = logging.makeLogRecord({"name": "app", "levelno": logging.INFO, "msg": "m"})
    with handler.lock:  # type: ignore[union-attr]  # as Handler.handle() of Python 3.13.0 does
        handler.emit(record)
    handler.acquire()
    handler.release()
    assert log.flush()
    assert [e["message"] for e in events] == ["m"]


def test_attributes_and_extras_of_any_name_find_a_place(kept: Any, app_log: Any) -> None:
    log, events = kept
    app_log.addHandler(LoggingHandler(log, fields=("message", "levelname", "ts", "level")))
    app_log.info("plain", extra={7: "seven", None: "none"})
    assert log.flush()
    assert events[0]["message"] == "plain"
    assert (events[0]["7"], events[0]["None"]) == ("seven", "none")
    assert {"message_", "ts_", "level_"} <= set(events[0])
    assert events[0]["levelname"] == "INFO"


def test_a_record_that_cannot_be_formatted_harms_nobody(
    kept: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    log, events = kept
    app_log = logging.Logger("alone")  # noqa: LOG001  (the test runner's own handler would raise)
    app_log.addHandler(LoggingHandler(log))
    app_log.info("%d", "no number")
    app_log.info("next")
    assert log.flush()
    assert [e["message"] for e in events] == ["next"]
    assert "no number" in capsys.readouterr().err


def test_dict_config_can_make_the_pipeline(tmp_path: Path, app_log: logging.Logger) -> None:
    path = tmp_path / "app.jsonl"
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "handlers": {
                "events": {
                    "class": "pymongoose.sinks.LoggingHandler",
                    "pipeline": {"sinks": [{"type": "file", "path": str(path)}]},
                }
            },
            "loggers": {"test.app": {"handlers": ["events"], "level": "INFO"}},
        }
    )
    app_log.info("configured")
    app_log.handlers[0].close()
    assert '"message":"configured"' in path.read_text()


# -- structlog, loguru --


def test_structlog_ends_in_the_pipeline(kept: Any) -> None:
    log, events = kept
    structured = structlog.wrap_logger(None, processors=[structlog_processor(log)])
    structured.bind(order=1).warning("st", ts="t")
    try:
        raise ValueError("v")
    except ValueError:
        structured.exception("bad")
    assert log.flush()
    assert (events[0]["message"], events[0]["level"], events[0]["order"]) == ("st", "warning", 1)
    assert events[0]["ts_"] == "t"
    assert events[1]["level"] == "error"
    assert "ValueError: v" in events[1]["exception"]


def test_loguru_ends_in_the_pipeline(kept: Any) -> None:
    log, events = kept
    number = loguru_logger.add(loguru_sink(log), format="{message}", level=0)
    try:
        loguru_logger.bind(order=1).success("done {}", 5)
        try:
            raise ValueError("v")
        except ValueError:
            loguru_logger.exception("bad")
    finally:
        loguru_logger.remove(number)
    assert log.flush()
    assert (events[0]["message"], events[0]["level"], events[0]["order"]) == ("done 5", "info", 1)
    assert "ValueError: v" in events[1]["exception"]


# -- ASGI --


class Web:
    """Asks an ASGI application, through a client that nobody here wrote."""

    def __init__(self, app: Any) -> None:
        self.app = app

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def get(self, path: str, headers: dict[str, str] | None = None) -> httpx.Response:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as web:
                return await web.get(path, headers=headers)

        return asyncio.run(ask())


def client(log: Pipeline, **options: Any) -> Web:
    async def plain(request: Any) -> Any:
        log.emit("inside")
        background = BackgroundTask(log.emit, "afterwards")
        return PlainTextResponse("hello", background=background)

    async def stream(request: Any) -> Any:
        async def pieces() -> Any:
            yield b"12345"
            yield b"678"

        return StreamingResponse(pieces())

    async def raises(request: Any) -> Any:
        raise RuntimeError("on purpose")

    async def missing(request: Any) -> Any:
        return PlainTextResponse("no", status_code=404)

    app = Starlette(
        routes=[
            Path_("/", plain),
            Path_("/stream", stream),
            Path_("/raises", raises),
            Path_("/missing", missing),
            Path_("/healthz", plain),
        ],
        middleware=[Middleware(LogMiddleware, pipeline=log, **options)],
    )
    return Web(app)


def test_each_request_is_told_once_and_what_is_emitted_meanwhile_carries_its_ids(kept: Any) -> None:
    log, events = kept
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    with client(log) as web:
        answer = web.get("/?q=1", headers={"X-Request-ID": "r-1", "traceparent": trace})
    assert answer.headers["x-request-id"] == "r-1"
    assert log.flush()
    inside, afterwards, told = events
    for e in events:
        assert e["request_id"] == "r-1"
        assert e["trace_id"] == "4bf92f3577b34da6a3ce929d0e0e4736"
    assert inside["message"] == "inside"
    assert afterwards["message"] == "afterwards"
    assert (told["method"], told["path"], told["query"], told["status"]) == ("GET", "/", "q=1", 200)
    assert (told["bytes_out"], told["level"], told["parent_id"]) == (5, "info", "00f067aa0ba902b7")
    assert told["duration_ms"] >= 0


def test_levels_exceptions_and_streams_are_told(kept: Any) -> None:
    log, events = kept
    with client(log) as web:
        web.get("/stream")
        web.get("/missing")
        assert web.get("/raises").status_code == 500
    assert log.flush()
    stream, missing, raised = events
    assert (stream["status"], stream["bytes_out"]) == (200, 8)
    assert (missing["status"], missing["level"]) == (404, "warning")
    assert (raised["status"], raised["level"]) == (500, "error")
    assert "RuntimeError: on purpose" in raised["exception"]


def test_paths_can_be_skipped_but_not_their_failures_and_headers_are_redacted(kept: Any) -> None:
    log, events = kept
    options = {"skip": ["/healthz", "/ra*"], "headers": ["User-Agent", "Authorization"]}
    with client(log, **options) as web:
        web.get("/healthz")
        web.get("/raises")
        web.get("/missing", headers={"Authorization": "Bearer x", "User-Agent": "probe"})
    assert log.flush()
    told = [e for e in events if e["message"] == "request"]
    assert [e["path"] for e in told] == ["/raises", "/missing"]
    assert told[1]["header_authorization"] == "[redacted]"
    assert told[1]["header_user_agent"] == "probe"


@pytest.mark.parametrize(
    ("messages", "size"),
    [
        ([{"type": "http.response.pathsend", "path": "/etc/hostname"}], 0),
        ([{"type": "http.response.zerocopysend", "file": 3, "count": 7}], 7),
        ([{"type": "http.response.body", "body": b"12345"}], 5),
    ],
)
def test_an_answer_that_the_server_sends_by_itself_is_complete(
    kept: Any, messages: list[dict[str, Any]], size: int
) -> None:
    log, events = kept

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for message in messages:
            await send(message)
        await receive()

    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        pass

    scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
    asyncio.run(LogMiddleware(app, pipeline=log)(scope, receive, send))
    assert log.flush()
    assert (events[0]["status"], events[0]["level"], events[0]["bytes_out"]) == (200, "info", size)


def test_nothing_stays_bound_when_the_request_cannot_be_told(
    kept: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, _ = kept

    def broken(*_: Any, **__: Any) -> bool:
        raise RuntimeError("emit")

    monkeypatch.setattr(log, "emit", broken)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def nothing(*_: Any) -> Any:
        return {}

    async def main() -> None:
        scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
        with pytest.raises(RuntimeError, match="emit"):
            await LogMiddleware(app, pipeline=log)(scope, nothing, nothing)
        assert bound() == {}

    asyncio.run(main())


@pytest.mark.parametrize("value", ["a b", "x" * 200, "<script>", ""])
def test_a_malformed_request_id_is_replaced(kept: Any, value: str) -> None:
    log, _ = kept
    with client(log) as web:
        answer = web.get("/", headers={"X-Request-ID": value})
    assert answer.headers["x-request-id"] not in (value, "")


def test_the_middleware_can_start_and_stop_the_pipeline() -> None:
    sink = Kept()
    log = Pipeline([sink])
    web = client(log, manage=True)

    async def main() -> None:
        events: asyncio.Queue[Any] = asyncio.Queue()
        answers: asyncio.Queue[Any] = asyncio.Queue()
        life = asyncio.create_task(web.app({"type": "lifespan"}, events.get, answers.put))
        await events.put({"type": "lifespan.startup"})
        assert (await answers.get())["type"] == "lifespan.startup.complete"
        assert log.emit("between")
        await events.put({"type": "lifespan.shutdown"})
        assert (await answers.get())["type"] == "lifespan.shutdown.complete"
        await life

    asyncio.run(main())
    assert [e["message"] for e in sink.events] == ["between"]
    assert not log.emit("stopped")


def test_it_works_under_uvicorn(tmp_path: Path) -> None:
    code = """
import sys
import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from pymongoose.sinks import LogMiddleware, Pipeline, RotatingFileSink
async def home(request):
    return PlainTextResponse("hello")
log = Pipeline([RotatingFileSink(sys.argv[1])])
app = Starlette(routes=[Route("/", home)], middleware=[Middleware(LogMiddleware, pipeline=log, manage=True)])
class Server(uvicorn.Server):
    async def startup(self, sockets=None):
        await super().startup(sockets)
        print(self.servers[0].sockets[0].getsockname()[1], flush=True)
server = Server(uvicorn.Config(app, port=0, log_level="critical", lifespan="on"))
import threading
threading.Thread(target=lambda: (sys.stdin.readline(), setattr(server, "should_exit", True)), daemon=True).start()
server.run()
"""
    process = program(code, str(tmp_path / "out.jsonl"))
    assert process.stdout is not None
    assert process.stdin is not None
    port = int(process.stdout.readline())
    assert httpx.get(f"http://127.0.0.1:{port}/").text == "hello"
    process.stdin.write("\n")
    process.stdin.flush()
    finish(process)
    assert '"path":"/","status":200' in (tmp_path / "out.jsonl").read_text()


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "00-" + "0" * 32 + "-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-" + "0" * 16 + "-01",
        "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        "junk",
    ],
)
def test_traceparents_that_are_not_valid_are_none(header: str | None) -> None:
    assert TraceParent.parse(header) is None


def test_a_traceparent_goes_through_unchanged_and_has_children() -> None:
    text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    parsed = TraceParent.parse(text)
    assert parsed is not None
    assert str(parsed) == text
    child = parsed.child()
    assert child.trace_id == parsed.trace_id
    assert child.span_id != parsed.span_id
    assert TraceParent.parse(str(TraceParent.new())) is not None


# -- uncaught exceptions --


def test_what_nobody_caught_is_told_before_the_program_ends(tmp_path: Path) -> None:
    code = """
import sys, threading
from pymongoose.sinks import Pipeline, RotatingFileSink, capture_uncaught
log = Pipeline([RotatingFileSink(sys.argv[1])]); log.start()
capture_uncaught(log)
t = threading.Thread(target=lambda: 1 / 0, name="worker"); t.start(); t.join()
class Bad:
    def __del__(self): raise OSError("del")
b = Bad(); del b
raise ValueError("the end")
"""
    process = program(code, str(tmp_path / "out.jsonl"))
    _, err = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "ValueError: the end" in err  # the former hook still prints
    text = (tmp_path / "out.jsonl").read_text()
    for where, error in (
        ("thread", "ZeroDivisionError"),
        ("unraisable", "OSError"),
        ("main", "ValueError"),
    ):
        assert f'"where":"{where}","error":"{error}"' in text


def test_the_hooks_are_put_back(kept: Any) -> None:
    log, events = kept
    before = sys.excepthook, threading.excepthook, sys.unraisablehook

    async def main() -> None:
        loop = asyncio.get_running_loop()
        seen: list[Any] = []
        loop.set_exception_handler(lambda _, context: seen.append(context))
        restore = capture_uncaught(log, loop=loop)
        loop.call_exception_handler({"message": "lost", "exception": OSError("x")})
        restore()
        assert len(seen) == 1

    asyncio.run(main())
    assert (sys.excepthook, threading.excepthook, sys.unraisablehook) == before
    assert log.flush()
    assert (events[0]["where"], events[0]["message"]) == ("asyncio", "lost")


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no")

    __repr__ = __str__


def test_whatever_goes_wrong_the_former_hooks_still_run(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []
    monkeypatch.setattr(sys, "excepthook", lambda *args: told.append(("main", args[1])))
    monkeypatch.setattr(threading, "excepthook", lambda a: told.append(("thread", a.exc_value)))
    monkeypatch.setattr(sys, "unraisablehook", lambda a: told.append(("del", a.exc_value)))

    class Broken:
        def emit(self, *_: Any, **__: Any) -> bool:
            raise RuntimeError("emit")

        def flush(self, timeout: float) -> bool:
            raise RuntimeError("flush")

    restore = capture_uncaught(Broken())  # type: ignore[arg-type]
    try:
        exc = Unprintable()
        sys.excepthook(Unprintable, exc, None)
        threading.excepthook(threading.ExceptHookArgs((Unprintable, exc, None, None)))
        unraisable = SimpleNamespace(
            exc_type=Unprintable, exc_value=exc, exc_traceback=None, err_msg=None, object=exc
        )
        sys.unraisablehook(unraisable)  # type: ignore[arg-type]
    finally:
        restore()
    assert told == [("main", exc), ("thread", exc), ("del", exc)]


def test_an_exception_that_cannot_be_shown_is_told_by_its_name(kept: Any) -> None:
    log, events = kept
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "unraisablehook", lambda _: None)  # the test runner's would raise
        restore = capture_uncaught(log)
        values = {"exc_type": Unprintable, "exc_value": Unprintable(), "exc_traceback": None}
        sys.unraisablehook(SimpleNamespace(**values, err_msg=None, object=Unprintable()))  # type: ignore[arg-type]
        restore()
    assert log.flush()
    assert events[0]["error"] == "Unprintable"
    with pytest.raises(ValueError, match="loud"):
        capture_uncaught(log, level="loud")


# -- configuration --


def test_a_mapping_makes_a_pipeline(tmp_path: Path) -> None:
    log = configure(
        {
            "level": "info",
            "max_events": 50,
            "overflow": {"trace": "drop_newest", "error": "block"},
            "processors": [{"type": "redact", "fields": ["password"]}],
            "sinks": [
                {
                    "type": "file",
                    "path": str(tmp_path / "a"),
                    "max_bytes": "1 MiB",
                    "retry": {"attempts": 3},
                    "breaker": False,
                    "route": {"level": "error"},
                },
                {"type": "file", "path": str(tmp_path / "b")},
            ],
        }
    )
    with log:
        log.emit("low", level="debug")
        log.emit("plain", password="x")
        log.emit("bad", level="error")
    assert '"password":"[redacted]"' in (tmp_path / "b").read_text()
    assert "plain" not in (tmp_path / "a").read_text()
    assert "bad" in (tmp_path / "a").read_text()


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({}, "sinks: a list"),
        ({"sinks": []}, "sinks: a list"),
        ({"sinks": [{}]}, r"sinks\[0\]\.type: is missing"),
        ({"sinks": [{"type": "nope"}]}, r"sinks\[0\]\.type: unknown 'nope'"),
        ({"sinks": [{"type": "no.such:Thing"}]}, r"sinks\[0\]\.type"),
        ({"sinks": [{"type": "stdout", "colour": 1}]}, r"sinks\[0\]"),
        ({"sinks": [{"type": "file", "path": "x", "max_bytes": "lots"}]}, r"sinks\[0\]\.max_bytes"),
        ({"sinks": [{"type": "stdout"}], "levle": "info"}, "levle: unknown"),
        ({"sinks": [{"type": "stdout"}], "level": "loud"}, "pipeline: unknown level"),
        ({"sinks": [{"type": "stdout"}], "processors": [{"type": "sample"}]}, r"processors\[0\]"),
        ({"sinks": [{"type": "stdout", "route": 3}]}, r"sinks\[0\]\.route"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(config: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        configure(config)


def test_toml_and_environment_say_the_same(tmp_path: Path) -> None:
    file = tmp_path / "log.toml"
    out = tmp_path / "out.jsonl"
    file.write_text(f'[log]\nlevel = "info"\n[[log.sinks]]\ntype = "file"\npath = "{out}"\n')
    with configure_toml(file) as log:
        log.emit("from toml")
    with configure_env({"PYMONGOOSE_LOG_CONFIG": str(file)}) as log:
        log.emit("from env")
    other = tmp_path / "other.jsonl"
    env = {"PYMONGOOSE_LOG_SINKS": f"file={other},max_bytes=1MiB", "PYMONGOOSE_LOG_LEVEL": "error"}
    with configure_env(env) as log:
        log.emit("low")
        log.emit("high", level="error")
    assert "from toml" in out.read_text()
    assert "from env" in out.read_text()
    assert '"high"' in other.read_text()
    assert '"low"' not in other.read_text()
    file.write_text("[log")
    with pytest.raises(ValueError, match=r"log\.toml"):
        configure_toml(file)


def test_units_are_for_arguments_and_numbers_may_be_text(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    sink = {"type": "file", "path": str(out), "max_bytes": "4096", "batch_timeout": "10ms"}
    enrich = {"type": "enrich", "age": "5m", "raw_bytes": "lots"}
    with configure({"max_bytes": "1048576", "processors": [enrich], "sinks": [sink]}) as log:
        log.emit("m")
    assert '"age":"5m","raw_bytes":"lots"' in out.read_text()


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("CONFIG", "FILE", r"CONFIG: .*log\.toml: log: must be a table"),
        ("CONFIG", '{"sinks": []}', "CONFIG: sinks: a list"),
        ("CONFIG", "{", "CONFIG: "),
        ("SINKS", "nope", r"SINKS: sinks\[0\]\.type: unknown 'nope'"),
        ("LEVEL", "loud", "LEVEL: pipeline: unknown level"),
        ("MAX_EVENTS", "0", "MAX_EVENTS: pipeline: "),
        ("MAX_BYTES", "lots", "MAX_BYTES: max_bytes: "),
        ("OVERFLOW", "burst", "OVERFLOW: pipeline: "),
    ],
)
def test_what_is_wrong_in_the_environment_names_the_variable(
    tmp_path: Path, name: str, value: str, text: str
) -> None:
    file = tmp_path / "log.toml"
    file.write_text("log = 3\n")
    with pytest.raises(ValueError, match="^PYMONGOOSE_LOG_" + text):
        configure_env({f"PYMONGOOSE_LOG_{name}": str(file) if value == "FILE" else value})


# -- metrics --


def test_the_official_parser_reads_the_metrics(kept: Any) -> None:
    log, _ = kept
    for _ in range(5):
        log.emit("m")
    assert log.flush()
    registry = CollectorRegistry()
    registry.register(PipelineCollector(log, {"service": "shop"}))
    families = {
        f.name: f for f in text_string_to_metric_families(generate_latest(registry).decode())
    }
    accepted = families["pymongoose_sinks_accepted"].samples[0]
    assert (accepted.value, accepted.labels) == (5.0, {"service": "shop"})
    assert families["pymongoose_sinks_sent"].samples[0].value == 5.0


def test_a_route_shows_up_under_its_sinks_name() -> None:
    with Pipeline([Route(Kept(name="pager"), level="error")]) as log:
        log.emit("m", level="error")
        assert log.flush()
        assert log.stats().sinks["pager"].sent == 1
