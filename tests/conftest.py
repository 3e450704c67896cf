"""What every test may ask for: the golden files, and which core is running (said in the header)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

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
