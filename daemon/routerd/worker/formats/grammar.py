"""The markers that one model uses, detected from its vocabulary and chat template."""

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
"""The number of tokens at the start of `Family.channels` that harmony requires."""


class Pair(Struct, frozen=True):
    """A start and an end marker, of reasoning or of an answer."""

    open: str
    close: str


class Tag(Struct, frozen=True):
    """One way of writing tool calls: between ``open`` and ``close``, or up to the next ``open`` if ``close`` is ``""``.

    ``begins`` is a regular expression for the start of a call after the marker; if it does not match, the marker is
    text. In it, ``«...»`` stands for a marker and ``NAMES`` for any offered tool. The model uses the tag if one of
    ``signs`` (default: ``open``) is in its vocabulary or template. ``unsure`` matches calls that count as cut when
    ``close`` is missing, because their own text does not show where they end. ``stray`` is a marker that may follow a
    call and is dropped.
    """

    open: str
    close: str
    begins: str
    read: Reader
    signs: tuple[str, ...] = ()
    unsure: str = "(?!)"
    stray: str = ""


class Family(Struct, frozen=True):
    """Every known marker. If several tags fit one position, the first in the list is used."""

    pairs: tuple[Pair, ...]
    tags: tuple[Tag, ...]
    bare: tuple[Tag, ...]
    """Calls without a marker, recognised only at the start of the answer."""
    wrappers: tuple[Pair, ...]
    """Markers around the answer, after the reasoning."""
    dropped: tuple[str, ...]
    """Structural tokens that are removed from answers."""
    channels: tuple[str, ...]
    """The tokens of harmony, the required ones first."""

    @property
    def markers(self) -> list[str]:
        """All texts that may contain a marker token."""
        pairs = [text for pair in (*self.pairs, *self.wrappers) for text in (pair.open, pair.close)]
        tags = [text for tag in self.tags for text in (tag.open, tag.close, tag.begins)]
        return [*pairs, *tags, *self.dropped, *self.channels]


class Grammar:
    """The markers of one model, coded by ``marks``."""

    def __init__(self, family: Family, tokens: Mapping[int, str], template: str, *, another: Tag | None = None) -> None:
        """Detect the markers. ``another`` is a tag to add if the table does not already provide it."""
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
        """True if the template shows tools to the model and its calls can be parsed."""
        return self._shown and bool(self.tags or self.bare or self.harmony)

    @property
    def texts(self) -> set[str]:
        """The texts of the tokens that open and close reasoning and calls."""
        pairs = [text for p in self.pairs if p.open not in self.unknown for text in (p.open, p.close)]
        tags = [text for tag in self.tags for text in (tag.open, tag.close)]
        return {self.marks.plain(text) for text in (*pairs, *tags) if has_code(text)}

    def begins(self, tag: Tag, tools: Tools) -> Any:
        """Compile ``tag.begins`` for coded text and the offered ``tools``."""
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
