"""Where a snapshot comes from: a server, and the names of the commands of replication that it may have renamed.

Refuses to know how a connection is made, and reads neither files nor the environment.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rdbmerge.errors import SourceError, TargetError, UsageError
from rdbmerge.reach.server import Server, ServerOptions


class SourceOptions(ServerOptions, total=False):
    """What `Source.parse` takes besides the address; what the address says itself comes first."""

    sync_command: str
    psync_command: str
    replconf_command: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Source(Server):
    """One server that a snapshot is pulled from. Raises UsageError for what cannot be."""

    noun: ClassVar[str] = "source"
    failure: ClassVar[type[SourceError | TargetError]] = SourceError

    sync_command: str = "SYNC"  # the three names that `rename-command` may have changed
    psync_command: str = "PSYNC"
    replconf_command: str = "REPLCONF"

    def __post_init__(self) -> None:
        Server.__post_init__(self)  # super() does not work with slots
        for command in (self.sync_command, self.psync_command, self.replconf_command):
            if not command or not command.isprintable() or " " in command:
                raise UsageError(f"{command!r} cannot be the name of a command", remedy="give the name as renamed")
