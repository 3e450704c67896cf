from __future__ import annotations

import contextlib
import hashlib
import multiprocessing
import os
import signal
import stat
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from fakes.primary import Answer, Close, FakePrimary, Hang, Say, bulk
from fakes.proxy import HostileProxy
from realservers import SERVERS, RunningServer, ServerBinary, each_server, need, running

from rdbmerge.errors import StoppedError, UsageError
from rdbmerge.replication.limits import BandwidthLimit, PullLimits
from rdbmerge.replication.source import Source
from rdbmerge.snapshot.index import cached_index
from rdbmerge.snapshot.manifest import manifest_path, read_manifest
from rdbmerge.snapshot.segment import Segment
from rdbmerge.steps.pull import PullReport, SourceOutcome, pull
from rdbmerge.steps.pull_one import PullStatus

REPLID = "a" * 40
QUICK = PullLimits(
    connect_timeout_s=2, reply_timeout_s=1, silence_timeout_s=1, header_timeout_s=5, retry_for_s=0, stream_grace_s=0.2
)


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def source_of(server: RunningServer | FakePrimary | HostileProxy, name: str = "", **options: str) -> Source:
    return Source(host="127.0.0.1", port=server.port, name=name, **options)  # type: ignore[arg-type]


def pull_all(sources: Sequence[Source], folder: Path, *, limits: PullLimits = QUICK, **options: object) -> PullReport:
    return pull(sources, folder, jobs=4, jobs_per_host=4, limits=limits, now_ms=now_ms, **options)  # type: ignore[arg-type]


def only(report: PullReport) -> SourceOutcome:
    (one,) = report.sources
    return one


def visible(folder: Path) -> list[str]:
    """All that lies there, remains too; but not the lock."""
    return sorted(path.name for path in folder.iterdir() if path.name != ".rdbmerge.lock")


def trio(name: str) -> list[str]:
    return [f"{name}.rdb", f"{name}.rdb.index", f"{name}.rdb.manifest.json"]


def fill(server: RunningServer, tag: str, keys: int = 200) -> None:
    with server.client(2) as other:
        other.set(f"{tag}:other", tag)
    with server.client() as client, client.pipeline(transaction=False) as batch:
        for number in range(keys):
            batch.set(f"{tag}:{number}", "v" * 40, ex=3600 if number % 4 == 0 else None)
        batch.rpush(f"{tag}:list", *range(20))
        batch.execute()


@pytest.fixture
def server() -> Iterator[RunningServer]:
    with running(need("redis-6.2")) as one:
        fill(one, "a")
        yield one


@pytest.fixture
def rdb(golden: Path) -> bytes:
    return (golden / "6.2.16" / "all_types.rdb").read_bytes()


def primary_with(body: bytes, **replies: Answer) -> FakePrimary:
    """A fake that sends `body` as a snapshot of its length."""
    said = b"+FULLRESYNC %s 1000\r\n$%d\r\n" % (REPLID.encode(), len(body)) + body
    info = f"redis_version:6.2.6\r\nmaster_replid:{REPLID}\r\nmaster_repl_offset:1000\r\nrepl_backlog_active:1\r\n"
    return FakePrimary({"INFO": bulk(info), "PSYNC": said, **replies})


# --- what a pull leaves -------------------------------------------------------------------------------------------


@each_server()
def test_a_snapshot_of_every_real_server_is_whole_private_and_described(binary: ServerBinary, tmp_path: Path) -> None:
    with running(binary) as server:
        fill(server, "a")
        before_ms = now_ms()
        one = only(pull_all([source_of(server, "one")], tmp_path / "new" / "snaps"))
        after_ms = now_ms()
        counts = server.counts()
    assert (one.outcome, one.exit_code, one.warnings) == ("pulled", 0, [])
    folder = tmp_path / "new" / "snaps"
    assert visible(folder) == trio("one")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    manifest = read_manifest(folder / "one.rdb")
    assert manifest is not None
    assert manifest == one.manifest
    pulled = manifest.pulled
    assert pulled is not None
    body = (folder / "one.rdb").read_bytes()
    assert manifest.sha256 == hashlib.sha256(body).hexdigest()
    assert manifest.size_bytes == len(body)
    assert bytes.fromhex(manifest.crc64)[::-1] == body[-8:]
    assert manifest.keys_in_file == pulled.keys_in_info == counts == {0: 201, 2: 1}
    assert pulled.server_version == f"{binary.flavour} {'.'.join(str(part) for part in binary.version)}"
    assert (pulled.written, pulled.role) == ("quiet", "master")
    assert pulled.replication_offset is not None
    assert manifest.snapshot_at_ms is not None
    # Never later than the fork by more than a second, nor earlier than the second of ctime.
    assert before_ms - 1_000 <= manifest.snapshot_at_ms <= after_ms
    with Segment(folder / "one.rdb") as segment:
        assert cached_index(segment) is not None


