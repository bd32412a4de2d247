"""From labelled prompts to a classifier with a threshold, and what it is worth on prompts it has not seen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

from .complexity import complexity
from .curve import Curve, curve, quantiles, threshold_for
from .judge import answer_features
from .learned import By, Classifier
from .text import prompt_features
from .train import Example, train, unseen_scores

MIN_ROWS = 20


class Row(Struct, frozen=True):
    """A prompt, and how well the strong and the weak model did on it, on any one scale; or a ``label`` instead.
    ``weak_answer`` is for training a judge. A ``contaminated`` row, one that a model has been trained on, says
    nothing and is to be left out."""

    prompt: str
    strong_score: float | None = None
    weak_score: float | None = None
    label: Literal["simple", "complex"] | None = None
    weak_answer: str | None = None
    id: str | int | None = None
    contaminated: bool = False

    @property
    def scores(self) -> tuple[float, float] | None:
        """Strong and weak; None where the row says neither."""
        if self.strong_score is not None and self.weak_score is not None:
            return self.strong_score, self.weak_score
        return None if self.label is None else (1.0, float(self.label == "simple"))


class Calibration(Struct, frozen=True):
    """``curve`` and ``length`` (the prompts' length as the score, for comparison) are measured on unseen rows;
    ``share`` is the part of them that reaches the threshold, ``recovered`` what that gains."""

    classifier: Classifier
    curve: Curve
    length: Curve
    share: float
    recovered: float


def calibrate(rows: Sequence[Row], by: By, target_share: float, trained: str) -> Calibration:
    """Train on all ``rows``; measure and set the threshold on scores by models that did not see the row.

    Every row must have `Row.scores`, for a judge a ``weak_answer`` too. ``trained`` is a date to remember. Raises
    ``ValueError`` for fewer than `MIN_ROWS` rows, or where the strong model is no better. Takes seconds for
    thousands of rows.
    """
    if len(rows) < MIN_ROWS:
        raise ValueError(f"{len(rows)} rows are too few to learn from; {MIN_ROWS} are the least, hundreds are better")
    outcomes = [row.scores or (0.0, 0.0) for row in rows]
    strong, weak = [outcome[0] for outcome in outcomes], [outcome[1] for outcome in outcomes]
    length = curve([float(len(row.prompt)) for row in rows], strong, weak)
    if by == "rules":
        linear, scores = None, [complexity(row.prompt).value for row in rows]
    else:
        examples = [_example(row, s - w, by) for row, s, w in zip(rows, strong, weak, strict=True)]
        linear, scores = train(examples), unseen_scores(examples)
    threshold = threshold_for(scores, target_share)
    measured = curve(scores, strong, weak)
    share = sum(score >= threshold for score in scores) / len(scores)
    classifier = Classifier(by, len(rows), trained, target_share, threshold, quantiles(scores), linear)
    return Calibration(classifier, measured, length, share, measured.at(share))


def _example(row: Row, gain: float, by: By) -> Example:
    judged = by == "judge"
    features = answer_features(row.prompt, row.weak_answer or "") if judged else prompt_features(row.prompt)
    return Example(features, gain, row.prompt)
