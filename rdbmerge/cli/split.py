"""The command `split`: one RDB file in, one for each shard of a cluster out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rdbmerge.cli.merging import merge_and_show
from rdbmerge.cli.options import EXISTING, rules_options, shards_options, writing_options
from rdbmerge.cli.store_options import output_options
from rdbmerge.errors import UsageError

if TYPE_CHECKING:
    from rdbmerge.plan.model import Rules
    from rdbmerge.plan.sharding import Slots

EPILOG = """\b
Example:
  rdbmerge split merged.rdb -o shard.rdb --shards 3
  rdbmerge split merged.rdb -o shard.rdb --slots 0-8191,8192-16383 --db-map 1:0

The files are called after their slots: shard.0-5460.rdb, shard.5461-10922.rdb, ... It is
a merge of one file, with the same rules; `verify` proves it in the same way."""


@click.command(epilog=EPILOG, short_help="Share out one RDB file among the shards of a cluster.")
@click.argument("source", type=EXISTING, metavar="FILE")
@output_options
@shards_options
@rules_options
@writing_options
def split(source: Path, rules: Rules, shards: list[Slots] | None, **how: Any) -> None:
    """Share out the keys of one RDB file among the shards of a cluster, by their slots."""
    if shards is None:
        raise UsageError("no shards are named", remedy="give --shards 3, or their --slots")
    merge_and_show([source], rules, shards, **how)
