"""The use case of uploading: look first, send a file into one object, prove it, and let the service read it.

Joins files with their manifests to a store; knows nothing of the command line.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rdbmerge.errors import StoreError, UsageError
from rdbmerge.preflight import Outcome, PreflightCheck
from rdbmerge.snapshot.manifest import MANIFEST_SUFFIX, write_private
from rdbmerge.steps.upload_report import GrantOutcome, UploadReport
from rdbmerge.steps.upload_source import UploadSource
from rdbmerge.stores.base import ObjectUrl, S3Access
from rdbmerge.stores.bucket import BucketLook, look_at_bucket, unfinished_uploads
from rdbmerge.stores.file_upload import Order, Upload, Uploaded
from rdbmerge.stores.granting import make_grant
from rdbmerge.stores.grants import Grant, PolicyGrant
from rdbmerge.stores.multipart import Multipart, exists
from rdbmerge.stores.objects import StoredObject, look_at, put_small
from rdbmerge.stores.parts import PartFile, Progress, cut, part_size_bytes
from rdbmerge.stores.resume import Memory, state_path
from rdbmerge.stores.s3 import S3
from rdbmerge.stores.sameness import crc64_if_same
from rdbmerge.stores.sums import Algorithm

Shown = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wish:
    """All that was asked for."""

    path: Path
    url: ObjectUrl
    service: str
    jobs: int
    grant: bool
    force: bool
    part_bytes: int | None
    metadata: Mapping[str, str]
    progress: Progress | None
    show: Shown
    now_ms: int


def check_bucket(url: ObjectUrl, *, access: S3Access, service: str) -> list[PreflightCheck]:
    """What stands in the way of putting an object there for `service`.

    Raises StoreError where the store cannot be asked at all, UsageError for an access that cannot be.
    """
    return look_at_bucket(S3(access), url, service).checks


def upload(
    path: Path,
    url: ObjectUrl,
    *,
    access: S3Access,
    jobs: int,
    grant: bool,
    service: str,
    force: bool,
    now_ms: int,
    metadata: Mapping[str, str] | None = None,
    part_bytes: int | None = None,
    dry_run: bool = False,
    progress: Progress | None = None,
    on_checks: Callable[[Sequence[PreflightCheck]], None] | None = None,
    show: Shown | None = None,
    stop: threading.Event | None = None,
) -> UploadReport:
    """Upload an RDB file; an object that holds its very bytes already is left as it is.

    Args:
        jobs: parts at once.
        grant: let `service` read the object; without it the report says what it takes.
        force: replace another object.
        metadata: travels with the object, besides the digests of the manifest.
        part_bytes: None: 64 MB, or what makes at most 10,000 parts.
        progress: is told how many bytes were sent more, from several threads.
        on_checks: is told what the look at the bucket found, before a byte is sent.
        show: is told what a grant will write, before it does.
        stop: when set, all ends within a second; the parts that were sent are kept.

    Raises:
        UsageError: no such file, or not the one of its manifest; an object in the way; nothing is replaced.
        FormatError and its kinds: no RDB, or a damaged one.
        StoreError: the look found what will fail, the store refused, or the file changed: there is no object.
        StoppedError: `stop` was set.
    """
    wish = _Wish(
        path=path, url=url, service=service, jobs=max(1, jobs), grant=grant, force=force, part_bytes=part_bytes,
        metadata=metadata or {}, progress=progress, show=show or (lambda _: None), now_ms=now_ms,
    )  # fmt: skip
    started_s = time.monotonic()
    source = UploadSource.of(path)
    s3 = S3(access, connections=wish.jobs, stop=stop)
    look = look_at_bucket(s3, url, service)
    if on_checks:
        on_checks(look.checks)
    refuse_failed(look.checks, url)
    report = _dry(s3, source, look, wish) if dry_run else _wet(s3, source, look, wish)
    report.duration_s = round(time.monotonic() - started_s, 3)
    return report


def refuse_failed(checks: Sequence[PreflightCheck], url: ObjectUrl) -> None:
    """Raise StoreError where a look found what will go wrong."""
    wrong = [check for check in checks if check.outcome is Outcome.FAILED]
    if wrong:
        findings = "; ".join(check.finding for check in wrong)
        remedy = next((check.remedy for check in wrong if check.remedy), "")
        raise StoreError(f"{url} cannot be used: {findings}", remedy=remedy)


def _dry(s3: S3, source: UploadSource, look: BucketLook, wish: _Wish) -> UploadReport:
    held = look_at(s3, wish.url)
    part_bytes = part_size_bytes(source.size_bytes, wish.part_bytes)
    report = _report(wish, source, look, "dry run", held)
    report.parts, report.part_size_bytes = len(cut(source.size_bytes, part_bytes)), part_bytes
    source.metadata(wish.metadata)
    if held is not None and not wish.force:
        report.warnings.append(f"{wish.url} exists: it will not be replaced without --force, unless it is the same")
    return report


def _wet(s3: S3, source: UploadSource, look: BucketLook, wish: _Wish) -> UploadReport:
    metadata = source.metadata(wish.metadata)
    crc64 = 0

    def check(sent_crc64: int) -> None:
        nonlocal crc64
        source.check(sent_crc64)
        crc64 = sent_crc64

    with PartFile(wish.path, crc64_until=source.checksum_at) as file, Memory(wish.path, wish.url) as memory:
        if file.size_bytes != source.size_bytes:
            raise UsageError(f"{wish.path} changed while it was being read", remedy="run the command again")
        held = look_at(s3, wish.url)
        same = held is not None and not wish.force and _same(s3, held, file, wish, check)
        if same and held is not None:
            _forget(s3, memory, wish.url)
            report = _report(wish, source, look, "unchanged", held)
        else:
            _refuse_existing(s3, held, source, wish)
            order = Order(
                url=wish.url, metadata=metadata, jobs=wish.jobs, replace=wish.force, now_ms=wish.now_ms,
                part_bytes=wish.part_bytes, progress=wish.progress,
            )  # fmt: skip
            uploaded = Upload(s3, file, memory, order).run(check)
            report = _report(wish, source, look, "uploaded", uploaded.stored)
            tell_parts(report, uploaded)
    report.crc64 = f"{crc64:016x}"
    manifest = source.manifest_bytes()
    if manifest is not None:
        put_small(s3, manifest_url(wish.url), manifest, replace=wish.force)
        report.manifest_url = str(manifest_url(wish.url))
    if wish.grant and look.grant is not None:
        undo = wish.path.with_name(f"{wish.path.name}.{wish.url.bucket}-policy-{wish.now_ms}.json")
        report.grant = give_right(s3, look.grant, wish.service, show=wish.show, undo=undo)
    return report


def manifest_url(url: ObjectUrl) -> ObjectUrl:
    """Where the manifest of an object lies."""
    return ObjectUrl(url.bucket, url.key + MANIFEST_SUFFIX)


def _same(s3: S3, held: StoredObject, file: PartFile, wish: _Wish, check: Callable[[int], None]) -> bool:
    crc64 = crc64_if_same(held, file, wish.part_bytes, stop=s3.stop, progress=wish.progress)
    if crc64 is not None:
        check(crc64)
    return crc64 is not None


def _forget(s3: S3, memory: Memory, url: ObjectUrl) -> None:
    """Give up what an earlier try left: it was completed by its last breath, or by another one."""
    if memory.state is not None:
        Multipart(s3, url, memory.state.upload_id, Algorithm.NONE, whole=False).abandon()
    memory.forget()


def _refuse_existing(s3: S3, held: StoredObject | None, source: UploadSource, wish: _Wish) -> None:
    if wish.force:
        return
    if held is not None:
        raise exists(wish.url)
    if source.manifest is not None and look_at(s3, manifest_url(wish.url)) is not None:
        raise exists(manifest_url(wish.url))


def give_right(s3: S3, grant: Grant, service: str, *, show: Shown, undo: Path) -> GrantOutcome:
    """Make a grant; the bucket's policy as it was goes into the file `undo`. Raises StoreError."""
    kept: list[Path] = []

    def keep(policy: str | None) -> None:
        if policy is not None:
            write_private(undo, policy)
            kept.append(undo)

    made = make_grant(s3, grant, show=show, keep=keep)
    outcome = grant_outcome(grant, service)
    outcome.outcome = "made" if made.made else "was there"
    outcome.policy_before = made.policy_before
    outcome.policy_kept_in = str(kept[0]) if kept else None
    return outcome


