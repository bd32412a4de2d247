"""A scalar of the tree -> a value of a scalar type, and what to call that type in a message."""

from __future__ import annotations

import math
from enum import Enum
from typing import Annotated, Any, Final, Literal, get_args, get_origin

from .types import SecretSpec
from .units import parse_duration, parse_size
from .yamltree import Node

INVALID: Final[Any] = type("Invalid", (), {"__repr__": lambda _: "INVALID"})()
"""What `build` returns for a value that it has reported."""

_MAX_INT = 2**63

_NAMES = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}
_UNIT_NAMES = {
    "duration": "a number of seconds or a duration like 15m",
    "size": "a number of bytes or a size like 8GB",
    "word": "text",
    "secret": "a secret, or where it is: env, file, keychain or command",
}


def read_scalar(option: Any, node: Node) -> Any:
    """What a scalar type makes of the node's value; INVALID where it does not fit."""
    value = node.value
    if get_origin(option) is Literal:
        # True == 1 in Python, not in a file
        return next((word for word in get_args(option) if word == value and type(word) is type(value)), INVALID)
    if get_origin(option) is Annotated:
        return _annotated(option.__metadata__[0], node)
    if issubclass(option, Enum):
        return next((member for member in _members(option) if member.value == value), INVALID)
    if option is float and type(value) is int:
        value = float(value)
    fits = type(value) is option and not (isinstance(value, float) and not math.isfinite(value))
    return value if fits and not (type(value) is int and abs(value) >= _MAX_INT) else INVALID


def _annotated(unit: str, node: Node) -> Any:
    value = node.value
    if isinstance(value, bool | None | list | dict):
        return node.source if unit == "word" and isinstance(value, bool) else INVALID
    try:
        if unit == "duration":
            return parse_duration(value)
        if unit == "size":
            return parse_size(value) if not isinstance(value, float) else INVALID
    except (ValueError, OverflowError):
        return INVALID
    return SecretSpec(inline=node.source) if unit == "secret" else node.source


def _members(option: type[Enum]) -> list[Enum]:
    # UNKNOWN stands for what a newer peer sends; nobody may write it
    return [member for member in option if member.name != "UNKNOWN"]


def choices(option: Any) -> list[Any]:
    """The values of a literal or an enum; nothing for other types."""
    if get_origin(option) is Literal:
        return list(get_args(option))
    is_enum = isinstance(option, type) and issubclass(option, Enum)
    return [member.value for member in _members(option)] if is_enum else []


def describe_scalar(option: Any) -> str:
    """The type in words."""
    if choices(option):
        return " or ".join(map(repr, choices(option)))
    if get_origin(option) is Annotated:
        return _UNIT_NAMES[option.__metadata__[0]]
    return _NAMES[option]
