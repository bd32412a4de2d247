"""What an API says in its headers of what is left of its limits, in the ways the makers say it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

from msgspec.structs import replace

from ..spend.quota import Told
from .retry_after import number, until

_PREFIXES = ("x-ratelimit-", "anthropic-ratelimit-", "x-codex-")
_WINDOWS = {"5h": 18_000.0, "7d": 604_800.0}
_MOST = 2.0**53
"""Amounts beyond it, or below 0, are no readings."""
_UNITS: tuple[Literal["tokens", "requests"], ...] = ("tokens", "requests")


def rate_limits(headers: Mapping[str, str], now: float, steady: float) -> list[Told]:
    """All that ``headers`` (names in lower case) tell; ``now`` is seconds since 1970, ``steady`` the same moment by the
    clock of `Told.heard`."""
    if not any(name.startswith(_PREFIXES) for name in headers):
        return []
    told = (*_amounts(headers, now), *_shares(headers, now), *_codex(headers))
    return [replace(one, heard=steady) for one in told]


def _amounts(headers: Mapping[str, str], now: float) -> Iterator[Told]:
    for unit in _UNITS:
        for maker in ("x-ratelimit-{}-" + unit, f"anthropic-ratelimit-{unit}-{{}}"):
            limit, left = (_amount(headers.get(maker.format(word), "")) for word in ("limit", "remaining"))
            if limit is not None and left is not None:
                yield Told(unit, limit, left, until(headers.get(maker.format("reset"), ""), now))


def _shares(headers: Mapping[str, str], now: float) -> Iterator[Told]:
    """Of an Anthropic subscription."""
    for name, window in _WINDOWS.items():
        used = _amount(headers.get(f"anthropic-ratelimit-unified-{name}-utilization", ""))
        if used is not None:
            resets = until(headers.get(f"anthropic-ratelimit-unified-{name}-reset", ""), now)
            yield Told("share", 1.0, max(0.0, 1.0 - used), resets, window)


def _codex(headers: Mapping[str, str]) -> Iterator[Told]:
    """Of an OpenAI subscription."""
    for which in ("primary", "secondary"):
        used, minutes, resets = (
            _amount(headers.get(f"x-codex-{which}-{word}", ""))
            for word in ("used-percent", "window-minutes", "reset-after-seconds")
        )
        if used is not None and minutes is not None:
            yield Told("share", 1.0, max(0.0, 1.0 - used / 100), resets, minutes * 60)


def _amount(text: str) -> float | None:
    """Return the number in ``text``; None for what no API means."""
    value = number(text)
    return value if value is not None and 0 <= value <= _MOST else None
