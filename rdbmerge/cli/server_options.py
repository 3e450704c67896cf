"""The options that say how a server is reached, whatever is done with it: credentials, TLS, SSH.

The one reader of passwords: from a file, a prompt or RDBMERGE_PASSWORD; they go into `Server` and nowhere else.
"""

from __future__ import annotations

import functools
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rdbmerge.cli.options import EXISTING, Decorator, with_all
from rdbmerge.errors import UsageError

if TYPE_CHECKING:
    from rdbmerge.reach.server import Server, ServerOptions
    from rdbmerge.reach.tunnels import Tunnels

PASSWORD_VARIABLE = "RDBMERGE_PASSWORD"  # noqa: S105 - its name
SENTINEL_VARIABLE = "RDBMERGE_SENTINEL_PASSWORD"

_SERVER: tuple[tuple[str, Decorator], ...] = (
    (
        "password",
        click.option("--password", is_flag=True, help=f"Ask for the password. [else: {PASSWORD_VARIABLE}, if set]"),
    ),
    (
        "password_file",
        click.option("--password-file", type=EXISTING, metavar="FILE", help="Take the password from a file."),
    ),
    ("user", click.option("--user", metavar="NAME", help="ACL user (Redis 6.0 and later).")),
    ("tls_ca", click.option("--tls-ca", metavar="FILE", help="Authority that a rediss:// server must show (PEM).")),
    ("tls_cert", click.option("--tls-cert", metavar="FILE", help="Our certificate (PEM).")),
    ("tls_key", click.option("--tls-key", metavar="FILE", help="Its key, without passphrase (PEM).")),
    ("tls_sni", click.option("--tls-sni", metavar="NAME", help="The name in the server's certificate.")),
    ("tls_insecure", click.option("--tls-insecure", is_flag=True, help="Do not check the server's certificate.")),
    (
        "sentinel_user",
        click.option("--sentinel-user", metavar="NAME", help="ACL user of the sentinels of redis-sentinel://..."),
    ),
    (
        "sentinel_password_file",
        click.option(
            "--sentinel-password-file",
            type=EXISTING,
            metavar="FILE",
            help=f"Take the sentinels' password from a file. [else: {SENTINEL_VARIABLE}, if set]",
        ),
    ),
    (
        "ssh",
        click.option(
            "--ssh",
            metavar="[USER@]HOST[:PORT]",
            help="Go through this SSH server (or Host of your SSH configuration, which may name further hops).",
        ),
    ),
    ("ssh_config", click.option("--ssh-config", metavar="FILE", help="SSH configuration to use instead of yours.")),
)


def server_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options; the command gets one `server`, for `Server.parse(address, **server)`, instead of them."""

    @functools.wraps(command)
    def with_options(**values: Any) -> Any:
        options = _server_options(**{name: values.pop(name) for name, _ in _SERVER})
        return command(server=options, **values)

    return with_all(with_options, [option for _, option in _SERVER])


def _server_options(*, password: bool, password_file: Path | None, user: str | None, **values: Any) -> ServerOptions:
    options: ServerOptions = {}
    of_sentinels = read_password(ask=False, file=values.pop("sentinel_password_file"), variable=SENTINEL_VARIABLE)
    if of_sentinels is not None:
        options["sentinel_password"] = of_sentinels
    values["sentinel_username"] = values.pop("sentinel_user")
    secret = read_password(ask=password, file=password_file)
    if secret is not None:
        options["password"] = secret
    if user is not None:
        options["username"] = user
    if values.pop("tls_insecure"):
        options["tls_verify"] = False
    options.update({name: value for name, value in values.items() if value is not None})  # type: ignore[typeddict-item]
    return options


def read_password(
    *, ask: bool, file: Path | None, variable: str = PASSWORD_VARIABLE, prompt: str = "Password"
) -> str | None:
    """The password: asked for, or in a file, or in the environment; None without any. Raises UsageError."""
    if ask and file:
        raise UsageError("--password and --password-file are both given", remedy="give one of them")
    if ask:
        return str(click.prompt(prompt, hide_input=True, err=True))
    if file is None:
        return os.environ.get(variable)
    try:
        return file.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise UsageError(f"cannot read {file}: {reason}", remedy="give a file that holds the password") from error


@contextmanager
def tunnels_for(servers: Sequence[Server], *, connect_timeout_s: float, stop: threading.Event) -> Iterator[Tunnels]:
    """Tunnels for the block. On a terminal ssh may ask for passwords at once, before anything else is shown there."""
    from rdbmerge.reach.tunnels import Tunnels

    with Tunnels(connect_timeout_s=connect_timeout_s) as tunnels:
        if sys.stdin.isatty() and sys.stderr.isatty():
            tunnels.log_in(servers, stop=stop)
        yield tunnels
