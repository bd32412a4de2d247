"""Rules on the words of an ask, tried before any score: the first that fits decides."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from ..words import phrase, words
from .score import Score

SHORT = 12
"""An order in at most this many words is a simple one."""

NAVIGATION = (
    "walk go move turn enter leave exit climb jump run step head follow open close pick drop take grab put push "
    "pull press look wait stop sit stand wave north south east west"
)
PLANNING = "plan plans planning strategy strategic strategize strategise optimal optimise optimize roadmap tradeoff"
PHRASES = ("trade off", "long term", "think through", "step by step", "pros and cons", "root cause", "work out how")


class KeywordRule(Struct, frozen=True):
    """``any_keyword``: words and phrases, of which one must be in the ask, whole and in any case. ``first``: the ask
    must begin with it. ``max_words``: asks longer than this do not fit; 0 for no limit."""

    any_keyword: tuple[str, ...]
    use: str
    first: bool = False
    max_words: int = 0


THREE_TIERS = (
    KeywordRule((*PLANNING.split(), *PHRASES), "heavy"),
    KeywordRule(tuple(NAVIGATION.split()), "fast", first=True, max_words=SHORT),
)
"""Planning to ``heavy``, short orders to ``fast``. No rule leads to a paid tier: that is for overrides and failures."""


class KeywordHit(Struct, frozen=True):
    """Where an ask goes, and the keyword that said so."""

    use: str
    keyword: str


class _Compiled(Struct, frozen=True):
    words: frozenset[str]
    phrases: tuple[tuple[str, str], ...]
    rule: KeywordRule


class Keywords:
    """``rules`` made ready for matching. Raises ``ValueError`` for a keyword without a word."""

    def __init__(self, rules: Sequence[KeywordRule] = THREE_TIERS) -> None:
        self._rules = [_compile(rule) for rule in rules]

    def match(self, ask: str) -> KeywordHit | None:
        """The first rule that fits; None where none does. Looks at a bounded head of ``ask``."""
        asked = words(ask)
        known, joined = set(asked), f" {' '.join(asked)} "
        for compiled in self._rules:
            rule = compiled.rule
            if rule.max_words and len(asked) > rule.max_words:
                continue
            if keyword := _first(compiled, asked, joined) if rule.first else _any(compiled, known, joined):
                return KeywordHit(rule.use, keyword)
        return None


def keyword_score(hit: KeywordHit | None) -> Score:
    """The hit of `THREE_TIERS` on the scale of the scorers; it abstains where no rule fits."""
    if hit is None:
        return Score(0.0, fired=False)
    return Score(10.0 if hit.use == "heavy" else 0.0)


def _compile(rule: KeywordRule) -> _Compiled:
    looked_for = {keyword: phrase(keyword) for keyword in rule.any_keyword}
    for keyword, text in looked_for.items():
        if not text.strip():
            raise ValueError(f"the keyword {keyword!r} has no word in it; leave it out")
    phrases = tuple((text, keyword) for keyword, text in looked_for.items() if text.count(" ") > 2)
    return _Compiled(frozenset(text.strip() for text in looked_for.values() if text.count(" ") == 2), phrases, rule)


def _any(compiled: _Compiled, known: set[str], joined: str) -> str:
    if found := compiled.words & known:
        return min(found)
    return next((keyword for text, keyword in compiled.phrases if text in joined), "")


def _first(compiled: _Compiled, asked: list[str], joined: str) -> str:
    if asked and asked[0] in compiled.words:
        return asked[0]
    return next((keyword for text, keyword in compiled.phrases if joined.startswith(text)), "")
