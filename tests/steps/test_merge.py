"""A merge from files to file: what it leaves, what it refuses, and that real servers load what the truths say."""

from __future__ import annotations

import json
import os
import shutil
import stat
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from merging import NOW_MS, check_output, merged, planned, saved
from rdbbytes import entry, pairs, rdb, record, select
from realservers import ServerBinary, ServerRefused, each_server, running
from truth import Truth, diff, expected_merge, read_live, read_truth
from unfit import of_form

from rdbmerge.errors import ConflictError, DiskError, FormatError, StoppedError, UnfitError, UsageError
from rdbmerge.format.dialects import read_dialect
from rdbmerge.plan.model import Conflict, Plan, Policy, Rejection, Rules, Unsupported
from rdbmerge.plan.sharding import even_slots
from rdbmerge.snapshot.manifest import manifest_path, read_manifest
from rdbmerge.steps.merge import (
    MergeProgress,
    conflicts_path,
    output_paths,
    planned_merge,
    refuse_existing,
    rejected_path,
    write_merge,
)

FIXTURES = Path(__file__).parents[2] / "fixtures" / "rdb"
VERSIONS = sorted(path.name for path in FIXTURES.iterdir())
HOUR = 3_600_000
ONE = rdb(9, select(0), entry(b"a"), entry(b"b", expire_at_ms=2_000_000_000_000))
TWO = rdb(9, select(0), entry(b"b"), record(4, b"h", pairs({b"f": b"v"})))
UNFIT = rdb(14, select(0), of_form("array"), of_form("hash_listpack_ex"), entry(b"fits"))


def write(sources: list[Path], output: Path, *, force: bool = False, **rules: Any) -> Plan:
    with planned(sources, **rules) as merge:
        write_merge(merge, output, jobs=2, force=force)
        return merge.plan


# --- what a merge leaves ------------------------------------------------------------------------------------------


def test_a_merge_leaves_the_file_and_a_manifest_both_private(tmp_path: Path) -> None:
    sources, output = saved(tmp_path, ONE, TWO), tmp_path / "out.rdb"
    plan = write(sources, output, on_conflict=Policy.FIRST)
    check_output(plan, output)
    manifest = read_manifest(output)
    assert manifest is not None
    assert (manifest.file, manifest.size_bytes, manifest.magic) == ("out.rdb", output.stat().st_size, "REDIS0006")
    assert manifest.crc64 == f"{int.from_bytes(output.read_bytes()[-8:], 'little'):016x}"
    assert manifest.keys_in_file == {0: 3}
    assert manifest.snapshot_at_ms is None
    assert manifest.merged is not None
    assert list(manifest.merged.sources) == ["a.rdb", "b.rdb"]
    for path in (output, manifest_path(output)):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_sources_stay_as_they_were(tmp_path: Path) -> None:
    sources = saved(tmp_path, ONE, TWO)
    before = [(path.read_bytes(), path.stat().st_mtime_ns) for path in sources]
    write(sources, tmp_path / "out.rdb", on_conflict=Policy.LAST)
    assert [(path.read_bytes(), path.stat().st_mtime_ns) for path in sources] == before


def test_conflicts_are_listed_line_by_line(tmp_path: Path) -> None:
    sources, listed = saved(tmp_path, ONE, TWO), conflicts_path(tmp_path / "out.rdb")
    assert listed.name == "out.rdb.conflicts.jsonl"
    with planned_merge(sources, Rules(on_conflict=Policy.LAST), now_ms=NOW_MS, jobs=1, conflicts_to=listed):
        pass
    told = [Conflict.model_validate_json(line) for line in listed.read_text().splitlines()]
    assert [(one.source, one.key, one.kept) for one in told] == [("a.rdb", '"b"', False), ("b.rdb", '"b"', True)]
    assert stat.S_IMODE(listed.stat().st_mode) == 0o600


def test_conflicts_are_listed_also_when_they_end_the_merge(tmp_path: Path) -> None:
    listed = tmp_path / "conflicts"
    with (
        pytest.raises(ConflictError),
        planned_merge(saved(tmp_path, ONE, TWO), Rules(), now_ms=NOW_MS, jobs=1, conflicts_to=listed),
    ):
        pass
    assert len([json.loads(line) for line in listed.read_text().splitlines()]) == 2


