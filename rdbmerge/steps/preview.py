"""What a run would do, and about how long it would take: the same decisions as `run`, and nothing done.

Sources are asked for INFO, nothing else. Estimates rest on sizes, and on what the steps took here before.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rdbmerge.errors import SourceError
from rdbmerge.reach.info import ServerFacts
from rdbmerge.reach.sentinel import find_primary
from rdbmerge.replication.source import Source
from rdbmerge.snapshot.journal import StepRecord
from rdbmerge.snapshot.manifest import Manifest
from rdbmerge.steps.discover import discover
from rdbmerge.steps.pull_one import PullTools, held_snapshot, server_facts
from rdbmerge.steps.resume import Held
from rdbmerge.steps.run import kept_lines, record_of_done, span_of, stages_of, why_again
from rdbmerge.steps.run_report import RunLine, RunReport
from rdbmerge.steps.stages.pulling import PullStage, at_hand
from rdbmerge.steps.stages.tools import RunTools, Stage

# Bytes a second, of a step that was never done here: what a modest machine and network do.
_ASSUMED = {"pull": 80 << 20, "merge": 250 << 20, "verify": 400 << 20}
_ASSUMED_OF_OTHERS = 50 << 20
_SHORTEST_S = 0.5  # what took less says little of the rate


def preview(
    tools: RunTools, *, run_file: Path, from_step: str | None = None, until_step: str | None = None
) -> RunReport:
    """What `run` would do with the same arguments; raises what it raises before it begins."""
    stages = stages_of(tools)
    first, last = span_of(stages, from_step, until_step)
    report = RunReport(
        run_file=str(run_file), folder=str(tools.folder.path), started_at_ms=tools.now_ms(), dry_run=True
    )
    before: str | None = None  # the first step that would be done
    for number, stage in enumerate(stages[: last + 1]):
        if first is not None and number < first:
            lines = kept_lines(stage.name, record_of_done(tools, stage), "as it is recorded", outcome="would be kept")
        elif isinstance(stage, PullStage):
            lines = list(_pull_lines(tools))
        else:
            size = sum(line.size_bytes or 0 for line in report.lines if line.step == PullStage.name)
            lines = _lines(tools, stage, forced=first is not None, before=before, source_bytes=size)
        if before is None and any(line.outcome == "to do" for line in lines):
            before = stage.name
        report.lines += lines
    report.duration_s = sum(line.duration_s or 0 for line in report.lines if line.outcome == "to do")
    return report


def _lines(tools: RunTools, stage: Stage, *, forced: bool, before: str | None, source_bytes: int) -> list[RunLine]:
    record = tools.journal.record(stage.name)
    if record is None:
        why = f"not done yet; after {before}" if before else "not done yet"
    elif forced:
        why = "asked for"
    elif before:
        why = f"if {before} gives something else"
    else:
        why = why_again(stage, record, stage.inputs())
    if record is not None and not why:
        return kept_lines(stage.name, record, "nothing it depends on has changed", outcome="would be kept")
    return [
        RunLine(
            step=stage.name,
            outcome="to do",
            why=why,
            size_bytes=source_bytes or None,
            duration_s=_estimate_s(stage.name, record, source_bytes),
        )
    ]


def _estimate_s(step: str, record: StepRecord | None, size_bytes: int) -> float:
    rate: float = _ASSUMED.get(step, _ASSUMED_OF_OTHERS)
    if record is not None and record.duration_s >= _SHORTEST_S:
        done = sum(line.size_bytes or 0 for line in record.lines)
        rate = done / record.duration_s if done else rate
    return round(size_bytes / rate, 1)


def _pull_lines(tools: RunTools) -> Iterator[RunLine]:
    limits = tools.file.pull.limits()
    asking = PullTools(
        folder=tools.folder.snapshots, limits=limits, now_ms=tools.now_ms, tell=lambda _: None, stop=tools.stop,
        tunnels=tools.tunnels,
    )  # fmt: skip
    PullStage(tools).check()
    for one in tools.file.source:
        server = one.server()
        if server is None:
            size = one.file.stat().st_size if one.file else 0
            yield RunLine(
                step=PullStage.name, source=one.source_name, outcome="would be kept", why="a file at hand",
                size_bytes=size,
            )  # fmt: skip
            continue
        found = discover([server], tunnels=tools.tunnels, timeout_s=limits.connect_timeout_s, stop=tools.stop)
        for failed, error in found.failed:
            yield RunLine(step=PullStage.name, source=failed.name, outcome="to do", why=f"it does not answer: {error}")
        for node in found.sources:
            yield _source_line(tools, node, asking)


def _source_line(tools: RunTools, server: Source, asking: PullTools) -> RunLine:
    manifest = at_hand(tools.folder.snapshots, server)
    if manifest is not None and not tools.fresh:
        held, current = (None, manifest) if tools.keep_snapshots else _held(server, asking)
        if current is not None:
            why = held.why if held else "at hand, and kept as asked for"
            return RunLine(
                step=PullStage.name, source=server.name, outcome="would be kept", why=why,
                keys=sum(current.keys_in_file.values()), size_bytes=current.size_bytes,
            )  # fmt: skip
        why = held.why if held else ""
    else:
        why = "asked for" if manifest else "not at hand"
    facts = _facts(server, asking)
    size = manifest.size_bytes if manifest else facts.used_memory_bytes
    if facts.problem:
        why = f"{why}; it does not answer: {facts.problem}"
    return RunLine(
        step=PullStage.name, source=server.name, outcome="to do", why=why, keys=facts.key_count, size_bytes=size,
        duration_s=None if size is None else _estimate_s(PullStage.name, None, size),
    )  # fmt: skip


def _found(server: Source, asking: PullTools) -> Source:
    """The server itself, or the primary of the service that it names. Raises SourceError."""
    timeout_s = asking.limits.connect_timeout_s
    found = find_primary(server, tunnels=asking.tunnels, timeout_s=timeout_s, wait_s=0, stop=asking.stop)
    return asking.tunnels.through(found)


def _held(server: Source, asking: PullTools) -> tuple[Held, Manifest | None]:
    try:
        return held_snapshot(_found(server, asking), asking)
    except SourceError as error:
        return Held(False, str(error)), None


def _facts(server: Source, asking: PullTools) -> ServerFacts:
    try:
        return server_facts(_found(server, asking), asking)
    except SourceError as error:
        return ServerFacts(problem=str(error))
