"""Events as syslog messages, RFC 5424.

    <PRI>1 TIMESTAMP HOSTNAME APP-NAME PROCID MSGID [SD-ID name="value" …] MSG

The message is MSG, every other field a parameter of one structured-data element. Names and header values have their limits: what they do not
allow becomes "_". A message longer than its limit loses parameters first, then the end of MSG; a parameter `truncated` tells.
"""

from __future__ import annotations

import re
from datetime import datetime, timezone
from typing import Any

from ._columns import epoch, json_text
from ._levels import level_name

FACILITIES: dict[str, int] = {
    name: number
    for number, name in enumerate(
        [
            "kern",
            "user",
            "mail",
            "daemon",
            "auth",
            "syslog",
            "lpr",
            "news",
            "uucp",
            "cron",
            "authpriv",
            "ftp",
            "ntp",
            "audit",
            "alert",
            "clock",
            "local0",
            "local1",
            "local2",
            "local3",
            "local4",
            "local5",
            "local6",
            "local7",
        ]
    )
}
SEVERITIES: dict[str, int] = {
    "critical": 2,
    "error": 3,
    "warning": 4,
    "info": 6,
    "debug": 7,
    "trace": 7,
}
BOM = b"\xef\xbb\xbf"
NAMES = 4096  # parameter names remembered with what they became
NAME_LENGTH = 32

_not_in_names = re.compile(r"[^!#-<>-\\^-~]")  # printable ASCII without = ] " and space
_not_printable = re.compile(r"[^!-~]")
_escaped = re.compile(r'(["\\\]])')


def facility_number(facility: str | int) -> int:
    """0 to 23. ValueError: there is no such facility."""
    if isinstance(facility, str) and facility.lower() in FACILITIES:
        return FACILITIES[facility.lower()]
    if isinstance(facility, int) and not isinstance(facility, bool) and 0 <= facility <= 23:
        return facility
    raise ValueError(
        f"facility must be 0 to 23 or one of {', '.join(FACILITIES)}, not {facility!r}"
    )


def a_sd_id(name: str, value: Any) -> None:
    """SD-ID. ValueError: it is none."""
    if not isinstance(value, str) or sd_name(value) != value:
        raise ValueError(
            f"{name} must be 1 to 32 characters of ASCII without space, '=', ']' and '\"', not {value!r}"
        )


def header_value(value: str, length: int) -> str:
    """A header's value of printable ASCII, "-" for none."""
    return _not_printable.sub("_", value)[:length] or "-"


def sd_name(name: str) -> str:
    """SD-NAME: what may not be in it becomes "_"."""
    return _not_in_names.sub("_", name)[:NAME_LENGTH] or "_"


class SyslogFormat:
    """Makes messages of events.

    Args:
        facility: number. hostname, app_name, msgid: of the header. sd_id: of the element with the fields.
        max_message: bytes of a message at most.
    """

    def __init__(
        self, facility: int, hostname: str, app_name: str, msgid: str, sd_id: str, max_message: int
    ) -> None:
        self._facility = facility * 8
        self._names: dict[str, str] = {}
        self._before = f" {header_value(hostname, 255)} {header_value(app_name, 48)} "
        self._after = f" {header_value(msgid, 32)} "
        self._sd_id = sd_id
        self.max_message = max_message

    def message(self, event: dict[str, Any], procid: str) -> bytes:
        """One message without any framing."""
        pri = self._facility + _severity(event.get("level"))
        head = f"<{pri}>1 {_timestamp(event)}{self._before}{header_value(procid, 128)}{self._after}"
        params = self._params(event)
        data = f"[{self._sd_id}{''.join(params)}]" if params else "-"
        text = _text(event.get("message", "")).encode("utf-8", "replace")
        if text and not text.isascii():
            text = BOM + text  # RFC 5424 6.4: so it is known to be UTF-8
        whole = (head + data).encode("utf-8", "replace")
        if text:
            whole += b" " + text
        if len(whole) <= self.max_message:
            return whole
        return self._shortened(head.encode(), params, text)

    def _params(self, event: dict[str, Any]) -> list[str]:
        params = []
        used: set[str] = set()
        for field, value in event.items():
            if (
                field == "message"
                or field == "level"
                or (field == "ts" and epoch(value) is not None)
            ):
                continue
            name = self._names.get(field)
            if name is None:
                name = sd_name(field)
                if len(self._names) < NAMES:
                    self._names[field] = name
            if name in used:
                name = _another(name, used)
            used.add(name)
            params.append(f' {name}="{_escaped.sub(_backslash, _text(value))}"')
        return params

    def _shortened(self, head: bytes, params: list[str], text: bytes) -> bytes:
        room = self.max_message - len(head) - len(self._sd_id) - 2
        for_text = min(len(text) + 1, room // 2)
        kept = [' truncated="1"']
        left = room - for_text - len(kept[0])
        for param in params:
            size = len(param.encode("utf-8", "replace"))
            if size <= left:
                kept.append(param)
                left -= size
        data = f"[{self._sd_id}{''.join(kept)}]".encode("utf-8", "replace")
        room = max(self.max_message - len(head) - len(data) - 1, 0)
        cut = text[:room].decode("utf-8", "ignore")
        return head + data + b" " + cut.encode() if cut else head + data


def _backslash(found: re.Match[str]) -> str:
    return "\\" + found[0]


def _another(name: str, used: set[str]) -> str:
    number = 2
    while (other := f"{name[: NAME_LENGTH - len(str(number)) - 1]}~{number}") in used:
        number += 1
    return other


def _severity(level: Any) -> int:
    try:
        return SEVERITIES[level_name(level)]
    except (TypeError, ValueError):
        return SEVERITIES["info"]


def _timestamp(event: dict[str, Any]) -> str:
    ts = epoch(event.get("ts"))
    if ts is None:
        return "-"
    return datetime.fromtimestamp(ts, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json_text(value)
