"""Shadows and two limits side by side: what a caller notices (nothing), and what is told of them."""

from __future__ import annotations

from pathlib import Path

from routerd_client import AsyncClient
from routerd_client.records import ChatRecord
from tests.support.daemon import fake, running_daemon
from tests.support.outcomes import calibrate
from tests.support.wait import until


def config(*, to: str = "large", share: float = 1) -> str:
    return f"""
version: 1
backends:
  small: {fake("--echo")}
  large: {fake("--echo --piece 12")}
  api: {{openai: {{base_url: "https://api.example.com/v1", model: m}}, billing: prepaid}}
endpoints:
  tiers:
    by_complexity: [{{below: 2, use: small}}, {{use: large}}]
    shadow: {{to: {to}, share: {share}}}
  others: {{fallback: [small], shadow: {{to: large, share: 1}}}}
  compared:
    by_complexity: [{{below: 2, use: small}}, {{use: large}}]
    ab: {{below: [1, 4], share: 0.5}}
default: tiers
"""


async def shadows(client: AsyncClient) -> list[ChatRecord]:
    return [chat for chat in await client.decisions() if chat.client == "shadow"]


async def test_a_sample_is_asked_of_another_backend_and_compared(tmp_path: Path) -> None:
    async with running_daemon(tmp_path, config()) as running, running.client() as client:
        done = await client.chat("What time is it now?", context={"platform": "cli"})
        assert done.backend == "small"

        async def compared() -> bool:
            return bool((await client.stats()).shadows)

        await until(compared, "the other backend is asked too")
        (everything, below_one) = (await client.stats()).shadows
        assert (everything.requests, everything.below, below_one.below) == (1, None, 1)
        assert everything.agreement == 1.0  # padding is no word
        assert (everything.quality, everything.other_quality) == (None, None)  # there is no judge
        (shadow,) = await shadows(client)
        assert (shadow.backend, shadow.asked, shadow.priority, shadow.tier) == ("large", "large", "background", "")
        assert shadow.context == {"platform": "cli"}
        pair = [(await client.show(name)).compared for name in (done.request_id, shadow.request_id)]
        assert [(other.request_id, other.shadow, other.agreement) for other in pair if other] == [
            (shadow.request_id, True, 1.0),
            (done.request_id, False, 1.0),
        ]
        assert (await client.stats()).tiers.total_requests == 1

        complex_ = "Design a distributed architecture, analyse the trade-offs step by step, and prove it is correct."
        assert (await client.chat(complex_)).backend == "large"
        assert (await client.chat("Hello", model="small")).backend == "small"
        assert len(await shadows(client)) == 1  # neither a complex one nor one that named a backend


async def test_both_answers_are_judged_where_there_is_a_judge(tmp_path: Path) -> None:
    await calibrate(tmp_path)
    async with running_daemon(tmp_path, config()) as running, running.client() as client:
        done = await client.chat("Hello")

        async def compared() -> bool:
            return bool((await client.stats()).shadows)

        await until(compared, "the other backend is asked too")
        (everything, *_) = (await client.stats()).shadows
        assert everything.quality is not None
        assert 0 <= everything.quality <= 1
        other = (await client.show(done.request_id)).compared
        assert other
        assert (other.quality, other.other_quality) == (everything.quality, everything.other_quality)


async def test_nothing_leaves_the_machine_for_a_shadow_that_must_not(tmp_path: Path) -> None:
    async with running_daemon(tmp_path, config(to="api")) as running, running.client() as client:
        await client.chat("A secret", local_only=True)
        await client.chat("Hello", model="others")

        async def one() -> bool:
            return bool(await shadows(client))

        await until(one, "the second is asked of another backend")
        assert [chat.asked for chat in await shadows(client)] == ["large"]


async def test_a_share_of_nothing_asks_nobody(tmp_path: Path) -> None:
    async with running_daemon(tmp_path, config(share=0)) as running, running.client() as client:
        for _ in range(20):
            await client.chat("Hello")
        assert await shadows(client) == []
        assert running.status().requests == {"open": 0, "ok": 20, "failed": 0, "cancelled": 0}


async def test_two_limits_each_get_their_part(tmp_path: Path) -> None:
    middling = "Compare these two designs and then write a plan in 4 steps."
    async with running_daemon(tmp_path, config(share=0)) as running, running.client() as client:
        score = (await client.route(middling, model="compared")).scores["rules"]
        assert 1 < score < 4
        answers = [await client.chat(middling, model="compared") for _ in range(40)]
        stories = {chat.request_id: chat for chat in await client.decisions()}
        assert {stories[a.request_id].variant: a.backend for a in answers} == {"a": "large", "b": "small"}
        rows = {row.name: row.requests for row in (await client.stats("variant")).rows}
        assert rows["a"] + rows["b"] == 40
        assert min(rows.values()) >= 5
