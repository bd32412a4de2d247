"""What backends' answers came to: decay, the cap, and what an attempt says of its backend."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routerd.health.outcomes import HALF_LIFE_S, MOST, Outcomes, Past, standing
from routerd_client.records import Attempt, FailureKind, Outcome

A = ("a", "model")


def attempt(outcome: Outcome = Outcome.OK, failure: FailureKind | None = None) -> Attempt:
    return Attempt(number=1, backend="a", outcome=outcome, failure=failure)


@pytest.mark.parametrize(
    ("tried", "flaw", "says"),
    [
        (attempt(), None, "good"),
        (attempt(), FailureKind.REFUSAL, "bad"),
        (attempt(), FailureKind.CONTENT_FILTERED, ""),
        (attempt(Outcome.FAILED, FailureKind.REFUSAL), None, "bad"),
        (attempt(Outcome.FAILED, FailureKind.WORKER_DIED), None, "bad"),
        (attempt(Outcome.FAILED, FailureKind.BAD_REQUEST), None, ""),
        (attempt(Outcome.CANCELLED), None, ""),
    ],
)
def test_what_an_attempt_says_of_its_backend(tried: Attempt, flaw: FailureKind | None, says: str) -> None:
    assert standing(tried, flaw) == says


def test_of_an_unknown_backend_nothing_is_said() -> None:
    outcomes = Outcomes()
    assert outcomes.counts(A, 0.0) == (0.0, 0.0)
    assert outcomes.quality(A, 0.0) is None


def test_a_refusal_lowers_the_quality_and_time_heals_it() -> None:
    outcomes = Outcomes()
    for _ in range(4):
        outcomes.note(A, 0.0, good=1)
    before = outcomes.quality(A, 0.0)
    outcomes.note(A, 0.0, bad=1)
    after = outcomes.quality(A, 0.0)
    assert before == 1.0
    assert after == pytest.approx(6 / 7)
    assert after < outcomes.quality(A, HALF_LIFE_S) < outcomes.quality(A, 20 * HALF_LIFE_S) <= 1.0
    assert outcomes.counts(A, HALF_LIFE_S) == pytest.approx((2.0, 0.5))


def test_another_model_under_the_same_name_has_a_record_of_its_own() -> None:
    outcomes = Outcomes()
    outcomes.note(A, 0.0, bad=5)
    assert outcomes.quality(("a", "other"), 0.0) is None


def test_a_long_good_record_does_not_hide_that_it_goes_bad() -> None:
    outcomes = Outcomes()
    for _ in range(5000):
        outcomes.note(A, 0.0, good=1)
    for _ in range(200):
        outcomes.note(A, 0.0, bad=1)
    assert outcomes.quality(A, 0.0) < 0.5


@given(st.lists(st.tuples(st.floats(0, 1e6), st.integers(0, 50), st.integers(0, 50)), max_size=30))
def test_what_is_loaded_counts_as_what_was_noted_then(found: list[tuple[float, int, int]]) -> None:
    now = 2e6
    loaded, noted = Outcomes(), Outcomes()
    loaded.load([Past(A, now - then, good, bad) for then, good, bad in found], now)
    for then, good, bad in sorted(found):
        noted.note(A, then, good, bad)
    good, bad = loaded.counts(A, now)
    assert good + bad <= MOST + 1e-6
    if sum(good + bad for _, good, bad in found) < MOST:
        assert (good, bad) == pytest.approx(noted.counts(A, now), abs=1e-6)
