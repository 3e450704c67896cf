"""What a run file gives to look at."""

from __future__ import annotations

from pathlib import Path

import pytest
from steps.runs import write_run_file

from rdbmerge.plan.profile import find_profile
from rdbmerge.steps.check_file import look_of_file
from rdbmerge.steps.run_file import read_run_file

pytestmark = pytest.mark.once


def test_all_that_the_run_would_use(tmp_path: Path) -> None:
    text = (
        '[[source]]\nname = "a"\naddress = "h"\nvia = "scan"\ndb_map = "1:0"\n[[source]]\nfile = "b.rdb"\n'
        '[merge]\ntarget = "redis-7.0"\noutput = "out/m.rdb"\n'
    )
    file = read_run_file(write_run_file(tmp_path, text), {})
    look = look_of_file(file)
    assert [(one.name, one.server is None, one.via) for one in look.sources] == [
        ("a", False, "scan"), ("b", True, "replication"),
    ]  # fmt: skip
    assert look.sources[1].file == tmp_path / "b.rdb"
    assert look.rules == file.rules()
    assert (look.snapshots, look.output) == (tmp_path / "work" / "snapshots", tmp_path / "out" / "m.rdb")
    assert look.profile == find_profile("redis-7.0")
    assert (look.target, look.bucket) == (None, None)


def test_the_bucket_of_an_upload_is_asked(tmp_path: Path, bucket: str) -> None:
    text = f'[[source]]\nfile = "a.rdb"\n[upload]\nurl = "s3://{bucket}/m.rdb"\n'
    look = look_of_file(read_run_file(write_run_file(tmp_path, text), {}))
    assert look.bucket is not None
    assert any(bucket in one.finding for one in look.bucket())
