"""An SSH server that others are reached through: how users write it, and the arguments that name it to `ssh`. Pure.

Hops before it, keys and ports are the business of the user's SSH configuration.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from rdbmerge.errors import UsageError

_USER = re.compile(r"[\w.+=%~-]+(?:@[\w.-]+)?")
_HOST = re.compile(r"[\w.-]{1,253}|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*(?:%[\w.-]+)?", re.ASCII)
_FORMS = "write it as host, user@host, user@host:port, or the name of a Host in your SSH configuration"


@dataclass(frozen=True, slots=True)
class Bastion:
    """Where the SSH connection goes: `destination` as the user wrote it, and the configuration that is to be read."""

    destination: str  # [user@]host[:port], or a Host of the configuration
    config: str | None = None  # None: the user's own and the system's

    def __post_init__(self) -> None:
        self.arguments()

    def arguments(self) -> list[str]:
        """What `ssh` is told, last. Raises UsageError for what is no destination (such as one that is an option)."""
        text = self.destination.removeprefix("ssh://").removesuffix("/")
        user, at, place = text.rpartition("@")
        host, port = _split(place)
        if (at and not (_USER.fullmatch(user) and not user.startswith("-"))) or not _HOST.fullmatch(host):
            # Not shown: user:password@host is what people write by mistake.
            raise UsageError("the destination for SSH is not one", remedy=_FORMS)
        if host.startswith("-") or (port and not (port.isdigit() and len(port) <= 5 and 1 <= int(port) <= 65535)):
            raise UsageError(f"{self.destination!r} is not a destination for SSH", remedy=_FORMS)
        config = ["-F", self.config] if self.config else []
        return [*config, *(["-p", port] if port else []), "--", f"{user}{at}{host}"]


def _split(place: str) -> tuple[str, str]:
    if place.startswith("["):
        host, bracket, tail = place[1:].partition("]")
        return (host, tail[1:] or "0") if bracket and tail[:1] == ":" else (host if bracket and not tail else "", "")
    if place.count(":") > 1:
        return place, ""
    host, colon, port = place.partition(":")
    return host, port or ("0" if colon else "")
