"""The part of JSON schema that answers and tool calls are checked against."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routerd.quality.schema import MOST, Budget, violation

NODE: dict[str, Any] = {
    "$defs": {"node": {"properties": {"next": {"$ref": "#/$defs/node"}, "n": {"type": "integer"}}}},
    "$ref": "#/$defs/node",
}


@pytest.mark.parametrize(
    ("schema", "good", "bad", "told"),
    [
        ({"type": "integer"}, 1, "1", "$: is a string, not integer"),
        ({"type": "integer"}, 2.0, 2.5, "$: is a number, not integer"),
        ({"type": "integer"}, 10**400, True, "$: is a boolean, not integer"),
        ({"type": ["string", "null"]}, None, 1, "$: is an integer, not string or null"),
        ({"type": "number"}, 1, None, "$: is null, not number"),
        ({"enum": ["a", 1]}, 1.0, True, "$: is none of 'a', 1"),
        ({"const": {"a": [1]}}, {"a": [1]}, {"a": [2]}, "$: is not {'a': [1]}"),
        ({"minimum": 1, "maximum": 3}, 3, 4, "$: is 4, and must be at most 3"),
        ({"exclusiveMinimum": 1}, 2, 1, "$: is 1, and must be more than 1"),
        ({"exclusiveMaximum": 1}, 0, 1, "$: is 1, and must be less than 1"),
        ({"minLength": 2}, "ab", "a", "$: has 1 characters, and must have at least 2"),
        ({"maxItems": 1}, [1], [1, 2], "$: has 2 items, and must have at most 1"),
        ({"pattern": "^a+$"}, "aa", "ab", "$: does not match ^a+$"),
        ({"items": {"type": "string"}}, ["a"], ["a", 1], "$[1]: is an integer, not string"),
        ({"required": ["a"]}, {"a": None}, {"b": 1}, "$: a is missing"),
        ({"properties": {"a": False}}, {"b": 1}, {"a": 1}, "$.a: may not be there"),
        (
            {"properties": {"a": {}}, "additionalProperties": False},
            {"a": 1},
            {"a": 1, "b": 2},
            "$: b is not among its properties",
        ),
        ({"additionalProperties": {"type": "null"}}, {"a": None}, {"a": 1}, "$.a: is an integer, not null"),
        ({"allOf": [{"minimum": 1}, {"maximum": 2}]}, 2, 0, "$: is 0, and must be at least 1"),
        (
            {"anyOf": [{"type": "string"}, {"type": "null"}]},
            None,
            1,
            "$: fits none of anyOf ($: is an integer, not string)",
        ),
        (NODE, {"next": {"n": 1}}, {"next": {"next": {"n": "x"}}}, "$.next.next.n: is a string, not integer"),
    ],
)
def test_each_keyword_lets_the_good_pass_and_tells_what_is_wrong_with_the_bad(
    schema: dict[str, Any], good: Any, bad: Any, told: str
) -> None:
    assert violation(good, schema) == ""
    assert violation(bad, schema) == told


@pytest.mark.parametrize(
    "pattern",
    [
        "(a+)+$",
        "(a*)*b",
        "(a|a)*b",
        "((a+))+$",
        "([a-z]+)*$",
        r"(a)\1+",
        "(a|b+){3,}c",
        "((ab)*c*)*d",
        "(",
        "(.*,){20}x",
    ],
)
def test_a_pattern_that_might_never_end_is_not_tried(pattern: str) -> None:
    assert violation("a" * 500 + "!", {"pattern": pattern}) == ""


@pytest.mark.parametrize("pattern", [r"^\d{4}-\d{2}$", "^(a|b)$", "^[a-z]+(-[a-z])?$", r"^\(x\)*$"])
def test_an_ordinary_pattern_is_tried(pattern: str) -> None:
    assert violation("!", {"pattern": pattern}) == f"$: does not match {pattern}"


def test_a_schema_that_leads_to_itself_ends() -> None:
    assert violation(1, {"$ref": "#"}) == ""
    assert violation(1, {"anyOf": [{"$ref": "#"}, {"$ref": "#"}]}) == ""


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
KEYWORDS = [
    *("type", "enum", "const", "properties", "required", "items", "additionalProperties", "anyOf", "allOf", "$ref"),
    *("minimum", "maximum", "exclusiveMinimum", "minLength", "maxLength", "minItems", "pattern"),
]


@given(JSON, st.dictionaries(st.sampled_from(KEYWORDS), JSON))
def test_no_schema_however_wrong_makes_an_error(value: Any, schema: dict[str, Any]) -> None:
    assert isinstance(violation(value, schema), str)


DEEP: Any = {"a": 1}
for _ in range(200):
    DEEP = {"a": DEEP}


@pytest.mark.parametrize(
    ("value", "schema"),
    [
        ("x", {"pattern": "[" * 64_000}),
        (["x"] * 1000, {"items": {"enum": [[0] * 1000] * 1000}}),
        ([0] * 1000, {"items": {"anyOf": [{"type": "string"}] * 1000}}),
        ([0] * 1000, {"items": {"allOf": [{"minimum": 0}] * 1000}}),
        ([{}] * 1000, {"items": {"required": [str(at) for at in range(100_000)], "type": "string"}}),
        ({str(at): 1 for at in range(100_000)}, {"additionalProperties": {"type": "integer"}}),
        (["x" * 10_000] * 100, {"allOf": [{"items": {"const": "x" * 10_000}}] * 100}),
        (["a" * 199 + "!"] * 100_000, {"items": {"pattern": "a*a*b|"}}),
        (1, {"$ref": "#" + "/a" * 1_000_000}),
        (1, {"$ref": "#/a", "a": {"$ref": "#/b"}, "b": {"allOf": [{"$ref": "#/a"}] * 10}}),
        (DEEP, {"const": DEEP}),
        ([[0] * 1000] * 1000, {"items": {"const": [0] * 999 + [1]}}),
    ],
)
def test_no_schema_takes_long(value: Any, schema: dict[str, Any]) -> None:
    """Each would take minutes, or hours, were all of it looked at."""
    assert len(violation(value, schema)) < 300


def test_what_is_wrong_is_told_in_few_words() -> None:
    schema = {"enum": ["x" * 1_000_000] * 1000}
    assert len(violation("y", schema)) < 1000
    assert len(violation({"y" * 1_000_000: 1}, {"additionalProperties": False})) < 300


def test_the_calls_of_one_answer_share_one_budget() -> None:
    budget, schema = Budget(), {"items": {"type": "string"}}
    assert violation([0], schema, budget)
    violation([""] * MOST, schema, budget)
    assert violation([0], schema, budget) == ""
