"""A real model behind the front: a conversation begun in the makers' formats falls back to it whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from routerd.selftest.fake_api import fake_api
from routerd.selftest.fake_formats import Knobs
from tests.support.daemon import standalone_daemon
from tests.support.tiny_model import make_tiny_model

from .sdks import Door

LOOKS = {"type": "object", "properties": {"at": {"type": "integer"}}}
SAID: Any = [
    {"role": "user", "content": "one two three"},
    {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "look", "input": {"at": 1}}]},
    {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "the lazy dog"}]},
    {"role": "system", "content": "It is late."},
]
INPUT: Any = [
    {"role": "developer", "content": "Be brief."},
    {"role": "user", "content": "one two three"},
    {"type": "function_call", "call_id": "t1", "name": "look", "arguments": '{"at": 1}'},
    {"type": "function_call_output", "call_id": "t1", "output": "the lazy dog"},
]


async def test_tools_and_history_are_kept(tmp_path: Path) -> None:
    model = make_tiny_model(tmp_path / "tiny", tools=True)
    asked: Any = {"model": "primary", "system": "Be brief.", "messages": SAID}
    asked["tools"] = [{"name": "look", "input_schema": LOOKS}]
    function: Any = {"type": "function", "name": "look", "parameters": LOOKS, "strict": False}
    async with fake_api(Knobs(status=503)) as api:
        text = f"""\
version: 1
backends:
  cloud: {json.dumps({"openai": {"model": "m", "base_url": api.base_url}})}
  small: {{mlx: {{model: {model}}}}}
endpoints:
  primary: {{fallback: [cloud, small]}}
default: primary
"""
        with standalone_daemon(tmp_path, text) as daemon:
            there = Door("http://localhost", "none", str(daemon.socket))
            async with there.anthropic() as client:
                whole = await client.messages.create(**asked, max_tokens=8, extra_body={"temperature": 0})
                async with client.messages.stream(**asked, max_tokens=8, extra_body={"temperature": 0}) as stream:
                    started = [event.message.usage async for event in stream if event.type == "message_start"]
                    streamed = await stream.get_final_message()
                counted = await client.messages.count_tokens(**{**asked, "model": "small"})
                bare = await client.messages.count_tokens(model="small", messages=SAID[:1])
            async with there.openai() as openai:
                answer = await openai.responses.create(
                    model="small", input=INPUT, tools=[function], max_output_tokens=8, temperature=0
                )

    assert [message["role"] for message in api.asked[0].body["messages"]] == [
        "system",
        "user",
        "assistant",
        "tool",
        "system",
    ]
    assert [usage.input_tokens + (usage.cache_read_input_tokens or 0) for usage in started] == [counted.input_tokens]
    for one in (whole, streamed):
        read = one.usage.input_tokens + (one.usage.cache_read_input_tokens or 0)
        assert read == counted.input_tokens
        assert (one.usage.output_tokens, one.stop_reason) == (8, "max_tokens")
    assert [block.text for block in whole.content] == [block.text for block in streamed.content]
    assert counted.input_tokens > bare.input_tokens + 50  # the tool, its call and its result are in it
    assert (answer.status, answer.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    assert answer.usage.input_tokens > bare.input_tokens + 50
