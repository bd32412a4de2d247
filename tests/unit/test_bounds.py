"""Bounds of a chat: what is out of them is told with its place, and nothing else is."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from msgspec.structs import replace

from routerd.routing.bounds import MAX_DEPTH, BadChatError, bare, check
from routerd_client.chat import ChatRequest, Function, FunctionSpec, Message, ResponseFormat, Sampling, Tool, ToolCall

CHAT = ChatRequest(messages=[Message("user", "hello")])


def nested(levels: int) -> Any:
    value: Any = 1
    for level in range(levels):
        value = [value] if level % 2 else {"a": value}
    return value


def with_arguments(text: str) -> ChatRequest:
    return replace(
        CHAT, messages=[*CHAT.messages, Message("assistant", None, tool_calls=[ToolCall("1", Function("f", text))])]
    )


WRONG: dict[str, tuple[ChatRequest, str]] = {
    "seed": (replace(CHAT, sampling=Sampling(seed=2**64)), "seed is 18446744073709551616; it must be below 2^64"),
    "low seed": (replace(CHAT, sampling=Sampling(seed=-(2**63) - 1)), "seed is -"),
    "top_k": (replace(CHAT, sampling=Sampling(top_k=2**63)), "top_k is"),
    "bias": (replace(CHAT, sampling=Sampling(logit_bias={2**64: 1.0})), "a token id in logit_bias is"),
    "nan": (replace(CHAT, sampling=Sampling(temperature=math.nan)), "temperature is nan"),
    "infinite bias": (replace(CHAT, sampling=Sampling(logit_bias={1: math.inf})), "logit_bias[1] is inf"),
    "max_tokens": (replace(CHAT, max_tokens=2**64), "max_tokens is 18446744073709551616; it must be at most 2^53"),
    "top_logprobs": (replace(CHAT, top_logprobs=2**64), "top_logprobs is"),
    "tool": (
        replace(CHAT, tools=[Tool(FunctionSpec("a")), Tool(FunctionSpec("f", parameters={"a": nested(MAX_DEPTH)}))]),
        "tools[1].function.parameters is nested deeper than 128 levels",
    ),
    "schema": (
        replace(CHAT, response_format=ResponseFormat("json_schema", {"schema": nested(500)})),
        "response_format.json_schema is nested",
    ),
    "template": (replace(CHAT, template_args={"a": nested(500)}), "template_args (chat_template_kwargs) is nested"),
    "unknown field": (replace(CHAT, extra={"openai": {"a": nested(500)}}), "extra.openai is nested"),
    "arguments": (with_arguments(json.dumps(nested(500))), "messages[1].tool_calls[0].function.arguments is nested"),
    "deepest arguments": (with_arguments("[" * 100_000 + "]" * 100_000), "function.arguments is nested"),
    "many values": (replace(CHAT, template_args={"a": [[0] * 250_000] * 2}), "has more than 500000 values: send fewer"),
    "bytes": (replace(CHAT, template_args={"a": b"x"}), "has a value of type bytes"),
    "key": (replace(CHAT, template_args={"a": {(1,): 2}}), "has a key that is no text"),
}  # fmt: skip


@pytest.mark.parametrize(("chat", "words"), WRONG.values(), ids=list(WRONG))
def test_what_is_out_of_bounds_is_told_with_its_place(chat: ChatRequest, words: str) -> None:
    with pytest.raises(BadChatError) as caught:
        check(chat)
    assert words in str(caught.value)


@pytest.mark.parametrize("name", [name for name in WRONG if "arguments" not in name])
def test_what_is_recorded_of_it_is_within_bounds(name: str) -> None:
    check(bare(WRONG[name][0]))


def test_what_only_passes_through_may_be_of_any_size() -> None:
    huge = {"maximum": 2**128 - 1, "minimum": -(10**30), "tiny": 1e-300, "nul": "a\0b"}
    check(
        replace(
            CHAT,
            tools=[Tool(FunctionSpec("f", parameters={"a": nested(MAX_DEPTH - 2), **huge}))],
            response_format=ResponseFormat("json_schema", {"schema": huge}),
            template_args=huge,
            extra={"openai": {"trace": 10**25}},
            sampling=Sampling(seed=2**64 - 1, temperature=0.5, logit_bias={5: -100.0}),
            max_tokens=2**53,
        )
    )


def test_a_hundred_thousand_keys_are_no_nesting() -> None:
    check(replace(CHAT, template_args={str(n): [n] for n in range(100_000)}))


def test_arguments_that_are_no_json_are_passed_on() -> None:
    check(with_arguments("[{" * 500))
