"""Chats as OpenAI's responses, and their answers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from routerd.backends import responses
from routerd.backends.base import BackendError, End, Piece
from routerd.backends.format import ErrorInStreamError
from routerd.backends.sse import Event
from routerd.config.http import HttpSpec
from routerd.routing.terms import USUAL
from routerd_client.chat import (
    ChatRequest,
    FinishReason,
    Function,
    Message,
    NamedTool,
    ResponseFormat,
    Sampling,
    TokenLogprob,
    TopLogprob,
    Usage,
)
from routerd_client.records import FailureKind

from .chats import CONVERSATION, TOOLS, whole

GPT4 = HttpSpec(model="gpt-4o", max_tokens=50)
GPT5 = HttpSpec(model="gpt-5")


def encode(spec: HttpSpec = GPT4, **fields: Any) -> dict[str, Any]:
    return responses.encode(ChatRequest(**{"messages": CONVERSATION, **fields}), spec, USUAL)


def test_a_conversation() -> None:
    body = encode()

    assert body["instructions"] == "Be brief.\n\nAnswer in English."
    assert body["input"] == [
        {
            "role": "user",
            "content": [
                {"type": "input_text", "text": "What is this?"},
                {"type": "input_image", "image_url": "data:image/png;base64,aGk=", "detail": "low"},
                {"type": "input_image", "image_url": "https://pictures.test/1.png", "detail": "auto"},
            ],
        },
        {"type": "function_call", "call_id": "call.1", "name": "look", "arguments": '{"at": 1}'},
        {"type": "function_call", "call_id": "call.2", "name": "look", "arguments": ""},
        {"type": "function_call_output", "call_id": "call.1", "output": "a cat"},
        {"type": "function_call_output", "call_id": "call.2", "output": "a dog"},
        {"role": "user", "content": "Sure?"},
        {"role": "assistant", "content": "Quite."},
        {"role": "user", "content": "And now?"},
    ]
    assert (body["store"], body["stream"], body["max_output_tokens"]) == (False, True, 50)


def test_later_system_messages_keep_their_place() -> None:
    body = encode(messages=[Message("user", "hi"), Message("system", "now in French")])

    assert body["input"][1] == {"role": "system", "content": "now in French"}
    assert "instructions" not in body


def test_tools() -> None:
    body = encode(tools=TOOLS, tool_choice=NamedTool(Function("look")), parallel_tool_calls=False)

    look = {
        "type": "function",
        "name": "look",
        "description": "Looks.",
        "parameters": {"type": "object"},
        "strict": True,
    }
    walk = {"type": "function", "name": "walk", "parameters": {"type": "object", "properties": {}}, "strict": False}
    assert body["tools"] == [look, walk]
    assert body["tool_choice"] == {"type": "function", "name": "look"}
    assert body["parallel_tool_calls"] is False
    assert encode(tools=TOOLS, tool_choice="required")["tool_choice"] == "required"


def test_sampling_goes_to_models_that_take_it() -> None:
    drawn = {
        "sampling": Sampling(temperature=0.0, top_p=0.5, seed=1, top_k=3),
        "reasoning_effort": "low",
        "stop": ["x"],
    }

    assert encode(**drawn)["temperature"] == 0.0
    assert not {"temperature", "top_p"} & set(encode(GPT5, **drawn))
    assert not {"seed", "top_k", "stop"} & set(encode(**drawn))
    assert encode(GPT5, **drawn)["reasoning"] == {"effort": "low"}
    assert "reasoning" not in encode(**drawn)


def test_forms_logprobs_and_extra() -> None:
    form = ResponseFormat("json_schema", {"name": "x", "schema": {"type": "object"}})
    body = encode(
        response_format=form, logprobs=True, top_logprobs=2, extra={"responses": {"store": True, "user": "me"}}
    )

    assert body["text"] == {"format": {"type": "json_schema", "name": "x", "schema": {"type": "object"}}}
    assert (body["include"], body["top_logprobs"]) == (["message.output_text.logprobs"], 2)
    assert (body["user"], body["store"]) == ("me", False)
    assert encode(response_format=ResponseFormat("json_object"))["text"] == {"format": {"type": "json_object"}}


def read(*events: dict[str, Any]) -> tuple[Piece, End]:
    reader = responses.reader()
    pieces = [reader.feed(Event(event["type"], json.dumps(event).encode())) for event in events]
    return whole(pieces), reader.end()


def done(**response: Any) -> dict[str, Any]:
    return {"type": "response.completed", "response": {"status": "completed", "output": [], **response}}


def test_an_answer() -> None:
    logprob = {"token": "hi", "logprob": -0.5, "top_logprobs": [{"token": "ho", "logprob": -2.0}]}
    usage = {
        "input_tokens": 5,
        "output_tokens": 3,
        "input_tokens_details": {"cached_tokens": 2},
        "output_tokens_details": {"reasoning_tokens": 1},
    }
    call = {"type": "function_call", "id": "fc_1", "call_id": "c", "name": "look", "arguments": "{}"}
    piece, end = read(
        {"type": "response.created", "response": {"status": "in_progress", "output": []}},
        {"type": "response.reasoning_summary_text.delta", "delta": "hm"},
        {"type": "response.output_text.delta", "delta": "hi", "logprobs": [logprob]},
        {"type": "response.output_item.done", "item": call},
        done(usage=usage, output=[{"type": "message", "content": [{"type": "output_text", "text": "hi"}]}]),
    )

    assert (piece.text, piece.reasoning) == ("hi", "hm")
    assert piece.logprobs == [TokenLogprob("hi", -0.5, [TopLogprob("ho", -2.0)])]
    assert [(c.id, c.function.name) for c in piece.tool_calls] == [("c", "look")]
    assert end == End(FinishReason.TOOL_CALLS, Usage(5, 3, 2, 1))


def test_a_server_that_tells_all_at_the_end() -> None:
    output = [
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}]},
        {"type": "message", "content": [{"type": "refusal", "refusal": "no"}, {"type": "output_text", "text": "hi"}]},
        {"type": "function_call", "call_id": "c", "name": "look", "arguments": "{}"},
    ]
    piece, end = read(done(output=output))

    assert (piece.text, piece.reasoning, len(piece.tool_calls)) == ("hi", "hm", 1)
    assert (end.finish_reason, end.refusal) == (FinishReason.TOOL_CALLS, "no")


@pytest.mark.parametrize(
    ("why", "reason"),
    [
        ("max_output_tokens", FinishReason.LENGTH),
        ("content_filter", FinishReason.CONTENT_FILTER),
        ("steered", FinishReason.UNKNOWN),
    ],
)
def test_reasons_to_end_early(why: str, reason: FinishReason) -> None:
    response = {"status": "incomplete", "incomplete_details": {"reason": why}}

    assert read({"type": "response.incomplete", "response": response})[1].finish_reason is reason


@pytest.mark.parametrize(
    "event",
    [
        {"type": "response.failed", "response": {"error": {"code": "rate_limit_exceeded", "message": "slow"}}},
        {"type": "error", "code": "rate_limit_exceeded", "message": "slow"},
        {"type": "error", "error": {"code": "rate_limit_exceeded", "message": "slow"}},
    ],
)
def test_errors_inside_the_stream(event: dict[str, Any]) -> None:
    with pytest.raises(ErrorInStreamError) as caught:
        read(event)

    assert (caught.value.said.codes[0], caught.value.said.message) == ("rate_limit_exceeded", "slow")


def test_without_an_end_it_was_cut() -> None:
    with pytest.raises(BackendError) as caught:
        read({"type": "response.output_text.delta", "delta": "hi"})

    assert caught.value.kind is FailureKind.CUT


@pytest.mark.parametrize("data", [b"{", b"[]", b"{}", b'{"type": "response.completed", "response": 3}'])
def test_what_is_not_of_the_format(data: bytes) -> None:
    with pytest.raises(BackendError) as caught:
        responses.reader().feed(Event("", data))

    assert caught.value.kind is FailureKind.MALFORMED
