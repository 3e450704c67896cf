"""What bad input gets: for each file of fixtures/broken the exact message, remedy and exit code, and no output."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from broken import UNFIT_TARGET, text_beside, told

from rdbmerge import errors
from rdbmerge.format import codes, findings

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "fixtures" / "broken"
FILES = sorted(FOLDER.glob("*.rdb"))
# What no file can bring about, with the reason.
UNMET = {
    codes.VALUE_GOES_ON: "a walk hands out whole values; only who brings ends of their own can be wrong about them"
}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_bad_file_gets_exactly_the_message_that_is_promised(path: Path) -> None:
    assert told(path) == text_beside(path).read_text()


def test_every_text_has_its_file() -> None:
    assert {text_beside(path) for path in FILES} == {*FOLDER.glob("*.txt")}
    assert len(FILES) > 30


def by_name(path: Path) -> str:
    return path.name.split(".")[0]


UNFIT = sorted(FOLDER.glob("unfit_*.error.txt"))
DAMAGED = sorted({*FOLDER.glob("*.error.txt")} - {*UNFIT})


@pytest.mark.parametrize("path", DAMAGED, ids=by_name)
def test_every_failure_says_what_to_do(path: Path) -> None:
    error, remedy, status = path.read_text().splitlines()
    assert error.startswith(f"Error: {path.name.removesuffix('.error.txt')}.rdb at byte ")
    assert remedy.startswith("Try:   ")
    assert status in {"exit 10", "exit 11", "exit 12", "exit 13"}


@pytest.mark.parametrize("path", UNFIT, ids=by_name)
def test_what_a_target_cannot_hold_is_told_with_the_ways_out(path: Path) -> None:
    error, *things, remedy, status = path.read_text().splitlines()
    assert re.fullmatch(rf"Error: {UNFIT_TARGET} cannot hold (1 thing|\d+ things) of the sources:", error)
    file = re.escape(path.name.removesuffix(".error.txt"))
    told = rf"  {file}\.rdb: (key \".+\" of db \d+|function library \w+): {UNFIT_TARGET} has no .+"
    assert all(re.fullmatch(told, thing) or thing.startswith("  ... and ") for thing in things)
    assert remedy.startswith("Try:   leave them out with --on-unsupported skip, or ")
    assert status == f"exit {errors.UnfitError.exit_code}"


def test_every_kind_of_failure_that_a_file_can_have_is_there() -> None:
    kinds = {errors.FormatError, *errors.FormatError.__subclasses__()}
    codes = {int(path.read_text().split()[-1]) for path in DAMAGED}
    assert codes == {kind.exit_code for kind in kinds}
    assert len(UNFIT) > 5  # what is sound but does not fit shares a code, and is told apart by its words


SENTENCES = [
    *(pytest.param(text, id=f"{code}") for code, text in findings._FINDINGS.items() if code not in UNMET),
    *(pytest.param(text, id=f"{code}-{n}") for code, texts in findings._BY_DETAIL.items() for n, text in texts.items()),
]


@pytest.mark.parametrize("sentence", SENTENCES)
def test_every_finding_of_the_core_is_met_by_a_file(sentence: str) -> None:
    shape = ".+".join(re.escape(piece) for piece in re.split(r"\{[^}]*\}", sentence))
    met = [path for path in FOLDER.glob("*.error.txt") if re.search(f": {shape}$", path.read_text(), re.MULTILINE)]
    assert met, f"no file of fixtures/broken is told: {sentence}"


@pytest.mark.once
def test_the_files_are_made_anew_with_the_same_bytes(tmp_path: Path) -> None:
    script = (ROOT / "scripts" / "make_broken.py").read_text()
    (tmp_path / "scripts").mkdir()
    (tmp_path / "fixtures").mkdir()
    (tmp_path / "tests").symlink_to(ROOT / "tests")
    copy = tmp_path / "scripts" / "make_broken.py"
    copy.write_text(script)
    subprocess.run([sys.executable, copy], check=True)
    made = {path.name: path.read_bytes() for path in (tmp_path / "fixtures" / "broken").iterdir()}
    assert made == {path.name: path.read_bytes() for path in FILES}
