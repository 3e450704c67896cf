"""What a run file gives to look at before its run: sources, folders, bucket, target."""

from __future__ import annotations

from collections.abc import Callable

from rdbmerge.plan.profile import find_profile
from rdbmerge.preflight import PreflightCheck
from rdbmerge.steps.check import Asked, Look
from rdbmerge.steps.config import RunFile
from rdbmerge.steps.config_targets import UploadSection
from rdbmerge.steps.run import folder_of
from rdbmerge.steps.upload import check_bucket


def look_of_file(file: RunFile) -> Look:
    """All that the run would use."""
    folder = folder_of(file)
    return Look(
        sources=[Asked(one.source_name, one.server(), one.file, one.via or "replication") for one in file.source],
        rules=file.rules(),
        snapshots=folder.snapshots.path,
        output=folder.merged,
        bucket=None if file.upload is None else _bucket(file.upload),
        target=None if file.restore is None else file.restore.server(),
        profile=None if file.merge.target is None else find_profile(file.merge.target),
    )


def _bucket(section: UploadSection) -> Callable[[], list[PreflightCheck]]:
    return lambda: check_bucket(section.url, access=section.access(), service=section.service)
