"""The values that stores are asked with: the place of an object, and how its store is reached.

Knows the rules of names; makes no call.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from rdbmerge.errors import UsageError

SCHEME = "s3://"
_HINT = "write it as s3://bucket/folder/merged.rdb"
_LONGEST_KEY_BYTES = 1024
_DNS_NAME = re.compile(r"(?!\d+\.\d+\.\d+\.\d+$)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")
# What S3 ever allowed in the name of a bucket (us-east-1, long ago); what it allows today is stricter.
_ANY_NAME = re.compile(r"[A-Za-z0-9._-]{3,255}")


@dataclass(frozen=True, slots=True)
class ObjectUrl:
    """The place of one object: `s3://bucket/key`. A key that ends in `/` is a prefix: the folder of objects."""

    bucket: str
    key: str

    @classmethod
    def parse(cls, text: str) -> ObjectUrl:
        """What `s3://bucket/key` names. Raises UsageError for anything else."""
        if not text.startswith(SCHEME):
            raise UsageError(f"{text!r} is not the address of an object", remedy=_HINT)
        bucket, slash, key = text.removeprefix(SCHEME).partition("/")
        if not _ANY_NAME.fullmatch(bucket):
            raise UsageError(f"{text!r} names no bucket", remedy=_HINT)
        if not slash or not key:
            raise UsageError(f"{text!r} names a bucket and no object in it", remedy=_HINT)
        if len(key.encode()) > _LONGEST_KEY_BYTES:
            raise UsageError(f"the key in {text[:60]!r}... is longer than 1,024 bytes", remedy="choose a shorter one")
        if not key.isprintable():
            raise UsageError(f"{text!r} has characters that cannot be seen", remedy=_HINT)
        return cls(bucket, key)

    @property
    def is_prefix(self) -> bool:
        """Whether it names a folder, in which each file gets its own name."""
        return self.key.endswith("/")

    @property
    def name(self) -> str:
        """The last part of the key: what a file of it would be called."""
        return self.key.rstrip("/").rpartition("/")[2]

    def inside(self, name: str) -> ObjectUrl:
        """The object of that name in this folder."""
        return ObjectUrl(self.bucket, self.key + name)

    def beside(self, name: str) -> ObjectUrl:
        """The object of that name in the folder of this one."""
        folder, slash, _ = self.key.rpartition("/")
        return ObjectUrl(self.bucket, f"{folder}{slash}{name}")

    def arn(self, partition: str = "aws") -> str:
        """The name by which other services of the cloud are told of it."""
        return f"arn:{partition}:s3:::{self.bucket}/{self.key}"

    def __str__(self) -> str:
        return f"{SCHEME}{self.bucket}/{self.key}"


@dataclass(frozen=True, slots=True)
class S3Access:
    """Whose credentials, which region, and which endpoint; None: what the environment and ~/.aws say."""

    profile: str | None = None
    region: str | None = None
    endpoint_url: str | None = None


def is_dns_name(bucket: str) -> bool:
    """Whether ElastiCache and MemoryDB can read from a bucket of that name (aws-seeding.md 2): 3 to 63 characters,
    lower case, digits, dashes and dots, not shaped like an address."""
    return 3 <= len(bucket) <= 63 and _DNS_NAME.fullmatch(bucket) is not None


def partition_of(region: str) -> str:
    """The partition of the cloud that a region lies in."""
    return "aws-cn" if region.startswith("cn-") else "aws-us-gov" if region.startswith("us-gov-") else "aws"
