"""Whole requests as a fuzz sends them: any JSON in any place of a chat, and values that JSON allows but few expect."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st
from msgspec import Struct

PATHS = ("/v1/chat/completions", "/v1/responses", "/v1/messages", "/v1/messages/count_tokens", "lines")
"""The fronts that take JSON: paths of HTTP, and JSON lines on the socket."""


class Raw(Struct, frozen=True):
    """JSON text that Python's own writer would not write."""

    text: str


class Request(Struct, frozen=True):
    """One request: the front it goes to, and its body."""

    front: str
    body: bytes


def written(value: Any) -> str:
    """``value`` as JSON, with each `Raw` as it stands."""
    match value:
        case Raw(text):
            return text
        case dict():
            return "{" + ",".join(f"{json.dumps(str(k))}:{written(v)}" for k, v in value.items()) + "}"
        case list():
            return "[" + ",".join(map(written, value)) + "]"
    return json.dumps(value)


def _deep(levels: int, opens: str, inner: str, closes: str) -> Raw:
    return Raw(opens * levels + inner + closes * levels)


BROKEN = [
    *(Raw(text) for text in ("NaN", "Infinity", "-Infinity", "1e400", "9" * 4500, '"\\ud800"', '"\\udc00x"')),
    *(_deep(n, "[", "", "]") for n in (990, 1100, 100_000)),
    _deep(20_000, '{"items":', "{}", "}"),
]
"""What is no JSON, or cannot be read."""
NUMBERS = [
    *(n for k in (31, 53, 63, 64, 65, 128, 1000) for n in (2**k, -(2**k), 2**k - 1)),
    *(5e-324, 1.7976931348623157e308, -0.0, Raw("1e-400"), Raw("0.1e-323"), 0, 1, -1, 0.5),
]
TEXTS = [Raw('"\\u0000"'), Raw('"\\ud83d\\ude00"'), "", "\0", "<|im_end|>", "a" * 100_000, "one two"]
ODD = [
    *NUMBERS,
    *TEXTS,
    *(_deep(n, "[", "", "]") for n in (100, 127, 129, 300, 900)),
    *(_deep(n, '{"items":', "{}", "}") for n in (100, 125, 200, 480)),
    Raw("{" + ",".join(f'"k{n}":{n}' for n in range(100_000)) + "}"),
    Raw("[" + "1e15," * 100_000 + "1]"),
    *(None, True, [], {}),
]
VALUE = st.recursive(
    st.sampled_from(ODD) | st.text(max_size=20) | st.integers(-5, 5) | st.floats(0, 2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
OBJECT = st.dictionaries(st.sampled_from(["type", "properties", "items", "n", "maximum", "a\0b"]), VALUE, max_size=4)
ARGUMENTS = st.sampled_from(
    [
        *('{"a": "\\ud83d"}', '{"a": 1}', "{", "", "NaN", '{"a": 1e400}', '{"n": ' + "9" * 5000 + "}"),
        *(f'{{"a": {value.text}}}' for value in ODD if isinstance(value, Raw)),
        "[" * 100_000 + "]" * 100_000,
    ]
)
SCALARS = (
    "seed",
    "temperature",
    "top_p",
    "top_k",
    "max_tokens",
    "presence_penalty",
    "repetition_penalty",
    "top_logprobs",
)
SAMPLING = {*SCALARS, "logit_bias"} - {"max_tokens", "top_logprobs"}
OPEN = ("metadata", "trace", "user", "options")
ANYTHING = ("stop", "reasoning_effort", "tool_choice", "messages", "tools", "logit_bias", "n", "stream_options")


@st.composite
def requests(draw: st.DrawFn) -> Request:
    """A chat with odd values in some of its places, at any front that takes JSON."""
    front = draw(st.sampled_from(PATHS))
    fields: dict[str, Any] = draw(st.dictionaries(st.sampled_from(SCALARS), st.sampled_from(NUMBERS), max_size=1))
    chance = draw(st.integers(0, 9))
    if chance < 4:
        fields[draw(st.sampled_from(OPEN))] = draw(OBJECT)
    elif chance == 4:
        fields[draw(st.sampled_from(ANYTHING))] = draw(VALUE)
    elif chance == 5:
        fields["trace"] = draw(st.sampled_from(BROKEN))
    elif chance == 6:
        fields["logit_bias"] = {str(n): 1 for n in draw(st.lists(st.sampled_from(NUMBERS), max_size=2))}
    parts = draw(st.sets(st.sampled_from(["tools", "schema", "template", "history", "text"]), max_size=2))
    text = draw(st.sampled_from(TEXTS)) if "text" in parts else "one two three"
    arguments = draw(ARGUMENTS) if "history" in parts else None
    tools = [draw(OBJECT)] if "tools" in parts else []
    body = _BODIES[front](text, arguments, tools)
    if "schema" in parts:
        format_ = {"type": "json_schema", "json_schema": {"name": "x", "schema": draw(OBJECT)}}
        body["response_format"] = format_
    if "template" in parts:
        body["template_args" if front == "lines" else "chat_template_kwargs"] = draw(OBJECT)
    if front == "lines":
        sampling = {name: fields.pop(name) for name in SAMPLING & fields.keys()}
        chat = {"max_tokens": 4, **body, **fields, "sampling": {"temperature": 0, **sampling}}
        return Request(front, written({"type": "chat", "id": 1, "chat": chat}).encode() + b"\n")
    return Request(
        front, written({"temperature": 0, "max_tokens": 4, "max_output_tokens": 4, **body, **fields}).encode()
    )


def _openai(text: Any, arguments: str | None, tools: list[Any]) -> dict[str, Any]:
    messages: list[Any] = [{"role": "user", "content": text}]
    if arguments is not None:
        call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": arguments}}
        messages += [{"role": "assistant", "content": None, "tool_calls": [call]}]
        messages += [{"role": "tool", "tool_call_id": "c", "content": "done"}]
    found = [{"type": "function", "function": {"name": "f", "parameters": tool}} for tool in tools]
    return {"messages": messages, "tools": found}


def _responses(text: Any, arguments: str | None, tools: list[Any]) -> dict[str, Any]:
    given: list[Any] = [{"role": "user", "content": text}]
    if arguments is not None:
        given += [{"type": "function_call", "call_id": "c", "name": "f", "arguments": arguments}]
        given += [{"type": "function_call_output", "call_id": "c", "output": "done"}]
    return {"input": given, "tools": [{"type": "function", "name": "f", "parameters": tool} for tool in tools]}


def _anthropic(text: Any, arguments: str | None, tools: list[Any]) -> dict[str, Any]:
    messages: list[Any] = [{"role": "user", "content": text}]
    if arguments is not None:
        call = {"type": "tool_use", "id": "c", "name": "f", "input": Raw(arguments or "{}")}
        messages += [{"role": "assistant", "content": [call]}]
        messages += [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c", "content": "done"}]}]
    return {"messages": messages, "tools": [{"name": "f", "input_schema": tool} for tool in tools]}


_BODIES = {
    "/v1/chat/completions": _openai,
    "/v1/responses": _responses,
    "/v1/messages": _anthropic,
    "/v1/messages/count_tokens": _anthropic,
    "lines": _openai,
}

PACKED = st.recursive(
    st.sampled_from(
        [0, -1, 2**63, 2**64 - 1, -(2**63), 1e308, 5e-324, float("nan"), float("inf"), "", "a\0b", None, True]
    )
    | st.binary(max_size=8)
    | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8) | st.integers(0, 9), inner, max_size=3)
    ),
    max_leaves=6,
)
"""What MessagePack has and JSON may not have: bytes, NaN, keys that are numbers."""
