"""Who joins, who waits and who is parked, in numbers; and what a pool says of bytes."""

from __future__ import annotations

import pytest

from routerd.worker.admission import Seat, joining, parking
from routerd.worker.pool import STEP, Cost, Pool

COST = Cost(base=0, per_token=1)
NOTHING_CACHED = lambda _: False  # noqa: E731


def pool(steps: int) -> Pool:
    return Pool(steps * STEP, COST)


def seats(*lengths: int, start: int = 0) -> list[Seat]:
    return [Seat(order, length) for order, length in enumerate(lengths, start)]


def joined(waiting: list[Seat], seated: list[Seat], limit: Pool, rows: int = 8) -> list[int]:
    return [seat.order for seat in joining(waiting, seated, limit, rows, NOTHING_CACHED)]


@pytest.mark.parametrize(
    ("lengths", "steps"),
    [((), 0), ((1,), 2), ((STEP,), 2), ((STEP + 1,), 3), ((1, 1), 4), ((1, STEP + 1), 6), ((3 * STEP, 1, 1), 12)],
)
def test_every_row_claims_as_much_as_the_longest_and_a_step(lengths: tuple[int, ...], steps: int) -> None:
    assert pool(99).claim(lengths) == steps * STEP


@pytest.mark.parametrize("steps", [2, 3, 10])
def test_the_longest_is_what_just_fits_alone(steps: int) -> None:
    limit = pool(steps)

    assert limit.fits([limit.longest])
    assert not limit.fits([limit.longest + 1])


def test_a_pool_too_small_for_anything_holds_nothing() -> None:
    assert pool(1).longest == pool(1).room([1]) == 0


def test_without_a_limit_everything_fits() -> None:
    limit = Pool(0, COST)

    assert limit.fits([10**9] * 99)
    assert limit.longest > 10**9
    assert limit.room([10**9]) > 10**9


def test_the_room_left_is_the_prompt_caches() -> None:
    assert pool(10).room([1, 1]) == 6 * STEP


@pytest.mark.parametrize(
    ("first", "second", "cost"),
    [((4, 400), (8, 800), Cost(0, 100)), ((4, 1400), (8, 1800), Cost(1000, 100)), ((4, 500), (8, 500), Cost(500, 0))],
)
def test_the_cost_is_measured_at_two_lengths(first: tuple[int, int], second: tuple[int, int], cost: Cost) -> None:
    assert Cost.measured(first, second) == cost


def test_requests_join_while_they_fit() -> None:
    assert joined(seats(1, 1, 1, 1), [], pool(6)) == [0, 1, 2]
    assert joined(seats(1, 1, 1, 1), [], pool(99), rows=2) == [0, 1]
    assert joined(seats(5, start=1), seats(1), pool(4)) == [1]


def test_a_long_request_counts_for_every_row() -> None:
    assert joined(seats(3 * STEP, start=2), seats(1, 1), pool(11)) == []
    assert joined(seats(3 * STEP, start=2), seats(1, 1), pool(12)) == [2]


def test_nobody_overtakes_the_oldest() -> None:
    assert joined(seats(5 * STEP, 1, start=1), seats(1), pool(6)) == []


def test_one_computes_a_system_prompt_and_others_pass() -> None:
    waiting = [Seat(0, 9, system=7), Seat(1, 9, system=7), Seat(2, 9, system=8), Seat(3, 9)]

    assert joined(waiting, [], pool(99)) == [0, 2, 3]
    assert joined(waiting, [Seat(9, 9, system=7, computing=True)], pool(99)) == [2, 3]
    assert joined(waiting, [Seat(9, 9, system=7)], pool(99)) == [0, 2, 3]
    assert len(joining(waiting, [], pool(99), 8, lambda _: True)) == 4


def test_the_youngest_are_parked_until_the_rest_fits() -> None:
    seated = [Seat(3, 1), Seat(1, STEP + 1), Seat(2, 1)]

    assert parking(seated, pool(9)) == []
    assert [seat.order for seat in parking(seated, pool(8))] == [3]
    assert [seat.order for seat in parking(seated, pool(5))] == [3, 2]


def test_the_oldest_is_never_parked() -> None:
    assert parking(seats(9 * STEP), pool(1)) == []
