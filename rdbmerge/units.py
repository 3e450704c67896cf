"""Text for people into numbers with a unit, and back: durations, sizes, instants, keys. Pure; reads no clock."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from rdbmerge.errors import UsageError

_DURATION_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_SIZE = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w)")
_SIZE_TEXT = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?(?:/s)?", re.IGNORECASE)
_DURATION_HINT = "write it as 3h, -15m, 1d12h or 1500ms"
# Farther than this no server keeps an expiry apart from "for ever"; see rdb-format.md 13.
_MAX_DURATION_MS = 1 << 47
_MAX_INSTANT_MS = 1 << 47
_NO_DISK_BYTES = 1 << 62


def parse_duration_ms(text: str) -> int:
    """Milliseconds of `3h`, `-15m`, `1d12h`, `1500ms`, `0`. Raises UsageError for anything else."""
    body = text.strip().lower()
    sign = -1 if body.startswith("-") else 1
    body = body.lstrip("+-") if len(body) - len(body.lstrip("+-")) <= 1 else ""
    if body == "0":
        return 0
    parts = _PART.findall(body)
    if not parts or "".join(number + unit for number, unit in parts) != body:
        raise UsageError(f"{text!r} is not a duration", remedy=_DURATION_HINT)
    total_ms = sum(float(number) * _DURATION_MS[unit] for number, unit in parts)
    if total_ms > _MAX_DURATION_MS:
        raise UsageError(f"{_cut(text)!r} is longer than 4,000 years", remedy=_DURATION_HINT)
    return sign * sum(round(float(number) * _DURATION_MS[unit]) for number, unit in parts)


def _cut(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."


def parse_size_bytes(text: str) -> int:
    """Bytes of `512`, `64k`, `10MB`, `1.5GiB`, `20mb/s` (powers of 1,024). Raises UsageError for anything else."""
    match = _SIZE_TEXT.fullmatch(text.strip())
    if not match:
        raise UsageError(f"{text!r} is not a size", remedy="write it as 512k, 64MB or 1.5GB")
    size = float(match[1]) * _SIZE[match[2].lower()]
    if size >= _NO_DISK_BYTES:
        raise UsageError(f"{_cut(text)!r} is more than any disk holds", remedy="write it as 512k, 64MB or 1.5GB")
    return round(size)


def parse_instant_ms(text: str) -> int:
    """Unix milliseconds of `2026-11-23T02:00:00Z`, `2026-11-23 02:00+01:00`, `1795400000` (s) or `1795400000000` (ms).

    A time without a zone is refused: a maintenance window must not depend on the machine's zone.
    """
    body = text.strip()
    if body.isascii() and body.isdigit():
        number = int(body) if len(body) <= 20 else _MAX_INSTANT_MS + 1
        if number > _MAX_INSTANT_MS:
            raise UsageError(f"{_cut(text)!r} is farther than the year 6000", remedy="give seconds or milliseconds")
        # 10^11 s is the year 5138; 10^11 ms is 1973: no instant of this century is read wrongly.
        return number if number >= 10**11 else number * 1_000
    try:
        moment = datetime.fromisoformat(body)
    except ValueError:
        raise UsageError(f"{text!r} is not a time", remedy="write it as 2026-11-23T02:00:00Z") from None
    if moment.tzinfo is None:
        raise UsageError(f"{text!r} has no time zone", remedy="add Z for UTC, or an offset such as +01:00")
    return round(moment.timestamp() * 1_000)


def format_instant(at_ms: int | None) -> str:
    """`2026-11-23 02:00:00Z`; "-" for None; the bare number beyond the calendar's reach."""
    if at_ms is None:
        return "-"
    try:
        return datetime.fromtimestamp(at_ms / 1_000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    except (OverflowError, ValueError, OSError):
        return f"{at_ms:,} ms"


def format_duration_ms(duration_ms: int) -> str:
    """`3h`, `-15m`, `1d12h`, `0s`: the text that `parse_duration_ms` reads back to the same number."""
    if duration_ms == 0:
        return "0s"
    rest, out = abs(duration_ms), "-" if duration_ms < 0 else ""
    for unit in ("d", "h", "m", "s", "ms"):
        count, rest = divmod(rest, _DURATION_MS[unit])
        out += f"{count}{unit}" if count else ""
    return out


def format_bytes(size_bytes: int | float) -> str:
    """`0 B`, `1.5 KB`, `20.0 GB` (powers of 1,024)."""
    size = float(size_bytes)
    for unit in ("B", "KB", "MB", "GB"):
        if abs(size) < 1024:
            return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TB"


def escape_key(key: bytes, *, limit: int = 120) -> str:
    """A key for people: printable ASCII as it is, the rest as \\xNN, cut at `limit` bytes with the length told."""
    if (
        len(key) <= limit
        and key.isascii()
        and (text := key.decode()).isprintable()
        and not ('"' in text or "\\" in text)
    ):
        return f'"{text}"'  # the usual key, without looking at each byte
    shown = "".join(
        chr(byte) if 32 <= byte < 127 and byte not in (34, 92) else f"\\x{byte:02x}" for byte in key[:limit]
    )
    return f'"{shown}"' if len(key) <= limit else f'"{shown}"... ({len(key):,} bytes)'
