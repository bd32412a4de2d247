"""A model process that dies leaves a report; one that was asked to end leaves none."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from routerd.crashes import kept
from routerd_client import AsyncClient, RequestFailedError
from routerd_client.records import Residency
from tests.support.daemon import fake, routes, running_daemon
from tests.support.wait import until


async def ask(client: AsyncClient, name: str) -> None:
    with pytest.raises(RequestFailedError):
        await client.chat("hello", model=name)


async def test_only_a_death_that_nobody_asked_for_is_reported(tmp_path: Path) -> None:
    stuck = fake("--stall-after 1", stall_timeout="300ms")
    text = routes(good=fake(), bad=fake("--die-after 1"), stuck=stuck, busy=fake("--stall-after 1"))
    async with running_daemon(tmp_path, text) as running, running.client() as client:
        await client.chat("hello", model="good")
        await client.models("unload", "good")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask, client, "busy")
            await until(lambda: running.model("busy").in_flight, "it is busy")
            await client.models("unload", "busy", force=True)
        for name in ("bad", "stuck"):
            await ask(client, name)
        await until(lambda: len(list(kept(running.places.state))) == 2, "both deaths are reported")
        assert {running.model(name).residency for name in ("good", "busy")} == {Residency.STOPPED}

    bad, stuck = sorted((crash for _, crash in kept(running.places.state)), key=lambda crash: crash.backend)
    assert (bad.backend, bad.kind, stuck.kind) == ("bad", "worker_died", "stalled")
    assert "killed by signal 9 (SIGKILL) while it answered" in bad.says
    assert "--die-after 1" in bad.command
