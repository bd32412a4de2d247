"""Anthropic's own client against the front, its answers coming from an API of another maker and from owned models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anthropic
import pytest
from anyio import to_thread

from routerd.selftest.fake_api import FakeApi, fake_api
from routerd.selftest.fake_formats import Knobs
from tests.support.daemon import fake, routes

from .sdks import HTTP, Door, each_way, front

HELLO: Any = [{"role": "user", "content": "Hello?"}]
LOOKS: Any = {"name": "look", "description": "Looks.", "input_schema": {"type": "object", "properties": {}}}
AFTER_A_LOOK: Any = [
    *HELLO,
    {
        "role": "assistant",
        "content": [
            {"type": "thinking", "thinking": "hm", "signature": ""},
            {"type": "text", "text": "Let me look."},
            {"type": "tool_use", "id": "t1", "name": "look", "input": {"at": 1}},
        ],
    },
    {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "a cat"}]},
]


def cloud(api: FakeApi) -> str:
    return json.dumps({"openai": {"model": "m", "base_url": api.base_url}})


async def refused(door: Door, **fields: Any) -> anthropic.APIStatusError:
    async with door.anthropic() as client:
        with pytest.raises(anthropic.APIStatusError) as caught:
            await client.messages.create(**{"model": "primary", "max_tokens": 20, "messages": HELLO, **fields})
    return caught.value


@each_way
async def test_asked_in_every_way(tmp_path: Path, way: str) -> None:
    knobs = Knobs(reasoning="a picture", calls=[("look", '{"at": 1}')])
    async with fake_api(knobs) as api, front(tmp_path, routes(cloud=cloud(api), rest=HTTP), way) as there:
        fields: Any = {
            "model": "primary",
            "max_tokens": 20,
            "messages": AFTER_A_LOOK,
            "tools": [LOOKS],
            "thinking": {"type": "adaptive"},
        }
        async with there.anthropic() as client:
            whole = await client.messages.create(**fields)
            async with client.messages.stream(**fields) as stream:
                kinds = [event.type async for event in stream]
                streamed = await stream.get_final_message()
            beta = await client.beta.messages.create(**fields)

        def ask() -> tuple[Any, Any]:
            with there.anthropic_sync() as client, client.messages.stream(**fields) as stream:
                return client.messages.create(**fields), stream.get_final_message()

        answers = [whole, streamed, beta, *await to_thread.run_sync(ask)]

    for answer in answers:
        assert [block.type for block in answer.content] == ["thinking", "text", "tool_use"]
        assert answer.content[0].thinking == "a picture"
        assert answer.content[1].text == "Hello, world!"
        assert (answer.content[2].name, answer.content[2].input) == ("look", {"at": 1})
        assert (answer.stop_reason, answer.model) == ("tool_use", "primary")
        assert (answer.usage.input_tokens, answer.usage.cache_read_input_tokens) == (13, 7)
        assert answer.usage.output_tokens == 9
    assert [kind for kind in ("thinking", "text", "input_json") if kind not in kinds] == []
    sent = api.asked[0].body
    assert [message["role"] for message in sent["messages"]] == ["user", "assistant", "tool"]
    assert sent["messages"][1]["tool_calls"][0]["function"] == {"name": "look", "arguments": '{"at":1}'}
    assert sent["messages"][2] == {"role": "tool", "content": "a cat", "tool_call_id": "t1"}
    assert sent["tools"][0]["function"]["name"] == "look"


async def test_what_goes_wrong_is_told_as_the_maker_does(tmp_path: Path) -> None:
    text = routes(
        cloud=json.dumps({"openai": {"model": "m", "base_url": "http://127.0.0.1:1/v1"}}),
        busy=fake("--fail overloaded"),
        tight=fake("", context=64),
    )
    async with front(tmp_path, text) as there:
        unknown = await refused(there, model="nobody")
        wrong = await refused(there, messages=[{"role": "user", "content": [{"type": "image"}]}])
        down = await refused(there, model="cloud")
        busy = await refused(there, model="busy")
        long = await refused(there, model="tight", messages=[{"role": "user", "content": "word " * 1000}])
        search: Any = {"type": "web_search_20250305", "name": "web_search"}
        tool = await refused(there, tools=[search], tool_choice={"type": "tool", "name": "web_search"})

    assert isinstance(unknown, anthropic.NotFoundError)
    assert unknown.request_id
    assert (wrong.status_code, wrong.type) == (400, "invalid_request_error")
    assert "messages[0].content[0].source" in wrong.message
    assert down.status_code == 503
    assert (busy.status_code, busy.type) == (529, "overloaded_error")
    assert (long.status_code, long.type) == (400, "invalid_request_error")
    assert "prompt is too long" in long.message
    assert tool.status_code == 400
    assert "web_search" in tool.message


async def test_unknown_fields_reach_an_api_of_the_same_format(tmp_path: Path) -> None:
    unknown: Any = {"speed": "fast", "some_future_field": {"a": [1]}, "off": False}
    asked = {"model": "primary", "max_tokens": 20, "messages": HELLO, "api_base": "http://elsewhere", **unknown}
    async with fake_api() as api:
        same = json.dumps({"anthropic": {"model": "m", "base_url": api.base_url}})
        async with front(tmp_path, routes(cloud=same)) as there, there.plain() as http:
            answer = await http.post("/v1/messages", json=asked)

    assert {name: api.asked[0].body[name] for name in unknown} == unknown
    assert "api_base" not in api.asked[0].body
    assert answer.headers["x-routerd-left-out"] == "the field api_base"
    assert answer.json()["routerd"]["dropped"] == ["the field api_base"]


async def test_tools_of_the_maker_are_left_out(tmp_path: Path) -> None:
    search: Any = {"type": "web_search_20250305", "name": "web_search"}
    odd: Any = {"type": "z\0no\r\nheader: this" + "x" * 20_000, "name": "odd"}
    async with fake_api() as api, front(tmp_path, routes(cloud=cloud(api))) as there, there.anthropic() as client:
        answer = await client.messages.with_raw_response.create(
            model="primary", max_tokens=20, messages=HELLO, tools=[search, odd, LOOKS]
        )

    left_out = answer.headers["x-routerd-left-out"]
    assert "web_search_20250305" in left_out
    assert "z?no??header: this" in left_out
    assert len(left_out) <= 1000
    assert answer.headers["x-routerd-backend"] == "cloud"
    assert [tool["function"]["name"] for tool in api.asked[0].body["tools"]] == ["look"]


async def test_an_answer_that_breaks_off_raises(tmp_path: Path) -> None:
    knobs = Knobs(pieces=["word "] * 100, cut_after=90)
    async with (
        fake_api(knobs) as api,
        front(tmp_path, routes(cloud=cloud(api))) as there,
        there.anthropic() as client,
        client.messages.stream(model="primary", max_tokens=20, messages=HELLO) as stream,
    ):
        with pytest.raises(anthropic.APIStatusError) as caught:
            await stream.get_final_message()

    assert "broke off" in str(caught.value)


async def test_counting(tmp_path: Path) -> None:
    text = routes(small=fake(), cloud=json.dumps({"openai": {"model": "m", "base_url": "http://127.0.0.1:1/v1"}}))
    async with front(tmp_path, text) as there, there.anthropic() as client:
        ask = client.messages.with_raw_response.count_tokens
        counted = await ask(model="small", messages=AFTER_A_LOOK)
        guessed = await ask(model="cloud", messages=AFTER_A_LOOK)
        with pytest.raises(anthropic.NotFoundError):
            await client.messages.count_tokens(model="nobody", messages=HELLO)
        words, guess = await counted.parse(), await guessed.parse()

    assert words.input_tokens == 6  # the fake's tokens are words, and it sees no calls
    assert "x-routerd-estimated" not in counted.headers
    assert guessed.headers["x-routerd-estimated"] == "true"
    assert guess.input_tokens >= 20


async def test_a_conversation_goes_on_with_an_owned_model(tmp_path: Path) -> None:
    heard = tmp_path / "heard.jsonl"
    small = fake(f"--record {heard}")
    fields: Any = {"model": "primary", "max_tokens": 20, "messages": AFTER_A_LOOK, "tools": [LOOKS]}
    async with (
        fake_api(Knobs(status=503)) as api,
        front(tmp_path, routes(cloud=cloud(api), small=small)) as there,
        there.anthropic() as client,
    ):
        whole = await client.messages.create(**fields)
        async with client.messages.stream(**fields) as stream:
            text = await stream.get_final_text()

    assert (whole.content[0].text, text) == ("t0 t1 t2", "t0 t1 t2")
    assert len(api.asked[0].body["messages"]) == 3
    generated = [json.loads(line) for line in heard.read_text().splitlines()]
    assert [entry["text"] for entry in generated if entry["what"] == "generate"] == ["a cat"] * 2


async def test_nothing_is_stored(tmp_path: Path) -> None:
    async with front(tmp_path, routes(small=fake())) as there, there.anthropic() as client:
        with pytest.raises(anthropic.NotFoundError) as caught:
            await client.messages.batches.retrieve("msgbatch_1")
        with pytest.raises(anthropic.NotFoundError):
            await client.beta.files.list()

    assert caught.value.type == "not_found_error"
