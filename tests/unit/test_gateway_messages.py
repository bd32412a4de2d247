"""Anthropic's messages: requests read, answers written."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routerd.backends import anthropic
from routerd.gateway import messages
from routerd.gateway.format import Asked, BadRequestError, encode, refusal, spoken_in
from routerd.gateway.messages_writer import arguments
from routerd_client.chat import (
    ChatRequest,
    FinishReason,
    Function,
    ImagePart,
    ImageURL,
    Message,
    NamedTool,
    TextPart,
    ToolCall,
)
from routerd_client.protocol import Delta, Error, ErrorCode
from routerd_client.records import FailureKind

from .answers import BROKEN, DELTAS, JSON, LOOK, USAGE, WALK, done, events, heard, places, put, said, streamed

HELLO: dict[str, Any] = {"role": "user", "content": "Hello?"}
LOOKS: dict[str, Any] = {"name": "look", "input_schema": {"type": "object"}}
SEARCHES: dict[str, Any] = {"type": "web_search_20250305", "name": "web_search"}
PNG = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}}
AGENTS: dict[str, Any] = {
    "model": "primary",
    "max_tokens": 100,
    "stream": True,
    "system": [
        {"type": "text", "text": "x-anthropic-billing-header: cc_version=2.1; cch=1f2e;"},
        {"type": "text", "text": "You are an agent.", "cache_control": {"type": "ephemeral"}},
        {"type": "text", "text": "Be brief."},
    ],
    "messages": [
        {"role": "system", "content": "Today is Monday."},
        {"role": "user", "content": [{"type": "text", "text": "What is this?"}, PNG]},
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "a picture", "signature": "c2ln"},
                {"type": "redacted_thinking", "data": "x"},
                {"type": "text", "text": "Let me look."},
                {"type": "tool_use", "id": "t1", "name": "look", "input": {"at": 1}},
                {"type": "tool_use", "id": "t2", "name": "look", "input": {}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Sure?"},
                {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "a cat"}, PNG]},
                {"type": "tool_result", "tool_use_id": "t2", "content": "too dark", "is_error": True},
            ],
        },
        {"role": "system", "content": [{"type": "text", "text": "The user is away."}]},
    ],
    "tools": [LOOKS, SEARCHES],
    "tool_choice": {"type": "auto", "disable_parallel_tool_use": True},
    "thinking": {"type": "adaptive"},
    "output_config": {"effort": "high"},
    "context_management": {"edits": []},
    "metadata": {"user_id": "u1", "platform": "cli"},
}


def read(**fields: Any) -> Asked:
    body = {"model": "primary", "max_tokens": 100, "messages": [HELLO], **fields}
    return messages.read(json.dumps(body).encode(), {})


def chat(**fields: Any) -> ChatRequest:
    return read(**fields).chat


def refused(**fields: Any) -> BadRequestError:
    with pytest.raises(BadRequestError) as caught:
        read(**fields)
    return caught.value


def test_what_an_agent_sends() -> None:
    asked = read(**AGENTS)

    assert asked.chat.messages == [
        Message("system", "You are an agent.\n\nBe brief.\n\nToday is Monday."),
        Message("user", [TextPart("What is this?"), ImagePart(ImageURL("data:image/png;base64,aGk="))]),
        Message(
            "assistant",
            "Let me look.",
            reasoning="a picture",
            tool_calls=[
                ToolCall(id="t1", function=Function("look", '{"at":1}')),
                ToolCall(id="t2", function=Function("look", "{}"), index=1),
            ],
        ),
        Message("tool", "a cat", tool_call_id="t1"),
        Message("tool", "Error: too dark", tool_call_id="t2"),
        Message("user", [ImagePart(ImageURL("data:image/png;base64,aGk=")), TextPart("Sure?")]),
        Message("system", "The user is away."),
    ]
    assert asked.left_out == ["a block of type redacted_thinking", "the tool web_search_20250305"]
    assert (asked.chat.model, asked.chat.max_tokens, asked.chat.stream) == ("primary", 100, True)
    assert (asked.chat.tool_choice, asked.chat.parallel_tool_calls) == ("auto", False)
    assert asked.chat.reasoning_effort == "high"
    assert (asked.chat.session, asked.chat.context) == ("u1", {"platform": "cli"})
    assert asked.chat.extra == {"anthropic": {"cache_control": {"type": "ephemeral"}, "metadata": {"user_id": "u1"}}}


@pytest.mark.parametrize(
    ("fields", "choice"),
    [
        ({}, None),
        ({"tool_choice": {"type": "auto"}}, None),
        ({"tools": [LOOKS], "tool_choice": {"type": "auto"}}, "auto"),
        ({"tools": [LOOKS], "tool_choice": {"type": "none"}}, "none"),
        ({"tools": [LOOKS, SEARCHES], "tool_choice": {"type": "any"}}, "required"),
        ({"tools": [LOOKS], "tool_choice": {"type": "tool", "name": "look"}}, NamedTool(Function("look"))),
    ],
)
def test_which_tool(fields: dict[str, Any], choice: object) -> None:
    assert chat(**fields).tool_choice == choice


def test_a_tool_of_the_maker_is_refused_where_it_is_demanded() -> None:
    named = refused(tools=[LOOKS, SEARCHES], tool_choice={"type": "tool", "name": "web_search"})
    alone = refused(tools=[SEARCHES], tool_choice={"type": "any"})

    assert "web_search" in named.message
    assert "no tool" in alone.message


def test_an_answer_that_has_begun_goes_on() -> None:
    begun = [HELLO, {"role": "assistant", "content": "Once upon"}]

    assert chat(messages=begun).continues
    assert not chat(messages=[*begun, HELLO]).continues


def test_json_and_thinking() -> None:
    form = {"type": "json_schema", "schema": {"type": "object"}}
    wanted = chat(output_config={"format": form}).response_format

    assert wanted == chat(output_format=form).response_format
    assert wanted is not None
    assert wanted.json_schema == {"name": "answer", "schema": {"type": "object"}, "strict": True}
    assert chat(thinking={"type": "disabled"}).template_args == {"enable_thinking": False}
    assert chat(thinking={"type": "enabled", "budget_tokens": 2000}).template_args == {}


def test_documents() -> None:
    blocks = [
        {"type": "document", "title": "Notes", "source": {"type": "text", "media_type": "text/plain", "data": "one"}},
        {"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "two"}]}},
        {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "aGk="}},
        {"type": "search_result", "title": "T", "source": "S", "content": [{"type": "text", "text": "three"}]},
    ]
    asked = read(messages=[{"role": "user", "content": blocks}])
    text = asked.chat.messages[0].text

    assert [word for word in ("Notes", "one", "two", "not text", "T\nS", "three") if word not in text] == []
    assert asked.left_out == ["a document of type application/pdf"]


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "system", "content": ""}]}, "messages"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": 1}]}]}, "messages[0].content[0].text"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "file", "id": "f"}}]}]},
            "messages[0].content[0].source",
        ),
        ({"messages": [HELLO, {"role": "user", "content": [{"type": "image"}]}]}, "messages[1].content[0].source"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"tools": [{"input_schema": {}}]}, "tools[0].name"),
    ],
)
def test_what_is_wrong_and_where(fields: dict[str, Any], place: str) -> None:
    error = refused(**fields)

    assert error.param == place
    assert error.message.startswith(place)


@pytest.mark.parametrize("depth", [400, 20_000])
def test_blocks_within_blocks_without_end(depth: int) -> None:
    """How much is too much is Python's to say; that it is said is ours."""
    inner = '[{"type": "search_result", "content": ' * depth + "[]" + "}]" * depth
    body = f'{{"model": "m", "max_tokens": 1, "messages": [{{"role": "user", "content": {inner}}}]}}'
    with suppress(BadRequestError):
        messages.read(body.encode(), {})


