from __future__ import annotations

import stat
from pathlib import Path

import pytest

from rdbmerge.cli.files import refuse_existing_files, write_json
from rdbmerge.errors import DiskError, UsageError


def test_what_exists_is_refused_unless_forced(tmp_path: Path) -> None:
    there, new = tmp_path / "there.json", tmp_path / "new.json"
    there.touch()
    refuse_existing_files(None, new, force=False)
    refuse_existing_files(there, new, force=True)
    with pytest.raises(UsageError, match=r"there\.json exists"):
        refuse_existing_files(new, there, force=False)


@pytest.mark.parametrize(
    ("name", "message"),
    [("", "is a folder"), ("no/x.json", "there is no folder"), ("-", "an output cannot go to standard output")],
)
def test_what_cannot_be_written_is_refused_though_forced(
    tmp_path: Path, name: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = Path(name) if name == "-" else tmp_path / name
    with pytest.raises(UsageError, match=message):
        refuse_existing_files(path, force=True)


def test_one_name_for_two_outputs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="two outputs have the same name"):
        refuse_existing_files(tmp_path / "a", tmp_path / "." / "a", force=False)


def test_json_is_private_and_whole(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", "{}")
    write_json(None, "{}")
    assert (tmp_path / "a.json").read_text() == "{}\n"
    assert stat.S_IMODE((tmp_path / "a.json").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
    with pytest.raises(DiskError, match="cannot write"):
        write_json(tmp_path / "none" / "a.json", "{}")
