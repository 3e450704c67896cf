"""A merge from beginning to end, with its report: plan, show the plan, write.

The parts are `merge`'s; this puts them in order, for a user who wants one call. Knows nothing of the command line.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

from rdbmerge import __version__
from rdbmerge.errors import ConflictError, RdbMergeError, UnfitError
from rdbmerge.ledger import Ledger, balanced
from rdbmerge.plan.model import Plan, Rules, TargetDb
from rdbmerge.plan.sharding import Slots
from rdbmerge.snapshot.manifest import Manifest
from rdbmerge.steps.merge import (
    MergeProgress,
    conflicts_path,
    output_paths,
    planned_merge,
    refuse_existing,
    rejected_path,
    write_merge,
)
from rdbmerge.steps.upload_report import UploadReport

if TYPE_CHECKING:
    from rdbmerge.steps.merge_to_store import OpenStore, StoreOutput

REPORT_FORMAT = 3


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", ser_json_bytes="base64", val_json_bytes="base64")


class MergedSource(_Model):
    """One source, as it was when it was merged."""

    name: str
    path: str
    magic: str
    size_bytes: int
    crc64: str
    sha256: str | None
    snapshot_at_ms: int
    snapshot_at_from: str
    ttl_offset_ms: int
    fields_expired: int = Field(description="Dead fields left out of hashes that were written.")


class MergedFile(_Model):
    """One file of the merge: the only one, or that of a shard."""

    path: str | None = Field(description="Or the address of the object; null for a dry run.")
    slots: list[tuple[int, int]] | None = Field(description="Of a shard; null: the file holds all keys.")
    magic: str
    dbs: list[TargetDb]
    keys: int
    output_bytes: int
    manifest: Manifest | None = Field(None, description="null for a dry run.")
    upload: UploadReport | None = Field(None, description="Of an object; null for a file.")


class MergeReport(_Model):
    """What was decided, and what was written."""

    report_format: int = REPORT_FORMAT
    rdbmerge_version: str = __version__
    started_at_ms: int
    rules: Rules
    sources: list[MergedSource] = Field(description="In order of precedence.")
    files: list[MergedFile]
    keys: int = Field(description="Of all files.")
    output_bytes: int
    libraries: list[str]
    modules: list[str]
    conflicts: int = Field(description="Keys that more than one source holds.")
    conflicts_file: str | None = Field(description="Where each of them is listed.")
    rejected_file: str | None = Field(description="Where everything is listed that the target cannot hold.")
    recoded: int = Field(description="Keys whose value was written in another form.")
    ledger: Ledger = Field(description="Of all files together.")
    warnings: list[str]
    plan_s: float = Field(description="Scanning and planning, in seconds.")
    write_s: float | None = None


def run_merge(
    sources: Sequence[Path],
    output: Path | None,
    rules: Rules,
    *,
    now_ms: int,
    jobs: int,
    names: Sequence[str] | None = None,
    shards: Sequence[Slots] | None = None,
    dry_run: bool = False,
    force: bool = False,
    store: StoreOutput | None = None,
    on_plan: Callable[[Sequence[Plan]], None] | None = None,
    progress: Callable[[MergeProgress], None] | None = None,
    stop: threading.Event | None = None,
) -> MergeReport:
    """Plan a merge of `sources`, tell `on_plan`, and write `output` (one file a shard) unless it is a dry run.

    A dry run writes nothing but the indexes beside the sources, and needs no `output`. With `store` in the place of
    `output` nothing is written here but lists of conflicts and of what was rejected, in the working directory.

    Raises what `planned_merge`, `write_merge` and `OpenStore` raise, and UsageError for an output that exists.
    """
    writes = not dry_run and (output is not None or store is not None)
    if output is not None and writes:
        refuse_existing(output_paths(output, shards), force)
    stop = stop or threading.Event()
    opened = None if store is None else _open_store(store, shards, force, stop)
    near = store.local_name if store is not None else output
    lists = _Lists(conflicts_path(near), rejected_path(near)) if near is not None and writes else _Lists()
    started_s = time.monotonic()
    with (
        lists.named(),
        planned_merge(
            sources, rules, now_ms=now_ms, jobs=jobs, names=names, shards=shards, conflicts_to=lists.conflicts,
            rejected_to=lists.rejected, progress=progress,
        ) as planned,
    ):  # fmt: skip
        report = _report(planned.plans, lists, now_ms, time.monotonic() - started_s)
        if on_plan:
            on_plan(planned.plans)
        if output is not None and writes:
            started_s = time.monotonic()
            manifests = write_merge(planned, output, jobs=jobs, force=force, progress=progress, stop=stop)
            for file, manifest in zip(report.files, manifests, strict=True):
                file.path, file.manifest = str(output.with_name(manifest.file)), manifest
            report.write_s = round(time.monotonic() - started_s, 3)
        elif opened is not None and writes:
            started_s = time.monotonic()
            sent = opened.write(planned, jobs=jobs, now_ms=now_ms, progress=progress)
            for file, (manifest, upload) in zip(report.files, sent, strict=True):
                file.path, file.manifest, file.upload = upload.url, manifest, upload
            report.write_s = round(time.monotonic() - started_s, 3)
    return report


def _open_store(store: StoreOutput, shards: Sequence[Slots] | None, force: bool, stop: threading.Event) -> OpenStore:
    from rdbmerge.steps.merge_to_store import OpenStore  # boto3 is heavy, and most merges have no use for it

    return OpenStore(store, shards, force=force, stop=stop)


@dataclass(frozen=True, slots=True)
class _Lists:
    """Where conflicts, and what the target cannot hold, are listed."""

    conflicts: Path | None = None
    rejected: Path | None = None

    @contextmanager
    def named(self) -> Iterator[None]:
        """Say with a failure where all that it is about is listed."""
        try:
            yield
        except ConflictError as error:
            raise ConflictError(_pointing(error, self.conflicts), remedy=error.remedy) from None
        except UnfitError as error:
            raise UnfitError(_pointing(error, self.rejected), remedy=error.remedy) from None


def _pointing(error: RdbMergeError, listed: Path | None) -> str:
    return f"{error}\n  all of them are listed in {listed}" if listed is not None and listed.exists() else str(error)


def _report(plans: Sequence[Plan], lists: _Lists, now_ms: int, plan_s: float) -> MergeReport:
    first, ledger = plans[0], balanced([plan.ledger() for plan in plans])
    unfit = lists.rejected is not None and lists.rejected.exists()
    return MergeReport(
        started_at_ms=now_ms,
        rules=first.rules.model_copy(update={"slots": None}),
        sources=_sources(plans),
        files=[
            MergedFile(
                path=None,
                slots=plan.rules.slots,
                magic=plan.magic,
                dbs=plan.dbs,
                keys=plan.keys,
                output_bytes=plan.output_bytes,
            )
            for plan in plans
        ],
        keys=sum(plan.keys for plan in plans),
        output_bytes=sum(plan.output_bytes for plan in plans),
        libraries=[library.name for library in first.libraries],
        modules=sorted({data.module for data in first.module_data}),
        conflicts=first.conflicts,
        conflicts_file=str(lists.conflicts) if lists.conflicts is not None and first.conflicts else None,
        rejected_file=str(lists.rejected) if unfit else None,
        recoded=sum(run.recoded for plan in plans for source in plan.sources for run in source.runs),
        ledger=ledger,
        warnings=list(dict.fromkeys(warning for plan in plans for warning in plan.warnings)),
        plan_s=round(plan_s, 3),
    )


def _sources(plans: Sequence[Plan]) -> list[MergedSource]:
    return [
        MergedSource(
            name=source.name,
            path=source.path,
            magic=source.magic,
            size_bytes=source.size_bytes,
            crc64=source.crc64,
            sha256=source.sha256,
            snapshot_at_ms=source.snapshot_at_ms,
            snapshot_at_from=source.snapshot_at_from,
            ttl_offset_ms=source.ttl_offset_ms,
            fields_expired=sum(run.fields_expired for plan in plans for run in plan.sources[number].runs),
        )
        for number, source in enumerate(plans[0].sources)
    ]
