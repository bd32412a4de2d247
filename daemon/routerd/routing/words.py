"""Words of a text, for keywords: one pass, then sets. Pure."""

from __future__ import annotations

import re

LONGEST = 20_000
"""Characters that are looked at."""

_WORD = re.compile(r"[^\W_]+")
_ASCII = {ord(c): c.lower() if c.isalnum() else " " for c in map(chr, range(128))}


def words(text: str) -> list[str]:
    """The words of ``text`` in their order, without case; what joins them (``-``, ``'``, ``_``) parts them."""
    text = text[:LONGEST]
    if text.isascii():  # a quarter of the time
        return text.translate(_ASCII).split()
    return _WORD.findall(text.casefold())


def phrase(keyword: str) -> str:
    """A keyword as it is looked for: its words, one space between them and around."""
    return f" {' '.join(words(keyword))} "
