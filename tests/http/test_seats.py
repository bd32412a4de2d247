"""So many requests at a time, over real sockets."""

from __future__ import annotations

import anyio
import anyio.abc
import pytest

from routerd.backends.base import Waiting
from routerd.backends.http import Http, HttpBackend
from routerd.routing.terms import USUAL
from routerd.selftest.fake_api import FakeApi
from routerd_client.records import FailureKind
from tests.support.wait import until

from .asking import Heard, ask, backend, chat, failure


async def hold(there: HttpBackend, api: FakeApi, tasks: anyio.abc.TaskGroup) -> None:
    """Take one seat, until the knob ``stall_after`` is a scope's to end."""
    before = len(api.asked)
    tasks.start_soon(ask, there)
    await until(lambda: len(api.asked) > before, "the request came")


async def test_so_many_at_a_time_and_all_in_the_end(http: Http, api: FakeApi) -> None:
    api.knobs.between = 0.01
    there = backend(http, "openai", api.base_url, concurrency=3)

    async with anyio.create_task_group() as tasks:
        for _ in range(12):
            tasks.start_soon(ask, there)

    assert (len(api.asked), api.most_in_flight) == (12, 3)
    assert there.busy() == 0


@pytest.mark.parametrize("when_full", ["next", "refuse"])
async def test_who_will_not_wait_is_told_at_once(http: Http, api: FakeApi, when_full: str) -> None:
    api.knobs.stall_after = 1
    there = backend(http, "openai", api.base_url, concurrency=1)

    async with anyio.create_task_group() as tasks:
        await hold(there, api, tasks)
        error = await failure(there, chat(when_full=when_full))
        tasks.cancel_scope.cancel()

    assert error.kind is FailureKind.OVERLOADED
    assert not error.cools
    assert "1 requests already" in error.message


async def test_who_waits_hears_of_its_place_and_may_leave(http: Http, api: FakeApi) -> None:
    api.knobs.stall_after = 1
    there, heard, left = backend(http, "openai", api.base_url, concurrency=1), Heard(), anyio.CancelScope()

    async def wait() -> None:
        with left:
            await there.answer(chat(), heard.take, USUAL)

    async with anyio.create_task_group() as tasks:
        await hold(there, api, tasks)
        tasks.start_soon(wait)
        await until(lambda: heard.waits, "it waits")
        assert there.busy() == 2
        left.cancel()
        await until(lambda: there.busy() == 1, "it has left the line")
        tasks.cancel_scope.cancel()

    assert heard.waits == [Waiting("queued", position=1)]
    assert there.busy() == 0
    assert len(api.asked) == 1


async def test_a_reload_gives_more_seats_to_those_who_wait(http: Http, api: FakeApi) -> None:
    api.knobs.stall_after = 1
    there = backend(http, "openai", api.base_url, concurrency=1)

    async with anyio.create_task_group() as tasks:
        await hold(there, api, tasks)
        tasks.start_soon(ask, there)
        await until(lambda: there.busy() == 2, "one waits")
        backend(http, "openai", api.base_url, concurrency=2)
        await until(lambda: len(api.asked) == 2, "it waits no more")
        tasks.cancel_scope.cancel()

    assert there.busy() == 0


async def test_a_failure_gives_its_seat_back(http: Http, api: FakeApi) -> None:
    api.knobs.status = 500
    there = backend(http, "openai", api.base_url, concurrency=1)
    for _ in range(3):
        await failure(there)

    assert there.wait() == 0


async def test_how_long_one_more_would_wait(http: Http, api: FakeApi) -> None:
    there = backend(http, "openai", api.base_url, concurrency=1)
    await ask(there)
    api.knobs.stall_after = 1

    async with anyio.create_task_group() as tasks:
        await hold(there, api, tasks)
        assert there.wait() > 0
        tasks.cancel_scope.cancel()

    assert there.wait() == 0
