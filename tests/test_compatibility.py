"""Every fixture for every target: proved again, and docs/compatibility.md says so."""

from __future__ import annotations

from pathlib import Path

import pytest
from compatibility import (
    DECODED,
    SERVER,
    VERSIONS,
    Column,
    cell,
    columns,
    decoding_differs,
    files,
    read_document,
    refused,
    server_differs,
)
from realservers import ServerBinary, need

pytestmark = [pytest.mark.once, pytest.mark.slow]

CELLS = read_document()
PROVED = [(column, server) for column in columns() for server in column.servers]


def test_the_document_lists_every_fixture_for_every_target() -> None:
    fixtures = [(version, path.stem) for version in VERSIONS for path in files(version)]
    assert set(CELLS) == {(*fixture, column.names[0]) for fixture in fixtures for column in columns()}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("column", columns(), ids=lambda column: column.names[0])
def test_what_is_refused_is_what_the_document_says(version: str, column: Column, tmp_path: Path) -> None:
    proof = SERVER if column.servers else DECODED
    for path in files(version):
        assert CELLS[version, path.stem, column.names[0]] == cell(proof, refused(path, column, tmp_path)), path.stem


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    "column", [column for column in columns() if not column.servers], ids=lambda column: column.names[0]
)
def test_what_no_server_at_hand_can_prove_is_proved_by_decoding(version: str, column: Column, tmp_path: Path) -> None:
    for path in files(version):
        assert decoding_differs(path, column, tmp_path) == [], path.stem


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("column", "server"), PROVED, ids=lambda one: getattr(one, "name", ""))
def test_a_server_of_the_target_holds_what_the_truths_say(
    version: str, column: Column, server: ServerBinary, tmp_path: Path
) -> None:
    need(server.name)
    assert server_differs(version, column, server, tmp_path) == []
