"""The use case: is this merged file what these sources give under these rules? Answers with a report.

Differences are no failure of the step; files that cannot be read, or are not those of the plan, are.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from rdbmerge.errors import UsageError
from rdbmerge.plan.model import Plan, Rules
from rdbmerge.snapshot.index import Index, Progress
from rdbmerge.snapshot.indexer import read_index
from rdbmerge.snapshot.manifest import snapshot_time
from rdbmerge.snapshot.segment import Segment, find_rdb_files, open_segments
from rdbmerge.verify import accounts
from rdbmerge.verify.inquiry import Clock, Inquiry
from rdbmerge.verify.origin import Origin, Times, offset_of
from rdbmerge.verify.report import Level, VerifyReport, Witness
from rdbmerge.verify.summary import summarize
from rdbmerge.verify.witness import ask

PLAN_SUFFIX = ".json"


def verify(
    merged: Path,
    *,
    against: Sequence[Path],
    rules: Rules | None,
    level: Level | str = Level.DIGEST,
    witness: Witness | str = Witness.NONE,
    witness_server: Path | None = None,
    jobs: int = 2,
    progress: Progress | None = None,
    now_ms: int,
) -> VerifyReport:
    """Compare the file `merged` with its sources, or with the plan it was written by.

    Args:
        against: RDB files and folders, in order of precedence; or one plan (`.json`), whose rules then hold.
        rules: what was declared about the merge; None with a plan.
        witness_server: a server binary to ask; else one is looked for.
        jobs: threads.
        progress: is told of bytes read, of the merged file and of the sources.
        now_ms: goes into the report.

    Raises:
        UsageError: files that are not there, a source that is not the one the plan was made for.
        FormatError: a file that cannot be read, with its kinds.
    """
    level, witness = Level(level), Witness(witness)
    plan, paths, rules = _against(against, rules)
    _refuse_itself(merged, paths)
    with open_segments(paths) as sources, Segment(merged) as segment:
        clock = Clock()
        with clock("indexes"):
            origins = _origins(sources, plan, rules)
        inquiry = Inquiry(segment, origins, rules, plan, level, jobs, progress, clock)
        checks = inquiry.run()
        with clock("witness"):
            checks += ask(witness, segment, inquiry.found, server=witness_server)
        segment.check_unchanged()
        plan_path = str(against[0]) if plan else None
        return summarize(inquiry, checks, witness=witness, plan_path=plan_path, now_ms=now_ms)


def _against(against: Sequence[Path], rules: Rules | None) -> tuple[Plan | None, list[Path], Rules]:
    if len(against) == 1 and against[0].suffix == PLAN_SUFFIX:
        if rules is not None:
            raise UsageError("a plan holds its own rules", remedy="give the plan alone, or the files with options")
        plan = _read_plan(against[0])
        return plan, [_planned_path(against[0], source.path) for source in plan.sources], plan.rules
    return None, find_rdb_files(against), rules or Rules()


def _read_plan(path: Path) -> Plan:
    try:
        return Plan.model_validate_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}", remedy="check the path") from error
    except (ValidationError, ValueError) as error:
        raise UsageError(
            f"{path} is not a plan: {str(error).splitlines()[0]}",
            remedy="give the JSON that `rdbmerge plan` or `rdbmerge merge` wrote",
        ) from error


def _planned_path(plan: Path, source: str) -> Path:
    """Where a source of a plan is: as written, else beside the plan."""
    path = Path(source)
    beside = plan.parent / path
    return beside if not path.exists() and beside.exists() else path


def _refuse_itself(merged: Path, sources: Sequence[Path]) -> None:
    if merged.exists() and any(merged.samefile(source) for source in sources if source.exists()):
        raise UsageError(f"{merged} is one of its own sources", remedy="name the files that were merged")


def _origins(sources: Sequence[Segment], plan: Plan | None, rules: Rules) -> list[Origin]:
    origins = []
    for number, segment in enumerate(sources):
        index = read_index(segment)
        if plan is not None:
            accounts.refuse_changed(plan.sources[number], index.facts)
            segment.name = plan.sources[number].name
        origins.append(Origin(number, segment, index, rules, _times(number, segment, index, plan, rules)))
    return origins


def _times(number: int, segment: Segment, index: Index, plan: Plan | None, rules: Rules) -> Times:
    """By the plan where there is one: it says what was declared. The offset is worked out anew from the rules."""
    if plan is not None:
        planned = plan.sources[number]
        at_ms, at_from = planned.snapshot_at_ms, planned.snapshot_at_from
    else:
        at_ms, at_from = snapshot_time(segment, index.facts, rules.snapshot_at_ms)
    return Times(at_ms, at_from, offset_of(rules, at_ms))
