"""What every test may ask for: the golden files, an S3 server, and which core is running (said in the header)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import objectstores
import pytest
from hypothesis import settings
from objectstores import ObjectStore

ROOT = Path(__file__).resolve().parent.parent

settings.register_profile("house", deadline=None)  # a busy machine is no failure
settings.load_profile("house")


def pytest_report_header() -> str:
    wished = {"RDBMERGE_PURE": "interpreted (RDBMERGE_PURE=1)", "RDBMERGE_REQUIRE_COMPILED": "compiled (required)"}
    return "core: " + next((text for name, text in wished.items() if os.environ.get(name) == "1"), "whatever is there")


def pytest_sessionstart() -> None:
    """A run that wants one core must not pass on the other: the two differed silently before."""
    if os.environ.get("RDBMERGE_PURE") == "1" or os.environ.get("RDBMERGE_REQUIRE_COMPILED") == "1":
        from rdbmerge.format import core

        if (os.environ.get("RDBMERGE_PURE") != "1") != core.COMPILED:
            raise pytest.UsageError("the core that was asked for is not the one that is loaded")


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def golden() -> Path:
    """fixtures/rdb: one folder a server version."""
    return ROOT / "fixtures" / "rdb"


@pytest.fixture(scope="session")
def object_store() -> Iterator[ObjectStore]:
    """A server that speaks S3 over HTTP."""
    if objectstores.program("ministack") is None:
        pytest.skip(f"ministack, a server that speaks S3, is not there: {objectstores.HOW_TO_GET}")
    with objectstores.running_ministack() as store:
        yield store


_numbers = count(1)


@pytest.fixture
def bucket(object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> str:
    """A new bucket in it, as AWS makes them (ACLs are off); boto3 is pointed to it by the environment."""
    for name, value in object_store.environment.items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    name = f"seeds-{os.getpid()}-{next(_numbers)}"
    object_store.client().create_bucket(Bucket=name)
    return name
