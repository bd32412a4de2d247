"""A machine short of memory: idle models go, one after the other; nothing is loaded that nobody waits for."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from routerd.supervisor.pressure import HIGH, LOW
from routerd.supervisor.supervisor import Supervisor
from routerd_client.records import Residency
from tests.support.supervising import MadeUpMachine, ask, spec, supervising
from tests.support.wait import until

ROUND_S = 0.02


@pytest.fixture
def machine(tmp_path: Path) -> MadeUpMachine:
    return MadeUpMachine(tmp_path / "machine")


def residencies(supervisor: Supervisor) -> dict[str, Residency]:
    return {status.backend: status.residency for status in supervisor.statuses(anyio.current_time())}


async def test_idle_models_go_and_those_in_use_or_pinned_stay(tmp_path: Path, machine: MadeUpMachine) -> None:
    hold = tmp_path / "hold"
    models = {
        "dear": spec("--size 1000 --load-seconds 0.3"),
        "cheap": spec("--size 1000"),
        "busy": spec(f"--size 1000 --hold {hold}"),
        "pinned": spec("--size 1000", pin=True),
    }
    async with (
        supervising(tmp_path, machine, measure_s=ROUND_S, **models) as supervisor,
        anyio.create_task_group() as tasks,
    ):
        for name in models:
            await ask(supervisor, name)
        hold.touch()
        tasks.start_soon(ask, supervisor, "busy")
        await until(lambda: supervisor.memory().reserved == 4000, "all are loaded")
        machine.set_pressure(HIGH + 1)
        await until(lambda: residencies(supervisor)["cheap"] is Residency.STOPPED, "the cheapest goes")
        await until(lambda: residencies(supervisor)["dear"] is Residency.STOPPED, "then the next")
        memory = supervisor.memory()
        assert (memory.pressed, memory.pressure, memory.reserved) == (True, HIGH + 1, 2000)
        assert residencies(supervisor)["busy"] is residencies(supervisor)["pinned"] is Residency.READY
        hold.unlink()
        await until(lambda: residencies(supervisor)["busy"] is Residency.STOPPED, "idle now, it goes too")
        assert residencies(supervisor)["pinned"] is Residency.READY


async def test_only_what_is_waited_for_is_loaded_until_it_is_over(tmp_path: Path, machine: MadeUpMachine) -> None:
    models = {"first": spec("--size 1000", pin=True), "later": spec("--size 1000")}
    async with supervising(tmp_path, machine, measure_s=ROUND_S, **models) as supervisor:
        await ask(supervisor, "first")
        machine.set_pressure(HIGH + 1)
        await until(lambda: supervisor.memory().pressed, "the pressure is seen")
        await ask(supervisor, "later")
        await until(lambda: residencies(supervisor)["later"] is Residency.STOPPED, "idle, it goes at once")
        supervisor.pin("later", pinned=True)  # loads it, though nobody waits
        machine.set_pressure((HIGH + LOW) / 2)
        await until(lambda: supervisor.memory().pressure == (HIGH + LOW) / 2, "the pressure falls")
        assert supervisor.memory().pressed, "but not far enough"
        assert residencies(supervisor)["later"] is Residency.LOADING
        assert supervisor.memory().reserved == 1000
        machine.set_pressure(LOW - 1)
        await until(lambda: residencies(supervisor)["later"] is Residency.READY, "it is over")
        assert not supervisor.memory().pressed


async def test_the_end_of_it_is_seen_without_any_model(tmp_path: Path, machine: MadeUpMachine) -> None:
    async with supervising(tmp_path, machine, measure_s=ROUND_S, only=spec("--size 1000")) as supervisor:
        await ask(supervisor, "only")
        machine.set_pressure(HIGH + 1)
        await until(lambda: residencies(supervisor)["only"] is Residency.STOPPED, "the model goes")
        machine.set_pressure(0)
        await until(lambda: not supervisor.memory().pressed, "it is over")
