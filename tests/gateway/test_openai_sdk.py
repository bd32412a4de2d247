"""OpenAI's own client against the front, and Anthropic's where both list the same models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
from anyio import to_thread

from routerd.selftest.fake_api import FakeApi, fake_api
from routerd.selftest.fake_formats import Knobs
from tests.support.daemon import fake, routes

from .sdks import HTTP, Door, each_way, front

HELLO: Any = [{"role": "user", "content": "Hello?"}]
TOOLS: Any = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]


def at(api: FakeApi) -> str:
    return json.dumps({"openai": {"model": "m", "base_url": api.base_url, "context": 65536}})


@each_way
async def test_asked_in_every_way(tmp_path: Path, way: str) -> None:
    knobs = Knobs(reasoning="hm", calls=[("look", '{"at": 1}')])
    async with fake_api(knobs) as api, front(tmp_path, routes(cloud=at(api), rest=HTTP), way) as there:
        async with there.openai() as client:
            whole = await client.chat.completions.create(model="primary", messages=HELLO, tools=TOOLS)
            chunks = [
                chunk
                async for chunk in await client.chat.completions.create(
                    model="primary", messages=HELLO, tools=TOOLS, stream=True, stream_options={"include_usage": True}
                )
            ]
            async with client.chat.completions.stream(model="primary", messages=HELLO, tools=TOOLS) as stream:
                async for _ in stream:
                    pass
                final = await stream.get_final_completion()
        blocking = await to_thread.run_sync(blockingly, there)

    for message in (whole.choices[0].message, final.choices[0].message, blocking.choices[0].message):
        assert message.content == "Hello, world!"
        (call,) = message.tool_calls
        assert (call.function.name, call.function.arguments) == ("look", '{"at": 1}')
    assert {one.choices[0].finish_reason for one in (whole, final, blocking)} == {"tool_calls"}
    assert chunks[-1].usage == whole.usage
    assert whole.usage
    assert whole.usage.prompt_tokens == 20
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "Hello, world!"


def blockingly(there: Door) -> Any:
    with httpx2.Client(transport=httpx2.HTTPTransport(uds=there.uds), timeout=60) as http:
        client = openai.OpenAI(base_url=f"{there.url}/v1", api_key=there.key, max_retries=0, http_client=http)
        with client.chat.completions.stream(model="primary", messages=HELLO, tools=TOOLS) as stream:
            return stream.get_final_completion()


@each_way
async def test_an_owned_model(tmp_path: Path, way: str) -> None:
    async with front(tmp_path, routes(small=fake("--tokens 3"), rest=HTTP), way) as there, there.openai() as client:
        whole = await client.chat.completions.create(model="small", messages=HELLO)
        assert whole.choices[0].message.content == "t0 t1 t2"
        assert whole.usage
        assert whole.usage.completion_tokens == 3


async def test_errors_are_of_their_class(tmp_path: Path) -> None:
    knobs = Knobs(pieces=["The answer is "] * 30, cut_after=25)
    async with (
        fake_api(knobs) as api,
        front(tmp_path, routes(cloud=at(api), rest=HTTP), "tcp") as there,
        there.openai() as client,
    ):
        with pytest.raises(openai.NotFoundError, match="there is no endpoint"):
            await client.chat.completions.create(model="nobody", messages=HELLO)
        with pytest.raises(openai.BadRequestError, match="n must be 1") as caught:
            await client.chat.completions.create(model="primary", messages=HELLO, n=2)
        assert caught.value.param == "n"
        with pytest.raises(openai.APIError, match="broke off"):
            async for _ in await client.chat.completions.create(model="primary", messages=HELLO, stream=True):
                pass
        with pytest.raises(openai.AuthenticationError, match="routerctl token"):
            await client.with_options(api_key="wrong").models.list()


async def test_a_refusal_is_one_streamed_too(tmp_path: Path) -> None:
    no = "I can't help with that."
    async with fake_api(Knobs(pieces=[], refusal=no)) as api, front(tmp_path, routes(cloud=at(api))) as there:
        async with there.openai() as client:
            whole = await client.chat.completions.create(model="primary", messages=HELLO)
            async with client.chat.completions.stream(model="primary", messages=HELLO) as stream:
                told = [event.delta async for event in stream if event.type == "refusal.delta"]
                streamed = await stream.get_final_completion()
            said = await client.responses.create(model="primary", input="Hello?")
            async with client.responses.stream(model="primary", input="Hello?") as events:
                kinds = [event.type async for event in events]
                heard = await events.get_final_response()
            old = await client.completions.create(model="primary", prompt="Hello?", stream=True)
            texts = [chunk.choices[0].text async for chunk in old if chunk.choices]
        async with there.anthropic() as other:
            theirs = await other.messages.create(model="primary", messages=HELLO, max_tokens=9)
            async with other.messages.stream(model="primary", messages=HELLO, max_tokens=9) as live:
                last = await live.get_final_message()

    assert told == [no]
    for answer in (whole, streamed):
        assert (answer.choices[0].message.refusal, answer.choices[0].finish_reason) == (no, "stop")
        assert not answer.choices[0].message.content
    for response in (said, heard):
        (item,) = response.output
        assert [(part.type, part.refusal) for part in item.content] == [("refusal", no)]
        assert response.status == "completed"
    assert kinds[-6:-1] == [
        "response.content_part.added",
        "response.refusal.delta",
        "response.refusal.done",
        "response.content_part.done",
        "response.output_item.done",
    ]
    assert "".join(texts) == no
    for message in (theirs, last):
        assert (message.stop_reason, message.content[0].text) == ("refusal", no)
        assert message.stop_details.explanation == no


async def test_both_makers_clients_list_the_models(tmp_path: Path) -> None:
    async with fake_api() as api, front(tmp_path, routes(cloud=at(api), small=fake(context=100))) as there:
        async with there.openai() as client:
            listed = [model async for model in client.models.list()]
            one = await client.models.retrieve("small")
        async with there.anthropic() as other:
            theirs = [model async for model in other.models.list()]
            assert (await other.models.retrieve("small")).id == "small"
    assert [model.id for model in listed] == [model.id for model in theirs] == ["primary", "cloud", "small", "routed"]
    assert theirs[0].display_name == "primary"
    assert {name: model.model_extra["context_length"] for name, model in zip("pcsr", listed, strict=True)} == {
        "p": 65536,
        "c": 65536,
        "s": 100,
        "r": 65536,
    }
    assert one.id == "small"
