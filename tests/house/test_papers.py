"""The rules of the house about papers: README and what git holds."""

from __future__ import annotations

import importlib.util
import re

import pytest
from house.tree import ROOT, tracked_files

pytestmark = pytest.mark.once

README = ROOT / "README.md"

# Built from pieces, so that this file does not find itself.
MACHINE_PATHS = re.compile(
    "|".join("/" + start for start in ("work/", "root/", "home/[a-z]", "Users/[A-Za-z]", "opt/py"))
)


def _commands() -> list[str]:
    if importlib.util.find_spec("rdbmerge.cli") is None or not (ROOT / "rdbmerge" / "cli" / "__init__.py").exists():
        return []
    import click

    from rdbmerge import cli

    groups = [item for item in vars(cli).values() if isinstance(item, click.Group)]
    return sorted({name for group in groups for name, command in group.commands.items() if not command.hidden})


COMMANDS = _commands()


@pytest.mark.parametrize(
    "command", COMMANDS or [pytest.param("", marks=pytest.mark.skip(reason="rdbmerge.cli has no commands yet"))]
)
def test_each_command_is_in_the_readme_with_an_example(command: str) -> None:
    text = README.read_text()
    assert f"`{command}`" in text or f"`rdbmerge {command}`" in text or f" {command}\n" in text
    examples = "\n".join(re.findall(r"^```.*?$(.*?)^```$", text, re.MULTILINE | re.DOTALL))
    assert re.search(rf"\brdbmerge {re.escape(command)}\b", examples), (
        f"no example of rdbmerge {command} in a code block"
    )


def test_no_tracked_file_names_a_path_of_the_machine_it_was_written_on() -> None:
    found = []
    for path in tracked_files():
        if path.suffix in (".rdb", ".gz", ".png"):
            continue
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
            if MACHINE_PATHS.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}")
    assert not found, "\n".join(found)
