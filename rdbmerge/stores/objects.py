"""Whole objects: what the store says of one, whether it holds the bytes that were sent, and small ones put at once.

Makes calls, decides nothing.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rdbmerge.errors import StoreError
from rdbmerge.stores.base import ObjectUrl
from rdbmerge.stores.multipart import ENCRYPTION, Completed, Multipart, SentPart, exists
from rdbmerge.stores.refusals import is_absent
from rdbmerge.stores.s3 import S3, Answer
from rdbmerge.stores.sums import Algorithm, composite_checksum, md5_of_etag, whole_checksum, whole_etag


@dataclass(frozen=True, slots=True)
class StoredObject:
    """What the store says of an object."""

    url: ObjectUrl
    size_bytes: int
    etag: str
    version_id: str
    encryption: str | None  # None: the store does not say
    checksums: Mapping[str, str]  # by algorithm, such as CRC64NVME
    of_whole: bool  # the checksums are of the whole object, not of the checksums of its parts
    metadata: Mapping[str, str]  # names in lower case


def look_at(s3: S3, url: ObjectUrl) -> StoredObject | None:
    """What lies there; None: nothing. Raises StoreError, also where there is no such bucket."""
    try:
        answer = s3.call("head_object", url, Bucket=url.bucket, Key=url.key, ChecksumMode="ENABLED")
    except StoreError as error:
        if is_absent(error):
            return None
        raise
    return StoredObject(
        url=url,
        size_bytes=int(answer["ContentLength"]),
        etag=str(answer.get("ETag", "")).strip('"'),
        version_id=str(answer.get("VersionId") or ""),
        encryption=answer.get("ServerSideEncryption"),
        checksums=_checksums(answer),
        of_whole=answer.get("ChecksumType") != "COMPOSITE",
        metadata={name.lower(): str(value) for name, value in answer.get("Metadata", {}).items()},
    )


def _checksums(answer: Answer) -> dict[str, str]:
    prefix = "Checksum"
    return {
        name.removeprefix(prefix): str(value)
        for name, value in answer.items()
        if name.startswith(prefix) and name != "ChecksumType"
    }


@dataclass(frozen=True, slots=True)
class Proof:
    """How it is known that an object holds the very bytes that were sent."""

    checksum: str  # of the object, such as `CRC64NVME 1lmQl...`; "" where the store told none
    basis: str  # what computed it
    warnings: list[str] = field(default_factory=list)


def confirm(multipart: Multipart, parts: Sequence[SentPart], done: Completed) -> tuple[StoredObject, Proof]:
    """Compare the finished object with what was sent. Raises StoreError where it is another."""
    url = multipart.url
    held = look_at(multipart.s3, url)
    if held is None:
        raise StoreError(f"{url} is not there although the store confirmed it", remedy="upload it again")
    size_bytes = sum(part.sums.size_bytes for part in parts)
    if held.size_bytes != size_bytes:
        raise _other_bytes(url, f"{held.size_bytes:,} bytes where {size_bytes:,} were sent")
    if held.encryption not in (None, ENCRYPTION):
        raise StoreError(
            f"{url} is there, but encrypted by {held.encryption} although {ENCRYPTION} (SSE-S3) was asked for",
            remedy="ElastiCache and MemoryDB read SSE-S3 only: look for a bucket policy or a proxy that changes it",
        )
    proof = _proof(multipart, parts, done, held)
    if held.encryption is None:
        proof.warnings.append("the store does not say how the object is encrypted")
    return held, proof


def _proof(multipart: Multipart, parts: Sequence[SentPart], done: Completed, held: StoredObject) -> Proof:
    algorithm, sums = multipart.algorithm, [part.sums for part in parts]
    told = held.checksums.get(algorithm.value)
    if told and algorithm is not Algorithm.NONE:
        expected = whole_checksum(algorithm, sums) if held.of_whole else composite_checksum(algorithm, sums)
        if told != expected:
            raise _other_bytes(multipart.url, f"its {algorithm} is {told}, that of the bytes sent is {expected}")
        over = "the whole object" if held.of_whole else "the checksums of its parts"
        return Proof(f"{algorithm} {told}", f"{algorithm} by the store over {over}")
    etag = whole_etag([part.sums.md5 or md5_of_etag(part.etag) for part in parts])
    if etag and done.etag.strip('"') == etag and all(part.proved for part in parts):
        how = "MD5" if multipart.with_md5 else str(algorithm)
        return Proof(f"ETag {etag}", f"{how} of each part by the store, and the ETag made of them")
    if all(part.proved for part in parts):
        return Proof("", f"{'MD5' if multipart.with_md5 else algorithm} of each part by the store")
    warning = "the store told no checksum of what it got: only the sizes are known to be equal"
    return Proof("", "nothing but sizes", [warning])


def _other_bytes(url: ObjectUrl, finding: str) -> StoreError:
    return StoreError(
        f"{url} is there, but does not hold what was sent: {finding}",
        remedy="do not use it; upload it again with --force",
    )


def put_small(s3: S3, url: ObjectUrl, data: bytes, *, replace: bool) -> None:
    """Put an object of a few KB; one that is there already and holds the same is no failure.

    Raises UsageError for another one that is there, unless `replace`, and StoreError.
    """
    held = look_at(s3, url)
    digest = hashlib.md5(data, usedforsecurity=False)
    if held is not None and held.size_bytes == len(data) and held.etag == digest.hexdigest():
        return
    if held is not None and not replace:
        raise exists(url)
    s3.call(
        "put_object", url, Bucket=url.bucket, Key=url.key, Body=data, ServerSideEncryption=ENCRYPTION,
        ContentType="application/json", ContentMD5=base64.b64encode(digest.digest()).decode(),
    )  # fmt: skip
