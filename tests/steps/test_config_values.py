"""The kinds of values in a run file, and what is said of those that are none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from rdbmerge.errors import UsageError
from rdbmerge.steps.config_values import DbMap, DurationMs, InstantMs, LocalPath, Secret, ServerKeys, SizeBytes, Target

pytestmark = pytest.mark.once


def value(kind: Any, text: object) -> Any:
    return TypeAdapter(kind).validate_python(text, context={"folder": Path("/f")})


def test_values_are_those_of_the_command_line() -> None:
    assert (value(DurationMs, "-15m"), value(SizeBytes, "1k"), value(Target, "redis-6.2.14")) == (
        -900_000,
        1024,
        "redis-6.2",
    )
    assert value(InstantMs, "1795400000") == 1_795_400_000_000
    assert value(DbMap, "1:0, 2:5") == value(DbMap, {"1": 0, 2: 5}) == {1: 0, 2: 5}
    assert (value(LocalPath, "a/b"), value(LocalPath, "/a")) == (Path("/f/a/b"), Path("/a"))


@pytest.mark.parametrize(
    ("kind", "text"),
    [(DurationMs, "3x"), (DurationMs, 3), (DbMap, "1:0,1:2"), (DbMap, {"a": 1}), (DbMap, 3), (Target, "x")],
)
def test_others_are_refused(kind: Any, text: object) -> None:
    with pytest.raises(ValidationError):
        value(kind, text)


def test_a_secret_is_not_shown() -> None:
    assert "hunter2" not in repr(value(Secret, "hunter2"))


def test_a_server_has_its_password_from_one_place(tmp_path: Path) -> None:
    (tmp_path / "pw").write_text("from file\n")
    assert ServerKeys().options() == {"tls_verify": True}
    given = {"password_file": "pw", "user": "u", "tls_insecure": True, "sentinel_password": "s"}
    options = ServerKeys.model_validate(given, context={"folder": tmp_path}).options()
    assert options == {"password": "from file", "username": "u", "tls_verify": False, "sentinel_password": "s"}
    both = ServerKeys.model_validate({**given, "password": "p"}, context={"folder": tmp_path})
    with pytest.raises(UsageError, match="both given"):
        both.options()
