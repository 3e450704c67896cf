"""The command `targets`: what a merged file can be made for."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from rdbmerge.cli.output import say, show_table

if TYPE_CHECKING:
    from rdbmerge.plan.profile import TargetProfile

EPILOG = """\b
Example:
  rdbmerge targets
  rdbmerge targets --json | jq '.[] | select(.functions) | .name'
  rdbmerge merge snapshots/ -o merged.rdb --target elasticache-redis-7.1

Names with a patch version (redis-6.2.14), of a series (valkey-9.x: its oldest) and of a
reader of version N (rdb-9, rdb-80) are understood as well."""


@click.command(epilog=EPILOG, short_help="List what a merged file can be made for.")
@click.option("--json", "as_json", is_flag=True, help="As JSON, with the value types.")
def targets(*, as_json: bool) -> None:
    """List the names for --target, and what each loads."""
    from rdbmerge.plan.profile import PROFILES

    if as_json:
        say(json.dumps([_facts(profile) for profile in PROFILES.values()], indent=2))
        return
    yes_no = {True: "yes", False: "-"}
    show_table(
        ("Target", "RDB", "Streams", "Field TTLs", "Functions", "Modules", "Dbs", "Known by"),
        [
            (
                profile.name,
                profile.accepts,
                yes_no[profile.streams],
                yes_no[profile.field_expiries],
                yes_no[profile.functions],
                yes_no[profile.modules],
                "many" if profile.many_dbs else "one",
                "measured" if profile.measured else "inferred",
            )
            for profile in PROFILES.values()
        ],
    )
    say()
    say("Modules: their values are loaded where the module is. Measured: on a server of that version;")
    say("inferred: from what is published about the service or version.")


def _facts(profile: TargetProfile) -> dict[str, Any]:
    return {
        "name": profile.name,
        "line": profile.line,
        "redis_version": profile.redis_version,
        "valkey_version": profile.valkey_version,
        "types": sorted(profile.types),
        "streams": profile.streams,
        "field_expiries": profile.field_expiries,
        "functions": profile.functions,
        "modules": profile.modules,
        "many_dbs": profile.many_dbs,
        "measured": profile.measured,
    }
