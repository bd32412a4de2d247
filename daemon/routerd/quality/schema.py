"""Whether a JSON value fits a JSON schema: the part of the language that callers use.

Checked: type, enum, const, properties, required, additionalProperties, items, minItems, maxItems, minimum, maximum,
exclusiveMinimum, exclusiveMaximum, minLength, maxLength, pattern, anyOf, oneOf (as anyOf), allOf and local ``$ref``.
Every other keyword lets everything pass, and so do a pattern that might take long, a ``$ref`` that leads nowhere, and
what is left after `MOST` steps.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from math import inf
from typing import Any, TypeGuard

DEEPEST = 64
"""Below this depth nothing is checked."""
MOST = 20_000
"""Steps: after as many, what is left is not checked."""
LONGEST_MATCHED = 200
"""Characters: a ``pattern`` is not tried on more."""


def violation(value: Any, schema: Mapping[str, Any]) -> str:
    """The first thing wrong with ``value``, as ``$.items[2].name: is an integer, not a string``; ``""`` where it fits.

    Raises nothing: what is no schema is passed over.
    """
    return next(_violations(value, schema, "$", _Run(schema), 0), "")


class _Run:
    """One check: where a ``$ref`` begins, and how many steps are left."""

    __slots__ = ("left", "root")

    def __init__(self, root: Mapping[str, Any]) -> None:
        self.root = root
        self.left = MOST


def _violations(value: Any, schema: Any, path: str, run: _Run, depth: int) -> Iterator[str]:
    run.left -= 1
    if schema is False:
        yield f"{path}: may not be there"
    if not isinstance(schema, Mapping) or depth > DEEPEST or run.left < 0:
        return

    def inside(part: Any, sub: Any, at: str = "") -> Iterator[str]:
        return _violations(part, sub, path + at, run, depth + 1)

    if isinstance(reference := schema.get("$ref"), str):
        yield from inside(value, _resolve(reference, run.root))
    yield from (f"{path}: {wrong}" for wrong in _own(value, schema))
    if isinstance(value, dict):
        yield from _object(value, schema, path, inside)
    elif isinstance(value, list) and "items" in schema:
        for index, item in enumerate(value):
            yield from inside(item, schema["items"], f"[{index}]")
    for sub in _list(schema.get("allOf")):
        yield from inside(value, sub)
    for keyword in ("anyOf", "oneOf"):
        options = _list(schema.get(keyword))
        first = [next(inside(value, option), "") for option in options]
        if options and all(first):
            yield f"{path}: fits none of {keyword} ({first[0]})"


def _object(
    value: dict[str, Any], schema: Mapping[str, Any], path: str, inside: Callable[[Any, Any, str], Iterator[str]]
) -> Iterator[str]:
    properties = schema.get("properties")
    properties = properties if isinstance(properties, Mapping) else {}
    for name in _list(schema.get("required")):
        if isinstance(name, str) and name not in value:
            yield f"{path}: {name} is missing"
    others = schema.get("additionalProperties", True)
    if "patternProperties" in schema:
        others = True
    for name, item in value.items():
        if name in properties:
            yield from inside(item, properties[name], f".{name}")
        elif others is False:
            yield f"{path}: {name} is not among its properties"
        else:
            yield from inside(item, others, f".{name}")


def _own(value: Any, schema: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with the value itself, whatever is inside it."""
    types = schema.get("type")
    types = [types] if isinstance(types, str) else _list(types)
    if types and not any(_is(value, name) for name in types):
        yield f"is {_name(value)}, not {' or '.join(map(str, types))}"
        return
    if "enum" in schema and not any(_equal(value, each) for each in _list(schema["enum"])):
        yield f"is none of {', '.join(map(repr, _list(schema['enum'])))}"
    if "const" in schema and not _equal(value, schema["const"]):
        yield f"is not {schema['const']!r}"
    if isinstance(value, str):
        yield from _bounds(len(value), schema, "minLength", "maxLength", "characters")
        pattern = schema.get("pattern")
        if isinstance(pattern, str) and len(value) <= LONGEST_MATCHED:
            compiled = _pattern(pattern)
            if compiled and not compiled.search(value):
                yield f"does not match {pattern}"
    elif isinstance(value, list):
        yield from _bounds(len(value), schema, "minItems", "maxItems", "items")
    elif _number(value):
        yield from _bounds(value, schema, "minimum", "maximum", "")
        low, high = _limit(schema, "exclusiveMinimum", -inf), _limit(schema, "exclusiveMaximum", inf)
        if value <= low:
            yield f"is {value}, and must be more than {low}"
        if value >= high:
            yield f"is {value}, and must be less than {high}"


def _bounds(size: float, schema: Mapping[str, Any], least: str, most: str, unit: str) -> Iterator[str]:
    low, high = _limit(schema, least, -inf), _limit(schema, most, inf)
    if not low <= size <= high:
        wanted = f"at least {low}" if size < low else f"at most {high}"
        yield f"has {size} {unit}, and must have {wanted}" if unit else f"is {size}, and must be {wanted}"


def _limit(schema: Mapping[str, Any], keyword: str, otherwise: float) -> float:
    """A number of the schema; anything else (draft 4 has booleans here) is no limit."""
    value = schema.get(keyword)
    return value if _number(value) else otherwise


def _number(value: Any) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _is(value: Any, name: Any) -> bool:
    match name:
        case "object":
            return isinstance(value, dict)
        case "array":
            return isinstance(value, list)
        case "string":
            return isinstance(value, str)
        case "boolean":
            return isinstance(value, bool)
        case "null":
            return value is None
        case "number":
            return _number(value)
        case "integer":
            return _number(value) and (isinstance(value, int) or value.is_integer())
        case _:
            return True


def _name(value: Any) -> str:
    if value is None:
        return "null"
    names = {
        bool: "a boolean",
        int: "an integer",
        float: "a number",
        str: "a string",
        list: "an array",
        dict: "an object",
    }
    return names.get(type(value), "something else")


def _equal(left: Any, right: Any) -> bool:
    """JSON's equality: 1 is 1.0, but true is not 1."""
    return bool(left == right) and isinstance(left, bool) == isinstance(right, bool)


def _resolve(reference: str, root: Mapping[str, Any]) -> Any:
    if not reference.startswith("#"):
        return None
    found: Any = root
    for step in reference[1:].split("/")[1:]:
        found = found.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(found, Mapping) else None
    return found


@lru_cache(maxsize=256)
def _pattern(pattern: str) -> re.Pattern[str] | None:
    """None for what Python cannot read, and for what might backtrack for ever."""
    if not _tame(pattern):
        return None
    try:
        return re.compile(pattern)
    except (re.error, RecursionError, OverflowError):
        return None


def _tame(pattern: str) -> bool:
    """Whether no group that holds a choice is repeated, and few repetitions follow one another."""
    text = re.sub(r"\\[^1-9]|\[\^?\]?(?:\\.|[^\]\\])*\]", "x", pattern)  # escapes and classes: one character each
    text = re.sub(r"\((?:\?(?::|P?<\w+>))", "(", text)
    if re.search(r"\\|\(\?", text):  # references, look-around
        return False
    choices = [False]
    for here, after in zip(text, [*text[1:], ""], strict=True):
        if here == "(":
            choices.append(False)
        elif here == ")" and len(choices) > 1:
            inside = choices.pop()
            if inside and after in tuple("*+{"):
                return False
            choices[-1] |= inside
        elif here in "*+?{|":
            choices[-1] = True
    many = len(re.findall(r"[*+]|\{\d*,", text)) + (not text.startswith("^"))
    return many <= 3 and text.count("?") <= 8
