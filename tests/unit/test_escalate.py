"""Which faults a request's terms mind, and how often they may cost it an answer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, get_args

import pytest

from routerd.config.strategy import EscalateOn
from routerd.dispatch.escalate import FAULTS, may_pass_over, measured_by, watched
from routerd.quality.degenerate import Finding
from routerd.routing.terms import USUAL, Terms
from routerd_client.chat import ChatRequest, Message, ResponseFormat


def terms(*names: EscalateOn, **more: Any) -> Terms:
    return Terms(escalate_on=frozenset(names), **more)


def test_every_fault_but_a_judges_can_be_listed() -> None:
    assert {*FAULTS, "error"} == {*get_args(EscalateOn), "weak"}
    for name in get_args(EscalateOn):
        assert watched(terms(name)) - {"invalid_json"} == {name} - {"error", "invalid_json"}


def test_degenerate_means_broken_json_as_well() -> None:
    assert watched(terms("degenerate")) == {"degenerate", "invalid_json"}
    assert watched(terms("invalid_json")) == {"invalid_json"}


def test_errors_are_no_faults_of_an_answer_and_a_cascade_minds_weak_ones() -> None:
    assert watched(USUAL) == frozenset()
    assert watched(Terms(judges={"small": 0.5})) == {"weak"}


@pytest.mark.parametrize(
    ("fault", "hops", "refused", "expected"),
    [
        ("empty", 0, False, True),
        ("empty", 1, True, True),
        ("empty", 2, False, False),
        ("refusal", 0, False, True),
        ("refusal", 1, False, True),
        ("refusal", 1, True, False),
        ("hedged", 1, True, False),
        ("weak", 1, True, True),
    ],
)
def test_a_refusal_is_passed_over_once_and_other_faults_up_to_max_hops(
    fault: Any, hops: int, refused: bool, expected: bool
) -> None:
    assert may_pass_over(Finding(fault, "so"), Terms(max_hops=2), hops, refused=refused) is expected


def chat(messages: Iterable[str]) -> ChatRequest:
    return ChatRequest(
        messages=[Message("user", text) for text in messages], response_format=ResponseFormat("json_object")
    )


def test_an_answer_is_measured_by_the_newest_ask_and_by_what_is_listed() -> None:
    ask = measured_by(chat(["Once.", "Again."]), terms("error", min_chars=40))
    assert (ask.prompt, ask.min_chars, ask.complete) == ("Again.", 0, False)
    assert ask.response_format, "what the request itself asks for counts always"
    ask = measured_by(chat(["Once."]), terms("short", "length", min_chars=40))
    assert (ask.min_chars, ask.complete) == (40, True)
