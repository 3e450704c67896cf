"""The use case: is this merged file what these sources give under these rules? Answers with a report.

Differences are no failure of the step; files that cannot be read, or are not those of the plan, are.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from rdbmerge.errors import UsageError
from rdbmerge.plan.model import PLANS, Plan, Rules
from rdbmerge.plan.sharding import slots_text
from rdbmerge.snapshot.index import Index, Progress
from rdbmerge.snapshot.indexer import read_index
from rdbmerge.snapshot.manifest import snapshot_time
from rdbmerge.snapshot.segment import Segment, find_rdb_files, open_segments
from rdbmerge.verify import accounts
from rdbmerge.verify.destination import Destination, destination_of
from rdbmerge.verify.inquiry import Clock, Inquiry
from rdbmerge.verify.origin import Origin, Times, declared_for, offset_of, refuse_strangers, shared_prefix
from rdbmerge.verify.report import Level, ShardsReport, VerifyReport, Witness
from rdbmerge.verify.shards import Runs
from rdbmerge.verify.summary import summarize, summarize_shards
from rdbmerge.verify.witness import ask

PLAN_SUFFIX = ".json"


def verify(
    merged: Path | Sequence[Path],
    *,
    against: Sequence[Path],
    rules: Rules | None,
    shards: Sequence[Runs] | None = None,
    level: Level | str = Level.DIGEST,
    witness: Witness | str = Witness.NONE,
    witness_server: Path | None = None,
    jobs: int = 2,
    progress: Progress | None = None,
    now_ms: int,
) -> VerifyReport | ShardsReport:
    """Compare the file `merged` with its sources, or with the plan it was written by.

    Args:
        merged: one file, or with `shards` one for each of them, in their order unless their names tell.
        against: RDB files and folders, in order of precedence; or one plan (`.json`), whose rules then hold.
        rules: what was declared about the merge; None with a plan.
        shards: the slots of each shard of a cluster; None: one file holds all keys, or a plan says it.
        witness_server: a server binary to ask; else one is looked for.
        jobs: threads.
        progress: is told of bytes read, of the merged files and of the sources.
        now_ms: goes into the report.

    Raises:
        UsageError: files that are not there, a source that is not the one the plan was made for.
        FormatError: a file that cannot be read, with its kinds.
    """
    level, witness = Level(level), Witness(witness)
    files = [merged] if isinstance(merged, Path) else list(merged)
    plans, paths, rules = read_against(against, rules)
    if plans is not None:
        if shards is not None:
            raise _rules_twice()
        shards = None if plans[0].rules.slots is None else [plan.rules.slots or [] for plan in plans]
    _refuse_other_number(files, shards)
    files = _in_order(files, shards)
    _refuse_itself(files, paths)
    plan_path = str(against[0]) if plans else None
    with open_segments(paths) as sources, open_segments(files) as segments:
        clock = Clock()
        with clock("indexes"):
            indexes = [read_index(segment) for segment in sources]
            destination = destination_of(
                rules, ((segment.dialect, index.facts) for segment, index in zip(sources, indexes, strict=True))
            )
            origins = make_origins(sources, indexes, plans, rules, destination)
        inquiry = Inquiry(segments, shards, origins, destination, rules, plans, level, jobs, progress, clock)
        reports = []
        for answer in inquiry.run():
            with clock("witness"):
                checks = [*answer.checks, *ask(witness, answer.merged, answer.found, server=witness_server)]
            answer.merged.check_unchanged()
            reports.append(summarize(inquiry, answer, checks, witness=witness, plan_path=plan_path, now_ms=now_ms))
    return reports[0] if shards is None else summarize_shards(reports)


def read_against(against: Sequence[Path], rules: Rules | None) -> tuple[list[Plan] | None, list[Path], Rules]:
    """The plans, if it is those, the files of the sources, and the rules. Raises UsageError."""
    if all(path.suffix == PLAN_SUFFIX for path in against):
        if rules is not None:
            raise _rules_twice()
        if len(against) > 1:
            raise UsageError(
                f"{len(against)} plans are given", remedy="one plan holds all shards of a merge: give that alone"
            )
        plans = read_plans(against[0])
        first = plans[0]
        paths = [_planned_path(against[0], source.path) for source in first.sources]
        return plans, paths, first.rules.model_copy(update={"slots": None})
    return None, find_rdb_files(against), rules or Rules()


def _rules_twice() -> UsageError:
    return UsageError("a plan holds its own rules", remedy="give the plan alone, or the files with options")


def read_plans(path: Path) -> list[Plan]:
    """The plan that `merge --plan` wrote, or those of the shards. Raises UsageError."""
    try:
        plans = PLANS.validate_json(path.read_text(encoding="utf-8"))
        if not plans:
            raise ValueError("it is empty")
        return plans
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}", remedy="check the path") from error
    except (ValidationError, ValueError) as error:
        raise UsageError(
            f"{path} is not a plan: {str(error).splitlines()[0]}",
            remedy="give the JSON that `rdbmerge merge --plan` wrote",
        ) from error


def _refuse_other_number(files: Sequence[Path], shards: Sequence[Runs] | None) -> None:
    expected = 1 if shards is None else len(shards)
    if len(files) != expected:
        what = "1 merged file is" if expected == 1 else f"{expected} merged files, one a shard, are"
        raise UsageError(
            f"{what} expected, {len(files)} are given",
            remedy="give --shards or --slots as for the merge, and the files in the order of the shards",
        )


def _planned_path(plan: Path, source: str) -> Path:
    """Where a source of a plan is: as written, else beside the plan."""
    path = Path(source)
    beside = plan.parent / path
    return beside if not path.exists() and beside.exists() else path


def _in_order(files: Sequence[Path], shards: Sequence[Runs] | None) -> list[Path]:
    """The files in the order of their shards, if their names tell; a shell lists them in another."""
    endings = [f".{slots_text(list(runs))}" for runs in shards or ()]
    by_shard = [[path for path in files if path.stem.endswith(ending)] for ending in endings]
    return [one[0] for one in by_shard] if by_shard and all(len(one) == 1 for one in by_shard) else list(files)


def _refuse_itself(files: Sequence[Path], sources: Sequence[Path]) -> None:
    for merged in files:
        if merged.exists() and any(merged.samefile(source) for source in sources if source.exists()):
            raise UsageError(f"{merged} is one of its own sources", remedy="name the files that were merged")


def make_origins(
    sources: Sequence[Segment],
    indexes: Sequence[Index],
    plans: Sequence[Plan] | None,
    rules: Rules,
    destination: Destination,
) -> list[Origin]:
    """The sources under the rules. Raises UsageError for one that is not the file the plan was made for."""
    plan = plans[0] if plans else None
    for number, (segment, index) in enumerate(zip(sources, indexes, strict=True)):
        if plan is not None:
            accounts.refuse_changed(plan.sources[number], index.facts)
            segment.name = plan.sources[number].name
    names = [segment.name for segment in sources]
    refuse_strangers(rules, names)
    origins = []
    for number, (segment, index) in enumerate(zip(sources, indexes, strict=True)):
        times = _times(number, segment, index, plan, declared_for(rules, segment.name))
        prefix_counts = shared_prefix(rules, names) is None
        origins.append(Origin(number, segment, index, rules, times, destination, prefix_counts=prefix_counts))
    return origins


def _times(number: int, segment: Segment, index: Index, plan: Plan | None, rules: Rules) -> Times:
    """By the plan where there is one: it says what was declared. The offset is worked out anew from the rules."""
    if plan is not None:
        planned = plan.sources[number]
        at_ms, at_from = planned.snapshot_at_ms, planned.snapshot_at_from
    else:
        at_ms, at_from = snapshot_time(segment, index.facts, rules.snapshot_at_ms)
    return Times(at_ms, at_from, offset_of(rules, at_ms))
