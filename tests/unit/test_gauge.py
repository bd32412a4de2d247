"""Whose death a counted kill explains."""

from __future__ import annotations

from pathlib import Path

from routerd.supervisor.gauge import Gauge
from tests.support.supervising import MadeUpMachine


async def test_one_counted_kill_explains_one_death(tmp_path: Path) -> None:
    machine = MadeUpMachine(tmp_path)
    gauge = Gauge(machine)
    assert not await gauge.oom_killed()
    machine.set_oom_kills(2)
    assert [await gauge.oom_killed() for _ in range(3)] == [True, True, False]


async def test_kills_of_long_ago_explain_nothing(tmp_path: Path) -> None:
    machine = MadeUpMachine(tmp_path)
    machine.set_oom_kills(7)
    gauge = Gauge(machine)
    assert not await gauge.oom_killed()
    machine.set_oom_kills(8)
    await gauge.read([])
    await gauge.read([])
    assert not await gauge.oom_killed(), "two rounds have seen it, and nobody died"


async def test_a_death_may_come_a_round_after_its_kill_was_counted(tmp_path: Path) -> None:
    machine = MadeUpMachine(tmp_path)
    gauge = Gauge(machine)
    machine.set_oom_kills(1)
    await gauge.read([])
    assert await gauge.oom_killed()
    await gauge.read([])
    assert not await gauge.oom_killed(), "it explains only one"


async def test_a_round_measures_those_that_live(tmp_path: Path) -> None:
    machine = MadeUpMachine(tmp_path)
    machine.set_memory(7, 4096)
    machine.set_pressure(12.5)
    gauge = Gauge(machine)
    assert await gauge.read([7, 8]) == {7: 4096}
    assert gauge.pressure.level == 12.5
