"""What a route's ``match`` means. Pure. A new match key is a class here and a line in `_compile`.

A test is a small object: called with `Features` it says whether it holds; ``str`` of it is how
people read it; ``pair`` is the one context key and value it cannot hold without, where there is one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from fnmatch import translate
from typing import Protocol

from ..config.match import MatchSpec, PromptMatch, Range, Words, is_glob, texts
from ..config.pattern import WEEKDAYS, compile_regex, parse_weekday, parse_window
from .features import Features
from .words import phrase

_MINUTES = 24 * 60


class Test(Protocol):
    """One condition of a match."""

    def __call__(self, features: Features, /) -> bool: ...

    def why_not(self, features: Features, /) -> str:
        """Why it does not hold, in words."""
        ...


class Predicate:
    """All of several tests. A request that has nothing of what one looks at does not match."""

    __slots__ = ("_tests", "pairs")

    def __init__(self, tests: tuple[Test, ...], pairs: tuple[tuple[str, str], ...] = ()) -> None:
        self._tests = tests
        self.pairs = pairs
        """Where not empty: the context has one of these keys with its value, or nothing matches."""

    def __call__(self, features: Features) -> bool:
        for test in self._tests:  # noqa: SIM110 - a generator would cost as much as the tests
            if not test(features):
                return False
        return True

    def why_not(self, features: Features) -> str:
        return self.explain(features)

    def __str__(self) -> str:
        return ", ".join(map(str, self._tests)) or "everything"

    def explain(self, features: Features) -> str:
        """Why it does or does not match, in words."""
        for test in self._tests:
            if not test(features):
                return test.why_not(features)
        return ", ".join(t.held(features) if isinstance(t, _Context) else str(t) for t in self._tests) or "everything"


def compile_match(spec: MatchSpec) -> Predicate:
    """The predicate of a ``match``, which has passed its checks."""
    return Predicate(tuple(_compile(spec)), _pairs(spec))


def _pairs(spec: MatchSpec) -> tuple[tuple[str, str], ...]:
    """The values of one context key of which one is needed: those of the key with the fewest."""
    exact = [
        (key, texts(wanted)) for key, wanted in spec.context.items() if not any(is_glob(text) for text in texts(wanted))
    ]
    key, values = min(exact, key=lambda pair: len(pair[1]), default=("", ()))
    return tuple((key, value) for value in dict.fromkeys(values))


def _compile(spec: MatchSpec) -> Iterator[Test]:
    """The tests of ``spec``, the cheap ones first."""
    for key, wanted in spec.context.items():
        yield _Context(key, wanted)
    for what, names in (("client", spec.client), ("model", spec.model)):
        if names:
            yield _Name(what, names)
    for what, flag in (("has_tools", spec.has_tools), ("has_images", spec.has_images)):
        if flag is not None:
            yield _Flag(what, wanted=flag)
    if spec.time:
        yield _Time(spec.time)
    if spec.weekday:
        yield _Weekday(spec.weekday)
    turn = Range(at_least=spec.turn, below=spec.turn + 1) if isinstance(spec.turn, int) else spec.turn
    for what, bounds in (("turn", turn), ("chars", spec.chars), ("tokens", spec.tokens)):
        if bounds is not None:
            yield _Number(what, bounds)
    if spec.prompt is not None:
        yield from _prompt(spec.prompt)
    yield from _nested(spec)


def _nested(spec: MatchSpec) -> Iterator[Test]:
    yield from map(compile_match, spec.all)
    if spec.any:
        yield _Any(tuple(map(compile_match, spec.any)))
    if spec.not_ is not None:
        yield _Not(compile_match(spec.not_))


def _prompt(spec: PromptMatch | tuple[str, ...]) -> Iterator[Test]:
    if isinstance(spec, tuple):
        spec = PromptMatch(any_keyword=spec)
    if spec.any_keyword:
        yield _Keywords(spec.any_keyword, every=False)
    if spec.all_keywords:
        yield _Keywords(spec.all_keywords, every=True)
    if spec.regex:
        yield _Regex(spec.regex)


class _Texts:
    """One text of several, some of them globs."""

    __slots__ = ("_words", "exact", "globs")

    def __init__(self, wanted: Words) -> None:
        self._words = texts(wanted)
        self.exact = frozenset(text for text in self._words if not is_glob(text))
        globs = [translate(text) for text in self._words if is_glob(text)]
        self.globs = re.compile("|".join(globs)) if globs else None

    def __contains__(self, text: str | None) -> bool:
        if text is None:
            return False
        return text in self.exact or bool(self.globs and self.globs.match(text))

    def __str__(self) -> str:
        return " or ".join(self._words)


class _Context:
    __slots__ = ("_exact", "_globs", "_key", "_texts")

    def __init__(self, key: str, wanted: Words) -> None:
        self._key = key
        self._texts = _Texts(wanted)
        self._exact, self._globs = self._texts.exact, self._texts.globs

    def __call__(self, features: Features) -> bool:
        # Not `in self._texts`: this is asked more often than anything else.
        value = features.context.get(self._key)
        if value is None or self._globs is None:
            return value in self._exact
        return value in self._exact or self._globs.match(value) is not None

    def held(self, features: Features) -> str:
        return f"{self._key}={features.context.get(self._key)}"

    def why_not(self, features: Features) -> str:
        value = features.context.get(self._key)
        return f"the context has no {self._key}" if value is None else f"{self._key} is {value}, not {self._texts}"

    def __str__(self) -> str:
        return f"{self._key}={self._texts}"


class _Name:
    """The name of the client, or of the model as it was sent."""

    __slots__ = ("_texts", "_what")

    def __init__(self, what: str, wanted: Words) -> None:
        self._what = what
        self._texts = _Texts(wanted)

    def _of(self, features: Features) -> str:
        return features.client if self._what == "client" else features.chat.model

    def __call__(self, features: Features) -> bool:
        return self._of(features) in self._texts

    def why_not(self, features: Features) -> str:
        return f"{self._what} is {self._of(features) or 'not named'}, not {self._texts}"

    def __str__(self) -> str:
        return f"{self._what}={self._texts}"


class _Flag:
    __slots__ = ("_wanted", "_what")

    def __init__(self, what: str, *, wanted: bool) -> None:
        self._what = what
        self._wanted = wanted

    def _of(self, features: Features) -> bool:
        return features.has_tools if self._what == "has_tools" else features.has_images

    def __call__(self, features: Features) -> bool:
        return self._of(features) is self._wanted

    def why_not(self, features: Features) -> str:
        return f"{self._what} is {str(self._of(features)).lower()}"

    def __str__(self) -> str:
        return f"{self._what}={str(self._wanted).lower()}"


class _Number:
    __slots__ = ("_range", "_what")

    def __init__(self, what: str, bounds: Range) -> None:
        self._what = what
        self._range = bounds

    def _of(self, features: Features) -> float:
        if self._what == "chars":
            return features.chars
        return features.turn if self._what == "turn" else features.tokens

    def __call__(self, features: Features) -> bool:
        value, bounds = self._of(features), self._range
        return (bounds.at_least is None or value >= bounds.at_least) and (bounds.below is None or value < bounds.below)

    def why_not(self, features: Features) -> str:
        return f"{self._what} is {self._of(features):g}, not {self._bounds()}"

    def _bounds(self) -> str:
        low = "" if self._range.at_least is None else f"at least {self._range.at_least:g}"
        high = "" if self._range.below is None else f"below {self._range.below:g}"
        return " and ".join(filter(None, (low, high)))

    def __str__(self) -> str:
        return f"{self._what} {self._bounds()}"


class _Time:
    __slots__ = ("_text", "_windows")

    def __init__(self, wanted: Words) -> None:
        self._windows = [parse_window(text) for text in texts(wanted)]
        self._text = " or ".join(texts(wanted))

    def __call__(self, features: Features) -> bool:
        minute = features.moment.minute
        # a window that ends before it begins goes over midnight
        return any((minute - start) % _MINUTES < (end - start) % _MINUTES for start, end in self._windows)

    def why_not(self, features: Features) -> str:
        return f"it is {features.moment.minute // 60:02}:{features.moment.minute % 60:02}, not {self._text}"

    def __str__(self) -> str:
        return f"time {self._text}"


class _Weekday:
    __slots__ = ("_days", "_text")

    def __init__(self, wanted: Words) -> None:
        self._days = frozenset(map(parse_weekday, texts(wanted)))
        self._text = " or ".join(texts(wanted))

    def __call__(self, features: Features) -> bool:
        return features.moment.weekday in self._days

    def why_not(self, features: Features) -> str:
        return f"it is {WEEKDAYS[features.moment.weekday]}, not {self._text}"

    def __str__(self) -> str:
        return self._text


class _Keywords:
    """Words of the newest ask, looked up in the set of its words; phrases in its words joined."""

    __slots__ = ("_every", "_keywords", "_phrases", "_words")

    def __init__(self, keywords: tuple[str, ...], *, every: bool) -> None:
        self._keywords = keywords
        self._every = every
        looked_for = [phrase(keyword) for keyword in keywords]
        self._words = frozenset(text.strip() for text in looked_for if text.count(" ") == 2)
        self._phrases = [text for text in looked_for if text.count(" ") > 2]

    def __call__(self, features: Features) -> bool:
        if self._every:
            return self._words <= features.word_set and all(text in features.spaced for text in self._phrases)
        return not self._words.isdisjoint(features.word_set) or any(text in features.spaced for text in self._phrases)

    def why_not(self, _features: Features, /) -> str:
        return f"no {self}"

    def __str__(self) -> str:
        return f"prompt with {'all' if self._every else 'any'} of {', '.join(self._keywords)}"


class _Regex:
    __slots__ = ("_pattern", "_text")

    def __init__(self, pattern: str) -> None:
        self._text = pattern
        self._pattern = compile_regex(pattern)

    def __call__(self, features: Features) -> bool:
        return self._pattern.search(features.head) is not None

    def why_not(self, _features: Features, /) -> str:
        return f"no {self}"

    def __str__(self) -> str:
        return f"prompt like /{self._text}/"


class _Any:
    __slots__ = ("_predicates",)

    def __init__(self, predicates: tuple[Predicate, ...]) -> None:
        self._predicates = predicates

    def __call__(self, features: Features) -> bool:
        return any(predicate(features) for predicate in self._predicates)

    def why_not(self, _features: Features, /) -> str:
        return f"none of ({'; '.join(map(str, self._predicates))})"

    def __str__(self) -> str:
        return f"any of ({'; '.join(map(str, self._predicates))})"


class _Not:
    __slots__ = ("_predicate",)

    def __init__(self, predicate: Predicate) -> None:
        self._predicate = predicate

    def __call__(self, features: Features) -> bool:
        return not self._predicate(features)

    def why_not(self, features: Features) -> str:
        return f"it is ({self._predicate.explain(features)}), which is not wanted"

    def __str__(self) -> str:
        return f"not ({self._predicate})"
