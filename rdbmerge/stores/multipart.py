"""One multipart upload: begun, its parts sent and proved, completed once all is there, or abandoned.

An object is visible only when it is whole. Knows nothing of files, and not where bytes come from.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rdbmerge.errors import StoreError, UsageError
from rdbmerge.stores.base import ObjectUrl
from rdbmerge.stores.parts import PartBody
from rdbmerge.stores.refusals import is_absent, is_damaged, is_unsuitable
from rdbmerge.stores.s3 import S3, TRIES, Answer
from rdbmerge.stores.sums import Algorithm, PartSums, agrees, md5_of_etag, whole_checksum, whole_etag

ENCRYPTION = "AES256"  # SSE-S3: the only one that ElastiCache and MemoryDB can read (aws-seeding.md 2)
_TRIES_OF_A_PART = 3  # whose checksum, as the store tells it, is wrong
_CONDITIONS = ("PreconditionFailed", "412", "ConditionalRequestConflict", "409")


@dataclass(frozen=True, slots=True)
class SentPart:
    """A part that lies in the store."""

    number: int
    etag: str
    sums: PartSums
    proved: bool  # the store told a checksum of it, and it was right


@dataclass(frozen=True, slots=True)
class Completed:
    """What the store answered at the end."""

    etag: str
    version_id: str
    conditional: bool  # it was asked not to replace an object, and knows what that means


class Multipart:
    """An upload that has begun, and how its bytes are proved.

    `algorithm` sums the parts; `whole` says that the store holds the whole object against that sum, too.
    """

    def __init__(self, s3: S3, url: ObjectUrl, upload_id: str, algorithm: Algorithm, *, whole: bool) -> None:
        self.s3 = s3
        self.url = url
        self.upload_id = upload_id
        self.algorithm = algorithm
        self.whole = whole

    @classmethod
    def begin(cls, s3: S3, url: ObjectUrl, metadata: Mapping[str, str]) -> Multipart:
        """Begin one, with the best checksum that the store knows. Raises StoreError."""
        for algorithm in Algorithm:
            asked: Answer = {"ChecksumAlgorithm": algorithm.value, "ChecksumType": "FULL_OBJECT"}
            try:
                answer = s3.call(
                    "create_multipart_upload", url, Bucket=url.bucket, Key=url.key, Metadata=dict(metadata),
                    ServerSideEncryption=ENCRYPTION, ContentType="application/octet-stream",
                    **({} if algorithm is Algorithm.NONE else asked),
                )  # fmt: skip
            except StoreError as error:
                if algorithm is Algorithm.NONE or not is_unsuitable(error):
                    raise
                continue
            known = answer.get("ChecksumAlgorithm") == algorithm.value
            whole = known and answer.get("ChecksumType") == "FULL_OBJECT"
            return cls(s3, url, str(answer["UploadId"]), algorithm if known else Algorithm.NONE, whole=whole)
        raise AssertionError("the last algorithm is none, which is returned or raised")

    def by(self, s3: S3) -> Multipart:
        """The same upload, whose calls another client makes."""
        return Multipart(s3, self.url, self.upload_id, self.algorithm, whole=self.whole)

    @property
    def with_md5(self) -> bool:
        """Whether parts are proved by their MD5s."""
        return self.algorithm is Algorithm.NONE

    def send(self, number: int, body: PartBody, sums: PartSums | None = None) -> SentPart:
        """Send a part; sends it again where the store says that it got other bytes.

        `sums`: of the bytes of the part; None where the body takes them on the way (no checksum is told beforehand
        then). Raises StoreError.
        """
        checksum: Answer = {}
        if not self.with_md5 and sums is not None:
            checksum = {self.algorithm.member: self.algorithm.text(sums.checksum)}
        for _ in range(_TRIES_OF_A_PART):
            try:
                answer = self.s3.call(
                    "upload_part", self._part_name(number), PartNumber=number, Body=body, ContentLength=len(body),
                    **self._names(), **checksum,
                )  # fmt: skip
            except StoreError as error:
                if not is_damaged(error):
                    raise
                continue
            known = sums or body.sums()
            right = agrees(self.algorithm, known, answer)
            if right is not False:
                return SentPart(number, str(answer["ETag"]), known, proved=right is True)
        raise StoreError(
            f"{self._part_name(number)}: the store got other bytes than were sent, {_TRIES_OF_A_PART} times",
            remedy="try again; if it stays so, something on the way (a proxy, a faulty memory) changes the data",
        )

    def _part_name(self, number: int) -> str:
        return f"part {number:,} of {self.url}"

    def _names(self) -> dict[str, Any]:
        return {"Bucket": self.url.bucket, "Key": self.url.key, "UploadId": self.upload_id}

    def listed(self) -> Iterator[Mapping[str, Any]]:
        """The parts that lie there, as the store tells them, with their checksums. Raises StoreError."""
        marker = 0
        while True:
            answer = self.s3.call("list_parts", self.url, PartNumberMarker=marker, **self._names())
            parts = answer.get("Parts", [])
            yield from parts
            following = int(answer.get("NextPartNumberMarker") or 0)
            if not answer.get("IsTruncated") or not parts or following <= marker:
                return
            marker = following

    def complete(self, parts: Sequence[SentPart], *, replace: bool) -> Completed:
        """Make one object of the parts; never in the place of another, unless `replace`.

        Raises UsageError where there is an object meanwhile, and StoreError. The parts stay in both cases.
        """
        size_bytes = sum(part.sums.size_bytes for part in parts)
        sums: dict[str, Any] = {}
        if self.whole:
            total = whole_checksum(self.algorithm, [part.sums for part in parts])
            sums = {self.algorithm.member: total, "ChecksumType": "FULL_OBJECT"}
        rows = [self._row(part) for part in parts]
        conditions: list[dict[str, Any]] = [{}] if replace else [{"IfNoneMatch": "*"}, {}]
        for condition in conditions:
            try:
                answer = self.s3.call(
                    "complete_multipart_upload", self.url, MultipartUpload={"Parts": rows}, MpuObjectSize=size_bytes,
                    **self._names(), **sums, **condition,
                )  # fmt: skip
            except StoreError as error:
                done = self._completed_before(parts, error)
                if done is not None:
                    return done
                if error.code in _CONDITIONS:
                    raise exists(self.url) from error
                if condition and error.code in ("NotImplemented", "501"):
                    continue  # a store that does not know the condition; whether there was an object was asked before
                raise
            return Completed(
                str(answer.get("ETag", "")), str(answer.get("VersionId") or ""), conditional=bool(condition)
            )
        raise AssertionError("the last condition is none, which is returned or raised")

    def _row(self, part: SentPart) -> dict[str, Any]:
        row: dict[str, Any] = {"PartNumber": part.number, "ETag": part.etag}
        if not self.with_md5:
            row[self.algorithm.member] = self.algorithm.text(part.sums.checksum)
        return row

    def _completed_before(self, parts: Sequence[SentPart], error: StoreError) -> Completed | None:
        """Whether our own request was done although no answer came: then a second one finds no upload any more, or
        an object in the way, which is ours."""
        if not (error.retryable or error.code in _CONDITIONS or is_absent(error, "NoSuchUpload")):
            return None
        etag = whole_etag([md5_of_etag(part.etag) for part in parts])
        try:
            answer = self.s3.call("head_object", self.url, Bucket=self.url.bucket, Key=self.url.key, tries=2)
        except StoreError:
            return None
        if not etag or str(answer.get("ETag", "")).strip('"') != etag or not self._is_gone():
            return None
        return Completed(f'"{etag}"', str(answer.get("VersionId") or ""), conditional=True)

    def _is_gone(self) -> bool:
        try:
            self.s3.call("list_parts", self.url, **self._names())
        except StoreError as error:
            return is_absent(error, "NoSuchUpload")
        return False

    def abandon(self, *, tries: int = TRIES) -> None:
        """Give up the parts that lie there, which cost money. Raises StoreError; nothing to give up is no failure."""
        try:
            self.s3.call("abort_multipart_upload", self.url, tries=tries, **self._names())
        except StoreError as error:
            if not is_absent(error, "NoSuchUpload"):
                raise


def exists(url: ObjectUrl) -> UsageError:
    """The refusal to replace an object."""
    return UsageError(f"{url} exists", remedy="choose another key, or replace it with --force")
