"""Chats as OpenAI's chat/completions, and their answers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from routerd.backends import openai
from routerd.backends.base import BackendError, End, Piece
from routerd.backends.format import ErrorInStreamError
from routerd.backends.sse import Event
from routerd.config.http import HttpSpec
from routerd.routing.terms import USUAL, Terms
from routerd_client.chat import ChatRequest, FinishReason, ResponseFormat, Sampling, TokenLogprob, TopLogprob
from routerd_client.records import FailureKind

from .chats import CONVERSATION, TOOLS, whole

MAKER = HttpSpec(model="gpt-4o")
OWN = HttpSpec(model="qwen", base_url="http://10.0.0.7:8080/v1", max_tokens=64)
OTHER = HttpSpec(model="mixtral", base_url="https://api.other.test/v1")
DRAWN = Sampling(temperature=0.0, top_p=0.9, top_k=5, min_p=0.1, seed=0, logit_bias={7: -1.0})


def encode(spec: HttpSpec, terms: Terms = USUAL, **fields: Any) -> dict[str, Any]:
    return openai.encode(ChatRequest(**{"messages": CONVERSATION, **fields}), spec, terms)


def test_a_conversation() -> None:
    assert encode(MAKER)["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "developer", "content": "Answer in English."},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What is this?"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk=", "detail": "low"}},
                {"type": "image_url", "image_url": {"url": "https://pictures.test/1.png"}},
            ],
            "name": "ann",
        },
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "call.1", "type": "function", "function": {"name": "look", "arguments": '{"at": 1}'}},
                {"id": "call.2", "type": "function", "function": {"name": "look", "arguments": ""}},
            ],
        },
        {"role": "tool", "content": "a cat", "tool_call_id": "call.1"},
        {"role": "tool", "content": "a dog", "tool_call_id": "call.2"},
        {"role": "user", "content": "Sure?"},
        {"role": "assistant", "content": "Quite."},
        {"role": "user", "content": "And now?"},
    ]


def test_developers_are_known_to_the_maker_alone() -> None:
    assert [m["role"] for m in encode(OTHER)["messages"]][:2] == ["system", "system"]


def test_tools() -> None:
    body = encode(MAKER, tools=TOOLS, tool_choice="required", parallel_tool_calls=False)

    assert body["tools"] == [
        {
            "type": "function",
            "function": {"name": "look", "description": "Looks.", "parameters": {"type": "object"}, "strict": True},
        },
        {"type": "function", "function": {"name": "walk"}},
    ]
    assert (body["tool_choice"], body["parallel_tool_calls"]) == ("required", False)
    assert "tool_choice" not in encode(MAKER, tool_choice="auto")


@pytest.mark.parametrize(
    ("spec", "present", "absent"),
    [
        (MAKER, {"temperature", "top_p", "seed", "logit_bias"}, {"top_k", "max_tokens", "reasoning_effort"}),
        (HttpSpec(model="o3"), {"seed", "reasoning_effort"}, {"temperature", "top_p", "logit_bias", "logprobs"}),
        (HttpSpec(model="gpt-5-mini"), {"reasoning_effort"}, {"temperature"}),
        (HttpSpec(model="o3", base_url="http://10.0.0.7/v1"), {"reasoning_effort", "temperature"}, set()),
        (OWN, {"temperature", "top_k", "min_p", "chat_template_kwargs", "max_tokens"}, {"max_completion_tokens"}),
        (HttpSpec(model="m", base_url="unix:/run/x.sock"), {"top_k", "max_tokens"}, set()),
        (OTHER, {"temperature", "top_p", "reasoning_effort"}, {"top_k", "min_p", "chat_template_kwargs"}),
        (
            HttpSpec(model="gpt-4o", base_url="https://x.openai.azure.com/openai/v1"),
            {"max_completion_tokens"},
            {"top_k", "max_tokens"},
        ),
    ],
)
def test_fields_go_to_those_who_know_them(spec: HttpSpec, present: set[str], absent: set[str]) -> None:
    fields = {
        "sampling": DRAWN,
        "max_tokens": 9,
        "reasoning_effort": "low",
        "template_args": {"a": 1},
        "logprobs": True,
    }
    body = encode(spec, **fields)

    assert present <= set(body)
    assert not absent & set(body)


def test_no_opinion_is_not_sent_and_zero_is() -> None:
    assert set(encode(MAKER)) == {"model", "messages", "stream", "stream_options"}
    assert encode(MAKER, sampling=DRAWN)["temperature"] == 0.0
    assert encode(MAKER, sampling=DRAWN)["seed"] == 0
    assert encode(OWN)["max_tokens"] == 64
    assert encode(OWN, max_tokens=3)["max_tokens"] == 3


def test_formats_logprobs_and_stops() -> None:
    form = ResponseFormat("json_schema", {"name": "x", "schema": {"type": "object"}})
    body = encode(MAKER, response_format=form, logprobs=True, top_logprobs=2, stop=["\n"])

    assert body["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "x", "schema": {"type": "object"}},
    }
    assert (body["logprobs"], body["top_logprobs"], body["stop"]) == (True, 2, ["\n"])
    assert "response_format" not in encode(MAKER, response_format=ResponseFormat("text"))


def test_extra_fields_are_for_their_own_format_and_never_win() -> None:
    body = encode(MAKER, extra={"openai": {"service_tier": "flex", "stream": False}, "anthropic": {"thinking": {}}})

    assert (body["service_tier"], body["stream"]) == ("flex", True)
    assert "thinking" not in body


def test_a_route_names_another_model() -> None:
    assert encode(MAKER, Terms(model="gpt-4o-mini"))["model"] == "gpt-4o-mini"


def test_where_the_key_goes() -> None:
    azure = HttpSpec(model="m", base_url="https://x.openai.azure.com/openai/v1")

    assert openai.headers("k", MAKER) == {"authorization": "Bearer k"}
    assert openai.headers("k", azure) == {"api-key": "k"}
    assert openai.headers("", MAKER) == {}


def read(*chunks: dict[str, Any] | str) -> tuple[Piece, End]:
    """What a stream of chunks brings; a dict is a choice's delta, or a whole chunk where it has ``choices``."""
    reader = openai.reader()
    pieces = []
    for chunk in chunks:
        if isinstance(chunk, dict) and "choices" not in chunk:
            chunk = {"choices": [{"delta": chunk}]}
        data = chunk if isinstance(chunk, str) else json.dumps(chunk)
        pieces.append(reader.feed(Event("", data.encode())))
    return whole(pieces), reader.end()