def test_a_list_of_an_earlier_merge_goes_when_there_are_no_conflicts(tmp_path: Path) -> None:
    listed = tmp_path / "conflicts"
    listed.write_text("stale")
    with planned_merge(saved(tmp_path, ONE), Rules(), now_ms=NOW_MS, jobs=1, conflicts_to=listed):
        pass
    assert not listed.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.rdb", "a.rdb.index"]


def test_a_list_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with (
        pytest.raises(DiskError, match=r"cannot write .*nowhere"),
        planned_merge(saved(tmp_path, ONE), Rules(), now_ms=NOW_MS, jobs=1, conflicts_to=tmp_path / "nowhere" / "c"),
    ):
        pass


@pytest.mark.parametrize("policy", Unsupported)
def test_what_the_target_cannot_hold_is_listed_line_by_line(tmp_path: Path, policy: Unsupported) -> None:
    sources, listed = saved(tmp_path, UNFIT, ONE), rejected_path(tmp_path / "out.rdb")
    rules = Rules(target="redis-6.2", on_unsupported=policy, on_conflict=Policy.FIRST)
    with suppress(UnfitError), planned_merge(sources, rules, now_ms=NOW_MS, jobs=1, rejected_to=listed):
        assert policy is not Unsupported.FAIL
    assert listed.name == "out.rdb.rejected.jsonl"
    told = [Rejection.model_validate_json(line) for line in listed.read_text().splitlines()]
    array, hash_ = {
        Unsupported.FAIL: ("refused", "refused"),
        Unsupported.SKIP: ("skipped", "skipped"),
        Unsupported.STRIP: ("skipped", "stripped"),
    }[policy]
    assert [(one.source, one.key, one.outcome) for one in told] == [
        ("a.rdb", '"array"', array), ("a.rdb", '"hash_listpack_ex"', hash_),
    ]  # fmt: skip
    assert stat.S_IMODE(listed.stat().st_mode) == 0o600


def test_a_list_of_what_did_not_fit_before_goes_when_all_fits(tmp_path: Path) -> None:
    listed = tmp_path / "rejected"
    listed.write_text("stale")
    with planned_merge(saved(tmp_path, ONE), Rules(target="redis-6.2"), now_ms=NOW_MS, jobs=1, rejected_to=listed):
        pass
    assert not listed.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.rdb", "a.rdb.index"]


def test_files_of_shards_are_called_after_their_slots() -> None:
    assert output_paths(Path("x/out.rdb"), None) == [Path("x/out.rdb")]
    assert output_paths(Path("x/out.rdb"), [[(0, 9), (11, 16383)], [(10, 10)]]) == [
        Path("x/out.0-9+11-16383.rdb"), Path("x/out.10.rdb"),
    ]  # fmt: skip
    assert output_paths(Path("plain"), even_slots(1)) == [Path("plain.0-16383")]
    assert len(set(output_paths(Path("a.b.rdb"), even_slots(500)))) == 500


def test_the_plan_of_a_merge_into_one_file_is_the_only_one(tmp_path: Path) -> None:
    with planned(saved(tmp_path, ONE)) as merge:
        assert [merge.plan] == list(merge.plans)
    with planned(saved(tmp_path, ONE), shards=even_slots(2)) as merge, pytest.raises(ValueError, match="too many"):
        assert merge.plan


def test_progress_of_shards_reaches_the_size_of_all(tmp_path: Path) -> None:
    told: list[MergeProgress] = []
    with planned(saved(tmp_path, ONE), shards=even_slots(3)) as merge:
        write_merge(merge, tmp_path / "out.rdb", jobs=2, progress=told.append)
        total = sum(plan.output_bytes for plan in merge.plans)
    assert {one.total_bytes for one in told} == {total}
    assert max(one.done_bytes for one in told) == total - 3 * 8  # the checksums follow at the end


