"""The request that creates a seeded cache: what the user said and what a file adds, as the exact parameters of the API.

A secret is kept apart from all that is shown or saved. Judges what is no request at all; whether the service will take
it is `preflight`'s business. Makes no call.
"""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from rdbmerge.errors import UsageError
from rdbmerge.plan.sharding import Slots, slots_text
from rdbmerge.targets.kinds import KINDS, Kind, KindFacts

HIDDEN = "(hidden)"
SECRET = "AuthToken"  # noqa: S105 - the parameter's name
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]*")
_LONGEST_NAME = 40
_OPEN_ACL = "open-access"
_MARK = "rdbmerge"
_OURS = re.compile(rf"seeded by {_MARK} ([0-9a-f]{{12}})")


class SeedOptions(BaseModel):
    """What the user says; None or empty: not said."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Kind
    name: str
    engine: str | None = None
    engine_version: str | None = None
    node_type: str | None = None
    shards: list[Slots] | None = Field(None, description="The slots of each shard; None: one node, no cluster mode.")
    replicas: int | None = Field(None, ge=0, le=5, description="Of each shard.")
    subnet_group: str | None = None
    subnet_ids: list[str] = Field(default_factory=list)
    security_group_ids: list[str] = Field(default_factory=list)
    parameter_group: str | None = None
    tls: bool | None = None
    auth_token: SecretStr | None = None
    kms_key_id: str | None = None
    acl: str | None = None
    tags: dict[str, str] = Field(default_factory=dict)


class SeedRequest(BaseModel):
    """One creation, complete."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Kind
    name: str
    parameters: dict[str, Any] = Field(description="Of the API, without the secret.")
    auth_token: SecretStr | None = Field(None, exclude=True)

    @property
    def facts(self) -> KindFacts:
        """How this kind is asked for."""
        return KINDS[self.kind]

    def value(self, word: str) -> Any:
        """What the request says of `engine`, `node_type`, ... (`KindFacts.members`); None where it says nothing."""
        member = self.facts.members.get(word)
        return None if member is None else self.parameters.get(member)

    @property
    def arns(self) -> list[str]:
        """The files it is seeded from."""
        return list(self.parameters[self.facts.arns])

    @property
    def shards(self) -> list[tuple[int, int]] | None:
        """The slots of each shard; None where there is one node for all. MemoryDB shares them out evenly by itself."""
        if self.kind is Kind.MEMORYDB:
            from rdbmerge.plan.sharding import even_slots

            return [runs[0] for runs in even_slots(int(self.parameters.get("NumShards", 1)))]
        groups = self.parameters.get("NodeGroupConfiguration")
        if not isinstance(groups, list):
            return None
        slots = [str(group.get("Slots", "")).partition("-") for group in groups]
        if not all(first.isdigit() and last.isdigit() for first, _, last in slots):
            return None
        return [(int(first), int(last)) for first, _, last in slots]

    @property
    def cluster_mode(self) -> bool:
        """Whether keys are spread over slots, so that there is one db only."""
        return self.kind is not Kind.REPLICATION_GROUP or bool(
            self.parameters.get("NodeGroupConfiguration")
            or int(self.parameters.get("NumNodeGroups") or 1) > 1
            or self.parameters.get("ClusterMode") in ("enabled", "compatible")
            or ".cluster.on" in str(self.parameters.get("CacheParameterGroupName", ""))
        )

    def to_api(self) -> dict[str, Any]:
        """All parameters, the secret included: for the call and nothing else."""
        secret = {} if self.auth_token is None else {SECRET: self.auth_token.get_secret_value()}
        return self.parameters | secret

    def shown(self) -> dict[str, Any]:
        """The parameters for people and reports."""
        return self.parameters | ({} if self.auth_token is None else {SECRET: HIDDEN})

    def mark(self) -> str:
        """Twelve digits that stand for the files; in the description, so that a later run knows its own work."""
        return _mark_of(self.arns)

    def is_mine(self, description: str) -> bool:
        """Whether a cache with this description is being seeded from the same files."""
        match = _OURS.search(description)
        return match is not None and match[1] == self.mark()


def _mark_of(arns: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(sorted(arns)).encode()).hexdigest()[:12]


def make_request(options: SeedOptions, arns: Sequence[str], beneath: dict[str, Any] | None = None) -> SeedRequest:
    """The request of `options` for the files `arns`; `beneath` are parameters of the API that the options win over.

    Raises UsageError for what cannot be said of this kind, or is missing.
    """
    facts, beneath = KINDS[options.kind], dict(beneath or {})
    for member in (facts.arns, "SnapshotName"):
        if member in beneath:
            raise UsageError(
                f"the request file gives {member}", remedy="name the files as s3://bucket/key, and leave it out there"
            )
    beneath_it = beneath.pop(SECRET, None)
    token = options.auth_token or (None if beneath_it is None else SecretStr(str(beneath_it)))
    name = check_name(options.name, facts)
    said = _said(options, facts, token is not None)
    parameters: dict[str, Any] = {facts.description: f"seeded by {_MARK} {_mark_of(arns)}"}
    parameters |= _defaults(options.kind) | beneath | said
    parameters |= {facts.name: name, facts.arns: list(arns)}
    if options.tags:
        parameters["Tags"] = _tags(beneath.get("Tags"), options.tags)
    _complete(parameters)
    _need(parameters, facts)
    return SeedRequest(kind=options.kind, name=name, parameters=parameters, auth_token=token)


def check_name(name: str, facts: KindFacts) -> str:
    """The name as the service stores it, in lower case. Raises UsageError for one that it refuses."""
    if not _NAME.fullmatch(name) or len(name) > _LONGEST_NAME or name.endswith("-") or "--" in name:
        raise UsageError(
            f"{name!r} cannot be a {facts.name}",
            remedy=f"give 1 to {_LONGEST_NAME} letters, digits and single hyphens, a letter first, no hyphen last",
        )
    return name.lower()


