"""Patterns of callers' schemas: tried only where their work is bounded, and read in linear time."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routerd.quality.pattern import LONGEST, MOST_WORK, work

PARTS = [
    "a",
    "b",
    "(",
    ")",
    "(?:",
    "|",
    "*",
    "+",
    "?",
    "{2}",
    "{1,3}",
    "{,4}",
    "^",
    "$",
    ".",
    "[ab]",
    r"\w",
    "*?",
    "+?",
]


@pytest.mark.parametrize(
    "pattern",
    [
        "[" * 12_000,
        "(" * 400 + "a" + ")" * 400 + "*" * 50,
        "^" + "(a|a)" * 30 + "b$",
        "^" + "a?" * 40 + "a" * 40,
        "(?:(?:(?:){1000}){1000}){1000}",
        "^x|a*a*a*b",
        "(a?){50}",
        "(?=a)",
        "(?#c)a",
        r"(\w+\s?)*$",
        "a{1,100000}",
        "a" * (LONGEST + 1),
        "[abc",
        "a)",
        "a\\",
    ],
)
def test_what_may_take_long_is_not_tried(pattern: str) -> None:
    assert work(pattern, 200) is None


@pytest.mark.parametrize(
    "pattern",
    [
        r"^[\w.]+@[\w.]+\.\w+$",
        r"^\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}$",
        r"^(\+\d{1,2}\s)?\(?\d{3}\)?[\s.-]\d{3}[\s.-]\d{4}$",
        "^(red|green|blue)$",
        "^(?P<day>[0-3][0-9])$",
        "[]a]+[^]]",
        "x{",
        "a*?b",
    ],
)
def test_what_people_write_is_tried(pattern: str) -> None:
    assert work(pattern, 20) is not None
    re.compile(pattern)


@given(st.lists(st.sampled_from(PARTS), max_size=25).map("".join))
def test_no_pattern_that_is_tried_goes_on_without_end(pattern: str) -> None:
    """It would hang here."""
    steps = work(pattern, 200)
    assert steps is None or 0 < steps <= MOST_WORK
    if steps is None:
        return
    try:
        compiled = re.compile(pattern)
    except re.error:
        return
    for text in ("a" * 199 + "!", "ab" * 100):
        compiled.search(text)
