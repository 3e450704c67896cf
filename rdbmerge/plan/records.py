"""Decides which function libraries and which module data the merged file holds. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from rdbmerge.errors import ConflictError
from rdbmerge.format import write
from rdbmerge.format.strings import read_string
from rdbmerge.plan.conflicts import Candidate
from rdbmerge.plan.model import LibraryPlan, ModuleDataPlan, Policy


def plan_libraries(candidates: Sequence[Candidate], policy: Policy) -> list[LibraryPlan]:
    """One library a name; the same code in several sources is one. Raises ConflictError for two that differ."""
    holders: dict[str, list[tuple[int, int, str]]] = {}
    for candidate in candidates:
        for library in candidate.index.facts.libraries:
            holders.setdefault(library.name, []).append((candidate.number, library.offset, library.sha256))
    plans = []
    for name, found in holders.items():
        place = _choose(
            candidates,
            f"function library {name!r}",
            [digest for *_, digest in found],
            [number for number, *_ in found],
            policy,
        )
        number, offset, digest = found[place]
        code, _ = read_string(candidates[number].segment.view, offset + 1)
        plans.append(
            LibraryPlan(
                name=name,
                source=number,
                offset=offset,
                size_bytes=len(write.function(code)),
                dropped=[n for n, _, other in found if other != digest],
                equal=[n for n, _, other in found if other == digest and n != number],
            )
        )
    return plans


def plan_module_data(candidates: Sequence[Candidate], policy: Policy) -> list[ModuleDataPlan]:
    """One record a module and place (before or after the keys); equal records are one.

    Raises ConflictError for two that differ: only the module itself could join them.
    """
    holders: dict[tuple[str, bool], list[tuple[int, int, int, bytes]]] = {}
    for candidate in candidates:
        for data in candidate.index.facts.module_data:
            raw = bytes(candidate.segment.view[data.start : data.end])
            found = holders.setdefault((data.module, data.before_keys), [])
            found.append((candidate.number, data.start, data.end, raw))
    plans = []
    for (module, before_keys), found in holders.items():
        place = _choose(
            candidates,
            f"data of module {module!r}",
            [raw for *_, raw in found],
            [number for number, *_ in found],
            policy,
        )
        number, start, end, raw = found[place]
        plans.append(
            ModuleDataPlan(
                module=module,
                before_keys=before_keys,
                source=number,
                start=start,
                end=end,
                dropped=[n for n, _, _, other in found if other != raw],
                equal=[n for n, _, _, other in found if other == raw and n != number],
            )
        )
    return plans


def _choose(
    candidates: Sequence[Candidate], what: str, contents: Sequence[object], numbers: Sequence[int], policy: Policy
) -> int:
    """The place of the one to take. Where all are equal the first; else as the policy says, if it can."""
    if len(set(contents)) == 1 or policy is Policy.FIRST:
        return 0
    if policy is Policy.LAST:
        return len(contents) - 1
    places = ", ".join(candidates[number].segment.name for number in numbers)
    why = "" if policy is Policy.FAIL else " (longest-ttl cannot choose: it has no expiry)"
    raise ConflictError(
        f"{what} differs between sources: {places}{why}",
        remedy="choose with --on-conflict first or last, or make the sources agree",
    )
