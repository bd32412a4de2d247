"""Whether a JSON value fits a JSON schema: the part of the language that callers use.

Checked: type, enum, const, properties, required, additionalProperties, items, minItems, maxItems, minimum, maximum,
exclusiveMinimum, exclusiveMaximum, minLength, maxLength, pattern, anyOf, oneOf (as anyOf), allOf and local ``$ref``.
Every other keyword lets everything pass, and so do a pattern that might take long, a ``$ref`` that leads nowhere, and
what is left when a `Budget` is spent: the time is bounded, whatever the schema and the value.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from itertools import islice
from math import inf
from reprlib import Repr
from typing import Any, TypeGuard

from .pattern import work

DEEPEST = 64
"""Below this depth nothing is checked."""
MOST = 20_000
"""Steps of a `Budget`: after as many, what is left is not checked."""
LONGEST_MATCHED = 200
"""Characters: a ``pattern`` is not tried on more."""
_LONGEST_REFERENCE = 1000
_CHEAP = 16
"""Looks at a name or an option that cost as much as one step."""
_MATCHED = 200
"""Steps of a pattern that cost as much as one of ours."""
_SHOWN, _SHOWN_OPTIONS = 60, 10

_short = Repr()
_short.maxstring = _short.maxother = _short.maxlong = _SHOWN
_shown = _short.repr


class Budget:
    """Steps that are left to one answer, of all its tool calls together."""

    __slots__ = ("left",)

    def __init__(self, steps: int = MOST) -> None:
        self.left = steps

    @property
    def spent(self) -> bool:
        return self.left < 0


def violation(value: Any, schema: Mapping[str, Any], budget: Budget | None = None) -> str:
    """The first thing wrong with ``value``, as ``$.items[2].name: is an integer, not a string``; ``""`` where it fits.

    Raises nothing: what is no schema is passed over.
    """
    return next(_violations(value, schema, "$", _Run(schema, budget or Budget()), 0), "")


class _Run:
    """One check: where a ``$ref`` begins, and how many steps are left."""

    __slots__ = ("budget", "root")

    def __init__(self, root: Mapping[str, Any], budget: Budget) -> None:
        self.root = root
        self.budget = budget

    def listed(self, schema: Mapping[str, Any], keyword: str) -> Iterator[Any]:
        """The entries of a list, as long as there are steps left."""
        for number, entry in enumerate(_list(schema.get(keyword))):
            if number % _CHEAP == 0:
                self.budget.left -= 1
            if self.budget.spent:
                return
            yield entry


def _violations(value: Any, schema: Any, path: str, run: _Run, depth: int) -> Iterator[str]:
    run.budget.left -= 1
    if schema is False:
        yield f"{path}: may not be there"
    if not isinstance(schema, Mapping) or depth > DEEPEST or run.budget.spent:
        return

    def inside(part: Any, sub: Any, at: str = "") -> Iterator[str]:
        return _violations(part, sub, path + at, run, depth + 1)

    if isinstance(reference := schema.get("$ref"), str):
        yield from inside(value, _resolve(reference, run.root))
    yield from (f"{path}: {wrong}" for wrong in _own(value, schema, run))
    if isinstance(value, dict):
        yield from _object(value, schema, path, run, inside)
    elif isinstance(value, list) and "items" in schema:
        for index, item in enumerate(value):
            if run.budget.spent:
                return
            yield from inside(item, schema["items"], f"[{index}]")
    for sub in run.listed(schema, "allOf"):
        yield from inside(value, sub)
    for keyword in ("anyOf", "oneOf"):
        yield from (f"{path}: {wrong}" for wrong in _options(value, schema, keyword, run, inside))


def _options(
    value: Any, schema: Mapping[str, Any], keyword: str, run: _Run, inside: Callable[[Any, Any], Iterator[str]]
) -> Iterator[str]:
    first = ""
    for option in run.listed(schema, keyword):
        wrong = next(inside(value, option), "")
        if not wrong:
            return
        first = first or wrong
    if first and not run.budget.spent:
        yield f"fits none of {keyword} ({first})"


def _object(
    value: dict[str, Any],
    schema: Mapping[str, Any],
    path: str,
    run: _Run,
    inside: Callable[[Any, Any, str], Iterator[str]],
) -> Iterator[str]:
    properties = schema.get("properties")
    properties = properties if isinstance(properties, Mapping) else {}
    for name in run.listed(schema, "required"):
        if isinstance(name, str) and name not in value:
            yield f"{path}: {name[:_SHOWN]} is missing"
    others = schema.get("additionalProperties", True)
    if "patternProperties" in schema:
        others = True
    for name, item in value.items():
        if run.budget.spent:
            return
        if name in properties:
            yield from inside(item, properties[name], f".{name[:_SHOWN]}")
        elif others is False:
            yield f"{path}: {name[:_SHOWN]} is not among its properties"
        else:
            yield from inside(item, others, f".{name[:_SHOWN]}")


def _own(value: Any, schema: Mapping[str, Any], run: _Run) -> Iterator[str]:
    """What is wrong with the value itself, whatever is inside it."""
    types = schema.get("type")
    types = [types] if isinstance(types, str) else _list(types)[:_CHEAP]
    if types and not any(_is(value, name) for name in types):
        yield f"is {_name(value)}, not {' or '.join(map(_shown_name, types))}"
        return
    if "enum" in schema and not any(_equal(value, each, run.budget) for each in run.listed(schema, "enum")):
        if run.budget.spent:
            return
        options = _list(schema["enum"])
        more = ", ..." if len(options) > _SHOWN_OPTIONS else ""
        yield f"is none of {', '.join(map(_shown, islice(options, _SHOWN_OPTIONS)))}{more}"
    if "const" in schema and not _equal(value, schema["const"], run.budget):
        yield f"is not {_shown(schema['const'])}"
    if isinstance(value, str):
        yield from _bounds(len(value), schema, "minLength", "maxLength", "characters")
        yield from _matched(value, schema.get("pattern"), run.budget)
    elif isinstance(value, list):
        yield from _bounds(len(value), schema, "minItems", "maxItems", "items")
    elif _number(value):
        yield from _bounds(value, schema, "minimum", "maximum", "")
        low, high = _limit(schema, "exclusiveMinimum", -inf), _limit(schema, "exclusiveMaximum", inf)
        if value <= low:
            yield f"is {value}, and must be more than {low}"
        if value >= high:
            yield f"is {value}, and must be less than {high}"


def _matched(value: str, pattern: Any, budget: Budget) -> Iterator[str]:
    steps = work(pattern, len(value)) if isinstance(pattern, str) and len(value) <= LONGEST_MATCHED else None
    if steps is None:
        return
    budget.left -= steps // _MATCHED
    compiled = None if budget.spent else _compiled(pattern)
    if compiled and not compiled.search(value):
        yield f"does not match {pattern}"


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


def _shown_name(value: Any) -> str:
    return value[:_SHOWN] if isinstance(value, str) else _name(value)


def _equal(left: Any, right: Any, budget: Budget, depth: int = 0) -> bool:
    """JSON's equality: 1 is 1.0, but true is not 1. What is too large or too deep to compare is equal."""
    budget.left -= 1 + (len(left) // 1000 if isinstance(left, str) else 0)
    if budget.spent or depth > DEEPEST:
        return True
    if isinstance(left, list) and isinstance(right, list):
        same = len(left) == len(right)
        return same and all(_equal(a, b, budget, depth + 1) for a, b in zip(left, right, strict=True))
    if isinstance(left, dict) and isinstance(right, dict):
        same = len(left) == len(right)
        return same and all(name in right and _equal(a, right[name], budget, depth + 1) for name, a in left.items())
    return bool(left == right) and isinstance(left, bool) == isinstance(right, bool)


def _resolve(reference: str, root: Mapping[str, Any]) -> Any:
    if not reference.startswith("#") or len(reference) > _LONGEST_REFERENCE:
        return None
    found: Any = root
    for step in reference[1:].split("/")[1:]:
        found = found.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(found, Mapping) else None
    return found


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> re.Pattern[str] | None:
    """None for what Python cannot read."""
    try:
        return re.compile(pattern)
    except (re.error, RecursionError, OverflowError):
        return None
