"""Files of shards: each holds its keys, all of them together hold everything once, and they are there all or none."""

from __future__ import annotations

import fcntl
import os
import resource
import signal
import threading
from pathlib import Path

import pytest
from merging import NOW_MS, check_output, merged_shards, opened, planned, saved
from rdbbytes import entry, function, length, pairs, rdb, record, resize, select, slot, string
from realservers import ServerBinary, each_server, running
from rows import contents
from writing import big, started, wait_for

from rdbmerge.errors import DiskError, StoppedError, UsageError
from rdbmerge.ledger import balanced
from rdbmerge.merge.writer import Output, partial_path, write_plans
from rdbmerge.plan.model import PLANS, Policy, Rules
from rdbmerge.plan.sharding import even_slots, parse_slots
from rdbmerge.snapshot.manifest import read_manifest
from rdbmerge.steps.merge import PlannedMerge, output_paths, planned_merge, write_merge

AT = 2_000_000_000_000
NAMES = [b"key:%d" % n for n in range(60)] + [b"{tag}%d" % n for n in range(5)] + [b"", b"\xff\x00\xfe", b"12345"]
ONE = rdb(9, select(0), *(entry(name, b"one", expire_at_ms=AT) for name in NAMES[:40]))
TWO = rdb(11, function(b"#!lua name=lib\n1"), select(0), *(record(4, name, pairs({b"f": b"v"})) for name in NAMES[30:]))
THREE = even_slots(3)


def keys(path: Path) -> set[bytes]:
    return {key for _, key in contents(path.read_bytes())}


def test_each_file_holds_the_keys_of_its_slots(tmp_path: Path) -> None:
    made = merged_shards(saved(tmp_path, ONE, TWO), tmp_path / "out.rdb", THREE, on_conflict=Policy.FIRST)
    assert [path.name for path, _ in made] == ["out.0-5460.rdb", "out.5461-10922.rdb", "out.10923-16383.rdb"]
    for (path, plan), [(first, last)] in zip(made, THREE, strict=True):
        assert keys(path) == {name for name in NAMES if first <= slot(name) <= last}
        assert plan.rules.slots == [(first, last)]


def test_all_files_together_are_the_one_that_would_be(tmp_path: Path) -> None:
    sources, rules = saved(tmp_path, ONE, TWO), {"on_conflict": Policy.LAST, "key_prefix": b"p{", "ttl_offset_ms": 5}
    whole, _ = merged_shards(sources, tmp_path / "one.rdb", even_slots(1), **rules)[0]
    parts = [contents(path.read_bytes()) for path, _ in merged_shards(sources, tmp_path / "out.rdb", THREE, **rules)]
    assert {place: one for part in parts for place, one in part.items()} == contents(whole.read_bytes())
    assert sum(map(len, parts)) == len(NAMES)


def test_a_shard_may_have_several_runs_of_slots(tmp_path: Path) -> None:
    slots = parse_slots("0-99+12182+16000-16383,100-12181,12183-15999")
    made = merged_shards(
        saved(tmp_path, rdb(9, entry(b"foo"), entry(b"{foo}x"), entry(b"hello"))), tmp_path / "o", slots
    )
    assert [path.name for path, _ in made] == ["o.0-99+12182+16000-16383", "o.100-12181", "o.12183-15999"]
    assert keys(made[0][0]) == {b"foo", b"{foo}x"}


def test_shards_of_more_runs_than_fit_a_name_are_written(tmp_path: Path) -> None:
    """A cluster that was rebalanced often looks like that."""
    slots = [[(n, n) for n in range(first, 16_384, 2)] for first in (0, 1)]
    made = merged_shards(saved(tmp_path, ONE), tmp_path / "out.rdb", slots)
    assert [path.name for path, _ in made] == ["out.0+8191more.rdb", "out.1+8191more.rdb"]
    assert all(slot(key) % 2 == number for number, (path, _) in enumerate(made) for key in keys(path))


