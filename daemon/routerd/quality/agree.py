"""How much two answers to one ask have in common. Pure."""

from __future__ import annotations

import re
from collections import Counter

LONGEST = 2**16
"""Characters of an answer that are looked at."""
_WORD = re.compile(r"\w+")


def agreement(one: str, other: str) -> float:
    """The share of words that both have, 0..1, however often each word comes: no judgement of what they mean."""
    words, others = (Counter(_WORD.findall(text[:LONGEST].lower())) for text in (one, other))
    total = words.total() + others.total()
    return 2 * (words & others).total() / total if total else 1.0
