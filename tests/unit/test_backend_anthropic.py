"""Chats as Anthropic's messages, and their answers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from routerd.backends import anthropic
from routerd.backends.base import BackendError, End, Piece
from routerd.backends.format import ErrorInStreamError
from routerd.backends.sse import Event
from routerd.config.http import HttpSpec
from routerd.routing.terms import USUAL
from routerd_client.chat import (
    ChatRequest,
    FinishReason,
    Function,
    ImagePart,
    ImageURL,
    Message,
    NamedTool,
    ResponseFormat,
    Sampling,
    TextPart,
    ToolCall,
    Usage,
)
from routerd_client.records import FailureKind

from .chats import CONVERSATION, TOOLS, whole

HAIKU = HttpSpec(model="claude-haiku-4-5")
NEW = HttpSpec(model="claude-opus-4-8", max_tokens=100)
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}}
SERVER = HttpSpec(model="qwen", base_url="http://127.0.0.1:1/v1")


def encode(spec: HttpSpec = HAIKU, **fields: Any) -> dict[str, Any]:
    return anthropic.encode(ChatRequest(**{"messages": CONVERSATION, **fields}), spec, USUAL)


def turns(*messages: Message) -> list[Any]:
    return encode(messages=list(messages))["messages"]


def text(words: str) -> dict[str, str]:
    return {"type": "text", "text": words}


def test_a_conversation() -> None:
    body = encode()

    assert body["system"] == "Be brief.\n\nAnswer in English."
    assert body["messages"] == [
        {
            "role": "user",
            "content": [
                text("What is this?"),
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}},
                {"type": "image", "source": {"type": "url", "url": "https://pictures.test/1.png"}},
            ],
        },
        {
            "role": "assistant",
            "content": [
                {"type": "tool_use", "id": "call_1", "name": "look", "input": {"at": 1}},
                {"type": "tool_use", "id": "call_2", "name": "look", "input": {}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "call_1", "content": [text("a cat")]},
                {"type": "tool_result", "tool_use_id": "call_2", "content": [text("a dog")]},
                text("Sure?"),
            ],
        },
        {"role": "assistant", "content": [text("Quite.")]},
        {"role": "user", "content": [text("And now?")]},
    ]


def test_turns_take_turns_and_the_user_begins() -> None:
    said = turns(
        Message("assistant", "Hi! "), Message("assistant", "Well? "), Message("user", "a"), Message("user", "b")
    )

    assert said == [
        {"role": "user", "content": [text("(start)")]},
        {"role": "assistant", "content": [text("Hi! "), text("Well? ")]},
        {"role": "user", "content": [text("a"), text("b")]},
    ]
    assert turns(Message("system", "only")) == [{"role": "user", "content": [text("(start)")]}]


def test_results_come_before_what_was_said_meanwhile() -> None:
    call = ToolCall(id="c", function=Function("look", "not JSON"))
    said = turns(
        Message("user", "go"),
        Message("assistant", "", tool_calls=[call]),
        Message("user", "hurry"),
        Message("tool", "", tool_call_id="c"),
    )

    assert said[1]["content"] == [{"type": "tool_use", "id": "c", "name": "look", "input": {"arguments": "not JSON"}}]
    assert said[2]["content"] == [{"type": "tool_result", "tool_use_id": "c"}, text("hurry")]


def test_empty_text_is_not_sent_and_a_beginning_ends_in_no_space() -> None:
    parts = [TextPart(""), TextPart("x")]

    assert turns(Message("user", ""), Message("user", parts)) == [{"role": "user", "content": [text("x")]}]
    assert turns(Message("user", "q"), Message("assistant", "It is \n"))[-1]["content"] == [text("It is")]


def test_an_image_from_elsewhere_is_refused() -> None:
    with pytest.raises(BackendError) as caught:
        turns(Message("user", [ImagePart(ImageURL("file:///etc/passwd"))]))

    assert caught.value.kind is FailureKind.BAD_REQUEST


def test_the_cap_that_the_format_wants() -> None:
    assert encode()["max_tokens"] == anthropic.MAX_TOKENS
    assert encode(NEW)["max_tokens"] == 100
    assert encode(NEW, max_tokens=7)["max_tokens"] == 7


def test_tools() -> None:
    body = encode(tools=TOOLS)

    assert body["tools"] == [
        {"name": "look", "description": "Looks.", "input_schema": {"type": "object"}},
        {"name": "walk", "input_schema": {"type": "object", "properties": {}}},
    ]
    assert "tool_choice" not in body
    assert "tools" not in encode(tool_choice="auto")


@pytest.mark.parametrize(
    ("choice", "parallel", "sent"),
    [
        ("auto", None, {"type": "auto"}),
        ("required", None, {"type": "any"}),
        ("none", False, {"type": "none"}),
        (NamedTool(Function("look")), None, {"type": "tool", "name": "look"}),
        (None, False, {"type": "auto", "disable_parallel_tool_use": True}),
        ("required", False, {"type": "any", "disable_parallel_tool_use": True}),
    ],
)
def test_tool_choices(choice: Any, parallel: bool | None, sent: dict[str, Any]) -> None:
    assert encode(tools=TOOLS, tool_choice=choice, parallel_tool_calls=parallel)["tool_choice"] == sent


@pytest.mark.parametrize(
    ("model", "sent"),
    [
        ("claude-haiku-4-5", {"temperature": 1.0, "top_k": 5}),
        ("claude-sonnet-4-6", {"temperature": 1.0, "top_k": 5}),
        ("claude-opus-4-20250514", {"temperature": 1.0, "top_k": 5}),
        ("claude-opus-4-6", {"temperature": 1.0, "top_k": 5}),
        ("claude-opus-4-7", {}),
        ("claude-opus-4-8", {}),
        ("reseller/claude-opus-4-8", {}),
        ("claude-sonnet-5", {}),
        ("qwen", {"temperature": 1.0, "top_k": 5}),
    ],
)
def test_sampling_goes_to_models_that_take_it(model: str, sent: dict[str, Any]) -> None:
    body = encode(HttpSpec(model=model), sampling=Sampling(temperature=1.5, top_p=0.9, top_k=5, min_p=0.1, seed=3))

    assert {key: body[key] for key in ("temperature", "top_p", "top_k", "min_p", "seed") if key in body} == sent
    assert HttpSpec(model=model).model == body["model"]


def test_top_p_goes_where_no_temperature_does() -> None:
    assert encode(sampling=Sampling(top_p=0.9))["top_p"] == 0.9


@pytest.mark.parametrize("model", ["claude-haiku-4-5", "claude-sonnet-4-5", "claude-3-7-sonnet-latest", "qwen"])
def test_a_form_becomes_an_instruction_for_models_without_schemas(model: str) -> None:
    form = ResponseFormat("json_schema", {"name": "x", "schema": SCHEMA, "strict": True})
    body = encode(HttpSpec(model=model), response_format=form, reasoning_effort="high")

    assert "output_config" not in body
    assert body["system"].startswith("Be brief.\n\nAnswer in English.\n\nAnswer with one JSON object")
    assert json.dumps(SCHEMA, separators=(",", ":")) in body["system"]


def test_a_strict_schema_and_an_effort_for_newer_ones() -> None:
    form = ResponseFormat("json_schema", {"name": "x", "schema": SCHEMA, "strict": True})
    body = encode(NEW, response_format=form, reasoning_effort="minimal")

    assert body["output_config"] == {"effort": "low", "format": {"type": "json_schema", "schema": SCHEMA}}
    assert body["system"] == "Be brief.\n\nAnswer in English."
    assert "JSON object" in encode(NEW, response_format=ResponseFormat("json_object"))["system"]
    assert "output_config" not in encode(NEW, reasoning_effort="none", response_format=ResponseFormat("text"))


def test_stops_and_extra() -> None:
    body = encode(stop=["###", " \n"], extra={"anthropic": {"thinking": {"type": "adaptive"}}, "openai": {"x": 1}})

    assert body["stop_sequences"] == ["###"]
    assert body["thinking"] == {"type": "adaptive"}
    assert "x" not in body


def test_headers() -> None:
    assert anthropic.headers("k", HAIKU) == {"anthropic-version": "2023-06-01", "x-api-key": "k"}
    assert anthropic.headers("", SERVER) == {"anthropic-version": "2023-06-01"}


def read(*events: dict[str, Any]) -> tuple[Piece, End]:
    reader = anthropic.reader()
    pieces = [reader.feed(Event(event["type"], json.dumps(event).encode())) for event in events]
    assert reader.done == (bool(events) and events[-1]["type"] == "message_stop")
    return whole(pieces), reader.end()


def stop(reason: str, **delta: Any) -> list[dict[str, Any]]:
    return [{"type": "message_delta", "delta": {"stop_reason": reason, **delta}}, {"type": "message_stop"}]


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("end_turn", FinishReason.STOP),
        ("stop_sequence", FinishReason.STOP),
        ("max_tokens", FinishReason.LENGTH),
        ("model_context_window_exceeded", FinishReason.LENGTH),
        ("tool_use", FinishReason.TOOL_CALLS),
        ("refusal", FinishReason.CONTENT_FILTER),
        ("pause_turn", FinishReason.UNKNOWN),
    ],
)
def test_reasons_to_stop(word: str, reason: FinishReason) -> None:
    end = read(*stop(word))[1]

    assert end.finish_reason is reason
    assert bool(end.refusal) == (word == "refusal")


def test_a_refusal_in_its_own_words() -> None:
    details = {"type": "refusal", "category": "bio", "explanation": None}

    assert read(*stop("refusal", stop_details=details))[1].refusal == "bio"
    assert read(*stop("refusal", stop_details=details | {"explanation": "no"}))[1].refusal == "no"


def test_counts_are_of_the_whole_answer_so_far() -> None:
    start = {"input_tokens": 10, "output_tokens": 1, "cache_read_input_tokens": 4, "cache_creation_input_tokens": None}
    end = read(
        {"type": "message_start", "message": {"usage": start}},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 30}},
        {"type": "message_stop"},
    )[1]

    assert end.usage == Usage(14, 30, 4, 0)


def test_blocks_that_nobody_here_knows_are_passed_over() -> None:
    piece, _ = read(
        {"type": "content_block_start", "index": 0, "content_block": {"type": "redacted_thinking", "data": "x"}},
        {"type": "content_block_stop", "index": 0},
        {
            "type": "content_block_start",
            "index": 1,
            "content_block": {"type": "server_tool_use", "id": "s", "name": "w"},
        },
        {"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": "{}"}},
        {"type": "content_block_stop", "index": 1},
        {"type": "something_new", "index": 1},
        {"type": "content_block_start", "index": 2, "content_block": {"type": "text", "text": "a"}},
        {"type": "content_block_delta", "index": 2, "delta": {"type": "text_delta", "text": "b"}},
        {"type": "content_block_stop", "index": 2},
        *stop("end_turn"),
    )

    assert piece == Piece("ab")


def test_a_call_without_arguments() -> None:
    piece, _ = read(
        {"type": "content_block_start", "index": 0, "content_block": {"type": "tool_use", "id": "t", "name": "go"}},
        {"type": "content_block_stop", "index": 0},
        *stop("tool_use"),
    )

    assert [(c.id, c.function.name, c.function.arguments) for c in piece.tool_calls] == [("t", "go", "{}")]


def test_a_ping_keeps_alive_and_is_no_piece() -> None:
    assert anthropic.reader().feed(Event("ping", b'{"type": "ping"}')) is None


def test_without_a_reason_it_was_cut() -> None:
    with pytest.raises(BackendError) as caught:
        read({"type": "message_start", "message": {}}, {"type": "message_stop"})

    assert caught.value.kind is FailureKind.CUT


@pytest.mark.parametrize("data", [b"{", b"[]", b"{}", b'{"type": 3}', b'{"type": "message_start", "message": 1}'])
def test_what_is_not_of_the_format(data: bytes) -> None:
    with pytest.raises(BackendError) as caught:
        anthropic.reader().feed(Event("", data))

    assert caught.value.kind is FailureKind.MALFORMED


@pytest.mark.parametrize("name", ["error", ""])
def test_errors_inside_the_stream(name: str) -> None:
    with pytest.raises(ErrorInStreamError) as caught:
        anthropic.reader().feed(
            Event(name, b'{"type": "error", "error": {"type": "overloaded_error", "message": "x"}}')
        )

    assert caught.value.said.codes == ("overloaded_error",)
