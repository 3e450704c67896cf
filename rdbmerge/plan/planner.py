"""Indexes and rules in, a Plan out: every number of the merge exact before a byte of it is written.

A chunk that the rules leave as it is takes its numbers from the index; only the others are read again. Pure apart from
reading the segments it is given: the same inputs make the same Plan.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from rdbmerge import __version__
from rdbmerge.format.emit import Change
from rdbmerge.plan.conflicts import Candidate, settle
from rdbmerge.plan.counting import Counted, Task, count
from rdbmerge.plan.layout import total_bytes
from rdbmerge.plan.model import ChunkPlan, Conflict, Plan, Rules, RunPlan, SourcePlan, TargetDb
from rdbmerge.plan.records import plan_libraries, plan_module_data
from rdbmerge.plan.selection import Selection
from rdbmerge.plan.versions import Content
from rdbmerge.snapshot.index import Index
from rdbmerge.snapshot.manifest import SnapshotTimeFrom, read_manifest, snapshot_time
from rdbmerge.snapshot.segment import Segment

Map = Callable[[Callable[[Task], Counted], Iterable[Task]], Iterator[Counted]]

_MOST_DEFAULT_DBS = 16


def make_plan(
    segments: Sequence[Segment],
    indexes: Sequence[Index],
    rules: Rules,
    *,
    now_ms: int,
    note: Callable[[Conflict], None] | None = None,
    run: Map = map,
) -> Plan:
    """Decide a merge of `segments`, named in order of precedence.

    Args:
        indexes: of each segment, in the same order.
        now_ms: the one clock reading; goes into the merged file as its time.
        note: is told of every entry in conflict.
        run: a `map`, of a thread pool for instance.

    Raises:
        ConflictError: keys, libraries or module data in conflict, and the policy is to fail.
        UsageError: rules that cannot be, or types that no one file can hold.
    """
    candidates, times = [], []
    for number, (segment, index) in enumerate(zip(segments, indexes, strict=True)):
        at_ms, at_from = snapshot_time(segment, index.facts, rules.snapshot_at_ms)
        freeze_ms = 0 if rules.ttl_freeze_until_ms is None else rules.ttl_freeze_until_ms - at_ms
        selection = Selection(rules, segment.dialect, at_ms)
        candidates.append(Candidate(number, segment, index, selection, rules.ttl_offset_ms + freeze_ms))
        times.append((at_ms, at_from))
    settled = settle(candidates, lambda db: rules.db_map.get(db, db), rules.on_conflict, note)
    content, warnings = Content(), _warnings(segments, indexes)
    sources = []
    for candidate, (at_ms, at_from) in zip(candidates, times, strict=True):
        losers = sorted(settled.losers.get(candidate.number, []))
        runs = _plan_runs(candidate, rules, at_ms, losers, content, warnings, run)
        sources.append(_source(candidate, at_ms, at_from, losers, runs))
    plan = Plan(
        rdbmerge_version=__version__,
        created_at_ms=now_ms,
        rules=rules,
        magic="",
        sources=sources,
        dbs=_target_dbs(sources),
        libraries=plan_libraries(candidates, rules.on_conflict),
        module_data=plan_module_data(candidates, rules.on_conflict),
        conflicts=settled.count,
        output_bytes=0,
        warnings=warnings,
    )
    if plan.libraries:
        content.add_functions()
    if plan.module_data:
        content.add_module_data()
    plan.magic = str(content.dialect())
    plan.output_bytes = total_bytes(plan)
    _warn_of_dbs(plan)
    plan.ledger().check()
    return plan


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
    rules: Rules,
    at_ms: int,
    losers: list[int],
    content: Content,
    warnings: list[str],
    run: Map,
) -> list[RunPlan]:
    segment = candidate.segment
    selection = Selection(rules, segment.dialect, at_ms, losers)
    change = Change(
        dialect=segment.dialect,
        ttl_offset_ms=candidate.ttl_offset_ms,
        key_prefix=rules.key_prefix,
        fields_dead_before_ms=selection.dead_before_ms,
    )
    chunks = candidate.index.facts.chunks
    counted = run(count, (Task(segment, selection, change, chunk) for chunk in chunks))
    runs: dict[int, RunPlan] = {}
    empty = 0
    for chunk, numbers in zip(chunks, counted, strict=True):
        target_db = rules.db_map.get(chunk.db, chunk.db)
        line = runs.setdefault(
            chunk.db,
            RunPlan(
                db=chunk.db,
                target_db=target_db,
                read=0,
                written=0,
                written_expires=0,
                expired=0,
                filtered=0,
                conflict_dropped=0,
                chunks=[],
            ),
        )
        line.read += chunk.rows
        for name in ("written", "written_expires", "expired", "filtered", "conflict_dropped", "fields_expired"):
            setattr(line, name, getattr(line, name) + getattr(numbers, name))
        line.chunks.append(
            ChunkPlan(
                start=chunk.start,
                stop=chunk.stop,
                rows=chunk.rows,
                written=numbers.written,
                output_bytes=numbers.output_bytes,
            )
        )
        empty += numbers.empty
        content.add_types(segment.name, segment.dialect, numbers.types)
        content.add_flags(segment.name, numbers.flags)
        content.add_size(numbers.largest_entry_bytes)
    if empty:
        warnings.append(
            f"{segment.name}: {empty:,} empty collections left out (booked as filtered); no server keeps them"
        )
    return [runs[db] for db in sorted(runs)]


def _target_dbs(sources: Sequence[SourcePlan]) -> list[TargetDb]:
    dbs: dict[int, TargetDb] = {}
    for source in sources:
        for run in source.runs:
            if run.written:
                db = dbs.setdefault(run.target_db, TargetDb(db=run.target_db, keys=0, expires=0))
                db.keys += run.written
                db.expires += run.written_expires
    return [dbs[number] for number in sorted(dbs)]


def _warnings(segments: Sequence[Segment], indexes: Sequence[Index]) -> list[str]:
    warnings = []
    for segment, index in zip(segments, indexes, strict=True):
        facts = index.facts
        if facts.trailing_bytes:
            warnings.append(f"{segment.name}: {facts.trailing_bytes:,} bytes after the end of the RDB are ignored")
        if facts.stored_crc64 == 0:
            warnings.append(f"{segment.name}: written with rdbchecksum no; damage inside values cannot be seen")
        if facts.aux_value("aof-base") == "1" or facts.aux_value("aof-preamble") == "1":
            warnings.append(f"{segment.name}: the base of an append-only file; later writes are in its .aof files")
        manifest = read_manifest(segment.path)
        if manifest and manifest.pulled and manifest.pulled.written == "written":
            warnings.append(f"{segment.name}: the source was written to during the pull ({manifest.pulled.evidence})")
    return warnings


def _warn_of_dbs(plan: Plan) -> None:
    highest = max((db.db for db in plan.dbs), default=0)
    if highest >= _MOST_DEFAULT_DBS:
        plan.warnings.append(f"db {highest} is used: the target needs `databases {highest + 1}` or more")
