"""Whether a text goes round in circles. Looks at its end alone, so its length costs nothing."""

from __future__ import annotations

from collections import Counter

TAIL = 3000
"""Characters looked at: a model that loops does so to the end."""
_LEAST = 600
"""Characters that a loop fills, at least."""
_TIMES = 8
"""How often the same comes again, at least."""
_END = 24
"""Of what repeats itself the last characters have been there before: to look for them first is much faster."""
_DRAWN = frozenset("-=_*#~.,:+|/\\^<>·•…─━═░▒▓█▀▄\u2013\u2014 0123456789")
"""Characters of lines, bars, tables and numbers. Long runs of them are legitimate unless the token limit cut them."""
_RUN = 200
_RUN_ALONE = 32
"""Minimum run that counts as a loop in a cut answer: in general, and if it is most of the answer."""
EMPTY_TOKENS = 200
"""Minimum number of empty tokens at the end of a cut answer that counts as a loop."""
_GRAM = 6
_LEAST_WORDS = 240
_DISTINCT = 0.2


def loop(text: str) -> str:
    """What ``text`` repeats at its end, at most 60 characters of it; ``""`` where it does not loop.

    A loop is the same characters over and over, or nearly the same words; rules of dashes, columns of figures
    and the like are none.
    """
    if len(text) < _LEAST:
        return ""
    tail = text[-TAIL:].rstrip()
    unit = _period(tail) or _stuck(tail)
    found = set("".join(unit.split()))
    if len(found) == 1 and not found & _DRAWN:
        return found.pop()
    return " ".join(unit.split())[:60] if sum(map(str.isalpha, found)) >= 3 else ""


def run(text: str, *, cut: bool) -> str:
    """Return the character that ``text`` ends with many times in a row, ``""`` if there is none.

    ``cut``: the answer was cut by the token limit; white space counts then, and shorter runs do.
    """
    if not text:
        return ""
    last = text[-1]
    body = text.rstrip() if last.isspace() else text.rstrip(last)
    size = len(text) - len(body)
    if not cut:
        return last if size >= _LEAST and last not in _DRAWN and not last.isspace() else ""
    alone = size >= _RUN_ALONE and size > len(body) and last not in _DRAWN
    return last if size >= _RUN or alone else ""


def _period(tail: str) -> str:
    """The shortest string that, repeated, makes up the end of ``tail``."""
    if tail.rfind(tail[-_END:], 0, -1) < 0:
        return ""
    backwards = tail[::-1]
    borders = [0] * len(backwards)  # of Knuth, Morris and Pratt: linear, whatever the text
    length = 0
    for index in range(1, len(backwards)):
        while length and backwards[index] != backwards[length]:
            length = borders[length - 1]
        if backwards[index] == backwards[length]:
            length += 1
        borders[index] = length
        period = index + 1 - length
        if index + 1 >= _LEAST and index + 1 >= _TIMES * period:
            return tail[-period:]
    return ""


def _stuck(tail: str) -> str:
    """The commonest run of words, where nearly all runs of words come again."""
    words = tail.split()
    if len(words) < _LEAST_WORDS:
        return ""
    if len(set(words)) - _GRAM >= _DISTINCT * len(words):
        return ""  # with every word that is new, a run of words is
    grams = [tuple(words[at : at + _GRAM]) for at in range(len(words) - _GRAM + 1)]
    return " ".join(Counter(grams).most_common(1)[0][0]) if len(set(grams)) < _DISTINCT * len(grams) else ""
