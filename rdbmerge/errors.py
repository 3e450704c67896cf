"""Every way rdbmerge can fail, with the status the process ends with and what the user can do.

Whose fault is the first split: the caller (2), the file (10-13), the content (20-22), the far side (30-50), us (1).
Knows nothing of how a failure is shown; `cli` prints message and remedy.
"""

from __future__ import annotations


class RdbMergeError(Exception):
    """A failure the user can act on.

    `exit_code` is the status the process ends with; `remedy` says what to do next ("" when there is nothing to say).
    """

    exit_code = 1

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(message)
        self.remedy = remedy


class UsageError(RdbMergeError):
    """What was asked for cannot be done as it was asked: arguments, paths, an output that exists."""

    exit_code = 2


class DiskError(UsageError):
    """The local disk refused: full, no permission, not a directory. Shares 2: the caller chose the place."""


class FormatError(RdbMergeError):
    """The bytes at `offset` (from the start of the file) are not a valid RDB.

    `file` is a name for people; the reader of bytes does not know it, `in_file` adds it on the way up.
    """

    exit_code = 10

    def __init__(self, finding: str, *, offset: int, remedy: str = "", file: str = "") -> None:
        place = f"{file} at byte {offset:,}" if file else f"at byte {offset:,}"
        super().__init__(f"{place}: {finding}", remedy=remedy)
        self.finding = finding
        self.offset = offset
        self.file = file

    def in_file(self, file: str) -> FormatError:
        """The same failure with the name of the file it was found in."""
        return type(self)(self.finding, offset=self.offset, remedy=self.remedy, file=file)


class TruncatedError(FormatError):
    """The file ends inside a record: incomplete, not damaged."""

    exit_code = 11


class ChecksumError(FormatError):
    """The CRC-64 at the end does not match the bytes before it: damaged in transit or on disk."""

    exit_code = 12


class UnsupportedError(FormatError):
    """A valid file that holds something this program does not know: a version, a value type, an opcode.

    Shares 13 with UnfitError: there it is the target that does not know it.
    """

    exit_code = 13


class UnfitError(RdbMergeError):
    """The sources hold what the target cannot load, and the policy is to fail. Shares 13: the files are sound."""

    exit_code = 13


class ConflictError(RdbMergeError):
    """Two sources hold one key (or one function library) and the policy is to fail."""

    exit_code = 20


class LedgerError(RdbMergeError):
    """read = written + all that was left out, by reason, did not hold. A defect of rdbmerge, never of the data."""

    exit_code = 21


class VerifyError(RdbMergeError):
    """Verification found differences; the report names them."""

    exit_code = 22


class SourceError(RdbMergeError):
    """A source could not be pulled. `retryable` says that waiting may help (loading, link to its primary down)."""

    exit_code = 30

    def __init__(self, message: str, *, remedy: str = "", retryable: bool = False) -> None:
        super().__init__(message, remedy=remedy)
        self.retryable = retryable


class HandshakeError(SourceError):
    """The source refused or did not understand the replication handshake."""


class TransferCutError(SourceError):
    """The connection ended, stalled or talked nonsense before the snapshot was whole."""


class StoreError(RdbMergeError):
    """An object store refused or could not be reached.

    `retryable` says that the same call may work later; `code` is the store's own word for it ("" where it gave none);
    `region` is where the store sent us instead ("" where it did not).
    """

    exit_code = 40

    def __init__(
        self, message: str, *, remedy: str = "", retryable: bool = False, code: str = "", region: str = ""
    ) -> None:
        super().__init__(message, remedy=remedy)
        self.retryable = retryable
        self.code = code
        self.region = region


class TargetError(RdbMergeError):
    """What is to receive the data (a server, a managed cache) refused it, failed, or could not be reached.

    `retryable` says that the same call may work later; `code` is the target's own word for it ("" where it gave none).
    Shares 50 with WitnessError: there too a server failed.
    """

    exit_code = 50

    def __init__(self, message: str, *, remedy: str = "", retryable: bool = False, code: str = "") -> None:
        super().__init__(message, remedy=remedy)
        self.retryable = retryable
        self.code = code


class WitnessError(RdbMergeError):
    """An outside witness (a scratch server, rdbtools) could not be asked. Shares 50: it is a server that fails."""

    exit_code = 50


class StoppedError(RdbMergeError):
    """The user interrupted; nothing was left under a final name."""

    exit_code = 130
