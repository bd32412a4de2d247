"""From tier to tier: a weak answer goes on to the next model, a hard question to the larger, and to a cloud last."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

import anyio
import pytest

from routerd.selftest.fake_api import FakeApi, fake_api
from routerd.selftest.fake_formats import Knobs
from routerd_client import AsyncClient, Delta, Done, RequestFailedError, Retracted
from routerd_client.protocol import ErrorCode
from routerd_client.records import FailureKind, Outcome
from tests.support.daemon import fake, running_daemon
from tests.support.outcomes import calibrate
from tests.support.wait import until

each_way = pytest.mark.parametrize("way", ["whole", "streamed"])
Way = Literal["whole", "streamed"]

ASK = "prove a lemma about the moon and a teapot 12"
GOOD, WEAK, STRONG = "That is 12 + 1 = 13.", "That is 12 + 1 = 19.", "It is thirteen."


def there(api: FakeApi, model: str = "m") -> str:
    return json.dumps({"openai": {"model": model, "base_url": api.base_url}})


def elsewhere(api: FakeApi) -> str:
    """The same as a backend outside this machine, for all that the configuration knows."""
    block = json.loads(there(api).replace("127.0.0.1", "0.0.0.0"))
    return json.dumps({**block, "price": {"input": 1, "output": 1}})


def config(endpoint: str, **backends: str) -> str:
    lines = [f"  {name}: {backend}" for name, backend in backends.items()]
    return "\n".join(["version: 1", "backends:", *lines, f"endpoints: {{primary: {endpoint}}}", "default: primary"])


async def heard(client: AsyncClient, way: Way, prompt: str = ASK) -> tuple[str, Done]:
    """The answer's text and its end; nothing of another one came, nor was anything taken back."""
    if way == "whole":
        done = await client.chat(prompt)
        return done.text, done
    events = [event async for event in client.stream(prompt, restarts=True)]
    last = events[-1]
    assert isinstance(last, Done)
    assert not any(isinstance(event, Retracted) for event in events)
    deltas = [event for event in events if isinstance(event, Delta)]
    assert {delta.attempt for delta in deltas} == {last.attempt}
    return "".join(delta.text for delta in deltas), last


@asynccontextmanager
async def tiers(folder: Path, endpoint: str = "{cascade: [small, large]}") -> AsyncIterator[tuple[FakeApi, str]]:
    async with fake_api() as small, fake_api(Knobs(pieces=[STRONG])) as large:
        yield small, config(endpoint, small=there(small, "small-model"), large=there(large, "large-model"))


@each_way
async def test_a_cascade_hands_a_weak_answer_on_and_keeps_a_good_one(tmp_path: Path, way: Way) -> None:
    await calibrate(tmp_path)
    async with tiers(tmp_path) as (small, text), running_daemon(tmp_path, text) as running, running.client() as client:
        small.knobs.pieces = [WEAK[:7], WEAK[7:]]
        answer, done = await heard(client, way)
        assert (answer, done.backend, done.model, done.flaw) == (STRONG, "large", "large-model", None)
        assert (done.attempts[0].outcome, done.attempts[0].failure) == (Outcome.FAILED, FailureKind.DEGENERATE)
        assert done.attempts[0].message.startswith("judged too weak: ")
        small.knobs.pieces = [GOOD[:7], GOOD[7:]]
        answer, done = await heard(client, way)
        assert (answer, done.backend, done.flaw, len(done.attempts)) == (GOOD, "small", None, 1)


@each_way
async def test_a_judge_is_used_from_the_next_reload_on(tmp_path: Path, way: Way) -> None:
    async with tiers(tmp_path) as (small, text), running_daemon(tmp_path, text) as running, running.client() as client:
        small.knobs.pieces = [WEAK]
        assert (await heard(client, way))[0] == WEAK, "without a judge the answer stands"
        await calibrate(tmp_path)
        await client.reload()
        assert (await heard(client, way))[0] == STRONG


@each_way
async def test_a_weak_answer_is_better_than_none(tmp_path: Path, way: Way) -> None:
    await calibrate(tmp_path)
    async with fake_api(Knobs(pieces=[WEAK])) as small, fake_api(Knobs(status=503)) as large:
        text = config("{cascade: [small, large]}", small=there(small), large=there(large))
        async with running_daemon(tmp_path, text) as running, running.client() as client:
            answer, done = await heard(client, way)
            assert (answer, done.backend, done.attempt) == (WEAK, "small", 1)
            assert done.flaw is FailureKind.DEGENERATE
            assert done.flaw_message.startswith("judged too weak: ")


