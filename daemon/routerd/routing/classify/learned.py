"""A linear scorer trained on one's own outcomes, and the file it is kept in.

The score is the gain to expect from the strong model: its quality less the weak one's, on the scale of the
rows it was trained on.
"""

from __future__ import annotations

import struct
from bisect import bisect_left
from collections.abc import Sequence
from typing import Any, Literal

import msgspec
from msgspec import Struct

from .complexity import complexity
from .judge import MEASURES, answer_features
from .linear import Linear
from .score import Score
from .text import FORM, prompt_features

VERSION = 1
By = Literal["rules", "learned", "judge"]


_MEASURES = {"rules": 0, "learned": len(FORM), "judge": len(MEASURES)}


class BadModelError(Exception):
    """A classifier's file cannot be used; the text says why and what to do."""


class Classifier(Struct, frozen=True):
    """A calibrated scorer.

    ``levels`` are 101 quantiles of the scores of the calibration's prompts, each scored by a model that had not
    seen it. ``threshold`` sends ``target_share`` of such prompts to the strong model. ``trained`` is a date.
    """

    by: By
    rows: int
    trained: str
    target_share: float
    threshold: float
    levels: list[float]
    linear: Linear | None = None

    def score(self, prompt: str, answer: str = "") -> float:
        """The higher, the more ``prompt`` needs the strong model. ``answer``, the weak model's, is for a judge."""
        if self.linear is None:
            return complexity(prompt).value
        features = answer_features(prompt, answer) if self.by == "judge" else prompt_features(prompt)
        return self.linear.score(features)

    def needs_strong(self, score: float) -> bool:
        return score >= self.threshold

    def rate(self, prompt: str, answer: str = "") -> Score:
        """The score as a share of the calibration's prompts: 7.0 is above seven tenths of them."""
        if self.linear is None and not (rated := complexity(prompt)).fired:
            return rated
        return Score(self.level(self.score(prompt, answer)))

    def level(self, score: float) -> float:
        """Where ``score`` stands among the calibration's, 0 to 10."""
        return 10 * bisect_left(self.levels, score) / len(self.levels)


class _File(Struct, frozen=True, omit_defaults=True):
    routerd_classifier: int
    by: By
    rows: int
    trained: str
    target_share: float
    threshold: float
    levels: list[float]
    base: float = 0.0
    hashes: bytes = b""
    squares: bytes = b""
    products: bytes = b""
    form: list[tuple[float, float, float]] = []


def encode(classifier: Classifier) -> bytes:
    """The file's content; `decode` reads it."""
    linear = classifier.linear
    plain = {name: getattr(classifier, name) for name in Classifier.__struct_fields__ if name != "linear"}
    if linear is None:
        return msgspec.msgpack.encode(_File(VERSION, **plain))
    hashes = sorted(linear.grams)
    return msgspec.msgpack.encode(
        _File(
            VERSION,
            **plain,
            base=linear.base,
            hashes=_pack("I", hashes),
            squares=_pack("f", [linear.grams[gram][0] for gram in hashes]),
            products=_pack("f", [linear.grams[gram][1] for gram in hashes]),
            form=linear.form,
        )
    )


def decode(data: bytes) -> Classifier:
    """Raises `BadModelError` where ``data`` is damaged, or of a newer routerd."""
    try:
        version = msgspec.msgpack.decode(data, type=_Version).routerd_classifier
        if version > VERSION:
            raise BadModelError(
                f"it is of version {version}, this routerd reads {VERSION}: upgrade, or calibrate again"
            )
        file = msgspec.msgpack.decode(data, type=_File)
        weighted = zip(_unpack("f", file.squares), _unpack("f", file.products), strict=True)
        linear = Linear(file.base, dict(zip(_unpack("I", file.hashes), weighted, strict=True)), file.form)
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError, struct.error) as error:
        raise BadModelError(f"it is damaged ({error}): calibrate again") from error
    if not file.levels or len(file.form) != _MEASURES[file.by]:
        raise BadModelError("it was made by another routerd: calibrate again")
    plain = {name: getattr(file, name) for name in Classifier.__struct_fields__ if name != "linear"}
    return Classifier(**plain, linear=None if file.by == "rules" else linear)


class _Version(Struct, frozen=True):
    routerd_classifier: int


def _pack(code: str, values: Sequence[float]) -> bytes:
    return struct.pack(f"<{len(values)}{code}", *values)


def _unpack(code: str, data: bytes) -> tuple[Any, ...]:
    return struct.unpack(f"<{len(data) // 4}{code}", data)
