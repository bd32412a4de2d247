"""Headroom over a month: what is paid for is used before it is lost."""

from __future__ import annotations

import pytest
from benchmarks.headroom import ORDERS, QUOTAS, headroom, simulate

from routerd.config.load import load
from routerd.routing.decide import decide
from routerd.routing.features import Features
from routerd.routing.table import compile_table
from routerd.spend.quota import Quotas, Use
from routerd_client.chat import ChatRequest
from tests.support.view import FakeView

DAY = 86_400.0


@pytest.mark.parametrize("demand", [1.05, 1.2])
def test_nearly_all_of_a_month_is_used_and_nothing_exceeded(demand: float) -> None:
    found = {name: simulate(order, 31, demand) for name, order in ORDERS.items()}

    assert found["headroom"].share >= 0.95
    assert found["headroom"].share > max(found["round_robin"].share, found["cheapest_first"].share) + 0.1
    assert found["headroom"].metered < min(found["round_robin"].metered, found["cheapest_first"].metered)
    assert [outcome.exceeded for outcome in found.values()] == [0, 0, 0]


def test_near_its_reset_the_less_used_quota_wins() -> None:
    """Four fifths of one are left, a fifth of the other, whose window ends in an hour."""
    quotas = Quotas()
    quotas.configure({name: (spec,) for name, spec in QUOTAS.items()}, None)
    (weekly,), (monthly,) = quotas.meters("weekly"), quotas.meters("monthly")
    now = 1_767_700_000.0
    quotas.let_go("monthly", Use(), Use(tokens=monthly.amount // 5), now)
    quotas.let_go("weekly", Use(), Use(tokens=weekly.amount * 4 // 5), now)

    assert headroom(quotas, now, 0)[:2] == ["monthly", "weekly"]
    assert headroom(quotas, weekly.resets_at(now) - 3600, 0)[:2] == ["weekly", "monthly"]


CONFIG = """
version: 1
backends:
  good: {openai: {model: gpt-5}, billing: prepaid}
  bad: {openai: {model: gpt-5}, billing: prepaid, quality: 0.2}
  own: {mlx: {model: demo}}
  dear: {openai: {model: gpt-5}}
endpoints: {all: {headroom: [dear, own, bad, good], quality_floor: 0.5}}
routes:
  - {match: {task: save}, use: all, set: {policy: frugal}}
  - {match: {task: asis}, use: all, set: {policy: fixed}}
default: all
"""


@pytest.mark.parametrize(
    ("task", "order"),
    [
        ("", ["good", "own", "dear", "bad"]),
        ("save", ["own", "good", "dear", "bad"]),
        ("asis", ["dear", "own", "good", "bad"]),
    ],
)
def test_quality_comes_before_headroom_and_the_route_says_what_to_spare(task: str, order: list[str]) -> None:
    view = FakeView(pressure={"good": 0.5, "bad": 9.0}, quality={"bad": 0.2})
    features = Features(ChatRequest(messages=[], context={"task": task} if task else {}))

    decided = decide(compile_table(load(CONFIG, "routes.yaml").config), features, view)

    assert [candidate.backend for candidate in decided.decision.candidates] == order
