"""The command line: the group of commands, and the one place where a failure becomes text and an exit status.

Heavy packages are imported where they are used, so that --help is quick.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from typing import Any, NoReturn

import click

from rdbmerge import __version__
from rdbmerge.cli.check import check
from rdbmerge.cli.init import init
from rdbmerge.cli.inspect import inspect
from rdbmerge.cli.merge import merge
from rdbmerge.cli.pull import pull
from rdbmerge.cli.restore import restore
from rdbmerge.cli.run import run
from rdbmerge.cli.seed_elasticache import seed_elasticache
from rdbmerge.cli.split import split
from rdbmerge.cli.targets import targets
from rdbmerge.cli.upload_s3 import upload_s3
from rdbmerge.cli.verify import verify
from rdbmerge.errors import RdbMergeError, StoppedError, UsageError

EXAMPLE = """\b
Example:
  rdbmerge pull redis://10.0.0.1:6379 redis://10.0.0.2:6379 --dir snapshots/
  rdbmerge inspect snapshots/
  rdbmerge merge snapshots/ -o merged.rdb --ttl-offset 3h --report merge.json
  rdbmerge verify merged.rdb --against snapshots/ --ttl-offset 3h

\b
Exit codes: 0 done, 1 unexpected, 2 usage, 10-13 bad input file (10 format, 11 truncated,
12 checksum, 13 unsupported), 20 conflict, 21 ledger, 22 verification found differences,
30 source, 40 store, 50 target, 130 interrupted."""


class _Group(click.Group):
    """Runs a command and ends the process: with its status, or with the message of what went wrong."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)  # in the order of their use

    def invoke(self, ctx: click.Context) -> Any:
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:
            # The reader has gone: `rdbmerge inspect ... | head`. Not even Python's own flush at exit may complain.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        return result

    def main(self, args: Sequence[str] | None = None, prog_name: str | None = None, **extra: Any) -> NoReturn:  # type: ignore[override]
        extra["standalone_mode"] = False
        try:
            code = super().main(args=args, prog_name=prog_name, **extra)
        except (KeyboardInterrupt, click.Abort):
            code = _show(StoppedError("interrupted; nothing unfinished was left behind"))
        except click.ClickException as error:
            code = _show_usage(error)
        except RdbMergeError as error:
            code = _show(error)
        except Exception as error:  # noqa: BLE001 - the last resort, and the only one
            code = _show_defect(error)
        sys.exit(code if isinstance(code, int) else 0)


def _show_usage(error: click.ClickException) -> int:
    """Click's own refusals in our words; a command without arguments shows its help."""
    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError" and context:
        click.echo(context.get_help(), err=True)
        return UsageError.exit_code
    remedy = f"{context.command_path} --help" if context else ""
    message = error.format_message()
    if isinstance(error, click.NoSuchOption) and error.possibilities:
        message, remedy = error.message, f"{' or '.join(sorted(error.possibilities))}; all options: {remedy}"
    message = message.rstrip(".")
    return _show(UsageError(message[:1].lower() + message[1:], remedy=remedy))


def _show(error: RdbMergeError) -> int:
    click.echo(f"Error: {error}", err=True)
    if error.remedy:
        click.echo(f"Try:   {error.remedy}", err=True)
    if _debug():
        traceback.print_exc()
    return error.exit_code


def _show_defect(error: Exception) -> int:
    click.echo(f"Error: unexpected {type(error).__name__}: {error}", err=True)
    if _debug():
        traceback.print_exc()
    else:
        click.echo("Try:   report this with the traceback that RDBMERGE_DEBUG=1 (or --debug) shows", err=True)
    return RdbMergeError.exit_code


def _debug() -> bool:
    return os.environ.get("RDBMERGE_DEBUG") == "1"


def _set_debug(_context: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if value:
        os.environ["RDBMERGE_DEBUG"] = "1"


def _print_version(context: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if not value or context.resilient_parsing:
        return
    from rdbmerge.format import core

    python = ".".join(str(number) for number in sys.version_info[:3])
    click.echo(f"rdbmerge {__version__} ({'compiled' if core.COMPILED else 'interpreted'} core, Python {python})")
    context.exit()


@click.group("rdbmerge", cls=_Group, context_settings={"help_option_names": ["-h", "--help"]}, epilog=EXAMPLE)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Show the version and which core is loaded, and stop.",
)
@click.option(
    "--debug", is_flag=True, is_eager=True, expose_value=False, callback=_set_debug, help="Show tracebacks of failures."
)
def main() -> None:
    """Many Redis and Valkey servers into one RDB file whose correctness is proved."""


for _command in (init, check, pull, inspect, merge, split, verify, upload_s3, seed_elasticache, restore, targets, run):
    main.add_command(_command)
