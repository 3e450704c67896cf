"""Checksums of parts and of whole objects: what S3 is told, what it answers, and whether both agree. Pure.

Knows the forms in which S3 writes checksums; not what the bytes mean.
"""

from __future__ import annotations

import base64
import hashlib
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import anycrc

# The CRC-64 of RDB files, which manifests hold: the proof that what is sent is what was made.
CRC64 = anycrc.Model("CRC64-REDIS")
_CRC64NVME = anycrc.Model("CRC64-NVME")
_CRC32 = anycrc.Model("CRC32-ISO-HDLC")
_MD5_DIGITS = 32


class Algorithm(StrEnum):
    """What the store sums the object with; the names are S3's."""

    CRC64NVME = "CRC64NVME"
    CRC32 = "CRC32"
    NONE = "none"  # it knows neither: its ETags, which are MD5s, have to do

    @property
    def member(self) -> str:
        """The name of the checksum in requests and answers."""
        return f"Checksum{self.value}"

    @property
    def size_bytes(self) -> int:
        """Of one checksum."""
        return 8 if self is Algorithm.CRC64NVME else 4

    def text(self, value: int) -> str:
        """A checksum as S3 writes it."""
        return base64.b64encode(value.to_bytes(self.size_bytes, "big")).decode()

    def calc(self, data: bytes | memoryview, value: int = 0) -> int:
        """The checksum of bytes, going on from `value`."""
        if self is Algorithm.CRC64NVME:
            return int(_CRC64NVME.calc(data, value))
        return zlib.crc32(data, value)

    def combine(self, first: int, second: int, second_bytes: int) -> int:
        """The checksum of two runs of bytes, one behind the other."""
        model = _CRC64NVME if self is Algorithm.CRC64NVME else _CRC32
        return int(model.combine(first, second, second_bytes))


@dataclass(frozen=True, slots=True)
class PartSums:
    """What is known of the bytes of one part."""

    size_bytes: int
    crc64: int  # CRC64-REDIS of the bytes that the caller's own digest covers
    crc64_bytes: int  # how many those are
    checksum: int = 0  # by the algorithm of the upload
    md5: bytes = b""  # where ETags have to do


class Summer:
    """Sums one part, piece by piece."""

    def __init__(self, algorithm: Algorithm, *, with_md5: bool, crc64_bytes: int) -> None:
        """`crc64_bytes`: of how many bytes at its beginning the CRC-64 is taken."""
        self._algorithm = algorithm
        self._md5 = hashlib.md5(usedforsecurity=False) if with_md5 else None
        self._crc64_bytes = crc64_bytes
        self._size = self._crc64 = self._checksum = 0

    def add(self, data: bytes | memoryview) -> None:
        """Take in the next bytes."""
        covered = memoryview(data)[: max(0, self._crc64_bytes - self._size)]
        if covered:
            self._crc64 = CRC64.calc(covered, self._crc64)
        if self._algorithm is not Algorithm.NONE:
            self._checksum = self._algorithm.calc(data, self._checksum)
        if self._md5 is not None:
            self._md5.update(data)
        self._size += len(data)

    def sums(self) -> PartSums:
        """Of all bytes so far."""
        return PartSums(
            size_bytes=self._size,
            crc64=self._crc64,
            crc64_bytes=min(self._size, self._crc64_bytes),
            checksum=self._checksum,
            md5=self._md5.digest() if self._md5 is not None else b"",
        )


def whole_crc64(parts: Iterable[PartSums]) -> int:
    """The CRC-64 of all parts in their order, as far as it covers them."""
    crc = 0
    for part in parts:
        crc = CRC64.combine(crc, part.crc64, part.crc64_bytes)
    return int(crc)


def whole_checksum(algorithm: Algorithm, parts: Iterable[PartSums]) -> str:
    """The checksum of the whole object, as S3 writes it; "" without an algorithm."""
    if algorithm is Algorithm.NONE:
        return ""
    value = 0
    for part in parts:
        value = algorithm.combine(value, part.checksum, part.size_bytes)
    return algorithm.text(value)


def composite_checksum(algorithm: Algorithm, parts: Sequence[PartSums]) -> str:
    """The checksum of the parts' checksums, with their number: what some stores make of the whole."""
    joined = b"".join(part.checksum.to_bytes(algorithm.size_bytes, "big") for part in parts)
    return f"{algorithm.text(algorithm.calc(joined))}-{len(parts)}"


def whole_etag(md5s: Sequence[bytes]) -> str:
    """The ETag that S3 makes of an object from the MD5s of its parts; "" where one is not known."""
    if not all(md5s):
        return ""
    return f"{hashlib.md5(b''.join(md5s), usedforsecurity=False).hexdigest()}-{len(md5s)}"


def md5_of_etag(etag: str) -> bytes:
    """The MD5 that the ETag of a part is; b"" for one that is none (parts encrypted by KMS have such)."""
    digits = etag.strip('"')
    try:
        return bytes.fromhex(digits) if len(digits) == _MD5_DIGITS else b""
    except ValueError:
        return b""


def agrees(algorithm: Algorithm, sums: PartSums, answer: Mapping[str, Any]) -> bool | None:
    """Whether what the store says of a part fits its bytes; None: it says nothing that could be compared."""
    told = answer.get(algorithm.member) if algorithm is not Algorithm.NONE else None
    if told:
        return bool(told == algorithm.text(sums.checksum))
    md5 = md5_of_etag(str(answer.get("ETag", "")))
    return None if not (md5 and sums.md5) else md5 == sums.md5
