"""One model's markers, found in its vocabulary and its template."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import lru_cache
from typing import Any

import regex
from msgspec import Struct

from .marks import Marks, has_code
from .reading import Reader, Tools, names

_SHOWS_TOOLS = regex.compile(r"\btools\b")


CHANNEL_TOKENS = 4
"""So many of `Family.channels` no harmony can do without."""


class Pair(Struct, frozen=True):
    """What opens and closes a model's reasoning."""

    open: str
    close: str


class Tag(Struct, frozen=True):
    """Calls between ``open`` and ``close`` (``""``: until the next, or the answer's end).

    ``begins`` is a regular expression of how a call begins after the marker: what does not is text that mentions it.
    In it ``«...»`` is a marker and ``NAMES`` one of the tools offered. ``signs``: what shows, in a vocabulary or a
    template, that the model has it; ``open`` where absent. ``unsure``: a regular expression of calls that are cut where
    ``close`` is missing: nothing in them tells that they are whole. ``stray``: a marker that may follow and means
    nothing.
    """

    open: str
    close: str
    begins: str
    read: Reader
    signs: tuple[str, ...] = ()
    unsure: str = "(?!)"
    stray: str = ""


class Family(Struct, frozen=True):
    """All that models may write around their answers, the commoner later where two could be meant."""

    pairs: tuple[Pair, ...]
    tags: tuple[Tag, ...]
    bare: tuple[Tag, ...]
    """Calls that stand at the answer's very beginning, without a marker."""
    wrappers: tuple[Pair, ...]
    """What some write around the answer after their reasoning."""
    dropped: tuple[str, ...]
    """Tokens that structure an answer and mean nothing to a caller."""
    channels: tuple[str, ...]
    """The tokens of harmony."""

    @property
    def markers(self) -> list[str]:
        """Every text in which a token may be a marker."""
        pairs = [text for pair in (*self.pairs, *self.wrappers) for text in (pair.open, pair.close)]
        tags = [text for tag in self.tags for text in (tag.open, tag.close, tag.begins)]
        return [*pairs, *tags, *self.dropped, *self.channels]


class Grammar:
    """What one model writes. All texts are coded by ``marks``."""

    def __init__(self, family: Family, tokens: Mapping[int, str], template: str, *, another: Tag | None = None) -> None:
        """``another`` is a way of calling that is not in the table, or that nothing shows."""
        self.marks = Marks(tokens, [*family.markers, *((another.open, another.close) if another else ())])
        code = self.marks.code
        there = _There(set(tokens.values()), template, code)
        known = [pair for pair in family.pairs if there.has(pair.open) and there.has(pair.close)]
        self.reasoning = bool(known)
        # A fine-tuning may reason in plain text that its vocabulary and template know nothing of.
        usual = [] if known else family.pairs[-1:]
        self.pairs = [Pair(code(pair.open), code(pair.close)) for pair in (*known, *usual)]
        self.unknown = {pair.open for pair in self.pairs[len(known) :]}
        self.tags = [
            Tag(code(tag.open), code(tag.close), tag.begins, tag.read, unsure=tag.unsure, stray=code(tag.stray))
            for tag in family.tags
            if any(there.has(sign) for sign in tag.signs or (tag.open,))
        ]
        if another and code(another.open) not in [tag.open for tag in self.tags]:
            self.tags.append(Tag(code(another.open), code(another.close), another.begins, another.read))
        self._shown = there.tools
        self.bare = [*family.bare] if there.tools and (not self.tags or there.has("<|python_tag|>")) else []
        self.wrappers = [Pair(code(w.open), code(w.close)) for w in family.wrappers if there.has(w.open)]
        self.dropped = [coded for each in family.dropped if has_code(coded := code(each))]
        self.harmony = all(token in there.tokens for token in family.channels[:CHANNEL_TOKENS])

    @property
    def calls(self) -> bool:
        """Whether it is shown the tools, and calls them in a way that can be read."""
        return self._shown and bool(self.tags or self.bare or self.harmony)

    @property
    def texts(self) -> set[str]:
        """The texts of the tokens that open and close reasoning and calls."""
        pairs = [text for p in self.pairs if p.open not in self.unknown for text in (p.open, p.close)]
        tags = [text for tag in self.tags for text in (tag.open, tag.close)]
        return {self.marks.plain(text) for text in (*pairs, *tags) if has_code(text)}

    def begins(self, tag: Tag, tools: Tools) -> Any:
        """The pattern of how a call of ``tag`` begins, in coded text."""
        return _pattern(tag.begins, self.marks.code, tuple(names(tools)))


class _There:
    def __init__(self, tokens: Collection[str], template: str, code: Callable[[str], str]) -> None:
        self.tokens = tokens
        self._code = code
        self._template = template
        self.tools = not template or bool(_SHOWS_TOOLS.search(template))

    def has(self, text: str) -> bool:
        return text in self.tokens or text in self._template or has_code(self._code(text))


@lru_cache(maxsize=256)
def _pattern(begins: str, code: Callable[[str], str], tools: tuple[str, ...]) -> Any:
    literal = regex.sub("«(.*?)»", lambda found: regex.escape(code(found[1])), begins)
    alternatives = "|".join(map(regex.escape, tools)) or "(?!)"
    return regex.compile(literal.replace("NAMES", f"(?:{alternatives})"))
