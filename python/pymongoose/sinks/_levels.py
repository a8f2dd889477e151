"""Levels: names, the numbers of the standard library, and which is higher."""

from __future__ import annotations

from typing import TypeAlias

Level: TypeAlias = str | int
"""A name in any case (``"info"``, ``"WARN"``), or a number as :mod:`logging` has them."""

LEVELS: dict[str, int] = {
    "trace": 5,
    "debug": 10,
    "info": 20,
    "warning": 30,
    "error": 40,
    "critical": 50,
}
"""Number of each level, lowest first."""

NAMES: tuple[str, ...] = tuple(LEVELS)
ALIASES = {"warn": "warning", "fatal": "critical"}
_index = {name: i for i, name in enumerate(NAMES)}
_index |= {alias: _index[name] for alias, name in ALIASES.items()}


def level_index(level: Level) -> int:
    """Place of a level among the six, 0 for trace. A number between two levels is the lower one.

    Raises ValueError for an unknown name or a negative number, TypeError for anything else.
    """
    if isinstance(level, str):
        found = _index.get(level)
        if found is None:
            found = _index.get(level.strip().lower())
        if found is None:
            raise ValueError(f"unknown level {level!r}: one of {', '.join(NAMES)}, or a number")
        return found
    if isinstance(level, bool) or not isinstance(level, int):
        raise TypeError(f"level must be str or int, not {type(level).__name__}")
    if level < 0:
        raise ValueError(f"level must not be negative, not {level}")
    for i in range(len(NAMES) - 1, 0, -1):
        if level >= LEVELS[NAMES[i]]:
            return i
    return 0


def level_name(level: Level) -> str:
    """Name as it stands in events: ``level_name("WARN") == "warning"``, ``level_name(20) == "info"``."""
    return NAMES[level_index(level)]


def level_number(level: Level) -> int:
    """Number of a level: ``level_number("warning") == 30``. A number stays as it is."""
    if isinstance(level, int) and not isinstance(level, bool):
        level_index(level)
        return level
    return LEVELS[level_name(level)]


KNOWN: dict[str | int, int] = {number: i for i, number in enumerate(LEVELS.values())}
for _name, _i in _index.items():
    KNOWN[_name] = KNOWN[_name.upper()] = _i
"""What can be looked up without calling :func:`level_index`."""
