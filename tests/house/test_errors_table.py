"""The table of errors: each has a docstring and an exit code that is its own, its parent's, or said to be shared."""

from __future__ import annotations

import inspect

import pytest

from rdbmerge import errors

pytestmark = pytest.mark.once

CLASSES = [
    item
    for _, item in inspect.getmembers(errors, inspect.isclass)
    if item.__module__ == errors.__name__ and issubclass(item, BaseException)
]
EXIT_CODES = {1, 2, 10, 11, 12, 13, 20, 21, 22, 30, 40, 50, 130}


@pytest.mark.parametrize("error", CLASSES, ids=lambda error: error.__name__)
def test_each_error_says_what_it_means_and_how_the_process_ends(error: type[errors.RdbMergeError]) -> None:
    assert issubclass(error, errors.RdbMergeError)
    assert "__doc__" in vars(error)
    assert (error.__doc__ or "").strip()
    assert error.exit_code in EXIT_CODES


@pytest.mark.parametrize("error", CLASSES, ids=lambda error: error.__name__)
def test_an_exit_code_is_shared_only_with_family_or_openly(error: type[errors.RdbMergeError]) -> None:
    strangers = [
        other
        for other in CLASSES
        if other.exit_code == error.exit_code and not issubclass(error, other) and not issubclass(other, error)
        and not ({*error.__mro__} & {*other.__mro__} & {c for c in CLASSES if c.exit_code == error.exit_code})
    ]  # fmt: skip
    assert not strangers or "Shares" in (error.__doc__ or ""), f"{error.__name__} and {strangers} end alike"
