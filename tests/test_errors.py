"""Errors carry place, finding, remedy and exit code. That each class has a code is in house/test_errors_table.py."""

from __future__ import annotations

import pickle

import pytest

from rdbmerge import errors
from rdbmerge.errors import (
    ChecksumError,
    FormatError,
    RdbMergeError,
    SourceError,
    StoreError,
    TruncatedError,
    UnsupportedError,
)


def test_a_failure_has_a_message_and_what_to_do() -> None:
    error = RdbMergeError("what happened", remedy="what to do")
    assert (str(error), error.remedy, error.exit_code) == ("what happened", "what to do", 1)
    assert RdbMergeError("x").remedy == ""


@pytest.mark.parametrize(
    ("kind", "code"), [(FormatError, 10), (TruncatedError, 11), (ChecksumError, 12), (UnsupportedError, 13)]
)
def test_an_error_in_a_file_gets_its_name_on_the_way_up(kind: type[FormatError], code: int) -> None:
    error = kind("4,096 bytes expected, 1,311 remain", offset=73_400_318, remedy="pull it again")
    assert str(error) == "at byte 73,400,318: 4,096 bytes expected, 1,311 remain"
    named = error.in_file("orders.rdb")
    assert type(named) is kind
    assert str(named) == "orders.rdb at byte 73,400,318: 4,096 bytes expected, 1,311 remain"
    assert (named.offset, named.remedy, named.file, named.exit_code) == (
        73_400_318,
        "pull it again",
        "orders.rdb",
        code,
    )


def test_whether_waiting_may_help_is_told() -> None:
    assert SourceError("x", retryable=True).retryable
    assert not SourceError("x").retryable
    assert StoreError("x", retryable=True).retryable
    assert not StoreError("x").retryable


def test_the_table_of_exit_codes() -> None:
    table = {
        "RdbMergeError": 1, "UsageError": 2, "DiskError": 2, "FormatError": 10, "TruncatedError": 11,
        "ChecksumError": 12, "UnsupportedError": 13, "UnfitError": 13, "ConflictError": 20, "LedgerError": 21,
        "VerifyError": 22, "SourceError": 30, "HandshakeError": 30, "TransferCutError": 30, "StoreError": 40,
        "TargetError": 50, "WitnessError": 50, "StoppedError": 130,
    }  # fmt: skip
    kinds = {
        name: kind for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, Exception)
    }
    assert {name: kind.exit_code for name, kind in kinds.items()} == table


def test_an_error_can_be_shown_wherever_it_was_raised() -> None:
    """Threads hand errors on as they are; nothing of them is lost when they are copied."""
    error = RdbMergeError("x", remedy="y")
    assert str(pickle.loads(pickle.dumps(error))) == "x"  # noqa: S301
