"""Expectations of OpenAI's API in the test suites of llama.cpp, mlx-lm and vLLM, asked of an owned model.

docs/http.md says which of their expectations are met, and which are not, and why.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import openai
import pytest

from tests.support.daemon import Standalone, standalone_daemon
from tests.support.tiny_model import make_tiny_model

from .sdks import Door

CHAT, TEXT, RESPONSES = "/v1/chat/completions", "/v1/completions", "/v1/responses"
BOOK: Any = [{"role": "system", "content": "Book"}, {"role": "user", "content": "Which book is best?"}]


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standalone]:
    """One for all; its model has learned nothing, and goes on until it is stopped."""
    folder = tmp_path_factory.mktemp("peers")
    model = make_tiny_model(folder / "tiny")
    text = f"backends: {{small: {{mlx: {{model: {model}}}}}}}\nendpoints: {{primary: {{fallback: [small]}}}}\n"
    with standalone_daemon(folder, f"{text}default: primary\n") as running:
        yield running


@asynccontextmanager
async def plain(daemon: Standalone) -> AsyncIterator[httpx2.AsyncClient]:
    async with Door("http://localhost", "none", str(daemon.socket)).plain() as http:
        yield http


@asynccontextmanager
async def sdk(daemon: Standalone) -> AsyncIterator[openai.AsyncOpenAI]:
    async with Door("http://localhost", "none", str(daemon.socket)).openai() as client:
        yield client


async def events(http: httpx2.AsyncClient, path: str, body: dict[str, Any]) -> list[dict[str, Any]]:
    """The data of a streamed answer, without its end mark."""
    async with http.stream("POST", path, json={**body, "stream": True}) as answer:
        assert answer.status_code == 200
        lines = [line.removeprefix("data: ") async for line in answer.aiter_lines() if line.startswith("data: ")]
    return [json.loads(line) for line in lines if line != "[DONE]"]


async def test_a_chat_is_counted_and_ends_by_its_length(daemon: Standalone) -> None:
    """llama.cpp's test_chat_completion, mlx-lm's test_handle_chat_completions, vLLM's test_single_chat_session."""
    async with plain(daemon) as http:
        for content in ("Which book?", [{"type": "text", "text": "Which"}, {"type": "text", "text": "book?"}]):
            messages = [{"role": "system", "content": content}, {"role": "user", "content": content}]
            for cap in ("max_tokens", "max_completion_tokens"):
                asked = {"messages": messages, cap: 5, "temperature": 0, "top_p": 0.85, "repetition_penalty": 1.2}
                body = (await http.post(CHAT, json=asked)).json()
                assert "cmpl" in body["id"]
                (choice,) = body["choices"]
                assert (choice["index"], choice["message"]["role"], choice["finish_reason"]) == (
                    0,
                    "assistant",
                    "length",
                )
                usage = body["usage"]
                assert (usage["completion_tokens"], usage["prompt_tokens"] > 0) == (5, True)
                assert usage["total_tokens"] == usage["prompt_tokens"] + 5


async def test_a_stream_says_the_same_in_pieces(daemon: Standalone) -> None:
    """llama.cpp's test_chat_completion_stream, vLLM's test_chat_streaming and test_chat_completion_stream_options."""
    asked = {"model": "primary", "messages": BOOK, "max_tokens": 8, "temperature": 0}
    async with plain(daemon) as http:
        whole = (await http.post(CHAT, json=asked)).json()["choices"][0]["message"]["content"]
        chunks = await events(http, CHAT, {**asked, "stream_options": {"include_usage": True}})
        *said, usage = chunks
        assert {chunk["id"] for chunk in chunks} == {chunks[0]["id"]}
        assert {chunk["model"] for chunk in chunks} == {"primary"}
        deltas = [chunk["choices"][0]["delta"] for chunk in said]
        assert [index for index, delta in enumerate(deltas) if "role" in delta] == [0]
        assert deltas[-1] == {}
        assert "".join(delta.get("content", "") for delta in deltas) == whole
        finished = [chunk["choices"][0]["finish_reason"] for chunk in said]
        assert finished == [None] * (len(said) - 1) + ["length"]
        assert (usage["choices"], usage["usage"]["completion_tokens"]) == ([], 8)
        assert not any("usage" in chunk for chunk in said)
        assert not any("usage" in chunk for chunk in await events(http, CHAT, asked))


