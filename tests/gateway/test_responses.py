"""OpenAI's own client asking for responses and embeddings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import openai
import pytest

from routerd.selftest.fake_api import FakeApi, fake_api, refused_url
from routerd.selftest.fake_formats import Knobs
from tests.support.daemon import fake, routes

from .sdks import HTTP, each_way, front

LOOKS: Any = {"type": "function", "name": "look", "parameters": {"type": "object", "properties": {}}, "strict": False}
PATCHES: Any = {"type": "custom", "name": "patch", "description": "Patches."}
AFTER_A_LOOK: Any = [
    {"role": "user", "content": "Hello?"},
    {"type": "function_call", "call_id": "c1", "name": "look", "arguments": '{"at": 1}'},
    {"type": "function_call_output", "call_id": "c1", "output": "a cat"},
]


def cloud(api: FakeApi, model: str = "m") -> str:
    return json.dumps({"openai": {"model": model, "base_url": api.base_url}})


@each_way
async def test_asked_in_every_way(tmp_path: Path, way: str) -> None:
    knobs = Knobs(reasoning="a picture", calls=[("look", '{"at": 1}'), ("patch", '{"input": "aaa"}')])
    fields: Any = {"model": "primary", "input": AFTER_A_LOOK, "tools": [LOOKS, PATCHES, {"type": "web_search"}]}
    async with (
        fake_api(knobs) as api,
        front(tmp_path, routes(cloud=cloud(api), rest=HTTP), way) as there,
        there.openai() as client,
    ):
        whole = await client.responses.create(**fields)
        async with client.responses.stream(**fields) as stream:
            kinds = [event.type async for event in stream]
            streamed = await stream.get_final_response()

    for answer in (whole, streamed):
        thoughts, said, looks, patches = answer.output
        assert thoughts.summary[0].text == "a picture"
        assert (said.type, answer.output_text) == ("message", "Hello, world!")
        assert (looks.type, looks.name, looks.arguments) == ("function_call", "look", '{"at": 1}')
        assert (patches.type, patches.name, patches.input) == ("custom_tool_call", "patch", "aaa")
        assert (answer.status, answer.model) == ("completed", "primary")
        assert (answer.usage.input_tokens, answer.usage.input_tokens_details.cached_tokens) == (20, 7)
        assert (answer.usage.output_tokens, answer.usage.output_tokens_details.reasoning_tokens) == (9, 3)
    assert kinds[:2] == ["response.created", "response.in_progress"]
    assert kinds[-1] == "response.completed"
    sent = api.asked[0].body
    assert [message["role"] for message in sent["messages"]] == ["user", "assistant", "tool"]
    assert [tool["function"]["name"] for tool in sent["tools"]] == ["look", "patch"]


async def test_what_goes_wrong(tmp_path: Path) -> None:
    text = routes(
        small=fake("--fail overloaded"), cloud=json.dumps({"openai": {"model": "m", "base_url": refused_url()}})
    )
    async with front(tmp_path, text) as there, there.openai() as client:
        with pytest.raises(openai.RateLimitError) as busy:
            await client.responses.create(model="small", input="Hello?")
        with pytest.raises(openai.InternalServerError) as down:
            await client.responses.create(model="cloud", input="Hello?")
        with pytest.raises(openai.BadRequestError) as stored:
            await client.responses.create(model="small", input="Hello?", previous_response_id="resp_1")
        with pytest.raises(openai.NotFoundError) as kept:
            await client.responses.retrieve("resp_1")
        with pytest.raises(openai.NotFoundError):
            await client.responses.delete("resp_1")

    assert busy.value.code == "rate_limit_exceeded"
    assert down.value.status_code == 503
    assert stored.value.param == "previous_response_id"
    assert "nothing is stored" in stored.value.message
    assert "nothing is stored" in kept.value.message


async def test_an_answer_that_breaks_off_fails(tmp_path: Path) -> None:
    knobs = Knobs(pieces=["word "] * 100, cut_after=90)
    async with (
        fake_api(knobs) as api,
        front(tmp_path, routes(cloud=cloud(api))) as there,
        there.openai() as client,
        client.responses.stream(model="primary", input="Hello?") as stream,
    ):
        last = [event async for event in stream][-1]

    assert last.type == "response.failed"
    assert last.response.status == "failed"
    assert last.response.error is not None
    assert "broke off" in last.response.error.message


async def test_a_conversation_goes_on_with_an_owned_model(tmp_path: Path) -> None:
    heard = tmp_path / "heard.jsonl"
    small = fake(f"--record {heard}")
    async with (
        fake_api(Knobs(status=503)) as api,
        front(tmp_path, routes(cloud=cloud(api), small=small)) as there,
        there.openai() as client,
    ):
        answer = await client.responses.create(model="primary", input=AFTER_A_LOOK, tools=[LOOKS])

    assert answer.output_text == "t0 t1 t2"
    assert len(api.asked[0].body["messages"]) == 3
    assert json.loads(heard.read_text().splitlines()[0])["text"] == "a cat"


async def test_embeddings(tmp_path: Path) -> None:
    async with fake_api(Knobs(key="sk-1234567890")) as api, fake_api(Knobs(status=503)) as down:
        keyed = json.dumps({"openai": {"model": "e", "base_url": api.base_url, "api_key": "sk-1234567890"}})
        text = routes(small=fake(), down=cloud(down, "e"), other=cloud(api), keyed=keyed)
        async with front(tmp_path, text) as there, there.openai() as client:
            answer = await client.embeddings.create(model="primary", input=["Hello?", "A cat"], dimensions=2)
            plain = await client.embeddings.create(model="keyed", input="Hello?", encoding_format="float")
            with pytest.raises(openai.BadRequestError) as owned:
                await client.embeddings.create(model="small", input="Hello?")
            with pytest.raises(openai.RateLimitError) as failed:
                await client.embeddings.create(model="down", input="Hello?")
            with pytest.raises(openai.NotFoundError):
                await client.embeddings.create(model="nobody", input="Hello?")
            with pytest.raises(openai.BadRequestError):
                await client.embeddings.create(model="keyed", input=[])

    assert [entry.embedding for entry in answer.data] == [[6.0, 1.0], [5.0, 1.0]]
    assert (answer.model, answer.usage.prompt_tokens) == ("primary", 5)
    assert plain.data[0].embedding == [6.0, 1.0]
    asked = api.asked[0]
    assert (asked.body["model"], asked.body["dimensions"]) == ("e", 2)
    assert "kind mlx" in owned.value.message
    assert "cooling down" in failed.value.message  # it failed the first one
