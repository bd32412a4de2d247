"""SOUL.md goes before every conversation, once, whoever answers."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import pytest
from msgspec import Struct

from routerd.backends.build import FORMATS
from routerd.selftest.fake_api import FakeApi, fake_api
from routerd.selftest.fake_formats import Knobs
from routerd_client import AsyncClient
from tests.support.daemon import Running, running_daemon
from tests.support.wait import until

SOUL = "You are Ada. You answer in one line."
RULE = "Speak French."
each_kind = pytest.mark.parametrize("kind", list(FORMATS))
each_way = pytest.mark.parametrize("way", ["whole", "streamed"])
Way = Literal["whole", "streamed"]


def system(api: FakeApi) -> str:
    """What the API was told last before the conversation: the system text, in its format."""
    body = api.asked[-1].body
    if "system" in body or "instructions" in body:
        found = body.get("system") or body["instructions"]
        return found if isinstance(found, str) else "".join(part["text"] for part in found)
    messages = body.get("messages") or body["input"]
    return "\n\n".join(_text(each["content"]) for each in messages if each.get("role") in ("system", "developer"))


def _text(content: str | list[dict[str, Any]]) -> str:
    return content if isinstance(content, str) else "".join(part["text"] for part in content)


class Scene(Struct):
    running: Running
    client: AsyncClient
    apis: list[FakeApi]
    soul: Path

    async def ask(self, way: Way = "whole", **options: Any) -> None:
        if way == "whole":
            await self.client.chat("Who are you?", **options)
            return
        async for _ in self.client.stream("Who are you?", **options):
            pass


@asynccontextmanager
async def scene(folder: Path, *kinds: str, rest: str = "", watch: bool = False) -> AsyncIterator[Scene]:
    """An API for each of ``kinds``, one after the other, behind a daemon with a persona."""
    soul = folder / "SOUL.md"
    soul.write_text(f"{SOUL}\n")
    async with AsyncExitStack() as stack:
        apis = [await stack.enter_async_context(fake_api()) for _ in kinds]
        backends = {
            f"b{number}": json.dumps({kind: {"model": "m", "base_url": api.base_url}})
            for number, (kind, api) in enumerate(zip(kinds, apis, strict=True))
        }
        lines = ["version: 1", "persona: SOUL.md", "backends:", *(f"  {n}: {b}" for n, b in backends.items())]
        lines += [f"endpoints: {{primary: {{fallback: [{', '.join(backends)}], escalate_on: [error, refusal]}}}}"]
        text = "\n".join([*lines, "default: primary", rest])
        running = await stack.enter_async_context(running_daemon(folder, text, watch=watch))
        yield Scene(running, await stack.enter_async_context(running.client()), apis, soul)


@each_kind
@each_way
async def test_it_goes_before_every_conversation(tmp_path: Path, kind: str, way: Way) -> None:
    async with scene(tmp_path, kind) as on:
        await on.ask(way)
        assert system(on.apis[0]) == SOUL
        await on.ask(way, system=RULE)
        assert system(on.apis[0]) == f"{SOUL}\n\n{RULE}"


@each_kind
async def test_a_conversation_that_begins_with_it_is_left_alone(tmp_path: Path, kind: str) -> None:
    async with scene(tmp_path, kind) as on:
        for begins in (SOUL, f"{SOUL}\n", f"{SOUL}\n\n{RULE}", f"{SOUL} {RULE}"):
            await on.ask(system=begins)
            assert system(on.apis[0]) == begins
        await on.ask(system=f"{SOUL}..")
        assert system(on.apis[0]) == f"{SOUL}\n\n{SOUL}.."


@each_way
@pytest.mark.parametrize(
    "bad", [Knobs(status=500), Knobs(cut_after=0), Knobs(pieces=["I can't help with that. "])], ids=["500", "cut", "no"]
)
async def test_it_stands_there_once_after_a_fallback(tmp_path: Path, way: Way, bad: Knobs) -> None:
    async with scene(tmp_path, *FORMATS) as on:
        on.apis[0].knobs = bad
        on.apis[1].knobs = Knobs(status=503)
        await on.ask(way, system=RULE)
        assert [system(api) for api in on.apis] == [f"{SOUL}\n\n{RULE}"] * 3
        assert "".join(json.dumps(api.asked[-1].body) for api in on.apis).count(SOUL) == 3


async def test_a_route_may_have_none_or_another(tmp_path: Path) -> None:
    (tmp_path / "OTHER.md").write_text("You are Bob.")
    rest = """\
routes:
  - {match: {task: bare}, use: primary, set: {persona: none}}
  - {match: {task: other}, use: primary, set: {persona: OTHER.md}}
"""
    async with scene(tmp_path, "openai", rest=rest) as on:
        await on.ask(context={"task": "bare"})
        assert system(on.apis[0]) == ""
        await on.ask(context={"task": "bare"}, system=RULE)
        assert system(on.apis[0]) == RULE
        await on.ask(context={"task": "other"})
        assert system(on.apis[0]) == "You are Bob."
        await on.ask()
        assert system(on.apis[0]) == SOUL


async def test_a_change_of_the_file_is_seen(tmp_path: Path) -> None:
    async with scene(tmp_path, "openai", watch=True) as on:
        for new in ("You are Eve.", "You are Mallory."):
            on.soul.write_text(new)

            async def is_told(new: str = new) -> bool:
                await on.ask()
                return system(on.apis[0]) == new

            await until(is_told, "the new persona is used")
        assert on.running.status().generation == 1


async def test_a_file_that_is_gone_leaves_the_last_one_in_force(tmp_path: Path) -> None:
    async with scene(tmp_path, "openai") as on:
        on.soul.unlink()
        result = await on.client.reload()
        assert "there is no file" in str(result.errors[0])
        await on.ask()
        assert system(on.apis[0]) == SOUL
