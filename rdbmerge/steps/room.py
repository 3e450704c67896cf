"""Room on the disks that a run writes to, step by step, by what INFO and the files at hand say; one line a step.

An RDB file is mostly smaller than what its server uses in memory; how much smaller is not known before it is there.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rdbmerge.preflight import PreflightCheck, failed, ok, warning
from rdbmerge.units import format_bytes

_SMALLEST_SHARE = 0.25  # of the memory: what an RDB file takes at the very least, for data that compresses well


@dataclass(frozen=True, slots=True)
class Need:
    """What one step writes into a folder: at least, and at most."""

    step: str
    folder: Path
    least_bytes: int
    most_bytes: int


def need_of(step: str, folder: Path, *, files_bytes: int, memory_bytes: int) -> Need:
    """Of files whose size is known, and of servers of which only the memory is."""
    return Need(step, folder, files_bytes + int(memory_bytes * _SMALLEST_SHARE), files_bytes + memory_bytes)


def room_checks(needs: Sequence[Need]) -> list[PreflightCheck]:
    """One line a need; needs on one disk add up, in their order."""
    taken: dict[int, tuple[int, int]] = {}  # disk -> least and most that the steps before take
    checks = []
    for need in needs:
        place = _existing(need.folder)
        disk = place.stat().st_dev
        least, most = taken.get(disk, (0, 0))
        least, most = least + need.least_bytes, most + need.most_bytes
        taken[disk] = least, most
        checks.append(_check(need, least, most, _free_bytes(place)))
    return checks


def _check(need: Need, least: int, most: int, free: int) -> PreflightCheck:
    name = f"room for {need.step}"
    exactly = need.least_bytes == need.most_bytes
    wants = format_bytes(need.most_bytes) if exactly else f"at most {format_bytes(need.most_bytes)}"
    before = f", {format_bytes(most - need.most_bytes)} by the steps before" if most > need.most_bytes else ""
    finding = f"{wants} needed{before}, {format_bytes(free)} free in {need.folder}"
    remedy = "free space there, or choose another folder"
    if least > free:
        return failed(name, finding, remedy)
    return warning(name, finding, remedy) if most > free else ok(name, finding)


def _existing(folder: Path) -> Path:
    """The folder, or the first above it that is there."""
    folder = folder.absolute()
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    return folder


def _free_bytes(folder: Path) -> int:
    room = os.statvfs(folder)
    return room.f_bavail * room.f_frsize
