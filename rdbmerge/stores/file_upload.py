"""One file into one object: parts sent several at a time, those of an earlier try kept, completed when all is proved.

Knows nothing of what the file holds: whether its CRC-64 is the right one is asked of the caller.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from rdbmerge.errors import RdbMergeError, StoppedError, StoreError
from rdbmerge.stores.base import ObjectUrl
from rdbmerge.stores.crew import Crew
from rdbmerge.stores.multipart import Multipart, SentPart
from rdbmerge.stores.objects import Proof, StoredObject, confirm
from rdbmerge.stores.parts import Part, PartFile, Progress, changed, cut, part_size_bytes
from rdbmerge.stores.refusals import is_absent
from rdbmerge.stores.resume import Memory, UploadState
from rdbmerge.stores.s3 import S3
from rdbmerge.stores.sums import agrees, whole_crc64


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is to be uploaded, and how."""

    url: ObjectUrl
    metadata: Mapping[str, str]
    jobs: int
    replace: bool
    now_ms: int
    part_bytes: int | None = None  # None: what an earlier try chose, else what fits the size
    progress: Progress | None = None


@dataclass(frozen=True, slots=True)
class Uploaded:
    """An object that holds the file."""

    stored: StoredObject
    proof: Proof
    parts: int
    parts_kept: int  # that an earlier try had sent
    part_bytes: int
    notes: list[str] = field(default_factory=list)


class Upload:
    """One upload of one file, from its first part to its last."""

    def __init__(self, s3: S3, file: PartFile, memory: Memory, order: Order) -> None:
        self._s3 = s3
        self._file = file
        self._memory = memory
        self._order = order
        self._halt = threading.Event()
        self._kept = 0
        self._notes: list[str] = []
        self._held: dict[int, Mapping[str, Any]] = {}

    def run(self, check: Callable[[int], None]) -> Uploaded:
        """Upload it; `check` is given the CRC-64 of what was sent, before the object comes to be.

        Raises:
            StoreError: the store refused, or the file changed; what can be gone on from is kept.
            UsageError: there is another object meanwhile.
            StoppedError: the store's `stop` was set; the parts that were sent are kept.
        """
        multipart, part_bytes = self._resumed() or self._begun()
        parts = cut(self._file.size_bytes, part_bytes)
        crew: Crew[Part, SentPart] = Crew(
            lambda part: self._one(multipart, part), self._order.jobs, stop=self._s3.stop, halt=self._halt
        )
        try:
            for part in parts:
                crew.give(part)
            sent = sorted(crew.finish(), key=lambda part: part.number)
        except StoppedError:
            raise self._stopped(crew.done_count(), len(parts)) from None
        except OSError as error:
            raise StoreError(f"cannot read {self._file.path}: {error.strerror}", remedy="check the disk") from error
        finally:
            crew.leave()
        finishing = multipart.by(self._s3)
        try:
            self._file.check_unchanged()
            check(whole_crc64(part.sums for part in sent))
        except RdbMergeError:
            finishing.abandon()  # no later try can use these parts
            self._memory.forget()
            raise
        done = finishing.complete(sent, replace=self._order.replace)
        self._memory.forget()
        stored, proof = confirm(finishing, sent, done)
        if not done.conditional and not self._order.replace:
            self._notes.append("the store does not know If-None-Match: an object put there meanwhile was replaced")
        return Uploaded(stored, proof, len(sent), self._kept, part_bytes, self._notes)

    def _one(self, multipart: Multipart, part: Part) -> SentPart:
        file, order = self._file, self._order
        held, with_md5 = self._held.get(part.number), multipart.with_md5
        file.check_unchanged()
        sums = None
        if held is not None or not with_md5:
            sums = file.summed(part, multipart.algorithm, with_md5=with_md5, stop=self._halt)
        if held and sums and held.get("Size") == part.size_bytes and agrees(multipart.algorithm, sums, held):
            self._kept += 1
            if order.progress:
                order.progress(part.size_bytes)
            return SentPart(part.number, str(held["ETag"]), sums, proved=True)
        body = file.body(part, self._halt, order.progress, with_md5=with_md5)
        try:
            sent = multipart.send(part.number, body, None if with_md5 else sums)
        except StoreError:
            # Where the store got other bytes than were summed before, the file may have changed in between.
            file.check_unchanged()
            again = file.summed(part, multipart.algorithm, with_md5=with_md5, stop=self._halt)
            if sums not in (None, again):
                raise changed(file.path) from None
            raise
        file.check_unchanged()
        return sent

    def _begun(self) -> tuple[Multipart, int]:
        order, file = self._order, self._file
        part_bytes = part_size_bytes(file.size_bytes, order.part_bytes)
        multipart = Multipart.begin(self._s3.until(self._halt), order.url, order.metadata)
        self._memory.keep(
            UploadState(
                url=str(order.url),
                endpoint=self._s3.endpoint,
                upload_id=multipart.upload_id,
                part_bytes=part_bytes,
                algorithm=multipart.algorithm,
                whole=multipart.whole,
                size_bytes=file.size_bytes,
                mtime_ns=file.mtime_ns,
                begun_at_ms=order.now_ms,
            )
        )
        if self._memory.problem:
            self._notes.append(f"{self._memory.problem}; an interrupted upload will begin anew")
        return multipart, part_bytes

    def _resumed(self) -> tuple[Multipart, int] | None:
        """The upload of an earlier try, with what lies there of it; None: there is none that fits."""
        state, order, file = self._memory.state, self._order, self._file
        if state is None:
            return None
        calls = self._s3.until(self._halt)
        multipart = Multipart(calls, order.url, state.upload_id, state.algorithm, whole=state.whole)
        same_store = (state.url, state.endpoint) == (str(order.url), self._s3.endpoint)
        same_file = (state.size_bytes, state.mtime_ns) == (file.size_bytes, file.mtime_ns)
        same_parts = order.part_bytes in (None, state.part_bytes)
        if not same_store:
            self._notes.append(f"an upload to {state.endpoint} was left unfinished: its parts may still cost money")
            return None
        if not (same_file and same_parts):
            why = "the file has changed since" if not same_file else "parts of another size are wanted"
            self._notes.append(f"an unfinished upload was given up: {why}")
            multipart.abandon()
            return None
        try:
            self._held = {int(held["PartNumber"]): held for held in multipart.listed()}
        except StoreError as error:
            if not is_absent(error, "NoSuchUpload"):
                raise
            self._notes.append("the unfinished upload is not there any more; all parts were sent again")
            return None
        return multipart, state.part_bytes

    def _stopped(self, done: int, all_parts: int) -> StoppedError:
        kept = f"{done:,} of {all_parts:,} parts of {self._order.url} are kept in the store"
        if self._memory.problem:
            return StoppedError(f"stopped; {kept}, but cannot be gone on from", remedy="--abandon gives them up")
        return StoppedError(
            f"stopped; {kept}",
            remedy="run the same command again for the rest, or give them up with --abandon: parts cost money",
        )
