"""What is said of one bad file, as text: the promise that fixtures/broken keeps."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from merging import planned

import rdbmerge
from rdbmerge.errors import RdbMergeError
from rdbmerge.steps.merge import write_merge

UNFIT_TARGET = "redis-6.2"


def told(path: Path) -> str:
    """Error, remedy and exit code of merging a copy of the file, or the warnings of a merge that went well.

    A file named inside_* is damaged where a merge does not look: its values are decoded instead. One named unfit_* is
    sound, but holds what an older target cannot: it is merged for UNFIT_TARGET.
    """
    if path.name.startswith("inside_"):
        return _decoding(path)
    return _merging(path, UNFIT_TARGET if path.name.startswith("unfit_") else None)


def _decoding(path: Path) -> str:
    try:
        with rdbmerge.open(path) as file:
            for entry in file:
                entry.value()
    except RdbMergeError as error:
        return _failure(error)
    return "exit 0\n"


def _merging(path: Path, target: str | None) -> str:
    with tempfile.TemporaryDirectory() as name:
        source, output = Path(shutil.copy(path, name)), Path(name) / "out" / "merged.rdb"
        output.parent.mkdir()
        try:
            with planned([source], target=target) as merge:
                write_merge(merge, output, jobs=1)
                return "".join(f"Warning: {text}\n" for text in merge.plan.warnings) + "exit 0\n"
        except RdbMergeError as error:
            left = sorted(path.name for path in output.parent.iterdir())
            assert not left, f"{left} was left behind"
            return _failure(error)


def _failure(error: RdbMergeError) -> str:
    remedy = f"Try:   {error.remedy}\n" if error.remedy else ""
    return f"Error: {error}\n{remedy}exit {error.exit_code}\n"


def text_beside(path: Path) -> Path:
    """Where the promise about a file stands."""
    return path.with_suffix(".warning.txt" if path.name.startswith("odd_") else ".error.txt")
