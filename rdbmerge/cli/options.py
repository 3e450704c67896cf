"""Parameter types, and the options that several commands share; a value that cannot be is named with its option.

Turns text into values of the library; knows nothing of what a command does with them.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rdbmerge import units
from rdbmerge.errors import UsageError

if TYPE_CHECKING:
    from rdbmerge.plan.model import KeyPattern, Rules
    from rdbmerge.plan.sharding import Slots

if TYPE_CHECKING:
    _ParamType = click.ParamType[Any]
else:
    _ParamType = click.ParamType  # not generic in every version

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

TYPES = ("string", "list", "set", "zset", "hash", "stream", "module", "array")
POLICIES = ("fail", "first", "last", "longest-ttl")
UNSUPPORTED = ("fail", "skip", "strip")
EXISTING = click.Path(exists=False, path_type=Path)


class Parsed(_ParamType):
    """A parameter that `parse` makes of its text; what it refuses is told with the option's name."""

    def __init__(self, name: str, parse: Callable[[str], Any]) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The value; what is parsed already passes."""
        if not isinstance(value, str):
            return value
        try:
            return self._parse(value)
        except UsageError as error:
            raise UsageError(f"{param.opts[0] if param else self.name}: {error}", remedy=error.remedy) from None


def _parse_db_map(text: str) -> dict[int, int]:
    pairs: dict[int, int] = {}
    for part in text.split(","):
        source, colon, target = part.strip().partition(":")
        if not colon or source in {str(db) for db in pairs}:
            raise UsageError(f"{text!r} is not a map of dbs", remedy="write it as 1:0,2:5 (source db:db in the output)")
        pairs[_parse_db(source)] = _parse_db(target)
    return pairs


def _parse_db(text: str) -> int:
    if not (text.strip().isascii() and text.strip().isdigit() and len(text) <= 9):
        raise UsageError(f"{text!r} is not the number of a db", remedy="write dbs as 0,1,5")
    return int(text)


def _parse_types(text: str) -> list[str]:
    names = [name.strip().lower() for name in text.split(",")]
    for name in names:
        if name not in TYPES:
            raise UsageError(f"{name!r} is not a type", remedy=f"types are {', '.join(TYPES)}")
    return names


def _parse_key_pattern(text: str) -> KeyPattern:
    from rdbmerge.plan.selection import parse_pattern

    return parse_pattern(text)


def _target(text: str) -> str:
    """The full name of a target."""
    from rdbmerge.plan.profile import find_profile

    return find_profile(text).name


def _parse_slots(text: str) -> list[Slots]:
    from rdbmerge.plan.sharding import parse_slots

    return parse_slots(text)


def _parse_positive_seconds(text: str) -> float:
    return units.parse_duration_ms(text) / 1_000


DURATION = Parsed("duration", units.parse_duration_ms)
SECONDS = Parsed("duration", _parse_positive_seconds)
SIZE = Parsed("size", units.parse_size_bytes)
INSTANT = Parsed("time", units.parse_instant_ms)
DB_MAP = Parsed("map", _parse_db_map)
DBS = Parsed("dbs", lambda text: sorted({_parse_db(part) for part in text.split(",")}))
TYPE_NAMES = Parsed("types", _parse_types)
SLOTS = Parsed("slots", _parse_slots)
KEY_PATTERN = Parsed("pattern", _parse_key_pattern)

_RULES: tuple[tuple[str, Decorator], ...] = (
    (
        "ttl_offset_ms",
        click.option(
            "--ttl-offset", "ttl_offset_ms", type=DURATION, default=0, help="Added to every expiry: 3h, -15m, 1d12h."
        ),
    ),
    (
        "ttl_freeze_until_ms",
        click.option(
            "--ttl-freeze-until",
            "ttl_freeze_until_ms",
            type=INSTANT,
            metavar="TIME",
            help="Give each key, at TIME (2026-11-23T02:00:00Z), the life it had left at its snapshot.",
        ),
    ),
    (
        "snapshot_at_ms",
        click.option(
            "--snapshot-time",
            "snapshot_at_ms",
            type=INSTANT,
            metavar="TIME",
            help="When the snapshots were taken; else known from manifest, file, or file time.",
        ),
    ),
    (
        "on_conflict",
        click.option(
            "--on-conflict",
            type=click.Choice(POLICIES),
            default="fail",
            show_default=True,
            help="Which entry wins when two sources hold one key.",
        ),
    ),
    ("db_map", click.option("--db-map", type=DB_MAP, default=None, metavar="MAP", help="Move dbs: 1:0,2:5.")),
    ("dbs", click.option("--db", "dbs", type=DBS, default=None, metavar="DBS", help="Take only these dbs: 0,1.")),
    (
        "types",
        click.option(
            "--type", "types", type=TYPE_NAMES, default=None, metavar="TYPES", help="Take only these: string,hash."
        ),
    ),
    (
        "include_keys",
        click.option(
            "--include-key",
            "include_keys",
            type=KEY_PATTERN,
            multiple=True,
            help="Take only keys that match: glob:user:* or re:^user; may be repeated.",
        ),
    ),
    (
        "exclude_keys",
        click.option(
            "--exclude-key", "exclude_keys", type=KEY_PATTERN, multiple=True, help="Leave out keys that match."
        ),
    ),
    (
        "key_prefix",
        click.option("--key-prefix", default="", metavar="TEXT", help="Put before every key, after the filters."),
    ),
    (
        "target",
        click.option(
            "--target",
            type=Parsed("target", _target),
            metavar="NAME",
            help="What is to load the file (see `rdbmerge targets`): values are re-encoded for it where need be.",
        ),
    ),
    (
        "on_unsupported",
        click.option(
            "--on-unsupported",
            type=click.Choice(UNSUPPORTED),
            default="fail",
            show_default=True,
            help="What becomes of keys that the target cannot hold: skip them, or strip what it cannot hold of them.",
        ),
    ),
    (
        "drop_expired",
        click.option(
            "--drop-expired/--keep-expired",
            default=True,
            show_default=True,
            help="Whether to leave out keys that were dead when their snapshot was taken.",
        ),
    ),
)


def rules_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that declare a merge; the command gets them as one `rules`."""

    return _with_rules(command, live=False)


