"""The use case of restoring: RDB files into a live server or cluster by RESTORE, from plan to ledger; and going on.

Decided like a merge, by a Plan whose output are commands. Sees all rooms; knows nothing of the command line.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from rdbmerge.errors import LedgerError, StoppedError, TargetError, UsageError
from rdbmerge.plan.model import Plan, Rules
from rdbmerge.preflight import Outcome, PreflightCheck
from rdbmerge.reach.connection import open_socket, tunnel_failure
from rdbmerge.reach.sentinel import find_primary
from rdbmerge.reach.server import Server
from rdbmerge.reach.tunnels import Tunnels
from rdbmerge.snapshot.segment import Segment
from rdbmerge.steps.merge import MergeProgress, PlannedMerge, planned_merge
from rdbmerge.steps.restoring.checkpoint import Checkpoint, Keeper, PartDone, plan_fingerprint, read_checkpoint
from rdbmerge.steps.restoring.libraries import restore_libraries
from rdbmerge.steps.restoring.look import Target, look, meet, profile_name
from rdbmerge.steps.restoring.pace import make_pace, probing
from rdbmerge.steps.restoring.parts import Parts, RejectedKeys, byte_counter, parts_of
from rdbmerge.steps.restoring.report import RestoreOptions, RestoreReport
from rdbmerge.steps.restoring.sample import still_there
from rdbmerge.steps.restoring.watch import RestartedError, Watch
from rdbmerge.steps.restoring.work import OnBusy, Work
from rdbmerge.targets.server import Login
from rdbmerge.targets.server_cluster import Servers

_MOST_RESTARTS = 3


Progress = Callable[[MergeProgress], None]
OnPlan = Callable[[Plan, Sequence[PreflightCheck]], None]


def restore(
    sources: Sequence[Path],
    target: Server,
    rules: Rules,
    options: RestoreOptions,
    *,
    tunnels: Tunnels,
    now_ms: Callable[[], int],
    jobs: int,
    dry_run: bool = False,
    on_plan: OnPlan | None = None,
    progress: Progress | None = None,
    say: Callable[[str], None] = lambda _: None,
    stop: threading.Event | None = None,
) -> RestoreReport:
    """Restore `sources` (RDB files, in order of precedence) into the server or cluster that `target` names.

    Args:
        rules: as of a merge; without a target of theirs, the one that the servers are.
        tunnels: the ways through SSH servers.
        now_ms: the local clock, Unix milliseconds.
        jobs: threads for scanning and planning.
        on_plan: told the plan and what was found at the target, before anything is written.
        say: told why it waits, and the like.

    Raises:
        TargetError: the target refuses, fails, or holds a key that it may not; what was done stays and is known, and
            the same call goes on from there.
        UsageError: it is not empty and nothing was said about that; a checkpoint of another restore.
        StoppedError: `stop` was set; the same call goes on from there.
        and what planning a merge raises.
    """
    stop = stop or threading.Event()
    target = find_primary(
        target, tunnels=tunnels, timeout_s=options.connect_timeout_s, wait_s=options.retry_for_s, stop=stop
    )
    servers = Servers(_dialling(target, tunnels, options, stop), _login(target, options), target.place)
    try:
        met = _meet(servers, tunnels.through(target))
        if rules.target is None:
            rules = rules.model_copy(update={"target": profile_name(met)})
        started_s = time.monotonic()
        lists = {} if dry_run else {what: _beside(sources, target, f"{what}.jsonl") for what in ("conflicts", "unfit")}
        with planned_merge(
            sources, rules, now_ms=now_ms(), jobs=jobs, conflicts_to=lists.get("conflicts"),
            rejected_to=lists.get("unfit"), progress=progress,
        ) as planned:  # fmt: skip
            run = _Run(planned, target, met, options, now_ms, progress, say, stop)
            report = run.prepare(on_plan, time.monotonic() - started_s, dry_run=dry_run, sources=sources)
            report.lists = [str(path) for path in lists.values() if path.exists()]
            if not dry_run:
                run.go(report)
            return report
    finally:
        servers.close()


def _meet(servers: Servers, target: Server) -> Target:
    """Look at the servers. A tunnel that was refused looks like a server that hangs up: ssh alone knows better."""
    try:
        return meet(servers)
    except TargetError as error:
        told = tunnel_failure(target)
        if told is None:
            raise
        raise told from error


def _dialling(
    target: Server, tunnels: Tunnels, options: RestoreOptions, stop: threading.Event
) -> Callable[[str, int], object]:
    def dial(host: str, port: int) -> object:
        there = replace(target, host=host, port=port, unix_path=None, name="", tunnel=None) if host else target
        return open_socket(tunnels.through(there), timeout_s=options.connect_timeout_s, stop=stop)

    return dial


def _login(target: Server, options: RestoreOptions) -> Login:
    return Login(username=target.username, password=target.password, patience_s=options.timeout_s)


def _beside(sources: Sequence[Path], target: Server, suffix: str) -> Path:
    first = sources[0]
    return first.with_name(f"{first.name}.{target.name}.{suffix}")


class _Run:
    """One restore, planned."""

    def __init__(
        self,
        planned: PlannedMerge,
        target: Server,
        met: Target,
        options: RestoreOptions,
        now_ms: Callable[[], int],
        progress: Progress | None,
        say: Callable[[str], None],
        stop: threading.Event,
    ) -> None:
        self.plan: Plan = planned.plan
        self.segments: Sequence[Segment] = planned.segments
        self.target = target
        self.met = met
        self.options = options
        self.now_ms = now_ms
        self.progress = progress
        self.say = say
        self.stop = stop
        self.on_busy: OnBusy = options.on_busy or "fail"

    def prepare(
        self, on_plan: OnPlan | None, plan_s: float, *, dry_run: bool, sources: Sequence[Path]
    ) -> RestoreReport:
        """Look, tell, and refuse what cannot be. Raises TargetError and UsageError."""
        path = self.options.checkpoint or _beside(sources, self.target, "restore.json")
        fingerprint, place = plan_fingerprint(self.plan), self.target.address
        found = (
            None if self.options.force else read_checkpoint(path, plan=fingerprint, target=place, on_busy=self.on_busy)
        )
        self.keeper = Keeper(path, found or Checkpoint(plan=fingerprint, target=place, on_busy=self.on_busy))
        self.rejected_path = self.options.rejected or _beside(sources, self.target, "rejected.jsonl")
        self.rejected_bytes = found.rejected_bytes if found else 0
        self.watch = Watch(self.met.servers, self.now_ms, found.run_ids if found else {})
        self.resumed = found is not None
        checks = look(self.met, self.plan, on_busy=self.options.on_busy, resuming=self.resumed, now_ms=self.now_ms)
        if on_plan:
            on_plan(self.plan, checks)
        for check in checks:
            if check.outcome is Outcome.FAILED and not dry_run:
                kind = UsageError if check.name in ("keys", "dbs") else TargetError
                raise kind(check.finding, remedy=check.remedy)
        return RestoreReport(
            started_at_ms=self.plan.created_at_ms,
            target=place,
            server=self.met.least.name,
            primaries=len(self.met.servers.primaries()),
            rules=self.plan.rules,
            on_busy=self.on_busy,
            checks=checks,
            dry_run=dry_run,
            resumed=self.resumed,
            keys=self.plan.keys,
            libraries=[library.name for library in self.plan.libraries],
            conflicts=self.plan.conflicts,
            ledger=self.plan.ledger(),
            warnings=list(self.plan.warnings),
            plan_s=round(plan_s, 3),
        )

    def go(self, report: RestoreReport) -> None:
        """Send everything, and fill in the report. Raises what `restore` raises."""
        started_s = time.monotonic()
        evicted_before = self._evicted()
        self._meet_all(report)
        self.rejected = RejectedKeys(self.rejected_path, self.rejected_bytes)
        if self.resumed and not still_there(self.met.servers, self.watch, self.plan, self.segments, self.keeper.parts):
            self._forget(report, "the target does not hold any more what an earlier run restored")
        report.done_before = self._done
        self.keeper.note_servers(dict(self.watch.run_ids))  # before anything is sent: what comes after is in doubt
        report.libraries_left_out = restore_libraries(self.met.servers, self.plan, self.segments, self.on_busy)
        try:
            self._send(report)
        finally:
            self.keeper.write()
        self._close_ledger(report)
        evicted_after = self._evicted()
        if evicted_before is not None and evicted_after is not None:
            report.evicted = evicted_after - evicted_before
        report.restore_s = round(time.monotonic() - started_s, 3)
        self.keeper.finish()

    def _meet_all(self, report: RestoreReport) -> None:
        for number in self.met.servers.primaries():
            try:
                self.watch.meet(number)
            except RestartedError as error:
                self._forget(report, str(error))

    def _send(self, report: RestoreReport) -> None:
        doubtful = self.resumed
        while True:
            work = self._work()
            parts = Parts(work, self.plan, self.segments, self.keeper, self.rejected, doubtful=doubtful)
            try:
                with probing(self.met.servers, work.pace, work.stop):
                    parts.run(self.options.connections, self.stop)
                for number in self.met.servers.primaries():
                    self.watch.meet(number)
                return
            except RestartedError as error:
                if report.begun_anew >= _MOST_RESTARTS:
                    raise TargetError(
                        f"{error}, again and again", remedy="see why the target does not stay, and run the same command"
                    ) from error
                self._forget(report, str(error))
                doubtful = True
            except StoppedError as error:
                raise StoppedError(
                    f"stopped; {self._done:,} of {self.plan.keys:,} keys are done",
                    remedy="run the same command again: it goes on from there",
                ) from error
            finally:
                report.slowed_down += work.pace.brake.pulled if work.pace.brake else 0

    @property
    def _done(self) -> int:
        """Keys that have their fate."""
        return sum(part.restored + part.skipped + part.rejected + part.expired for part in self.keeper.parts)

    def _forget(self, report: RestoreReport, why: str) -> None:
        """What was acknowledged may be gone: all is sent again, and what is there is recognised."""
        report.begun_anew += 1
        self.say(f"{why}: what was restored there may be gone, so all keys are sent again")
        report.warnings.append(f"{why}: all keys were sent again")
        self.rejected = RejectedKeys(self.rejected_path, 0)
        self.keeper.forget(dict(self.watch.run_ids), 0)

    def _work(self) -> Work:
        options, met = self.options, self.met
        total_bytes = sum(part.chunk.stop - part.chunk.start for part in parts_of(self.plan))
        tell = self.progress
        return Work(
            servers=met.servers,
            watch=self.watch,
            form=met.form(replace=self.on_busy == "replace"),
            words=met.words(),
            on_busy=self.on_busy,
            big_bytes=min(options.big_bytes, met.most_bulk_bytes),
            most_bulk_bytes=met.most_bulk_bytes,
            modules=met.modules,
            unlinks=met.least.has_unlink,
            pace=make_pace(
                met.servers,
                max_qps=options.max_qps,
                max_bytes_per_s=options.max_bytes_per_s,
                max_latency_ms=options.max_latency_ms,
            ),
            retry_for_s=options.retry_for_s,
            say=self.say,
            count_bytes=byte_counter(
                total_bytes, None if tell is None else lambda done, total: tell(MergeProgress("restore", done, total))
            ),
        )

    def _evicted(self) -> int | None:
        """Keys that the servers have evicted since their start; None where one does not tell."""
        try:
            counts = [self.met.servers.all[number].facts().evicted_keys for number in self.met.servers.primaries()]
        except TargetError:
            return None
        known = [count for count in counts if count is not None]
        return sum(known) if len(known) == len(counts) else None

    def _close_ledger(self, report: RestoreReport) -> None:
        """Book what became of the keys that were sent. Raises LedgerError if some are unaccounted for."""
        done = {(part.source, part.start): part for part in self.keeper.parts}
        nothing = PartDone(source=0, start=0, position=0)
        lines = iter(report.ledger.lines)
        for number, source in enumerate(self.plan.sources):
            for run in source.runs:
                line = next(lines)
                parts = [done.get((number, chunk.start), nothing) for chunk in run.chunks if chunk.written]
                line.written = sum(part.restored for part in parts)
                line.skipped = sum(part.skipped for part in parts)
                refused = sum(part.rejected for part in parts)
                line.rejected += refused
                report.refused += refused
                meanwhile = sum(part.expired for part in parts)
                line.expired += meanwhile
                report.expired_meanwhile += meanwhile
        try:
            report.ledger.check()
        except LedgerError:
            self.keeper.write()
            raise
        report.restored = report.ledger.total().written
        if self.rejected.size_bytes:
            report.rejected_file = str(self.rejected_path)
