"""Events for people: one line each, aligned, with colours where they are wanted; a traceback below.

2026-01-31 23:00:00.123 WARNING  the disk is filling up  disk=/dev/sda1 used=0.93
"""

from __future__ import annotations

import io
import re
import time
from typing import Any

from ._columns import epoch, json_text
from ._levels import level_name

STYLES = {
    "trace": "dim",
    "debug": "cyan",
    "info": "green",
    "warning": "yellow",
    "error": "red",
    "critical": "bold white on red",
}
WIDTH = 8  # of the longest level
_bare = re.compile(r"[^\s\"'=\\]+")
_turned = (
    r"\u200e\u200f\u2028-\u202e\u2066-\u2069"  # line ends, and what turns the direction of text
)
_control = re.compile(rf"[\x00-\x08\x0a-\x1f\x7f-\x9f{_turned}]")
_control_in_block = re.compile(rf"[\x00-\x08\x0b-\x1f\x7f-\x9f{_turned}]")


class Pretty:
    """Makes lines of events. What could steer a terminal is shown, not sent.

    Args:
        colour: with the control sequences of a terminal.

    Raises:
        ImportError: the package rich is missing.
    """

    def __init__(self, colour: bool = False) -> None:
        try:
            from rich.console import Console
            from rich.text import Text
        except ImportError:
            raise ImportError(
                "showing events to people needs the package rich: pip install rich"
            ) from None
        self._text = Text
        self._out = io.StringIO()
        self._console = Console(
            file=self._out,
            force_terminal=colour,
            no_color=not colour,
            color_system="standard" if colour else None,
            legacy_windows=False,
            markup=False,
            emoji=False,
            highlight=False,
            soft_wrap=True,
        )

    def line(self, event: dict[str, Any]) -> str:
        """The line of an event, with its end; several when there is a traceback."""
        text = self._text()
        text.append(_moment(event.get("ts")) + " ", style="dim")
        try:
            level = level_name(event.get("level", "info"))
        except (TypeError, ValueError):
            level = "info"
        text.append(f"{level.upper():{WIDTH}}", style=STYLES[level])
        text.append(" " + harmless(_plain(event.get("message", ""))), style="bold")
        exception = None
        before = "  "
        for field, value in event.items():
            if field in ("level", "message") or (field == "ts" and epoch(value) is not None):
                continue
            if field == "exception" and isinstance(value, str) and "\n" in value:
                exception = value
                continue
            text.append(f"{before}{harmless(field)}=", style="cyan")
            text.append(_value(value))
            before = " "
        if exception is not None:
            block = _control_in_block.sub(_escape, exception.replace("\r\n", "\n")).rstrip("\n")
            *frames, last = block.split("\n")
            text.append("".join(f"\n    {line}" for line in frames))
            text.append(f"\n    {last}", style="red")
        self._out.seek(0)
        self._out.truncate()
        self._console.print(text)
        return self._out.getvalue()


def _moment(ts: Any) -> str:
    seconds = epoch(ts)
    if seconds is None:
        return f"{'-':23}"
    whole, thousandths = divmod(int(seconds * 1000), 1000)
    return f"{time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(whole))}.{thousandths:03}"


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json_text(value)


def _value(value: Any) -> str:
    if isinstance(value, str) and not _bare.fullmatch(value):
        value = json_text(value)
    return harmless(_plain(value))


def harmless(text: str) -> str:
    """Text that steers no terminal: control characters are shown, not sent."""
    return _control.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    return {"\n": "\\n", "\r": "\\r"}.get(found[0]) or (
        f"\\x{ord(found[0]):02x}" if ord(found[0]) < 256 else f"\\u{ord(found[0]):04x}"
    )
