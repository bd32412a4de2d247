"""Results of parsing the text of tool calls, and the JSON helpers that parsers share."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec import Struct

Tools = Sequence[Mapping[str, Any]]
"""The offered tools, as passed to the chat template."""


class Call(Struct, frozen=True):
    """One parsed call. ``arguments`` is JSON, ``id`` the model's own identifier if its template relies on it."""

    name: str
    arguments: str
    id: str = ""


class Reading(Struct, frozen=True):
    """Parsed calls, and ``left``, the text that was not parsed.

    ``why`` says what is wrong with a broken call in ``left``; if it is empty, ``left`` is ordinary text.
    """

    calls: list[Call] = []
    left: str = ""
    why: str = ""


Reader = Callable[[str, Tools], Reading]


class UnreadableError(ValueError):
    """A call cannot be parsed."""


def call(name: Any, arguments: Any) -> Call:
    """Build a call. ``arguments`` may be JSON text. Raises `UnreadableError`."""
    if not isinstance(name, str) or not name.strip():
        raise UnreadableError("it names no function")
    if isinstance(arguments, str):
        arguments = decode(arguments) if arguments.strip() else {}
    try:
        text = json.dumps({} if arguments is None else arguments, ensure_ascii=False, allow_nan=False)
        text.encode()
    except UnicodeEncodeError:
        text = json.dumps(arguments)  # half a surrogate pair must be escaped
    except (ValueError, TypeError, RecursionError) as error:
        raise UnreadableError(f"its arguments are no JSON: {error}") from error
    return Call(name.strip(), text)


def decode(text: str) -> Any:
    """Parse ``text`` as one JSON value. Raises `UnreadableError`."""
    value, end = decode_at(text, 0)
    if text[end:].strip():
        raise UnreadableError(f"its arguments are no JSON: more follows at character {end}")
    return value


def decode_at(text: str, at: int) -> tuple[Any, int]:
    """Parse the JSON value at ``at``, after white space, and return it with its end. Raises `UnreadableError`.

    Raw line ends in strings are accepted, NaN and Infinity are not.
    """
    while at < len(text) and text[at].isspace():
        at += 1
    try:
        value, end = _DECODER.raw_decode(text, at)
    except (ValueError, RecursionError) as error:
        raise UnreadableError(f"its arguments are no JSON: {error}") from error
    return value, end


def names(tools: Tools) -> list[str]:
    """Return the names of the offered tools."""
    found = (tool.get("function") for tool in tools)
    return [name for each in found if isinstance(each, Mapping) and isinstance(name := each.get("name"), str)]


def _constant(name: str) -> Any:
    raise ValueError(f"{name} is no number")


_DECODER = json.JSONDecoder(parse_constant=_constant, strict=False)
