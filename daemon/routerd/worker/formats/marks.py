"""A model's special tokens as single characters that no text contains.

The characters ``<think>`` in an answer are text, the token ``<think>`` is a marker. A lone surrogate cannot come
out of UTF-8, so each token a format knows stands for one: whoever looks for a marker in the coded text finds the
token, and never text that only looks like it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

FIRST = 0xD800
MOST = 0x800
"""Surrogates there are."""


class Marks:
    """The codes of one vocabulary's marker tokens. ``tokens`` maps ids to texts; those that occur in ``known`` are
    coded."""

    def __init__(self, tokens: Mapping[int, str], known: Iterable[str]) -> None:
        words = "\n".join(known)
        used = [(id_, text) for id_, text in sorted(tokens.items()) if text.strip() and text in words][:MOST]
        self._codes = {id_: chr(FIRST + at) for at, (id_, _) in enumerate(used)}
        self._texts = {FIRST + at: text for at, (_, text) in enumerate(used)}
        self._by_text = {text: self._codes[id_] for id_, text in used}
        longest = sorted(self._by_text, key=len, reverse=True)
        self._found = re.compile("|".join(map(re.escape, longest))) if longest else None

    def of(self, token: int) -> str:
        """The code of ``token``, ``""`` for one that is no marker."""
        return self._codes.get(token, "")

    def code(self, marker: str) -> str:
        """``marker`` as its tokens are coded; text that is no token stays."""
        return self._found.sub(lambda found: self._by_text[found[0]], marker) if self._found else marker

    def plain(self, coded: str) -> str:
        """``coded`` with every token as its text."""
        return coded.translate(self._texts)


def has_code(text: str) -> bool:
    """Whether a coded token is in ``text``."""
    return any(FIRST <= ord(char) < FIRST + MOST for char in text)
