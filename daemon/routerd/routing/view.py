"""What a decision may know of the backends, and what it is made of. Pure."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import cached_property
from typing import Literal, Protocol

from msgspec import Struct

from routerd_client.chat import ChatRequest
from routerd_client.records import FailureKind

from .classify.score import Score
from .features import Features
from .terms import Terms

Policy = Literal["frugal", "burn", "fixed"]


class Limits(Struct, frozen=True):
    """What a backend can do. ``context`` is prompt and answer together in tokens, None where unknown; ``prefill``:
    it goes on from an answer's beginning; ``embeddings``: it makes vectors of texts. ``stays``: whether requests stay
    on this machine, for a server here of which the file does not say it; None where it has not been asked yet."""

    context: int | None = None
    tools: bool = True
    vision: bool = True
    prefill: bool = False
    embeddings: bool = False
    stays: bool | None = None


class Denial(Struct, frozen=True):
    """Why a backend may not answer, and the failure that asking it would end in; ``permanent`` as in `Skipped`."""

    reason: str
    failure: FailureKind
    permanent: bool = False


class Wanted(Struct, frozen=True):
    """What a backend would be asked, and on which route: ``chat`` has the route's overrides on it."""

    chat: ChatRequest
    terms: Terms
    route: str


class View(Protocol):
    """The backends at one moment. Filled by dispatch from their owners."""

    def blocked(self, backend: str) -> Denial | None:
        """Why the backend's health, or its model, keeps it from answering now; None where they do not."""
        ...

    def denied(self, backend: str, wanted: Wanted) -> Denial | None:
        """Why what that may cost may not be spent; None where it may, or where it is to wait for open requests."""
        ...

    def note(self, backend: str) -> str:
        """What else speaks for or against it, for people (``loaded``, ``cold``); ``""`` for nothing."""
        ...

    def limits(self, backend: str) -> Limits: ...

    def busy(self, backend: str) -> float:
        """Its requests in flight and waiting, per request it can serve at a time."""
        ...

    def wait(self, backend: str) -> float:
        """Seconds until it could begin, as far as one can tell: its queue, and its load where it is cold."""
        ...

    def tokens(self, backend: str) -> int | None:
        """The prompt's tokens by the backend's own tokenizer; None where nobody has counted."""
        ...

    def pressure(self, backend: str) -> float | None:
        """(quota left / quota) / (time left / window), the least of its quotas; None where it has none."""
        ...

    def quality(self, backend: str) -> float | None:
        """0..1, configured or from what its answers came to; None where nothing is known."""
        ...

    def outcomes(self, backend: str) -> tuple[float, float]:
        """How many of its answers were good and bad, older ones counting less."""
        ...

    def sticky(self, endpoint: str) -> str:
        """The backend the request's session keeps to in ``endpoint``; ``""`` for none."""
        ...


Judge = Callable[[str, str], Score]
"""Scores an answer to an ask, 0..10: how much a stronger model would gain."""

Scorer = Callable[[str], Score]
"""Scores the text of an ask, 0..10."""


class Asking:
    """One request, the backends as they are, and chance: all that a strategy may look at.

    ``seed`` makes chance repeatable: the same seed, request and view give the same order.
    """

    def __init__(
        self, features: Features, view: View, scorers: dict[str, Scorer], seed: str, policy: Policy | None
    ) -> None:
        self.features = features
        self.view = view
        self.policy = policy
        self.scores: dict[str, Score] = {}
        """Those that a strategy asked for, by classifier."""
        self.variant = ""
        """Which of two limits a strategy drew (``a`` or ``b``)."""
        self._scorers = scorers
        self._seed = seed

    @cached_property
    def chance(self) -> random.Random:
        return random.Random(self._seed)

    def score(self, classifier: str) -> Score:
        """The score of the newest ask. A classifier that is not there is the rules."""
        if classifier not in self.scores:
            scorer = self._scorers.get(classifier) or self._scorers["rules"]
            self.scores[classifier] = scorer(self.features.ask.text)
        return self.scores[classifier]
