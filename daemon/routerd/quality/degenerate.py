"""Whether an answer is worth nothing, though nobody refused: empty, looping, not the JSON that was asked for."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import msgspec
from msgspec import Struct

from routerd_client.chat import FinishReason, FunctionSpec, ResponseFormat, Tool, ToolCall
from routerd_client.records import FailureKind

from .loops import EMPTY_TOKENS, loop, run
from .schema import Budget, violation


class Ask(Struct, frozen=True, kw_only=True):
    """What an answer is measured by. The defaults never find fault with a legitimate answer, however short.

    ``prompt``: the newest user message. ``min_chars``: an answer shorter than this is none; 0 lets "Yes." pass.
    ``complete``: an answer that was cut by the token limit is none. ``must_call``: so is one that calls no tool.
    """

    prompt: str = ""
    response_format: ResponseFormat | None = None
    tools: Sequence[Tool] = ()
    min_chars: int = 0
    complete: bool = False
    must_call: bool = False


NOTHING_ASKED = Ask()


Fault = Literal[
    "content_filter",
    "refusal",
    "hedged",
    "broken_call",
    "empty",
    "degenerate",
    "short",
    "invalid_json",
    "length",
    "weak",
]
"""What is wrong with an answer. ``broken_call``: a tool call that cannot be read; ``degenerate``: a loop, or a call
that does not fit its tool; ``weak``: a cascade's judge says so."""

_KINDS: dict[Fault, FailureKind] = {
    "content_filter": FailureKind.CONTENT_FILTERED,
    "refusal": FailureKind.REFUSAL,
    "hedged": FailureKind.REFUSAL,
    "empty": FailureKind.EMPTY,
}


class Finding(Struct, frozen=True):
    """Why an answer counts as failed. ``message`` is for people; ``confidence`` is 1 except for judgements."""

    fault: Fault
    message: str
    confidence: float = 1.0

    @property
    def kind(self) -> FailureKind:
        return _KINDS.get(self.fault, FailureKind.DEGENERATE)


LARGEST = 4 * 2**20
"""Characters of JSON, in an answer or in a tool call's arguments: what is longer is not read."""

_TO_REPEAT = re.compile(r"\b(?:repeat|repeatedly|times|over and over|again and again)\b", re.IGNORECASE)


def faults(
    text: str,
    *,
    tool_calls: Sequence[ToolCall] = (),
    finish_reason: FinishReason | None = None,
    empty: int = 0,
    ask: Ask = NOTHING_ASKED,
) -> Iterator[Finding]:
    """All that makes a whole answer worthless, the worst first. Bounded time on any text. ``empty``: so many pieces at
    its end brought nothing."""
    cut = finish_reason is FinishReason.LENGTH
    if tool_calls:
        if wrong := broken(tool_calls, ask.tools):
            yield Finding("degenerate", wrong)
        return
    said = text.strip()
    if not said:
        why = "it reached its token limit before the first word" if cut else "it has no text and calls no tool"
        yield Finding("empty", f"the answer is empty: {why}")
        return
    if ask.must_call:
        yield Finding("degenerate", "the answer calls no tool, and tool_choice wants a call")
    if len(said) < ask.min_chars:
        yield Finding("short", f"the answer has {len(said)} characters, and at least {ask.min_chars} are asked for")
    if wrong := _format(said, ask.response_format, cut=cut):
        yield Finding("invalid_json", wrong)
    if (unit := loop(text) or run(text, cut=cut)) and not (ask.prompt and _TO_REPEAT.search(ask.prompt)):
        yield Finding("degenerate", f"the answer goes round in circles: {unit!r} again and again")
    if cut and empty >= EMPTY_TOKENS:
        yield Finding("degenerate", f"the answer goes round in circles: {empty} tokens without any text at its end")
    if cut and ask.complete:
        yield Finding("length", "the answer was cut by the token limit, and the route asks for whole answers")


def broken(calls: Sequence[ToolCall], tools: Sequence[Tool]) -> str:
    """What is wrong with the first bad one of an answer's tool calls, in words; ``""`` for nothing. Without ``tools``
    any name will do."""
    budget, specs = Budget(), {tool.function.name: tool.function for tool in reversed(tools)}
    return next(filter(None, (_broken(call, specs, budget) for call in calls)), "")


def _broken(call: ToolCall, specs: Mapping[str, FunctionSpec], budget: Budget) -> str:
    name = call.function.name
    shown, spec = name[:100], specs.get(name)
    if specs and spec is None:
        return f"the answer calls a tool that is not there: {shown or 'without a name'}"
    if len(call.function.arguments) > LARGEST:
        return ""
    try:
        arguments = msgspec.json.decode(call.function.arguments or "{}")
    except (msgspec.DecodeError, RecursionError) as error:
        return f"the arguments of its call of {shown} are no JSON: {error}"
    if not isinstance(arguments, dict):
        return f"the arguments of its call of {shown} are no JSON object"
    wrong = violation(arguments, spec.parameters, budget) if spec and spec.parameters else ""
    return f"the arguments of its call of {shown} do not fit: {wrong}" if wrong else ""


def _format(said: str, wanted: ResponseFormat | None, *, cut: bool) -> str:
    if wanted is None or wanted.type == "text" or len(said) > LARGEST:
        return ""
    try:
        value: Any = msgspec.json.decode(said)
    except (msgspec.DecodeError, RecursionError) as error:
        why = "it was cut by the token limit" if cut else str(error)
        return f"the answer is no JSON, which was asked for: {why}"
    if wanted.type == "json_object":
        return "" if isinstance(value, dict) else "the answer is JSON, but no object, which was asked for"
    schema = (wanted.json_schema or {}).get("schema")
    wrong = violation(value, schema) if isinstance(schema, dict) else ""
    return f"the answer does not fit the JSON schema: {wrong}" if wrong else ""


def unreadable(call: ToolCall) -> str:
    """Describe why a tool call cannot be parsed; return ``""`` if it can. Very long arguments are not checked."""
    if not call.function.name:
        return "a tool call of the answer names no function"
    if len(call.function.arguments) > LARGEST:
        return ""
    try:
        msgspec.json.decode(call.function.arguments or "{}")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return f"the arguments of its call of {call.function.name[:100]} are no JSON: {error}"
    return ""
