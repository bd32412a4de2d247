"""Notices of what happens, to those who subscribed."""

from __future__ import annotations

from contextlib import aclosing
from pathlib import Path

import anyio
import pytest

from routerd.app.journal import DIGITS
from routerd.server.notices import MAX_WAITING, Hub
from routerd_client import Notice, RequestFailedError
from routerd_client.protocol import Cancel, Error, ErrorCode, Watch
from routerd_client.records import BreakerState
from tests.support.daemon import Running, fake, routes, running_daemon
from tests.support.wait import until

from .raw import Raw, connected

ROUTES = routes(small=fake(), large=fake("--fail malformed"))


async def subscribed(running: Running, raw: Raw, *topics: str) -> None:
    await raw.send(Watch(id=1, topics=list(topics)))
    await until(lambda: "1 watchers" in repr(running.daemon.hub), "the subscription stands")


async def notice(raw: Raw) -> Notice:
    event = await raw.event()
    assert isinstance(event, Notice)
    return event


async def test_a_models_life_is_told(tmp_path: Path) -> None:
    async with (
        running_daemon(tmp_path, ROUTES) as running,
        running.client() as client,
        connected(running.socket) as raw,
    ):
        await subscribed(running, raw, "status")
        await client.models("load", "small")
        await client.models("unload", "small")
        told = [await notice(raw) for _ in range(4)]
        assert {(n.topic, n.kind, n.data["backend"]) for n in told} == {("status", "model", "small")}
        assert [n.data["residency"] for n in told] == ["loading", "ready", "stopping", "stopped"]


async def test_each_chat_is_told_once(tmp_path: Path) -> None:
    async with (
        running_daemon(tmp_path, ROUTES) as running,
        running.client() as client,
        connected(running.socket) as raw,
    ):
        await subscribed(running, raw, "decision")
        done = await client.chat("hello")
        told = await notice(raw)
        assert (told.topic, told.kind) == ("decision", "ok")
        assert (told.data["request"], told.data["backend"], told.data["client"]) == (done.request_id, "small", "test")
        for name in ("ttft_s", "total_s"):
            assert told.data[name] == round(told.data[name], DIGITS)


async def test_of_a_chat_that_was_cancelled_it_is_told_who_was_answering(tmp_path: Path) -> None:
    hold = tmp_path / "hold"
    hold.touch()
    async with (
        running_daemon(tmp_path, routes(small=fake(f"--hold {hold}"))) as running,
        running.client() as client,
        connected(running.socket) as raw,
    ):
        await subscribed(running, raw, "decision")
        with anyio.CancelScope() as scope:
            async for event in client.stream("hello"):
                if event.text:
                    scope.cancel()
        told = await notice(raw)
        assert (told.kind, told.data["backend"]) == ("cancelled", "small")


async def test_reloads_are_told_the_refused_too(tmp_path: Path) -> None:
    async with (
        running_daemon(tmp_path, ROUTES) as running,
        running.client() as client,
        connected(running.socket) as raw,
    ):
        await subscribed(running, raw)
        running.write("version: 2")
        await client.reload()
        running.write(ROUTES + "\nlog: {level: info}\n")
        await client.reload()
        refused, taken = await notice(raw), await notice(raw)
        assert refused.data["generation"] == 1
        assert "routes.yaml:1:" in refused.data["errors"][0]
        assert (taken.data["generation"], taken.data["errors"]) == (2, [])


async def test_a_breaker_that_opens_is_told(tmp_path: Path) -> None:
    text = ROUTES + "\nhealth: {allowed_fails: 1}"
    async with running_daemon(tmp_path, text) as running, running.client() as client, connected(running.socket) as raw:
        await client.models("load", "large")
        await subscribed(running, raw, "status")
        with pytest.raises(RequestFailedError):
            await client.chat("hello", model="large")
        assert running.backend("large").breaker is BreakerState.OPEN
        assert (await notice(raw)).data["backend"] == "large"


async def test_cancel_ends_a_subscription(tmp_path: Path) -> None:
    async with running_daemon(tmp_path, ROUTES) as running, connected(running.socket) as raw:
        await subscribed(running, raw)
        await raw.send(Cancel(id=2, target=1))
        end = await raw.event()
        assert isinstance(end, Error)
        assert end.code is ErrorCode.CANCELLED
        assert "0 watchers" in repr(running.daemon.hub)


async def test_the_client_gives_notices(tmp_path: Path) -> None:
    async with running_daemon(tmp_path, ROUTES) as running, running.client() as client:
        seen: list[Notice] = []

        async def watch() -> None:
            async with aclosing(client.watch("decision")) as notices:
                async for each in notices:
                    seen.append(each)
                    return

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watch)
            await until(lambda: "1 watchers" in repr(running.daemon.hub), "the subscription stands")
            await client.chat("hello")
        assert [n.kind for n in seen] == ["ok"]


async def test_a_watcher_that_does_not_read_is_told_how_many_it_missed() -> None:
    hub = Hub()
    subscription = hub.subscribe(1, ["status"])
    for number in range(MAX_WAITING + 5):
        hub.publish("status", "tick", number=number)
        hub.publish("decision", "not subscribed")
    first = await subscription.next()
    assert (first.data, first.missed) == ({"number": 0}, 0)
    hub.publish("status", "tick", number=999)
    notices = [await subscription.next() for _ in range(MAX_WAITING)]
    assert (notices[-1].data, notices[-1].missed) == ({"number": 999}, 5)
    assert sum(n.missed for n in notices) == 5
