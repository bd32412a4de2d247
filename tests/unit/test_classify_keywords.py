"""Keyword rules decide before any score."""

from __future__ import annotations

import pytest

from routerd.routing.classify.keywords import THREE_TIERS, KeywordRule, Keywords, keyword_score


@pytest.mark.parametrize(
    ("ask", "use"),
    [
        ("Walk to the next room", "fast"),
        ("open the door", "fast"),
        ("Plan the optimal path to become Hortator", "heavy"),
        ("Think this through STEP BY STEP", "heavy"),
        ("What is the root-cause of this?", "heavy"),
        ("Go and plan the siege", "heavy"),
    ],
)
def test_the_three_tiers(ask: str, use: str) -> None:
    hit = Keywords().match(ask)
    assert hit
    assert hit.use == use
    assert keyword_score(hit).value == (10.0 if use == "heavy" else 0.0)


@pytest.mark.parametrize(
    "ask",
    [
        "",
        "What time is it?",
        "the planet",
        "my plane",
        "I like to walk",
        "walk " + "and describe what you see " * 5,
        "step"[:3],
    ],
)
def test_where_no_rule_fits_it_abstains(ask: str) -> None:
    hit = Keywords().match(ask)
    assert hit is None
    assert not keyword_score(hit).fired


def test_no_default_rule_leads_to_a_paid_tier() -> None:
    assert {rule.use for rule in THREE_TIERS} == {"fast", "heavy"}


def test_the_first_rule_that_fits_wins_and_names_its_keyword() -> None:
    rules = [KeywordRule(("big ship",), "a"), KeywordRule(("ship", "Boat"), "b")]
    found = [Keywords(rules).match(ask) for ask in ("a big, SHIP", "a ship", "the boat!")]
    assert [(hit.use, hit.keyword) for hit in found if hit] == [("a", "big ship"), ("b", "ship"), ("b", "boat")]


@pytest.mark.parametrize("keyword", ["", " ", "!?"])
def test_a_keyword_without_a_word_is_refused(keyword: str) -> None:
    with pytest.raises(ValueError, match="has no word in it"):
        Keywords([KeywordRule((keyword,), "a")])
