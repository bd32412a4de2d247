"""The hold-back gate: what may go when, and that nothing is lost, doubled or out of order."""

from __future__ import annotations

from typing import Literal, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from routerd.quality.degenerate import NOTHING_ASKED, Ask, Fault, Finding
from routerd.quality.gate import Gate, examine
from routerd_client.chat import FinishReason, Function, FunctionSpec, ResponseFormat, Tool, ToolCall
from routerd_client.records import FailureKind

ALL: frozenset[Fault] = frozenset(get_args(Fault))
NONE: frozenset[Fault] = frozenset()
CALL = ToolCall(id="1", function=Function("clock", "{}"))


class Piece(Struct, frozen=True):
    text: str = ""
    reasoning: str = ""
    tool_calls: list[ToolCall] = []
    flaw: str = ""


def gate(
    mode: Literal["live", "safe"] = "live", watch: frozenset[Fault] = ALL, ask: Ask = NOTHING_ASKED
) -> Gate[Piece]:
    return Gate(mode, watch=watch, ask=ask)


def fed(one: Gate[Piece], *texts: str, now: float = 0.0) -> list[Piece] | Finding:
    """What the last of ``texts`` brings; those before it bring nothing."""
    *before, last = texts
    for text in before:
        assert one.feed(Piece(text), now) == []
    return one.feed(Piece(last), now)


def kind(result: list[Piece] | Finding) -> FailureKind:
    assert isinstance(result, Finding), result
    return result.kind


def test_an_answer_goes_after_a_few_words_and_then_straight_through() -> None:
    one = gate()

    assert fed(one, "The", " capital", " of", " Australia", " is") == [
        Piece(text) for text in ("The", " capital", " of", " Australia", " is")
    ]
    assert one.open
    assert one.feed(Piece(" Canberra."), 0.0) == [Piece(" Canberra.")]
    assert one.release() == []


def test_a_refusal_is_found_at_the_end_of_its_sentence_and_nothing_of_it_goes() -> None:
    assert kind(fed(gate(), "I'm", " sorry,", " but I can't", " help with that.", " It")) is FailureKind.REFUSAL


def test_an_answer_that_is_not_sure_goes_when_its_time_has_passed() -> None:
    one = gate()

    assert one.due_at is None
    assert fed(one, "I", now=5.0) == []
    assert one.due_at == 5.4
    assert one.due(5.3) == []
    assert one.due(5.4) == [Piece("I")]
    assert one.due_at is None


def test_a_refusal_is_also_found_in_what_there_is_when_the_time_has_passed() -> None:
    one = gate()

    assert fed(one, "I can't help with that") == []
    assert kind(one.due(0.4)) is FailureKind.REFUSAL


def test_an_answer_that_is_not_sure_goes_after_so_many_characters() -> None:
    one = gate()
    text = "I think that " * 13

    assert fed(one, text[:150]) == []
    assert one.feed(Piece(text[150:]), 0.0) == [Piece(text[:150]), Piece(text[150:])]


def test_reasoning_goes_at_once_and_starts_no_clock() -> None:
    one = gate()

    assert one.feed(Piece(reasoning="I can't"), 0.0) == [Piece(reasoning="I can't")]
    assert one.due_at is None
    assert fed(one, "I", now=9.0) == []
    assert one.due_at == 9.4
    assert one.feed(Piece(reasoning="late"), 9.1) == [], "order is kept"


def test_blank_text_waits_for_what_follows() -> None:
    one = gate()

    assert fed(one, "\n\n") == []
    assert one.due_at is None
    assert one.feed(Piece(reasoning="hm"), 0.0) == []
    assert one.release() == [Piece("\n\n"), Piece(reasoning="hm")]


def test_a_sound_tool_call_goes_at_once_with_all_before_it() -> None:
    one = gate()

    assert fed(one, "I") == []
    assert one.feed(Piece(tool_calls=[CALL]), 0.0) == [Piece("I"), Piece(tool_calls=[CALL])]


def test_a_broken_tool_call_never_goes() -> None:
    one = gate(ask=Ask(tools=[Tool(FunctionSpec("other"))]))

    assert kind(one.feed(Piece(tool_calls=[CALL]), 0.0)) is FailureKind.DEGENERATE


