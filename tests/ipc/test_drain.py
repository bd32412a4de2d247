"""A daemon that is told to stop lets open answers end, whoever gives them."""

from __future__ import annotations

import json
from pathlib import Path

import anyio
import pytest

from routerd.selftest.fake_api import fake_api
from routerd.selftest.fake_formats import Knobs
from routerd_client import AsyncClient, Done, Event, RequestFailedError
from routerd_client.protocol import ErrorCode
from tests.support.daemon import running_daemon
from tests.support.wait import until


@pytest.mark.parametrize(("seconds", "between", "cut"), [(10.0, 0.05, 0), (0.1, 1.0, 1)])
async def test_an_api_answers_to_its_end_within_the_time(
    tmp_path: Path, seconds: float, between: float, cut: int
) -> None:
    async with fake_api(Knobs(pieces=["One ", "two ", "three."], between=between)) as api:
        far = {"openai": {"model": "far", "base_url": api.base_url}}
        config = json.dumps({"version": 1, "backends": {"far": far}, "default": "far"})
        async with running_daemon(tmp_path, config) as running, running.client() as client:
            heard: list[Event] = []
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(listen, client, heard)
                await until(lambda: api.asked, "it is asked")
                assert await running.daemon.drain(seconds) == cut
                with pytest.raises(RequestFailedError) as refused:
                    await client.chat("And you?")
                assert refused.value.code is ErrorCode.SHUTTING_DOWN
                if cut:
                    tasks.cancel_scope.cancel()
                else:
                    await until(lambda: any(isinstance(event, Done) for event in heard), "it is told")


async def listen(client: AsyncClient, heard: list[Event]) -> None:
    heard += [event async for event in client.stream("Count.")]
