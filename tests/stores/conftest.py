"""Small parts and short pauses for all tests of stores."""

from __future__ import annotations

import pytest
import storing


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    storing.small_parts(monkeypatch)
