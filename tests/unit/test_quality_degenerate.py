"""Answers worth nothing though nobody refused: what is found, and what must not be."""

from __future__ import annotations

import string
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from routerd.quality.degenerate import NOTHING_ASKED, Ask, faults
from routerd.quality.loops import loop, run
from routerd_client.chat import FinishReason, Function, FunctionSpec, ResponseFormat, Tool, ToolCall
from routerd_client.records import FailureKind

OBJECT = Ask(response_format=ResponseFormat(type="json_object"))
WEATHER = Tool(
    FunctionSpec(
        "weather",
        parameters={"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    )
)
CLOCK = Tool(FunctionSpec("clock"))
PROSE = " ".join(
    f"Line {n} says that {word * 2} is {n * n}, which nobody doubted."
    for n, word in enumerate(string.ascii_lowercase * 3)
)


def call(name: str, arguments: str) -> list[ToolCall]:
    return [ToolCall(id="1", function=Function(name, arguments))]


def message(text: str, *, ask: Ask = NOTHING_ASKED, cut: bool = False, tool_calls: Sequence[ToolCall] = ()) -> str:
    """What is found, which must be `FailureKind.DEGENERATE`; ``""`` for nothing."""
    reason = FinishReason.LENGTH if cut else FinishReason.STOP
    found = next(faults(text, ask=ask, finish_reason=reason, tool_calls=tool_calls), None)
    assert found is None or found.kind is FailureKind.DEGENERATE
    return found.message if found else ""


@pytest.mark.parametrize(
    "text", ["Yes.", "7", "ok", "```\n\n```", "-" * 2000, "=" * 700, "0" * 900, "0, " * 900, "█" * 800, "!" * 80, PROSE]
)
def test_a_legitimate_answer_is_never_found_fault_with_by_default(text: str) -> None:
    assert message(text) == ""


@pytest.mark.parametrize("text", ["", " \n\t"])
def test_an_answer_of_nothing_is_empty(text: str) -> None:
    [found] = faults(text)

    assert found.kind is FailureKind.EMPTY
    assert found.message == "the answer is empty: it has no text and calls no tool"


def test_an_empty_answer_that_was_cut_says_so() -> None:
    [found] = faults("", finish_reason=FinishReason.LENGTH)

    assert found.message == "the answer is empty: it reached its token limit before the first word"


def test_short_is_wrong_only_where_a_minimum_is_asked_for() -> None:
    assert message("Yes.", ask=Ask(min_chars=20)) == "the answer has 4 characters, and at least 20 are asked for"
    assert message("x" * 20, ask=Ask(min_chars=20)) == ""


def test_cut_is_wrong_only_where_whole_answers_are_asked_for() -> None:
    assert message("The first of", cut=True) == ""
    assert "cut by the token limit" in message("The first of", cut=True, ask=Ask(complete=True))


@pytest.mark.parametrize(
    "looping",
    [
        PROSE + " and so on" * 100,
        PROSE + "\nThe answer is 4.\nLet me check.\n" * 30,
        "the cat " * 20_000,
        "!" * 1000,
        "Here it is: " + "?" * 700,
        "a" * 601,
        "\ufffd" * 900,
        "! " * 500,
        PROSE + "".join(" But wait, let me look at it again." + " So it is four." * (n % 3) for n in range(200)),
    ],
)
def test_going_round_in_circles_is_found_also_in_a_long_answer(looping: str) -> None:
    assert "round in circles" in message(looping)
    assert message(looping, ask=Ask(prompt="Say it a hundred times.")) == "", "it was asked to"


@pytest.mark.parametrize(
    ("text", "cut", "found"),
    [
        ("!" * 1000, True, True),
        ("!" * 1000, False, True),
        ("!" * 40, True, True),
        ("!" * 40, False, False),
        ("No" + "o" * 300, True, True),
        (PROSE + "\n" * 300, True, True),
        (PROSE + "\n" * 300, False, False),
        ("-" * 2000, False, False),
        ("-" * 2000, True, True),
        ("-" * 80, True, False),
        ("1" + "0" * 1000, False, False),
        ("Wow!!!!!", True, False),
    ],
)
def test_one_character_over_and_over_is_a_loop(text: str, cut: bool, found: bool) -> None:
    assert ("round in circles" in message(text, cut=cut)) is found


def test_a_loop_that_ended_is_none() -> None:
    assert loop("la la la " * 30 + PROSE) == ""


@given(st.text(max_size=40), st.integers(1, 4000))
def test_any_repetition_is_looked_at_without_an_error(unit: str, times: int) -> None:
    loop(unit * times)
    run(unit * times, cut=True)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"a": [1, 2]}', ""),
        (' {"a": 1}\n', ""),
        ("[1]", "the answer is JSON, but no object"),
        ('{"a": 1', "the answer is no JSON, which was asked for: "),
        ('```json\n{"a": 1}\n```', "the answer is no JSON, which was asked for: "),
        ("[" * 100_000, "the answer is no JSON, which was asked for: "),
    ],
)
def test_json_that_was_asked_for_must_be_json(text: str, told: str) -> None:
    assert message(text, ask=OBJECT).startswith(told)
    assert bool(message(text, ask=OBJECT)) == bool(told)


def test_json_that_was_cut_says_so() -> None:
    assert message('{"a": 1', ask=OBJECT, cut=True).endswith("it was cut by the token limit")


def test_json_must_fit_the_schema_that_was_asked_for() -> None:
    schema: dict[str, Any] = {"type": "object", "properties": {"n": {"type": "integer"}}}
    ask = Ask(response_format=ResponseFormat("json_schema", {"name": "n", "schema": schema}))

    assert message('{"n": 1}', ask=ask) == ""
    assert message('{"n": "1"}', ask=ask) == "the answer does not fit the JSON schema: $.n: is a string, not integer"


@pytest.mark.parametrize(
    ("name", "arguments", "told"),
    [
        ("weather", '{"city": "Rome"}', ""),
        ("clock", "", ""),
        ("clock", "{}", ""),
        ("wether", "{}", "the answer calls a tool that is not there: wether"),
        ("", "{}", "the answer calls a tool that is not there: without a name"),
        ("weather", '{"city": "Ro', "the arguments of its call of weather are no JSON: "),
        ("weather", '"Rome"', "the arguments of its call of weather are no JSON object"),
        ("weather", "{}", "the arguments of its call of weather do not fit: $: city is missing"),
        (
            "weather",
            '{"city": 1}',
            "the arguments of its call of weather do not fit: $.city: is an integer, not string",
        ),
    ],
)
def test_a_tool_call_must_be_one_that_can_be_made(name: str, arguments: str, told: str) -> None:
    found = message("", tool_calls=call(name, arguments), ask=Ask(tools=[WEATHER, CLOCK]))

    assert found.startswith(told)
    assert bool(found) == bool(told)


def test_without_a_list_of_tools_any_name_will_do() -> None:
    assert message("", tool_calls=call("anything", msgspec.json.encode({"a": 1}).decode())) == ""
