"""Kill -9 at any moment, run again: the same bytes as of a run that nobody disturbed."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cli.running import command
from rdbbytes import aux, entry, rdb, select
from realservers import need, running
from steps.runs import ran, write_run_file

from rdbmerge.snapshot.workdir import WorkDir

KEYS = 20_000
# Kills itself with the signal that nobody can catch, before or after the n-th call of a function.
KILLING = """
import importlib, os, signal, sys
where, count, when, path = sys.argv[1:]
module, _, names = where.partition(":")
*holders, name = names.split(".")
holder = importlib.import_module(module)
for one in holders:
    holder = getattr(holder, one)
count, real = int(count), getattr(holder, name)
def counted(*args, **options):
    global count
    count -= 1
    if count == 0 and when == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    result = real(*args, **options)
    if count == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return result
setattr(holder, name, counted)
sys.argv = ["rdbmerge", "run", path]
from rdbmerge.cli import main
main()
"""
MOMENTS = [
    *(("rdbmerge.snapshot.journal:Journal._save", count, "after") for count in range(1, 7)),
    ("rdbmerge.merge.writer:_pwrite", 3, "before"),
    ("rdbmerge.merge.writer:_publish", 1, "after"),
    ("rdbmerge.merge.writer:_publish", 2, "after"),
    ("rdbmerge.steps.stages.tools:RunFolder.write_json", 1, "after"),
    ("rdbmerge.steps.stages.tools:RunFolder.write_json", 3, "before"),
]


def made(folder: Path) -> dict[str, bytes]:
    """All that has to be the same: merged files and their manifests, the plan."""
    work = folder / "work"
    return {path.name: path.read_bytes() for path in work.iterdir() if path.name.startswith(("merged", "plan"))}


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a run has begun its merge, and so remembers when; to be copied."""
    folder = tmp_path_factory.mktemp("begun")
    files = {
        name: rdb(9, aux(b"ctime", b"1700000000"), select(0), *(
            entry(b"%s:%d" % (name.encode(), number), b"v" * 40) for number in range(KEYS)
        ))
        for name in ("a", "b")
    }  # fmt: skip
    path = write_run_file(
        folder,
        '[[source]]\nfile = "a.rdb"\nttl_offset = "1h"\n[[source]]\nfile = "b.rdb"\n[merge]\nshards = 2\n',
        **files,
    )
    ran(path, until_step="merge")
    for name in made(folder):
        (folder / "work" / name).unlink()
    return folder


@pytest.fixture(scope="module")
def undisturbed(begun: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    kept = tmp_path_factory.mktemp("kept") / "begun"
    shutil.copytree(begun, kept)
    subprocess.run(command("run", begun / "run.toml"), check=True, capture_output=True)
    files = made(begun)
    shutil.rmtree(begun)
    shutil.copytree(kept, begun)
    assert len(files) == 5
    return files


def restored(begun: Path, fresh: Path) -> None:
    shutil.rmtree(begun)
    shutil.copytree(fresh, begun)


@pytest.mark.parametrize(("where", "count", "when"), MOMENTS)
def test_killed_at_a_border(
    begun: Path, undisturbed: dict[str, bytes], tmp_path: Path, where: str, count: int, when: str
) -> None:
    shutil.copytree(begun, tmp_path / "fresh")
    try:
        killed = subprocess.run(
            [sys.executable, "-c", KILLING, where, str(count), when, str(begun / "run.toml")],
            capture_output=True,
            check=False,
        )
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        subprocess.run(command("run", begun / "run.toml"), check=True, capture_output=True)
        assert made(begun) == undisturbed
        assert (begun / "work" / "verify.json").exists()
    finally:
        restored(begun, tmp_path / "fresh")


@pytest.mark.parametrize("seed", range(3))
def test_killed_somewhere(begun: Path, undisturbed: dict[str, bytes], tmp_path: Path, seed: int) -> None:
    """Several times over, each a little later."""
    shutil.copytree(begun, tmp_path / "fresh")
    chance = random.Random(seed)
    try:
        for _ in range(3):
            with subprocess.Popen(
                command("run", begun / "run.toml"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            ) as running:
                time.sleep(chance.uniform(0.2, 1.2))
                running.send_signal(signal.SIGKILL)
        subprocess.run(command("run", begun / "run.toml"), check=True, capture_output=True)
        assert made(begun) == undisturbed
        assert not list((begun / "work").glob(".*partial*"))
    finally:
        restored(begun, tmp_path / "fresh")


def test_two_at_once_are_refused(begun: Path) -> None:
    with WorkDir(begun / "work").filling():
        second = subprocess.run(command("run", begun / "run.toml"), capture_output=True, text=True, check=False)
    assert second.returncode == 2
    assert "another rdbmerge is at work in" in second.stderr


@pytest.mark.parametrize("seed", range(2))
def test_a_whole_line_killed_somewhere_ends_with_every_key_once(tmp_path: Path, seed: int) -> None:
    """From servers to a server; what is pulled anew holds the same, and nothing is restored twice."""
    chance, count = random.Random(seed), 30_000
    with running(need("redis-6.2")) as one, running(need("valkey-8.1")) as other, running(need("redis-7.0")) as target:
        for name, server in (("one", one), ("other", other)):
            with server.client() as client, client.pipeline(transaction=False) as batch:
                for number in range(count):
                    batch.set(f"{name}:{number}", number)
                batch.execute()
        text = "".join(
            f'[[source]]\nname = "{name}"\naddress = "127.0.0.1:{server.port}"\nkey_prefix = "{name[:2]}:"\n'
            for name, server in (("one", one), ("other", other))
        )
        path = write_run_file(tmp_path, f'{text}[restore]\nurl = "127.0.0.1:{target.port}"\n')
        for _ in range(4):
            with subprocess.Popen(
                command("run", path), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            ) as process:
                time.sleep(chance.uniform(0.3, 2.5))
                process.send_signal(signal.SIGKILL)
        done = subprocess.run(command("run", path), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        with target.client() as client:
            assert client.dbsize() == 2 * count
            assert client.get("on:one:7") in ("7", b"7")
            assert client.get("ot:other:29999") in ("29999", b"29999")