def grant_outcome(grant: Grant, service: str) -> GrantOutcome:
    """What it takes, not yet made."""
    statement = dict(grant.statement) if isinstance(grant, PolicyGrant) else None
    return GrantOutcome(service=service, outcome="needed", what=grant.summary, statement=statement, doubt=grant.doubt)


def tell_parts(report: UploadReport, uploaded: Uploaded) -> None:
    """Put into the report how the bytes went."""
    report.parts, report.parts_kept = uploaded.parts, uploaded.parts_kept
    report.part_size_bytes = uploaded.part_bytes
    report.checksum, report.checksum_by = uploaded.proof.checksum, uploaded.proof.basis
    report.warnings += [*uploaded.notes, *uploaded.proof.warnings]


def _report(
    wish: _Wish, source: UploadSource, look: BucketLook, outcome: str, held: StoredObject | None
) -> UploadReport:
    readable = any(check.name.endswith("may read") and check.finding.startswith("by ") for check in look.checks)
    grant = None if look.grant is None else grant_outcome(look.grant, wish.service)
    if grant is not None and readable:
        grant.outcome = "was there"
    checksums = [f"{name} {value}" for name, value in held.checksums.items()] if held is not None else []
    return UploadReport.model_validate(
        {
            "started_at_ms": wish.now_ms,
            "path": str(wish.path),
            "url": str(wish.url),
            "outcome": outcome,
            "size_bytes": source.size_bytes,
            "crc64": "",
            "parts": 0,
            "parts_kept": 0,
            "part_size_bytes": 0,
            "checksum": ", ".join(checksums),
            "checksum_by": "the object that was there, compared with the file" if outcome == "unchanged" else "",
            "etag": held.etag if held is not None else "",
            "version_id": held.version_id if held is not None else "",
            "region": look.region,
            "encryption": held.encryption if held is not None else None,
            "manifest_url": None,
            "grant": grant,
            "checks": look.checks,
            "warnings": [],
            "duration_s": 0.0,
        }
    )


def abandon(path: Path | None, url: ObjectUrl, *, access: S3Access) -> int:
    """Give up every unfinished upload of `url`, and the memory of it beside `path`; how many there were.

    Raises StoreError, and UsageError where another process is uploading `path` there.
    """
    s3 = S3(access)
    found = unfinished_uploads(s3, url)
    if path is not None and state_path(path, url).exists():
        with Memory(path, url) as memory:
            _give_up(s3, url, found)
            memory.forget()
    else:
        _give_up(s3, url, found)
    return len(found)


def _give_up(s3: S3, url: ObjectUrl, upload_ids: Sequence[str]) -> None:
    for upload_id in upload_ids:
        Multipart(s3, url, upload_id, Algorithm.NONE, whole=False).abandon()