def test_a_shard_without_a_key_is_a_file_that_loads(tmp_path: Path) -> None:
    slots = parse_slots("0-12181,12182,12183-16383")  # foo alone is in the second
    made = merged_shards(saved(tmp_path, rdb(9, select(0), resize(1, 0), entry(b"foo"))), tmp_path / "out.rdb", slots)
    assert [plan.keys for _, plan in made] == [0, 1, 0]
    assert made[0][0].read_bytes()[:-8] == b"REDIS0006\xff"


def test_each_shard_has_all_libraries_and_its_own_lowest_header(tmp_path: Path) -> None:
    packed = record(16, b"foo", string(bytes.fromhex("0c000000020081660201 01ff".replace(" ", ""))))
    source = rdb(11, function(b"#!lua name=lib\n1"), select(0), packed, entry(b"hello"))
    made = merged_shards(saved(tmp_path, source), tmp_path / "out.rdb", THREE)
    assert [len(plan.libraries) for _, plan in made] == [1, 1, 1]
    assert {plan.magic for _, plan in made} == {"REDIS0010"}
    made = merged_shards(saved(tmp_path, rdb(11, select(0), packed)), tmp_path / "two.rdb", THREE)
    assert [plan.magic for _, plan in made] == ["REDIS0006", "REDIS0006", "REDIS0010"]  # foo is in 12182


def test_500_shards_are_written_in_one_reading(tmp_path: Path) -> None:
    names = [b"k%d" % n for n in range(2_000)]
    made = merged_shards(saved(tmp_path, rdb(9, select(0), *map(entry, names))), tmp_path / "out.rdb", even_slots(500))
    assert len(made) == 500
    assert sum(plan.keys for _, plan in made) == 2_000
    for path, plan in made[::50]:
        [(first, last)] = plan.rules.slots or []
        assert keys(path) == {name for name in names if first <= slot(name) <= last}


def test_the_ledgers_of_shards_balance(tmp_path: Path) -> None:
    records = [entry(b"dead%d" % n, expire_at_ms=5) for n in range(9)] + [
        record(1, b"e%d" % n, length(0)) for n in range(9)
    ]
    with opened(tmp_path, ONE, TWO, rdb(9, select(0), *records, select(7), entry(b"x"))) as merge:
        rules = {"on_conflict": Policy.FIRST, "snapshot_at_ms": 1_000, "dbs": [0]}
        whole = merge.plan(**rules).ledger()
        for count in (1, 2, 7, 500):
            ledgers = [plan.ledger() for plan in merge.plans(even_slots(count), **rules)]
            assert balanced(ledgers) == whole
            elsewhere = sum(ledger.total().elsewhere for ledger in ledgers)
            assert elsewhere == (count - 1) * whole.total().read


@pytest.mark.parametrize(
    ("rules", "message", "remedy"),
    [
        ({}, "a cluster has db 0 only, and keys of db 3, 15 would be in another",
         "bring all into it with --db-map 3:0,15:0, or leave out others with --db 0"),
        ({"db_map": {3: 0}}, "a cluster has db 0 only, and keys of db 15 would be in another",
         "bring all into it with --db-map 3:0,15:0, or leave out others with --db 0,3"),
        ({"db_map": {0: 3, 3: 0}}, "a cluster has db 0 only, and keys of db 0, 15 would be in another",
         "bring all into it with --db-map 3:0,15:0, or leave out others with --db 3"),
        ({"dbs": [15]}, "a cluster has db 0 only, and keys of db 15 would be in another",
         "bring all into it with --db-map 15:0"),
        ({"dbs": [0], "db_map": {0: 1}}, "a cluster has db 0 only, and keys of db 0 would be in another",
         "leave db 0 out of --db-map"),
        ({"target": "memorydb-redis-7.1"}, "memorydb-redis-7.1 has db 0 only, and keys of db 3, 15 would be in another",
         "bring all into it with --db-map 3:0,15:0, or leave out others with --db 0"),
    ],
)  # fmt: skip
def test_keys_of_other_dbs_than_0_are_refused(
    tmp_path: Path, rules: dict[str, object], message: str, remedy: str
) -> None:
    source = rdb(9, select(0), entry(b"a"), select(3), entry(b"b"), select(15), entry(b"c"), select(16))
    with opened(tmp_path, source) as merge, pytest.raises(UsageError) as refused:
        merge.plans(THREE, **rules)
    assert (str(refused.value), refused.value.remedy) == (message, remedy)