@pytest.mark.parametrize("top", [0, 5])
async def test_log_probabilities_spell_the_answer(daemon: Standalone, top: int) -> None:
    """llama.cpp's test_logprobs, test_logprobs_stream, vLLM's test_zero_logprobs_chat, test_some_logprobs_chat."""
    asked: Any = {"model": "primary", "messages": BOOK, "max_tokens": 5, "temperature": 0}
    async with sdk(daemon) as client:
        bare = await client.chat.completions.create(**asked)
        assert bare.choices[0].logprobs is None
        asked |= {"logprobs": True, "top_logprobs": top}
        answer = await client.chat.completions.create(**asked)
        assert answer.choices[0].logprobs
        content = answer.choices[0].logprobs.content or []
        assert len(content) == 5
        assert all(token.logprob <= 0 and token.bytes and len(token.top_logprobs) == top for token in content)
        streamed = [chunk async for chunk in await client.chat.completions.create(**asked, stream=True)]
        pieces = [chunk.choices[0].logprobs for chunk in streamed]
        found = [token.token for piece in pieces if piece for token in piece.content or []]
        assert found == [token.token for token in content]


async def test_more_log_probabilities_than_there_can_be_are_refused(daemon: Standalone) -> None:
    """vLLM's test_too_many_chat_logprobs and test_too_many_completion_logprobs."""
    async with sdk(daemon) as client:
        for stream in (False, True):
            with pytest.raises(openai.BadRequestError):
                await client.chat.completions.create(
                    model="primary", messages=BOOK, logprobs=True, top_logprobs=21, stream=stream
                )
            with pytest.raises(openai.BadRequestError):
                await client.completions.create(model="primary", prompt="x", logprobs=21, stream=stream)
        after = await client.chat.completions.create(model="primary", messages=BOOK, max_tokens=2)
        assert after.choices[0].message.content is not None


@pytest.mark.parametrize(
    "messages",
    [
        None,
        "text",
        [],
        [123],
        [{}],
        [{"role": 123}],
        [{"role": "system", "content": 123}],
        [{"role": "system", "content": "x"}, {}],
        [{"content": "x"}],
    ],
)
async def test_messages_that_are_none_are_refused(daemon: Standalone, messages: object) -> None:
    """llama.cpp's test_invalid_chat_completion_req."""
    async with plain(daemon) as http:
        answer = await http.post(CHAT, json={"messages": messages})
        assert (answer.status_code, "error" in answer.json()) == (400, True)


@pytest.mark.parametrize("body", [b"no json{{", b'["a"]', b"42", b"null", b'"x"'])
@pytest.mark.parametrize("path", [CHAT, TEXT, RESPONSES])
async def test_a_body_that_is_no_object_is_refused(daemon: Standalone, path: str, body: bytes) -> None:
    """vLLM's test_non_object_body_validation."""
    async with plain(daemon) as http:
        answer = await http.post(path, content=body)
        assert (answer.status_code, "error" in answer.json()) == (400, True)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_prompt_beyond_the_context_is_refused(daemon: Standalone, *, stream: bool) -> None:
    """llama.cpp's test_context_size_exceeded and test_context_size_exceeded_stream."""
    async with plain(daemon) as http:
        answer = await http.post(CHAT, json={"messages": BOOK * 400, "stream": stream})
        error = answer.json()["error"]
        assert (answer.status_code, error["code"]) == (400, "context_length_exceeded")
        assert re.search(r"\d{5} tokens do not fit its context of 2048", error["message"])


