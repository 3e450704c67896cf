"""Which core is loaded: told by the environment, all compiled or all source, and said when it cannot be."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rdbmerge.format import core

PACKAGE = Path(core.__file__).parents[1]
PROBE = """
import sys
from rdbmerge.errors import UsageError
try:
    from rdbmerge.format import core
    from rdbmerge.format.scan import Walk
except UsageError as error:
    print(f"{error}\\n{error.remedy}")
    raise SystemExit(error.exit_code)
assert len({module.COMPILED for module in core._modules.values()}) == 1
assert all(sys.modules[f"rdbmerge.format.{name}"] is module for name, module in core._modules.items())
batch = next(iter(Walk(memoryview(b"REDIS0003\\xfe\\x00\\x00\\x01k\\x01v\\xff"))))
assert batch.key(memoryview(b"REDIS0003\\xfe\\x00\\x00\\x01k\\x01v\\xff"), 0) == b"k"
print(core.COMPILED, core.__file__)
"""
EXTENSIONS = sorted(PACKAGE.glob("format/_*_cy*.so"))


def probe(folder: Path, **switches: str) -> subprocess.CompletedProcess[str]:
    """A fresh interpreter that imports the package from `folder`."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("RDBMERGE_", "PYTHON"))}
    return subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(folder)!r})\n{PROBE}"],
        env={**plain, **switches}, capture_output=True, text=True, check=False, cwd=folder,
    )  # fmt: skip


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The package without its compiled modules."""
    shutil.copytree(PACKAGE, tmp_path / "rdbmerge", ignore=shutil.ignore_patterns("*.so", "*.c", "__pycache__"))
    return tmp_path


def test_the_source_is_taken_when_asked_for() -> None:
    done = probe(PACKAGE.parent, RDBMERGE_PURE="1")
    assert done.stdout.startswith("False"), done.stderr


@pytest.mark.skipif(not EXTENSIONS, reason="the compiled core is not installed")
def test_the_compiled_core_is_taken_when_it_is_there() -> None:
    for switches in ({}, {"RDBMERGE_REQUIRE_COMPILED": "1"}, {"RDBMERGE_PURE": "0"}):
        done = probe(PACKAGE.parent, **switches)
        assert done.stdout.startswith("True"), done.stderr


def test_without_the_compiled_core_the_source_serves(copy: Path) -> None:
    done = probe(copy)
    assert done.stdout.startswith(f"False {copy}"), done.stderr


@pytest.mark.parametrize("switches", [{}, {"RDBMERGE_PURE": "1"}])
def test_to_insist_on_a_core_that_is_missing_is_refused_with_what_to_do(copy: Path, switches: dict[str, str]) -> None:
    done = probe(copy, RDBMERGE_REQUIRE_COMPILED="1", **switches)
    assert done.returncode == 2
    assert done.stdout == (
        "RDBMERGE_REQUIRE_COMPILED=1 is set, but the compiled core is not installed\n"
        "install a C compiler and run `pip install --force-reinstall --no-binary rdbmerge rdbmerge`\n"
    )


@pytest.mark.skipif(not EXTENSIONS, reason="the compiled core is not installed")
@pytest.mark.parametrize("missing", EXTENSIONS, ids=lambda path: path.name.split(".")[0])
def test_half_a_compiled_core_is_none(copy: Path, missing: Path) -> None:
    for path in EXTENSIONS:
        if path != missing:
            shutil.copyfile(path, copy / "rdbmerge" / "format" / path.name)
    done = probe(copy)
    assert done.stdout.startswith(f"False {copy}"), done.stderr
    assert probe(copy, RDBMERGE_REQUIRE_COMPILED="1").returncode == 2
