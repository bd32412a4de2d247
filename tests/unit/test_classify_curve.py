"""Quality against cost: what APGR, CPT and thresholds come to."""

from __future__ import annotations

import pytest

from routerd.routing.classify.curve import curve, quantiles, threshold_for

GAINS = [1.0] * 5 + [0.0] * 5
WEAK = [1.0 - gain for gain in GAINS]
STRONG = [1.0] * 10


def test_the_best_order_recovers_all_with_the_needed_half() -> None:
    best = curve(GAINS, STRONG, WEAK)
    assert [best.apgr, best.cpt(50), best.cpt(80), best.at(0.25)] == pytest.approx([0.75, 25, 40, 0.5])
    assert (best.weak, best.strong) == (0.5, 1.0)


def test_scores_that_say_nothing_are_worth_a_half() -> None:
    same = curve([3.0] * 10, STRONG, WEAK)
    assert [same.apgr, same.cpt(50), same.cpt(80)] == pytest.approx([0.5, 50, 80])


def test_the_worst_order_is_the_best_one_turned_round() -> None:
    assert curve([-gain for gain in GAINS], STRONG, WEAK).apgr == pytest.approx(0.25)


@pytest.mark.parametrize(("strong", "weak"), [([], []), ([1.0], [1.0]), ([0.0], [1.0])])
def test_nothing_to_gain_is_an_error(strong: list[float], weak: list[float]) -> None:
    with pytest.raises(ValueError, match="nothing to route"):
        curve([0.0] * len(strong), strong, weak)


@pytest.mark.parametrize(
    ("scores", "share", "sent"),
    [
        (list(range(10)), 0.3, 3),
        (list(range(10)), 0.0, 0),
        (list(range(10)), 1.0, 10),
        ([0] * 10, 0.3, 0),
        ([1] * 5 + [0] * 5, 0.3, 0),
        ([2] * 2 + [1] * 5 + [0] * 3, 0.3, 2),
    ],
)
def test_a_threshold_never_sends_more_than_the_share(scores: list[float], share: float, sent: int) -> None:
    threshold = threshold_for(scores, share)
    assert sum(score >= threshold for score in scores) == sent


def test_quantiles_run_from_the_lowest_to_the_highest() -> None:
    assert quantiles([3.0, 1.0, 2.0], 2) == [1.0, 2.0, 3.0]
    assert len(quantiles([1.0])) == 101
