"""Sources of a run: pulled once, asked again, pulled anew only where they may have changed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from clusters import running_cluster
from realservers import RunningServer, need, running
from rows import contents
from steps.runs import outcomes, previewed, ran, rdb_of, write_run_file

from rdbmerge.errors import SourceError, UsageError
from rdbmerge.snapshot.manifest import manifest_path, read_manifest
from rdbmerge.steps.run_report import RunReport

pytestmark = pytest.mark.once


@pytest.fixture
def servers() -> Iterator[tuple[RunningServer, RunningServer]]:
    with running(need("redis-6.2")) as one, running(need("valkey-8.1")) as other:
        for name, server in (("one", one), ("other", other)):
            with server.client() as client:
                client.mset({f"{name}:{number}": "v" * 30 for number in range(100)})
        yield one, other


def run_file(folder: Path, servers: tuple[RunningServer, RunningServer], more: str = "") -> Path:
    text = "".join(
        f'[[source]]\nname = "{name}"\naddress = "127.0.0.1:{server.port}"\n'
        for name, server in zip(("one", "other"), servers, strict=True)
    )
    text += '[[source]]\nname = "old"\nfile = "old.rdb"\nkey_prefix = "old:"\n'
    return write_run_file(
        folder, f'{text}[pull]\nconnect_timeout = "1s"\nretry_for = "0s"\n{more}', old=rdb_of(b"one:1")
    )


def merged(folder: Path) -> dict[tuple[int, bytes], object]:
    return dict(contents((folder / "work" / "merged.rdb").read_bytes()))


def sources(report: RunReport) -> dict[str, tuple[str, str]]:
    return {line.source: (line.outcome, line.why) for line in report.lines if line.step == "pull"}


def test_servers_are_pulled_and_only_what_changed_is_pulled_again(
    tmp_path: Path, servers: tuple[RunningServer, RunningServer]
) -> None:
    path = run_file(tmp_path, servers)
    first = ran(path)
    assert outcomes(first) == {
        "pull one": "done", "pull other": "done", "pull old": "kept", "merge": "done", "verify": "done",
    }  # fmt: skip
    assert len(merged(tmp_path)) == 201
    assert (0, b"old:one:1") in merged(tmp_path)
    again = ran(path)
    assert set(outcomes(again).values()) == {"kept"}
    with servers[1].client() as client:
        client.set("other:new", "v")
    third = ran(path)
    assert outcomes(third) == {
        "pull one": "kept", "pull other": "done", "pull old": "kept", "merge": "done", "verify": "done",
    }  # fmt: skip
    assert "the replication offset moved" in sources(third)["other"][1]
    assert (0, b"other:new") in merged(tmp_path)


def test_snapshots_are_kept_whatever_the_sources_say_if_that_is_asked_for(
    tmp_path: Path, servers: tuple[RunningServer, RunningServer]
) -> None:
    path = run_file(tmp_path, servers)
    ran(path, until_step="pull")
    servers[0].stop()
    with servers[1].client() as client:
        client.set("other:new", "v")
    with pytest.raises(SourceError) as failure:
        ran(path)
    assert str(failure.value).startswith("1 of 2 sources could not be pulled:\n  ")
    assert "--keep-snapshots" in failure.value.remedy
    report = ran(path, keep_snapshots=True)
    assert sources(report)["one"] == ("kept", "at hand")
    (tmp_path / "work" / "snapshots" / "other.rdb").unlink()
    report = ran(path, keep_snapshots=True)
    assert sources(report)["one"][0] == "kept"
    assert sources(report)["other"][0] == "done"
    assert (0, b"other:new") in merged(tmp_path)


def test_from_pull_takes_every_snapshot_anew(tmp_path: Path, servers: tuple[RunningServer, RunningServer]) -> None:
    path = run_file(tmp_path, servers)
    ran(path, until_step="pull")
    report = ran(path, from_step="pull", until_step="pull")
    assert outcomes(report) == {"pull one": "done", "pull other": "done", "pull old": "kept"}


@pytest.mark.parametrize("what", ["gone", "swapped"])
def test_a_snapshot_that_is_gone_or_another_is_no_smaller_merge(
    tmp_path: Path, servers: tuple[RunningServer, RunningServer], what: str
) -> None:
    path = run_file(tmp_path, servers)
    ran(path)
    snapshot = tmp_path / "work" / "snapshots" / "one.rdb"
    snapshot.unlink()
    if what == "swapped":
        snapshot.write_bytes(rdb_of(b"stranger"))
        manifest_path(snapshot).unlink()
    with pytest.raises(UsageError, match=r"pull has to be done first: snapshots/one\.rdb is"):
        ran(path, from_step="merge")
    report = ran(path)
    assert sources(report)["one"][0] == "done"
    assert len(merged(tmp_path)) == 201


def test_a_source_that_cannot_be_reached_stops_the_run_and_the_others_stay(
    tmp_path: Path, servers: tuple[RunningServer, RunningServer]
) -> None:
    path = run_file(tmp_path, servers)
    servers[1].stop()
    with pytest.raises(SourceError) as failure:
        ran(path)
    assert failure.value.exit_code == 30
    assert (tmp_path / "work" / "snapshots" / "one.rdb").exists()
    assert not (tmp_path / "work" / "merged.rdb").exists()


def test_a_preview_asks_and_does_nothing(tmp_path: Path, servers: tuple[RunningServer, RunningServer]) -> None:
    path = run_file(tmp_path, servers)
    report = previewed(path)
    assert report.dry_run
    assert outcomes(report) == {
        "pull one": "to do", "pull other": "to do", "pull old": "would be kept", "merge": "to do", "verify": "to do",
    }  # fmt: skip
    assert sources(report)["one"] == ("to do", "not at hand")
    assert report.lines[0].size_bytes
    assert not (tmp_path / "work" / "snapshots").exists()
    ran(path)
    before = sorted((one.name, one.stat().st_mtime_ns) for one in (tmp_path / "work").rglob("*"))
    assert set(outcomes(previewed(path)).values()) == {"would be kept"}
    with servers[0].client() as client:
        client.set("one:new", "v")
    changed = previewed(path)
    assert sources(changed)["one"][0] == "to do"
    assert [line.why for line in changed.lines[3:]] == ["if pull gives something else"] * 2
    assert previewed(path, keep_snapshots=True).lines[0].outcome == "would be kept"
    servers[0].stop()
    assert "it does not answer" in sources(previewed(path))["one"][1]
    assert sorted((one.name, one.stat().st_mtime_ns) for one in (tmp_path / "work").rglob("*")) == before


def test_a_cluster_is_one_source_of_several_snapshots_under_its_rules(tmp_path: Path) -> None:
    with running_cluster(need("valkey-8.1")) as cluster:
        cluster.fill(60)
        address = f"redis-cluster://127.0.0.1:{cluster.primaries[1].port}"
        text = f'[[source]]\nname = "shop"\naddress = "{address}"\nkey_prefix = "s:"\n'
        path = write_run_file(tmp_path, text)
        assert previewed(path).lines[0].source.startswith("shop-")
        report = ran(path)
        names = [line.source for line in report.lines if line.step == "pull"]
        assert len(names) == 3
        assert all(name.startswith("shop-") for name in names)
        assert len(merged(tmp_path)) == 60
        assert {key[:2] for _, key in merged(tmp_path)} == {b"s:"}
        assert set(outcomes(ran(path)).values()) == {"kept"}
    assert outcomes(ran(path, from_step="merge"))["merge"] == "done"


def test_a_source_may_be_taken_key_by_key(tmp_path: Path, servers: tuple[RunningServer, RunningServer]) -> None:
    path = run_file(tmp_path, servers)
    path.write_text(path.read_text().replace('name = "other"', 'name = "other"\nvia = "scan"'))
    assert outcomes(ran(path))["pull other"] == "done"
    assert len(merged(tmp_path)) == 201
    manifest = read_manifest(tmp_path / "work" / "snapshots" / "other.rdb")
    assert manifest is not None
    assert manifest.pulled is not None
    assert manifest.pulled.via == "scan"