@given(data=st.data())
def test_one_thing_wrong_in_a_good_request(data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(list(places(AGENTS))[1:]))
    body = json.dumps(put(AGENTS, path, data.draw(JSON)))
    with suppress(BadRequestError):
        messages.read(body.encode(), {})


def test_a_streamed_answer_as_its_own_reader_hears_it() -> None:
    writer = read(thinking={"type": "adaptive"}).writer
    piece, end = heard(anthropic.reader(), streamed(writer, DELTAS, done()))

    assert (piece.text, piece.reasoning) == ("A cat: \u732b\n", "a picture")
    assert [(call.id, call.function.name, call.function.arguments) for call in piece.tool_calls] == [
        ("call_1", "look", '{"at":1}'),
        ("call_2", "walk", "{}"),
    ]
    assert end.finish_reason is FinishReason.TOOL_CALLS
    assert (end.usage.prompt_tokens, end.usage.cached_tokens) == (USAGE.prompt_tokens, USAGE.cached_tokens)
    assert (end.usage.completion_tokens, end.usage.reasoning_tokens) == (9, 3)


def test_the_order_of_events() -> None:
    sent = streamed(read(thinking={"type": "adaptive"}).writer, DELTAS, done())
    found = events(sent)

    assert [name for name, _ in found] == [
        "message_start",
        "ping",
        "content_block_start",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "content_block_start",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        *["content_block_start", "content_block_delta", "content_block_stop"] * 2,
        "message_delta",
        "message_stop",
    ]
    assert [data["index"] for _, data in found if "index" in data] == [0] * 4 + [1] * 4 + [2] * 3 + [3] * 3
    assert all(name == data["type"] for name, data in found)
    assert found[0][1]["message"]["model"] == "primary"


