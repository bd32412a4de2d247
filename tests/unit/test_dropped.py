"""Names of what a backend is not told."""

from __future__ import annotations

from typing import Any

import pytest

from routerd.backends.dropped import by_api, by_owned, by_template
from routerd.routing.sentinels import without_sentinels
from routerd_client.chat import ChatRequest, FunctionSpec, Message, ResponseFormat, Sampling, Tool


def chat(**fields: Any) -> ChatRequest:
    return ChatRequest(messages=[Message("user", "hi")], **fields)


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({}, []),
        ({"extra": {"openai": {"grammar": "x", "min_tokens": 3}}}, ["grammar", "min_tokens"]),
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
    asked = chat(extra={"openai": {"grammar": "x", "min_tokens": 3}}, min_tokens=3)
    assert by_api(asked, kind, frozenset({"min_tokens"}), local=local) == [f"the field {name}" for name in names]


def test_values_that_say_none_are_no_opinion() -> None:
    asked = chat(max_tokens=-1, stop=["END"], sampling=Sampling(seed=-1, top_k=-1, temperature=0.0))
    assert without_sentinels(asked) == chat(stop=["END"], sampling=Sampling(top_k=0, temperature=0.0))
    plain = chat(max_tokens=5, stop=["END"], sampling=Sampling(seed=0, top_k=0))
    assert without_sentinels(plain) is plain


def test_what_a_front_read_is_not_named() -> None:
    asked = chat(extra={"openai": {"n_predict": 3, "grammar": "x"}})
    assert by_owned(asked, frozenset({"n_predict"})) == ["the field grammar"]
    assert by_owned(asked) == ["the field grammar", "the field n_predict"]


@pytest.mark.parametrize(
    ("name", "value", "named"),
    [
        ("skip_special_tokens", False, True),
        ("skip_special_tokens", True, False),
        ("spaces_between_special_tokens", False, True),
        ("add_generation_prompt", False, True),
        ("add_generation_prompt", True, False),
        ("do_sample", False, True),
        ("no_such_field", False, True),
        ("no_such_field", 0, True),
        ("mirostat", 0, False),
        ("mirostat", 2, True),
        ("dry_multiplier", 0.0, False),
        ("echo", False, False),
        ("typical_p", 1, False),
        ("typical_p", 0.5, True),
        ("id_slot", -1, False),
        ("id_slot", 0, True),
        ("truncation", "disabled", False),
        ("truncation", "auto", True),
        ("user", 0, False),
        ("grammar", None, False),
        ("grammar", "", False),
    ],
)
def test_false_and_zero_are_opinions_but_where_they_mean_off(name: str, value: object, named: bool) -> None:
    assert by_owned(chat(extra={"openai": {name: value}})) == [f"the field {name}"] * named


def test_an_api_is_not_told_sampling_that_its_format_lacks() -> None:
    asked = chat(sampling=Sampling(seed=0, top_k=3, presence_penalty=0.0, repetition_penalty=1.0))
    assert by_api(asked, "responses", local=False) == ["the field seed", "the field top_k"]
    assert by_api(asked, "anthropic", local=False) == ["the field seed"]
    assert by_api(asked, "openai", local=False) == ["the field top_k"]
    assert by_api(asked, "openai", local=True) == []


@pytest.mark.parametrize(
    ("fields", "words", "names"),
    [
        ({"reasoning_effort": "high"}, [], ["reasoning_effort"]),
        ({"reasoning_effort": "high"}, ["reasoning_effort"], []),
        ({"reasoning_effort": "none"}, ["enable_thinking"], []),
        ({"reasoning_effort": "none"}, [], ["reasoning_effort"]),
        ({"template_args": {"enable_thinking": True}}, ["messages"], ["enable_thinking"]),
        ({"template_args": {"enable_thinking": True}, "extra": {"openai": {"think": True}}}, [], ["think"]),
        ({"template_args": {"enable_thinking": True}}, ["enable_thinking"], []),
        ({"template_args": {"enable_thinking": False}}, ["thinking"], []),
        ({"template_args": {"enable_thinking": False}}, [], ["enable_thinking"]),
        ({"template_args": {"style": "x", "known": 1}}, ["known"], ["chat_template_kwargs.style"]),
        ({}, [], []),
    ],
)
def test_a_template_is_not_told_what_it_has_no_variable_for(
    fields: dict[str, Any], words: list[str], names: list[str]
) -> None:
    assert by_template(chat(**fields), frozenset(words)) == [f"the field {name}" for name in names]
