"""The complexity scorer and a router of two tiers by themselves, by the names that programs know them by. Pure."""

from __future__ import annotations

from msgspec import Struct

from .config.compat.autobot import DISABLED
from .routing.classify.complexity import BOUNDARY, complexity, is_complex
from .routing.classify.score import Score

__all__ = ["Score", "TaskComplexityScorer", "TierChoice", "TierConfig", "TieredModelRouter"]


class TierConfig(Struct, frozen=True, kw_only=True):
    """The models of both tiers. Asks that score ``complexity_threshold`` or more go to ``complex``; all do where it is
    not ``enabled``."""

    enabled: bool = True
    complexity_threshold: float = BOUNDARY
    simple: str = "gemma2:2b"
    complex: str = "mistral:7b-instruct"


class TierChoice(Struct, frozen=True, kw_only=True):
    """The model for one ask, its tier (``simple`` or ``complex``), its score, and why."""

    model: str
    tier: str
    score: Score
    reason: str


class TaskComplexityScorer:
    """Rates an ask from 0 to 10 by rules, without a model; the daemon's classifier ``rules``."""

    def score(self, ask: str) -> Score:
        """Rate ``ask``, the newest of the user; its ``factors`` say how the value came about."""
        return complexity(ask)


class TieredModelRouter:
    """Chooses one of two models by an ask's complexity. What the endpoint ``by_complexity`` does in the daemon, without
    health, fallback or a record."""

    def __init__(self, config: TierConfig | None = None, scorer: TaskComplexityScorer | None = None) -> None:
        self.config = config or TierConfig()
        self._scorer = scorer or TaskComplexityScorer()

    def route(self, ask: str) -> TierChoice:
        """Choose the model for ``ask``."""
        config, score = self.config, self._scorer.score(ask)
        if not config.enabled:
            return TierChoice(model=config.complex, tier="complex", score=score, reason=DISABLED)
        hard = is_complex(score, config.complexity_threshold)
        reason = f"score {score.value:.2f} {'reaches' if hard else 'is below'} {config.complexity_threshold:g}"
        if not score.fired:
            reason = "no sign of complexity"
        tier, model = ("complex", config.complex) if hard else ("simple", config.simple)
        return TierChoice(model=model, tier=tier, score=score, reason=reason)
