"""rdbmerge: many Redis and Valkey servers into one verified RDB.

As a library: `rdbmerge.open("dump.rdb")` iterates over the entries of a file.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rdbmerge.snapshot.reader import RdbFile

__version__ = "0.1.0"


def open(path: str | os.PathLike[str], *, check: bool = True) -> RdbFile:
    """An RDB file to iterate over: entries with `db`, `key`, `type`, `expire_at_ms` and `value()`.

    Args:
        check: compare the checksum at the end; ChecksumError tells of damage after the last entry.

    Raises:
        UsageError: the file cannot be read.
        FormatError: it is not an RDB, with its kinds.
    """
    from rdbmerge.snapshot.reader import RdbFile  # heavy, and the command line starts with this package

    return RdbFile(path, check=check)
