"""The stage that restores: the keys of the merged files into a live server or cluster, each once."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from rdbmerge.errors import TargetError
from rdbmerge.plan.model import Plan, Rules
from rdbmerge.preflight import PreflightCheck
from rdbmerge.snapshot.journal import Inputs, StepLine, StepRecord
from rdbmerge.steps.config_targets import RestoreSection
from rdbmerge.steps.restore import restore
from rdbmerge.steps.restoring.report import RestoreOptions, RestoreReport
from rdbmerge.steps.stages.merging import MergeStage, merged_contents
from rdbmerge.steps.stages.tools import Performed, RunTools, tell_checks


class RestoreStage:
    """Restore what was proved. Its facts: the target, and how many keys it got."""

    name: ClassVar[str] = "restore"

    def __init__(self, tools: RunTools, section: RestoreSection) -> None:
        self._tools = tools
        self._section = section

    def inputs(self) -> Inputs:
        """The content of the files, and where it goes."""
        return {
            **merged_contents(self._tools),
            "target": self._section.server().address,
            "on_busy": str(self._section.on_busy),
        }

    def changed(self, record: StepRecord) -> str:
        """Never: a live server goes on living, and what was restored is not restored again (--from restore does)."""
        return ""

    def check(self) -> None:
        """The restore itself looks at its target first."""

    def perform(self, at_ms: int) -> Performed:
        """Restore, or go on with it; raises what `restore` raises, and TargetError for keys that were refused."""
        tools, section, options = self._tools, self._section, self._options()
        files = MergeStage(tools).outputs()
        with tools.progress(self.name, files) as tell:
            report = restore(
                files, section.server(),
                # Shifted, filtered and freed of the dead by the merge: here everything is as it is.
                Rules(drop_expired=False, target=tools.file.merge.target),
                options, tunnels=tools.tunnels, now_ms=tools.now_ms, jobs=tools.jobs, on_plan=self._tell_plan,
                progress=self._in_phases(tell), say=tools.say, stop=tools.stop,
            )  # fmt: skip
        tools.folder.write_json(self.name, report.model_dump_json(indent=2))
        _raise_failure(report)
        if options.checkpoint is not None:  # the journal knows from now on that it is done
            options.checkpoint.unlink(missing_ok=True)
        size = sum(file.stat().st_size for file in files)
        line = StepLine(source=report.target, keys=report.restored, size_bytes=size, duration_s=report.restore_s)
        return Performed([line], facts={"target": report.target, "restored": report.restored})

    def _options(self) -> RestoreOptions:
        section, folder = self._section, self._tools.folder.path
        # A name of its own for each content and target: what an earlier restore left is not taken for this one's.
        mark = hashlib.sha256(repr(sorted(self.inputs().items())).encode()).hexdigest()[:8]
        return RestoreOptions(
            on_busy=section.on_busy, connections=section.connections, big_bytes=section.big_key,
            max_qps=section.max_qps, max_bytes_per_s=section.max_bandwidth, max_latency_ms=section.max_latency,
            retry_for_s=section.retry_for, timeout_s=section.timeout, connect_timeout_s=section.connect_timeout,
            checkpoint=folder / f"restore-{mark}.checkpoint.json", rejected=folder / f"restore-{mark}.rejected.jsonl",
        )  # fmt: skip

    def _tell_plan(self, plan: Plan, checks: Sequence[PreflightCheck]) -> None:
        tell_checks(self._tools, checks)
        for warning in plan.warnings:
            self._tools.warn(warning)

    def _in_phases(self, tell: Callable[[Any], None] | None) -> Callable[[Any], None]:
        """What is sent may only end where its fate is known, so the restore looks itself whether it is to stop."""
        before = self._tools.until_stopped(tell)

        def told(status: Any) -> None:
            if status.phase != self.name:
                before(status)
            elif tell:
                tell(status)

        return told


def _raise_failure(report: RestoreReport) -> None:
    if report.refused:
        raise TargetError(
            f"{report.target} refused {report.refused:,} of {report.keys:,} keys; they are listed in"
            f" {report.rejected_file}",
            remedy="see there why, and mend it",
        )
    if report.evicted:
        raise TargetError(
            f"{report.target} evicted {report.evicted:,} keys meanwhile: it is too small, and some of these are gone",
            remedy="give it more memory or maxmemory-policy noeviction, and restore again with on_busy = replace",
        )
