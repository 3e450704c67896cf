"""The stage that pulls: every source at hand in the end, or a failure that names those that are not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from rdbmerge.errors import SourceError, UsageError
from rdbmerge.replication.source import Source
from rdbmerge.snapshot.journal import Inputs, Output, StepLine, StepRecord
from rdbmerge.snapshot.manifest import Manifest, read_manifest
from rdbmerge.snapshot.workdir import WorkDir
from rdbmerge.steps.config import SourceSection
from rdbmerge.steps.pull import SourceOutcome, pull
from rdbmerge.steps.pull_one import Via
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

    def changed(self, record: StepRecord) -> str:
        """By the files that it left."""
        return self._tools.journal.changed_output(record)

    def check(self) -> None:
        """The files that are sources have to be there."""
        for one in self._tools.file.source:
            if one.file is not None and not one.file.is_file():
                raise UsageError(f"source {one.source_name}: there is no file {one.file}", remedy="check its path")

    def perform(self, at_ms: int) -> Performed:
        """Pull; raises SourceError (or what all failures are) when a source is not at hand in the end."""
        asked = [one for one in self._tools.file.source if not self._is_kept(one)]
        outcomes = [*self._pull(asked, "replication"), *self._pull(asked, "scan")]
        failed = [one for one in outcomes if one.outcome == "failed"]
        if failed:
            raise _pull_failure(failed, len(outcomes))
        nodes = _nodes(outcomes)
        by_name = {one.source: one for one in outcomes}
        done = Performed([], facts={"nodes": nodes})
        for one in self._tools.file.source:
            if one.file is not None:
                size = one.file.stat().st_size
                done.lines.append(StepLine(source=one.source_name, size_bytes=size, why="a file at hand"))
                continue
            for name in nodes.get(one.source_name, [one.source_name]):
                done.lines.append(self._line(name, by_name.get(name)))
                done.outputs |= [self._output(name)]
        return done

    def _is_kept(self, one: SourceSection) -> bool:
        """Whether nobody is asked: it is a file, or at hand and asked to be kept."""
        server = one.server()
        return server is None or (
            self._tools.keep_snapshots and at_hand(self._tools.folder.snapshots, server) is not None
        )

    def _pull(self, asked: Sequence[SourceSection], via: Via) -> list[SourceOutcome]:
        """Those that are pulled in that way."""
        tools, section = self._tools, self._tools.file.pull
        servers = [server for one in asked if (one.via or "replication") == via and (server := one.server())]
        if not servers:
            return []
        with tools.progress(self.name, []) as tell:
            report = pull(
                servers, tools.folder.snapshots.path, jobs=section.jobs, jobs_per_host=section.jobs_per_host,
                limits=section.limits(), tunnels=tools.tunnels, now_ms=tools.now_ms, force=tools.fresh, progress=tell,
                stop=tools.stop, via=via,
            )  # fmt: skip
        tools.folder.write_json("pull" if via == "replication" else "pull-scan", report.model_dump_json(indent=2))
        for one in report.sources:
            for warning in one.warnings:
                tools.warn(f"{one.source}: {warning}")
        for warning in report.warnings:
            tools.warn(warning)
        return report.sources

    def _output(self, name: str) -> tuple[str, Output]:
        path = self._tools.folder.snapshots.final_path(name)
        manifest = read_manifest(path)
        return self._tools.journal.output(path, manifest.crc64 if manifest else "")

    def _line(self, name: str, outcome: SourceOutcome | None) -> StepLine:
        path = self._tools.folder.snapshots.final_path(name)
        manifest = read_manifest(path)
        pulled = manifest.pulled if manifest and outcome and outcome.outcome == "pulled" else None
        return StepLine(
            source=name,
            keys=None if manifest is None else sum(manifest.keys_in_file.values()),
            size_bytes=path.stat().st_size,
            duration_s=pulled.duration_s if pulled else None,
            why=outcome.why if outcome else "at hand",
        )


def _nodes(outcomes: Sequence[SourceOutcome]) -> dict[str, list[str]]:
    """The snapshots of each cluster, by its name, in the order of their slots."""
    nodes: dict[str, list[str]] = {}
    for one in outcomes:
        found = one.manifest.pulled.found if one.manifest and one.manifest.pulled else None
        if found and found.by == "cluster":
            nodes.setdefault(found.group, []).append(one.source)
    return nodes


def at_hand(folder: WorkDir, server: Source) -> Manifest | None:
    """The manifest of a snapshot that is whole and was pulled from that address; whether it is new is not asked."""
    path = folder.final_path(server.name)
    manifest = read_manifest(path) if path.exists() else None
    if manifest is None or manifest.pulled is None or manifest.pulled.address != server.address:
        return None
    facts = path.stat()
    same = (facts.st_size, facts.st_mtime_ns) == (manifest.size_bytes, manifest.pulled.mtime_ns)
    return manifest if same else None


def _pull_failure(failed: Sequence[SourceOutcome], count: int) -> SourceError:
    shown = "\n".join(f"  {one.error}" + (f" ({one.remedy})" if one.remedy else "") for one in failed)
    error = SourceError(
        f"{len(failed)} of {count} sources could not be pulled:\n{shown}",
        remedy="mend that; what was pulled stays. --keep-snapshots asks no source again that is at hand",
    )
    codes = {one.exit_code for one in failed}
    error.exit_code = codes.pop() if len(codes) == 1 else SourceError.exit_code
    return error
