"""What an error of a server means for one that restores: whose fault it is, and what to do. Pure.

Words of rdb-format.md 10 and replication.md 11; what is not known here is a refusal of that one key.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto


class Kind(Enum):
    """What to do about an error."""

    HELD = auto()  # the key is there already
    MOVED = auto()  # its slot is another server's
    ASK = auto()  # its slot is on its way to another server, which is to be asked this once
    AGAIN = auto()  # its slot is on its way: at once again
    WAIT = auto()  # the server cannot now, and may soon
    STOP = auto()  # the server will not, whatever the key
    REFUSED = auto()  # this key


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error, understood. `host` and `port` are where MOVED and ASK point; "" for the server that was asked."""

    kind: Kind
    words: str
    host: str = ""
    port: int = 0


_KINDS = {
    "BUSYKEY": Kind.HELD,
    "TRYAGAIN": Kind.AGAIN,
    "LOADING": Kind.WAIT,
    "OOM": Kind.WAIT,
    "READONLY": Kind.WAIT,
    "BUSY": Kind.WAIT,
    "CLUSTERDOWN": Kind.WAIT,
    "MASTERDOWN": Kind.WAIT,
    "MISCONF": Kind.WAIT,
    "NOREPLICAS": Kind.WAIT,
    "NOAUTH": Kind.STOP,
    "NOPERM": Kind.STOP,
    "WRONGPASS": Kind.STOP,
    "UNBLOCKED": Kind.WAIT,
}
_SENTENCES = (
    ("ERR Target key name is busy", Kind.HELD),  # 2.6 and 2.8
    ("ERR unknown command", Kind.STOP),
    ("ERR operation not permitted", Kind.STOP),  # no AUTH, before 6.0
    ("ERR Protocol error", Kind.STOP),
)
REMEDIES = {
    "OOM": "give the target more memory, or free some",
    "READONLY": "name the primary: this server is a replica that takes no writes",
    "LOADING": "wait until the target has loaded its data",
    "BUSY": "a script blocks the target: wait, or end it with SCRIPT KILL",
    "CLUSTERDOWN": "see to the cluster with `redis-cli --cluster check`",
    "MASTERDOWN": "name the primary, or wait for the link to it",
    "MISCONF": "the target cannot save to its disk and refuses writes: see to it",
    "NOREPLICAS": "the target wants more replicas before it takes writes: see to them",
    "NOAUTH": "give the password with --password-file, RDBMERGE_PASSWORD or --password",
    "NOPERM": "give the ACL user +restore and what else it lacks; see `rdbmerge restore --help`",
}


def read_refusal(words: str) -> Refusal:
    """What the words of an error mean."""
    code, _, rest = words.partition(" ")
    if code in ("MOVED", "ASK"):
        place = rest.split(" ")[-1]
        host, _, port = place.rpartition(":")
        if port.isascii() and port.isdigit() and len(port) <= 5:
            return Refusal(Kind.MOVED if code == "MOVED" else Kind.ASK, words, host, int(port))
        return Refusal(Kind.AGAIN, words)
    kind = _KINDS.get(code)
    if kind is None:
        kind = next((kind for start, kind in _SENTENCES if words.startswith(start)), Kind.REFUSED)
    return Refusal(kind, words)


def remedy_of(words: str) -> str:
    """What to do about an error that concerns the whole server; "" where nothing is known."""
    return REMEDIES.get(words.partition(" ")[0], "")
