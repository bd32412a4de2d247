"""What a ``match`` says in little languages of its own: regular expressions, times of day. Pure."""

from __future__ import annotations

import re
from re import _constants as op  # type: ignore[attr-defined]
from re import _parser  # type: ignore[attr-defined]
from typing import Any

LOOKED_AT = 1000
"""Characters of a prompt that a regex is asked about."""
LONGEST = 500
_MOST_STEPS = 10_000_000
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_TIME = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)")


def compile_regex(pattern: str) -> re.Pattern[str]:
    """The compiled pattern, blind to case. Raises ``ValueError`` for one that is wrong or might backtrack for long.

    The bound is on the characters it may look at before it gives up, from each of the `LOOKED_AT` on: one open
    repeat (``.*``) passes, two do not, ``.{0,40}`` twice does. What can go several ways may be repeated a few times.
    """
    if len(pattern) > LONGEST:
        raise ValueError(f"longer than {LONGEST} characters")
    try:
        compiled = re.compile(pattern, re.IGNORECASE)
        steps = LOOKED_AT * _effort(_parser.parse(pattern))[1]
    except (re.error, OverflowError) as error:
        raise ValueError(str(error)) from error
    except RecursionError:
        raise ValueError("nested too deep") from None
    if steps > _MOST_STEPS:
        raise ValueError("it may backtrack for long: bound its repeats, as in .{0,20}")
    return compiled


def _effort(parsed: Any) -> tuple[int, int]:
    """In how many ways it can match at one place, and how many characters all of them look at, at most."""
    ways, steps = 1, 0
    for kind, argument in parsed:
        its_ways, its_steps = _effort_of(kind, argument)
        steps = min(steps + ways * its_steps, _MOST_STEPS)
        ways = min(ways * its_ways, _MOST_STEPS)
    return ways, steps


def _effort_of(kind: Any, argument: Any) -> tuple[int, int]:
    if kind in (op.MAX_REPEAT, op.MIN_REPEAT, op.POSSESSIVE_REPEAT):
        least, most, inner = argument
        return _repeated(*_effort(inner), min(int(least), LOOKED_AT), min(int(most), LOOKED_AT))
    if kind is op.BRANCH:
        efforts = [_effort(branch) for branch in argument[1]]
        return sum(ways for ways, _ in efforts), sum(steps for _, steps in efforts)
    if kind is op.SUBPATTERN:
        return _effort(argument[-1])
    if kind in (op.ASSERT, op.ASSERT_NOT):
        return 1, _effort(argument[1])[1]  # once it has matched, it is not tried another way
    if kind in (op.GROUPREF, op.GROUPREF_EXISTS, op.ATOMIC_GROUP):
        raise ValueError("references to groups and atomic groups are not taken")
    return 1, 1


def _repeated(ways: int, steps: int, least: int, most: int) -> tuple[int, int]:
    """The effort of ``least`` to ``most`` of what has this effort itself."""
    if ways == 1:
        return most - least + 1, most * steps
    if most > _MOST_STEPS.bit_length():  # two ways each time are too many by then
        return _MOST_STEPS, _MOST_STEPS
    return sum(ways**n for n in range(least, most + 1)), steps * sum(ways**n for n in range(most))


def parse_window(text: str) -> tuple[int, int]:
    """``22:00-06:00`` as minutes of the day, from and to. Raises ``ValueError``."""
    start, dash, end = text.partition("-")
    times = [_TIME.fullmatch(part.strip()) for part in (start, end)]
    if not dash or None in times:
        raise ValueError(f"{text!r} is not a time of day like 22:00-06:00")
    first, last = (int(time[1]) * 60 + int(time[2]) for time in times if time)
    if first == last:
        raise ValueError(f"{text!r} begins when it ends")
    return first, last


def parse_weekday(text: str) -> int:
    """``mon``, ``Monday`` and what lies between are 0. Raises ``ValueError``."""
    for index, day in enumerate(_DAYS):
        if len(text) >= 3 and day.startswith(text.lower()):
            return index
    raise ValueError(f"{text!r} is not a day: {', '.join(WEEKDAYS)}")
