"""The directory of a spool: a lane for this process, and those of processes that died."""

from __future__ import annotations

import contextlib
from collections.abc import Container, Sequence
from pathlib import Path

from .._errors import MongooseError
from ._spool_lane import Lane
from ._spool_records import sync_folder

_LANES = 10_000


def free_lane(path: Path, *, syncs: bool) -> Lane:
    """One that nobody has, made if need be. Raises OSError, and MongooseError when there are too many."""
    _make_folder(path, syncs)
    for number in range(_LANES):
        lane = Lane.try_open(path / f"{number:04d}", create=True, syncs=syncs)
        if lane is not None:
            return lane
    raise MongooseError(f"{path} has no free lane")


def lanes_of_the_dead(path: Path, known: Container[str], *, syncs: bool) -> list[Lane]:
    """Those with files that nobody has any longer, but for those of a known name; the oldest first. They are ours from now on."""
    found: list[Lane] = []
    for folder in sorted(path.iterdir()):
        if folder.name in known or not folder.name.isdigit() or not any(folder.glob("*.seg")):
            continue
        lane = Lane.try_open(folder, create=False, syncs=syncs)
        if lane is not None:
            found.append(lane)
    return found


def lane_records(lanes: Sequence[Lane]) -> int:
    """Events in them that are not acknowledged."""
    return sum(lane.records for lane in lanes)


def _make_folder(path: Path, syncs: bool) -> None:
    """The folder and those above it; with syncs their names are on the medium."""
    if path.is_dir():
        return
    _make_folder(path.parent, syncs)
    with contextlib.suppress(FileExistsError):
        path.mkdir()
    if syncs:
        sync_folder(path.parent)
