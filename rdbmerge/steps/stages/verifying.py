"""The stage that verifies: the merged files are proved against snapshots and plan, or nothing goes on."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from rdbmerge import __version__
from rdbmerge.errors import VerifyError
from rdbmerge.snapshot.journal import Inputs, StepLine, StepRecord
from rdbmerge.steps.stages.merging import MergeStage, merged_files
from rdbmerge.steps.stages.tools import Performed, RunTools
from rdbmerge.steps.verify import verify
from rdbmerge.verify.report import ShardsReport, VerifyReport


class VerifyStage:
    """The merged files are proved against the snapshots and the plan."""

    name: ClassVar[str] = "verify"

    def __init__(self, tools: RunTools) -> None:
        self._tools = tools

    def inputs(self) -> Inputs:
        """The files as they lie there, the plan, and how much is compared."""
        section = self._tools.file.verify
        return {
            **merged_files(self._tools),
            "level": section.level,
            "witness": f"{section.witness} {section.witness_server or ''}".strip(),
            "rdbmerge": __version__,
        }

    def changed(self, record: StepRecord) -> str:
        """By the files that it left."""
        return self._tools.journal.changed_output(record)

    def check(self) -> None:
        """Nothing to be afraid of."""

    def perform(self, at_ms: int) -> Performed:
        """Verify; raises VerifyError for differences."""
        tools, section = self._tools, self._tools.file.verify
        files = MergeStage(tools).outputs()
        read = [*files, *(one.path for one in tools.snapshots())]
        with tools.progress(self.name, read) as tell:
            report = verify(
                files, against=[tools.folder.json("plan")], rules=None, level=section.level, witness=section.witness,
                witness_server=section.witness_server, jobs=tools.jobs, progress=tools.until_stopped(tell),
                now_ms=tools.now_ms(),
            )  # fmt: skip
        path = tools.folder.write_json("verify", report.model_dump_json(indent=2))
        if report.verdict != "passed":
            raise _verify_failure(report, path)
        one_by_one = report.shards if isinstance(report, ShardsReport) else [report]
        keys = sum(line.found_keys for one in one_by_one for line in one.dbs)
        return Performed(
            lines=[StepLine(keys=keys, size_bytes=sum(file.stat().st_size for file in read))],
            outputs=dict([tools.journal.output(path)]),
        )


def _verify_failure(report: VerifyReport | ShardsReport, path: Path) -> VerifyError:
    reports = report.shards if isinstance(report, ShardsReport) else [report]
    failed = [check for one in (report, *reports) for check in one.failed_checks]
    said = "; ".join(f"{check.name}: {check.detail}" for check in failed[:3])
    differences = sum(one.differences_total for one in reports)
    return VerifyError(
        f"the merged file is not what the sources give: {differences:,} differences; {said}",
        remedy=f"see {path}; nothing goes on from here until it passes",
    )
