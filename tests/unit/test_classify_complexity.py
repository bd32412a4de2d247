"""The five-factor score, its borders and its four documented examples."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routerd.routing.classify.complexity import BOUNDARY, WEIGHTS, complexity, is_complex
from routerd.routing.classify.score import Score


@pytest.mark.parametrize(
    ("ask", "value"),
    [
        ("What time is it?", 0.0),
        ("List Python string methods", 0.8333),
        ("Explain async vs threads", 4.1667),
        ("Write a Python script that parses JSON, validates schema, stores in Redis", 7.1667),
    ],
)
def test_the_documented_examples_get_their_tier(ask: str, value: float) -> None:
    score = complexity(ask)
    assert score.value == pytest.approx(value, abs=1e-3)
    assert is_complex(score) == (value >= BOUNDARY)


@pytest.mark.parametrize(
    ("characters", "factor"), [(99, 0), (100, 1), (499, 1), (500, 2), (501, 2), (999, 2), (1000, 3), (1001, 3)]
)
def test_a_length_on_a_border_belongs_to_the_higher_band(characters: int, factor: int) -> None:
    assert complexity("z" * characters).factors["length"] == factor


def test_the_weights_sum_to_one_and_the_formula_reaches_ten() -> None:
    assert sum(WEIGHTS.values()) == pytest.approx(1.0)
    ask = (
        "Compare and explain. Implement a python function:\n```\ndef f(): pass\n```\n"
        "First parse, then validate, store, filter and sort, next build, finally deploy; if the api, cache or queue "
    )
    score = complexity(ask + "z" * 1000)
    assert score.factors == dict.fromkeys(WEIGHTS, 3)
    assert score.value == 10.0


@pytest.mark.parametrize(("value", "expected"), [(2.99, False), (3.0, True)])
def test_the_boundary_belongs_to_complex(value: float, expected: bool) -> None:
    assert is_complex(Score(value)) is expected


@pytest.mark.parametrize("ask", ["", "hello", "What time is it?", "Plan the optimal path to become Hortator"])
def test_where_no_factor_fires_it_abstains(ask: str) -> None:
    score = complexity(ask)
    assert not score.fired
    assert not is_complex(score, boundary=0.0)


@pytest.mark.parametrize(
    ("ask", "factor", "points"),
    [
        ("Fix this:\n```\nx = 1\n```", "code", 3),
        ("refactor the python module", "code", 3),
        ("what is a regex", "technical", 1),
        ("an api, a cache and a queue", "technical", 3),
        ("First wash it, then dry it", "steps", 1),
        ("First wash it, then dry it, if it is dirty", "steps", 2),
        ("1. wash\n2. dry\n3. fold\n", "steps", 2),
        ("Walk to the next room", "steps", 0),
        ("Why is the sky blue?", "question", 1),
        ("tea versus coffee", "question", 2),
        ("Compare and design", "question", 3),
        ("\u201cCompare\u201d them,\u00a0design\u2026", "question", 3),
        ("return the class", "code", 2),
        ("1. wash", "steps", 0),
    ],
)
def test_each_factor(ask: str, factor: str, points: int) -> None:
    assert complexity(ask).factors[factor] == points


@given(st.text(max_size=3000))
def test_any_text_scores_0_to_10_and_always_the_same(ask: str) -> None:
    score = complexity(ask)
    assert 0.0 <= score.value <= 10.0
    assert all(0 <= factor <= 3 for factor in score.factors.values())
    assert score == complexity(ask)


def test_what_stands_in_the_middle_of_a_huge_ask_is_not_read() -> None:
    assert complexity("z " * 300_000 + "compare api" + " z" * 300_000).factors["question"] == 0
