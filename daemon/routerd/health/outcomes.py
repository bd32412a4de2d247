"""What backends' answers came to, the older the less it counts. It is for preference alone: what rests a
backend is in `breaker` and `tracker`."""

from __future__ import annotations

import math
from collections.abc import Iterable

from msgspec import Struct

from routerd_client.records import Attempt, FailureKind, Outcome

from .failure import RULES

HALF_LIFE_S = 7 * 86_400.0
"""An outcome of a week ago counts half."""
MOST = 200.0
"""All outcomes of a backend together count as no more than so many: what goes bad must show soon."""
FEEDBACK = 3.0
"""What a person says of one answer counts as so many answers."""
TRUST = 2.0
"""A backend of which nothing is known is taken to have given so many good answers."""

_MONEYS = (FailureKind.BUDGET_DENIED, FailureKind.QUOTA_SPENT)
"""Failures that say nothing of how good a backend is."""

Key = tuple[str, str]
"""A backend's name and its model: another model is another backend."""


class Past(Struct, frozen=True):
    """``good`` and ``bad`` outcomes of ``age_s`` seconds ago."""

    key: Key
    age_s: float
    good: float = 0.0
    bad: float = 0.0


def standing(attempt: Attempt, flaw: FailureKind | None) -> str:
    """What ``attempt`` says of its backend: ``good``, ``bad``, or ``""`` for nothing. ``flaw`` is what was found
    wrong with its answer, though it counted."""
    wrong = attempt.failure or flaw
    if attempt.outcome is Outcome.CANCELLED or (wrong and (RULES[wrong].callers or wrong in _MONEYS)):
        return ""
    return "bad" if wrong else "good"


class Outcomes:
    """Of all backends. Times are seconds of one steady clock."""

    def __init__(self) -> None:
        self._counts: dict[Key, tuple[float, float, float]] = {}  # good and bad, as they were at a time

    def load(self, past: Iterable[Past], now: float) -> None:
        """Take in what an earlier daemon recorded."""
        for outcome in past:
            left = _left(outcome.age_s)
            self.note(outcome.key, now, outcome.good * left, outcome.bad * left)

    def note(self, key: Key, now: float, good: float = 0.0, bad: float = 0.0) -> None:
        """Count these in."""
        before = self.counts(key, now)
        total = before[0] + good, before[1] + bad
        scale = min(1.0, MOST / max(sum(total), 1.0))
        self._counts[key] = total[0] * scale, total[1] * scale, now

    def counts(self, key: Key, now: float) -> tuple[float, float]:
        """Good and bad ones, each by what it still counts."""
        good, bad, then = self._counts.get(key, (0.0, 0.0, now))
        left = _left(now - then)
        return good * left, bad * left

    def quality(self, key: Key, now: float) -> float | None:
        """The share of good ones, 0..1; None where nothing was ever recorded."""
        if key not in self._counts:
            return None
        good, bad = self.counts(key, now)
        return (good + TRUST) / (good + bad + TRUST)


def _left(age_s: float) -> float:
    """What an outcome of that age still counts."""
    return math.pow(0.5, max(0.0, age_s) / HALF_LIFE_S)