async def test_the_judge_looks_also_at_an_answer_with_a_fault_that_nobody_minds(tmp_path: Path) -> None:
    await calibrate(tmp_path)
    async with tiers(tmp_path) as (small, text), running_daemon(tmp_path, text) as running, running.client() as client:
        for answer, backend in ((GOOD, "small"), (WEAK, "large")):
            small.knobs.pieces = [answer]
            done = await client.chat(ASK, response_format={"type": "json_object"})
            assert (done.backend, done.flaw) == (backend, FailureKind.DEGENERATE), "none of them is JSON"
            assert done.flaw_message.startswith("the answer is no JSON")


COMPLEX = "{by_complexity: [{below: 5, use: small}, {use: large}], escalate_on: [error, refusal]}"


@each_way
@pytest.mark.parametrize("bad", [Knobs(status=503), Knobs(pieces=["I can't help with that. "])], ids=["error", "no"])
async def test_the_larger_tier_answers_where_the_simple_one_fails(tmp_path: Path, way: Way, bad: Knobs) -> None:
    async with (
        tiers(tmp_path, COMPLEX) as (small, text),
        running_daemon(tmp_path, text) as running,
        running.client() as client,
    ):
        small.knobs.pieces = [GOOD]
        answer, done = await heard(client, way, "say hello")
        assert (answer, done.backend) == (GOOD, "small")
        small.knobs = bad
        answer, done = await heard(client, way, "say hello")
        assert (answer, done.backend) == (STRONG, "large")
        assert done.attempts[0].backend == "small"


TIERS = "{fallback: [tier1, tier2, cloud], escalate_on: [error, empty, short], min_chars: 10, spill: SPILL}"


@asynccontextmanager
async def three(folder: Path, spill: str, tier1: str) -> AsyncIterator[tuple[AsyncClient, FakeApi, FakeApi]]:
    """A client, the second tier on this machine, and the cloud; the first tier is ``tier1``."""
    async with fake_api(Knobs(pieces=["so so"])) as tier2, fake_api(Knobs(pieces=["clouds are white"])) as cloud:
        text = config(TIERS.replace("SPILL", spill), tier1=tier1, tier2=there(tier2), cloud=elsewhere(cloud))
        async with running_daemon(folder, text) as running, running.client() as client:
            yield client, tier2, cloud


@pytest.mark.parametrize("spill", ["failure", "active"])
async def test_poor_answers_lead_from_tier_to_tier_and_to_the_cloud(tmp_path: Path, spill: str) -> None:
    async with three(tmp_path, spill, fake("--tokens 1")) as (client, tier2, cloud):
        answer, done = await heard(client, "whole")
        assert (answer, done.backend, done.attempt) == ("clouds are white", "cloud", 3)
        assert [attempt.failure for attempt in done.attempts] == [FailureKind.DEGENERATE] * 2 + [None]
        tier2.knobs.pieces = ["a longer answer"]
        assert (await heard(client, "whole"))[0] == "a longer answer"
        assert len(cloud.asked) == 1


async def test_where_spill_is_explicit_only_those_who_name_the_cloud_reach_it(tmp_path: Path) -> None:
    async with three(tmp_path, "explicit", fake("--tokens 1")) as (client, tier2, cloud):
        done = await client.chat(ASK)
        assert (done.text, done.backend, done.flaw) == ("t0", "tier1", FailureKind.DEGENERATE)
        tier2.knobs.status = 503
        assert (await client.chat(ASK)).backend == "tier1"
        assert cloud.asked == []
        assert (await client.chat(ASK, model="cloud")).text == "clouds are white"


async def test_where_all_here_have_failed_explicit_spill_says_so(tmp_path: Path) -> None:
    async with three(tmp_path, "explicit", fake("--fail overloaded")) as (client, tier2, cloud):
        tier2.knobs.status = 500
        with pytest.raises(RequestFailedError, match="spill: explicit") as caught:
            await client.chat(ASK)
        assert caught.value.code is ErrorCode.UNAVAILABLE
        assert cloud.asked == []


async def test_active_spill_does_not_wait_for_a_busy_model(tmp_path: Path) -> None:
    hold = tmp_path / "hold"
    hold.touch()
    busy = fake(f"--tokens 12 --hold {hold}", concurrency=1)
    async with fake_api(Knobs(pieces=["clouds are white"])) as cloud:
        endpoint = "{fallback: [tier1, cloud], spill: active}"
        text = config(endpoint, tier1=busy, cloud=elsewhere(cloud))
        async with running_daemon(tmp_path, text) as running, running.client() as client:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(client.chat, ASK)
                await until(lambda: running.model("tier1").in_flight == 1, "the first is being answered")
                assert (await client.chat(ASK)).backend == "cloud"
                hold.unlink()
            assert (await client.chat(ASK)).backend == "tier1"
