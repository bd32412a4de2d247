"""When a machine is short of memory, and when no longer."""

from __future__ import annotations

from functools import reduce

import pytest

from routerd.supervisor.pressure import HIGH, LOW, ROUNDS, Pressure

ABOVE, BETWEEN, BELOW = HIGH + 1, (HIGH + LOW) / 2, LOW - 1


def after(*levels: float | None) -> bool:
    return reduce(Pressure.after, levels, Pressure()).high


def test_it_begins_with_several_readings_in_a_row() -> None:
    assert not after(*[ABOVE] * (ROUNDS - 1))
    assert after(*[ABOVE] * ROUNDS)
    assert not after(*[ABOVE, BETWEEN] * 10)


@pytest.mark.parametrize("level", [HIGH, BETWEEN, BELOW, 0.0])
def test_it_does_not_begin_below_its_bound(level: float) -> None:
    assert not after(*[level] * 10)


def test_it_ends_only_well_below_the_bound_it_began_at() -> None:
    high = [ABOVE] * ROUNDS
    assert after(*high, BETWEEN, BETWEEN)
    assert not after(*high, BELOW)
    assert not after(*high, BELOW, BETWEEN), "it begins anew from the higher bound"


def test_where_the_system_tells_nothing_there_is_none() -> None:
    assert not after(*[None] * 10)
    assert not after(*[ABOVE] * ROUNDS, None)


def test_a_level_around_the_bound_does_not_flap() -> None:
    levels = [ABOVE, BETWEEN] * 20
    pressure, changes = Pressure(), 0
    for level in [ABOVE, ABOVE, *levels]:
        before, pressure = pressure, pressure.after(level)
        changes += before.high != pressure.high
    assert changes == 1
