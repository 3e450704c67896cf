"""Other tools' own test files: understood, merged and verified, or refused in our words.

They are not ours to copy, so they are read from `shared/fixtures/peers` beside the checkout, or from the folder that
RDBMERGE_PEERS names; without them these tests show as skipped.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from decoded import decoded
from truth import diff, read_truth, short

import rdbmerge
from rdbmerge.errors import FormatError, RdbMergeError
from rdbmerge.format import codes
from rdbmerge.format.columns import Columns
from rdbmerge.plan.model import Rules
from rdbmerge.snapshot.segment import Segment
from rdbmerge.steps.merge import planned_merge, write_merge
from rdbmerge.steps.verify import verify

PEERS = Path(os.environ.get("RDBMERGE_PEERS", Path(__file__).parents[2] / "shared" / "fixtures" / "peers"))
FILES = sorted(PEERS.glob("*/**/*.rdb")) if PEERS.is_dir() else []
HOUR_MS = 3_600_000

pytestmark = pytest.mark.skipif(
    not FILES, reason="the peers' test files are missing: name their folder in RDBMERGE_PEERS"
)


def truth_of(path: Path) -> Path:
    return path.with_name(path.name.removesuffix(".rdb") + ".truth.jsonl.gz")


def name_of(path: Path) -> str:
    return str(path.relative_to(PEERS))


# Files that servers load although they hold something we leave out or refuse; each with its reason.
UNLIKE_SERVERS = {
    "redis/corrupt_empty_keys.rdb": "nine empty collections, which servers skip while they load",
    "redis/corrupt_ziplist.rdb": "a damaged ziplist, at which servers stop; a merge does not open it",
}
DAMAGED_VALUES = {
    "redis/corrupt_ziplist.rdb": ["corrupt_ziplist.rdb at byte 488: a ziplist whose size does not fit its bytes"]
}
# A stream in them says another length than it has entries: 7.2 loads that, the newest servers refuse it.
COUNT_WRONGLY = {f"redis-replicator/{name}.rdb" for name in ("dump-stream", "dump-stream1", "listpack-bug")}


@pytest.mark.parametrize("path", [path for path in FILES if truth_of(path).exists()], ids=name_of)
def test_every_key_a_server_found_is_found(path: Path) -> None:
    truth = read_truth(truth_of(path))
    found = {}
    with Segment(path) as segment:
        for item in segment.walk():
            if isinstance(item, Columns):
                for row in range(item.rows):
                    if not item.flags[row] & codes.EMPTY:
                        kind = segment.dialect.types[int(item.type[row])].logical.name.lower()
                        at_ms = int(item.expire_at_ms[row])
                        key = short(item.key(segment.view, row))
                        found[item.db, key] = (kind, None if at_ms == codes.NO_EXPIRY else at_ms)
    expected = {place: (one.type, one.expire_at_ms) for place, one in truth.entries.items()}
    if name_of(path) in UNLIKE_SERVERS:
        assert set(expected) <= set(found)
    else:
        assert found == expected


@pytest.mark.parametrize(
    "path", [path for path in FILES if truth_of(path).exists() and name_of(path) not in UNLIKE_SERVERS], ids=name_of
)
def test_every_value_is_what_a_server_answered(path: Path) -> None:
    truth, found = read_truth(truth_of(path)), decoded(path)
    if name_of(path) in COUNT_WRONGLY:
        for one in (*truth.entries.values(), *found.entries.values()):
            if one.type == "stream":
                del one.value["length"]
    assert diff(truth, found) == []


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_every_value_is_decoded_or_the_file_is_refused_in_our_words(path: Path) -> None:
    damaged, refusal = [], None
    try:
        for one in rdbmerge.open(path):
            try:
                one.value()
            except FormatError as error:
                damaged.append(str(error))
    except FormatError as error:
        refusal = error
    assert not (refusal and truth_of(path).exists()), f"a server loads it, but: {refusal}"
    assert damaged == DAMAGED_VALUES.get(name_of(path), [])


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_file_is_merged_and_verified_or_refused_in_our_words(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "source.rdb"
    copy.write_bytes(path.read_bytes())
    output = tmp_path / "merged.rdb"
    rules = Rules(ttl_offset_ms=HOUR_MS, snapshot_at_ms=1_000_000_000_000)
    refusal: RdbMergeError | None = None
    try:
        with planned_merge([copy], rules, now_ms=1_000_000_000_000, jobs=1) as planned:
            write_merge(planned, output, jobs=1)
    except RdbMergeError as error:
        refusal = error
    if refusal is None:
        assert verify(output, against=[copy], rules=rules, jobs=1, now_ms=1).verdict == "passed"
    else:
        assert not truth_of(path).exists(), f"a server loads it, but: {refusal}"
        assert not output.exists()
