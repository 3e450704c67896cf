"""The use case of pulling: many sources at once into a folder, each checked and named only when it is whole.

One source that fails does not stop the others. Knows nothing of the command line.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from rdbmerge import __version__
from rdbmerge.errors import RdbMergeError, SourceError, StoppedError, UsageError
from rdbmerge.reach.sentinel import find_primary
from rdbmerge.reach.tunnels import Tunnels
from rdbmerge.replication.limits import PullLimits
from rdbmerge.replication.source import Source
from rdbmerge.snapshot.manifest import Manifest
from rdbmerge.snapshot.workdir import WorkDir
from rdbmerge.steps.discover import discover
from rdbmerge.steps.pull_one import PullStatus, PullTools, Via, held_snapshot, pull_one

REPORT_FORMAT = 1


class SourceOutcome(BaseModel):
    """What became of one source."""

    model_config = ConfigDict(extra="forbid")

    source: str
    address: str = Field(description="Never with credentials.")
    outcome: Literal["pulled", "skipped", "failed"]
    why: str = Field("", description="Why it was skipped, or pulled although a file was there.")
    error: str = ""
    remedy: str = ""
    exit_code: int = 0
    warnings: list[str] = Field(default_factory=list)
    manifest: Manifest | None = Field(None, description="Of the file at hand; null for a source that failed.")


class PullReport(BaseModel):
    """What a pull did, source by source, in the order they were named."""

    model_config = ConfigDict(extra="forbid")

    report_format: int = REPORT_FORMAT
    rdbmerge_version: str = __version__
    folder: str
    started_at_ms: int
    duration_s: float
    sources: list[SourceOutcome]
    warnings: list[str] = Field(default_factory=list, description="About the sources as a whole.")

    @property
    def exit_code(self) -> int:
        """0 when every source is at hand; else the failures' code, 30 where they differ."""
        codes = {one.exit_code for one in self.sources if one.outcome == "failed"}
        return 0 if not codes else codes.pop() if len(codes) == 1 else SourceError.exit_code


def pull(
    sources: Sequence[Source],
    folder: Path,
    *,
    jobs: int,
    now_ms: Callable[[], int],
    jobs_per_host: int = 1,
    limits: PullLimits | None = None,
    tunnels: Tunnels | None = None,
    force: bool = False,
    progress: Callable[[PullStatus], None] | None = None,
    stop: threading.Event | None = None,
    via: Via = "replication",
) -> PullReport:
    """Pull every source into `folder` as `<name>.rdb`, with its manifest and index.

    A source whose snapshot is at hand and known to be its data still is left alone, unless `force`. A cluster
    is pulled as its nodes, each as
    `<name>-<slots>.rdb`.

    Args:
        jobs: sources at once.
        now_ms: the local clock, Unix milliseconds.
        tunnels: open ones of the caller; None: they are made here, and gone at the end.
        jobs_per_host: sources at once of one machine, each of which forks.
        progress: is told where each source stands, from several threads, one at a time.
        stop: when set, everything ends within a second or so; what is whole stays.
        via: "scan" asks for key after key, where replication is forbidden: no snapshot of one moment.

    Raises:
        UsageError: no sources, two of one name or address, or another process fills the folder.
        DiskError: the folder cannot be made.
        StoppedError: `stop` was set, or Ctrl-C was pressed.
    """
    if not sources:
        raise UsageError("no sources are named", remedy="name at least one, as host:port or @file")
    _check_sources(sources)
    work, started_at_ms, started_s = WorkDir(folder), now_ms(), time.monotonic()
    stop = stop or threading.Event()
    limits = limits or PullLimits()
    with work.filling(), _own(tunnels, limits) as tunnels:
        tools = PullTools(
            folder=work,
            limits=limits,
            now_ms=now_ms,
            tell=_one_at_a_time(progress),
            stop=stop,
            tunnels=tunnels,
            via=via,
        )
        discovered = discover(sources, tunnels=tunnels, timeout_s=limits.connect_timeout_s, stop=stop)
        sources = discovered.sources
        _check_sources(sources)
        outcomes = _run(_Queue(sources, jobs_per_host), tools, min(max(1, jobs), max(1, len(sources))), force)
        warnings = discovered.warnings_after(work)
    ordered = [_failed(source, tools, error) for source, error in discovered.failed]
    ordered += [outcomes[source.name] for source in sources if source.name in outcomes]
    if stop.is_set() and len(outcomes) < len(sources):
        raise StoppedError(
            f"stopped: {sum(one.outcome != 'failed' for one in ordered)} of {len(sources)} sources are in {folder}",
            remedy="run the same command again for the rest",
        )
    return PullReport(
        folder=str(folder),
        started_at_ms=started_at_ms,
        duration_s=round(time.monotonic() - started_s, 3),
        sources=ordered,
        warnings=[*warnings, *_same_history(ordered)],
    )


