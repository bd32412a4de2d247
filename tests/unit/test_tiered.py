"""The scorer and the router of two tiers by themselves."""

from __future__ import annotations

import pytest

from routerd.tiered import TaskComplexityScorer, TierConfig, TieredModelRouter


def test_a_score_has_its_factors() -> None:
    score = TaskComplexityScorer().score("Explain async vs threads")
    assert (round(score.value, 2), sum(score.factors.values()) > 0) == (4.17, True)


@pytest.mark.parametrize(
    ("ask", "config", "model", "reason"),
    [
        ("What time is it?", TierConfig(), "gemma2:2b", "no sign of complexity"),
        ("Explain async vs threads", TierConfig(), "mistral:7b-instruct", "score 4.17 reaches 3"),
        ("Explain async vs threads", TierConfig(complexity_threshold=5), "gemma2:2b", "score 4.17 is below 5"),
        ("What time is it?", TierConfig(enabled=False), "mistral:7b-instruct", "Tiered routing disabled"),
        ("What time is it?", TierConfig(simple="mine"), "mine", "no sign of complexity"),
    ],
)
def test_an_ask_goes_to_its_tier_with_a_reason(ask: str, config: TierConfig, model: str, reason: str) -> None:
    choice = TieredModelRouter(config).route(ask)
    assert (choice.model, choice.reason) == (model, reason)
    assert choice.tier == ("complex" if model == "mistral:7b-instruct" else "simple")