def live_rules_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The same for a command that asks a live server what it is, where no --target says so."""
    return _with_rules(command, live=True)


def _with_rules(command: Callable[..., Any], *, live: bool) -> Callable[..., Any]:
    @functools.wraps(command)
    def with_rules(**values: Any) -> Any:
        rules = _rules(live=live, **{name: values.pop(name) for name, _ in _RULES})
        return command(rules=rules, **values)

    return with_all(with_rules, [option for _, option in _RULES])


def _rules(*, live: bool, **values: Any) -> Rules:
    from rdbmerge.plan.model import Policy, Rules, Unsupported

    if not live and values["target"] is None and values["on_unsupported"] != UNSUPPORTED[0]:
        raise UsageError(
            f"--on-unsupported {values['on_unsupported']} is given without a --target",
            remedy="name what is to load the file with --target; `rdbmerge targets` lists all",
        )
    values["on_conflict"] = Policy(values["on_conflict"])
    values["on_unsupported"] = Unsupported(values["on_unsupported"])
    values["db_map"] = values["db_map"] or {}
    values["include_keys"], values["exclude_keys"] = list(values["include_keys"]), list(values["exclude_keys"])
    values["key_prefix"] = os.fsencode(values["key_prefix"])
    return Rules(**values)


def shards_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that share out the keys among shards; the command gets them as one `shards`, None without."""

    @functools.wraps(command)
    def with_shards(*, count: int | None, slots: list[Slots] | None, **values: Any) -> Any:
        from rdbmerge.plan.sharding import even_slots

        if count is not None and slots is not None:
            raise UsageError("--shards and --slots are both given", remedy="give one of them")
        return command(shards=slots if count is None else even_slots(count), **values)

    return with_all(
        with_shards,
        [
            click.option(
                "--shards",
                "count",
                type=click.IntRange(1),
                metavar="N",
                help="One file for each of N shards of a cluster.",
            ),
            click.option(
                "--slots",
                type=SLOTS,
                metavar="SLOTS",
                help="The same with the slots of each: 0-5460,5461-10922,10923-16383; 0-99+200-299 are of one shard.",
            ),
        ],
    )


def with_all(command: Callable[..., Any], options: list[Decorator]) -> Callable[..., Any]:
    """Decorate a command with options, to be listed in their order."""
    for option in reversed(options):
        command = option(command)
    return command


def default_jobs() -> int:
    """Threads for work on files: the processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


jobs_option = click.option(
    "--jobs", type=click.IntRange(1, 1024), default=None, metavar="N", help="Threads. [default: one a processor]"
)
report_option = click.option("--report", type=EXISTING, metavar="FILE", help="Write a report as JSON (0600).")
force_option = click.option("--force", is_flag=True, help="Replace files that exist.")
quiet_option = click.option("-q", "--quiet", is_flag=True, help="No progress; only results, warnings and errors.")


def writing_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of commands that write merged files."""
    return with_all(
        command,
        [
            click.option("--dry-run", is_flag=True, help="Show the plan and stop."),
            click.option(
                "--plan",
                "plan_file",
                type=EXISTING,
                metavar="FILE",
                help="Write the plan as JSON, for verify --against.",
            ),
            report_option,
            force_option,
            jobs_option,
            quiet_option,
        ],
    )
