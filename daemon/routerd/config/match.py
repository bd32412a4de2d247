"""What a route's ``match`` may say."""

from __future__ import annotations

from msgspec import Struct

from .types import Word

Words = Word | tuple[Word, ...]


class Range(Struct, frozen=True, kw_only=True):
    """``at_least <= value < below``."""

    at_least: float | None = None
    below: float | None = None


class PromptMatch(Struct, frozen=True, kw_only=True):
    """What the newest ask of the user says; all that is given must hold. Case does not count."""

    any_keyword: tuple[Word, ...] = ()
    """Words or phrases, one of which is in it."""
    all_keywords: tuple[Word, ...] = ()
    regex: str = ""
    """Found anywhere in its first 1000 characters; only patterns that cannot backtrack for long."""


class MatchSpec(Struct, frozen=True, kw_only=True, rename={"not_": "not"}):
    """All that is given must hold. Every other key is one of the caller's context.

    A value is text or a list of texts, of which one must fit; ``*``, ``?`` and ``[`` make it a glob. What
    the context does not have does not match.
    """

    context: dict[str, Words] = {}
    """The caller's context, also for its keys that have a meaning of their own here."""
    client: Words = ()
    """The name the client gave itself."""
    model: Words = ()
    """The model name as it was sent."""
    prompt: PromptMatch | tuple[Word, ...] | None = None
    """A list is that of ``any_keyword``."""
    chars: Range | None = None
    """Characters of the newest ask."""
    tokens: Range | None = None
    """Tokens of the whole prompt, estimated at four bytes each."""
    turn: Range | int | None = None
    """Which ask of the conversation it is, from 1."""
    has_tools: bool | None = None
    has_images: bool | None = None
    time: Word | tuple[Word, ...] = ()
    """``22:00-06:00``, by the machine's clock; the end is not in it."""
    weekday: Words = ()
    """``mon`` to ``sun``."""
    any: tuple[MatchSpec, ...] = ()
    all: tuple[MatchSpec, ...] = ()
    not_: MatchSpec | None = None


def texts(value: Words) -> tuple[str, ...]:
    """One text or several, as several."""
    return (value,) if isinstance(value, str) else value


def is_glob(text: str) -> bool:
    return any(mark in text for mark in "*?[")
