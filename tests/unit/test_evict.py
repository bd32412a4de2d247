"""Who makes room: never too many, never one that is needed, and the cheapest."""

from __future__ import annotations

from itertools import chain, combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routerd.supervisor.evict import EXACT_UP_TO, Claim, Evict, Fits, Refuse, Standing, Uses, Wait, decide

GB = 1_000_000_000
IDLE, BUSY, LOADING, PINNED = Standing.IDLE, Standing.BUSY, Standing.LOADING, Standing.PINNED


def claim(
    name: str, size: int, standing: Standing = IDLE, *, load_s: float = 1.0, uses: float = 1.0, idle_since: float = 0.0
) -> Claim:
    return Claim(name=name, size=size, standing=standing, load_s=load_s, uses=uses, idle_since=idle_since)


def test_what_fits_evicts_nobody() -> None:
    assert decide("new", 40, [claim("a", 60)], budget=100) == Fits()


def test_without_a_budget_everything_fits() -> None:
    assert decide("new", 1 << 60, [claim("a", 1 << 60)], budget=None) == Fits()


def test_the_one_that_loads_fastest_goes_first() -> None:
    claims = [claim("slow", 50, load_s=20.0), claim("fast", 50, load_s=2.0)]

    assert decide("new", 50, claims, budget=100) == Evict(("fast",))


def test_the_one_that_is_used_least_goes_first() -> None:
    claims = [claim("rare", 50, load_s=8.0, uses=0.5), claim("often", 50, load_s=1.0, uses=9.0)]

    assert decide("new", 50, claims, budget=100) == Evict(("rare",))


def test_of_equals_the_longest_idle_goes_first() -> None:
    claims = [claim("young", 50, idle_since=9.0), claim("old", 50, idle_since=3.0)]

    assert decide("new", 50, claims, budget=100) == Evict(("old",))


def test_one_large_rather_than_two_small_of_the_same_cost() -> None:
    claims = [claim("a", 30, uses=0.0), claim("b", 30, uses=0.0), claim("large", 40, uses=0.0)]

    assert decide("new", 40, claims, budget=100) == Evict(("large",))


def test_two_cheap_ones_rather_than_a_dear_one() -> None:
    claims = [claim("a", 30), claim("b", 30), claim("dear", 40, load_s=9.0)]

    assert decide("new", 40, claims, budget=100) == Evict(("a", "b"))


def test_a_claim_of_nothing_is_left_alone() -> None:
    claims = [claim("empty", 0, uses=0.0), claim("a", 100)]

    assert decide("new", 40, claims, budget=100) == Evict(("a",))


def test_idle_ones_are_not_evicted_where_that_is_not_enough() -> None:
    claims = [claim("idle", 30), claim("busy", 40, BUSY), claim("loading", 20, LOADING)]

    assert decide("new", 60, claims, budget=100) == Wait(("busy", "loading"))


def test_what_never_fits_is_refused_with_the_numbers() -> None:
    message = "new needs 40GB and models may take 32GB together"
    assert decide("new", 40 * GB, [claim("a", GB)], budget=32 * GB) == Refuse(message)

    claims = [claim("b", 2 * GB, PINNED), claim("a", GB + GB // 2, PINNED), claim("c", GB, BUSY)]
    message = "new needs 30GB and models may take 32GB together, of which 3.5GB are pinned by a, b"
    assert decide("new", 30 * GB, claims, budget=32 * GB) == Refuse(message)


def test_uses_fade() -> None:
    uses = Uses(half_life_s=100.0)
    assert uses.at(5.0) == 0.0
    uses.add(1000.0)
    uses.add(1000.0)
    assert uses.at(1000.0) == 2.0
    assert uses.at(1100.0) == pytest.approx(1.0)
    uses.add(1200.0)
    assert uses.at(1200.0) == pytest.approx(1.5)


@st.composite
def claims_of(draw: st.DrawFn, *, most: int) -> list[Claim]:
    sizes = st.integers(0, 50)
    costs = st.integers(0, 5).map(float)
    count = draw(st.integers(0, most))
    return [
        claim(str(i), draw(sizes), draw(st.sampled_from(Standing)), load_s=draw(costs), idle_since=draw(costs))
        for i in range(count)
    ]


@settings(deadline=None)
@given(claims=claims_of(most=25), wanted=st.integers(0, 200), budget=st.integers(0, 200))
def test_every_decision_keeps_its_word(claims: list[Claim], wanted: int, budget: int) -> None:
    held = {c.name: c for c in claims}
    used = sum(c.size for c in claims)
    match decide("new", wanted, claims, budget):
        case Fits():
            assert used + wanted <= budget
        case Evict(names):
            assert used + wanted > budget
            assert all(held[name].standing is IDLE for name in names)
            freed = sum(held[name].size for name in names)
            assert used - freed + wanted <= budget
            assert all(used - freed + held[name].size + wanted > budget for name in names)
        case Wait(for_):
            assert used - sum(c.size for c in claims if c.standing is IDLE) + wanted > budget
            assert sum(c.size for c in claims if c.standing is PINNED) + wanted <= budget
            assert for_
            assert all(held[name].standing in (BUSY, LOADING) for name in for_)
        case Refuse():
            assert sum(c.size for c in claims if c.standing is PINNED) + wanted > budget


def cheapest(claims: list[Claim], short: int) -> float:
    subsets = chain.from_iterable(combinations(claims, n) for n in range(len(claims) + 1))
    return min(sum(c.cost for c in chosen) for chosen in subsets if sum(c.size for c in chosen) >= short)


@pytest.mark.parametrize(("counts", "factor"), [((1, EXACT_UP_TO), 1.0), ((EXACT_UP_TO + 1, EXACT_UP_TO + 1), 2.0)])
@settings(deadline=None, max_examples=50)  # it tries all sets of 13
@given(data=st.data())
def test_the_cost_is_within_its_bound(counts: tuple[int, int], factor: float, data: st.DataObject) -> None:
    numbers = st.tuples(st.integers(1, 50), st.integers(0, 9))
    drawn = data.draw(st.lists(numbers, min_size=counts[0], max_size=counts[1]))
    claims = [claim(str(i), size, load_s=float(cost)) for i, (size, cost) in enumerate(drawn)]
    used = sum(c.size for c in claims)
    short = data.draw(st.integers(1, used))

    decision = decide("new", short, claims, budget=used)

    assert isinstance(decision, Evict)
    assert sum(c.cost for c in claims if c.name in decision.names) <= factor * cheapest(claims, short)
