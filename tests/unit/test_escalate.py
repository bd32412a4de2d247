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
        assert name in watched(terms(name)) | {"error"}


def test_degenerate_means_broken_json_and_broken_calls_as_well() -> None:
    assert watched(terms("degenerate")) == {"degenerate", "invalid_json", "broken_call"}
    assert watched(terms("invalid_json")) == {"invalid_json"}


def test_by_default_only_a_call_nobody_can_read_is_passed_over() -> None:
    assert watched(USUAL) == {"broken_call"}
    assert watched(terms("empty")) == {"empty"}


def test_a_cascade_minds_weak_answers() -> None:
    assert "weak" in watched(Terms(judges={"small": 0.5}))


@pytest.mark.parametrize(
    ("listed", "expected"), [("error", False), ("empty", False), ("broken_call", True), ("degenerate", True)]
)
def test_a_broken_call_costs_a_request_one_more_answer_unless_listed(listed: Any, expected: bool) -> None:
    found, asking = Finding("broken_call", "so"), terms(listed, max_hops=3)

    assert may_pass_over(found, asking, 0, refused=False, broken=False)
    assert may_pass_over(found, asking, 1, refused=False, broken=True) is expected


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
    assert may_pass_over(Finding(fault, "so"), Terms(max_hops=2), hops, refused=refused, broken=False) is expected


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
