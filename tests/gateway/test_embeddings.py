"""Embeddings over HTTP: paid for, bounded, recorded, and asked only of who is well, as chats are."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import anyio
import pytest
from anyio import to_thread

from routerd.selftest.fake_api import FakeApi, fake_api, refused_url
from routerd.selftest.fake_formats import Knobs
from routerd_client.records import BreakerState, ChatRecord, Outcome
from tests.support.daemon import Running, ctl, fake, routes, running_daemon
from tests.support.wait import until

HELLO = {"model": "primary", "input": "Hello?"}


def cloud(api: FakeApi | str, *, price: float = 10, health: Any = None, model: str = "e", **settings: Any) -> str:
    """A metered backend at ``api``; ``price`` in dollars a million tokens."""
    base_url = api if isinstance(api, str) else api.base_url
    openai = {"base_url": base_url, "model": model, **settings}
    more = {"health": health} if health else {}
    return json.dumps({"openai": openai, "billing": "metered", "price": {"input": price, "output": 100}, **more})


@asynccontextmanager
async def asked(running: Running) -> AsyncIterator[aiohttp.ClientSession]:
    connector = aiohttp.UnixConnector(str(running.socket))
    async with aiohttp.ClientSession("http://localhost", connector=connector) as session:
        yield session


async def embed(http: aiohttp.ClientSession, fields: Any = HELLO, **headers: str) -> tuple[int, Any]:
    async with http.post("/v1/embeddings", json=fields, headers=headers) as answer:
        return answer.status, await answer.json()


async def spent(running: Running) -> int:
    async with running.client() as client:
        found = await client.budget()
    return next(line.spent_microusd for line in found.lines if (line.scope, line.period) == ("total", found.day))


async def recorded(running: Running) -> list[ChatRecord]:
    async with running.client() as client:
        return await client.decisions(whole=True)


async def test_they_cost_their_tokens_and_what_may_cost_more_than_is_left_is_not_asked(tmp_path: Path) -> None:
    """Five tokens, at ten micro-dollars each."""
    text = "routes: [{name: r, match: {task: r}, use: primary, set: {max_tokens: 5000}}]\nbudgets: {daily_usd: 0.002}"
    async with (
        fake_api() as api,
        running_daemon(tmp_path, routes(cloud=cloud(api, health={"cooldown": 0.01}), rest=text)) as running,
        asked(running) as http,
    ):
        # a route's cap for answers is none for vectors
        status, _ = await embed(http, {"input": ["Hello?", "A cat"], "metadata": {"task": "r"}})
        assert (status, await spent(running)) == (200, 50)
        api.knobs.status = 503
        assert (await embed(http))[0] != 200
        assert await spent(running) == 50
        for dear in ("long " * 1000, [list(range(1000))]):
            status, body = await embed(http, {"model": "cloud", "input": dear})
            assert (status, "budget_daily" in body["error"]["message"]) == (402, True)
        assert len(api.asked) == 2


async def test_each_of_many_texts_is_set_aside_with_what_a_model_adds_to_it(tmp_path: Path) -> None:
    """They are 400 bytes, and 1200 tokens: most models have a mark at a text's beginning and one at its end."""
    async with (
        fake_api() as api,
        running_daemon(tmp_path, routes(cloud=cloud(api), rest="budgets: {daily_usd: 0.01}")) as running,
        asked(running) as http,
    ):
        assert (await embed(http, {"input": ["a"] * 400}))[0] == 402
        assert (await embed(http, {"input": "a" * 400}))[0] == 200


async def test_a_context_is_for_each_text_by_itself(tmp_path: Path) -> None:
    async with (
        fake_api() as api,
        running_daemon(tmp_path, routes(cloud=cloud(api, context=100))) as running,
        asked(running) as http,
    ):
        assert (await embed(http, {"input": ["a" * 90] * 20}))[0] == 200


async def test_what_is_no_embeddings_is_billed_and_passed_over(tmp_path: Path) -> None:
    async with (
        fake_api(Knobs(body='{"data"')) as api,
        fake_api() as other,
        running_daemon(tmp_path, routes(first=cloud(api), second=cloud(other))) as running,
        asked(running) as http,
    ):
        status, body = await embed(http)
        assert (status, body["data"][0]["embedding"]) == (200, [6.0, 1.0])
        assert running.backend("first").failures == 1
        (chat,) = await recorded(running)
        assert [a.cost_microusd > 0 for a in chat.attempts] == [True, True]