def test_a_snapshot_from_37_real_servers_at_once(tmp_path: Path) -> None:
    binaries = [one for one in SERVERS if one.path]
    if not binaries:
        pytest.skip("no real server at all")
    with contextlib.ExitStack() as stack:

        def start(number: int) -> RunningServer:
            server = stack.enter_context(running(binaries[number % len(binaries)]))
            fill(server, f"s{number}", keys=50 + number)
            return server

        with ThreadPoolExecutor(6) as pool:
            servers = list(pool.map(start, range(37)))
        sources = [source_of(server, f"s{number:02}") for number, server in enumerate(servers)]
        told: list[PullStatus] = []
        report = pull(sources, tmp_path, jobs=37, jobs_per_host=37, limits=QUICK, now_ms=now_ms, progress=told.append)
        again = pull(sources, tmp_path, jobs=37, jobs_per_host=37, limits=QUICK, now_ms=now_ms)
    assert report.exit_code == 0, [one.error for one in report.sources if one.error]
    assert [one.source for one in report.sources] == [f"s{number:02}" for number in range(37)]
    assert visible(tmp_path) == sorted(name for number in range(37) for name in trio(f"s{number:02}"))
    for number, one in enumerate(report.sources):
        assert one.manifest is not None
        assert one.manifest.keys_in_file == {0: 51 + number, 2: 1}
        assert one.manifest == read_manifest(tmp_path / f"{one.source}.rdb")
        assert one.manifest.sha256 == hashlib.sha256((tmp_path / f"{one.source}.rdb").read_bytes()).hexdigest()
        assert one.warnings == []
    assert report.warnings == []
    assert {status.phase for status in told} >= {"connect", "transfer", "check", "pulled"}
    assert {one.outcome for one in again.sources} == {"skipped"}


def test_a_host_forks_for_as_many_sources_at_once_as_allowed(rdb: bytes, tmp_path: Path) -> None:
    busy, most, lock = 0, 0, threading.Lock()

    def answer() -> list[Say]:
        nonlocal busy, most
        with lock:
            busy += 1
            most = max(most, busy)
        time.sleep(0.15)
        with lock:
            busy -= 1
        return [Say(b"+FULLRESYNC %s 1000\r\n$%d\r\n" % (REPLID.encode(), len(rdb)) + rdb)]

    with contextlib.ExitStack() as stack:
        fakes = [stack.enter_context(primary_with(rdb, PSYNC=answer)) for _ in range(4)]
        sources = [source_of(fake, f"f{number}") for number, fake in enumerate(fakes)]
        assert pull(sources, tmp_path, jobs=4, limits=QUICK, now_ms=now_ms).exit_code == 0
        assert most == 1
        pull(sources, tmp_path, jobs=4, jobs_per_host=2, limits=QUICK, now_ms=now_ms, force=True)
        assert most == 2


def test_writes_during_the_pull_are_warned_of(rdb: bytes, tmp_path: Path) -> None:
    info = f"redis_version:6.2.6\r\nmaster_replid:{REPLID}\r\nmaster_repl_offset:1200\r\ndb0:keys=3,expires=0\r\n"
    with primary_with(rdb, INFO=bulk(info)) as fake:
        one = only(pull_all([source_of(fake, "a")], tmp_path))
    assert one.outcome == "pulled"
    assert one.warnings[0].startswith("written to after its snapshot: the replication offset moved by 200 bytes")
    assert any(line.startswith("db 0: INFO said 3 keys, the snapshot holds ") for line in one.warnings)


