"""What travels beside an object: small, in ASCII, read back as it was, and refused where it is not ours."""

from __future__ import annotations

import pytest

from rdbmerge.errors import UsageError
from rdbmerge.snapshot.contents import LONGEST_METADATA_BYTES, PARTS, Contents, slot_shares_text

pytestmark = pytest.mark.once


def contents(**more: object) -> Contents:
    values: dict = {
        "magic": "REDIS0011",
        "size_bytes": 1 << 40,
        "crc64": "0123456789abcdef",
        "keys": {0: 33_000_000, 3: 7},
        "types": {0: 30_000_000, 16: 3_000_007},
        "memory_bytes": {"redis": 20 << 30, "valkey": 17 << 30},
        "slot_shares": slot_shares_text([float(part) for part in range(PARTS)]),
    }
    return Contents(**{**values, **more})


def test_it_comes_back_as_it_went() -> None:
    text = contents().to_metadata()
    assert text.isascii()
    assert "\n" not in text
    assert Contents.from_metadata(text) == contents()


def test_however_much_it_is_it_stays_short_and_true_in_number() -> None:
    much = contents(
        keys={db: 1_000_000 + db for db in range(500)},
        types=dict.fromkeys(range(28), 999999999),
        modules=[f"module{n:03}" for n in range(300)],
        longest_key_bytes=1 << 29,
    )
    text = much.to_metadata()
    assert len(text) <= LONGEST_METADATA_BYTES
    back = Contents.from_metadata(text)
    assert back.all_keys == much.all_keys
    assert max(back.keys) == 499
    assert back.types == much.types
    assert back.modules[-1] == "..."


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"magic":"REDIS0011"}', contents().to_metadata().replace("REDIS0011", "ELSE00011")]
)
def test_what_is_not_ours_is_refused_with_a_way_out(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        Contents.from_metadata(text)
    assert "--rdb" in caught.value.remedy


def test_a_newer_format_is_named() -> None:
    newer = contents(contents_format=2).to_metadata()
    with pytest.raises(UsageError, match="format 2"):
        Contents.from_metadata(newer)


def test_shares_of_slots_follow_the_memory_in_them() -> None:
    total = sum(range(PARTS))
    assert contents().share_of(0, 16_383) == pytest.approx(1)
    assert contents().share_of(0, 8_191) == pytest.approx(sum(range(32)) / total, abs=0.001)
    assert contents().share_of(16_384 - 128, 16_383) == pytest.approx(63 / 2 / total, abs=0.001)
    assert contents(slot_shares="").share_of(0, 4_095) == 0.25


def test_it_tells_whether_fields_of_hashes_can_expire() -> None:
    assert contents().field_expiries == 0
    assert contents(magic="VALKEY080", types={22: 5, 4: 1}).field_expiries == 5