def test_progress_goes_from_nothing_to_all_in_both_phases(tmp_path: Path) -> None:
    told: list[MergeProgress] = []
    with planned_merge(
        saved(tmp_path, ONE, TWO), Rules(on_conflict=Policy.FIRST), now_ms=NOW_MS, jobs=2, progress=told.append
    ) as merge:
        write_merge(merge, tmp_path / "out.rdb", jobs=2, progress=told.append)
    for phase, total in (("scan", len(ONE) + len(TWO)), ("write", merge.plan.output_bytes)):
        done = [one.done_bytes for one in told if one.phase == phase]
        assert done == sorted(done)
        assert all(one.total_bytes == total for one in told if one.phase == phase)
        assert total - 20 <= done[-1] <= total


# --- what it refuses ----------------------------------------------------------------------------------------------


def test_an_output_that_exists_is_refused_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "out.rdb").write_bytes(b"x")
    with pytest.raises(UsageError, match=r"out\.rdb exists"):
        refuse_existing([tmp_path / "other.rdb", tmp_path / "out.rdb"], force=False)
    refuse_existing([tmp_path / "out.rdb"], force=True)
    refuse_existing([tmp_path / "other.rdb"], force=False)


def test_force_replaces_the_file_and_its_manifest(tmp_path: Path) -> None:
    sources, output = saved(tmp_path, ONE, TWO), tmp_path / "out.rdb"
    write(sources, output, on_conflict=Policy.FIRST)
    plan = write(sources[:1], output, force=True)
    check_output(plan, output)
    manifest = read_manifest(output)
    assert manifest is not None
    assert manifest.merged is not None
    assert list(manifest.merged.sources) == ["a.rdb"]


def test_a_manifest_that_cannot_be_written_is_told_and_the_file_is_whole(tmp_path: Path) -> None:
    output = tmp_path / "out.rdb"
    manifest_path(output).mkdir()
    with planned(saved(tmp_path, ONE)) as merge:
        with pytest.raises(DiskError, match=r"out\.rdb is whole, but its manifest cannot be written"):
            write_merge(merge, output, jobs=1)
        check_output(merge.plan, output)


@pytest.mark.parametrize("change", ["time", "bytes", "gone"])
def test_a_source_that_changes_between_plan_and_write_is_refused(tmp_path: Path, change: str) -> None:
    sources = saved(tmp_path, ONE, TWO)
    with planned(sources, on_conflict=Policy.FIRST) as merge:
        if change == "time":
            os.utime(sources[1], ns=(5, 5))
        elif change == "bytes":
            (tmp_path / "new").write_bytes(TWO + b"x")
            (tmp_path / "new").replace(sources[1])
        else:
            sources[1].unlink()
        with pytest.raises(UsageError, match=r"b\.rdb (changed|went away) while it was being read"):
            write_merge(merge, tmp_path / "out.rdb", jobs=1)
    assert not (tmp_path / "out.rdb").exists()


def test_one_bad_source_of_several_is_named_and_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"^b\.rdb at byte "), planned(saved(tmp_path, ONE, TWO[:-12], ONE)):
        pass


def test_a_merge_that_is_stopped_leaves_nothing(tmp_path: Path) -> None:
    stop = threading.Event()
    stop.set()
    with planned(saved(tmp_path, ONE)) as merge, pytest.raises(StoppedError):
        write_merge(merge, tmp_path / "out.rdb", jobs=1, stop=stop)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.rdb", "a.rdb.index"]


# --- real files and real servers ----------------------------------------------------------------------------------


def fixture(version: str, stem: str = "all_types") -> tuple[Path, Truth]:
    path = FIXTURES / version / f"{stem}.rdb"
    return path, read_truth(path.with_name(f"{stem}.truth.jsonl.gz"))