def test_a_tool_call_nobody_can_read_is_held_where_somebody_watches_for_it() -> None:
    broken = Piece('weather({"city": "Ro', flaw="no JSON")

    found = gate(watch=frozenset(["broken_call"])).feed(broken, 0.0)
    assert isinstance(found, Finding)
    assert (found.fault, found.kind) == ("broken_call", FailureKind.DEGENERATE)
    assert gate(watch=NONE).feed(broken, 0.0) == [broken]


def test_what_nobody_watches_for_is_not_held_back() -> None:
    assert fed(gate(watch=NONE), "I can't help with that. ") == [Piece("I can't help with that. ")]


def test_after_a_finding_the_held_pieces_can_still_be_had() -> None:
    one = gate()

    assert isinstance(fed(one, "I can't help with that. "), Finding)
    assert one.release() == [Piece("I can't help with that. ")]
    assert one.feed(Piece("More."), 0.0) == [Piece("More.")]


def test_safe_holds_all() -> None:
    one = gate("safe")

    assert fed(one, "Canberra", ", of course.", now=100.0) == []
    assert one.due_at is None
    assert one.release() == [Piece("Canberra"), Piece(", of course.")]


@pytest.mark.parametrize(
    ("text", "reason", "ask", "expected"),
    [
        ("", FinishReason.STOP, Ask(), FailureKind.EMPTY),
        ("", FinishReason.CONTENT_FILTER, Ask(), FailureKind.CONTENT_FILTERED),
        ("I can't help with that.", FinishReason.STOP, Ask(), FailureKind.REFUSAL),
        (
            "I can't help with that.",
            FinishReason.STOP,
            Ask(response_format=ResponseFormat("json_object")),
            FailureKind.REFUSAL,
        ),
        ("{", FinishReason.STOP, Ask(response_format=ResponseFormat("json_object")), FailureKind.DEGENERATE),
        ("The first", FinishReason.LENGTH, Ask(complete=True), FailureKind.DEGENERATE),
    ],
)
def test_the_whole_answer_maps_to_a_kind_of_failure(
    text: str, reason: FinishReason, ask: Ask, expected: FailureKind
) -> None:
    found = examine(text, finish_reason=reason, ask=ask)

    assert found
    assert found.kind is expected


def test_a_typed_refusal_is_a_refusal() -> None:
    found = examine("", refusal_field="No.", finish_reason=FinishReason.STOP)

    assert found
    assert found.kind is FailureKind.REFUSAL


def test_the_first_fault_somebody_watches_for_is_told() -> None:
    refusal = "I can't help with that."
    ask = Ask(min_chars=100)

    assert examine(refusal, ask=ask, watch=NONE) is None
    listed: list[Fault] = ["refusal", "short"]
    for fault in listed:
        found = examine(refusal, ask=ask, watch=frozenset([fault]))
        assert found
        assert found.fault == fault


PIECES = st.lists(
    st.builds(
        Piece,
        text=st.sampled_from(["", " ", "I", " can't", " help with that.", " The answer", " is 4.", "x" * 90, "\n"]),
        reasoning=st.sampled_from(["", "", "hm"]),
        tool_calls=st.sampled_from([[], [], [], [CALL]]),
    ),
    max_size=12,
)


def went(one: Gate[Piece], released: list[Piece] | Finding) -> list[Piece]:
    """What went, where the caller wants the answer whatever is found."""
    return one.release() if isinstance(released, Finding) else released


TIMES = st.lists(st.floats(0, 0.3), min_size=12, max_size=12)


@given(PIECES, TIMES, st.sampled_from(["live", "safe"]))
def test_every_piece_goes_once_and_in_order(
    pieces: list[Piece], gaps: list[float], mode: Literal["live", "safe"]
) -> None:
    one, now, out = gate(mode), 0.0, list[Piece]()
    for piece, gap in zip(pieces, gaps, strict=False):
        now += gap
        if one.due_at is not None and now >= one.due_at:
            out += went(one, one.due(now))
        out += went(one, one.feed(piece, now))
    out += one.release()

    assert out == pieces


@given(PIECES, TIMES, st.sampled_from(["live", "safe"]))
def test_once_text_went_nothing_is_found_any_more(
    pieces: list[Piece], gaps: list[float], mode: Literal["live", "safe"]
) -> None:
    one, now, said = gate(mode), 0.0, False
    for piece, gap in zip(pieces, gaps, strict=False):
        now += gap
        released = one.feed(piece, now)
        assert not (said and isinstance(released, Finding))
        if isinstance(released, Finding):
            return
        said = said or any(each.text or each.tool_calls for each in released)
