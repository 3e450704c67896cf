"""The rules of the house about modules."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from house.tree import PACKAGE, ROOT, imported_packages, modules, parsed

pytestmark = pytest.mark.once

MODULES = modules()
EXEMPT_FROM_A_TEST = {"__init__.py", "__main__.py", "_cython.py"}
FORBIDDEN_NAMES = {"utils", "util", "helpers", "helper", "common", "manager", "misc", "process", "data"}
LONGEST_LINES = 400
TABLES = {Path("rdbmerge/format/values.py"), Path("rdbmerge/format/codes.py")}

# One door per outside package: who may import it. A folder stands for all in it.
DOORS = {
    "click": ("rdbmerge/cli",),
    "rich": ("rdbmerge/cli",),
    "redis": ("rdbmerge/reach", "rdbmerge/targets/server.py", "rdbmerge/verify/witness.py"),
    "rdbtools": ("rdbmerge/verify/witness.py",),
    "boto3": ("rdbmerge/stores/s3.py", "rdbmerge/targets/elasticache.py"),
    "botocore": ("rdbmerge/stores/s3.py", "rdbmerge/targets/elasticache.py"),
    "socket": ("rdbmerge/reach", "rdbmerge/verify/witness.py"),
}


def test_arrows_point_down() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("module", [m for m in MODULES if m.name not in EXEMPT_FROM_A_TEST], ids=str)
def test_each_module_has_its_test_module(module: Path) -> None:
    folder = ROOT / "tests" / module.parent.relative_to("rdbmerge")
    wanted = folder / f"test_{module.stem.lstrip('_')}.py"
    assert wanted.exists(), f"{module} has no {wanted.relative_to(ROOT)}"


def test_each_compiled_module_is_in_the_build_list() -> None:
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["ext-modules"]
    listed = {source for extension in build for source in extension["sources"]}
    assert listed == {str(m) for m in MODULES if m.stem.endswith("_cy")}
    assert all(extension["optional"] for extension in build), "without a C compiler the install has to go on"


def _catches_everything(handler: ast.ExceptHandler) -> bool:
    caught = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(c is None or (isinstance(c, ast.Name) and c.id in ("Exception", "BaseException")) for c in caught)


def _raises_again(handler: ast.ExceptHandler) -> bool:
    last = handler.body[-1]
    return isinstance(last, ast.Raise) and last.exc is None


@pytest.mark.parametrize("module", [m for m in MODULES if m != Path("rdbmerge/cli/__init__.py")], ids=str)
def test_nothing_but_the_command_line_catches_everything(module: Path) -> None:
    handlers = [node for node in ast.walk(parsed(module)) if isinstance(node, ast.ExceptHandler)]
    lines = [handler.lineno for handler in handlers if _catches_everything(handler) and not _raises_again(handler)]
    assert not lines, f"{module}: lines {lines} catch everything; name what can fail there"


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_no_module_has_a_name_that_says_nothing(module: Path) -> None:
    assert module.stem not in FORBIDDEN_NAMES
    assert module.parent.name not in FORBIDDEN_NAMES


@pytest.mark.parametrize("module", [m for m in MODULES if m not in TABLES], ids=str)
def test_no_module_is_too_long_to_read(module: Path) -> None:
    lines = len((ROOT / module).read_text().splitlines())
    assert lines <= LONGEST_LINES, f"{module} has {lines} lines; split it where its subject splits"


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_each_module_says_what_it_is_for(module: Path) -> None:
    assert ast.get_docstring(parsed(module)), f"{module} has no docstring"


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_outside_packages_come_in_by_their_door(module: Path) -> None:
    at_the_wrong_door = [
        f"{module}:{line} imports {package}; only {', '.join(DOORS[package])} may"
        for package, line in imported_packages(module)
        if package in DOORS
        and not any(str(module) == door or str(module).startswith(f"{door}/") for door in DOORS[package])
    ]
    assert not at_the_wrong_door


def test_the_package_is_where_the_tests_look() -> None:
    assert PACKAGE.is_dir()
    assert len(MODULES) > 10
