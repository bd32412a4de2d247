"""Training the linear scorer: ridge regression on the gain from the strong model.

Pure Python: seconds for thousands of rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from math import log, sqrt
from operator import mul

from msgspec import Struct

from .linear import Linear, clip
from .text import Features

FORM, WORDS = 0.015, 0.1
"""How much form and words may say, against a penalty of one on the weights."""
FULL_TRUST = 800
"""From about this many rows on, words may say their part: with fewer, they are mostly chance."""
EPOCHS = 12
FOLDS = 5

Vector = tuple[list[int], list[float]]


class Example(Struct, frozen=True):
    """One row: its features, what the strong model gains on it, and the text, which only picks its fold."""

    features: Features
    gain: float
    text: str


def fold(text: str, folds: int = FOLDS, salt: str = "") -> int:
    """Which of ``folds`` parts a row belongs to: by its text, so that equal prompts stay together."""
    digest = blake2b(f"{salt}\0{text}".encode("utf-8", "replace"), digest_size=8).digest()
    return int.from_bytes(digest, "big") % folds


def unseen_scores(rows: Sequence[Example]) -> list[float]:
    """Each row's score by a model that was trained on the other folds.

    All scores have the same base: a fold that gained more than the others leaves them a lower one, which would
    set its rows back against theirs.
    """
    scores = [0.0] * len(rows)
    base = _mean_gain(rows)
    parts = [fold(row.text) for row in rows]
    for part in set(parts):
        model = train([row for row, its in zip(rows, parts, strict=True) if its != part])
        for i, row in enumerate(rows):
            if parts[i] == part:
                scores[i] = model.score(row.features) - model.base + base
    return scores


def train(rows: Sequence[Example]) -> Linear:
    """The scorer of ``rows``. Raises ``ValueError`` where there is none."""
    if not rows:
        raise ValueError("no rows to train on")
    mean_gain = _mean_gain(rows)
    idf = _idf(rows)
    scales = _scales([row.features.form for row in rows])
    words = sqrt(WORDS * len(rows) ** 2 / (len(rows) ** 2 + FULL_TRUST**2))
    form = sqrt(FORM / len(scales))
    column = {gram: at for at, gram in enumerate(idf)}
    vectors = [_words(row.features, idf, column, words) for row in rows]
    for (columns, values), row in zip(vectors, rows, strict=True):
        columns += range(len(column), len(column) + len(scales))
        values += [form * clip(x, *scale) for x, scale in zip(row.features.form, scales, strict=True)]
    weights = _ridge(vectors, [row.gain - mean_gain for row in rows], len(column) + len(scales))
    grams = {gram: (idf[gram] ** 2, idf[gram] * weights[at] * words) for gram, at in column.items()}
    measures = [(*scale, weight * form) for scale, weight in zip(scales, weights[len(column) :], strict=True)]
    return Linear(mean_gain, grams, measures)


def _mean_gain(rows: Sequence[Example]) -> float:
    return sum(row.gain for row in rows) / len(rows)


def _idf(rows: Sequence[Example]) -> dict[int, float]:
    """Inverse document frequencies of what occurs in two rows at least, and not in all."""
    seen = Counter(gram for row in rows for gram in row.features.grams)
    return {gram: log((1 + len(rows)) / (1 + times)) for gram, times in sorted(seen.items()) if 1 < times < len(rows)}


def _scales(forms: Sequence[Sequence[float]]) -> list[tuple[float, float]]:
    """Mean of each measure and one over its standard deviation; 0 for one that never changes."""
    scales = []
    for values in zip(*forms, strict=True):
        mean = sum(values) / len(values)
        deviation = sqrt(sum((value - mean) ** 2 for value in values) / len(values))
        scales.append((mean, 1 / deviation if deviation > 1e-9 else 0.0))
    return scales


def _words(features: Features, idf: Mapping[int, float], column: Mapping[int, int], weight: float) -> Vector:
    known = sorted(idf.keys() & features.grams)
    norm = sqrt(sum(idf[gram] ** 2 for gram in known)) or 1.0
    return [column[gram] for gram in known], [idf[gram] * weight / norm for gram in known]


def _ridge(vectors: Sequence[Vector], goals: Sequence[float], size: int) -> list[float]:
    """Least squares with a penalty of one on the weights, by coordinate ascent in the dual: each step solves
    one row exactly, so that no learning rate needs to be found."""
    weights, duals = [0.0] * size, [0.0] * len(goals)
    norms = [1 + sum(map(mul, values, values)) for _, values in vectors]
    for _ in range(EPOCHS):
        for i, (columns, values) in enumerate(vectors):
            found = sum(map(mul, map(weights.__getitem__, columns), values))
            step = (goals[i] - found - duals[i]) / norms[i]
            duals[i] += step
            for at, value in zip(columns, values, strict=True):
                weights[at] += step * value
    return weights
