"""What the text of tool calls comes to."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec import Struct

Tools = Sequence[Mapping[str, Any]]
"""The tools offered, as the template was given them."""


class Call(Struct, frozen=True):
    """One call that could be read. ``arguments`` is JSON."""

    name: str
    arguments: str


class Reading(Struct, frozen=True):
    """The calls that could be read, and ``left``: the text from the first one on that could not, with its reason.

    Without a reason, ``left`` is text that is no call.
    """

    calls: list[Call] = []
    left: str = ""
    why: str = ""


Reader = Callable[[str, Tools], Reading]


class UnreadableError(ValueError):
    """Text that should be a call and is none."""


def call(name: Any, arguments: Any) -> Call:
    """The call of ``name`` with ``arguments``, which may be JSON text themselves. Raises `UnreadableError`."""
    if not isinstance(name, str) or not name.strip():
        raise UnreadableError("it names no function")
    if isinstance(arguments, str):
        arguments = decode(arguments) if arguments.strip() else {}
    try:
        text = json.dumps({} if arguments is None else arguments, ensure_ascii=False, allow_nan=False)
        text.encode()
    except UnicodeEncodeError:
        text = json.dumps(arguments)  # half a surrogate pair can only be written as an escape
    except (ValueError, TypeError, RecursionError) as error:
        raise UnreadableError(f"its arguments are no JSON: {error}") from error
    return Call(name.strip(), text)


def decode(text: str) -> Any:
    """The JSON value that ``text`` is. Raises `UnreadableError`."""
    value, end = decode_at(text, 0)
    if text[end:].strip():
        raise UnreadableError(f"its arguments are no JSON: more follows at character {end}")
    return value


def decode_at(text: str, at: int) -> tuple[Any, int]:
    """The JSON value that begins at ``at``, or after white space there, and where it ends. Raises `UnreadableError`.

    Line ends within strings are let pass; NaN and Infinity are not.
    """
    while at < len(text) and text[at].isspace():
        at += 1
    try:
        value, end = _DECODER.raw_decode(text, at)
    except (ValueError, RecursionError) as error:
        raise UnreadableError(f"its arguments are no JSON: {error}") from error
    return value, end


def names(tools: Tools) -> list[str]:
    """The names of the tools offered."""
    found = (tool.get("function") for tool in tools)
    return [name for each in found if isinstance(each, Mapping) and isinstance(name := each.get("name"), str)]


def _constant(name: str) -> Any:
    raise ValueError(f"{name} is no number")


_DECODER = json.JSONDecoder(parse_constant=_constant, strict=False)
