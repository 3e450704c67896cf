"""A merge straight into objects: looked at first, streamed with no local copy, visible only when all of them are whole.

Joins the stream of `merge` to the sinks of `stores`; decides nothing about the merge itself.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from rdbmerge import __version__
from rdbmerge.errors import LedgerError, RdbMergeError, StoppedError, StoreError, UsageError
from rdbmerge.merge.stream import stream_plan
from rdbmerge.plan.layout import CHECKSUM_BYTES
from rdbmerge.plan.sharding import Slots, slots_text
from rdbmerge.preflight import PreflightCheck
from rdbmerge.snapshot.manifest import Manifest
from rdbmerge.steps.merge import PlannedMerge, Progress, manifest_of, metered, plan_digest
from rdbmerge.steps.upload import give_right, grant_outcome, manifest_url, refuse_failed, tell_parts
from rdbmerge.steps.upload_report import GrantOutcome, UploadReport
from rdbmerge.steps.upload_source import METADATA_PREFIX, checked_metadata
from rdbmerge.stores.base import ObjectUrl, S3Access
from rdbmerge.stores.bucket import BucketLook, look_at_bucket
from rdbmerge.stores.file_upload import Uploaded
from rdbmerge.stores.grants import decide_grant
from rdbmerge.stores.multipart import exists
from rdbmerge.stores.objects import look_at, put_small
from rdbmerge.stores.part_sink import PartSink
from rdbmerge.stores.s3 import S3

_PARTS_AT_ONCE = 4  # each is in memory


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreOutput:
    """Where a merge goes that is no file, and what is to become of it there."""

    url: ObjectUrl
    access: S3Access
    grant: bool = False
    service: str = "elasticache"
    on_checks: Callable[[Sequence[PreflightCheck]], None] = lambda _: None
    show: Callable[[str], None] = lambda _: None

    @property
    def local_name(self) -> Path:
        """What the files that stay here are called after: lists of conflicts, and a policy for undo. They lie in the
        working directory."""
        return Path(self.url.name)

    def urls(self, shards: Sequence[Slots] | None) -> list[ObjectUrl]:
        """The objects of the merge: one, or one a shard, called as files would be."""
        if shards is None:
            return [self.url]
        name = Path(self.url.name)
        return [self.url.beside(f"{name.stem}.{slots_text(slots)}{name.suffix}") for slots in shards]


class OpenStore:
    """A store that was looked at: the bucket is there, and no object is in the way."""

    def __init__(
        self, output: StoreOutput, shards: Sequence[Slots] | None, *, force: bool, stop: threading.Event
    ) -> None:
        """Raises UsageError for an object that exists, or a folder; StoreError for what will fail."""
        if output.url.is_prefix:
            raise UsageError(
                f"{output.url} is a folder", remedy="give the address of an object, such as merged.rdb in it"
            )
        self.output = output
        self.urls = output.urls(shards)
        self.force = force
        self._stop = stop
        self._s3 = S3(output.access, connections=_PARTS_AT_ONCE, stop=stop)
        self._look: BucketLook = look_at_bucket(self._s3, self.urls[0], output.service)
        output.on_checks(self._look.checks)
        refuse_failed(self._look.checks, output.url)
        if not force:
            for url in (place for each in self.urls for place in (each, manifest_url(each))):
                if look_at(self._s3, url) is not None:
                    raise exists(url)

    def write(
        self, planned: PlannedMerge, *, jobs: int, now_ms: int, progress: Progress | None
    ) -> list[tuple[Manifest, UploadReport]]:
        """Stream the merged files; the objects come to be when all of them are whole in the store.

        Raises:
            StoreError: the store failed; there is no object, unless the message names one.
            UsageError: an object appeared meanwhile, or a source changed.
            LedgerError: what is in the store is not what was made: a defect.
            StoppedError: the user stopped; there is no object.
        """
        for segment in planned.segments:
            segment.check_unchanged()
        started_s = time.monotonic()
        meter = metered("upload", sum(plan.output_bytes for plan in planned.plans), progress)
        with ExitStack() as sinks:
            streamed = []
            for number, url in enumerate(self.urls):
                sink = sinks.enter_context(self._sink(planned, number, url, meter))
                streamed.append((sink, self._stream(planned, number, sink, jobs)))
            for segment in planned.segments:
                segment.check_unchanged()
            uploads = self._publish([sink for sink, _ in streamed])
        manifests = [
            manifest_of(plan, Path(url.key).name, crc)
            for plan, url, (_, crc) in zip(planned.plans, self.urls, streamed, strict=True)
        ]
        duration_s = round(time.monotonic() - started_s, 3)
        return [
            (manifest, self._finish(url, upload, manifest, now_ms, duration_s))
            for url, upload, manifest in zip(self.urls, uploads, manifests, strict=True)
        ]

    def _sink(self, planned: PlannedMerge, number: int, url: ObjectUrl, meter: Callable[[int], None]) -> PartSink:
        plan = planned.plans[number]
        # The CRC-64 is known at the end only, when metadata cannot be written any more: it is in the manifest.
        metadata = {f"{METADATA_PREFIX}version": __version__, f"{METADATA_PREFIX}plan-sha256": plan_digest(plan)}
        return PartSink(
            self._s3,
            url,
            size_bytes=plan.output_bytes,
            crc64_until=plan.output_bytes - CHECKSUM_BYTES,
            metadata=checked_metadata(metadata),
            jobs=_PARTS_AT_ONCE,
            progress=meter,
        )

    def _stream(self, planned: PlannedMerge, number: int, sink: PartSink, jobs: int) -> int:
        try:
            crc = stream_plan(planned.plans, number, planned.segments, sink, jobs=jobs, stop=self._stop)
            sink.close()
        except StoppedError:
            sink.abandon()
            if sink.left_behind:
                remedy = "`rdbmerge upload-s3 --abandon` with its address gives them up"
                raise StoppedError(f"stopped; parts of {sink.url} could not be given up", remedy=remedy) from None
            raise StoppedError("stopped while writing; nothing was left behind") from None
        if sink.crc64 != crc:
            raise LedgerError(
                f"{sink.url}: CRC-64 {sink.crc64:016x} was sent where {crc:016x} was made; no object was made of it",
                remedy="this is a defect of rdbmerge, or of this machine's memory: please report it",
            )
        return crc

    def _publish(self, sinks: Sequence[PartSink]) -> list[Uploaded]:
        """Make the objects; where one cannot be, say which ones are there already: here nothing is deleted."""
        done: list[Uploaded] = []
        for sink in sinks:
            try:
                done.append(sink.publish(replace=self.force))
            except RdbMergeError as error:
                if not done:
                    raise
                there = ", ".join(str(each.stored.url) for each in done)
                remedy = f"{error.remedy}; delete those before the next try" if error.remedy else "delete those first"
                raise StoreError(f"{error}\n  of the same merge, there are already {there}", remedy=remedy) from error
        return done

    def _finish(
        self, url: ObjectUrl, uploaded: Uploaded, manifest: Manifest, now_ms: int, duration_s: float
    ) -> UploadReport:
        stored = uploaded.stored
        place = manifest_url(url)
        put_small(self._s3, place, (manifest.model_dump_json(indent=2) + "\n").encode(), replace=self.force)
        report = UploadReport(
            started_at_ms=now_ms,
            path=None,
            url=str(url),
            outcome="uploaded",
            size_bytes=stored.size_bytes,
            crc64=manifest.crc64,
            parts=0,
            parts_kept=0,
            part_size_bytes=0,
            checksum="",
            checksum_by="",
            etag=stored.etag,
            version_id=stored.version_id,
            region=self._look.region,
            encryption=stored.encryption,
            manifest_url=str(place),
            grant=self._grant(url, now_ms),
            checks=self._look.checks,
            warnings=[],
            duration_s=duration_s,
        )
        tell_parts(report, uploaded)
        return report

    def _grant(self, url: ObjectUrl, now_ms: int) -> GrantOutcome:
        output = self.output
        grant = decide_grant(url, output.service, self._look.region, self._look.ownership)
        if not output.grant:
            return grant_outcome(grant, output.service)
        undo = output.local_name.with_name(f"{Path(url.key).name}.{url.bucket}-policy-{now_ms}.json")
        return give_right(self._s3, grant, output.service, show=output.show, undo=undo)
