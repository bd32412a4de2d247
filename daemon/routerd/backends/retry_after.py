"""When an API says that asking again may help, in the ways the makers say it. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhd])")
_EPOCH = 1e9
"""Numbers from here on are moments, in seconds since 1970; a thousand times that, in milliseconds."""
LONGEST_S = 400 * 86_400.0
"""No API means a longer time, and what is shown as a date must be one."""

_LIMITS = (
    # what is left of a limit, and when it is full again
    *((f"x-ratelimit-remaining-{what}", f"x-ratelimit-reset-{what}") for what in ("requests", "tokens")),
    *(
        (f"anthropic-ratelimit-{what}-remaining", f"anthropic-ratelimit-{what}-reset")
        for what in ("requests", "tokens", "input-tokens", "output-tokens")
    ),
    ("x-ratelimit-remaining", "x-ratelimit-reset"),
    ("", "anthropic-ratelimit-unified-reset"),
)


def retry_after(headers: Mapping[str, str], now: float, *, limited: bool) -> float | None:
    """Seconds until asking again may help, as ``headers`` say; None where they do not.

    ``now`` is the time in seconds since 1970; the server's own clock, where it sends it, is taken instead.
    ``limited``: a rate limit is what was hit, so that the moments at which limits are full again count.
    """
    here = _date(headers.get("date", ""))
    now = now if here is None else here
    if (milliseconds := number(headers.get("retry-after-ms", ""))) is not None:
        return min(max(0.0, milliseconds / 1000), LONGEST_S)
    if (seconds := until(headers.get("retry-after", ""), now)) is not None:
        return seconds
    return _full_again(headers, now) if limited else None


def _full_again(headers: Mapping[str, str], now: float) -> float | None:
    """All the limits that are used up must be full again; where none is, the soonest may do."""
    resets = [
        (wait, number(headers.get(remaining, "")))
        for remaining, reset in _LIMITS
        if (wait := until(headers.get(reset, ""), now)) is not None
    ]
    spent = [wait for wait, left in resets if left == 0]
    return max(spent) if spent else min((wait for wait, _ in resets), default=None)


def until(text: str, now: float) -> float | None:
    """Seconds from ``now``, of a number of them, a duration (``6m0s``), or a moment in any of three forms."""
    for value in _readings(text.strip(), now):
        if value is not None and math.isfinite(value):
            return min(max(0.0, value), LONGEST_S)
    return None


def _readings(text: str, now: float) -> Iterator[float | None]:
    value = number(text)
    if value is None:
        yield _duration(text)
        moment = _date(text)
        yield None if moment is None else moment - now
    elif value >= _EPOCH * 1000:
        yield value / 1000 - now
    else:
        yield value - now if value >= _EPOCH else value


def number(text: str) -> float | None:
    """A finite number; None for what is none."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _duration(text: str) -> float | None:
    parts = _DURATION.findall(text)
    if not parts or "".join(count + unit for count, unit in parts) != text:
        return None
    return sum(float(count) * _UNITS[unit] for count, unit in parts)


def _date(text: str) -> float | None:
    """Seconds since 1970 of an HTTP date or of RFC 3339."""
    for read in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            moment = read(text)
            return moment.timestamp() if moment.tzinfo else None
        except (ValueError, OverflowError, TypeError):
            continue
    return None
