"""What a merge of one bad file says, as text: the promise that fixtures/broken keeps."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from merging import planned

from rdbmerge.errors import RdbMergeError
from rdbmerge.steps.merge import write_merge


def told(path: Path) -> str:
    """Error, remedy and exit code of merging a copy of the file, or the warnings of a merge that went well."""
    with tempfile.TemporaryDirectory() as name:
        source, output = Path(shutil.copy(path, name)), Path(name) / "out" / "merged.rdb"
        output.parent.mkdir()
        try:
            with planned([source]) as merge:
                write_merge(merge, output, jobs=1)
                return "".join(f"Warning: {text}\n" for text in merge.plan.warnings) + "exit 0\n"
        except RdbMergeError as error:
            left = sorted(path.name for path in output.parent.iterdir())
            assert not left, f"{left} was left behind"
            remedy = f"Try:   {error.remedy}\n" if error.remedy else ""
            return f"Error: {error}\n{remedy}exit {error.exit_code}\n"


def text_beside(path: Path) -> Path:
    """Where the promise about a file stands."""
    return path.with_suffix(".warning.txt" if path.name.startswith("odd_") else ".error.txt")
