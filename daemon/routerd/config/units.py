"""Durations and sizes as people write them, and back."""

from __future__ import annotations

import math
import re

_SECONDS = {"d": 86_400.0, "h": 3_600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_DURATION = re.compile("".join(rf"(?:([0-9]+(?:\.[0-9]+)?){unit})?" for unit in _SECONDS))
_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?")
_BYTES = {
    "b": 1,
    **{f"{prefix}b": 1000**power for power, prefix in enumerate("kmgt", 1)},
    **{f"{prefix}ib": 1024**power for power, prefix in enumerate("kmgt", 1)},
}
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([kmgt]i?b|b)?", re.IGNORECASE)
_LONGEST = 40


def parse_duration(value: float | str) -> float:
    """Seconds of ``500ms``, ``90s``, ``15m``, ``2h``, ``1d``, ``1h30m`` or a plain number of seconds.

    Units come largest first, each at most once. Raises ValueError for anything else, and for what is
    negative or not finite.
    """
    if isinstance(value, str):
        value = _spelled_duration(value)
    if not (math.isfinite(value) and value >= 0):
        raise ValueError(f"not a duration: {value}")
    return float(value)


def _spelled_duration(text: str) -> float:
    if len(text) > _LONGEST:
        raise ValueError("not a duration: too long")
    if _NUMBER.fullmatch(text):
        return float(text)
    match = _DURATION.fullmatch(text)
    if not match or not text:
        raise ValueError(f"not a duration: {text!r}")
    parts = zip(match.groups(), _SECONDS.values(), strict=True)
    return sum(float(number) * unit for number, unit in parts if number)


def parse_size(value: int | str) -> int:
    """Bytes of ``512MB``, ``8GB`` (powers of 1000), ``8GiB`` (of 1024) or a plain number of bytes.

    Letter case does not matter. Raises ValueError for anything else, and for negative numbers.
    """
    if isinstance(value, str):
        value = _spelled_size(value)
    if value < 0:
        raise ValueError(f"not a size: {value}")
    return value


def _spelled_size(text: str) -> int:
    match = _SIZE.fullmatch(text) if len(text) <= _LONGEST else None
    if not match:
        raise ValueError("not a size")
    factor: int = _BYTES[(match[2] or "b").lower()]
    return round(float(match[1]) * factor)


def format_duration(seconds: float) -> str:
    """``900.0`` -> ``15m``, ``5400.0`` -> ``1h30m``, ``0.5`` -> ``500ms``: exact to the millisecond."""
    rest = round(seconds * 1000)
    if rest < 1000:
        return f"{rest}ms" if rest else "0s"
    parts = []
    for unit in ("d", "h", "m"):
        count, rest = divmod(rest, round(_SECONDS[unit] * 1000))
        parts.append(f"{count}{unit}" if count else "")
    parts.append(f"{rest / 1000:g}s" if rest else "")
    return "".join(parts)


def format_size(size: int) -> str:
    """``8_000_000_000`` -> ``8GB``, ``1_234_567`` -> ``1.2MB``: powers of 1000, rounded to one decimal."""
    for unit, factor in (("TB", 1000**4), ("GB", 1000**3), ("MB", 1000**2), ("kB", 1000)):
        # 999.96 MB would print as 1000MB: the next unit begins where rounding reaches it
        if size >= factor - factor / 20_000:
            return f"{size / factor:.1f}".removesuffix(".0") + unit
    return f"{size}B"
