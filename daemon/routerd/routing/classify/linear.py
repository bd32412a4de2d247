"""A weighted sum over a text's features."""

from __future__ import annotations

from math import fsum, sqrt

from msgspec import Struct

from .text import Features

MAX_DEVIATION = 4.0
"""A measure further from its mean than this many standard deviations counts as this far."""


class Linear(Struct, frozen=True):
    """``grams``: hash to (square of the inverse document frequency, that frequency times the weight). ``form``: of
    each measure (mean, one over its standard deviation, weight)."""

    base: float
    grams: dict[int, tuple[float, float]]
    form: list[tuple[float, float, float]]

    def score(self, features: Features) -> float:
        """The gain to expect. ``features`` must have as many measures as the model."""
        known = list(filter(None, map(self.grams.get, features.grams)))
        squares, products = zip(*known, strict=True) if known else ((), ())
        # fsum: a plain sum in another order may differ in its last digit, and a set has none
        words = fsum(products) / sqrt(fsum(squares)) if known else 0.0
        measured = zip(features.form, self.form, strict=True)
        return self.base + words + sum(weight * clip(x, mean, scale) for x, (mean, scale, weight) in measured)


def clip(measure: float, mean: float, scale: float) -> float:
    """Standard deviations from the mean, within bounds."""
    return max(-MAX_DEVIATION, min(MAX_DEVIATION, (measure - mean) * scale))
