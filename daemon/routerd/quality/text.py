"""An answer's text in the one plain form that every rule reads.

What comes later in a text changes nothing of what these say of it up to its last space: so a
beginning can be judged before the rest is there.
"""

from __future__ import annotations

import re

_FOLD = str.maketrans(
    dict.fromkeys("\u2018\u2019\u201b\u02bc\u00b4", "'")
    | dict.fromkeys("\u201c\u201d\u201e\u201f\u00ab\u00bb", '"')
    | dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2212", "-")
    | dict.fromkeys("\u00a0\u2007\u2009\u202f\t", " ")
    | dict.fromkeys("*_#\u200b\u200d\u2060\ufeff\r", None)
)
_LONG = {
    "'m": " am",
    "'re": " are",
    "'ve": " have",
    "'ll": " will",
    "'d": " would",
    "n't": " not",
    "it's": "it is",
    "that's": "that is",
    "there's": "there is",
    "can't": "cannot",
    "won't": "will not",
    "cant": "cannot",
    "dont": "do not",
    "wont": "will not",
    "im": "i am",
}
_CONTRACTION = re.compile(r"\b(?:(?:it|that|there)'s|can't|won't|cant|dont|wont|im)\b|n't\b|'(?:m|re|ve|ll|d)\b")
_QUOTED = re.compile(r'"[^"]*(?:"|$)|(?<!\w)\'(?=\w)(?:[^\']|(?<=\w)\'(?=\w))*(?:\'|$)')
_SENTENCE = re.compile(r"(?<=[.!?])[\")]*\s+|\s*\n\s*")


def plain(text: str) -> str:
    """Lower case, quotes and dashes folded to ASCII, emphasis dropped, contractions written out."""
    return _CONTRACTION.sub(lambda found: _LONG[found[0]], text.translate(_FOLD).lower())


def unquoted(text: str) -> str:
    """A `plain` text without what stands in quotation marks; a mark never closed quotes the rest."""
    return _QUOTED.sub('""', text)


def sentences(text: str, *, whole: bool = True, most: int | None = None) -> list[str]:
    """The sentences of a `plain` text, no more than the first ``most``; a line's end ends one too. ``whole`` is
    false where more may come: what has not ended is then left out."""
    pieces = _SENTENCE.split(text.lstrip(), 0 if most is None else most)
    if not whole or len(pieces) > (most or len(pieces)):
        pieces.pop()
    return [piece for piece in pieces if piece]
