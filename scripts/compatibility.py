"""Makes docs/compatibility.md: the matrix of tests/compatibility.py, worked out on the servers at hand."""

from __future__ import annotations

import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from compatibility import (
    DECODED,
    DOCUMENT,
    SERVER,
    VERSIONS,
    cell,
    columns,
    decoding_differs,
    document,
    files,
    refused,
    server_differs,
)

Cells = dict[tuple[str, str, str], str]


def pairs_of(task: tuple[str, int]) -> Cells:
    """All fixtures of a version for one column."""
    version, number = task
    column = columns()[number]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for server in column.servers:
            if server.path is not None:
                found = server_differs(version, column, server, Path(tempfile.mkdtemp(dir=folder)))
                assert not found, (version, column.names, server.name, found[:5])
        proof = SERVER if any(server.path is not None for server in column.servers) else DECODED
        cells: Cells = {}
        for path in files(version):
            found = decoding_differs(path, column, folder)
            assert not found, (version, path.name, column.names, found[:5])
            cells[version, path.stem, column.names[0]] = cell(proof, refused(path, column, folder))
    print(f"{version} for {column.names[0]}", flush=True)
    return cells


def main() -> None:
    tasks = [(version, number) for version in VERSIONS for number in range(len(columns()))]
    cells: Cells = {}
    with ProcessPoolExecutor(2) as pool:
        for found in pool.map(pairs_of, tasks):
            cells.update(found)
    DOCUMENT.parent.mkdir(exist_ok=True)
    DOCUMENT.write_text(document(cells), encoding="utf-8")
    print(f"{len(cells):,} pairs in {DOCUMENT.name}")


if __name__ == "__main__":
    main()
