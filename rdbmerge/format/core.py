"""Chooses the compiled or the interpreted core, once, at import; everything else takes the core from here.

`RDBMERGE_PURE=1` picks the source even when a compiled one is there; `RDBMERGE_REQUIRE_COMPILED=1` refuses to start
without it. Knows nothing of what the core does.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType

from rdbmerge.errors import UsageError

# In the order in which they build upon each other.
_NAMES = (
    "_lzf_cy", "_hash_cy", "_cursor_cy", "_element_cy", "_packs_cy", "_values_cy", "_scan_cy", "_items_cy",
    "_streams_cy", "_decode_cy", "_fields_cy", "_pieces_cy", "_recode_cy", "_emit_cy",
    "_stream_meaning_cy", "_meaning_cy", "_digest_cy", "_slots_cy", "_crc64_cy", "_replies_cy",
    "_restore_cy",
)  # fmt: skip
_PACKAGE = "rdbmerge.format"


def _load_source(name: str) -> ModuleType:
    """The module as interpreted source, though a compiled one lies beside it."""
    full_name = f"{_PACKAGE}.{name}"
    path = Path(__file__).with_name(f"{name}.py")
    spec = importlib.util.spec_from_file_location(full_name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"no source of {full_name}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[full_name] = module
    spec.loader.exec_module(module)
    return module


def _is_compiled(name: str) -> bool:
    spec = importlib.util.find_spec(f"{_PACKAGE}.{name}")
    return spec is not None and isinstance(spec.loader, importlib.machinery.ExtensionFileLoader)


def _load() -> dict[str, ModuleType]:
    # Half of one and half of the other could disagree about C types: it is all compiled or all source.
    compiled = os.environ.get("RDBMERGE_PURE") != "1" and all(_is_compiled(name) for name in _NAMES)
    if not compiled and os.environ.get("RDBMERGE_REQUIRE_COMPILED") == "1":
        raise UsageError(
            "RDBMERGE_REQUIRE_COMPILED=1 is set, but the compiled core is not installed",
            remedy="install a C compiler and run `pip install --force-reinstall --no-binary rdbmerge rdbmerge`",
        )
    return {name: importlib.import_module(f"{_PACKAGE}.{name}") if compiled else _load_source(name) for name in _NAMES}


_modules = _load()

COMPILED: bool = all(module.COMPILED for module in _modules.values())
Cursor = _modules["_values_cy"].ValueCursor
Scanner = _modules["_scan_cy"].Scanner
unpack_lzf = _modules["_lzf_cy"].unpack
Pack = _modules["_packs_cy"].Pack
find_long_lengths = _modules["_values_cy"].find_long_lengths
Templates = _modules["_values_cy"].Templates
ItemReader = _modules["_items_cy"].ItemReader
StreamReader = _modules["_streams_cy"].StreamReader
Decoder = _modules["_decode_cy"].Decoder
Entry = _modules["_decode_cy"].Entry
Items = _modules["_decode_cy"].Items
Entries = _modules["_decode_cy"].Entries
FieldSurvey = _modules["_fields_cy"].FieldSurvey
judge_rows = _modules["_fields_cy"].judge_rows
Recoder = _modules["_recode_cy"].Recoder
survey_rows = _modules["_recode_cy"].survey_rows
emit_rows = _modules["_emit_cy"].emit_rows
RestoreWriter = _modules["_restore_cy"].RestoreWriter
hash_keys = _modules["_hash_cy"].hash_keys
xxh64_of = _modules["_hash_cy"].xxh64_of
digest_rows = _modules["_digest_cy"].digest_rows
digest_one = _modules["_digest_cy"].digest_one
key_slots = _modules["_slots_cy"].key_slots
slot_of = _modules["_slots_cy"].slot_of
same_spans = _modules["_digest_cy"].same_spans
shifted = _modules["_digest_cy"].shifted
mixed = _modules["_hash_cy"].mixed
Meaning = _modules["_meaning_cy"].Meaning
crc64_of = _modules["_crc64_cy"].crc64_of
write_asks = _modules["_replies_cy"].write_asks
read_keys = _modules["_replies_cy"].read_keys
take_dumps = _modules["_replies_cy"].take_dumps
