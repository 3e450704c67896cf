"""The files a command writes for its user besides its result: refused before the work if they exist, 0600 after it."""

from __future__ import annotations

from pathlib import Path

from rdbmerge.errors import DiskError, UsageError


def refuse_existing_files(*paths: Path | None, force: bool) -> None:
    """Raise UsageError for a file that exists (unless `force`), or whose folder is not there; before any work."""
    named = [path for path in paths if path is not None]
    for path in named:
        if path == Path("-"):
            raise UsageError("an output cannot go to standard output", remedy="give the name of a file")
        if path.is_dir():
            raise UsageError(f"{path} is a folder", remedy="give the name of a file")
        if path.exists() and not force:
            raise UsageError(f"{path} exists", remedy="choose another name, or replace it with --force")
        if not path.parent.is_dir():
            raise UsageError(f"cannot write {path}: there is no folder {path.parent}", remedy="make the folder first")
    if len({path.resolve() for path in named}) < len(named):
        raise UsageError("two outputs have the same name", remedy="give each its own")


def write_json(path: Path | None, json: str) -> None:
    """Write it, 0600, atomically; nothing for None. Raises DiskError."""
    from rdbmerge.snapshot.manifest import write_private

    if path is None:
        return
    try:
        write_private(path, json + "\n")
    except OSError as error:
        raise DiskError(f"cannot write {path}: {error.strerror}", remedy="choose another place for it") from error
