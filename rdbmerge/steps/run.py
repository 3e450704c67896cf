"""The whole line in order, from a run file: what is done already and still holds is kept, the rest is done.

The work directory is the memory (`snapshot.journal`): a run may be killed at any moment, and the next one goes on.
Knows nothing of the command line.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from rdbmerge.errors import RdbMergeError, StoppedError, UsageError
from rdbmerge.snapshot.journal import StepRecord, changed_inputs
from rdbmerge.steps.config import RunFile
from rdbmerge.steps.run_report import LineOutcome, RunLine, RunReport, refuse_other_file
from rdbmerge.steps.stages.merging import MergeStage
from rdbmerge.steps.stages.pulling import PullStage
from rdbmerge.steps.stages.restoring import RestoreStage
from rdbmerge.steps.stages.seeding import SeedStage
from rdbmerge.steps.stages.tools import RunFolder, RunTools, Stage
from rdbmerge.steps.stages.uploading import UploadStage
from rdbmerge.steps.stages.verifying import VerifyStage

STEPS = ("pull", "merge", "verify", "upload", "seed", "restore")


def folder_of(file: RunFile) -> RunFolder:
    """Where everything of the run lies."""
    return RunFolder(file.run.dir, file.merge.output)


def stages_of(tools: RunTools) -> list[Stage]:
    """The stages that the run file asks for, in their order."""
    stages: list[Stage] = [PullStage(tools), MergeStage(tools), VerifyStage(tools)]
    if tools.file.upload is not None:
        stages.append(UploadStage(tools, tools.file.upload))
        if tools.file.seed is not None:
            stages.append(SeedStage(tools, tools.file.seed, tools.file.upload))
    if tools.file.restore is not None:
        stages.append(RestoreStage(tools, tools.file.restore))
    return stages


def run(
    tools: RunTools, *, run_file: Path, from_step: str | None = None, until_step: str | None = None, command: str = "",
    on_failure: Callable[[RunReport], None] | None = None,
) -> RunReport:  # fmt: skip
    """Do what is not done; the report is in the work directory too, and is so when a step fails.

    The folder must be this process's own (`WorkDir.filling`).

    Args:
        from_step: do this and all that follow, be they done or not; those before must be done.
        until_step: do nothing after this.
        command: what goes on after a failure, for its message.
        on_failure: is told how far it came, before the failure is raised.

    Raises what the steps raise, and UsageError for steps that the run file does not have.
    """
    stages = stages_of(tools)
    first, last = span_of(stages, from_step, until_step)
    started_s = time.monotonic()
    report = RunReport(run_file=str(run_file), folder=str(tools.folder.path), started_at_ms=tools.now_ms())
    forced = False
    refuse_other_file(tools.file.run.report)
    for number, stage in enumerate(stages[: last + 1]):
        forced = forced or number == first
        try:
            if tools.stop.is_set():
                raise StoppedError("stopped; what was done stays")
            if first is not None and number < first:
                report.lines += kept_lines(stage.name, record_of_done(tools, stage), "as it is recorded")
            else:
                _one(tools, stage, forced, report)
        except RdbMergeError as error:
            _point_on(error, stage.name, command)
            report.fail(stage.name, error)
            _save(tools, report, started_s)
            if on_failure:
                on_failure(report)
            raise
    _save(tools, report, started_s)
    return report


def span_of(stages: Sequence[Stage], from_step: str | None, until_step: str | None) -> tuple[int | None, int]:
    """The places of the stages to begin and to end with."""
    names = [stage.name for stage in stages]
    for step in (from_step, until_step):
        if step is not None and step not in names:
            raise UsageError(
                f"the run file has no step {step}", remedy=f"its steps are {', '.join(names)}; add a table [{step}]"
            )
    first = None if from_step is None else names.index(from_step)
    last = len(names) - 1 if until_step is None else names.index(until_step)
    if first is not None and first > last:
        raise UsageError(
            f"{from_step} comes after {until_step}: nothing is left to do", remedy=f"the order is {', '.join(names)}"
        )
    return first, last


def record_of_done(tools: RunTools, stage: Stage) -> StepRecord:
    """Of a stage that is left out. Raises UsageError if it was not done, or does not hold any more."""
    record = tools.journal.record(stage.name)
    why = "it was not done" if record is None else why_again(stage, record, stage.inputs())
    if record is None or why:
        raise UsageError(
            f"{stage.name} has to be done first: {why}", remedy=f"run without --from, or with --from {stage.name}"
        )
    return record


def why_again(stage: Stage, record: StepRecord, inputs: dict[str, str]) -> str:
    """Why a step that is done does not hold any more; "" if it does."""
    changed = changed_inputs(record, inputs)
    return f"changed: {', '.join(changed)}" if changed else stage.changed(record)


def _one(tools: RunTools, stage: Stage, forced: bool, report: RunReport) -> None:
    """Do one stage, or keep what it did."""
    inputs = stage.inputs()
    record = tools.journal.record(stage.name)
    why = "" if record is None else "asked for" if forced else why_again(stage, record, inputs)
    if record is not None and not why and not isinstance(stage, PullStage):
        report.lines += kept_lines(stage.name, record, "nothing it depends on has changed")
        report.facts[stage.name] = record.facts
        return
    stage.check()
    at_ms = tools.journal.begin(stage.name, inputs, tools.now_ms())
    began_at_ms, started_s = tools.now_ms(), time.monotonic()
    performed = stage.perform(at_ms)
    duration_s = round(time.monotonic() - started_s, 3)
    if len(performed.lines) == 1 and performed.lines[0].duration_s is None and not performed.lines[0].source:
        performed.lines[0].duration_s = duration_s
    done = StepRecord(
        inputs=inputs,
        outputs=performed.outputs,
        began_at_ms=began_at_ms,
        finished_at_ms=tools.now_ms(),
        duration_s=duration_s,
        lines=performed.lines,
        facts=performed.facts,
    )
    tools.journal.finish(stage.name, done)
    report.lines += [
        RunLine(
            step=stage.name,
            outcome=_outcome(line.source, line.duration_s),
            **{**line.model_dump(), "why": line.why or why},
        )
        for line in performed.lines
    ]
    report.facts[stage.name] = performed.facts


def _outcome(source: str, duration_s: float | None) -> LineOutcome:
    """A source that took no time was at hand."""
    return "kept" if source and duration_s is None else "done"


def kept_lines(step: str, record: StepRecord, why: str, *, outcome: LineOutcome = "kept") -> list[RunLine]:
    """The lines of a step that is not done again."""
    return [RunLine(step=step, outcome=outcome, **{**line.model_dump(), "why": why}) for line in record.lines]


def _point_on(error: RdbMergeError, step: str, command: str) -> None:
    """Say with a failure how to go on."""
    go_on = f"what is done stays: `{command}` goes on with {step}" if command else ""
    error.remedy = "; ".join(part for part in (error.remedy, go_on) if part)


def _save(tools: RunTools, report: RunReport, started_s: float) -> None:
    report.duration_s = round(time.monotonic() - started_s, 3)
    report.reports = {name: str(path) for name in ("plan", *STEPS) if (path := tools.folder.json(name)).exists()}
    report.save(tools.folder.json("report"))
    if tools.file.run.report is not None:
        report.save(tools.file.run.report)
