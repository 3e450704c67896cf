"""Runs the targets of tests/fuzz for as long as it is told; see scripts/fuzz."""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from fuzz.seeds import mutated, seeds
from fuzz.targets import TARGETS
from modes.twins import rooms

ROOT = Path(__file__).resolve().parent.parent
FINDINGS = ROOT / "fuzz-out"
READ_BY = {
    "whole": ("rdbmerge.plan", "rdbmerge.merge", "rdbmerge.verify", "rdbmerge.snapshot", "rdbmerge.steps"),
    "handshake": ("rdbmerge.replication",),
    "replies": ("rdbmerge.format",),
    "papers": ("rdbmerge.snapshot", "rdbmerge.plan.model"),
}
GUIDED = importlib.util.find_spec("atheris") is not None


def read_by(name: str) -> list[ModuleType]:
    """The modules that read the inputs of a target; of the core the interpreted one, whose lines are the same."""
    if name in ("rdb", "value"):
        interpreted: Any = rooms()[1]["core"]
        return list(interpreted._modules.values())
    return [module for path, module in sys.modules.items() if path.startswith(READ_BY[name]) and "_cy" not in path]


def instrument(modules: list[ModuleType]) -> None:
    """Let atheris see which lines of them an input reaches."""
    import atheris

    for module in modules:
        things = [*vars(module).values()]
        for cls in [thing for thing in things if isinstance(thing, type) and thing.__module__ == module.__name__]:
            things += vars(cls).values()
        for function in [thing for thing in things if isinstance(thing, FunctionType)]:
            atheris.instrument_func(function)


def guided(name: str, seconds: int) -> None:
    """Never returns: libFuzzer ends the process."""
    import atheris

    corpus = FINDINGS / f"corpus-{name}"
    corpus.mkdir(exist_ok=True)
    for data in seeds(name):
        (corpus / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)
    instrument(read_by(name))
    options = [
        f"-max_total_time={seconds}",
        "-timeout=60",
        "-rss_limit_mb=8192",
        "-max_len=8192",
        "-print_final_stats=1",
        "-verbosity=0",
    ]
    options += [f"-artifact_prefix={FINDINGS}/{name}-", str(corpus)]
    atheris.Setup([sys.argv[0], *options], TARGETS[name])
    atheris.Fuzz()


def blind(name: str, seconds: int) -> None:
    """Seeds mutated at random, each time others; the input is on disk before it is tried, lest the process dies."""
    generator, found, until, tried = random.Random(time.time_ns()), seeds(name), time.monotonic() + seconds, 0
    found += [path.read_bytes() for path in sorted((FINDINGS / f"corpus-{name}").glob("*"))]  # what coverage led to
    last = FINDINGS / f"{name}-last"
    while time.monotonic() < until:
        data = mutated(generator.choice(found), generator)
        last.write_bytes(data)
        try:
            TARGETS[name](data)
        except BaseException:
            kept = FINDINGS / f"{name}-{hashlib.sha256(data).hexdigest()[:16]}"
            kept.write_bytes(data)
            print(f"{name}: a promise is broken by {kept}", flush=True)
            raise
        tried += 1
    last.unlink(missing_ok=True)
    print(f"{name}: {tried:,} inputs, nothing found")


def run_all(names: list[str], seconds: int, *, by_coverage: bool) -> int:
    """Each target by coverage, then under AddressSanitizer, in processes of their own: a sanitizer ends the process."""
    phases = [("guided" if by_coverage else "blind", _as_it_is())]
    if asan := os.environ.get("FUZZ_ASAN"):
        phases.append(("blind", _sanitized(asan)))
    status = 0
    for name in names:
        for how, environment in phases:
            seconds_each = max(1, seconds // len(names) // len(phases))
            command = [sys.executable, "-P", __file__, "--one", how, "--seconds", str(seconds_each), name]
            print(f"== {name}, {how}{', under AddressSanitizer' if 'LD_PRELOAD' in environment else ''}", flush=True)
            done = subprocess.run(command, check=False, env=environment)
            if done.returncode:
                print(f"{name} ended with status {done.returncode}; see {FINDINGS.name}/", flush=True)
                status = 1
    return status


def _as_it_is() -> dict[str, str]:
    return dict(os.environ)


def _sanitized(asan: str) -> dict[str, str]:
    """Python's own pools would hide from the sanitizer where a block of memory ends."""
    return os.environ | {
        "PYTHONPATH": os.pathsep.join([os.environ["FUZZ_SANITIZED"], os.environ["PYTHONPATH"]]),
        "PYTHONMALLOC": "malloc",
        "LD_PRELOAD": asan,
        "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1:handle_segv=1",
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}; all when none is named")
    parser.add_argument("--seconds", type=int, default=600, help="in all")
    parser.add_argument("--blind", action="store_true", help="without atheris")
    parser.add_argument("--replay", type=Path, help="try this input once")
    parser.add_argument("--one", choices=("guided", "blind"), help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    names = chosen.targets or list(TARGETS)
    if unknown := set(names) - set(TARGETS):
        parser.error(f"no target {', '.join(sorted(unknown))}")
    if chosen.replay:
        TARGETS[names[0]](chosen.replay.read_bytes())
        print("kept all promises")
        return 0
    if chosen.one:
        (guided if chosen.one == "guided" else blind)(names[0], chosen.seconds)
        return 0
    return run_all(names, chosen.seconds, by_coverage=GUIDED and not chosen.blind)


if __name__ == "__main__":
    sys.exit(main())
