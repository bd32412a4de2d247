"""A text as numbers: its hashed words and pairs of words, and its form.

Tokens are hashed, so that a file of weights holds nobody's words.
"""

from __future__ import annotations

import re
from collections import Counter
from itertools import islice
from math import log1p, sqrt
from typing import NamedTuple
from zlib import crc32

HEAD, TAIL = 6000, 2000
"""Characters read of a text; what lies between the two is not."""

_TOKEN = re.compile(rb"[a-z\x80-\xff]+|[0-9]+|[^\sa-z0-9]")
_NUMBER = re.compile(rb"\d[\d,]*\.?\d*")
_ENDS = b". ", b"? ", b"! ", b".\n", b"?\n"
_LETTERS = frozenset("ABCDEFGHIJ")
_NEGATIONS = frozenset((b"not", b"except", b"incorrect", b"false", b"least", b"never"))
_RELATIONS = frozenset(
    b"if than then after before each every total twice half per remaining remains left times more less".split()
)
_NUMERALS = frozenset("0123456789")
_DIGITS, _SIGNS = b"0123456789", b"=+-*^<>\\{}()[]|_"
_UPPER, _HIGH = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ", bytes(range(128, 256))

_NAMES = (
    "length words numbers distinct_numbers sentences lines word_length variety largest_number decimals percents "
    "dollars slashes questions negations signs digits capitals foreign options option_length option_numbers "
    "last_sentence first_line commas longest_word relations quotes long_words"
)
FORM = _NAMES.split()
"""What `form` measures, in its order."""


def bounded(text: str) -> str:
    """``text``, or its `HEAD` and `TAIL` where it is longer than both."""
    return text if len(text) <= HEAD + TAIL else f"{text[:HEAD]}\n{text[-TAIL:]}"


def tokens(text: str) -> list[bytes]:
    """Lower-case words, numbers and single signs, as UTF-8."""
    return _TOKEN.findall(text.lower().encode("utf-8", "replace"))


def grams(words: list[bytes]) -> set[int]:
    """The 32-bit hashes of each word and of each pair of neighbours."""
    singles = list(map(crc32, words))
    return {*singles, *map(crc32, islice(words, 1, None), singles)}


def form(text: str, words: list[bytes]) -> list[float]:
    """The measures named in `FORM`: lengths and counts, on scales where they grow slowly."""
    data = text.encode("utf-8", "replace")
    named = [word for word in words if word[0] > 96]
    counts = Counter(named)
    count = len(named) or 1
    numbers = _NUMBER.findall(data)
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
        len(counts) / count,
        log1p(max((float(number.replace(b",", b"")[:15]) for number in numbers), default=0.0)),
        sqrt(sum(b"." in number[:-1] for number in numbers)),
        sqrt(data.count(b"%")),
        sqrt(data.count(b"$")),
        sqrt(data.count(b"/")),
        sqrt(data.count(b"?")),
        sqrt(sum(counts[word] for word in _NEGATIONS)),
        share(_SIGNS),
        share(_DIGITS),
        share(_UPPER),
        share(_HIGH),
        float(len(options)),
        log1p(sum(map(len, options)) / (len(options) or 1)),
        sum(not _NUMERALS.isdisjoint(option) for option in options) / (len(options) or 1),
        log1p(len(data) - max(ends)),
        log1p(len(lines[0])),
        log1p(data.count(b",")),
        log1p(max(map(len, counts), default=0)),
        sum(counts[word] for word in _RELATIONS) / 3,
        sqrt(data.count(b'"')),
        log1p(10 * sum(times for word, times in counts.items() if len(word) > 7) / count),
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
