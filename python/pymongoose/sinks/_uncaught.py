"""Exceptions that nobody caught, as events."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
import traceback
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any

from ._encode import represented
from ._levels import level_number

if TYPE_CHECKING:
    from ._pipeline import Pipeline


def capture_uncaught(
    pipeline: Pipeline,
    *,
    level: str = "critical",
    loop: asyncio.AbstractEventLoop | None = None,
    flush_timeout: float = 2.0,
) -> Callable[[], None]:
    """Emit every exception that leaves the program, a thread, an object's ``__del__`` or a task of ``loop``; what was called before still is.

    Fields: ``exception`` (the traceback as text), ``error`` (the type's name) and ``where``: ``main``, ``thread``, ``unraisable``, ``asyncio``. KeyboardInterrupt and
    SystemExit are no errors and pass by.

    Args:
        pipeline: where to.
        level: of those events.
        loop: set its exception handler, too.
        flush_timeout: seconds to wait for the sinks when the program is about to end.

    Returns:
        Callable: puts the former hooks back.

    Raises:
        ValueError: unknown level.
    """
    level_number(level)
    main_hook, thread_hook, unraisable_hook = (
        sys.excepthook,
        threading.excepthook,
        sys.unraisablehook,
    )
    loop_handler = loop.get_exception_handler() if loop is not None else None

    def tell(where: str, exc: BaseException | None, what: str = "", **more: Any) -> None:
        """Never raises: the former hook is yet to come."""
        if exc is not None and isinstance(exc, (KeyboardInterrupt, SystemExit)):
            return
        name = "" if exc is None else type(exc).__name__
        known: dict[str, Any] = {"level": level, "where": where, "error": name}
        try:
            text = "" if exc is None else "".join(traceback.format_exception(exc)).rstrip()
            pipeline.emit(what or f"uncaught {name}: {exc}", exception=text, **known, **more)
        except Exception:  # noqa: BLE001  (its __str__ raises: the traceback is printed by the former hook)
            with contextlib.suppress(Exception):
                pipeline.emit(f"uncaught {name}", **known)

    def on_main(kind: type[BaseException], exc: BaseException, trace: TracebackType | None) -> None:
        tell("main", exc)
        main_hook(kind, exc, trace)
        with contextlib.suppress(Exception):
            pipeline.flush(flush_timeout)

    def on_thread(args: threading.ExceptHookArgs) -> None:
        tell("thread", args.exc_value, thread=args.thread.name if args.thread else None)
        thread_hook(args)

    def on_unraisable(args: Any) -> None:
        tell("unraisable", args.exc_value, args.err_msg or "", object=represented(args.object))
        unraisable_hook(args)

    def on_loop(of: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        tell("asyncio", context.get("exception"), context.get("message", ""))
        if loop_handler is not None:
            loop_handler(of, context)
        else:
            of.default_exception_handler(context)

    sys.excepthook, threading.excepthook, sys.unraisablehook = on_main, on_thread, on_unraisable
    if loop is not None:
        loop.set_exception_handler(on_loop)

    def restore() -> None:
        if sys.excepthook is on_main:
            sys.excepthook = main_hook
        if threading.excepthook is on_thread:
            threading.excepthook = thread_hook
        if sys.unraisablehook is on_unraisable:
            sys.unraisablehook = unraisable_hook
        if loop is not None and loop.get_exception_handler() is on_loop:
            loop.set_exception_handler(loop_handler)

    return restore
