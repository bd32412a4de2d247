"""Reader of calls written as JSON: one object, several objects in a row, or a list."""

from __future__ import annotations

import re
from typing import Any

from .reading import Call, Reading, Tools, UnreadableError, call, decode_at, names

_BETWEEN = re.compile(r"(?:[\s,;\[]|\](?!\s*\S))*")
_FENCE = re.compile(r"\s*(?:```\w*\s*(.*?)\s*```|`([^`].*?)`)\s*", re.DOTALL)
_STRAY = re.compile(r"[\s\]}`,;]*")
_ARGUMENTS = ("arguments", "parameters", "args", "input")


def read(text: str, tools: Tools) -> Reading:
    """Read the calls in ``text`` up to the first broken object."""
    if fenced := _FENCE.fullmatch(text):
        text = fenced[1] or fenced[2]
    calls: list[Call] = []
    at = _after(text, 0)
    while at < len(text) and text[at] == "{":
        try:
            value, end = decode_at(text, at)
            calls.append(from_object(value, tools))
        except UnreadableError as error:
            return Reading(calls, text[at:], str(error))
        at = _after(text, end)
    if calls:
        stray = _STRAY.match(text, at)
        return Reading(calls, text[stray.end() if stray else at :])
    return Reading([], text, "it is no JSON object")


def from_object(value: Any, tools: Tools) -> Call:
    """Convert ``value`` to a call; accepts every known object layout. Raises `UnreadableError`."""
    if not isinstance(value, dict):
        raise UnreadableError("it is no JSON object")
    inner = next((value[key] for key in ("function", "tool") if isinstance(value.get(key), dict)), None)
    if inner is not None and "name" in inner:
        value = {**value, **inner}
    name = next((value[key] for key in ("name", "tool_name", "function", "tool") if key in value), None)
    if name is None and len(value) == 1 and next(iter(value)) in names(tools):
        ((name, arguments),) = value.items()  # Apertus uses the name as the key
        return call(name, arguments)
    return call(name, next((value[key] for key in _ARGUMENTS if key in value), {}))


def _after(text: str, at: int) -> int:
    found = _BETWEEN.match(text, at)
    return found.end() if found else at