def _said(options: SeedOptions, facts: KindFacts, secret: bool) -> dict[str, Any]:
    said: dict[str, Any] = {}
    words = {name: getattr(options, name) for name in (
        "engine", "engine_version", "node_type", "subnet_group", "subnet_ids", "security_group_ids", "parameter_group",
        "tls", "kms_key_id", "acl",
    )}  # fmt: skip
    _check_version(options.kind, options.engine_version)
    if secret and "auth_token" not in facts.members:
        raise UsageError(
            f"{facts.title} takes no AUTH token",
            remedy="name users and access lists in the --from-file request (UserGroupId), or with --acl for MemoryDB",
        )
    for word, value in words.items():
        if value is None or value == []:
            continue
        if word not in facts.members:
            raise UsageError(
                f"--{word.replace('_', '-')} means nothing to {facts.title}",
                remedy=f"leave it out; it takes {', '.join(sorted(w.replace('_', '-') for w in facts.members))}",
            )
        said[facts.members[word]] = value.lower() if word == "engine" else value
    if facts.service == "elasticache" and "KmsKeyId" in said and options.kind is Kind.REPLICATION_GROUP:
        said["AtRestEncryptionEnabled"] = True
    return said | _sharding(options, facts)


def _check_version(kind: Kind, version: str | None) -> None:
    if kind is Kind.SERVERLESS and version is not None and not version.isdigit():
        raise UsageError(
            f"Serverless has no engine version {version!r}", remedy="give the major version alone: --engine-version 8"
        )


def _sharding(options: SeedOptions, facts: KindFacts) -> dict[str, Any]:
    shards, replicas = options.shards, options.replicas
    if options.kind is Kind.SERVERLESS:
        if shards is not None or replicas is not None:
            raise UsageError(
                f"{facts.title} shards and replicates by itself", remedy="leave --shards, --slots and --replicas out"
            )
        return {}
    if options.kind is Kind.MEMORYDB:
        return ({} if shards is None else {"NumShards": len(shards)}) | (
            {} if replicas is None else {"NumReplicasPerShard": replicas}
        )
    if shards is None:
        return {} if replicas is None else {"NumCacheClusters": replicas + 1, "AutomaticFailoverEnabled": replicas > 0}
    groups = []
    for number, slots in enumerate(shards, 1):
        if len(slots) != 1:
            raise UsageError(
                f"a shard with the slots {slots_text(slots)} cannot be asked for",
                remedy="give each shard one run of slots",
            )
        first, last = slots[0]
        groups.append({"NodeGroupId": f"{number:04}", "Slots": f"{first}-{last}", "ReplicaCount": replicas or 0})
    return {"NodeGroupConfiguration": groups, "NumNodeGroups": len(groups), "AutomaticFailoverEnabled": True}


def cluster_parameter_group(engine: str | None, version: str | None) -> str | None:
    """The default parameter group with cluster mode of `valkey` 8.1, `redis` 6.2 ...; None where it is not known."""
    major, _, _ = (version or "").partition(".")
    if engine == "valkey" and major.isdigit():
        return f"default.valkey{major}.cluster.on"
    if engine == "redis" and major.isdigit():
        family = {"6": "6.x", "5": "5.0", "4": "4.0", "3": "3.2"}.get(major, major)
        return f"default.redis{family}.cluster.on"
    return None


def _defaults(kind: Kind) -> dict[str, Any]:
    if kind is Kind.REPLICATION_GROUP:
        return {"TransitEncryptionEnabled": True, "AtRestEncryptionEnabled": True, "NumCacheClusters": 1}
    return {"ACLName": _OPEN_ACL} if kind is Kind.MEMORYDB else {}


def _tags(beneath: object, said: dict[str, str]) -> list[dict[str, str]]:
    before = beneath if isinstance(beneath, list) else []
    kept = [tag for tag in before if isinstance(tag, dict) and tag.get("Key") not in said]
    return [*kept, *({"Key": key, "Value": value} for key, value in said.items())]


def _complete(parameters: dict[str, Any]) -> None:
    """What follows from shards of a replication group: the groups say how many nodes, the parameters the mode."""
    if "NodeGroupConfiguration" not in parameters and "NumNodeGroups" not in parameters:
        return
    parameters.pop("NumCacheClusters", None)
    group = cluster_parameter_group(parameters.get("Engine"), parameters.get("EngineVersion"))
    if group is not None:
        parameters.setdefault("CacheParameterGroupName", group)


def _need(parameters: dict[str, Any], facts: KindFacts) -> None:
    for word in ("engine", "node_type"):
        member = facts.members.get(word)
        if member is not None and not parameters.get(member):
            raise UsageError(
                f"{facts.title} needs --{word.replace('_', '-')}",
                remedy="such as --engine valkey" if word == "engine" else "such as --node-type cache.r7g.large",
            )


def read_request_file(path: Path) -> dict[str, Any]:
    """The parameters in a TOML or JSON file. Raises UsageError, with the place, for one that cannot be read."""
    try:
        text = path.read_text(encoding="utf-8")
        found = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise UsageError(f"cannot read {path}: {reason}", remedy="check the path") from error
    except (tomllib.TOMLDecodeError, json.JSONDecodeError) as error:
        raise UsageError(f"{path}: {error}", remedy="write it as TOML, or as JSON in a file named .json") from error
    if not isinstance(found, dict):
        raise UsageError(
            f"{path} holds no parameters", remedy='write them as CacheNodeType = "cache.r7g.large", one a line'
        )
    return found
