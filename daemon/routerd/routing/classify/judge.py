"""What speaks for and against an answer that a weak model gave, as features for a learned model.

Sums are checked, numbers traced to the question, hedging and repetition counted; what each of these is
worth, training says.
"""

from __future__ import annotations

import re
from collections import Counter
from math import isclose, log1p, sqrt

from .text import Features, bounded, grams, tokens

_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")
_VALUE = r"\(?-?[$€£]?\d[\d,]{0,15}(?:\.\d{1,15})?%?\)?"
_OPERATORS = r"-+*/x\u00d7\u00f7"
_SUM = re.compile(  # every repetition is bounded: an answer is not to be trusted with time
    rf"(?<![\d.,])({_VALUE}(?:\s{{0,3}}[{_OPERATORS}]\s{{0,3}}{_VALUE}){{1,12}})\s{{0,3}}=\s{{0,3}}(?:<<[^<>]{{0,99}}>>)?"
    rf"\s{{0,3}}[$€£]?(-?\d[\d,]{{0,15}}(?:\.\d{{1,15}})?)(?![\d.]{{0,15}}\s{{0,3}}[{_OPERATORS}=(\d])"
)
_STEP = re.compile(r"(-?\d+(?:\.\d+)?)|([-+*/])")
_CLEAN = str.maketrans({"x": "*", "\u00d7": "*", "\u00f7": "/"} | dict.fromkeys("$€£,()"))
_HEDGES = frozenset(
    b"sorry cannot unable unclear unsure maybe perhaps possibly however assume assuming approximately unknown".split()
)
_WORDED = {"half": 2.0, "twice": 2.0, "double": 2.0, "triple": 3.0, "dozen": 12.0, "third": 3.0, "quarter": 4.0} | {
    word: float(value)
    for value, word in enumerate(
        ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
    )
}
_OPEN_ENDS = frozenset("+-*/=<>,;:([{")
_ANSWER = 0x5EED
"""Keeps an answer's words apart from the same words in a prompt."""


_NAMES = (
    "prompt_length length_ratio distinct_lines hedges overlap empty breaks_off no_full_stop sums wrong_sums "
    "sums_for_numbers unused_numbers no_number fraction zero result_once"
)
MEASURES = _NAMES.split()
"""What the form of an answer is measured by, in this order."""


def answer_features(prompt: str, answer: str) -> Features:
    """Of a prompt and the answer it got. Time is bounded, however long they are."""
    prompt, answer = bounded(prompt), bounded(answer)
    asked, said = tokens(prompt), tokens(answer)
    hashes = {gram ^ _ANSWER for gram in grams(said)}
    return Features(hashes, _shape(asked, said, prompt, answer) + _reckoning(prompt, answer))


def _shape(asked: list[bytes], said: list[bytes], prompt: str, answer: str) -> list[float]:
    words, lines = Counter(said), [line for line in answer.split("\n") if line.strip()]
    asked_words = {word for word in asked if len(word) > 3}
    end = answer.rstrip()[-1:]
    return [
        log1p(len(prompt)),
        log1p(len(said)) - log1p(len(asked)),
        len(set(lines)) / (len(lines) or 1),
        sqrt(sum(words[hedge] for hedge in _HEDGES)),
        sum(word in words for word in asked_words) / (len(asked_words) or 1),
        float(not said),
        float(end in _OPEN_ENDS),
        float(end.isalpha()),
    ]


def _reckoning(prompt: str, answer: str) -> list[float]:
    plain = answer.replace("\\*", "*")
    sums = [held for left, result in _SUM.findall(plain) if (held := _holds(left, result)) is not None]
    given, found = set(_numbers(prompt)), _numbers(answer)
    last = found[-1] if found else 0.0
    return [
        log1p(len(sums)),
        float(sums.count(False)),
        log1p(len(sums)) - log1p(len(given)),
        len(given.difference(found)) / (len(given) or 1),
        float(not found),
        float(last != int(last)),
        float(last == 0),
        float(last not in found[:-1]),
    ]


def _numbers(text: str) -> list[float]:
    digits = [abs(float(number.replace(",", "")[:15])) for number in _NUMBER.findall(text)]
    return [_WORDED[word] for word in re.findall(r"[a-z]+", text.lower()) if word in _WORDED] + digits


def _holds(left: str, result: str) -> bool | None:
    """Whether ``left`` comes to ``result``, to two digits; None where it is not plain arithmetic."""
    if "%" in left or "(" in left:
        return None
    total, term, sign = 0.0, None, "+"
    for number, operator in _STEP.findall(
        left.translate(_CLEAN).replace(" ", "").replace("-", "+-").replace("/+-", "/-")
    ):
        if operator:
            sign = operator
            continue
        value = float(number)
        if term is None or sign == "+":
            total, term = total + (term or 0.0), value
        elif sign == "*":
            term *= value
        elif sign == "/" and value:
            term /= value
        else:
            return None
    return isclose(total + (term or 0.0), float(result.replace(",", "")[:15]), rel_tol=0.01, abs_tol=0.01)