async def test_those_that_never_left_cost_nothing(tmp_path: Path) -> None:
    one_at_a_time = {"concurrency": 1, "timeouts": {"first_token": 60}}
    async with (
        fake_api(Knobs(before_headers=60)) as api,
        running_daemon(tmp_path, routes(cloud=cloud(api, **one_at_a_time))) as running,
        asked(running) as http,
    ):
        backend = running.daemon.generation.backends["cloud"]
        async with anyio.create_task_group() as first:
            first.start_soon(embed, http)
            await until(lambda: api.asked, "the first one has the seat")
            async with anyio.create_task_group() as second:
                second.start_soon(embed, http)
                await until(lambda: backend.busy() > 1 / 8, "the second one waits for it")
                await until(lambda: running.status().requests["open"] == 2, "it is open")
                second.cancel_scope.cancel()
            await until(lambda: running.status().requests["open"] == 1, "it has left")
            assert await spent(running) == 0
            first.cancel_scope.cancel()
        await until(lambda: spent(running), "the first one is settled")


async def test_they_heed_the_deadline(tmp_path: Path) -> None:
    async with (
        fake_api(Knobs(before_headers=60)) as api,
        running_daemon(tmp_path, routes(cloud=cloud(api))) as running,
        asked(running) as http,
    ):
        status, body = await embed(http, **{"x-routerd-deadline": "0.1"})
        assert (status, "deadline of 0.1 s" in body["error"]["message"]) == (504, True)
        assert (await embed(http, **{"x-routerd-deadline": "soon"}))[0] == 400


async def test_none_are_taken_while_the_daemon_drains_and_those_under_way_end(tmp_path: Path) -> None:
    async with (
        fake_api(Knobs(before_headers=0.2)) as api,
        running_daemon(tmp_path, routes(cloud=cloud(api))) as running,
        asked(running) as http,
        anyio.create_task_group() as tasks,
    ):
        answers: list[int] = []

        async def one() -> None:
            answers.append((await embed(http))[0])

        tasks.start_soon(one)
        await until(lambda: api.asked, "it is under way")

        async def drain() -> None:
            assert await running.daemon.drain(30) == 0
            assert answers or not running.status().requests["open"]

        tasks.start_soon(drain)
        await until(lambda: running.daemon.draining, "it drains")
        status, body = await embed(http)
        assert (status, body["error"]["message"].split(" (")[0]) == (503, "the daemon is shutting down")


async def test_a_backend_that_fails_them_is_given_a_rest_and_another_answers(tmp_path: Path) -> None:
    health = {"allowed_fails": 2, "cooldown": 60, "cooldown_max": 60}
    async with fake_api() as api:
        text = routes(down=cloud(refused_url(), health=health), up=cloud(api), small=fake())
        async with running_daemon(tmp_path, text) as running, asked(running) as http:
            for _ in range(3):
                assert (await embed(http))[0] == 200
            assert running.backend("down").breaker is BreakerState.OPEN
            assert running.backend("up").requests == 3

            chats = await recorded(running)
            assert [a.backend for a in chats[0].attempts] == ["up"]
            assert any(skipped.reason == "it gives no embeddings" for skipped in chats[0].skipped)


async def test_vectors_of_another_model_take_nobodys_place(tmp_path: Path) -> None:
    async with (
        fake_api() as api,
        running_daemon(tmp_path, routes(down=cloud(refused_url()), up=cloud(api, model="other"))) as running,
        asked(running) as http,
    ):
        status, body = await embed(http)
        assert (status, "vectors of another model" in body["error"]["message"]) == (503, True)
        assert api.asked == []


@pytest.mark.parametrize("kept", [False, True])
async def test_they_are_recorded_as_what_they_are(tmp_path: Path, kept: bool) -> None:
    rest = f"ledger: {{text: {str(kept).lower()}}}"
    async with (
        fake_api() as api,
        running_daemon(tmp_path, routes(small=fake(), cloud=cloud(api), rest=rest)) as running,
        asked(running) as http,
    ):
        assert (await embed(http, {"input": "Hello?", "metadata": {"task": "search"}}))[0] == 200
        (chat,) = await recorded(running)
        assert (chat.tier, chat.outcome, chat.backend, chat.flaw) == ("embedding", Outcome.OK, "cloud", None)
        assert (chat.usage.prompt_tokens, chat.usage.completion_tokens) == (5, 0)
        assert (chat.cost_microusd, chat.context, chat.prompt, chat.answer) == (50, {"task": "search"}, None, None)
        async with running.client() as client:
            found = await client.stats("backend")
            assert [(row.name, row.ok, row.cost_microusd) for row in found.rows] == [("cloud", 1, 50)]
            assert found.tiers.total_requests == found.tiers.fallback_count == 0
        file = str(running.places.config)
        replayed = await to_thread.run_sync(ctl, "--socket", str(running.socket), "replay", "--file", file, "--json")
        assert json.loads(replayed.stdout)["requests"] == 0  # where an answer would come from is not asked


async def test_too_many_texts_are_refused(tmp_path: Path) -> None:
    async with fake_api() as api, running_daemon(tmp_path, routes(cloud=cloud(api))) as running, asked(running) as http:
        status, body = await embed(http, {"input": ["a"] * 2049})
        assert (status, body["error"]["param"]) == (400, "input")
        assert api.asked == []
        await embed(http, {"input": list(range(4000))})  # one text, as tokens
    assert api.asked
