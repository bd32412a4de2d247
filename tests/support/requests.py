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


ODD = [
    *(Raw(text) for text in ("NaN", "Infinity", "-Infinity", "1e400", "1e-400", "-0.0", "0.1e-323", "9" * 4500)),
    *(Raw(f'"{text}"') for text in ("\\ud800", "\\udc00x", "\\u0000", "\\ud83d\\ude00", "a" * 100_000)),
    *(n for k in (31, 53, 63, 64, 65, 128, 1000) for n in (2**k, -(2**k), 2**k - 1)),
    *(_deep(n, "[", "", "]") for n in (100, 127, 129, 300, 900, 990, 1100, 100_000)),
    *(_deep(n, '{"items":', "{}", "}") for n in (100, 125, 200, 480, 950, 20_000)),
    Raw("{" + ",".join(f'"k{n}":{n}' for n in range(100_000)) + "}"),
    Raw("[" + "1e15," * 100_000 + "1]"),
    *(5e-324, 1.7976931348623157e308, "", "\0", "<|im_end|>", None, True, [], {}),
]
VALUE = st.recursive(
    st.sampled_from(ODD) | st.text(max_size=20) | st.integers(-5, 5) | st.floats(0, 2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
OBJECT = st.dictionaries(st.sampled_from(["type", "properties", "items", "n", "maximum", "a\0b"]), VALUE, max_size=4)
TEXT = st.sampled_from([value for value in ODD if isinstance(value, str)] + [r for r in ODD if isinstance(r, Raw)])
ARGUMENTS = st.sampled_from([r.text for r in ODD if isinstance(r, Raw)] + ['{"a": "\\ud83d"}', '{"a": 1}', "{", ""])
SCALARS = ("seed", "temperature", "top_p", "top_k", "max_tokens", "max_completion_tokens", "presence_penalty", "n")
ANYTHING = ("logit_bias", "stop", "metadata", "trace", "user", "reasoning_effort", "tool_choice", "messages", "tools")


@st.composite
def requests(draw: st.DrawFn) -> Request:
    """A chat with odd values in some of its places, at any front that takes JSON."""
    front = draw(st.sampled_from(PATHS))
    fields: dict[str, Any] = draw(st.dictionaries(st.sampled_from(SCALARS), VALUE, max_size=2))
    fields |= draw(st.dictionaries(st.sampled_from(ANYTHING), VALUE, max_size=1))
    parts = draw(st.sets(st.sampled_from(["tools", "schema", "template", "history", "text"]), max_size=2))
    text = draw(TEXT | VALUE) if "text" in parts else "one two three"
    arguments = draw(ARGUMENTS) if "history" in parts else None
    tools = [draw(OBJECT)] if "tools" in parts else []
    body = _BODIES[front](text, arguments, tools)
    if "schema" in parts:
        format_ = {"type": "json_schema", "json_schema": {"name": "x", "schema": draw(OBJECT)}}
        body["response_format"] = format_
    if "template" in parts:
        body["template_args" if front == "lines" else "chat_template_kwargs"] = draw(OBJECT)
    if front == "lines":
        sampling = {name: fields.pop(name) for name in ("seed", "temperature", "top_p", "top_k") if name in fields}
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
