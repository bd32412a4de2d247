"""What a classifier says of one ask."""

from __future__ import annotations

from msgspec import Struct


class Score(Struct, frozen=True):
    """``value`` is 0 (any model will do) to 10 (the strongest is needed).

    ``fired`` is False where nothing in the text spoke either way: the classifier abstains and ``value``
    means nothing. ``factors`` say how the value came about.
    """

    value: float
    factors: dict[str, int] = {}
    fired: bool = True
