"""The stage that pulls: every source at hand in the end, or a failure that names those that are not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from rdbmerge.errors import SourceError, UsageError
from rdbmerge.replication.source import Source
from rdbmerge.snapshot.journal import Inputs, StepLine
from rdbmerge.snapshot.manifest import Manifest, read_manifest
from rdbmerge.snapshot.workdir import WorkDir
from rdbmerge.steps.pull import PullReport, SourceOutcome, pull
from rdbmerge.steps.stages.tools import Performed, RunTools


class PullStage:
    """Every source becomes a snapshot at hand; done anew for each that is not known to be unchanged."""

    name: ClassVar[str] = "pull"

    def __init__(self, tools: RunTools) -> None:
        self._tools = tools

    def inputs(self) -> Inputs:
        """Where each source is."""
        return {f"source {one.source_name}": self._place(one.server(), one.file) for one in self._tools.file.source}

    @staticmethod
    def _place(server: Source | None, file: Path | None) -> str:
        return str(file) if server is None else server.address

    def check(self) -> None:
        """The files that are sources have to be there."""
        for one in self._tools.file.source:
            if one.file is not None and not one.file.is_file():
                raise UsageError(f"source {one.source_name}: there is no file {one.file}", remedy="check its path")

    def perform(self, at_ms: int) -> Performed:
        """Pull; raises SourceError (or what all failures are) when a source is not at hand in the end."""
        tools, section = self._tools, self._tools.file.pull
        servers = [server for one in tools.file.source if (server := one.server()) is not None]
        held = [server for server in servers if tools.keep_snapshots and at_hand(tools.folder.snapshots, server)]
        asked = [server for server in servers if server not in held]
        outcomes: dict[str, SourceOutcome] = {}
        if asked:
            with tools.progress(self.name, []) as tell:
                report = pull(
                    asked, tools.folder.snapshots.path, jobs=section.jobs, jobs_per_host=section.jobs_per_host,
                    limits=section.limits(), now_ms=tools.now_ms, force=tools.fresh, progress=tell,
                    stop=tools.stop,
                )  # fmt: skip
            outcomes = {one.source: one for one in report.sources}
            self._tell(report)
        return Performed(
            lines=[self._line(one.source_name, outcomes.get(one.source_name)) for one in tools.file.source],
            outputs=dict(
                tools.journal.output(tools.source_path(server.name), self._crc64(server.name)) for server in servers
            ),
        )

    def _tell(self, report: PullReport) -> None:
        tools = self._tools
        tools.folder.write_json("pull", report.model_dump_json(indent=2))
        for one in report.sources:
            for warning in one.warnings:
                tools.warn(f"{one.source}: {warning}")
        for warning in report.warnings:
            tools.warn(warning)
        failed = [one for one in report.sources if one.outcome == "failed"]
        if failed:
            raise _pull_failure(failed, len(report.sources), report.exit_code)

    def _crc64(self, name: str) -> str:
        manifest = read_manifest(self._tools.source_path(name))
        return manifest.crc64 if manifest else ""

    def _line(self, name: str, outcome: SourceOutcome | None) -> StepLine:
        path = self._tools.source_path(name)
        manifest = read_manifest(path)
        pulled = outcome is not None and outcome.outcome == "pulled" and manifest is not None
        return StepLine(
            source=name,
            keys=None if manifest is None else sum(manifest.keys_in_file.values()),
            size_bytes=path.stat().st_size,
            duration_s=manifest.pulled.duration_s if pulled and manifest and manifest.pulled else None,
            why=outcome.why if outcome is not None else "at hand",
        )


def at_hand(folder: WorkDir, server: Source) -> Manifest | None:
    """The manifest of a snapshot that is whole and was pulled from that address; whether it is new is not asked."""
    path = folder.final_path(server.name)
    manifest = read_manifest(path) if path.exists() else None
    if manifest is None or manifest.pulled is None or manifest.pulled.address != server.address:
        return None
    facts = path.stat()
    same = (facts.st_size, facts.st_mtime_ns) == (manifest.size_bytes, manifest.pulled.mtime_ns)
    return manifest if same else None


def _pull_failure(failed: Sequence[SourceOutcome], count: int, exit_code: int) -> SourceError:
    shown = "\n".join(f"  {one.error}" + (f" ({one.remedy})" if one.remedy else "") for one in failed)
    error = SourceError(
        f"{len(failed)} of {count} sources could not be pulled:\n{shown}",
        remedy="mend that; what was pulled stays. --keep-snapshots asks no source again that is at hand",
    )
    error.exit_code = exit_code
    return error