def test_one_data_set_under_two_names_is_warned_of(server: RunningServer, tmp_path: Path) -> None:
    report = pull_all([source_of(server, "a"), Source(host="localhost", port=server.port, name="b")], tmp_path)
    assert report.exit_code == 0
    (warning,) = report.warnings
    assert warning.startswith("a, b share a replication id: one server under several names")


# --- again --------------------------------------------------------------------------------------------------------


@each_server()
def test_a_second_pull_takes_only_what_changed(binary: ServerBinary, tmp_path: Path) -> None:
    with running(binary) as still, running(binary) as busy:
        fill(still, "a")
        fill(busy, "b")
        sources = [source_of(still, "still"), source_of(busy, "busy")]
        assert pull_all(sources, tmp_path).exit_code == 0
        files = {name: (tmp_path / name).stat().st_mtime_ns for name in trio("still")}
        with busy.client() as client:
            client.set("new", "1")
        report = pull_all(sources, tmp_path)
        assert [one.outcome for one in report.sources] == ["skipped", "pulled"]
        assert report.sources[0].why.startswith("the replication offset is still ")
        assert report.sources[1].why.startswith("the replication offset moved by ")
        assert {name: (tmp_path / name).stat().st_mtime_ns for name in trio("still")} == files
        assert report.sources[1].manifest is not None
        assert report.sources[1].manifest.keys_in_file[0] == 202
        forced = pull_all(sources, tmp_path, force=True)
        assert [(one.outcome, one.why) for one in forced.sources] == [("pulled", "--force")] * 2


@pytest.mark.parametrize("damage", ["truncate", "flip", "touch", "no manifest", "another source's", "no index"])
def test_a_file_that_is_not_what_its_manifest_says_is_pulled_again(
    server: RunningServer, tmp_path: Path, damage: str
) -> None:
    source, path = source_of(server, "a"), tmp_path / "a.rdb"
    pull_all([source], tmp_path)
    body = path.read_bytes()
    match damage:
        case "truncate":
            path.write_bytes(body[:-20])
        case "flip":
            facts = path.stat()
            path.write_bytes(body[:200] + bytes([body[200] ^ 1]) + body[201:])
            os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
            path.with_name("a.rdb.index").unlink()
        case "touch":
            path.touch()
        case "no manifest":
            manifest_path(path).unlink()
        case "another source's":
            text = manifest_path(path).read_text()
            manifest_path(path).write_text(text.replace(f":{server.port}", ":1"))
        case "no index":
            path.with_name("a.rdb.index").unlink()
    one = only(pull_all([source], tmp_path))
    assert one.outcome == ("skipped" if damage == "no index" else "pulled")
    assert one.why
    assert visible(tmp_path) == trio("a")
    assert len(path.read_bytes()) == len(body)


def test_a_source_that_tells_nothing_is_pulled_again(rdb: bytes, tmp_path: Path) -> None:
    with primary_with(rdb, INFO=b"-NOPERM no right to INFO\r\n") as fake:
        for _ in range(2):
            one = only(pull_all([source_of(fake, "a")], tmp_path))
            assert one.outcome == "pulled"
    assert one.why == "the source does not say whether it has changed (no right to INFO)"
    assert "keys could not be compared with INFO: no right to INFO" in one.warnings


def test_what_a_killed_pull_left_is_swept_away(server: RunningServer, tmp_path: Path) -> None:
    for name in (".old.rdb.partial", ".old.rdb.partial.index", ".a.rdb.manifest.json.partial"):
        (tmp_path / name).write_bytes(b"remains")
    (tmp_path / "other.rdb").write_bytes(b"not ours")
    pull_all([source_of(server, "a")], tmp_path)
    assert visible(tmp_path) == sorted([*trio("a"), "other.rdb"])


# --- failures -----------------------------------------------------------------------------------------------------


def fails(fake: FakePrimary, tmp_path: Path, code: int) -> SourceOutcome:
    with fake:
        report = pull_all([source_of(fake, "a")], tmp_path)
    one = only(report)
    assert (one.outcome, one.exit_code, report.exit_code) == ("failed", code, code)
    assert one.remedy
    assert visible(tmp_path) == []
    return one


def test_a_source_that_hangs(rdb: bytes, tmp_path: Path) -> None:
    said = b"+FULLRESYNC %s 1000\r\n$%d\r\n" % (REPLID.encode(), len(rdb)) + rdb[:300]
    one = fails(primary_with(rdb, PSYNC=[Say(said), Hang()]), tmp_path, 30)
    assert f"nothing came for 1s after 300 of {len(rdb):,} bytes" in one.error


