"""One logical value in all the forms that a file can hold it in, for properties: which one is drawn.

Written from rdb-format.md alone; `Encoded` is what the tests read again.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from blobbytes import Element, intset, listpack, lzf, ziplist, zipmap
from decoded import REDIS, VALKEY, templates
from hypothesis import strategies as st
from rdbbytes import length, string

from rdbmerge.format.core import Templates
from rdbmerge.format.dialects import Dialect

TEXTS = st.one_of(
    st.sampled_from([b"", b"a", b"b", b"ab", b"5", b"-1", b"05", b"300", b"-70000", b"9223372036854775807", b"x" * 70]),
    st.integers(-(1 << 63), (1 << 63) - 1).map(lambda number: b"%d" % number),
    st.binary(max_size=5),
)
FEW = st.sampled_from([b"", b"a", b"b", b"ab", b"5"])  # so that two values are nearly equal now and then
SCORES = st.one_of(
    st.sampled_from([0.0, -0.0, 1.0, 1.5, -3.0, 1e300, float("inf"), float("-inf"), 0.1, float(1 << 53)]),
    st.floats(allow_nan=False),
)
LISTS = st.one_of(st.lists(TEXTS, max_size=6), st.lists(FEW, max_size=3))
SETS = st.one_of(
    st.frozensets(TEXTS, max_size=6),
    st.frozensets(FEW, max_size=3),
    st.frozensets(st.integers(-(1 << 31), 1 << 31).map(lambda number: b"%d" % number), max_size=6),
)
ZSETS = st.one_of(
    st.dictionaries(TEXTS, SCORES, max_size=5),
    st.dictionaries(FEW, st.sampled_from([0.0, -0.0, 1.0, 5.0]), max_size=3),
)
HASHES = st.one_of(st.dictionaries(TEXTS, TEXTS, max_size=5), st.dictionaries(FEW, FEW, max_size=2))
TIMES = st.one_of(st.none(), st.integers(1, 5), st.integers(1, (1 << 48) - 1))
# field -> (value, expiry or None)
TIMED_HASHES = st.one_of(
    st.dictionaries(TEXTS, st.tuples(TEXTS, TIMES), max_size=5),
    st.dictionaries(FEW, st.tuples(FEW, st.sampled_from([None, 1, 2])), max_size=2),
)


@dataclass(frozen=True)
class Encoded:
    """A payload, and what it takes to read it."""

    number: int
    payload: bytes
    dialect: Dialect = REDIS
    held: Templates | None = None


def is_number(text: bytes) -> bool:
    """Whether servers may store the text as an integer."""
    if not text.lstrip(b"-").isdigit() or len(text) > 20:
        return False
    return b"%d" % int(text) == text and -1 << 63 <= int(text) < 1 << 63


@st.composite
def stored(draw: st.DrawFn, text: bytes) -> bytes:
    """A string of the file: raw, with a length longer than need be, as an integer, or compressed."""
    ways = [string(text), b"\x80" + struct.pack(">I", len(text)) + text, lzf(text)]
    if is_number(text):
        for opcode, size in ((b"\xc0", 1), (b"\xc1", 2), (b"\xc2", 4)):
            if -1 << 8 * size - 1 <= int(text) < 1 << 8 * size - 1:
                ways.append(opcode + int(text).to_bytes(size, "little", signed=True))
    return draw(st.sampled_from(ways))


@st.composite
def element(draw: st.DrawFn, text: bytes) -> Element:
    """An element of a blob: bytes, or the integer that they spell."""
    return int(text) if is_number(text) and draw(st.booleans()) else text


@st.composite
def pack(draw: st.DrawFn, texts: Sequence[bytes], kind: Any = None) -> bytes:
    """A ziplist or listpack with these elements, as it stands in the file: raw or compressed."""
    blob = (kind or draw(st.sampled_from([ziplist, listpack])))(*[draw(element(text)) for text in texts])
    return draw(st.sampled_from([string(blob), lzf(blob)]))


@st.composite
def strings_of(draw: st.DrawFn, *rows: Sequence[bytes]) -> bytes:
    """A count, and the strings of each row."""
    return length(len(rows)) + b"".join(draw(stored(text)) for row in rows for text in row)


@st.composite
def nodes(draw: st.DrawFn, texts: Sequence[bytes]) -> list[list[bytes]]:
    """The elements of a list, shared out among nodes; some of them empty."""
    cuts = sorted(draw(st.lists(st.integers(0, len(texts)), max_size=3)))
    return [list(texts[start:stop]) for start, stop in zip([0, *cuts], [*cuts, len(texts)], strict=True)]


@st.composite
def list_forms(draw: st.DrawFn, texts: Sequence[bytes]) -> Encoded:
    number = draw(st.sampled_from([1, 10, 14, 18]))
    if number == 1:
        return Encoded(1, draw(strings_of(*[[text] for text in texts])))
    if number == 10:
        return Encoded(10, draw(pack(texts, ziplist)))
    parts = draw(nodes(texts))
    if number == 14:
        return Encoded(14, length(len(parts)) + b"".join(draw(pack(part, ziplist)) for part in parts))
    out = b""
    for part in parts:
        if len(part) == 1 and draw(st.booleans()):
            out += b"\x01" + draw(stored(part[0]))
        else:
            out += b"\x02" + draw(pack(part, listpack))
    return Encoded(18, length(len(parts)) + out)


@st.composite
def set_forms(draw: st.DrawFn, members: frozenset[bytes]) -> Encoded:
    texts = draw(st.permutations(sorted(members)))
    widths = [width for width in (2, 4, 8) if all(_fits(text, width) for text in members)]
    number = draw(st.sampled_from([2, 20] + [11] * bool(widths)))
    if number == 11:
        return Encoded(11, string(intset(draw(st.sampled_from(widths)), *sorted(map(int, members)))))
    return Encoded(number, draw(strings_of(*[[text] for text in texts]) if number == 2 else pack(texts, listpack)))


def _fits(text: bytes, width: int) -> bool:
    return is_number(text) and -1 << 8 * width - 1 <= int(text) < 1 << 8 * width - 1


@st.composite
def score_text(draw: st.DrawFn, score: float) -> bytes:
    """A score as servers of several versions spell it."""
    ways = [b"%.17g" % score, repr(score).encode()]
    if score.is_integer() and abs(score) < 1e15:
        ways.append(b"%d" % score)
    return draw(st.sampled_from(ways))


@st.composite
def zset_forms(draw: st.DrawFn, scores: dict[bytes, float]) -> Encoded:
    number = draw(st.sampled_from([3, 5, 12, 17]))
    members = draw(st.permutations(sorted(scores)))
    if number in (12, 17):
        texts = [text for member in members for text in (member, draw(score_text(scores[member])))]
        return Encoded(number, draw(pack(texts, ziplist if number == 12 else listpack)))
    out = length(len(members))
    for member in members:
        score, text = scores[member], draw(score_text(scores[member]))
        infinite = {float("inf"): b"\xfe", float("-inf"): b"\xff"}.get(score)
        out += draw(stored(member))
        out += struct.pack("<d", score) if number == 5 else infinite or bytes([len(text)]) + text
    return Encoded(number, out)


@st.composite
def hash_forms(draw: st.DrawFn, fields: dict[bytes, bytes]) -> Encoded:
    """Also those that hold expiries, with none."""
    number = draw(st.sampled_from([4, 9, 13, 16, 30, 32, 0]))
    names = draw(st.permutations(sorted(fields)))
    texts = [text for name in names for text in (name, fields[name])]
    if number == 0:
        return draw(timed_forms({name: (fields[name], None) for name in fields}))
    if number == 4:
        return Encoded(4, draw(strings_of(*[[name, fields[name]] for name in names])))
    if number == 9:
        blob = zipmap({name: fields[name] for name in names}, free=draw(st.integers(0, 3)))
        return Encoded(9, draw(st.sampled_from([string(blob), lzf(blob)])))
    if number in (30, 32):
        held, values = templates(t7=list(names)), [fields[name] for name in names]
        if number == 32:
            return Encoded(32, b"\x07" + b"".join(draw(stored(value)) for value in values), held=held)
        blob = listpack(7, *[draw(element(value)) for value in values])
        return Encoded(30, draw(st.sampled_from([string(blob), lzf(blob)])), held=held)
    return Encoded(number, draw(pack(texts, ziplist if number == 13 else listpack)))


@st.composite
def timed_forms(draw: st.DrawFn, fields: dict[bytes, tuple[bytes, int | None]]) -> Encoded:
    """A hash whose fields expire, as any of the forms of either line."""
    number = draw(st.sampled_from([22, 23, 24, 25, -22]))
    names = draw(st.permutations(sorted(fields)))
    first = min((at for _, at in fields.values() if at is not None), default=0)
    if number in (23, 25):
        parts: list[Element] = []
        for name in names:
            text, at = fields[name]
            parts += [draw(element(name)), draw(element(text)), at or 0]
        blob = listpack(*parts)
        head = struct.pack("<q", first) if number == 25 else b""
        return Encoded(number, head + draw(st.sampled_from([string(blob), lzf(blob)])))
    out = struct.pack("<q", first) if number == 24 else b""
    out += length(len(names))
    for name in names:
        text, at = fields[name]
        if number > 0:
            out += length(0 if at is None else at if number == 22 else at - first + 1)
        out += draw(stored(name)) + draw(stored(text))
        if number < 0:
            out += struct.pack("<q", -1 if at is None else at)
    return Encoded(abs(number), out, REDIS if number > 0 else VALKEY)


@st.composite
def string_forms(draw: st.DrawFn, text: bytes) -> Encoded:
    return Encoded(0, draw(stored(text)))
