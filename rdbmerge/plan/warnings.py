"""What a user should hear about a plan that is right and yet may surprise. Pure apart from reading manifests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rdbmerge.plan.conflicts import Candidate
from rdbmerge.plan.model import Plan, SourcePlan
from rdbmerge.plan.profile import TargetProfile
from rdbmerge.snapshot.manifest import read_manifest

_MOST_DEFAULT_DBS = 16


def warnings_of(plans: Sequence[Plan], candidates: Sequence[Candidate], profile: TargetProfile | None) -> list[str]:
    """All warnings about the files of one merge together, those about sources first."""
    warnings: list[str] = []
    for number, candidate in enumerate(candidates):
        warnings += _of_file(candidate)
        warnings += _of_what_is_left_out([plan.sources[number] for plan in plans])
    if profile is not None:
        warnings += _of_what_is_dropped(plans, candidates, profile)
        warnings += _of_companions(candidates, profile)
    for plan in plans:
        warnings += _of_target(plan, profile)
    return list(dict.fromkeys(warnings))


def _of_file(candidate: Candidate) -> Iterator[str]:
    name, facts = candidate.segment.name, candidate.index.facts
    if facts.trailing_bytes:
        yield f"{name}: {facts.trailing_bytes:,} bytes after the end of the RDB are ignored"
    if facts.stored_crc64 == 0:
        yield f"{name}: written with rdbchecksum no; damage inside values cannot be seen"
    if facts.aux_value("aof-base") == "1" or facts.aux_value("aof-preamble") == "1":
        yield f"{name}: the base of an append-only file; later writes are in its .aof files"
    manifest = read_manifest(candidate.segment.path)
    if manifest and manifest.pulled and manifest.pulled.written == "written":
        yield f"{name}: the source was written to during the pull ({manifest.pulled.evidence})"


def _of_what_is_left_out(parts: Sequence[SourcePlan]) -> Iterator[str]:
    """`parts`: what one source gives to each file."""
    empty = sum(run.empty for part in parts for run in part.runs)
    if empty:
        collections = f"{empty:,} empty collection{_s(empty)}"
        yield f"{parts[0].name}: {collections} left out (booked as filtered); no server keeps them"


def _of_what_is_dropped(
    plans: Sequence[Plan], candidates: Sequence[Candidate], profile: TargetProfile
) -> Iterator[str]:
    """What servers do without, and is dropped without asking (rdb-format.md 9)."""
    runs = [run for plan in plans for source in plan.sources for run in source.runs]
    hints, streams = sum(run.hints_dropped for run in runs), sum(run.counters_lost for run in runs)
    if hints:
        yield f"{hints:,} key{_s(hints)} without idle time or use counter, which {profile.name} cannot read"
    if streams:
        yield (
            f"{streams:,} stream{_s(streams)} without counters (entries added and read, highest deleted ID), which"
            f" {profile.name} does not keep: the lag of groups is unknown there"
        )
    dead_kept = not all(candidate.rules.drop_expired for candidate in candidates)
    if any(run.stripped for run in runs) and not profile.field_expiries and dead_kept:
        yield f"hash fields that were dead at their snapshot are kept as asked, and {profile.name} cannot expire them"


def _of_companions(candidates: Sequence[Candidate], profile: TargetProfile) -> Iterator[str]:
    libraries = {library.name for one in candidates for library in one.index.facts.libraries}
    modules = {data.module for one in candidates for data in one.index.facts.module_data}
    if libraries and not profile.functions:
        yield f"function libraries are left out, for {profile.name} has no functions: {', '.join(sorted(libraries))}"
    if modules and not profile.module_data:
        yield f"data of modules is left out, for {profile.name} loads none: {', '.join(sorted(modules))}"


def _of_target(plan: Plan, profile: TargetProfile | None) -> Iterator[str]:
    highest = max((db.db for db in plan.dbs), default=0)
    if highest >= _MOST_DEFAULT_DBS:
        yield f"db {highest} is used: the target needs `databases {highest + 1}` or more"
    if profile is not None and plan.magic.startswith("VALKEY") and not profile.measured:
        yield f"that {profile.name} reads {plan.magic} is inferred and not documented"


def _s(count: int) -> str:
    return "" if count == 1 else "s"
