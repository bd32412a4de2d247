"""Names of what a backend is not told."""

from __future__ import annotations

from typing import Any

import pytest

from routerd.backends.dropped import by_api, by_owned
from routerd.routing.sentinels import without_sentinels
from routerd_client.chat import ChatRequest, FunctionSpec, Message, ResponseFormat, Sampling, Tool


def chat(**fields: Any) -> ChatRequest:
    return ChatRequest(messages=[Message("user", "hi")], **fields)


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({}, []),
        ({"extra": {"openai": {"grammar": "x", "min_tokens": 3}}}, ["grammar"]),
        ({"extra": {"responses": {"verbosity": "low"}, "anthropic": {"cache_control": {"type": "e"}}}}, ["verbosity"]),
        ({"response_format": ResponseFormat("json_object")}, ["response_format"]),
        ({"parallel_tool_calls": False}, []),
        ({"parallel_tool_calls": False, "tools": [Tool(FunctionSpec("look"))]}, ["parallel_tool_calls"]),
        ({"ignore_eos": True, "stop_token_ids": [1]}, []),
    ],
)
def test_owned_models_drop_what_they_do_not_do(fields: dict[str, Any], names: list[str]) -> None:
    assert by_owned(chat(**fields)) == [f"the field {name}" for name in names]


def test_a_model_over_several_machines_drops_more() -> None:
    assert by_owned(chat(ignore_eos=True, stop_token_ids=[1]), grouped=True) == [
        "the field ignore_eos",
        "the field stop_token_ids",
    ]


@pytest.mark.parametrize(
    ("kind", "local", "names"),
    [("openai", False, []), ("anthropic", False, ["grammar", "min_tokens"]), ("responses", True, ["grammar"])],
)
def test_an_api_drops_the_fields_of_other_formats(kind: str, local: bool, names: list[str]) -> None:
    asked = chat(extra={"openai": {"grammar": "x"}}, min_tokens=3)
    assert by_api(asked, kind, local=local) == [f"the field {name}" for name in names]


def test_values_that_say_none_are_no_opinion() -> None:
    asked = chat(max_tokens=-1, stop=["END"], sampling=Sampling(seed=-1, top_k=-1, temperature=0.0))
    assert without_sentinels(asked) == chat(stop=["END"], sampling=Sampling(top_k=0, temperature=0.0))
    plain = chat(max_tokens=5, stop=["END"], sampling=Sampling(seed=0, top_k=0))
    assert without_sentinels(plain) is plain
