"""A pipeline from a mapping, a TOML file or the environment.

Everything is a constructor in other words: ``type`` names the class, the other keys are its arguments. What is wrong is told with the
place it stands at: ``sinks[1].max_byte: unknown; RotatingFileSink takes …``.
"""

from __future__ import annotations

import importlib
import inspect
import json
import os
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from ._pipeline import Pipeline
from ._route import Route

SINKS: Final = {
    "stdout": "StdoutSink",
    "file": "RotatingFileSink",
    "rotating_file": "RotatingFileSink",
    "http": "HttpSink",
    "loki": "LokiSink",
    "otlp": "OtlpSink",
    "elastic": "ElasticSink",
    "syslog": "SyslogSink",
    "sqlite": "SqliteSink",
    "postgres": "PostgresSink",
}
PROCESSORS: Final = {
    "enrich": "Enrich",
    "redact": "Redact",
    "sample": "Sample",
    "rate_limit": "RateLimit",
    "dedupe": "Dedupe",
    "truncate": "Truncate",
}
NESTED: Final = {"retry": "Retry", "breaker": "Breaker", "spool": "Spool"}
PREFIX: Final = "PYMONGOOSE_LOG_"

_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(B|KB|MB|GB|KiB|MiB|GiB)", re.IGNORECASE)
_TIME: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)")
_UNITS: Final = {
    "b": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "kib": 1 << 10,
    "mib": 1 << 20,
    "gib": 1 << 30,
}
_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def configure(config: Mapping[str, Any]) -> Pipeline:
    """A pipeline, not started, from a mapping.

    ::

        log = configure({
            "level": "info", "max_events": 50_000, "overflow": {"trace": "drop_newest", "error": "block"},
            "processors": [{"type": "redact", "presets": ["credentials"]}],
            "sinks": [
                {"type": "file", "path": "events.jsonl", "max_bytes": "64 MiB"},
                {"type": "http", "url": "http://127.0.0.1:3100/ingest", "spool": "spool/", "route": {"level": "warning"}},
            ],
        })

    ``type`` is one of SINKS or PROCESSORS, or ``package.module:Class``. ``route`` holds the arguments of Route, ``retry``, ``breaker`` and ``spool`` those of
    their classes (``false``: none). Arguments named ``…bytes`` may be written ``"64 MiB"``, and those that are numbers of seconds ``"5m"``.

    Raises:
        ValueError: an unknown type, an unknown or wrong argument; the text begins with its place.
        ImportError: a sink's library is not installed.
    """
    options = dict(config)
    given = options.pop("sinks", None)
    if not isinstance(given, (list, tuple)) or not given:
        raise ValueError("sinks: a list of at least one is needed")
    sinks = [_sink(each, f"sinks[{i}]") for i, each in enumerate(given)]
    processors = options.pop("processors", ())
    if not isinstance(processors, (list, tuple)):
        raise ValueError("processors: must be a list")  # noqa: TRY004  (the document is wrong)
    options["processors"] = [
        each if callable(each) else _make(each, PROCESSORS, f"processors[{i}]")
        for i, each in enumerate(processors)
    ]
    return _call(Pipeline, options, "", sinks)  # type: ignore[no-any-return]


def configure_toml(path: str | os.PathLike[str], *, table: str = "log") -> Pipeline:
    """The same from a TOML file: from its table of that name, or from the whole file when it has none.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not TOML, or as configure().
        ImportError: Python 3.10 without the package tomli.
    """
    config = _table(path, table)
    try:
        return configure(config)
    except ValueError as e:
        raise ValueError(f"{os.fspath(path)}: {e}") from None


def configure_env(environ: Mapping[str, str] | None = None) -> Pipeline:
    """The same from the environment.

    - ``PYMONGOOSE_LOG_CONFIG``: a TOML file, or the mapping as JSON.
    - ``PYMONGOOSE_LOG_SINKS``: sinks with blanks between them, each ``type``, ``type=argument`` or ``type=argument,name=value,…``, as
      ``stdout file=/var/log/app.jsonl,max_bytes=64MiB http=http://127.0.0.1:3100/in,compress=gzip``; in place of those of the file.
    - ``PYMONGOOSE_LOG_LEVEL``, ``_OVERFLOW``, ``_MAX_EVENTS``, ``_MAX_BYTES``: arguments of Pipeline, in place of those of the file.

    With none of them: JSON lines on standard output.

    Raises:
        ValueError, OSError, ImportError: as configure() and configure_toml(); the text names the variable.
    """
    environ = os.environ if environ is None else environ
    config: dict[str, Any] = {}
    named = []
    source = environ.get(PREFIX + "CONFIG", "").strip()
    if source:
        named.append(PREFIX + "CONFIG")
    if source.startswith("{"):
        try:
            config = json.loads(source)
        except ValueError as e:
            raise ValueError(f"{PREFIX}CONFIG: {e}") from None
    elif source:
        try:
            config = dict(_table(source))
        except ValueError as e:
            raise ValueError(f"{PREFIX}CONFIG: {e}") from None
    if specs := environ.get(PREFIX + "SINKS", "").split():
        config["sinks"] = [_spec(each) for each in specs]
        named.append(PREFIX + "SINKS")
    for name in ("LEVEL", "OVERFLOW", "MAX_EVENTS", "MAX_BYTES"):
        if text := environ.get(PREFIX + name, "").strip():
            config[name.lower()] = _literal(text)
            named.append(PREFIX + name)
    config.setdefault("sinks", [{"type": "stdout"}])
    try:
        return configure(config)
    except ValueError as e:  # it names the argument; here is where that came from
        raise ValueError(f"{_variable(str(e), named)}: {e}") from e.__cause__