def test_a_source_that_dies_in_the_middle(rdb: bytes, tmp_path: Path) -> None:
    said = b"+FULLRESYNC %s 1000\r\n$%d\r\n" % (REPLID.encode(), len(rdb)) + rdb[:300]
    one = fails(primary_with(rdb, PSYNC=[Say(said), Close(reset=True)]), tmp_path, 30)
    assert f"the connection ended after 300 of {len(rdb):,} bytes" in one.error


def test_nonsense_in_place_of_a_snapshot(rdb: bytes, tmp_path: Path) -> None:
    one = fails(primary_with(b"<html>no</html>" * 10), tmp_path, 10)
    assert one.error.startswith("a.rdb at byte 0: not an RDB file")


def test_a_flipped_bit_is_seen_by_the_checksum(rdb: bytes, tmp_path: Path) -> None:
    at = rdb.index(b"redis-ver") + 12  # inside the text of an AUX field: only the checksum can tell
    one = fails(primary_with(rdb[:at] + bytes([rdb[at] ^ 1]) + rdb[at + 1 :]), tmp_path, 12)
    assert "the checksum in the file is" in one.error


def test_a_snapshot_that_is_too_short_for_itself(rdb: bytes, tmp_path: Path) -> None:
    fails(primary_with(rdb[:-30]), tmp_path, 11)


def test_bytes_after_the_end(rdb: bytes, tmp_path: Path) -> None:
    one = fails(primary_with(rdb + b"12345"), tmp_path, 10)
    assert one.error == f"a.rdb at byte {len(rdb):,}: the RDB ends here, but 5 more bytes came"


def test_a_wrong_password_is_told_without_it(tmp_path: Path) -> None:
    with running(need("redis-7.0"), config={"requirepass": "right-one"}) as server:
        report = pull_all([source_of(server, "a", password="wrong-one")], tmp_path)
        good = pull_all([source_of(server, "a", password="right-one")], tmp_path)
    assert report.exit_code == 30
    assert "the password is wrong" in only(report).error
    assert "wrong-one" not in report.model_dump_json()
    assert good.exit_code == 0
    assert "right-one" not in good.model_dump_json() + (tmp_path / "a.rdb.manifest.json").read_text()


def test_a_real_server_killed_in_the_middle(server: RunningServer, tmp_path: Path) -> None:
    with server.client() as client:
        client.config_set("rdbcompression", "no")
        client.set("big", os.urandom(1 << 20) * 48)
    limits = PullLimits(connect_timeout_s=2, reply_timeout_s=5, limiter=BandwidthLimit(4 << 20), retry_for_s=0)

    def kill(status: PullStatus) -> None:
        if status.phase == "transfer" and status.done_bytes > 100_000:
            server.process.send_signal(signal.SIGKILL)

    report = pull_all([source_of(server, "a")], tmp_path, limits=limits, progress=kill)
    assert report.exit_code == 30
    assert "bytes of the snapshot" in only(report).error
    assert visible(tmp_path) == []


def test_one_of_three_that_fails_does_not_stop_the_others(server: RunningServer, rdb: bytes, tmp_path: Path) -> None:
    with primary_with(b"nonsense") as bad, primary_with(rdb) as good:
        sources = [source_of(bad, "bad"), source_of(good, "good"), source_of(server, "real")]
        report = pull_all(sources, tmp_path)
        assert [one.outcome for one in report.sources] == ["failed", "pulled", "pulled"]
        assert report.exit_code == 10
        assert visible(tmp_path) == sorted([*trio("good"), *trio("real")])
        again = pull_all(sources, tmp_path)
    assert [one.outcome for one in again.sources] == ["failed", "skipped", "skipped"]


def test_failures_of_two_kinds_are_one_of_sources(rdb: bytes, tmp_path: Path) -> None:
    with primary_with(b"nonsense") as bad:
        report = pull_all([source_of(bad, "bad"), Source(host="127.0.0.1", port=1, name="none")], tmp_path)
    assert sorted(one.exit_code for one in report.sources) == [10, 30]
    assert report.exit_code == 30


