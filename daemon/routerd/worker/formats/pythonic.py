"""Readers of calls written in Python syntax: in a list, or one per line."""

from __future__ import annotations

from .blocks import Parse
from .reading import Call, Reader, Reading, Tools, UnreadableError


def reader(parse: Parse) -> Reader:
    """Make a reader of ``[f(a=1), g()]`` from mlx-lm's parser."""

    def read(text: str, tools: Tools) -> Reading:
        end = text.rstrip()
        if not end.lstrip().startswith("[") or not end.endswith("]"):
            return Reading([], text, "it is cut, or no list of calls")
        try:
            return Reading(parse(text, tools))
        except UnreadableError as error:
            return Reading([], text, str(error))

    return read


def lines(parse: Parse) -> Reader:
    """Make a reader of one call per line, up to the first broken one."""

    def read(text: str, tools: Tools) -> Reading:
        calls: list[Call] = []
        left = text.strip().splitlines()
        while left:
            line = left[0].strip()
            if line and not line.endswith(")"):
                return Reading(calls, "\n".join(left), "it is cut, or no call")
            try:
                calls += parse(f"[{line}]", tools) if line else []
            except UnreadableError as error:
                return Reading(calls, "\n".join(left), str(error))
            left = left[1:]
        return Reading(calls) if calls else Reading([], text, "it has no call")

    return read
