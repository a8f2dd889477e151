"""What happens to an event that does not fit, for each level."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias, get_args

from ._levels import NAMES, Level, level_index

Overflow: TypeAlias = Literal["drop_newest", "drop_oldest", "block", "spool"]
OVERFLOWS: tuple[Overflow, ...] = get_args(Overflow)  # in the order of the extension's numbers


def policies(overflow: Overflow | Mapping[Level, Overflow]) -> tuple[Overflow, ...]:
    """One policy for each of the six levels. A level that is named stands for those above it, too, up to the next one named."""
    named: Mapping[Level, Overflow]
    named = overflow if isinstance(overflow, Mapping) else {"trace": overflow}
    found: dict[int, Overflow] = {}
    for level, policy in named.items():
        if policy not in OVERFLOWS:
            raise ValueError(f"overflow must be one of {', '.join(OVERFLOWS)}, not {policy!r}")
        found[level_index(level)] = policy
    out: list[Overflow] = []
    for i in range(len(NAMES)):
        out.append(found.get(i, out[-1] if out else "drop_newest"))
    return tuple(out)
