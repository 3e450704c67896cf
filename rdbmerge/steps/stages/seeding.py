"""The stage that seeds: a cache is made of the objects, if `execute` says so; else it is only planned and judged."""

from __future__ import annotations

import json
from typing import Any, ClassVar

from rdbmerge.errors import StoppedError, TargetError, UsageError
from rdbmerge.preflight import Outcome
from rdbmerge.snapshot.journal import Inputs, StepLine, StepRecord
from rdbmerge.steps.config_targets import SeedSection, UploadSection
from rdbmerge.steps.seed import SeedPlan, SeedReport, plan_seed, seed
from rdbmerge.steps.stages.tools import Performed, RunTools, tell_checks
from rdbmerge.steps.stages.uploading import UploadStage
from rdbmerge.stores.base import ObjectUrl
from rdbmerge.targets.request import SECRET


class SeedStage:
    """Seed from what was uploaded. Its facts: the name, how it ended, the endpoint."""

    name: ClassVar[str] = "seed"

    def __init__(self, tools: RunTools, section: SeedSection, upload: UploadSection) -> None:
        self._tools = tools
        self._section = section
        self._upload = upload

    def inputs(self) -> Inputs:
        """The objects as they were uploaded, and what is asked for; no secret."""
        record = self._tools.journal.record(UploadStage.name)
        if record is None:
            raise UsageError("nothing was uploaded to seed from", remedy="run it again, with --from upload")
        options = self._section.options().model_dump(mode="json", exclude={"auth_token"})
        beneath = {name: value for name, value in self._section.beneath().items() if name != SECRET}
        return {
            **{url: f"{facts['etag']} {facts['version_id']}".strip() for url, facts in record.facts.items()},
            "request": json.dumps([options, beneath], sort_keys=True, default=str),
            "execute": str(self._section.execute),
        }

    def changed(self, record: StepRecord) -> str:
        """Never: a cache that is gone was removed by somebody, and making it again costs money (--from seed does)."""
        return ""

    def check(self) -> None:
        """The plan itself looks at everything."""

    def perform(self, at_ms: int) -> Performed:
        """Plan, and with `execute` make the cache and wait for it.

        Raises TargetError for a plan with FAILED lines and a cache that did not come about, StoppedError.
        """
        tools, section = self._tools, self._section
        urls = [ObjectUrl.parse(url) for url in self._urls()]
        plan = plan_seed(
            section.options(), urls, access=self._upload.access(), endpoint_url=section.cache_endpoint_url,
            beneath=dict(section.beneath()),
        )  # fmt: skip
        report = plan.report()
        self._save(report)
        tell_checks(tools, report.checks)
        if section.execute:
            self._refuse_other_content(plan)
            tools.journal.remember(self.name, {"name": report.name, "objects": self._objects()})
            with tools.progress(self.name, []) as tell:
                report = seed(
                    plan, now_ms=tools.now_ms, limits=section.limits(), wait=section.wait, progress=tell,
                    stop=tools.stop,
                )  # fmt: skip
            self._save(report)
        _raise_failure(report, tools)
        if not section.execute:
            tools.warn(f"{report.name} was only planned; see seed.json, then say execute = true in [seed]")
        line = StepLine(
            source=report.name, duration_s=report.duration_s, why=f"{report.outcome} {report.endpoint}".strip()
        )
        facts = {
            "name": report.name, "objects": self._objects() if section.execute else None,
            "outcome": report.outcome, "endpoint": report.endpoint,
        }  # fmt: skip
        return Performed([line], facts=facts)

    def _objects(self) -> dict[str, Any]:
        record = self._tools.journal.record(UploadStage.name)
        return dict(record.facts) if record is not None else {}

    def _refuse_other_content(self, plan: SeedPlan) -> None:
        """A cache knows the names of its objects, not what was in them when it was made; this run does."""
        before = self._tools.journal.before(self.name)
        objects, name = before.get("objects"), plan.request.name
        if plan.standing is not None and before.get("name") == name and objects not in (None, self._objects()):
            raise TargetError(
                f"{name} is there, made of an earlier upload of this run: its data is not what was uploaded now",
                remedy=f"give the new cache another name, or remove that one: {plan.request.facts.delete} {name}",
            )

    def _urls(self) -> list[str]:
        return [str(url) for _, url in UploadStage(self._tools, self._upload).pairs()]

    def _save(self, report: SeedReport) -> None:
        self._tools.folder.write_json(self.name, report.model_dump_json(indent=2))


def _raise_failure(report: SeedReport, tools: RunTools) -> None:
    if report.outcome == "stopped":
        raise StoppedError(report.error, remedy=report.remedy)
    if report.error:
        if report.clean_up:
            tools.say(f"To remove it: {report.clean_up}")
        raise TargetError(report.error, remedy=report.remedy)
    if report.exit_code:
        wrong = [check for check in report.checks if check.outcome is Outcome.FAILED]
        findings = "; ".join(check.finding for check in wrong)
        remedy = next((check.remedy for check in wrong if check.remedy), "")
        raise TargetError(f"{report.name} cannot be seeded so: {findings}", remedy=remedy)