def _variable(text: str, named: list[str]) -> str:
    """The variable that a complaint of configure() is about; where that is not clear, all that are set."""
    if text.startswith("sinks") and PREFIX + "SINKS" in named:
        return PREFIX + "SINKS"
    about = [each for each in named if each.removeprefix(PREFIX).lower() in text]
    return about[-1] if about else ", ".join(named)


def _table(path: str | os.PathLike[str], table: str = "log") -> dict[str, Any]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        document = tomllib.loads(Path(path).read_text("utf-8"))
    except tomllib.TOMLDecodeError as e:
        raise ValueError(f"{os.fspath(path)}: {e}") from None
    found = document.get(table, document)
    if not isinstance(found, dict):
        raise ValueError(f"{os.fspath(path)}: {table}: must be a table")  # noqa: TRY004
    return found


def _spec(text: str) -> dict[str, Any]:
    head, *rest = text.split(",")
    kind, found, target = head.partition("=")
    spec: dict[str, Any] = {"type": kind}
    if found:
        spec[""] = target
    for each in rest:
        name, found, value = each.partition("=")
        if not found:
            raise ValueError(f"{PREFIX}SINKS: {text!r}: {each!r} is not name=value")
        spec[name] = _literal(value)
    return spec


def _literal(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _sink(given: Any, place: str) -> Any:
    if not isinstance(given, Mapping):
        return given  # made by the program
    options = dict(given)
    route = options.pop("route", None)
    for name, kind in NESTED.items():
        if isinstance(options.get(name), Mapping):
            options[name] = _call(_class(kind), dict(options[name]), f"{place}.{name}")
        elif options.get(name) is False:
            options[name] = None
    if isinstance(options.get("dead_letter"), Mapping):
        options["dead_letter"] = _sink(options["dead_letter"], f"{place}.dead_letter")
    if isinstance(options.get("tls"), Mapping):
        from .._tls import TlsOpts

        options["tls"] = _call(TlsOpts, dict(options["tls"]), f"{place}.tls")
    sink = _make(options, SINKS, place)
    if route is None:
        return sink
    if not isinstance(route, Mapping):
        raise ValueError(f"{place}.route: must be a mapping")  # noqa: TRY004
    return _call(Route, dict(route), f"{place}.route", sink)


def _class(name: str) -> Callable[..., Any]:
    from pymongoose import sinks

    return getattr(sinks, name)  # type: ignore[no-any-return]


def _make(given: Any, known: Mapping[str, str], place: str) -> Any:
    if not isinstance(given, Mapping):
        raise ValueError(f"{place}: must be a mapping")  # noqa: TRY004
    options = dict(given)
    kind = options.pop("type", None)
    if not isinstance(kind, str):
        raise ValueError(  # noqa: TRY004
            f"{place}.type: is missing; there are {', '.join(known)}, or package.module:Class"
        )
    if kind in known:
        make = _class(known[kind])
    elif ":" in kind:
        module, _, name = kind.partition(":")
        try:
            make = getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError) as e:
            raise ValueError(f"{place}.type: {kind!r}: {e}") from None
    else:
        raise ValueError(
            f"{place}.type: unknown {kind!r}; there are {', '.join(known)}, or package.module:Class"
        )
    return _call(make, options, place)


def _call(make: Callable[..., Any], options: dict[str, Any], place: str, *args: Any) -> Any:
    """make(*args, **options), whose complaints name the place."""
    taken = inspect.signature(make).parameters
    free = any(p.kind is p.VAR_KEYWORD for p in taken.values())
    if "" in options:  # the first argument, whatever its name
        first = next(iter(taken), "")
        options[first] = options.pop("")
    names = [n for n, p in taken.items() if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
    dot = f"{place}." if place else ""
    for name, value in list(options.items()):
        if name not in taken and not free:
            raise ValueError(f"{dot}{name}: unknown; {make.__name__} takes {', '.join(names)}")
        if name not in taken:  # a field of Enrich is what it is
            continue
        try:
            options[name] = _unit(name, value)
        except ValueError as e:
            raise ValueError(f"{dot}{name}: {e}") from None
    try:
        return make(*args, **options)
    except (TypeError, ValueError) as e:
        raise ValueError(f"{place or 'pipeline'}: {e}") from e


def _unit(name: str, value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if name.endswith("bytes"):
        if value.strip().isdecimal():
            return int(value)
        if (found := _SIZE.fullmatch(value.strip())) is None:
            raise ValueError(f"a number of bytes or a text like '64 MiB', not {value!r}")
        return int(float(found[1]) * _UNITS[found[2].lower()])
    of_time = name.endswith(("timeout", "interval", "window", "flush", "age", "reset"))
    if of_time and (found := _TIME.fullmatch(value.strip())) is not None:
        return float(found[1]) * _SECONDS[found[2]]
    return value
