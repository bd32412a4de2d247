"""Answers that say nothing: lectures, and hedging without substance. Judged on the whole answer."""

from __future__ import annotations

import re
from collections.abc import Sequence

from .phrases import word_set
from .text import plain, sentences, unquoted

LONGEST = 2400
"""Characters: an answer longer than this has said something."""

_SUBSTANCE = re.compile(
    r"```|^[ \t]*(?:\d+[.)]|[-*+|\u2022]|#+ )\s*\S|\d\d|https?:|\b[Ff]or (?:example|instance)\b"
    r"|^(?:Yes|Sure|Certainly)\b",
    re.MULTILINE,
)
"""Lists, tables, headings, code, figures, addresses, examples."""

_DENIAL = re.compile(
    r"\b(?:not|never)(?: \w+ly)? (?:right|justif|a good idea|accurate|fair|true|best|acceptable|appropriate|okay"
    r"|an? (?:\w+ ){0,3}(?:way|idea))|\bno (?:\w+ )?(?:reason|benefit|justification|excuse|evidence)"
)
_WORD = re.compile(r"[a-z]+")


_REBUKE = word_set("not never no cannot illegal unethical immoral harmful inappropriate destructive")
_LECTURE = word_set(
    "acceptable atrocities atrocity crime crimes crucial dignity discriminate discriminated discrimination"
    " discriminatory disrespectful diverse diversity equal equality equally essential everybody everyone genocide harm"
    " harmful hatred heinous healthy immoral imperative important inappropriate inclusion inclusive inclusivity"
    " inherent justification justified prejudice prejudiced racism racist regardless reprehensible respect respectful"
    " respectfully rights sexism sexist stereotype stereotypes suffering therapist tragic unethical unjust victims"
    " violation violence vital well worth"
)
_HEDGE = word_set(
    "advantages advisable carefully circumstances complex complicated consider considerations considered consult"
    " crucial depend depending depends differ difficult disadvantages essential expert experts factors generally"
    " important impossible individual multiple nuanced numerous opinion opinions perspectives professional pros cons"
    " qualified research sides situation strengths subjective ultimately varies various vary viewpoints"
    " weaknesses weigh"
)
_REASON = word_set(
    "because evidence fictional natural naturally phenomenon physical physically science scientific scientifically"
    " theoretical"
)
"""A sentence with one of these says something after all."""


def hedging(text: str, head: str) -> float:
    """How sure it is that ``text``, a whole answer, only lectures or hedges: 0..1. ``head`` is the `plain` form of
    its beginning."""
    if len(text) > LONGEST:
        return 0.0
    vocabulary, enough = _suspicion(sentences(unquoted(head), most=3))
    if not vocabulary or _SUBSTANCE.search(text):
        return 0.0
    said = [_words(sentence) for sentence in sentences(unquoted(plain(text)))]
    share = sum(not vocabulary.isdisjoint(words) and _REASON.isdisjoint(words) for words in said) / len(said)
    return share * 0.5 / enough if share < enough else 0.5 + 0.45 * (share - enough) / (1 - enough)


def _suspicion(said: Sequence[str]) -> tuple[frozenset[str], float]:
    """After its first sentences: the words to look for, and in which share of the sentences they must be."""
    if len(said) > 1:
        first = _words(said[0])
        if _DENIAL.search(said[0]):
            return _LECTURE, 0.5
        if first & _REBUKE and (first | _words(said[1])) & _LECTURE:
            return _LECTURE, 0.75
        if first & _HEDGE and len(said) > 2:
            return _HEDGE, 0.95
    return frozenset(), 1.0


def _words(sentence: str) -> frozenset[str]:
    return frozenset(_WORD.findall(sentence))
