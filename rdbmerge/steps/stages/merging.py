"""The stage that merges: the snapshots of all sources of the run file, and no others, become one file or one a shard.

Knows nothing of how they came to be at hand.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from rdbmerge import __version__
from rdbmerge.errors import UsageError
from rdbmerge.plan.model import PLANS, Rules
from rdbmerge.snapshot.indexer import read_index
from rdbmerge.snapshot.journal import Inputs, Output, StepLine, StepRecord
from rdbmerge.snapshot.manifest import snapshot_time
from rdbmerge.snapshot.segment import RDB_SUFFIX, Segment
from rdbmerge.steps.merge import output_paths, refuse_existing
from rdbmerge.steps.merge_run import MergeReport, run_merge
from rdbmerge.steps.stages.tools import Performed, RunTools, Snapshot


class MergeStage:
    """The snapshots of all sources become one file, or one a shard."""

    name: ClassVar[str] = "merge"

    def __init__(self, tools: RunTools) -> None:
        self._tools = tools

    def inputs(self) -> Inputs:
        """The rules, and what each source holds."""
        tools = self._tools
        shards = tools.file.merge.shard_slots()
        with tools.progress("scan", []) as tell:
            sources = {f"source {one.name}": self._content(one, tell) for one in tools.snapshots()}
        return {
            "rules": self._rules().model_dump_json(),
            "shards": "" if shards is None else str(shards),
            "order of the sources": ", ".join(one.name for one in tools.snapshots()),
            **sources,
            "output": str(tools.folder.merged),
            "rdbmerge": __version__,
        }

    def _rules(self) -> Rules:
        return self._tools.file.rules({one.name: one.source for one in self._tools.snapshots()})

    def _content(self, one: Snapshot, tell: Callable[[Any], None] | None) -> str:
        if not one.path.exists():
            raise UsageError(
                f"source {one.name} is in the run file, but {one.path} is not there",
                remedy="a merge without it would be smaller than what was asked for: pull it (--from pull), or take it"
                " out of the run file",
            )
        with Segment(one.path, name=one.name) as segment:
            facts = read_index(segment, progress=self._tools.until_stopped(None)).facts
            at_ms, at_from = snapshot_time(segment, facts, None)
            return f"{facts.crc64:016x}, {segment.size_bytes} bytes, taken {at_ms} ({at_from})"

    def outputs(self) -> list[Path]:
        """The files that it makes."""
        return output_paths(self._tools.folder.merged, self._tools.file.merge.shard_slots())

    def changed(self, record: StepRecord) -> str:
        """By the files that it left."""
        return self._tools.journal.changed_output(record)

    def check(self) -> None:
        """Nothing that others made is replaced; and what lies among the snapshots but is no source is told."""
        tools = self._tools
        refuse_existing(self.outputs(), force=tools.journal.has_begun(self.name))
        names = {one.path.name for one in tools.snapshots()}
        strangers = sorted(
            path.name for path in tools.folder.snapshots.path.glob(f"[!.]*{RDB_SUFFIX}") if path.name not in names
        )
        if strangers:
            place = tools.folder.snapshots.path
            tools.warn(f"{', '.join(strangers)} in {place}: no source of the run file; left alone")

    def perform(self, at_ms: int) -> Performed:
        """Merge, with `at_ms` as the time of the file."""
        tools = self._tools
        with tools.progress(self.name, []) as tell:
            report = run_merge(
                [one.path for one in tools.snapshots()], tools.folder.merged, self._rules(),
                now_ms=at_ms, jobs=tools.jobs, names=[one.name for one in tools.snapshots()],
                shards=tools.file.merge.shard_slots(), force=True,
                on_plan=lambda plans: self._save(PLANS.dump_json(list(plans), indent=2).decode()),
                progress=tools.until_stopped(tell), stop=tools.stop,
            )  # fmt: skip
        tools.folder.write_json("merge", report.model_dump_json(indent=2))
        for warning in report.warnings:
            tools.warn(warning)
        seconds = report.plan_s + (report.write_s or 0)
        return Performed(
            lines=[StepLine(keys=report.keys, size_bytes=report.output_bytes, duration_s=round(seconds, 3))],
            outputs=self._facts(report),
        )

    def _save(self, plans: str) -> None:
        self._tools.folder.write_json("plan", plans)

    def _facts(self, report: MergeReport) -> dict[str, Output]:
        journal, plan = self._tools.journal, self._tools.folder.json("plan")
        crcs = [file.manifest.crc64 for file in report.files if file.manifest is not None]
        merged = [journal.output(path, crc) for path, crc in zip(self.outputs(), crcs, strict=True)]
        return dict([*merged, journal.output(plan, hashlib.sha256(plan.read_bytes()).hexdigest())])


def merged_contents(tools: RunTools) -> Inputs:
    """What the merged files hold, whenever they were written. Raises UsageError if they are not as they were then."""
    merged_files(tools)
    record = tools.journal.record(MergeStage.name)
    names = {path.name for path in MergeStage(tools).outputs()}
    outputs = record.outputs.items() if record is not None else ()
    return {
        Path(name).name: f"{one.digest}, {one.size_bytes} bytes" for name, one in outputs if Path(name).name in names
    }


def merged_files(tools: RunTools) -> Inputs:
    """The merged files and the plan, as the record of the merge has them. Raises UsageError if they are not so."""
    record = tools.journal.record(MergeStage.name)
    wrong = "it was not done" if record is None else tools.journal.changed_output(record)
    if record is None or wrong:
        raise UsageError(f"the merge is not at hand: {wrong}", remedy="run it again, with --from merge")
    return {
        name: f"{output.digest}, {output.size_bytes} bytes, {output.mtime_ns}"
        for name, output in record.outputs.items()
    }
