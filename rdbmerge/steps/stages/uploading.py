"""The stage that uploads: each merged file becomes an object, proved to hold its bytes; others stay as they are."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from rdbmerge.snapshot.journal import Inputs, StepLine, StepRecord
from rdbmerge.steps.config_targets import UploadSection
from rdbmerge.steps.stages.merging import MergeStage, merged_contents
from rdbmerge.steps.stages.tools import Performed, RunTools
from rdbmerge.steps.upload import upload
from rdbmerge.steps.upload_report import UploadReport
from rdbmerge.steps.upload_source import description
from rdbmerge.stores.base import ObjectUrl
from rdbmerge.stores.objects import look_at
from rdbmerge.stores.s3 import S3


class UploadStage:
    """Upload what was proved. Its facts: URL of each object -> its ETag and version."""

    name: ClassVar[str] = "upload"

    def __init__(self, tools: RunTools, section: UploadSection) -> None:
        self._tools = tools
        self._section = section

    def inputs(self) -> Inputs:
        """The content of the files, wherever they lie, and where they go."""
        section = self._section
        return {
            **merged_contents(self._tools),
            "url": str(section.url),
            "grant": f"{section.service} may read" if section.grant else "none",
            "store": f"{section.profile or '-'} {section.region or '-'} {section.endpoint_url or '-'}",
        }

    def changed(self, record: StepRecord) -> str:
        """By the objects, as their store has them now. Raises StoreError."""
        s3 = S3(self._section.access(), stop=self._tools.stop)
        for url, facts in record.facts.items():
            held = look_at(s3, ObjectUrl.parse(url))
            if held is None or held.etag != facts["etag"]:
                return f"{url} is {'gone' if held is None else 'not the object that was uploaded'}"
        return ""

    def check(self) -> None:
        """The upload itself looks at the bucket first."""

    def pairs(self) -> list[tuple[Path, ObjectUrl]]:
        """Each file and where it goes."""
        files, url = MergeStage(self._tools).outputs(), self._section.url
        return [(file, url.inside(file.name) if url.is_prefix else url) for file in files]

    def perform(self, at_ms: int) -> Performed:
        """Upload; raises what `upload` raises: nothing is replaced but what this run put there itself."""
        tools, section, done = self._tools, self._section, Performed([])
        reports = []
        with tools.progress(self.name, [file for file, _ in self.pairs()]) as tell:
            for file, url in self.pairs():
                report = upload(
                    file, url, access=section.access(), jobs=section.jobs, grant=section.grant, service=section.service,
                    force=section.force or self._is_ours(url), now_ms=tools.now_ms(), part_bytes=section.part_size,
                    metadata=description(file, jobs=tools.jobs), progress=tell, show=tools.say, stop=tools.stop,
                )  # fmt: skip
                reports.append(report.model_dump_json(indent=2))
                self._tell(report)
                done.facts[str(url)] = {"etag": report.etag, "version_id": report.version_id}
                done.lines.append(_line(url, report))
        tools.folder.write_json(self.name, reports[0] if len(reports) == 1 else f"[{', '.join(reports)}]")
        return done

    def _is_ours(self, url: ObjectUrl) -> bool:
        """Whether what lies there is what an earlier round of this run uploaded."""
        before = self._tools.journal.before(self.name).get(str(url))
        if before is None:
            return False
        held = look_at(S3(self._section.access(), stop=self._tools.stop), url)
        return held is None or held.etag == before["etag"]  # where it is gone, its manifest may be left

    def _tell(self, report: UploadReport) -> None:
        for warning in report.warnings:
            self._tools.warn(warning)
        if report.grant is not None and report.grant.outcome == "needed":
            what = f"{report.grant.service} may not read {report.url} yet"
            self._tools.warn(f"{what}: it takes {report.grant.what} (grant = true in [upload])")


def _line(url: ObjectUrl, report: UploadReport) -> StepLine:
    return StepLine(source=url.name, size_bytes=report.size_bytes, duration_s=report.duration_s, why=report.outcome)
