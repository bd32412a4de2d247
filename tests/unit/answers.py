"""Answers for the writers of formats, and what they make of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

from routerd.backends.base import End, Piece
from routerd.backends.format import Reader
from routerd.backends.sse import EventParser
from routerd.gateway.format import Writer
from routerd_client.chat import FinishReason, Function, Message, ToolCall, Usage
from routerd_client.protocol import Delta, Done, Error, ErrorCode, Routed

from .chats import whole

ROUTED = Routed(id=0, attempt=1, request_id="r1", backend="small", model="tiny", endpoint="primary")
LOOK = ToolCall(id="call_1", function=Function("look", '{"at": 1}'))
WALK = ToolCall(id="call_2", function=Function("walk"), index=1)
DELTAS = [
    Delta(id=0, attempt=1, reasoning="a pic"),
    Delta(id=0, attempt=1, reasoning="ture"),
    Delta(id=0, attempt=1, text="A c"),
    Delta(id=0, attempt=1, text="at: \u732b\n"),
    Delta(id=0, attempt=1, tool_calls=[LOOK, WALK]),
]
USAGE = Usage(prompt_tokens=20, completion_tokens=9, cached_tokens=7, reasoning_tokens=3, cache_write_tokens=5)
BROKEN = Error(id=0, code=ErrorCode.INTERRUPTED, message="it broke off", hint="ask again", request_id="r1")

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["type", "text", "content", "role", "source"]), inner, max_size=2)
    ),
)


def done(**fields: Any) -> Done:
    facts = {"id": 0, "attempt": 1, "request_id": "r1", "backend": "small", "model": "tiny", "endpoint": "primary"}
    return Done(**{**facts, "finish_reason": FinishReason.TOOL_CALLS, "usage": USAGE, **fields})


def said(**fields: Any) -> Message:
    return Message(**{"role": "assistant", "content": "A cat", **fields})


def streamed(writer: Writer, deltas: list[Delta], end: Done | Error) -> bytes:
    sent = writer.begin(ROUTED, Usage()) + b"".join(writer.delta(delta) for delta in deltas)
    return sent + (writer.done(end) if isinstance(end, Done) else writer.failed(end))


def events(sent: bytes) -> list[tuple[str, dict[str, Any]]]:
    """Names and data."""
    return [(event.name, json.loads(event.data)) for event in EventParser().feed(sent)]


def heard(reader: Reader, sent: bytes) -> tuple[Piece, End]:
    """What the reader of the same format makes of a stream."""
    piece = whole([reader.feed(event) for event in EventParser().feed(sent)])
    assert reader.done
    return piece, reader.end()


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in inner:
        yield from places(child, (*path, key))


def put(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """``value`` with ``new`` at ``path``."""
    if not path:
        return new
    copy = value.copy()
    copy[path[0]] = put(value[path[0]], path[1:], new)
    return copy