def test_the_remedies_help(tmp_path: Path) -> None:
    source = rdb(9, select(0), entry(b"a"), select(3), entry(b"b"), select(15), entry(b"c"))
    with opened(tmp_path, source) as merge:
        assert sum(plan.keys for plan in merge.plans(THREE, db_map={3: 0, 15: 0})) == 3
        assert sum(plan.keys for plan in merge.plans(THREE, dbs=[0])) == 1
        assert merge.plan(target="memorydb-redis-7.1", dbs=[0]).keys == 1


def test_one_db_is_enough_only_for_targets_that_have_no_more(tmp_path: Path) -> None:
    with opened(tmp_path, rdb(9, select(3), entry(b"b"))) as merge:
        assert merge.plan(target="elasticache-redis-7.1").keys == 1
        with pytest.raises(UsageError, match="elasticache-serverless has db 0 only"):
            merge.plan(target="elasticache-serverless")


def test_the_plans_of_shards_are_read_back_from_one_list(tmp_path: Path) -> None:
    with opened(tmp_path, ONE, TWO) as merge:
        plans = merge.plans(THREE, on_conflict=Policy.FIRST)
        one = merge.plan(on_conflict=Policy.FIRST)
    assert PLANS.validate_json(PLANS.dump_json(plans)) == plans
    assert PLANS.validate_json(one.model_dump_json()) == [one]


def test_each_shard_has_a_manifest_of_its_own(tmp_path: Path) -> None:
    for path, plan in merged_shards(saved(tmp_path, ONE), tmp_path / "out.rdb", THREE):
        manifest = read_manifest(path)
        assert manifest is not None
        assert (manifest.file, manifest.keys_in_file) == (path.name, {0: plan.keys})


@pytest.mark.once
@each_server(lambda one: one.version >= (3,))
def test_a_server_in_cluster_mode_loads_its_shard_and_agrees_on_the_slots(binary: ServerBinary, tmp_path: Path) -> None:
    source = rdb(6, select(0), *(entry(name) for name in NAMES))
    made = merged_shards(saved(tmp_path, source), tmp_path / "out.rdb", THREE)
    path, plan = made[0]
    with running(binary, rdb=path, config={"cluster-enabled": "yes"}) as server, server.client(raw=True) as client:
        assert server.counts() == {0: plan.keys}
        there = client.execute_command("KEYS", "*")
        assert set(there) == keys(path)
        slots = [client.execute_command("CLUSTER", "KEYSLOT", name) for name in NAMES]
    assert slots == [slot(name) for name in NAMES]


# --- all or none --------------------------------------------------------------------------------------------------


def beside(folder: Path) -> set[str]:
    """What lies in the folder that no source is."""
    return {path.name for path in folder.iterdir() if not path.name.startswith(("a.rdb", "b.rdb", "big.rdb"))}


def outputs_of(merge: PlannedMerge, output: Path) -> list[Output]:
    slots = [plan.rules.slots or [] for plan in merge.plans]
    return [Output(plan, path) for plan, path in zip(merge.plans, output_paths(output, slots), strict=True)]


@pytest.mark.parametrize("taken", range(3))
def test_where_one_shards_output_exists_none_is_written(tmp_path: Path, taken: int) -> None:
    with planned(saved(tmp_path, ONE), shards=THREE) as merge:
        outputs = outputs_of(merge, tmp_path / "out.rdb")
        outputs[taken].path.write_bytes(b"precious")
        with pytest.raises(UsageError, match="exists"):
            write_merge(merge, tmp_path / "out.rdb", jobs=2)
        assert beside(tmp_path) == {outputs[taken].path.name}
        assert outputs[taken].path.read_bytes() == b"precious"
        write_merge(merge, tmp_path / "out.rdb", jobs=2, force=True)
        for one in outputs:
            check_output(one.plan, one.path)