def test_a_failed_pull_leaves_the_earlier_snapshot_and_says_so(rdb: bytes, tmp_path: Path) -> None:
    with primary_with(rdb) as fake:
        source = source_of(fake, "a")
        pull_all([source], tmp_path)
        fake.replies["PSYNC"] = [Say(b"+FULLRESYNC " + b"b" * 40 + b" 5\r\n$99\r\nREDIS"), Close()]
        one = only(pull_all([source], tmp_path, force=True))
    assert one.outcome == "failed"
    assert one.warnings == ["a.rdb of an earlier pull is still there; it is not new"]
    assert visible(tmp_path) == trio("a")
    assert (tmp_path / "a.rdb").read_bytes() == rdb


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "small"
    place.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", place], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"no small disk can be mounted here: {done.stderr.strip()}")
    yield place
    subprocess.run(["umount", place], check=True)


def test_a_snapshot_larger_than_the_disk_is_refused(server: RunningServer, small_disk: Path) -> None:
    with server.client() as client:
        client.config_set("rdbcompression", "no")
        client.set("big", os.urandom(3 << 20))
    one = only(pull_all([source_of(server, "a")], small_disk))
    assert one.outcome == "failed"
    assert "only 1,0" in one.error
    assert "make room on the disk" in one.remedy
    assert visible(small_disk) == []


def test_a_disk_that_fills_up_meanwhile(rdb: bytes, small_disk: Path) -> None:
    body = rdb + bytes(600 << 10)

    def fill_up() -> list[Say]:
        (small_disk / "other").write_bytes(bytes(600 << 10))
        return [Say(b"+FULLRESYNC %s 1000\r\n$%d\r\n" % (REPLID.encode(), len(body)) + body)]

    with primary_with(b"", PSYNC=fill_up) as fake:
        one = only(pull_all([source_of(fake, "a")], small_disk))
    assert (one.outcome, one.exit_code) == ("failed", 2)
    assert one.error.endswith(f"the disk of {small_disk} is full")
    assert visible(small_disk) == ["other"]


# --- what is refused before any work, and stopping ----------------------------------------------------------------


def test_no_source_and_twice_the_same_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no sources are named"):
        pull_all([], tmp_path)
    twice = [Source(host="h", name="a"), Source(host="H", name="b", port=6379), Source(host="h", name="c")]
    with pytest.raises(UsageError, match="two sources have the address h:6379"):
        pull_all([twice[0], twice[2]], tmp_path)
    with pytest.raises(UsageError, match="two sources have the name a"):
        pull_all([Source(host="h", name="a"), Source(host="g", name="A")], tmp_path)
    assert list(tmp_path.iterdir()) == []


def _hold(folder: Path, ready: threading.Event) -> None:
    from rdbmerge.snapshot.workdir import WorkDir

    with WorkDir(folder).filling():
        ready.set()
        time.sleep(30)


def test_two_processes_do_not_fill_one_folder(server: RunningServer, tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    ready = spawn.Event()
    other = spawn.Process(target=_hold, args=(tmp_path, ready))
    other.start()
    try:
        assert ready.wait(20)
        with pytest.raises(UsageError, match="another rdbmerge is at work in"):
            pull_all([source_of(server, "a")], tmp_path)
    finally:
        other.kill()
        other.join()
    # A lock dies with its process.
    assert pull_all([source_of(server, "a")], tmp_path).exit_code == 0


def test_stopping_leaves_what_is_whole_and_nothing_else(rdb: bytes, tmp_path: Path) -> None:
    stop = threading.Event()
    said = b"+FULLRESYNC %s 1000\r\n$%d\r\n" % (REPLID.encode(), len(rdb)) + rdb[:300]

    def tell(status: PullStatus) -> None:
        if status.source == "good" and status.phase == "pulled":
            stop.set()

    with primary_with(rdb) as good, primary_with(rdb, PSYNC=[Say(said), Hang()]) as slow:
        sources = [source_of(good, "good"), source_of(slow, "slow")]
        began = time.monotonic()
        with pytest.raises(StoppedError, match=r"stopped: 1 of 2 sources are in") as stopped:
            pull_all(sources, tmp_path, progress=tell, stop=stop)
    assert time.monotonic() - began < 3
    assert stopped.value.exit_code == 130
    assert visible(tmp_path) == trio("good")
