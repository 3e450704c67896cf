"""The look before a seeding: the objects as their store tells them, the account as AWS tells it, what the files hold.

Joins stores and targets, which do not know each other. Asks only; changes nothing.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from rdbmerge.errors import StoreError, TargetError, UsageError
from rdbmerge.plan.sharding import Slots, parse_slots
from rdbmerge.preflight import PreflightCheck, failed, ok, warning
from rdbmerge.snapshot.census import contents_of
from rdbmerge.snapshot.contents import METADATA_NAME, Contents
from rdbmerge.snapshot.manifest import Manifest
from rdbmerge.steps.upload import manifest_url
from rdbmerge.stores.base import ObjectUrl, S3Access, partition_of
from rdbmerge.stores.bucket import look_at_bucket
from rdbmerge.stores.objects import StoredObject, look_at
from rdbmerge.stores.s3 import S3
from rdbmerge.targets.elasticache import Caches
from rdbmerge.targets.preflight import CloudFacts, ObjectFacts
from rdbmerge.targets.refusals import is_about_credentials
from rdbmerge.targets.request import SeedRequest
from rdbmerge.targets.standing import Standing

Progress = Callable[[int], None]
Answer = TypeVar("Answer")

_MOST_MANIFEST_BYTES = 1 << 20
_SHARD_NAME = re.compile(r"\.(\d{1,5}-\d{1,5})\.rdb$")
# Of the look at a bucket: what the lines of `targets.preflight` do not say themselves.
_OF_THE_BUCKET = ("bucket name", "bucket", "owner", "bucket policy")


@dataclass(frozen=True, slots=True)
class ObjectsLook:
    """What the store tells."""

    objects: list[ObjectFacts]
    checks: list[PreflightCheck]  # about buckets and rights


def arns_of(urls: Sequence[ObjectUrl], region: str) -> list[str]:
    """The names by which the service is told of the objects."""
    return [url.arn(partition_of(region)) for url in urls]


def slots_in_names(urls: Sequence[ObjectUrl]) -> list[Slots] | None:
    """The slots of each shard, where every object's name tells them (`merged.0-5460.rdb`), as `split` names its files.

    None where they do not, or do not cover all slots once.
    """
    found = [match[1] for url in urls if (match := _SHARD_NAME.search(url.key))]
    if len(found) < len(urls) or len(urls) < 2:
        return None
    try:
        return parse_slots(",".join(sorted(found, key=lambda text: int(text.partition("-")[0]))))
    except UsageError:
        return None


def look_at_objects(
    urls: Sequence[ObjectUrl],
    access: S3Access,
    service: str,
    *,
    files: Sequence[Path] = (),
    jobs: int = 1,
    progress: Progress | None = None,
    stop: threading.Event | None = None,
) -> ObjectsLook:
    """Ask the store for each object; `files` are those that were uploaded, in the same order, if they are at hand.

    Raises StoreError where the store cannot be asked at all, UsageError for another number of files than of objects,
    StoppedError once `stop` is set.
    """
    if files and len(files) != len(urls):
        raise UsageError(
            f"{len(files)} files for {len(urls)} objects", remedy="give --rdb once for each object, in their order"
        )
    s3 = S3(access, stop=stop)
    objects: list[ObjectFacts] = []
    checks: dict[tuple[str, str], PreflightCheck] = {}
    for number, url in enumerate(urls):
        look = look_at_bucket(s3, url, service)
        kept = (*_OF_THE_BUCKET, f"{service} may read")
        checks |= {(check.name, check.finding): check for check in look.checks if check.name in kept}
        held = contents_of(files[number], jobs=jobs, progress=progress) if files else None
        facts, check = _object_facts(s3, url, look.region, held)
        objects.append(facts)
        if check is not None:
            checks[check.name, check.finding] = check
    return ObjectsLook(objects, list(checks.values()))


def _object_facts(
    s3: S3, url: ObjectUrl, region: str, held: Contents | None
) -> tuple[ObjectFacts, PreflightCheck | None]:
    try:
        found = look_at(s3, url)
    except StoreError as error:
        if not error.code or error.retryable:
            raise
        return ObjectFacts(url=str(url), key=url.key, region=region, missing=str(error), contents=held), None
    if found is None:
        return ObjectFacts(url=str(url), key=url.key, region=region, missing="it is not there", contents=held), None
    told, problem = _contents_in(found.metadata)
    if told is None and not problem:
        told = _contents_of_manifest(s3, found)
    check = None
    if held is not None and told is not None:
        same = held.crc64 == told.crc64
        check = (
            ok("file of the object", f"{url} was made of the file that was given")
            if same
            else failed(
                "file of the object",
                f"{url} was made of a file with CRC-64 {told.crc64}, the one that was given has {held.crc64}",
                "give the file that was uploaded",
            )
        )
    facts = ObjectFacts(
        url=str(url),
        key=url.key,
        region=region,
        size_bytes=found.size_bytes,
        encryption=found.encryption,
        contents=held or told,
        contents_problem=problem,
    )
    return facts, check


def _contents_in(metadata: Mapping[str, str]) -> tuple[Contents | None, str]:
    text = metadata.get(METADATA_NAME)
    if text is None:
        return None, ""
    try:
        return Contents.from_metadata(str(text)), ""
    except UsageError as error:
        return None, str(error)


def _contents_of_manifest(s3: S3, found: StoredObject) -> Contents | None:
    """What the manifest beside the object tells: a file that was merged straight into the store is not described."""
    try:
        text = s3.read(manifest_url(found.url), _MOST_MANIFEST_BYTES)
        manifest = Manifest.model_validate_json(text)
    except (StoreError, ValidationError):
        return None  # no manifest, or one that is no help
    if manifest.size_bytes != found.size_bytes:
        return None
    return Contents(
        magic=manifest.magic,
        size_bytes=manifest.size_bytes,
        crc64=manifest.crc64,
        keys=manifest.keys_in_file,
        memory_bytes={},
    )


def look_at_account(caches: Caches, request: SeedRequest) -> tuple[CloudFacts, Standing | None, list[PreflightCheck]]:
    """Ask AWS what it tells of the name, the engine and the parameter group; what it does not tell is a warning.

    Raises TargetError where no question can be answered: no connection, or credentials that are refused.
    """
    unknown, checks = "", []
    standing: Standing | None = None
    try:
        standing = caches.find(request.name)
    except TargetError as error:
        if is_about_credentials(error.code) or not error.code:
            raise
        unknown = str(error)
    versions = _answer(lambda: caches.engine_versions(str(request.value("engine"))))
    parameters = None
    if group := request.value("parameter_group"):
        parameters = _answer(lambda: caches.parameters(str(group)))
        if parameters is None:
            checks.append(warning("parameter group", f"{group} could not be looked at", "see that it is there"))
    facts = CloudFacts(
        region=caches.region,
        engine_versions=versions or None,
        parameters=parameters,
        existing=None if standing is None else standing.status,
        mine=standing is not None and standing.phase != "failed" and request.is_mine(standing.description),
        unknown=unknown,
    )
    return facts, standing, checks


def _answer(ask: Callable[[], Answer]) -> Answer | None:
    try:
        return ask()
    except TargetError:
        return None
