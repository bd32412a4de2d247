"""Fields that every front takes: read alike, and refused alike."""

from __future__ import annotations

import json
from typing import Any

import pytest

from routerd.gateway import chat_completions, completions, messages, responses
from routerd.gateway.format import Asked, BadRequestError, Format
from routerd.routing.sentinels import without_sentinels
from routerd_client.chat import ChatRequest, Sampling

SAID: Any = [{"role": "user", "content": "Hello?"}]
FRONTS: list[tuple[Format, dict[str, Any]]] = [
    (chat_completions, {"messages": SAID}),
    (completions, {"prompt": "Hello?"}),
    (responses, {"input": SAID}),
    (messages, {"messages": SAID}),
]
ALL = pytest.mark.parametrize(("front", "ask"), FRONTS, ids=["chat", "completions", "responses", "messages"])


def read(front: Format, ask: dict[str, Any], **fields: Any) -> Asked:
    return front.read(json.dumps(ask | fields).encode(), {})


def refused(front: Format, ask: dict[str, Any], **fields: Any) -> BadRequestError:
    with pytest.raises(BadRequestError) as caught:
        read(front, ask, **fields)
    return caught.value


def meant(front: Format, ask: dict[str, Any], **fields: Any) -> ChatRequest:
    return without_sentinels(read(front, ask, **fields).chat)


@ALL
@pytest.mark.parametrize(
    ("fields", "sampling"),
    [
        ({"seed": 5}, Sampling(seed=5)),
        ({"seed": -1}, Sampling()),
        ({"top_k": 1}, Sampling(top_k=1)),
        ({"top_k": -1}, Sampling(top_k=0)),
        ({"top_k": 40.0}, Sampling(top_k=40)),
        ({"min_p": 0.1}, Sampling(min_p=0.1)),
        ({"repeat_penalty": 1.1}, Sampling(repetition_penalty=1.1)),
        ({"repetition_penalty": 1.2, "repeat_penalty": 1.1}, Sampling(repetition_penalty=1.2)),
        ({"presence_penalty": 0.5, "frequency_penalty": 0.25}, Sampling(presence_penalty=0.5, frequency_penalty=0.25)),
        ({"xtc_probability": 0.5, "xtc_threshold": 0.1}, Sampling(xtc_probability=0.5, xtc_threshold=0.1)),
        ({"logit_bias": {"5": -1}}, Sampling(logit_bias={5: -1.0})),
        ({"temperature": 0.5, "top_p": 0.9}, Sampling(temperature=0.5, top_p=0.9)),
    ],
)
def test_sampling_is_read(front: Format, ask: dict[str, Any], fields: dict[str, Any], sampling: Sampling) -> None:
    asked = read(front, ask, **fields)
    assert without_sentinels(asked.chat).sampling == sampling
    assert asked.left_out == []
    assert {name for extra in asked.chat.extra.values() for name in extra} <= asked.read


@ALL
@pytest.mark.parametrize(("stop", "stops"), [("red", ["red"]), (["a", ""], ["a"]), ("", []), (None, [])])
def test_stop_is_read(front: Format, ask: dict[str, Any], stop: object, stops: list[str]) -> None:
    assert read(front, ask, stop=stop).chat.stop == stops


@ALL
@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens", "max_output_tokens", "n_predict"])
def test_the_cap_has_one_rule(front: Format, ask: dict[str, Any], field: str) -> None:
    assert meant(front, ask, **{field: 4}).max_tokens == 4
    assert meant(front, ask, **{field: 4.0}).max_tokens == 4
    assert meant(front, ask, **{field: -1}).max_tokens is None
    assert meant(front, ask, **{field: -2}).max_tokens is None
    for wrong in (0, -3):
        assert refused(front, ask, **{field: wrong}).param == field


@ALL
def test_the_formats_own_cap_wins(front: Format, ask: dict[str, Any]) -> None:
    own = "max_output_tokens" if front is responses else "max_tokens"
    assert meant(front, ask, **{own: 4, "n_predict": 9}).max_tokens == 4


@ALL
def test_several_answers_are_refused(front: Format, ask: dict[str, Any]) -> None:
    assert refused(front, ask, n=2).param == "n"


@pytest.mark.parametrize(("front", "ask"), [FRONTS[0], *FRONTS[2:]], ids=["chat", "responses", "messages"])
def test_an_answer_may_go_on(front: Format, ask: dict[str, Any]) -> None:
    name = next(iter(ask))
    begun = {name: [*SAID, {"role": "assistant", "content": "one"}]}
    assert read(front, begun, continue_final_message=True).chat.continues
    assert not read(front, begun, continue_final_message=False).chat.continues


def test_a_front_names_what_it_does_not_read() -> None:
    assert "continue_final_message" not in read(*FRONTS[1], continue_final_message=True).read


@ALL
@pytest.mark.parametrize("value", [{}, {"a": 1}, [], "x", False])
def test_an_extra_body_is_refused(front: Format, ask: dict[str, Any], value: object) -> None:
    assert refused(front, ask, extra_body=value).param == "extra_body"


@ALL
@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"seed": 0.5}, "seed: expected a whole number or null, got a number with a fraction"),
        ({"logit_bias": {"a": 1}}, "logit_bias: a key is wrong: expected a whole number, got a text"),
        ({"logit_bias": {"5": "x"}}, "logit_bias[...]: expected a number, got a text"),
        ({"stop": 5}, "stop: expected a text, a list or null, got a whole number"),
        ({"ignore_eos": "yes"}, "ignore_eos: expected true or false or null, got a text"),
    ],
)
def test_wrong_types_are_told_in_plain_words(
    front: Format, ask: dict[str, Any], fields: dict[str, Any], message: str
) -> None:
    error = refused(front, ask, **fields)
    assert error.message == message
    assert error.param == message.split(":")[0]


def test_wrong_types_inside_have_their_place() -> None:
    block = {"type": "document", "source": {"type": 5}}
    error = refused(messages, {"messages": [{"role": "user", "content": [block]}]})
    assert error.param == "messages[0].content[0].source.type"
    assert error.message == f"{error.param}: expected a text, got a whole number"


LOOK = {"type": "function", "function": {"name": "look"}}
NAMED = {"type": "function", "function": {"name": "look"}}


@pytest.mark.parametrize("tools", [None, [], [{"type": "web_search"}]])
@pytest.mark.parametrize("choice", ["required", "any", NAMED])
def test_a_call_without_a_tool_is_refused(choice: object, tools: object) -> None:
    assert refused(*FRONTS[0], tool_choice=choice, tools=tools).param == "tool_choice"


def test_a_call_of_a_tool_that_is_not_offered_is_refused() -> None:
    assert refused(*FRONTS[0], tool_choice={"function": {"name": "jump"}}, tools=[LOOK]).param == "tool_choice"
    assert read(*FRONTS[0], tool_choice=NAMED, tools=[LOOK]).chat.tool_choice
    assert read(*FRONTS[0], tool_choice="auto").chat.tool_choice == "auto"


def test_a_function_tool_needs_its_function() -> None:
    assert refused(*FRONTS[0], tools=[LOOK, {"type": "function"}]).param == "tools[1].function"
    assert refused(*FRONTS[0], tools=[{}]).param == "tools[0].function"
    assert read(*FRONTS[0], tools=[{"type": "web_search"}]).left_out == ["the tool web_search"]
