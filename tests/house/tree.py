"""The tree of rdbmerge as the house tests see it: modules, their imports, tracked files."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "rdbmerge"


def modules() -> list[Path]:
    """Every module, as a path from the checkout."""
    return sorted(path.relative_to(ROOT) for path in PACKAGE.rglob("*.py"))


@cache
def parsed(module: Path) -> ast.Module:
    return ast.parse((ROOT / module).read_text())


def imported_packages(module: Path) -> Iterator[tuple[str, int]]:
    """Top-level names of what a module imports, anywhere in it, with the line."""
    for node in ast.walk(parsed(module)):
        if isinstance(node, ast.Import):
            yield from ((alias.name.split(".")[0], node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.split(".")[0], node.lineno


def tracked_files() -> list[Path]:
    """What git holds; skips the test outside a git checkout."""
    try:
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    return [ROOT / name.decode() for name in listed.split(b"\0") if name and (ROOT / name.decode()).is_file()]
