"""Readers of tool calls that each have a start and an end marker of their own."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from msgspec import Struct

from .reading import Call, Reader, Reading, Tools, UnreadableError, call

Parser = Callable[[str, Any], Any]
"""A parser of mlx-lm: takes text and tools, returns one mapping with name and arguments or a list. Raises anything."""
Parse = Callable[[str, Tools], list[Call]]
"""Takes text and tools, returns the calls in the text. Raises `UnreadableError`."""


class Unit(Struct, frozen=True):
    """The start and end marker of one call."""

    open: str
    close: str


def each(parse: Parse, unit: Unit) -> Reader:
    """Make a reader of the calls between ``unit``'s markers. Only white space may separate two calls, and a broken call
    does not affect the others."""

    def read(text: str, tools: Tools) -> Reading:
        calls: list[Call] = []
        broken, why, at = "", "", 0
        for begin, end in _units(unit, text):
            if text[at:begin].strip():
                break
            try:
                calls += parse(text[begin:end], tools)
            except UnreadableError as error:
                broken, why = broken + text[begin:end], why or str(error)
            at = end
        left = text[at:]
        if left.strip() and (not calls or unit.open in left):
            why = why or "it is cut, or no call"
        elif not calls:
            why = why or "it has no call"
        return Reading(calls, broken + left if left.strip() else broken, why)

    return read


def whole(parse: Parse, complete: re.Pattern[str]) -> Reader:
    """Make a reader that parses the whole text at once, and only if it matches ``complete``."""

    def read(text: str, tools: Tools) -> Reading:
        if not complete.fullmatch(text):
            return Reading([], text, "it is cut, or no call")
        try:
            return Reading(parse(text, tools))
        except UnreadableError as error:
            return Reading([], text, str(error))

    return read


def parsed(parse: Parser) -> Parse:
    """Wrap mlx-lm's parser so that it raises `UnreadableError` alone. A value of the wrong type is kept as text."""

    def read(text: str, tools: Tools) -> list[Call]:
        failure = ""
        for offered in (list(tools), None):
            try:
                found = parse(text, offered)
                found = found if isinstance(found, list) else [found]
                return [call(one["name"], one.get("arguments")) for one in found]
            except Exception as error:  # each family's parser has exceptions of its own
                failure = failure or str(error) or type(error).__name__
        raise UnreadableError(failure)

    return read


def _units(unit: Unit, text: str) -> Iterator[tuple[int, int]]:
    at = 0
    while (begin := text.find(unit.open, at)) >= 0:
        end = text.find(unit.close, begin + len(unit.open))
        if end < 0:
            return
        at = end + len(unit.close)
        yield begin, at
