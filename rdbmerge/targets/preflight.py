"""What creating a seeded cache will meet: rules of the request, the objects and the account, one line each. Pure.

Facts: aws-seeding.md 2 to 6. None of them was tried against AWS itself: what it documents as refused is FAILED, what
could not be found out or rests on hearsay is a WARNING with its reason.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rdbmerge.preflight import PreflightCheck, failed, ok, warning
from rdbmerge.snapshot.contents import METADATA_NAME, Contents
from rdbmerge.targets.fit import SeedFile, fit_checks
from rdbmerge.targets.kinds import Kind
from rdbmerge.targets.request import SeedRequest
from rdbmerge.units import format_bytes

_TOKEN = re.compile(r"[A-Za-z0-9!&#$^<>-]{16,128}")
_ARCHIVES = ("GLACIER", "DEEP_ARCHIVE")
_READABLE_ENCRYPTION = "AES256"
_MOST_NODES, _USUAL_NODES, _MOST_REPLICAS = 500, 90, 5


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectFacts:
    """An object to be seeded from, as its store tells; None: not told."""

    url: str
    key: str
    region: str | None = None
    size_bytes: int | None = None
    encryption: str | None = None
    storage_class: str | None = None
    contents: Contents | None = None
    contents_problem: str = ""  # why there are none
    missing: str = ""  # why the object cannot be seen


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudFacts:
    """What the account and the service tell; None: could not be found out, `unknown` says why."""

    region: str
    engine_versions: list[str] | None = None
    parameters: dict[str, str] | None = None
    existing: str | None = None  # the state of a cache that has this name already
    mine: bool = False  # ... which is being made from these very files
    unknown: str = ""


def seed_checks(request: SeedRequest, objects: Sequence[ObjectFacts], cloud: CloudFacts) -> list[PreflightCheck]:
    """All lines: request, objects, data, account."""
    files = [SeedFile(one.url, one.contents) for one in objects if one.contents is not None]
    return [
        *_request_checks(request),
        *_object_checks(request, objects, cloud.region),
        *fit_checks(request, files, cloud.parameters),
        *_overlap_checks(files),
        *_cloud_checks(request, cloud),
        warning(
            "not tried on AWS",
            "these rules are from AWS's documentation and service models; rdbmerge was tested on stand-ins only",
        ),
    ]


def _request_checks(request: SeedRequest) -> Iterator[PreflightCheck]:
    if request.kind is Kind.REPLICATION_GROUP:
        yield from _encryption_checks(request)
        yield from _node_checks(request)
        if not request.cluster_mode and len(request.arns) > 1:
            yield failed(
                "number of files", f"{len(request.arns)} files for a group without cluster mode, which takes one",
                "merge them into one file, or ask for shards with --shards or --slots",
            )  # fmt: skip
        if request.cluster_mode and request.shards is None:
            yield failed(
                "slots", "cluster mode needs the slots of every shard when it is seeded",
                "give --shards N or --slots 0-8191,8192-16383",
            )  # fmt: skip
    elif request.kind is Kind.SERVERLESS:
        yield ok("encryption", "always on in Serverless; access by users and IAM only")
    elif request.value("tls") is False:
        yield warning("encryption", "TLS is off, and so are users and access lists (ACLName must be open-access)")
    if request.kind is not Kind.SERVERLESS and not request.value("subnet_group"):
        yield warning("network", "no subnet group: the default one decides where the nodes are", "give --subnet-group")


def _encryption_checks(request: SeedRequest) -> Iterator[PreflightCheck]:
    tls, token = request.value("tls"), request.auth_token
    if token is not None:
        if not tls:
            yield failed("AUTH token", "a token needs encryption in transit", "leave --no-tls out")
        elif not _TOKEN.fullmatch(token.get_secret_value()):
            yield failed(
                "AUTH token", "it has characters or a length that ElastiCache refuses",
                "take 16 to 128 letters and digits, and of the others ! & # $ ^ < > - only",
            )  # fmt: skip
        else:
            yield ok("AUTH token", "of a form that ElastiCache takes")
    if tls:
        yield ok("encryption", "in transit: clients need TLS (rediss://)")
    else:
        yield warning("encryption", "nothing is encrypted in transit", "leave --no-tls out, unless clients know no TLS")


def _node_checks(request: SeedRequest) -> Iterator[PreflightCheck]:
    groups = request.parameters.get("NodeGroupConfiguration") or []
    replicas = [int(group.get("ReplicaCount", 0)) for group in groups if isinstance(group, dict)]
    nodes = len(replicas) + sum(replicas) if replicas else int(request.parameters.get("NumCacheClusters") or 1)
    if max(replicas, default=0) > _MOST_REPLICAS:
        yield failed("nodes", f"{max(replicas)} replicas of a shard; {_MOST_REPLICAS} are the most")
    if nodes > _MOST_NODES:
        yield failed("nodes", f"{nodes} nodes; a cluster has {_MOST_NODES} at most")
    elif nodes > _USUAL_NODES:
        yield warning(
            "nodes",
            f"{nodes} nodes; the quota is {_USUAL_NODES} unless it was raised",
            "ask for more in Service Quotas",
        )
    else:
        yield ok(
            "nodes",
            f"{nodes} of {request.value('node_type')}; whether the quotas of the account allow them is not asked",
        )


def _object_checks(request: SeedRequest, objects: Sequence[ObjectFacts], region: str) -> Iterator[PreflightCheck]:
    for one in objects:
        if "," in one.key:
            yield failed("object key", f"{one.url} has a comma in its key", "upload it under another key")
        elif not one.key.endswith(".rdb"):
            yield warning(
                "object key", f"{one.url} does not end in .rdb; users report that it must", "upload it as *.rdb"
            )
        if one.missing:
            yield failed("object", f"{one.url}: {one.missing}", "upload it first: rdbmerge upload-s3")
            continue
        yield from _storage_checks(one)
        yield from _region_checks(request, one, region)
        if one.contents is None:
            yield warning(
                "contents", f"what {one.url} holds is not known: {one.contents_problem or f'no {METADATA_NAME}'}",
                "give the file that was uploaded with --rdb, so that it is checked against the target",
            )  # fmt: skip
        elif one.size_bytes is not None and one.size_bytes != one.contents.size_bytes:
            yield failed(
                "contents", f"{one.url} has {one.size_bytes:,} bytes, the file that was described"
                f" {one.contents.size_bytes:,}", "upload the file again, or give the right one with --rdb",
            )  # fmt: skip
        else:
            yield ok("object", f"{one.url}: {format_bytes(one.contents.size_bytes)}, {one.contents.all_keys:,} keys")


def _storage_checks(one: ObjectFacts) -> Iterator[PreflightCheck]:
    if one.encryption is None:
        yield warning(
            "object encryption", f"the store does not tell how {one.url} is encrypted", "it must be AES256 (SSE-S3)"
        )
    elif one.encryption != _READABLE_ENCRYPTION:
        yield failed(
            "object encryption", f"{one.url} is encrypted with {one.encryption}; only AES256 (SSE-S3) can be read",
            "upload it again with rdbmerge upload-s3, which asks for AES256 whatever the bucket's default is",
        )  # fmt: skip
    else:
        yield ok("object encryption", _READABLE_ENCRYPTION)
    if one.storage_class in _ARCHIVES:
        yield failed("storage class", f"{one.url} lies in {one.storage_class}", "restore it, or upload it again")


def _region_checks(request: SeedRequest, one: ObjectFacts, region: str) -> Iterator[PreflightCheck]:
    if one.region is None:
        yield warning("region", f"in which region {one.url} lies is not known; it must be {region}")
    elif one.region == region:
        yield ok("region", f"object and target are in {region}")
    elif request.kind is Kind.MEMORYDB:
        yield warning(
            "region", f"{one.url} lies in {one.region}, the cluster in {region}", "MemoryDB advises one region"
        )
    else:
        yield failed(
            "region",
            f"{one.url} lies in {one.region}, the cache in {region}",
            f"upload it to a bucket in {region}, or give --region {one.region}",
        )


def _overlap_checks(files: Sequence[SeedFile]) -> Iterator[PreflightCheck]:
    if len(files) < 2:
        return
    width = 3
    for at in range(0, max(len(file.contents.slot_shares) for file in files), width):
        holding = [file.name for file in files if file.contents.slot_shares[at : at + width].strip("0")]
        if len(holding) > 1:
            yield warning(
                "keys in two files", f"{holding[0]} and {holding[1]} hold keys of the same slots; what becomes of a key"
                " that both hold is written nowhere", "merge them into one file, or split one by shards",
            )  # fmt: skip
            return
    yield ok("keys in two files", "no part of the slots has keys in two files")


def _cloud_checks(request: SeedRequest, cloud: CloudFacts) -> Iterator[PreflightCheck]:
    title, name = request.facts.title, request.name
    if cloud.existing is None and cloud.unknown:
        yield warning("name", f"whether {name} exists already is not known: {cloud.unknown}")
    elif cloud.existing is None:
        yield ok("name", f"{title} has no {request.kind} {name} yet")
    elif cloud.mine:
        yield ok(
            "name",
            f"{name} was created from these very files and is {cloud.existing}: --execute goes on waiting for it",
        )
    else:
        yield failed(
            "name",
            f"{title} has a {request.kind} {name} already ({cloud.existing})",
            "choose another name; it is left alone",
        )
    version = str(request.value("engine_version") or "")
    if request.kind is Kind.SERVERLESS or not version:
        return
    if cloud.engine_versions is None:
        yield warning(
            "engine offered", f"which versions {title} offers could not be asked: {cloud.unknown or 'no answer'}"
        )
    elif any(one == version or one.startswith(f"{version}.") for one in cloud.engine_versions):
        yield ok("engine offered", f"{title} offers {request.value('engine')} {version}")
    else:
        yield failed(
            "engine offered", f"{title} offers no {request.value('engine')} {version} here",
            f"it offers {', '.join(cloud.engine_versions[-8:]) or 'none'}",
        )  # fmt: skip