@pytest.mark.parametrize("path", sorted(FIXTURES.glob("*/*.rdb")), ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_every_real_file_alone_is_merged_with_every_key(path: Path, tmp_path: Path) -> None:
    source = Path(shutil.copy(path, tmp_path))
    plan = merged([source], tmp_path / "out.rdb", ttl_offset_ms=3 * HOUR, drop_expired=False)
    assert plan.keys == json.loads(path.with_name("MANIFEST.json").read_text())[path.stem]["keys"]
    assert plan.warnings == [w for w in plan.warnings if "rdbchecksum no" in w or "databases" in w]


@dataclass(frozen=True)
class Case:
    """A merge of real files and what it has to hold."""

    name: str
    output: Path
    expected: Truth

    @property
    def magic(self) -> bytes:
        return self.output.read_bytes()[:9]


def cases() -> Iterator[tuple[str, list[tuple[str, str]], dict[str, Any], dict[str, Any]]]:
    """Name, files, rules, and the same rules for the merge on paper."""
    for version in VERSIONS:
        stems = sorted(
            path.stem for path in (FIXTURES / version).glob("*.rdb") if path.stem not in ("empty", "expired")
        )
        for stem in stems:
            yield f"{version}-{stem}", [(version, stem)], {"ttl_offset_ms": 3 * HOUR}, {"ttl_offset_ms": 3 * HOUR}
    for one, other in pairwise(VERSIONS):
        if {"valkey-9.1.2"} & {one, other} and {"unstable-2026-06", "unstable-rdb13", "8.2.3"} & {one, other}:
            continue  # types that no one file can hold
        pair = [(one, "all_types"), (other, "all_types")]
        for policy in ("first", "last", "longest-ttl"):
            both = {"on_conflict": policy, "ttl_offset_ms": HOUR}
            if policy == "longest-ttl":
                both["ttl_offset_ms"] = -HOUR
            yield f"{one}+{other}-{policy}", pair, both, both
    mapping = {"db_map": {0: 2, 1: 14, 15: 0}}
    for version in ("2.8.24", "6.2.16", "7.0.15", "8.2.3", "valkey-9.1.2"):
        yield f"{version}-mapped", [(version, "all_types")], mapping, mapping
        yield (
            f"{version}-prefixed", [(version, "nocompress")],
            {"key_prefix": b"p\xff:"}, {"prefix": b"p\xff:"},
        )  # fmt: skip


@pytest.fixture(scope="session")
def real_merges(tmp_path_factory: pytest.TempPathFactory) -> list[Case]:
    """Every case merged once, for all servers."""
    folder = tmp_path_factory.mktemp("merges")
    made = []
    for name, files, rules, on_paper in cases():
        sources = []
        for number, (version, stem) in enumerate(files):
            copy = folder / f"{name}-{number}.rdb"
            shutil.copy(FIXTURES / version / f"{stem}.rdb", copy)
            sources.append(copy)
        output = folder / f"{name}.merged"
        merged(sources, output, drop_expired=False, **rules)
        made.append(Case(name, output, expected_merge([fixture(*one)[1] for one in files], **on_paper)))
    return made


@pytest.mark.once
@pytest.mark.slow
@each_server()
def test_a_real_server_loads_what_was_merged_and_holds_what_the_truths_say(
    binary: ServerBinary, real_merges: list[Case]
) -> None:
    tolerance_ms = 2

    def differences(case: Case) -> list[str]:
        config = {"databases": "20"}
        try:
            with running(binary, rdb=case.output, config=config) as server:
                live = read_live(server)
        except ServerRefused as refused:
            return [f"{case.name}: {refused}"]
        functions = bool(case.expected.functions)
        lines = diff(case.expected, live, functions=functions, tolerance_ms=tolerance_ms)
        return [f"{case.name}: {line}" for line in lines]

    able = [case for case in real_merges if binary.can_load(case.magic)]
    unable = [case for case in real_merges if not binary.can_load(case.magic)]
    assert len(able) > 5
    with ThreadPoolExecutor(3) as pool:
        found = [line for lines in pool.map(differences, able) for line in lines]
    assert found == []
    for case in unable[:2]:
        with pytest.raises(ServerRefused) as refused, running(binary, rdb=case.output):
            pass
        assert "Can't handle RDB format version" in refused.value.log or "Wrong signature" in refused.value.log


@pytest.mark.once
@each_server()
def test_a_server_counts_the_keys_that_the_plan_counts_the_dead_included(binary: ServerBinary, tmp_path: Path) -> None:
    version = max((v for v in VERSIONS if binary.can_load((FIXTURES / v / "expired.rdb").read_bytes()[:9])), key=str)
    source = Path(shutil.copy(FIXTURES / version / "expired.rdb", tmp_path))
    plan = merged([source], tmp_path / "out.rdb", drop_expired=False, db_map={4: 7})
    assert read_dialect(plan.magic.encode()).version <= binary.rdb_version
    with running(binary, rdb=tmp_path / "out.rdb", as_replica=True) as server:
        assert server.counts() == {db.db: db.keys for db in plan.dbs}
