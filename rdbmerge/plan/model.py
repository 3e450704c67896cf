"""The Plan of a merge and what it is made of, as values that can be printed, saved as JSON and read back.

Nothing here computes more than a sum. 64-bit checksums are hex text in JSON, keys and prefixes are base64.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter

from rdbmerge.ledger import Ledger, LedgerLine

PLAN_FORMAT = 1


class Model(BaseModel):
    """The base of every saved value here: nothing unknown is accepted, bytes are base64 in JSON."""

    model_config = ConfigDict(extra="forbid", ser_json_bytes="base64", val_json_bytes="base64")


class Policy(StrEnum):
    """How a conflict is settled (design: decisions on meaning)."""

    FAIL = "fail"
    FIRST = "first"
    LAST = "last"
    LONGEST_TTL = "longest-ttl"


class Unsupported(StrEnum):
    """What becomes of that which the target cannot hold."""

    FAIL = "fail"
    SKIP = "skip"  # leave the key out
    STRIP = "strip"  # keep the key without the part that cannot be held; leave out what cannot be held at all


class KeyPattern(Model):
    """A filter on decoded keys: a glob as Redis' KEYS has it, or a regular expression searched anywhere in the key."""

    kind: Literal["glob", "re"]
    text: bytes


class SourceRules(Model):
    """What the user declared about one source alone: what is given stands instead of the merge's own; null: as there.

    An empty list or map counts as given.
    """

    ttl_offset_ms: int | None = None
    ttl_freeze_until_ms: int | None = None
    snapshot_at_ms: int | None = None
    drop_expired: bool | None = None
    db_map: dict[int, int] | None = None
    dbs: list[int] | None = None
    types: list[str] | None = None
    include_keys: list[KeyPattern] | None = None
    exclude_keys: list[KeyPattern] | None = None
    key_prefix: bytes | None = None


class Rules(Model):
    """Everything the user declared about a merge; the same values make the same merge and the same verification."""

    ttl_offset_ms: int = Field(0, description="Added to every expiry of keys and hash fields.")
    ttl_freeze_until_ms: int | None = Field(
        None,
        description="Unix ms. When given, each source's offset is this minus its snapshot time, plus ttl_offset_ms.",
    )
    snapshot_at_ms: int | None = Field(None, description="Unix ms. When given, the snapshot time of every source.")
    drop_expired: bool = Field(True, description="Leave out keys and hash fields that were dead at the snapshot.")
    on_conflict: Policy = Policy.FAIL
    db_map: dict[int, int] = Field(default_factory=dict, description="Source db -> db in the merged file.")
    dbs: list[int] | None = Field(None, description="Source dbs to take; null: all.")
    types: list[str] | None = Field(None, description="Types to take (string, list, ...); null: all.")
    include_keys: list[KeyPattern] = Field(default_factory=list, description="Take keys that match any; empty: all.")
    exclude_keys: list[KeyPattern] = Field(default_factory=list, description="Leave out keys that match any.")
    key_prefix: bytes = Field(b"", description="Put before every key (after filters and before conflicts).")
    target: str | None = Field(
        None,
        description="What is to load the file: a name that `rdbmerge targets` lists; null: what loads the sources.",
    )
    on_unsupported: Unsupported = Field(
        Unsupported.FAIL, description="What becomes of keys, libraries and module data that the target cannot hold."
    )
    slots: list[tuple[int, int]] | None = Field(
        None, description="Of a shard: the first and last of each run of its slots; null: the file holds all keys."
    )
    sources: dict[str, SourceRules] = Field(
        default_factory=dict, description="Name of a source (as in the plan's sources) -> what holds for it alone."
    )


class ChunkPlan(Model):
    """A run of entries between two borders of the source, all of one db: the unit of parallel work."""

    start: int
    stop: int
    rows: int
    written: int
    output_bytes: int


class RunPlan(Model):
    """What one db of one source gives to one db of the merged file."""

    db: int
    target_db: int
    read: int
    written: int
    written_expires: int
    expired: int
    filtered: int
    conflict_dropped: int
    rejected: int = Field(0, description="Entries that the target cannot hold.")
    elsewhere: int = Field(0, description="Entries of other shards.")
    stripped: int = Field(0, description="Of the written: without a part that the target cannot hold.")
    recoded: int = Field(0, description="Of the written: in another form than in the source.")
    hints_dropped: int = Field(0, description="Of the written: without idle time or use counter.")
    counters_lost: int = Field(0, description="Of the written: streams without their counters.")
    fields_expired: int = Field(0, description="Dead fields left out of hashes that were written.")
    empty: int = Field(0, description="Of the filtered: empty collections, which no server keeps.")
    chunks: list[ChunkPlan]

    @property
    def output_bytes(self) -> int:
        """Bytes of its entries in the merged file."""
        return sum(chunk.output_bytes for chunk in self.chunks)