def finish(reason: str | None = "stop", **delta: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": reason}], "usage": None}


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("stop", FinishReason.STOP),
        ("length", FinishReason.LENGTH),
        ("tool_calls", FinishReason.TOOL_CALLS),
        ("function_call", FinishReason.TOOL_CALLS),
        ("content_filter", FinishReason.CONTENT_FILTER),
        ("because", FinishReason.UNKNOWN),
    ],
)
def test_reasons_to_finish(word: str, reason: FinishReason) -> None:
    assert read({"content": "hi"}, finish(word), "[DONE]")[1].finish_reason is reason


def test_both_names_of_reasoning_and_text_beside_the_finish() -> None:
    piece, end = read({"reasoning_content": "a"}, {"reasoning": "b"}, {"content": "c"}, finish(content="d"))

    assert (piece.reasoning, piece.text, end.finish_reason) == ("ab", "cd", FinishReason.STOP)


def test_reasoning_and_text_as_parts_of_the_content() -> None:
    thought = {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}
    piece, _ = read({"content": [thought, {"type": "text", "text": "hi"}]}, finish())

    assert (piece.text, piece.reasoning) == ("hi", "hm")


def test_calls_are_put_together() -> None:
    piece, _ = read(
        {"tool_calls": [{"index": 0, "id": "a", "function": {"name": "x", "arguments": ""}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"n"'}}]},
        {"tool_calls": [{"index": 1, "id": "b", "function": {"name": "y", "arguments": {"m": 2}}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": ": 1}"}}]},
        finish("tool_calls"),
    )

    calls = [(c.id, c.function.name, c.function.arguments, c.index) for c in piece.tool_calls]
    assert calls == [("a", "x", '{"n": 1}', 0), ("b", "y", '{"m":2}', 1)]


@pytest.mark.parametrize("index", [{}, {"index": 0}, {"index": None}])
def test_calls_whose_servers_do_not_number_them(index: dict[str, Any]) -> None:
    piece, _ = read(
        {"tool_calls": [{**index, "id": name, "function": {"name": name, "arguments": "{}"}} for name in ("x", "y")]},
        finish("stop"),
    )

    assert [(c.id, c.function.name, c.index) for c in piece.tool_calls] == [("x", "x", 0), ("y", "y", 1)]


def test_a_call_without_an_id_is_given_one() -> None:
    piece, _ = read({"tool_calls": [{"index": 0, "function": {"name": "x", "arguments": "{}"}}]}, finish("tool_calls"))

    assert piece.tool_calls[0].id.startswith("call_")


def test_logprobs_and_usage() -> None:
    entry = {"token": "hi", "logprob": -0.5, "bytes": [104, 105], "top_logprobs": [{"token": "ho", "logprob": -1.5}]}
    choice = {"index": 0, "delta": {"content": "hi"}, "logprobs": {"content": [entry, {"id": 3, "logprob": -1}]}}
    usage = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7, "prompt_tokens_details": None}
    piece, end = read({"choices": [choice]}, finish(), {"choices": [], "usage": usage}, "[DONE]")

    assert piece.logprobs == [TokenLogprob("hi", -0.5, [TopLogprob("ho", -1.5)])]
    assert (end.usage.prompt_tokens, end.usage.completion_tokens) == (5, 2)


def test_what_only_keeps_alive_is_no_piece() -> None:
    reader = openai.reader()

    assert reader.feed(Event("", b'{"choices": [{"delta": {"role": "assistant", "content": ""}}]}')) is None
    assert reader.feed(Event("", b'{"choices": [], "prompt_filter_results": []}')) is None
    assert reader.feed(Event("", b'{"choices": [{"delta": {"tool_calls": [{"index": 0, "id": "a"}]}}]}')) == Piece()


@pytest.mark.parametrize(
    "chunks", [[], [{"content": "hi"}], [{"content": "hi"}, "[DONE]"], [finish(None)], [finish("")]]
)
def test_an_answer_that_never_says_why_it_ends_was_cut(chunks: list[Any]) -> None:
    with pytest.raises(BackendError) as caught:
        read(*chunks)

    assert caught.value.kind is FailureKind.CUT


@pytest.mark.parametrize(
    "data", ["nonsense", "[]", '{"choices": 1}', '{"choices": [{"delta": {"content": 5}}]}', "\x00"]
)
def test_what_is_not_of_the_format(data: str) -> None:
    with pytest.raises(BackendError) as caught:
        read(data)

    assert caught.value.kind is FailureKind.MALFORMED


@pytest.mark.parametrize(
    "chunk", [{"choices": [], "error": {"message": "no"}}, {"choices": [], "error": "no"}, finish("error")]
)
def test_errors_inside_the_stream(chunk: dict[str, Any]) -> None:
    with pytest.raises(ErrorInStreamError):
        read(chunk)