@pytest.mark.parametrize("taken", range(3))
def test_where_one_appears_meanwhile_it_is_kept_and_no_other_is_left(tmp_path: Path, taken: int) -> None:
    with planned(saved(tmp_path, ONE), shards=THREE) as merge:
        outputs = outputs_of(merge, tmp_path / "out.rdb")
        with pytest.raises(UsageError, match="exists"):
            write_plans(
                outputs, merge.segments, jobs=2, progress=lambda _: outputs[taken].path.write_bytes(b"theirs") and None
            )
    assert beside(tmp_path) == {outputs[taken].path.name}
    assert outputs[taken].path.read_bytes() == b"theirs"


def test_a_full_disk_is_told_with_what_all_shards_need(tmp_path: Path, small_disk: Path) -> None:
    source = saved(tmp_path, rdb(9, select(0), *(entry(b"k%d" % n, b"v" * 1_000) for n in range(100))))
    with planned(source, shards=THREE) as merge:
        assert max(plan.output_bytes for plan in merge.plans) < 64 << 10 < sum(p.output_bytes for p in merge.plans)
        with pytest.raises(DiskError) as full:
            write_merge(merge, small_disk / "out.rdb", jobs=2)
    assert str(full.value) == f"no room for the 3 files: 98.4 KB needed, 64.0 KB free in {small_disk}"
    assert "-o" in full.value.remedy
    assert list(small_disk.iterdir()) == []


def test_more_files_than_may_be_open_is_told_with_what_to_do(tmp_path: Path) -> None:
    sources = saved(tmp_path, ONE)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with planned(sources, shards=even_slots(200)) as merge:
        os.close(next_fd := os.dup(0))
        resource.setrlimit(resource.RLIMIT_NOFILE, (next_fd + 50, limits[1]))
        try:
            with pytest.raises(DiskError, match="Too many open files") as refused:
                write_merge(merge, tmp_path / "out.rdb", jobs=1)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert "ulimit -n" in refused.value.remedy
    assert beside(tmp_path) == set()


def test_to_stop_leaves_nothing(tmp_path: Path) -> None:
    stop = threading.Event()
    with planned(saved(tmp_path, ONE), shards=THREE) as merge, pytest.raises(StoppedError):
        write_plans(
            outputs_of(merge, tmp_path / "out.rdb"), merge.segments, jobs=1, stop=stop, progress=lambda _: stop.set()
        )
    assert beside(tmp_path) == set()


def test_an_interrupt_leaves_nothing(tmp_path: Path) -> None:
    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    with planned(saved(tmp_path, ONE), shards=THREE) as merge, pytest.raises(KeyboardInterrupt):
        write_plans(outputs_of(merge, tmp_path / "out.rdb"), merge.segments, jobs=2, progress=interrupt)
    assert beside(tmp_path) == set()


def test_a_partial_of_a_shard_that_another_process_writes_is_left_to_it(tmp_path: Path) -> None:
    with planned(saved(tmp_path, ONE), shards=THREE) as merge:
        outputs = outputs_of(merge, tmp_path / "out.rdb")
        with partial_path(outputs[1].path).open("wb") as other:
            fcntl.flock(other, fcntl.LOCK_EX)
            with pytest.raises(UsageError, match=r"another rdbmerge is writing .*out\.5461-10922\.rdb"):
                write_plans(outputs, merge.segments, jobs=2)
    assert beside(tmp_path) == {partial_path(outputs[1].path).name}


def test_a_killed_process_leaves_whole_files_or_none(tmp_path: Path) -> None:
    source = big(tmp_path, 10)
    for number, pause_s in enumerate((0, 0.01, 0.03)):
        output = tmp_path / f"out{number}.rdb"
        process = started(source, output, "--shards", "--force")
        paths = output_paths(output, THREE)
        wait_for(partial_path(paths[-1]), process)
        threading.Event().wait(pause_s)
        process.kill()
        assert process.wait(20) == -signal.SIGKILL
        with planned_merge(
            [source], Rules(ttl_offset_ms=1), now_ms=NOW_MS, jobs=2, shards=THREE, conflicts_to=None
        ) as merge:
            for plan, path in zip(merge.plans, paths, strict=True):
                if path.exists():
                    check_output(plan, path)
            write_merge(merge, output, jobs=2, force=True)  # what is left of the other is no hindrance
        assert not list(tmp_path.glob(".out*partial"))
