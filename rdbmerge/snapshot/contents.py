"""What a target has to know of an RDB file without having it: figures that travel beside an object.

A model and its compact text; how the figures are found is `census`'s business. Knows nothing of targets.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rdbmerge.errors import FormatError, UsageError
from rdbmerge.format.dialects import Dialect, read_dialect
from rdbmerge.snapshot.allocation import Layout

CONTENTS_FORMAT = 1
METADATA_NAME = "rdbmerge-contents"
LONGEST_METADATA_BYTES = 1_600  # S3 holds 2 KB of metadata in all; a checksum and a name need room too
SLOTS = 16_384
PARTS = 64  # of all slots, for which shares of memory are kept
_MOST_SHARE = 0xFFF
_SHARE_DIGITS = 3


class Contents(BaseModel):
    """The figures of one RDB file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    contents_format: int = CONTENTS_FORMAT
    magic: str = Field(description="The first nine bytes.")
    size_bytes: int
    crc64: str = Field(description="Hex; of all bytes before the footer.")
    keys: dict[int, int] = Field(description="Keys per db.")
    expires: int = Field(0, description="Keys with an expiry.")
    types: dict[int, int] = Field(default_factory=dict, description="Value type (its number in the file) -> keys.")
    libraries: int = Field(0, description="Function libraries.")
    modules: list[str] = Field(default_factory=list, description="Whose values or data it holds; `...`: more of them.")
    key_metadata: int = Field(0, description="Keys with metadata of modules.")
    longest_key_bytes: int = 0
    longest_string_bytes: int = Field(0, description="Of the values that are strings, uncompressed.")
    largest_entry_bytes: int = Field(0, description="Of all entries, as they stand in the file.")
    memory_bytes: dict[Layout, int] = Field(
        description="Estimate of used memory once loaded, beyond an empty server's."
    )
    memory_error: float = Field(0.0, description="Twice the standard error that sampling brings, as a share.")
    heaviest_slot_bytes: int = Field(0, description="Estimate, of the layout that takes more.")
    slot_shares: str = Field(
        "", description=f"Memory of each of {PARTS} equal parts of the slots: three hex digits, fff the fullest part's."
    )

    @property
    def dialect(self) -> Dialect:
        """Line and version of the format. Raises FormatError for a magic that is not known."""
        return read_dialect(self.magic.encode())

    @property
    def all_keys(self) -> int:
        """Keys of all dbs."""
        return sum(self.keys.values())

    @property
    def field_expiries(self) -> int:
        """Hashes in forms whose fields can expire."""
        rows = self.dialect.types
        return sum(keys for number, keys in self.types.items() if number in rows and rows[number].holds_expiry)

    def share_of(self, first: int, last: int) -> float:
        """The share of memory, 0 to 1, of the keys in slots `first` to `last`; by length where it is not known."""
        weights = [
            int(self.slot_shares[at : at + _SHARE_DIGITS], 16) for at in range(0, len(self.slot_shares), _SHARE_DIGITS)
        ]
        if len(weights) != PARTS or not any(weights):
            return (last - first + 1) / SLOTS
        width = SLOTS // PARTS
        covered = sum(
            weight * max(0, min(last + 1, (part + 1) * width) - max(first, part * width)) / width
            for part, weight in enumerate(weights)
        )
        return covered / sum(weights)

    def to_metadata(self) -> str:
        """Itself as one line of ASCII, at most LONGEST_METADATA_BYTES long: what is least needed gives way."""
        full = self
        for part in ({}, {"modules": _few(self.modules)}, {"slot_shares": ""}, {"keys": _few_dbs(self.keys)}):
            full = full.model_copy(update=part)
            text = full.model_dump_json(exclude_defaults=True, ensure_ascii=True)
            if len(text) <= LONGEST_METADATA_BYTES:
                return text
        raise AssertionError("contents that cannot be made short")

    @classmethod
    def from_metadata(cls, text: str) -> Contents:
        """Read it back. Raises UsageError for a text that another program, or a newer rdbmerge, wrote."""
        try:
            contents = cls.model_validate_json(text)
            contents.dialect  # noqa: B018 - raises for a magic that cannot be
        except (ValidationError, FormatError) as error:
            raise UsageError(
                f"the object's {METADATA_NAME} cannot be understood: {str(error).splitlines()[0]}",
                remedy="give the file that was uploaded with --rdb, or upload it again with this version",
            ) from error
        if contents.contents_format != CONTENTS_FORMAT:
            raise UsageError(
                f"the object's {METADATA_NAME} has format {contents.contents_format}, this rdbmerge knows"
                f" {CONTENTS_FORMAT}",
                remedy="give the file that was uploaded with --rdb",
            )
        return contents


def _few(names: list[str]) -> list[str]:
    return names if len(names) <= 8 else [*names[:8], "..."]


def _few_dbs(keys: dict[int, int]) -> dict[int, int]:
    """Of very many dbs the first ones, and in the last one the keys of all the others: number and sum stay right."""
    if len(keys) <= 20:
        return keys
    ordered = sorted(keys)
    few = {db: keys[db] for db in ordered[:18]}
    return few | {ordered[-1]: sum(keys.values()) - sum(few.values())}


def slot_shares_text(weights: list[float]) -> str:
    """The text of `slot_shares` for the weights of all parts."""
    most = max(weights, default=0.0)
    if most <= 0:
        return ""
    return "".join(f"{round(weight / most * _MOST_SHARE):0{_SHARE_DIGITS}x}" for weight in weights)
