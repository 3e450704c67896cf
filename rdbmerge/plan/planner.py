"""Indexes and rules in, Plans out: every number of the merge exact before a byte of it is written.

One Plan a file: one, or one a shard of a cluster; the sources are read once for all of them. A chunk that the rules
leave as it is takes its numbers from the index; only the others are read again. Pure apart from reading the segments it
is given: the same inputs make the same Plans.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from rdbmerge import __version__
from rdbmerge.errors import UsageError
from rdbmerge.plan.conflicts import Candidate, settle
from rdbmerge.plan.counting import Counted, Task, count
from rdbmerge.plan.layout import total_bytes
from rdbmerge.plan.model import ChunkPlan, Conflict, Plan, Rejection, Rules, RunPlan, SourcePlan, TargetDb
from rdbmerge.plan.profile import TargetProfile
from rdbmerge.plan.records import plan_libraries, plan_module_data
from rdbmerge.plan.rejections import Rejected, note_companions, note_keys
from rdbmerge.plan.selection import Selection
from rdbmerge.plan.sharding import Sharding, Slots
from rdbmerge.plan.treatment import profile_of, refuse_unknown_sources, rules_of, treat
from rdbmerge.plan.versions import Content, refuse_two_lines
from rdbmerge.plan.warnings import warnings_of
from rdbmerge.snapshot.index import Chunk, Index
from rdbmerge.snapshot.manifest import SnapshotTimeFrom, read_manifest, snapshot_time
from rdbmerge.snapshot.segment import Segment

Map = Callable[[Callable[[Task], list[Counted]], Iterable[Task]], Iterator[list[Counted]]]

_SUMMED = (
    "written", "written_expires", "expired", "filtered", "conflict_dropped", "rejected", "elsewhere", "stripped",
    "recoded", "hints_dropped", "counters_lost", "fields_expired", "empty",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Notes:
    """Who is told of every entry in conflict, and of everything that the target cannot hold."""

    conflict: Callable[[Conflict], None] | None = None
    rejection: Callable[[Rejection], None] | None = None


@dataclass(slots=True)
class _File:
    """One merged file while it is planned."""

    sources: list[SourcePlan] = field(default_factory=list)
    content: Content = field(default_factory=Content)


def make_plan(
    segments: Sequence[Segment],
    indexes: Sequence[Index],
    rules: Rules,
    *,
    now_ms: int,
    notes: Notes = Notes(),
    run: Map = map,
) -> Plan:
    """Decide a merge into one file; see `make_plans`."""
    return make_plans(segments, indexes, rules, None, now_ms=now_ms, notes=notes, run=run)[0]


def make_plans(
    segments: Sequence[Segment],
    indexes: Sequence[Index],
    rules: Rules,
    slots: Sequence[Slots] | None,
    *,
    now_ms: int,
    notes: Notes = Notes(),
    run: Map = map,
) -> list[Plan]:
    """Decide a merge of `segments`, named in order of precedence.

    Args:
        indexes: of each segment, in the same order.
        slots: of each shard, for one Plan a shard; None: one Plan that holds everything.
        now_ms: the one clock reading; goes into the merged files as their time.
        run: a `map`, of a thread pool for instance.

    Raises:
        ConflictError: keys, libraries or module data in conflict, and the policy is to fail.
        UnfitError: the sources hold what the target cannot load, and the policy is to fail.
        UsageError: rules that cannot be, or types that no one file can hold.
    """
    profile = profile_of(rules)
    candidates, times = _candidates(segments, indexes, rules)
    sharding = Sharding(slots)
    _refuse_dbs(candidates, profile, sharded=slots is not None)
    settled = settle(candidates, rules.on_conflict, notes.conflict)
    rejected = Rejected(rules.on_unsupported, notes.rejection)
    files = [_File() for _ in range(sharding.count)]
    for candidate, (at_ms, at_from) in zip(candidates, times, strict=True):
        losers = sorted(settled.losers.get(candidate.number, []))
        runs = _plan_runs(candidate, at_ms, losers, sharding, files, rejected, run)
        for file, its_runs in zip(files, runs, strict=True):
            file.sources.append(_source(candidate, at_ms, at_from, losers, its_runs))
    if profile is not None:
        note_companions(candidates, profile, rejected)
        rejected.check(profile.name)
    refuse_two_lines([file.content for file in files])
    plans = [
        _plan(file, candidates, rules, None if slots is None else slots[shard], settled.count, profile, now_ms)
        for shard, file in enumerate(files)
    ]
    warnings = warnings_of(plans, candidates, profile)
    for plan in plans:
        plan.warnings = warnings
        plan.ledger().check()
    return plans


def _candidates(
    segments: Sequence[Segment], indexes: Sequence[Index], rules: Rules
) -> tuple[list[Candidate], list[tuple[int, SnapshotTimeFrom]]]:
    refuse_unknown_sources(rules, [segment.name for segment in segments])
    candidates, times = [], []
    for number, (segment, index) in enumerate(zip(segments, indexes, strict=True)):
        own = rules_of(rules, segment.name)
        at_ms, at_from = snapshot_time(segment, index.facts, own.snapshot_at_ms)
        freeze_ms = 0 if own.ttl_freeze_until_ms is None else own.ttl_freeze_until_ms - at_ms
        offset_ms = own.ttl_offset_ms + freeze_ms
        treatment = treat(own, segment, snapshot_at_ms=at_ms, ttl_offset_ms=offset_ms)
        candidates.append(Candidate(number, segment, index, treatment.selection, treatment.change, offset_ms, own))
        times.append((at_ms, at_from))
    return candidates, times


def _refuse_dbs(candidates: Sequence[Candidate], profile: TargetProfile | None, *, sharded: bool) -> None:
    """A cluster has db 0 only, and so have some services."""
    if not sharded and (profile is None or profile.many_dbs):
        return
    targets: dict[int, set[int]] = {}  # of each source db, by the maps of the sources that have it
    for one in candidates:
        for db in one.index.facts.dbs:
            if db.keys and one.selection.takes_db(db.db):
                targets.setdefault(db.db, set()).add(one.target_of(db.db))
    used = sorted(targets)
    wrong = [db for db in used if targets[db] != {0}]
    if wrong:
        who = "a cluster" if profile is None or profile.many_dbs else profile.name
        moves = ",".join(f"{db}:0" for db in used if db)
        remedies = [f"bring all into it with --db-map {moves}" if moves else "leave db 0 out of --db-map"]
        if len(wrong) < len(used):
            remedies.append(f"leave out others with --db {','.join(str(db) for db in used if db not in wrong)}")
        raise UsageError(
            f"{who} has db 0 only, and keys of db {', '.join(map(str, wrong))} would be in another",
            remedy=", or ".join(remedies),
        )


def _source(
    candidate: Candidate, at_ms: int, at_from: SnapshotTimeFrom, losers: list[int], runs: list[RunPlan]
) -> SourcePlan:
    facts = candidate.index.facts
    manifest = read_manifest(candidate.segment.path)
    return SourcePlan(
        path=str(candidate.segment.path),
        name=candidate.segment.name,
        magic=facts.magic,
        size_bytes=facts.size_bytes,
        mtime_ns=facts.mtime_ns,
        crc64=f"{facts.crc64:016x}",
        sha256=manifest.sha256 if manifest else None,
        snapshot_at_ms=at_ms,
        snapshot_at_from=at_from,
        ttl_offset_ms=candidate.ttl_offset_ms,
        runs=runs,
        losers=losers,
    )


def _plan_runs(
    candidate: Candidate,
    at_ms: int,
    losers: list[int],
    sharding: Sharding,
    files: Sequence[_File],
    rejected: Rejected,
    run: Map,
) -> list[list[RunPlan]]:
    """What the source gives to each file, by its dbs."""
    segment, chunks = candidate.segment, candidate.index.facts.chunks
    with_losers = treat(
        candidate.rules, segment, snapshot_at_ms=at_ms, ttl_offset_ms=candidate.ttl_offset_ms, losers=losers
    ).selection
    counted = run(count, (_task(candidate, with_losers, sharding, chunk) for chunk in chunks))
    runs: list[dict[int, RunPlan]] = [{} for _ in files]
    with_rejected = []
    for chunk, numbers in zip(chunks, counted, strict=True):
        for file, its_runs, its_numbers in zip(files, runs, numbers, strict=True):
            _add(its_runs, chunk, candidate.target_of(chunk.db), its_numbers)
            file.content.add_types(segment.name, its_numbers.types)
            file.content.add_flags(segment.name, its_numbers.flags)
            file.content.add_size(its_numbers.largest_entry_bytes)
        if any(its_numbers.rejected or its_numbers.stripped for its_numbers in numbers):
            with_rejected.append(chunk)
    note_keys(candidate, with_losers, with_rejected, rejected)
    return [[its_runs[db] for db in sorted(its_runs)] for its_runs in runs]


def _task(candidate: Candidate, selection: Selection, sharding: Sharding, chunk: Chunk) -> Task:
    return Task(candidate.segment, selection, candidate.change, sharding, chunk)


def _add(runs: dict[int, RunPlan], chunk: Chunk, target_db: int, numbers: Counted) -> None:
    line = runs.get(chunk.db)
    if line is None:
        line = RunPlan(
            db=chunk.db, target_db=target_db, read=0, written=0, written_expires=0, expired=0, filtered=0,
            conflict_dropped=0, chunks=[],
        )  # fmt: skip
        runs[chunk.db] = line
    line.read += chunk.rows
    for name in _SUMMED:
        setattr(line, name, getattr(line, name) + getattr(numbers, name))
    line.chunks.append(
        ChunkPlan(
            start=chunk.start, stop=chunk.stop, rows=chunk.rows, written=numbers.written,
            output_bytes=numbers.output_bytes,
        )
    )  # fmt: skip


def _plan(
    file: _File,
    candidates: Sequence[Candidate],
    rules: Rules,
    slots: Slots | None,
    conflicts: int,
    profile: TargetProfile | None,
    now_ms: int,
) -> Plan:
    plan = Plan(
        rdbmerge_version=__version__,
        created_at_ms=now_ms,
        rules=rules.model_copy(update={"slots": slots}),
        magic="",
        sources=file.sources,
        dbs=_target_dbs(file.sources),
        libraries=plan_libraries(candidates, rules.on_conflict) if profile is None or profile.functions else [],
        module_data=plan_module_data(candidates, rules.on_conflict) if profile is None or profile.module_data else [],
        conflicts=conflicts,
        output_bytes=0,
    )
    if plan.libraries:
        file.content.add_functions()
    if plan.module_data:
        file.content.add_module_data()
    dialect = file.content.dialect()
    if profile is not None and not profile.reads(dialect):
        raise AssertionError(f"{dialect} was planned for {profile.name}")
    plan.magic = str(dialect)
    plan.output_bytes = total_bytes(plan)
    return plan


def _target_dbs(sources: Sequence[SourcePlan]) -> list[TargetDb]:
    dbs: dict[int, TargetDb] = {}
    for source in sources:
        for run in source.runs:
            if run.written:
                db = dbs.setdefault(run.target_db, TargetDb(db=run.target_db, keys=0, expires=0))
                db.keys += run.written
                db.expires += run.written_expires
    return [dbs[number] for number in sorted(dbs)]
