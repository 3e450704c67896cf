"""A look at everything: what fails is a line and the exit code, and the rest is looked at all the same."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from clusters import running_cluster
from realservers import RunningServer, need, running
from steps.runs import ran, rdb_of, write_run_file

from rdbmerge.errors import StoppedError, StoreError
from rdbmerge.plan.model import Rules, SourceRules
from rdbmerge.plan.profile import find_profile
from rdbmerge.preflight import Outcome, failed, ok, warning
from rdbmerge.reach.server import Server
from rdbmerge.reach.tunnels import Tunnels
from rdbmerge.replication.source import Source
from rdbmerge.steps.check import EXIT_CODES, Asked, CheckReport, Look, check
from rdbmerge.steps.check_file import look_of_file
from rdbmerge.steps.run_file import read_run_file

pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    with running(need("redis-7.0")) as one:
        with one.client() as client:
            client.set("k", "v")
        with one.client(3) as client:
            client.set("k", "v")
        yield one


def source(port: int, name: str = "orders", **options: Any) -> Source:
    return Source(host="127.0.0.1", port=port, name=name, **options)


def looked(look: Look, **how: Any) -> CheckReport:
    with Tunnels(connect_timeout_s=2) as tunnels:
        return check(look, tunnels=tunnels, timeout_s=2, now_ms=lambda: time.time_ns() // 1_000_000, **how)


def outcomes(report: CheckReport, part: str) -> dict[str, str]:
    return {one.name: str(one.outcome) for one in report.parts[part]}


def wrong(report: CheckReport) -> dict[str, str]:
    return {
        one.name: str(one.outcome)
        for checks in report.parts.values()
        for one in checks
        if one.outcome is not Outcome.OK
    }


def test_a_source_that_is_ready_and_one_that_is_not_there(server: RunningServer, tmp_path: Path) -> None:
    sources = [Asked("orders", source(server.port)), Asked("gone", source(1, "gone"))]
    report = looked(Look(sources=sources, snapshots=tmp_path / "s"))
    assert wrong(report) == {"gone: server": "FAILED"}
    assert report.exit_code == 30
    assert outcomes(report, "disk") == {"room for pull": "OK", "room for merge": "OK"}
    assert not (tmp_path / "s").exists()
    assert report.parts["sources"][0].finding.startswith("redis 7.0.")
    assert "db 3: 1 keys" in report.parts["sources"][0].finding


def test_nothing_is_changed_at_the_source(server: RunningServer, tmp_path: Path) -> None:
    with server.client() as client:
        before = client.info("stats")["sync_full"], client.info("persistence")["rdb_saves"], client.dbsize()
        looked(Look(sources=[Asked("orders", source(server.port))], snapshots=tmp_path))
        assert (client.info("stats")["sync_full"], client.info("persistence")["rdb_saves"], client.dbsize()) == before


def test_one_server_under_two_names_is_told(server: RunningServer) -> None:
    sources = [Asked(name, source(server.port, name)) for name in ("a", "b")]
    report = looked(Look(sources=sources))
    assert wrong(report) == {"same data": "WARNING"}
    assert report.exit_code == 0


def test_the_exit_code_is_of_the_first_part_that_failed() -> None:
    assert EXIT_CODES == {"sources": 30, "disk": 2, "bucket": 40, "target": 50}
    bad, fine = [failed("x", "y")], [ok("x", "y"), warning("x", "y")]
    for part, code in EXIT_CODES.items():
        parts = {**dict.fromkeys(EXIT_CODES, fine), part: bad}
        assert CheckReport(started_at_ms=0, parts=parts).exit_code == code
    assert CheckReport(started_at_ms=0, parts={"target": bad, "bucket": bad}).exit_code == 40
    assert CheckReport(started_at_ms=0, parts={"disk": fine}).exit_code == 0


def test_the_dbs_that_will_be_written_are_known_from_the_rules(server: RunningServer) -> None:
    sources, profile = [Asked("orders", source(server.port))], find_profile("memorydb-valkey-7.2")

    def verdict(rules: Rules) -> str:
        return wrong(looked(Look(sources=sources, rules=rules, profile=profile))).get(
            f"target {profile.name}: dbs", "OK"
        )

    assert verdict(Rules()) == "FAILED"
    assert verdict(Rules(dbs=[0])) == verdict(Rules(db_map={3: 0})) == "OK"
    assert verdict(Rules(sources={"orders": SourceRules(db_map={3: 0})})) == "OK"
    assert verdict(Rules(sources={"other": SourceRules(db_map={3: 0})})) == "FAILED"


def test_a_live_target_is_asked_too(server: RunningServer) -> None:
    with running(need("valkey-8.1"), config={"databases": "2"}) as target:
        look = Look(
            sources=[Asked("orders", source(server.port))], target=Server(host="127.0.0.1", port=target.port, name="t")
        )
        report = looked(look)
        assert wrong(report) == {"t: dbs": "FAILED"}
        assert report.exit_code == 50
    assert wrong(looked(look)) == {"t: server": "FAILED"}


def test_a_bucket_that_cannot_be_asked_is_a_line(tmp_path: Path) -> None:
    def refuse() -> Any:
        raise StoreError("no credentials", remedy="give some")

    report = looked(Look(bucket=refuse))
    assert [(one.finding, one.remedy) for one in report.parts["bucket"]] == [("no credentials", "give some")]
    assert report.exit_code == 40
    assert looked(Look(bucket=lambda: [ok("bucket", "there")])).exit_code == 0


def test_files_and_snapshots_at_hand_count_with_their_size(server: RunningServer, tmp_path: Path) -> None:
    text = f'[[source]]\nname = "orders"\naddress = "127.0.0.1:{server.port}"\n'
    text += '[[source]]\nfile = "old.rdb"\nkey_prefix = "o"\n'
    path = write_run_file(tmp_path, text, old=rdb_of(b"x"))
    ran(path)
    report = looked(look_of_file(read_run_file(path, {})))
    assert report.exit_code == 0
    pull, merge = report.parts["disk"]
    assert pull.finding.startswith("0 B needed")
    sizes = [(tmp_path / name).stat().st_size for name in ("old.rdb", "work/snapshots/orders.rdb")]
    assert merge.finding.startswith(f"{sum(sizes)} B needed")
    (tmp_path / "old.rdb").write_bytes(b"no rdb")
    assert wrong(looked(look_of_file(read_run_file(path, {}))))["old: file"] == "FAILED"


def test_a_cluster_is_looked_at_node_by_node(tmp_path: Path) -> None:
    with running_cluster(need("valkey-8.1")) as cluster:
        cluster.fill(10)
        asked = Asked("shop", source(cluster.primaries[0].port, "shop", cluster=True))
        report = looked(Look(sources=[asked]))
        names = {one.name.split(":")[0] for one in report.parts["sources"]}
        assert len(names) == 3
        assert all(name.startswith("shop-") for name in names)
        assert report.exit_code == 0
    assert wrong(looked(Look(sources=[asked]))) == {"shop: server": "FAILED"}


def test_a_look_can_be_stopped(server: RunningServer) -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(StoppedError):
        looked(Look(sources=[Asked("orders", source(server.port))]), stop=stop)