def test_thinking_is_shown_to_those_who_ask_for_it() -> None:
    shown, hidden = read(thinking={"type": "adaptive"}), read()
    omitted = read(thinking={"type": "adaptive", "display": "omitted"})
    end = done(message=said(reasoning="hm"))

    assert [block["type"] for block in json.loads(shown.writer.whole(end))["content"]] == ["thinking", "text"]
    assert [block["type"] for block in json.loads(hidden.writer.whole(end))["content"]] == ["text"]
    assert omitted.writer.delta(Delta(id=0, attempt=1, reasoning="hm")) == b""


def test_a_whole_answer() -> None:
    end = done(message=said(tool_calls=[LOOK, WALK]))
    answer = json.loads(read().writer.whole(end))

    assert answer["content"] == [
        {"type": "text", "text": "A cat"},
        {"type": "tool_use", "id": "call_1", "name": "look", "input": {"at": 1}},
        {"type": "tool_use", "id": "call_2", "name": "walk", "input": {}},
    ]
    assert answer["stop_reason"] == "tool_use"
    assert answer["usage"] == {
        "input_tokens": 8,
        "cache_read_input_tokens": 7,
        "cache_creation_input_tokens": 5,
        "output_tokens": 9,
        "output_tokens_details": {"thinking_tokens": 3},
    }
    assert answer["routerd"]["backend"] == "small"


def test_arguments_that_are_no_object() -> None:
    call = ToolCall(id="c", function=Function("look", "not JSON"))
    sent = streamed(read().writer, [Delta(id=0, attempt=1, tool_calls=[call])], done())

    assert b'{\\"arguments\\":\\"not JSON\\"}' in sent


@pytest.mark.parametrize(
    ("reason", "word"),
    [
        (FinishReason.STOP, "end_turn"),
        (FinishReason.LENGTH, "max_tokens"),
        (FinishReason.TOOL_CALLS, "tool_use"),
        (FinishReason.CONTENT_FILTER, "refusal"),
        (FinishReason.UNKNOWN, "end_turn"),
    ],
)
def test_why_it_ended(reason: FinishReason, word: str) -> None:
    end = done(message=said(), finish_reason=reason)
    deltas = dict(events(streamed(read().writer, [], end)))["message_delta"]

    assert json.loads(read().writer.whole(end))["stop_reason"] == word
    assert deltas["delta"]["stop_reason"] == word


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        (ErrorCode.BAD_REQUEST, 400, "invalid_request_error"),
        (ErrorCode.BUDGET, 402, "billing_error"),
        (ErrorCode.NOT_FOUND, 404, "not_found_error"),
        (ErrorCode.OVERLOADED, 529, "overloaded_error"),
        (ErrorCode.UNAVAILABLE, 503, "api_error"),
        (ErrorCode.DEADLINE, 504, "timeout_error"),
        (ErrorCode.INTERNAL, 500, "api_error"),
    ],
)
def test_errors(code: ErrorCode, status: int, kind: str) -> None:
    told = spoken_in(refusal(Error(id=0, code=code, message="no", hint="wait", request_id="r1")), messages)
    body = json.loads(messages.refuse(told))

    assert told.status == status
    assert body["type"] == "error"
    assert body["error"] == {"type": kind, "message": "no (wait)"}
    assert body["request_id"] == "r1"


def test_a_rate_limit_is_no_overload() -> None:
    limited = Error(id=0, code=ErrorCode.OVERLOADED, message="no", failure=FailureKind.RATE_LIMITED)
    told = spoken_in(refusal(limited), messages)

    assert told.status == 429
    assert json.loads(messages.refuse(told))["error"]["type"] == "rate_limit_error"


def test_a_prompt_that_is_too_long_is_told_in_the_words_that_agents_look_for() -> None:
    told = refusal(Error(id=0, code=ErrorCode.CONTEXT_OVERFLOW, message="9000 tokens"))

    assert json.loads(messages.refuse(told))["error"]["message"] == "prompt is too long: 9000 tokens"


def test_an_answer_that_breaks_off_never_ends_well() -> None:
    names = [name for name, _ in events(streamed(read().writer, DELTAS[2:3], BROKEN))]

    assert names[-1] == "error"
    assert "message_stop" not in names


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ('{"at": 1180591620717411303424, "x": 1.0}', b'{"at":1180591620717411303424,"x":1.0}'),
        ('{"at": ' + "[" * 12_000 + "]" * 12_000 + "}", b'{"arguments":"{'),
        ('{"at": ', b'{"arguments":"{'),
        ("[1]", b'{"arguments":"[1]"}'),
        ("", b"{}"),
    ],
)
def test_arguments_as_a_model_wrote_them(text: str, shown: bytes) -> None:
    found = encode(arguments(ToolCall(id="a", function=Function("f", text))))
    assert found.startswith(shown)
