"""How much memory the node types of ElastiCache and MemoryDB give to data. A table (aws-seeding.md 7).

`maxmemory` in bytes, by family and size. A quarter of it is reserved by default. MemoryDB's own table was not at hand:
its db.* types are taken to be those of ElastiCache. Knows nothing of prices or regions.
"""

from __future__ import annotations

RESERVED_SHARE = 0.25  # `reserved-memory-percent`; 0 in accounts from before March 2017

_SIZES = (
    "micro",
    "small",
    "medium",
    "large",
    "xlarge",
    "2xlarge",
    "4xlarge",
    "8xlarge",
    "12xlarge",
    "16xlarge",
    "24xlarge",
)
_NONE = 0
_M = (
    _NONE, _NONE, _NONE, 6_854_542_746, 13_891_921_715, 27_966_669_210, 56_116_178_125, 111_325_552_312,
    168_715_971_994, 225_000_375_228, 337_500_562_842,
)  # fmt: skip
_R = (
    _NONE, _NONE, _NONE, 14_037_181_030, 28_261_849_702, 56_711_183_565, 113_609_865_216, 225_000_375_228,
    341_206_346_547, 450_000_750_456, 682_485_973_811,
)  # fmt: skip
_T = (536_870_912, 1_471_026_299, 3_317_862_236)
_M8 = (
    _NONE, _NONE, _NONE, 7_294_178_820, 15_222_495_510, 31_866_224_640, 65_856_864_256, 133_838_143_488,
    201_819_422_720, 269_800_701_952,
)  # fmt: skip
_R8 = (
    _NONE, _NONE, _NONE, 15_222_495_510, 31_866_224_640, 65_856_864_256, 133_838_143_488, 269_800_701_952,
    405_763_260_416, 541_725_818_880,
)  # fmt: skip
_C7 = (
    _NONE, _NONE, _NONE, 3_317_862_236, 6_854_542_746, 13_891_921_715, 27_966_669_210, 56_116_178_125,
    84_357_985_997, 113_609_865_216,
)  # fmt: skip
_OLD = {"t2.micro": 581_959_680, "t2.small": 1_665_138_688, "t2.medium": 3_461_349_376}
_OLD |= {"m4.large": 6_892_593_152, "r4.large": 13_201_781_556}
_ONLY_INTEL = ("24xlarge",)
_NOT_INTEL = ("8xlarge", "16xlarge")


def _rows() -> dict[str, int]:
    rows = dict(_OLD)
    families = (
        (("t4g", "t3"), _T), (("m6g", "m7g", "m5"), _M), (("r6g", "r7g", "r5"), _R), (("m8g",), _M8), (("r8g",), _R8),
        (("c7gn",), _C7),
    )  # fmt: skip
    for names, amounts in families:
        for name in names:
            for size, amount in zip(_SIZES, amounts, strict=False):
                intel = name in ("m5", "r5")
                if amount and not (intel and size in _NOT_INTEL) and (intel or size not in _ONLY_INTEL):
                    rows[f"{name}.{size}"] = amount
    return rows


MAXMEMORY_BYTES: dict[str, int] = _rows()
_PREFIXES = ("cache.", "db.")


def maxmemory_of(node_type: str) -> int | None:
    """Bytes of `maxmemory` of `cache.r7g.large` or `db.r7g.large`; None for a type that the table does not have."""
    for prefix in _PREFIXES:
        if node_type.startswith(prefix):
            return MAXMEMORY_BYTES.get(node_type.removeprefix(prefix))
    return None


def usable_of(node_type: str) -> int | None:
    """Bytes of it that are left for data by default."""
    amount = maxmemory_of(node_type)
    return None if amount is None else round(amount * (1 - RESERVED_SHARE))


def least_node_type(needed_bytes: int, like: str) -> str:
    """The smallest type of the family of `like` that has room for so much; "" if there is none."""
    prefix, _, rest = like.partition(".")
    family = rest.partition(".")[0]
    fitting = [
        (amount, name)
        for name, amount in MAXMEMORY_BYTES.items()
        if name.startswith(f"{family}.") and amount * (1 - RESERVED_SHARE) >= needed_bytes
    ]
    return f"{prefix}.{min(fitting)[1]}" if fitting else ""
