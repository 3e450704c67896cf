from __future__ import annotations

import stat
from pathlib import Path

import pytest

from rdbmerge.errors import UsageError
from rdbmerge.stores.base import ObjectUrl
from rdbmerge.stores.resume import Memory, UploadState, state_path
from rdbmerge.stores.sums import Algorithm

pytestmark = pytest.mark.once

URL = ObjectUrl("seeds", "a.rdb")
STATE = UploadState(
    url=str(URL), endpoint="https://s3", upload_id="id", part_bytes=5, algorithm=Algorithm.CRC32, whole=True,
    size_bytes=10, mtime_ns=1, begun_at_ms=2,
)  # fmt: skip


def test_an_upload_is_remembered_until_it_is_forgotten(tmp_path: Path) -> None:
    source = tmp_path / "a.rdb"
    with Memory(source, URL) as memory:
        assert memory.state is None
        memory.keep(STATE.model_copy(update={"upload_id": "much longer than the one that follows"}))
        memory.keep(STATE)
    assert stat.S_IMODE(state_path(source, URL).stat().st_mode) == 0o600
    with Memory(source, URL) as memory:
        assert memory.state == STATE
        memory.forget()
    assert list(tmp_path.iterdir()) == []


def test_each_place_has_its_own(tmp_path: Path) -> None:
    source = tmp_path / "a.rdb"
    with Memory(source, URL) as one, Memory(source, ObjectUrl("seeds", "b.rdb")) as other:
        one.keep(STATE)
        assert other.state is None


def test_one_process_at_a_time(tmp_path: Path) -> None:
    with Memory(tmp_path / "a.rdb", URL), pytest.raises(UsageError, match="another rdbmerge is uploading") as refused:
        Memory(tmp_path / "a.rdb", URL)
    assert refused.value.remedy


@pytest.mark.parametrize(
    "text", ["", "{", '{"state_format": 1}', STATE.model_dump_json().replace('"state_format":1', '"state_format":9')]
)
def test_what_cannot_be_read_is_no_memory(tmp_path: Path, text: str) -> None:
    state_path(tmp_path / "a.rdb", URL).write_text(text)
    with Memory(tmp_path / "a.rdb", URL) as memory:
        assert memory.state is None
        assert memory.problem == ""


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "theirs").write_text("theirs")
    state_path(tmp_path / "a.rdb", URL).symlink_to(tmp_path / "theirs")
    with Memory(tmp_path / "a.rdb", URL) as memory:
        assert memory.problem
        memory.keep(STATE)
    assert (tmp_path / "theirs").read_text() == "theirs"


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with Memory(tmp_path / "none" / "a.rdb", URL) as memory:
        assert "No such file" in memory.problem
        memory.keep(STATE)
        assert memory.state == STATE
