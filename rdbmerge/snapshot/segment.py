"""One RDB file we hold, mapped and read-only; finds such files in what the user names.

Hands out walks over its records and puts its name to every error in them. Knows nothing of indexes or plans.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from rdbmerge.errors import FormatError, UsageError
from rdbmerge.format.columns import Columns
from rdbmerge.format.core import Templates
from rdbmerge.format.dialects import MAGIC_BYTES, Dialect, read_dialect
from rdbmerge.format.scan import Record, Walk, read_template

RDB_SUFFIX = ".rdb"


class Segment:
    """An RDB file, open for reading until `close`.

    `name` is what people see: unique among the segments of one command. `view` is the whole file. A file must not be
    changed in place while it is open; servers never do (they rename), and its size and time are checked again later.
    `templates` are the hash templates met so far: a whole walk or `learn_templates` finds them.
    """

    def __init__(self, path: Path, *, name: str | None = None) -> None:
        self.path = path
        self.name = name or path.name
        self.templates = Templates()
        try:
            with path.open("rb") as file:
                facts = os.fstat(file.fileno())
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if facts.st_size else None
        except OSError as error:
            raise UsageError(f"cannot read {path}: {error.strerror}", remedy=_remedy(error)) from error
        self.size_bytes = facts.st_size
        self.mtime_ns = facts.st_mtime_ns
        self.view = memoryview(self._map if self._map is not None else b"")
        try:
            with self.naming_errors():
                self.dialect: Dialect = read_dialect(bytes(self.view[:MAGIC_BYTES]))
        except FormatError:
            self.close()
            raise

    def __enter__(self) -> Segment:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Unmap the file. Views handed out keep the mapping alive until they are gone."""
        try:
            self.view.release()
            if self._map is not None:
                self._map.close()
        except BufferError:
            pass  # an array still looks at the mapping; it goes when that goes

    @contextmanager
    def naming_errors(self) -> Iterator[None]:
        """Put this file's name to every FormatError inside."""
        try:
            yield
        except FormatError as error:
            if error.file:
                raise
            raise error.in_file(self.name) from None

    def walk(self, *, columns: Columns | None = None, spare: Columns | None = None) -> Iterator[Columns | Record]:
        """All batches and records, from the magic to the end; see `format.scan.Walk`."""
        with self.naming_errors():
            yield from Walk(self.view, columns=columns, spare=spare, dialect=self.dialect, templates=self.templates)

    def learn_templates(self, offsets: Iterable[int]) -> None:
        """Take in the hash templates at these offsets, as a walk over the whole file would."""
        with self.naming_errors():
            for offset in offsets:
                template, _ = read_template(self.view, offset, len(self.view))
                self.templates.add(template.number, list(template.names))

    def walk_part(self, start: int, stop: int, db: int, *, columns: Columns | None = None) -> Iterator[Columns]:
        """The batches between two entry borders of one db; other records in between are passed over."""
        with self.naming_errors():
            for item in Walk(
                self.view, columns=columns, dialect=self.dialect, start=start, end=stop, db=db, templates=self.templates
            ):
                if isinstance(item, Columns):
                    yield item

    def check_unchanged(self) -> None:
        """Raise UsageError if the file on disk is not the one that was opened."""
        try:
            facts = self.path.stat()
        except OSError as error:
            raise UsageError(
                f"{self.path} went away while it was being read: {error.strerror}", remedy=_remedy(error)
            ) from error
        if (facts.st_size, facts.st_mtime_ns) != (self.size_bytes, self.mtime_ns):
            raise UsageError(f"{self.path} changed while it was being read", remedy="run the command again")


def _remedy(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "check the path"
    if isinstance(error, PermissionError):
        return "run as a user who may read it, or change its owner; snapshots are private (0600)"
    return "check the path and the disk"


def find_rdb_files(paths: Sequence[Path]) -> list[Path]:
    """The RDB files that `paths` mean, in the order given; a directory means its `*.rdb` files by name.

    Raises UsageError for a path that is not there, a directory without RDB files, or a file named twice.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(entry for entry in path.iterdir() if entry.suffix == RDB_SUFFIX and entry.is_file())
            if not inside:
                raise UsageError(f"{path} holds no .rdb files", remedy="name the folder that `rdbmerge pull` filled")
            found += inside
        elif path.exists():
            found.append(path)
        else:
            raise UsageError(f"{path} is not there", remedy="check the path")
    seen: dict[Path, Path] = {}
    for path in found:
        real = path.resolve()
        if real in seen:
            raise UsageError(f"{path} is named twice: its keys would all conflict", remedy="name each file once")
        seen[real] = path
    return found


@contextmanager
def open_segments(paths: Sequence[Path], names: Sequence[str] | None = None) -> Iterator[list[Segment]]:
    """Open several files under `names`, or under others that tell them apart; closes all."""
    names = _names(paths) if names is None else names
    segments: list[Segment] = []
    try:
        for path, name in zip(paths, names, strict=True):
            segments.append(Segment(path, name=name))
        yield segments
    finally:
        for segment in segments:
            segment.close()


def _names(paths: Sequence[Path]) -> list[str]:
    """File names where they differ, else the paths as given."""
    names = [path.name for path in paths]
    return names if len(set(names)) == len(names) else [str(path) for path in paths]