class SourcePlan(Model):
    """What one source gives to the merge."""

    path: str
    name: str
    magic: str
    size_bytes: int
    mtime_ns: int
    crc64: str = Field(description="Hex; of all bytes before the footer. The decisions hold for these bytes only.")
    sha256: str | None = Field(None, description="From the manifest, where there is one.")
    snapshot_at_ms: int
    snapshot_at_from: Literal["--snapshot-time", "manifest", "aux ctime", "file mtime"]
    ttl_offset_ms: int = Field(description="Added to every expiry of this source: offset and freeze together.")
    runs: list[RunPlan]
    losers: list[int] = Field(
        default_factory=list, description="Offsets of the entries that lost a conflict, ascending."
    )


class LibraryPlan(Model):
    """A function library of the merged file: taken from the source `source` (its place in `sources`)."""

    name: str
    source: int
    offset: int
    size_bytes: int  # of the whole record as it is written
    dropped: list[int] = Field(default_factory=list, description="Sources whose library of that name was not taken.")
    equal: list[int] = Field(default_factory=list, description="Sources that hold the very same code.")


class ModuleDataPlan(Model):
    """Module data of the merged file, copied as it is."""

    module: str
    before_keys: bool
    source: int
    start: int
    end: int
    dropped: list[int] = Field(default_factory=list)
    equal: list[int] = Field(default_factory=list)


class TargetDb(Model):
    """One db of the merged file, exact."""

    db: int
    keys: int
    expires: int


class Plan(Model):
    """Every decision of a merge, made before its first byte is written."""

    plan_format: int = PLAN_FORMAT
    rdbmerge_version: str
    created_at_ms: int = Field(description="The one clock reading that all decisions used; ctime of the merged file.")
    rules: Rules
    magic: str = Field(
        description="The first nine bytes of the merged file: the lowest version that holds the content."
    )
    sources: list[SourcePlan] = Field(description="In order of precedence.")
    dbs: list[TargetDb] = Field(description="The dbs of the merged file, ascending.")
    libraries: list[LibraryPlan] = Field(default_factory=list)
    module_data: list[ModuleDataPlan] = Field(default_factory=list)
    conflicts: int = Field(0, description="Keys that more than one source holds.")
    output_bytes: int = Field(description="Size of the merged file.")
    warnings: list[str] = Field(default_factory=list)

    @property
    def keys(self) -> int:
        """Entries of the merged file."""
        return sum(db.keys for db in self.dbs)

    def ledger(self) -> Ledger:
        """The plan as a balance sheet, one line a source and db."""
        return Ledger(
            lines=[
                LedgerLine(
                    source=source.name,
                    db=run.db,
                    target_db=run.target_db,
                    read=run.read,
                    written=run.written,
                    expired=run.expired,
                    filtered=run.filtered,
                    conflict_dropped=run.conflict_dropped,
                    rejected=run.rejected,
                    elsewhere=run.elsewhere,
                    stripped=run.stripped,
                )
                for source in self.sources
                for run in source.runs
            ]
        )


def _always_several(value: object) -> object:
    return value if isinstance(value, list) else [value]


# A saved plan: one, or those of the shards that one merge wrote together.
PLANS: TypeAdapter[list[Plan]] = TypeAdapter(Annotated[list[Plan], BeforeValidator(_always_several)])


class Rejection(Model):
    """One thing of a source that the target cannot hold, or cannot hold whole."""

    kind: Literal["key", "function library", "module data"] = "key"
    outcome: Literal["refused", "skipped", "stripped"] = Field(
        description="`refused`: nothing was written, for the policy is to fail."
    )
    why: str
    source: str
    offset: int
    db: int | None = Field(None, description="In the merged file.")
    source_db: int | None = None
    key: str = Field(description="Escaped, without prefix; the name of a library or module.")
    key_base64: bytes
    type: str = ""
    size_bytes: int
    expire_at_ms: int | None = Field(None, description="Before any shift.")


class Conflict(Model):
    """One entry of a key that more than one source holds; `kept` tells whether the merged file has this one."""

    db: int = Field(description="In the merged file.")
    key: str = Field(description="Escaped, without prefix.")
    key_base64: bytes
    source: str
    source_db: int
    offset: int
    type: str
    size_bytes: int = Field(description="Of the whole entry.")
    expire_at_ms: int | None = Field(description="Before any shift.")
    kept: bool
    equal_value: bool = Field(description="Type and value bytes are those of the entry that was kept.")
