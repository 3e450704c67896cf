"""The wheel that a machine without a C compiler builds, installed elsewhere: it runs, interpreted, without Cython."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from house.tree import ROOT, tracked_files

pytestmark = [pytest.mark.once, pytest.mark.slow]

PROBE = """
import importlib.util, json, sys
from pathlib import Path
assert importlib.util.find_spec("Cython") is None, "Cython is installed: this proves nothing"
import rdbmerge
from rdbmerge.format import core
from rdbmerge.format.columns import Columns
from rdbmerge.snapshot.segment import Segment
with Segment(Path(sys.argv[1])) as segment:
    keys = sum(batch.rows for batch in segment.walk() if isinstance(batch, Columns))
print(json.dumps({"keys": keys, "compiled": core.COMPILED, "from": rdbmerge.__file__}))
"""


def _run(*command: str | Path, cwd: Path, env: dict[str, str] | None = None) -> str:
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def test_the_wheel_built_without_a_compiler_runs_elsewhere(tmp_path: Path) -> None:
    source = tmp_path / "source"
    for path in tracked_files():
        relative = path.relative_to(ROOT)
        if relative.parts[0] in ("rdbmerge", "pyproject.toml", "README.md"):
            (source / relative).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, source / relative)
    without_compiler = {**os.environ, "CC": "/bin/false", "CXX": "/bin/false"}
    _run(
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "-q",
        "--no-deps",
        "-w",
        tmp_path,
        source,
        cwd=tmp_path,
        env=without_compiler,
    )
    (wheel,) = tmp_path.glob("rdbmerge-*.whl")

    home = tmp_path / "venv"
    venv.create(home, with_pip=True)
    python = home / "bin" / "python"
    _run(python, "-m", "pip", "install", "-q", "--disable-pip-version-check", wheel, cwd=tmp_path)
    file = ROOT / "fixtures" / "rdb" / "8.2.3" / "all_types.rdb"
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("RDBMERGE_", "PYTHON"))}
    told = json.loads(_run(python, "-c", PROBE, file, cwd=tmp_path, env=plain))
    assert told["keys"] == json.loads(file.with_name("MANIFEST.json").read_text())["all_types"]["keys"]
    assert told["compiled"] is False
    assert str(home) in told["from"]
