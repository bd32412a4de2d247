"""OpenAI's responses: requests read, answers written."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routerd.backends import responses as api
from routerd.gateway import responses
from routerd.gateway.format import Asked, BadRequestError
from routerd_client.chat import (
    ChatRequest,
    FinishReason,
    Function,
    FunctionSpec,
    ImagePart,
    ImageURL,
    Message,
    NamedTool,
    ResponseFormat,
    TextPart,
    TokenLogprob,
    Tool,
    ToolCall,
)
from routerd_client.protocol import Delta

from .answers import BROKEN, DELTAS, JSON, LOOK, USAGE, done, events, heard, places, put, said, streamed

LOOKS: dict[str, Any] = {"type": "function", "name": "look", "parameters": {"type": "object"}, "strict": False}
GRAMMAR = {"type": "grammar", "syntax": "lark", "definition": "start: /a+/"}
PATCHES: dict[str, Any] = {"type": "custom", "name": "patch", "description": "Patches.", "format": GRAMMAR}
SPACE: dict[str, Any] = {"type": "namespace", "name": "crm", "description": "Customers.", "tools": [LOOKS]}
AGENTS: dict[str, Any] = {
    "model": "primary",
    "instructions": "You are an agent.",
    "input": [
        {"role": "developer", "content": [{"type": "input_text", "text": "Be brief."}]},
        {
            "type": "message",
            "role": "user",
            "content": [
                {"type": "input_text", "text": "What is this?"},
                {"type": "input_image", "image_url": "data:image/png;base64,aGk=", "detail": "low"},
            ],
        },
        {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "a picture"}]},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Let me look."}]},
        {"type": "function_call", "call_id": "c1", "name": "look", "arguments": '{"at": 1}'},
        {"type": "function_call", "call_id": "c2", "name": "look", "namespace": "crm", "arguments": "{}"},
        {"type": "custom_tool_call", "call_id": "c3", "name": "patch", "input": "aaa"},
        {"type": "function_call_output", "call_id": "c1", "output": "a cat"},
        {
            "type": "function_call_output",
            "call_id": "c2",
            "output": [{"type": "input_image", "image_url": "https://pictures.test/1.png"}],
        },
        {"type": "custom_tool_call_output", "call_id": "c3", "output": {"exit": 0}},
        {"type": "web_search_call", "id": "ws_1", "status": "completed"},
        {"role": "user", "content": "And now?"},
    ],
    "tools": [LOOKS, PATCHES, SPACE, {"type": "web_search"}],
    "tool_choice": "auto",
    "parallel_tool_calls": False,
    "reasoning": {"effort": "high", "summary": "auto"},
    "store": False,
    "stream": True,
    "include": ["reasoning.encrypted_content"],
    "prompt_cache_key": "k1",
    "service_tier": "flex",
}


def read(**fields: Any) -> Asked:
    return responses.read(json.dumps({"model": "primary", "input": "Hello?", **fields}).encode(), {})


def chat(**fields: Any) -> ChatRequest:
    return read(**fields).chat


def refused(**fields: Any) -> BadRequestError:
    with pytest.raises(BadRequestError) as caught:
        read(**fields)
    return caught.value


def test_what_an_agent_sends() -> None:
    asked = read(**AGENTS)

    assert asked.chat.messages == [
        Message("system", "You are an agent.\n\nBe brief."),
        Message("user", [TextPart("What is this?"), ImagePart(ImageURL("data:image/png;base64,aGk=", "low"))]),
        Message(
            "assistant",
            "Let me look.",
            reasoning="a picture",
            tool_calls=[
                ToolCall(id="c1", function=Function("look", '{"at": 1}')),
                ToolCall(id="c2", function=Function("crm__look", "{}"), index=1),
                ToolCall(id="c3", function=Function("patch", '{"input":"aaa"}'), index=2),
            ],
        ),
        Message("tool", "a cat", tool_call_id="c1"),
        Message("tool", "(see the image)", tool_call_id="c2"),
        Message("tool", '{"exit":0}', tool_call_id="c3"),
        Message("user", [ImagePart(ImageURL("https://pictures.test/1.png")), TextPart("And now?")]),
    ]
    assert asked.left_out == ["an item of type web_search_call", "the tool web_search"]
    assert asked.chat.tools[0] == Tool(FunctionSpec("look", "", {"type": "object"}, strict=False))
    assert [tool.function.name for tool in asked.chat.tools] == ["look", "patch", "crm__look"]
    assert "start: /a+/" in asked.chat.tools[1].function.description
    assert (asked.chat.tool_choice, asked.chat.parallel_tool_calls) == ("auto", False)
    assert (asked.chat.reasoning_effort, asked.chat.session, asked.chat.stream) == ("high", "k1", True)
    assert read(input="Hello?", metadata={"user_id": "u1"}).chat.session == "u1"
    assert asked.chat.extra == {"responses": {"prompt_cache_key": "k1", "service_tier": "flex"}}


@pytest.mark.parametrize(
    ("choice", "found"),
    [
        ("required", "required"),
        ({"type": "function", "name": "look"}, NamedTool(Function("look"))),
        ({"type": "custom", "name": "patch"}, NamedTool(Function("patch"))),
        ({"type": "function", "namespace": "crm", "name": "look"}, NamedTool(Function("crm__look"))),
    ],
)
def test_which_tool(choice: object, found: object) -> None:
    assert chat(tools=[LOOKS, PATCHES, SPACE], tool_choice=choice).tool_choice == found


def test_only_the_allowed_tools_are_offered() -> None:
    allowed = {"type": "allowed_tools", "mode": "required", "tools": [{"type": "custom", "name": "patch"}]}
    found = chat(tools=[LOOKS, PATCHES], tool_choice=allowed)

    assert [tool.function.name for tool in found.tools] == ["patch"]
    assert found.tool_choice == "required"


def test_text_in_a_form() -> None:
    form = {"type": "json_schema", "name": "n", "schema": {"type": "object"}, "strict": True}

    assert chat(text={"format": form}).response_format == ResponseFormat(
        "json_schema", {"name": "n", "schema": {"type": "object"}, "strict": True}
    )
    assert chat(text={"format": {"type": "json_object"}}).response_format == ResponseFormat("json_object")
    assert chat(text={"verbosity": "low"}).response_format is None


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"prompt": {"id": "p"}}, "prompt"),
        ({"background": True}, "background"),
        ({"input": []}, "input"),
        ({"input": [{"role": "robot", "content": "x"}]}, "input[0].role"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "input[0]"),
        ({"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "f"}]}]}, "input[0].content[0]"),
        ({"tools": [{"type": "function"}]}, "tools[0].name"),
        ({"tools": [{"type": "web_search"}], "tool_choice": "required"}, "tool_choice"),
        ({"tools": [{"type": "web_search"}], "tool_choice": {"type": "web_search"}}, "tool_choice"),
        ({"text": {"format": {"type": "json_schema", "name": "n"}}}, "text.format.schema"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
    ],
)
def test_what_is_wrong_and_where(fields: dict[str, Any], place: str) -> None:
    error = refused(**fields)

    assert error.param == place
    assert error.message.startswith(place)


@given(data=st.data())
def test_one_thing_wrong_in_a_good_request(data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(list(places(AGENTS))[1:]))
    body = json.dumps(put(AGENTS, path, data.draw(JSON)))
    with suppress(BadRequestError):
        responses.read(body.encode(), {})


def test_a_streamed_answer_as_its_own_reader_hears_it() -> None:
    piece, end = heard(api.reader(), streamed(read(tools=[LOOKS]).writer, DELTAS, done()))

    assert (piece.text, piece.reasoning) == ("A cat: \u732b\n", "a picture")
    assert [(call.id, call.function.name, call.function.arguments) for call in piece.tool_calls] == [
        ("call_1", "look", '{"at": 1}'),
        ("call_2", "walk", "{}"),
    ]
    assert end.finish_reason is FinishReason.TOOL_CALLS
    assert (end.usage.prompt_tokens, end.usage.cached_tokens) == (USAGE.prompt_tokens, USAGE.cached_tokens)
    assert (end.usage.completion_tokens, end.usage.reasoning_tokens) == (9, 3)


def test_the_order_of_events() -> None:
    found = events(streamed(read().writer, DELTAS, done()))

    assert [name.removeprefix("response.") for name, _ in found] == [
        "created",
        "in_progress",
        "output_item.added",
        "reasoning_summary_part.added",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.done",
        "reasoning_summary_part.done",
        "output_item.done",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        *[
            "output_item.added",
            "function_call_arguments.delta",
            "function_call_arguments.done",
            "output_item.done",
        ]
        * 2,
        "completed",
    ]
    assert [data["sequence_number"] for _, data in found] == list(range(len(found)))
    assert all(name == data["type"] for name, data in found)
    items = [data["item"] for name, data in found if name == "response.output_item.done"]
    assert found[-1][1]["response"]["output"] == items
    assert found[-1][1]["response"]["usage"]["output_tokens_details"] == {"reasoning_tokens": 3}


def test_a_custom_tool_gets_its_text() -> None:
    call = ToolCall(id="c", function=Function("patch", '{"input": "aaa"}'))
    found = dict(events(streamed(read(tools=[PATCHES]).writer, [Delta(id=0, attempt=1, tool_calls=[call])], done())))

    assert found["response.custom_tool_call_input.done"]["input"] == "aaa"
    item = found["response.output_item.done"]["item"]
    assert (item["type"], item["name"], item["input"], item["call_id"]) == ("custom_tool_call", "patch", "aaa", "c")


@pytest.mark.parametrize("arguments", ["aaa", '{"text": "aaa"}', "[1]"])
def test_a_custom_tool_called_with_no_such_object_gets_all_of_it(arguments: str) -> None:
    call = ToolCall(id="c", function=Function("patch", arguments))
    answer = json.loads(read(tools=[PATCHES]).writer.whole(done(message=said(tool_calls=[call]))))

    assert answer["output"][-1]["input"] == arguments


def test_a_tool_in_a_namespace_is_told_by_its_own_name() -> None:
    call = ToolCall(id="c", function=Function("crm__look", "{}"))
    answer = json.loads(read(tools=[SPACE]).writer.whole(done(message=said(tool_calls=[call]))))

    assert (answer["output"][-1]["namespace"], answer["output"][-1]["name"]) == ("crm", "look")


def test_a_whole_answer() -> None:
    message = said(reasoning="hm", tool_calls=[LOOK])
    logprobs = [TokenLogprob("A", -0.5)]
    answer = json.loads(read().writer.whole(done(message=message, logprobs=logprobs)))

    assert [item["type"] for item in answer["output"]] == ["reasoning", "message", "function_call"]
    assert answer["output"][1]["content"][0]["text"] == "A cat"
    assert answer["output"][1]["content"][0]["logprobs"][0]["logprob"] == -0.5
    assert (answer["status"], answer["error"], answer["model"]) == ("completed", None, "primary")
    assert answer["usage"]["input_tokens_details"] == {"cached_tokens": 7, "cache_write_tokens": 5}
    assert answer["routerd"]["backend"] == "small"


def test_a_refusal() -> None:
    answer = json.loads(read().writer.whole(done(message=said(content=""), refusal="No.")))

    assert answer["output"][0]["content"] == [{"type": "refusal", "refusal": "No."}]


@pytest.mark.parametrize(
    ("reason", "word"),
    [(FinishReason.LENGTH, "max_output_tokens"), (FinishReason.CONTENT_FILTER, "content_filter")],
)
def test_an_answer_that_is_incomplete(reason: FinishReason, word: str) -> None:
    end = done(message=said(), finish_reason=reason)
    name, last = events(streamed(read().writer, DELTAS[2:3], end))[-1]

    assert name == "response.incomplete"
    for answer in (last["response"], json.loads(read().writer.whole(end))):
        assert (answer["status"], answer["incomplete_details"]) == ("incomplete", {"reason": word})
        assert answer["output"][0]["status"] == "incomplete"


def test_an_answer_that_breaks_off_never_ends_well() -> None:
    found = events(streamed(read().writer, DELTAS[2:3], BROKEN))

    assert found[-1][0] == "response.failed"
    assert found[-1][1]["response"]["error"] == {"code": "server_error", "message": "it broke off (ask again)"}
    assert "response.completed" not in dict(found)
