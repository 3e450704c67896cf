"""The command `merge`: RDB files and rules in, a plan shown, one RDB file (or one a shard) out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rdbmerge.cli.merging import merge_and_show
from rdbmerge.cli.options import EXISTING, rules_options, shards_options, writing_options
from rdbmerge.cli.store_options import output_options

if TYPE_CHECKING:
    from rdbmerge.plan.model import Rules
    from rdbmerge.plan.sharding import Slots

EPILOG = """\b
Example:
  rdbmerge merge snapshots/ -o merged.rdb --ttl-offset 3h --report merge.json
  rdbmerge merge a.rdb b.rdb -o merged.rdb --db-map 1:0 --on-conflict first
  rdbmerge merge snapshots/ -o merged.rdb --target elasticache-redis-7.1
  rdbmerge merge snapshots/ -o merged.rdb --shards 3
  rdbmerge merge snapshots/ -o s3://seeds/2026/merged.rdb --grant
  rdbmerge merge snapshots/ --dry-run

SOURCE is an RDB file, or a folder: its *.rdb files by name. Their order is that of
precedence. Expired means dead when its snapshot was taken: what was alive then stays,
whatever the clock says now. Conflicts are listed in OUTPUT.conflicts.jsonl, what the
target cannot hold in OUTPUT.rejected.jsonl. With --shards or --slots, -o merged.rdb
makes merged.0-5460.rdb, merged.5461-10922.rdb, ... An object is streamed with no local
copy, its manifest goes beside it, and the lists go into the working directory."""


@click.command(epilog=EPILOG)
@click.argument("sources", nargs=-1, required=True, type=EXISTING, metavar="SOURCE...")
@output_options
@rules_options
@shards_options
@writing_options
def merge(sources: tuple[Path, ...], rules: Rules, shards: list[Slots] | None, **how: Any) -> None:
    """Merge RDB files into one that holds every key once."""
    merge_and_show(sources, rules, shards, **how)
