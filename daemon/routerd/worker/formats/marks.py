"""Codes for special tokens: single characters that decoded text cannot contain.

The token ``<think>`` is a marker, but the same characters in an answer are text. Each marker token is replaced by a
lone surrogate, which UTF-8 decoding never produces. A search in the coded text therefore finds only the tokens.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

FIRST = 0xD800
MOST = 0x800
"""The number of surrogates."""


class Marks:
    """Codes for the marker tokens of one vocabulary. ``tokens`` maps ids to texts; tokens that occur in ``known`` get a
    code."""

    def __init__(self, tokens: Mapping[int, str], known: Iterable[str]) -> None:
        words = "\n".join(known)
        used = [(id_, text) for id_, text in sorted(tokens.items()) if text.strip() and text in words][:MOST]
        self._codes = {id_: chr(FIRST + at) for at, (id_, _) in enumerate(used)}
        self._texts = {FIRST + at: text for at, (_, text) in enumerate(used)}
        self._by_text = {text: self._codes[id_] for id_, text in used}
        longest = sorted(self._by_text, key=len, reverse=True)
        self._found = re.compile("|".join(map(re.escape, longest))) if longest else None

    def of(self, token: int) -> str:
        """Return the code of ``token``, ``""`` if it is not a marker."""
        return self._codes.get(token, "")

    def code(self, marker: str) -> str:
        """Replace the tokens in ``marker`` by their codes."""
        return self._found.sub(lambda found: self._by_text[found[0]], marker) if self._found else marker

    def plain(self, coded: str) -> str:
        """Replace the codes in ``coded`` by the tokens' texts."""
        return coded.translate(self._texts)


def has_code(text: str) -> bool:
    """Return True if ``text`` contains a code."""
    return any(FIRST <= ord(char) < FIRST + MOST for char in text)
