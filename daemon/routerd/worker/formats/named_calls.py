"""Readers of calls written as a name followed by JSON arguments: Mistral, Kimi, DeepSeek."""

from __future__ import annotations

import re

from msgspec.structs import replace

from .reading import Call, Reader, Reading, Tools, UnreadableError, call, decode_at

_MISTRAL = re.compile(
    r"\s*(?:\[TOOL_CALLS\])?\s*(?P<name>[\w.-]+)\s*(?:\[CALL_ID\]\s*[\w-]*\s*)?(?:\[ARGS\])?\s*(?=\{)"
)
_KIMI = re.compile(
    r"\s*<\|tool_call_begin\|>\s*(?:(?P<id>(?:functions\.)?(?P<name>[^\s<]+?):\d+)|(?:functions\.)?(?P<other>[^\s<]+?))\s*<\|tool_call_argument_begin\|>"
)
_KIMI_END = re.compile(r"\s*<\|tool_call_end\|>")
_DEEPSEEK = re.compile(
    r"\s*<｜tool▁call▁begin｜>\s*(?:function<｜tool▁sep｜>(?P<name>[^\s<`]+)\s*(?:```(?:json)?)?|(?P<other>[^\s<]+?)<｜tool▁sep｜>)"
)
_DEEPSEEK_END = re.compile(r"\s*(?:```)?\s*<｜tool▁call▁end｜>")
_NEVER = re.compile(r"(?!)")


def reader(head: re.Pattern[str], end: re.Pattern[str] = _NEVER) -> Reader:
    """Make a reader of calls that start with ``head``, which captures the name, and may end with ``end``.

    After a broken call it continues at the next ``end``.
    """

    def read(text: str, tools: Tools) -> Reading:  # noqa: ARG001 - the names need no table
        calls: list[Call] = []
        broken, why, at = "", "", 0
        while found := head.match(text, at):
            try:
                made, then = _call(found, text)
            except UnreadableError as error:
                why = why or str(error)
                another = end.search(text, found.end())
                then = another.start() if another else len(text)
                broken += text[at:then]
            else:
                calls.append(made)
            ended = end.match(text, then)
            at = ended.end() if ended else then
        left = text[at:]
        if not calls and not why:
            return Reading([], text, "it names no function")
        return Reading(calls, broken + left if left.strip() else broken, why)

    return read


def _call(found: re.Match[str], text: str) -> tuple[Call, int]:
    groups = found.groupdict()
    arguments, end = decode_at(text, found.end())
    made = call(groups["name"] or groups.get("other"), arguments)
    return replace(made, id=groups.get("id") or ""), end


mistral, kimi, deepseek = reader(_MISTRAL), reader(_KIMI, _KIMI_END), reader(_DEEPSEEK, _DEEPSEEK_END)