def _own(tunnels: Tunnels | None, limits: PullLimits) -> AbstractContextManager[Tunnels]:
    return nullcontext(tunnels) if tunnels else Tunnels(connect_timeout_s=limits.connect_timeout_s)


def _check_sources(sources: Sequence[Source]) -> None:
    seen: set[str] = set()
    for source in sources:
        for key in (f"name {source.name.lower()}", f"address {source.address.removeprefix('rediss://')}"):
            if key in seen:
                raise UsageError(f"two sources have the {key}", remedy="name each server once")
            seen.add(key)


def _one_at_a_time(progress: Callable[[PullStatus], None] | None) -> Callable[[PullStatus], None]:
    lock = threading.Lock()

    def tell(status: PullStatus) -> None:
        if progress:
            with lock:
                progress(status)

    return tell


class _Queue:
    """Gives out sources in order, as far as their hosts are free."""

    def __init__(self, sources: Sequence[Source], per_host: int) -> None:
        self._waiting = list(sources)
        self._per_host = max(1, per_host)
        self._busy: dict[str, int] = {}
        self._changed = threading.Condition()

    def take(self, stop: threading.Event) -> Source | None:
        """The next source whose host is free, waiting for one; None when there are no more."""
        with self._changed:
            while self._waiting and not stop.is_set():
                for source in self._waiting:
                    if self._busy.get(source.host_key, 0) < self._per_host:
                        self._waiting.remove(source)
                        self._busy[source.host_key] = self._busy.get(source.host_key, 0) + 1
                        return source
                self._changed.wait(0.2)
            return None

    def free(self, source: Source) -> None:
        """The host of `source` is no longer busy with it."""
        with self._changed:
            self._busy[source.host_key] -= 1
            self._changed.notify_all()


def _run(queue: _Queue, tools: PullTools, jobs: int, force: bool) -> dict[str, SourceOutcome]:
    outcomes: dict[str, SourceOutcome] = {}

    def work() -> None:
        while (source := queue.take(tools.stop)) is not None:
            freed = threading.Event()

            def free(source: Source = source, freed: threading.Event = freed) -> None:
                if not freed.is_set():
                    freed.set()
                    queue.free(source)

            try:
                outcomes[source.name] = _one(source, tools, force, free)
            except StoppedError:
                tools.stop.set()
            finally:
                free()

    with ThreadPoolExecutor(max_workers=jobs, thread_name_prefix="pull") as pool:
        futures = [pool.submit(work) for _ in range(jobs)]
        try:
            wait(futures, return_when=FIRST_EXCEPTION)
            for future in futures:
                future.result()
        except KeyboardInterrupt:
            tools.stop.set()
        except BaseException:
            tools.stop.set()
            raise
    return outcomes


def _one(source: Source, tools: PullTools, force: bool, received: Callable[[], None]) -> SourceOutcome:
    why = "--force" if force else ""
    limits = tools.limits
    try:
        source = find_primary(
            source,
            tunnels=tools.tunnels,
            timeout_s=limits.connect_timeout_s,
            wait_s=limits.retry_for_s,
            stop=tools.stop,
        )
        if not force:
            held, manifest = held_snapshot(source, tools)
            why = held.why
            if manifest is not None:
                tools.tell(PullStatus(source.name, "skipped", text=why))
                return SourceOutcome(
                    source=source.name, address=source.address, outcome="skipped", why=why, manifest=manifest
                )
        manifest = pull_one(source, tools, received=received)
    except StoppedError:
        raise
    except RdbMergeError as error:
        return _failed(source, tools, error)
    warnings = manifest.pulled.warnings if manifest.pulled else []
    tools.tell(PullStatus(source.name, "pulled", manifest.size_bytes, manifest.size_bytes, why))
    return SourceOutcome(
        source=source.name, address=source.address, outcome="pulled", why=why, warnings=warnings, manifest=manifest
    )


def _failed(source: Source, tools: PullTools, error: RdbMergeError) -> SourceOutcome:
    final = tools.folder.final_path(source.name)
    message = str(error) if source.name in str(error) or source.address in str(error) else f"{source.name}: {error}"
    warnings = [f"{final.name} of an earlier pull is still there; it is not new"] if final.exists() else []
    tools.tell(PullStatus(source.name, "failed", text=message))
    return SourceOutcome(
        source=source.name,
        address=source.address,
        outcome="failed",
        error=message,
        remedy=error.remedy,
        exit_code=error.exit_code,
        warnings=warnings,
    )


def _same_history(outcomes: Sequence[SourceOutcome]) -> list[str]:
    """Sources that share a replication id hold one data set: merging them would be all conflicts."""
    by_id: dict[str, list[str]] = {}
    for one in outcomes:
        if one.manifest and one.manifest.pulled and one.manifest.pulled.replication_id:
            by_id.setdefault(one.manifest.pulled.replication_id, []).append(one.source)
    return [
        f"{', '.join(names)} share a replication id: one server under several names, or a primary and its replicas"
        for names in by_id.values()
        if len(names) > 1
    ]