async def test_a_text_is_gone_on_with_whole_and_streamed(daemon: Standalone) -> None:
    """mlx-lm's test_handle_completions, vLLM's test_single_completion and test_completion_streaming."""
    asked = {"prompt": "Once upon a time", "max_tokens": 5, "temperature": 0, "seed": 999, "stop": "no such end"}
    async with plain(daemon) as http:
        first, second = [(await http.post(TEXT, json=asked)).json() for _ in range(2)]
        (choice,) = first["choices"]
        assert (choice["text"], choice["finish_reason"]) == (second["choices"][0]["text"], "length")
        assert first["usage"]["completion_tokens"] == 5
        chunks = await events(http, TEXT, asked)
        assert "".join(chunk["choices"][0]["text"] for chunk in chunks) == choice["text"]
        assert [chunk["choices"][0]["finish_reason"] for chunk in chunks if chunk["choices"][0]["finish_reason"]] == [
            "length"
        ]
        scored = (await http.post(TEXT, json={**asked, "logprobs": 2})).json()["choices"][0]["logprobs"]
        assert [len(top) for top in scored["top_logprobs"]] == [2] * 5


async def test_tools_without_content_and_fields_of_other_servers_do_no_harm(daemon: Standalone) -> None:
    """mlx-lm's test_handle_chat_completions_with_null_tool_content, vLLM's test_extra_fields_allowed."""
    call = {"type": "function", "id": "123", "function": {"name": "add", "arguments": '{"a": 2}'}}
    messages = [
        {"role": "user", "content": "2 and 3?", "extra_field": "0"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": "5", "tool_call_id": "123"},
    ]
    async with plain(daemon) as http:
        answer = await http.post(CHAT, json={"messages": messages, "max_tokens": 2, "timings_per_token": True})
        assert answer.status_code == 200


async def test_responses_are_whole_and_streamed_under_one_id(daemon: Standalone) -> None:
    """llama.cpp's test_responses_with_openai_library and test_responses_stream_with_openai_library."""
    async with sdk(daemon) as client:
        whole = await client.responses.create(model="primary", input=BOOK, max_output_tokens=8, temperature=0)
        assert whole.id.startswith("resp_")
        assert (whole.output[0].id or "").startswith("msg_")
        stream = await client.responses.create(
            model="primary", input=BOOK, max_output_tokens=8, temperature=0, stream=True
        )
        found = [event async for event in stream]
    assert [event.type for event in found[:2]] == ["response.created", "response.in_progress"]
    items = {event.item_id for event in found if "item_id" in type(event).model_fields}
    assert len(items) == 1
    assert items.pop().startswith("msg_")
    said = "".join(event.delta for event in found if event.type == "response.output_text.delta")
    assert said == whole.output_text
    last = found[-1]
    assert last.type == "response.incomplete"
    assert (last.response.output_text, last.response.id) == (said, found[0].response.id)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (CHAT, {"messages": BOOK, "response_format": {"type": "sound"}}),
        (RESPONSES, {"input": "x", "text": {"format": {"type": "json_schema", "name": "x"}}}),
    ],
)
async def test_a_format_that_there_is_not_is_refused(daemon: Standalone, path: str, body: dict[str, Any]) -> None:
    """llama.cpp's test_completion_with_response_format and test_responses_with_text_format."""
    async with plain(daemon) as http:
        assert (await http.post(path, json=body)).status_code == 400


async def test_models_are_listed(daemon: Standalone) -> None:
    """llama.cpp's test_server_models, mlx-lm's test_handle_models."""
    async with plain(daemon) as http:
        listed = (await http.get("/v1/models")).json()
        assert listed["object"] == "list"
        assert {"primary", "small", "routed"} <= {model["id"] for model in listed["data"]}
        assert all(model["object"] == "model" and "created" in model for model in listed["data"])
        assert (await http.get("/health")).status_code == 200


@pytest.mark.parametrize(
    ("path", "fields", "param"),
    [
        (CHAT, {"messages": BOOK, "n": 2}, "n"),
        (CHAT, {"messages": [{"role": "my-own", "content": "x"}]}, "messages[0].role"),
        (TEXT, {"prompt": [0, 0, 0]}, "prompt"),
        (TEXT, {"prompt": ["a", "b"]}, "prompt"),
        (TEXT, {"prompt": "a", "echo": True}, "echo"),
    ],
)
async def test_what_they_have_and_routerd_has_not_is_refused_by_name(
    daemon: Standalone, path: str, fields: dict[str, Any], param: str
) -> None:
    """As docs/http.md says: never another answer than the one that was asked for."""
    async with plain(daemon) as http:
        answer = await http.post(path, json=fields)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
