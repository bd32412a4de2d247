"""A weighted sum over a text's features."""

from __future__ import annotations

from math import sqrt

from msgspec import Struct

from .text import Features

MAX_DEVIATION = 4.0
"""A measure further from its mean than this many standard deviations counts as this far."""


class Linear(Struct, frozen=True):
    """``grams``: hash to (inverse document frequency, weight). ``form``: of each measure (mean, one over its
    standard deviation, weight)."""

    base: float
    grams: dict[int, tuple[float, float]]
    form: list[tuple[float, float, float]]

    def score(self, features: Features) -> float:
        """The gain to expect. ``features`` must have as many measures as the model."""
        grams = self.grams
        total = norm = 0.0
        # sorted: a sum in another order may differ in its last digit
        for gram in sorted(grams.keys() & features.grams):
            idf, weight = grams[gram]
            norm += idf * idf
            total += idf * weight
        words = total / sqrt(norm) if norm else 0.0
        measured = zip(features.form, self.form, strict=True)
        return self.base + words + sum(weight * clip(x, mean, scale) for x, (mean, scale, weight) in measured)


def clip(measure: float, mean: float, scale: float) -> float:
    """Standard deviations from the mean, within bounds."""
    return max(-MAX_DEVIATION, min(MAX_DEVIATION, (measure - mean) * scale))
