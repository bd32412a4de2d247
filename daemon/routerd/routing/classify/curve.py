"""What a score is worth: the quality reached for each share of requests that goes to the strong model.

APGR is the mean part of the gap between weak and strong model that is recovered over all shares; random
scores have .5. CPTx is the share of requests, in percent, that must go to the strong model to recover x % of
the gap. Both are told as in the RouteLLM paper.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import groupby, pairwise
from math import inf, nextafter

from msgspec import Struct

BINS = 10


class Curve(Struct, frozen=True):
    """``recovered[i]`` is the part of the gap recovered with ``shares[i]`` of the requests at the strong model."""

    shares: list[float]
    recovered: list[float]
    weak: float
    strong: float

    @property
    def apgr(self) -> float:
        points = list(zip(self.shares, self.recovered, strict=True))
        return sum((x1 - x0) * (y0 + y1) / 2 for (x0, y0), (x1, y1) in pairwise(points))

    def cpt(self, percent: float) -> float:
        """The first share, in percent, that recovers ``percent`` of the gap."""
        goal = percent / 100
        for i in range(1, len(self.shares)):
            below, reached = self.recovered[i - 1], self.recovered[i]
            if reached >= goal:
                part = 0.0 if reached == below else max(0.0, (goal - below) / (reached - below))
                return 100 * (self.shares[i - 1] + (self.shares[i] - self.shares[i - 1]) * part)
        return 100.0

    def at(self, share: float) -> float:
        """The part of the gap recovered with ``share`` of the requests at the strong model."""
        i = min(max(bisect_left(self.shares, share), 1), len(self.shares) - 1)
        (x0, x1), (y0, y1) = self.shares[i - 1 : i + 1], self.recovered[i - 1 : i + 1]
        return y0 + (y1 - y0) * (share - x0) / (x1 - x0)


def curve(scores: Sequence[float], strong: Sequence[float], weak: Sequence[float]) -> Curve:
    """Measured at `BINS` equal steps. Requests of equal score are taken in any order: their mean counts.

    Raises ``ValueError`` where there is nothing to gain: no rows, or a strong model that is no better.
    """
    count = len(scores)
    gap = sum(strong) - sum(weak)
    if count == 0 or gap <= 0:
        raise ValueError("the strong model is no better than the weak one on these rows: there is nothing to route")
    gains = [s - w for s, w in zip(strong, weak, strict=True)]
    order = sorted(range(count), key=lambda i: -scores[i])
    reached = [0.0]
    for _, tied in groupby(order, key=lambda i: scores[i]):
        members = list(tied)
        mean = sum(gains[i] for i in members) / len(members) / gap
        reached += [reached[-1] + mean * step for step in range(1, len(members) + 1)]
    steps = sorted({round(count * step / BINS) for step in range(BINS + 1)})
    return Curve(
        [step / count for step in steps], [reached[step] for step in steps], sum(weak) / count, sum(strong) / count
    )


def threshold_for(scores: Sequence[float], share: float) -> float:
    """The lowest threshold that at most ``share`` of ``scores`` reach. Where many scores are equal it may be far
    fewer: those are above it, or below it, together. Needs one score."""
    ordered = sorted(scores, reverse=True)
    allowed = int(share * len(ordered) + 0.5)
    if allowed >= len(ordered):
        return ordered[-1]
    above = [score for score in ordered[:allowed] if score > ordered[allowed]]
    return above[-1] if above else nextafter(ordered[0], inf)


def quantiles(values: Sequence[float], steps: int = 100) -> list[float]:
    """``steps`` + 1 values from the lowest to the highest, with equally many of ``values`` between neighbours."""
    ordered = sorted(values)
    return [ordered[round(step * (len(ordered) - 1) / steps)] for step in range(steps + 1)]
