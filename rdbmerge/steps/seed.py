"""The use case of seeding: a request planned and judged, then made, waited for, and told how it ended.

Nothing is created without `seed` being called, and nothing is ever deleted: what costs money is the user's to remove.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from rdbmerge import __version__
from rdbmerge.errors import StoppedError, TargetError
from rdbmerge.preflight import Outcome, PreflightCheck, worst
from rdbmerge.steps.seed_look import arns_of, look_at_account, look_at_objects, slots_in_names
from rdbmerge.stores.base import ObjectUrl, S3Access
from rdbmerge.targets.elasticache import Caches, check_parameters
from rdbmerge.targets.kinds import Kind
from rdbmerge.targets.preflight import seed_checks
from rdbmerge.targets.request import SeedOptions, SeedRequest, make_request
from rdbmerge.targets.standing import SeedEvent, Standing
from rdbmerge.targets.waiting import Waited, Waiting, WaitLimits, wait_until_available

REPORT_FORMAT = 1
_EARLIER_MS = 6 * 3_600_000  # how far back the events of a creation that an earlier run began are looked for

SeedOutcome = Literal["planned", "creating", "available", "failed", "gone", "timeout", "stopped"]


class SeedReport(BaseModel):
    """What became of a seeding; without secrets."""

    model_config = ConfigDict(extra="forbid")

    report_format: int = REPORT_FORMAT
    rdbmerge_version: str = __version__
    kind: Kind
    name: str
    region: str
    objects: list[str]
    request: dict[str, Any] = Field(description="The parameters of the API; secrets hidden.")
    checks: list[PreflightCheck]
    outcome: SeedOutcome = "planned"
    status: str = ""
    members: dict[str, str] = Field(default_factory=dict, description="Node -> its status.")
    endpoint: str = ""
    events: list[tuple[int, str, str]] = Field(default_factory=list, description="Unix ms, source, message.")
    started_at_ms: int | None = None
    duration_s: float = 0.0
    error: str = ""
    remedy: str = ""
    clean_up: str = Field("", description="A command for the user to remove it; never run by rdbmerge.")

    @property
    def exit_code(self) -> int:
        """0 for what was planned without FAILED, is being created, or is there; else that of its kind."""
        if self.outcome == "stopped":
            return StoppedError.exit_code
        bad = self.outcome in ("failed", "gone", "timeout") or self._is_refused
        return TargetError.exit_code if bad else 0

    @property
    def _is_refused(self) -> bool:
        return self.outcome == "planned" and worst(self.checks) is Outcome.FAILED


@dataclass(frozen=True, slots=True)
class SeedPlan:
    """A request, and what was found out about it before anything is made."""

    request: SeedRequest
    urls: list[ObjectUrl]
    caches: Caches
    checks: list[PreflightCheck]
    standing: Standing | None  # of a cache that has this name already
    mine: bool  # ... that is made from these very files

    def report(self) -> SeedReport:
        """As far as it is known before."""
        return SeedReport(
            kind=self.request.kind,
            name=self.request.name,
            region=self.caches.region,
            objects=[str(url) for url in self.urls],
            request=self.request.shown(),
            checks=self.checks,
        )


def plan_seed(
    options: SeedOptions,
    urls: Sequence[ObjectUrl],
    *,
    access: S3Access,
    endpoint_url: str | None = None,
    beneath: dict[str, Any] | None = None,
    files: Sequence[Path] = (),
    jobs: int = 1,
    progress: Callable[[int], None] | None = None,
    stop: threading.Event | None = None,
) -> SeedPlan:
    """Make the request and judge it; creates nothing.

    Args:
        access: of the store; profile and region hold for the target too.
        endpoint_url: of the target, where it is not AWS.
        beneath: parameters of the API that the options win over.
        files: the files that were uploaded, one an object, where they are at hand.
        progress: is told bytes read of them.
        stop: when set, the look ends.

    Raises:
        UsageError: what was asked for is no request.
        StoreError, TargetError: store or target cannot be asked at all.
        StoppedError: `stop` was set.
    """
    if options.kind is Kind.REPLICATION_GROUP and options.shards is None:
        options = options.model_copy(update={"shards": slots_in_names(urls)})
    caches = Caches(options.kind, profile=access.profile, region=access.region, endpoint_url=endpoint_url)
    request = make_request(options, arns_of(urls, caches.region), beneath)
    check_parameters(request)
    look = look_at_objects(urls, access, caches.facts.service, files=files, jobs=jobs, progress=progress, stop=stop)
    cloud, standing, more = look_at_account(caches, request)
    checks = [*look.checks, *seed_checks(request, look.objects, cloud), *more]
    return SeedPlan(request, list(urls), caches, checks, standing, cloud.mine)


@dataclass(frozen=True, slots=True)
class Timing:
    """Clocks and dice, so that tests need not wait."""

    clock: Callable[[], float] = time.monotonic
    dice: Callable[[], float] = random.random


def seed(
    plan: SeedPlan,
    *,
    now_ms: Callable[[], int],
    limits: WaitLimits | None = None,
    wait: bool = True,
    progress: Callable[[Waiting], None] | None = None,
    stop: threading.Event | None = None,
    timing: Timing | None = None,
) -> SeedReport:
    """Create what is planned, or go on waiting for it where an earlier run created it; tell how it ended.

    Args:
        wait: False: only ask for it.
        stop: when set, the waiting ends; the creation does not.

    Raises:
        TargetError: the plan has FAILED lines, or the creation was refused.
    """
    _refuse_failed(plan)
    timing, stop, began_ms = timing or Timing(), stop or threading.Event(), now_ms()
    report = plan.report()
    report.started_at_ms = began_ms
    report.clean_up = f"{plan.request.facts.delete} {plan.request.name} --region {plan.caches.region}"
    if not plan.mine:
        mine_after_all = _create(plan)
        since_ms = began_ms - _EARLIER_MS if mine_after_all else began_ms
    else:
        since_ms = began_ms - _EARLIER_MS
    if not wait:
        report.outcome = "creating"
        return report
    waited = _wait(plan, limits or WaitLimits(), timing, stop, progress)
    return _finished(plan, report, waited, since_ms, now_ms())


def _refuse_failed(plan: SeedPlan) -> None:
    bad = [check for check in plan.checks if check.outcome is Outcome.FAILED]
    if bad:
        raise TargetError(
            f"nothing was created: {len(bad)} of the checks FAILED ({', '.join(check.name for check in bad)})",
            remedy=next((check.remedy for check in bad if check.remedy), "see the lines above"),
        )


def _create(plan: SeedPlan) -> bool:
    """Ask for it; True if it turns out that it was ours already (an answer that was lost, two runs at once)."""
    try:
        plan.caches.create(plan.request)
    except TargetError as error:
        if not plan.caches.is_taken(error):
            raise
        found = plan.caches.find(plan.request.name)
        if found is None or not plan.request.is_mine(found.description):
            raise
        return True
    return False


def _wait(
    plan: SeedPlan,
    limits: WaitLimits,
    timing: Timing,
    stop: threading.Event,
    progress: Callable[[Waiting], None] | None,
) -> Waited:
    began_s = timing.clock()
    try:
        return wait_until_available(
            lambda: plan.caches.find(plan.request.name),
            clock=timing.clock,
            sleep=stop.wait,
            dice=timing.dice,
            limits=limits,
            tell=progress or (lambda _: None),
        )
    except KeyboardInterrupt:  # a second one, in the middle of a question
        return Waited("stopped", None, timing.clock() - began_s)
    except TargetError as error:
        raise TargetError(
            f"{error}; the creation of {plan.request.name} goes on, and costs money",
            remedy=f"{error.remedy}; the same command goes on waiting",
            code=error.code,
        ) from error


def _finished(plan: SeedPlan, report: SeedReport, waited: Waited, since_ms: int, now_ms: int) -> SeedReport:
    name, standing = plan.request.name, waited.standing
    report.outcome, report.duration_s = waited.outcome, round(waited.elapsed_s, 1)
    if standing is not None:
        report.status, report.members, report.endpoint = standing.status, standing.members, standing.endpoint
        if waited.outcome != "stopped":
            report.events = [(one.at_ms, one.source, one.message) for one in _events(plan, standing, since_ms, now_ms)]
    minutes = f"{waited.elapsed_s / 60:.0f} minutes"
    again = "run the same command again to go on waiting"
    match waited.outcome:
        case "failed":
            report.error = f"{name} could not be seeded: it is {standing}"
            report.remedy = "see the events; it cannot be mended: remove it, then seed again under this or another name"
        case "gone":
            report.error = f"{name} is not there any more: it was removed while it was waited for"
            report.remedy = "see the events"
        case "timeout":
            trouble = f" ({waited.trouble})" if waited.trouble else ""
            report.error = f"{name} is not ready after {minutes}: it is {standing or 'not to be seen'}{trouble}"
            report.remedy = f"the creation goes on, and costs money: {again}, with a longer --wait-timeout"
        case "stopped":
            report.error = f"stopped waiting; the creation of {name} goes on, and costs money"
            report.remedy = f"{again}, or remove it"
    return report


def _events(plan: SeedPlan, standing: Standing, since_ms: int, now_ms: int) -> list[SeedEvent]:
    """What was written about it; how it ended is known without."""
    try:
        return plan.caches.events(standing, since_ms=since_ms, now_ms=now_ms)
    except TargetError as error:
        return [SeedEvent(now_ms, "rdbmerge", f"the events could not be read: {error}")]
