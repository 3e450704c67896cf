"""What a user should hear about a plan that is right and yet may surprise. Pure apart from reading manifests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rdbmerge.format import codes, streams
from rdbmerge.format.forms import KEEP, NONE
from rdbmerge.format.streams import LEVELS
from rdbmerge.format.values import REDIS_TYPES, Logical
from rdbmerge.plan.conflicts import Candidate
from rdbmerge.plan.model import Plan, SourcePlan
from rdbmerge.plan.profile import TargetProfile
from rdbmerge.snapshot.manifest import read_manifest

_MOST_DEFAULT_DBS = 16


def warnings_of(plan: Plan, candidates: Sequence[Candidate], profile: TargetProfile | None) -> list[str]:
    """All warnings, those about sources first."""
    warnings: list[str] = []
    for candidate, source in zip(candidates, plan.sources, strict=True):
        warnings += _of_file(candidate)
        warnings += _of_what_is_left_out(source)
        if profile is not None:
            warnings += _of_what_is_dropped(candidate, profile)
    if profile is not None:
        warnings += _of_companions(candidates, profile)
    warnings += _of_target(plan, profile)
    return warnings


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


def _of_what_is_left_out(source: SourcePlan) -> Iterator[str]:
    empty = sum(run.empty for run in source.runs)
    if empty:
        yield f"{source.name}: {empty:,} empty collections left out (booked as filtered); no server keeps them"


def _of_what_is_dropped(candidate: Candidate, profile: TargetProfile) -> Iterator[str]:
    """What servers do without, and is dropped without asking (rdb-format.md 9)."""
    name, facts = candidate.segment.name, candidate.index.facts
    flags = 0
    for chunk in facts.chunks:
        flags |= chunk.flags
    if flags & candidate.change.dropped_flags & (codes.HAS_IDLE | codes.HAS_FREQ):
        yield f"{name}: idle times and use counters of keys are dropped, for {profile.name} cannot read them"
    types, forms = candidate.segment.dialect.types, candidate.change.forms
    poorer = 0
    for db in facts.dbs:
        for number, keys in db.types.items():
            form = forms[number]
            if types[number].logical == Logical.STREAM and form not in (KEEP, NONE):
                poorer += keys * (LEVELS[REDIS_TYPES[form].shape] < streams.COUNTERS <= LEVELS[types[number].shape])
    if poorer:
        yield (
            f"{name}: {poorer:,} streams lose their counters (entries added and read, highest deleted ID), which"
            f" {profile.name} does not keep; the lag of groups is unknown there"
        )


def _of_companions(candidates: Sequence[Candidate], profile: TargetProfile) -> Iterator[str]:
    libraries = {library.name for one in candidates for library in one.index.facts.libraries}
    modules = {data.module for one in candidates for data in one.index.facts.module_data}
    if libraries and not profile.functions:
        yield f"function libraries are left out, for {profile.name} has no functions: {', '.join(sorted(libraries))}"
    if modules and not profile.modules:
        yield f"data of modules is left out, for {profile.name} loads none: {', '.join(sorted(modules))}"


def _of_target(plan: Plan, profile: TargetProfile | None) -> Iterator[str]:
    highest = max((db.db for db in plan.dbs), default=0)
    if highest >= _MOST_DEFAULT_DBS:
        yield f"db {highest} is used: the target needs `databases {highest + 1}` or more"
    if profile is not None and plan.magic.startswith("VALKEY") and not profile.measured:
        yield f"that {profile.name} reads {plan.magic} is inferred and not documented"
