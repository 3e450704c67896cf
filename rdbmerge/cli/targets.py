"""The command `targets`: what a merged file can be made for."""

from __future__ import annotations

import click

from rdbmerge.cli.output import say, show_table

EPILOG = """\b
Example:
  rdbmerge targets
  rdbmerge merge snapshots/ -o merged.rdb --target elasticache-redis-7.1

Names with a patch version (redis-6.2.14), of a series (valkey-9.x: its oldest) and of a
reader of version N (rdb-9, rdb-80) are understood as well."""


@click.command(epilog=EPILOG, short_help="List what a merged file can be made for.")
def targets() -> None:
    """List the names for --target, and what each loads."""
    from rdbmerge.plan.profile import PROFILES

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
