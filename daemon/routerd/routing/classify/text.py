"""A text as numbers: its hashed words and pairs of words, and its form.

Tokens are hashed, so that a file of weights holds nobody's words.
"""

from __future__ import annotations

import re
from itertools import islice
from math import log1p, sqrt
from typing import NamedTuple
from zlib import crc32

HEAD, TAIL = 6000, 2000
"""Characters read of a text; what lies between the two is not."""

_SPACES = bytes(byte if byte > 127 or chr(byte).isalnum() else 32 for byte in range(256))
_NUMBER = re.compile(rb"\d[\d,]*(?:\.\d+)?")
_DIGIT = re.compile(r"\d")
_ENDS = b". ", b"? ", b"! ", b".\n", b"?\n"
_LETTERS = frozenset("ABCDEFGHIJ")
_NEGATIONS = frozenset((b"not", b"except", b"incorrect", b"false", b"least", b"never"))
_RELATIONS = frozenset(
    b"if than then after before each every total twice half per remaining remains left times more less".split()
)
_DIGITS, _SIGNS = b"0123456789", b"=+-*^<>\\{}()[]|_"
_UPPER = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ"

_NAMES = (
    "length words numbers distinct_numbers sentences lines word_length variety largest_number decimals questions "
    "negations signs digits capitals options option_length option_numbers last_sentence first_line commas relations "
    "long_words"
)
FORM = _NAMES.split()
"""What `form` measures, in its order."""


def bounded(text: str) -> str:
    """``text``, or its `HEAD` and `TAIL` where it is longer than both."""
    return text if len(text) <= HEAD + TAIL else f"{text[:HEAD]}\n{text[-TAIL:]}"


def tokens(text: str) -> list[bytes]:
    """Lower-case words and numbers, as UTF-8. Signs part them and say nothing: `form` counts those."""
    return text.lower().encode("utf-8", "replace").translate(_SPACES).split()


def grams(words: list[bytes]) -> set[int]:
    """The 32-bit hashes of each word and of each pair of neighbours."""
    singles = list(map(crc32, words))
    return {*singles, *map(crc32, islice(words, 1, None), singles)}


def form(text: str, words: list[bytes]) -> list[float]:
    """The measures named in `FORM`: lengths and counts, on scales where they grow slowly."""
    data = text.encode("utf-8", "replace")
    named = [word for word in words if word[0] > 96]
    count = len(named) or 1
    numbers = _NUMBER.findall(data)
    largest = max(numbers, key=len, default=b"0")
    lines = text.split("\n")
    options = [line for line in lines if line[:1] in _LETTERS and line[1:3] in (". ", ") ")]
    ends = [data.rfind(end) for end in _ENDS]

    def share(letters: bytes) -> float:
        return 10 * (len(data) - len(data.translate(None, letters))) / (len(data) or 1)

    return [
        log1p(len(data)),
        log1p(len(named)),
        log1p(len(numbers)),
        sqrt(len(set(numbers))),
        log1p(sum(map(data.count, _ENDS))),
        log1p(len(lines)),
        len(b"".join(named)) / count,
        len(set(named)) / count,
        log1p(float(largest.replace(b",", b"")[:15])),
        sqrt(b"".join(numbers).count(b".")),
        sqrt(data.count(b"?")),
        sqrt(sum(map(_NEGATIONS.__contains__, named))),
        share(_SIGNS),
        share(_DIGITS),
        share(_UPPER),
        float(len(options)),
        log1p(sum(map(len, options)) / (len(options) or 1)),
        sum(map(bool, map(_DIGIT.search, options))) / (len(options) or 1),
        log1p(len(data) - max(ends)),
        log1p(len(lines[0])),
        log1p(data.count(b",")),
        sum(map(_RELATIONS.__contains__, named)) / 3,
        log1p(10 * sum(map((7).__lt__, map(len, named))) / count),
    ]


class Features(NamedTuple):
    """What a linear model sees: hashes that are there or not, and measures."""

    grams: set[int]
    form: list[float]


def prompt_features(prompt: str) -> Features:
    """Of a prompt alone. Time is bounded, however long it is."""
    text = bounded(prompt)
    words = tokens(text)
    return Features(grams(words), form(text, words))
