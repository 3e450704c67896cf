"""The options that describe a cache to be made, and the one reader of its AUTH token: file, prompt or environment.

Turns text into the values of a request; makes no call.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rdbmerge.cli.options import EXISTING, SLOTS, Decorator, with_all
from rdbmerge.errors import UsageError

if TYPE_CHECKING:
    from rdbmerge.targets.request import SeedOptions

TOKEN_VARIABLE = "RDBMERGE_AUTH_TOKEN"  # noqa: S105 - its name

_OPTIONS: tuple[Decorator, ...] = (
    click.option("--replication-group-id", metavar="NAME", help="Make an ElastiCache replication group."),
    click.option("--serverless-cache-name", metavar="NAME", help="Make an ElastiCache Serverless cache."),
    click.option("--memorydb-cluster", metavar="NAME", help="Make a MemoryDB cluster."),
    click.option("--engine", type=click.Choice(("valkey", "redis")), help="What it runs."),
    click.option("--engine-version", metavar="V", help="Such as 8.1 of valkey, 7.1 of redis; of Serverless: 8."),
    click.option("--node-type", metavar="TYPE", help="Such as cache.r7g.large, or db.r7g.large of MemoryDB."),
    click.option("--shards", "count", type=click.IntRange(1, 500), metavar="N", help="Cluster mode, with N shards."),
    click.option("--slots", type=SLOTS, metavar="SLOTS", help="The same with the slots of each: 0-8191,8192-16383."),
    click.option("--replicas", type=click.IntRange(0, 5), metavar="N", help="Replicas of each shard. [default: none]"),
    click.option("--subnet-group", metavar="NAME", help="Where the nodes are."),
    click.option("--subnet-ids", metavar="ID,...", default="", help="The same for Serverless."),
    click.option("--security-group-ids", metavar="ID,...", default="", help="Who may connect."),
    click.option("--parameter-group", metavar="NAME", help="Else the default one of the engine."),
    click.option("--tls/--no-tls", default=None, help="Encryption in transit. [default: on]"),
    click.option("--auth", is_flag=True, help=f"Ask for an AUTH token. [else: {TOKEN_VARIABLE}, if set]"),
    click.option("--auth-token-file", type=EXISTING, metavar="FILE", help="Take the AUTH token from a file."),
    click.option("--acl", metavar="NAME", help="Access list of MemoryDB. [default: open-access]"),
    click.option("--kms-key-id", metavar="ID", help="Key for encryption at rest."),
    click.option("--tag", "tags", multiple=True, metavar="KEY=VALUE", help="A tag; may be given more than once."),
)


def cache_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options; the command gets them as one `wanted`."""

    @functools.wraps(command)
    def with_cache(**values: Any) -> Any:
        mine = {name: values.pop(name) for name in _NAMES}
        return command(wanted=_wanted(**mine), **values)

    return with_all(with_cache, list(_OPTIONS))


_NAMES = (
    "replication_group_id", "serverless_cache_name", "memorydb_cluster", "engine", "engine_version", "node_type",
    "count", "slots", "replicas", "subnet_group", "subnet_ids", "security_group_ids", "parameter_group", "tls", "auth",
    "auth_token_file", "acl", "kms_key_id", "tags",
)  # fmt: skip


def _wanted(
    *, replication_group_id: str | None, serverless_cache_name: str | None, memorydb_cluster: str | None,
    count: int | None, slots: Any, subnet_ids: str, security_group_ids: str, auth: bool, auth_token_file: Path | None,
    tags: tuple[str, ...], **others: Any,
) -> SeedOptions:  # fmt: skip
    from pydantic import SecretStr

    from rdbmerge.plan.sharding import even_slots
    from rdbmerge.targets.kinds import Kind
    from rdbmerge.targets.request import SeedOptions

    named = {
        Kind.REPLICATION_GROUP: replication_group_id,
        Kind.SERVERLESS: serverless_cache_name,
        Kind.MEMORYDB: memorydb_cluster,
    }
    given = [(kind, name) for kind, name in named.items() if name is not None]
    if len(given) != 1:
        what = "several kinds of caches are asked for" if given else "it is not said what is to be made"
        raise UsageError(
            what, remedy="give one of --replication-group-id, --serverless-cache-name and --memorydb-cluster"
        )
    if count is not None and slots is not None:
        raise UsageError("--shards and --slots are both given", remedy="give one of them")
    token = _token(auth, auth_token_file, given[0][0] is Kind.REPLICATION_GROUP)
    return SeedOptions(
        kind=given[0][0],
        name=given[0][1],
        shards=slots if count is None else even_slots(count),
        subnet_ids=_several(subnet_ids),
        security_group_ids=_several(security_group_ids),
        auth_token=None if token is None else SecretStr(token),
        tags=dict(_tag(text) for text in tags),
        **others,
    )


def _several(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _tag(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise UsageError(f"--tag: {text!r} is no tag", remedy="write it as team=billing")
    return key, value


def _token(ask: bool, file: Path | None, usual: bool) -> str | None:
    """`usual`: whether what is made takes a token at all, so that the environment's is meant for it."""
    if ask and file:
        raise UsageError("--auth and --auth-token-file are both given", remedy="give one of them")
    if ask:
        return str(click.prompt("AUTH token", hide_input=True, err=True))
    if file is None:
        return os.environ.get(TOKEN_VARIABLE) if usual else None
    try:
        return file.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise UsageError(f"cannot read {file}: {reason}", remedy="give a file that holds the token") from error
