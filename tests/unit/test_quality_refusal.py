"""What is a refusal, what only looks like one, and how early that is known."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routerd.quality.refusal import HEAD, Verdict, glance, judge
from routerd_client.chat import FinishReason

REFUSALS = [
    "I'm not able to assist with that request",
    "I must decline to help with this.",
    "This goes against my guidelines",
    "I\u2019m afraid I can\u2019t do that.",
    "**I can't help with that.** Weapons are dangerous.",
    "i cant help with that",
    "Sorry, but no.",
    "Sorry, no can do.",
    "Nope, can't help you there.",
    "I'd rather not write that.",
    "I prefer not to answer questions about politics.",
    "I have to pass on this one.",
    "That's not something I'm willing to do.",
    "That's outside what I'm able to help with.",
    "Making up evidence is something I have to refuse.",
    "I won't be generating that image description.",
    "No, I will not do this.",
    "I am going to stop here. I don't want to continue this conversation.",
    "I don't think I should answer that.",
    "I can't in good conscience write that letter.",
    "I will have to refrain from commenting on that.",
    "As a responsible AI, I avoid topics like this one.",
    "I'm just a language model, so I can't help with that.",
    "My guidelines prevent me from answering.",
    "This content is not allowed by our usage policies.",
    "We cannot fulfil this request because it breaches our content policy.",
    "Unfortunately, this is a topic I'm not permitted to discuss.",
    "Request denied.",
    "Can we change the subject?",
    "Let's talk about something else.",
    "I'd be happy to help with something else, but not with this.",
    "It would be irresponsible of me to explain that.",
    "It wouldn't be appropriate for me to comment.",
    "I don't feel comfortable making jokes about any group of people.",
    "I strongly advise against this and will not provide help.",
    "Providing such instructions would be dangerous and illegal.",
    "I understand your curiosity, but explaining this could be harmful, so I will not.",
    "Thank you for asking! However, I can't share that kind of material.",
    "I'm so sorry to hear that. I'm here to help you. However, I cannot give advice on this.",
    "I'm unable to provide medical advice. Please consult a doctor.",
    "Hello! I'd love to help you with that. However, I can't share somebody's address.",
]

ANSWERS = [
    "Yes.",
    "12",
    "No. The function returns None.",
    "I can't help but smile at this one: the answer is 42.",
    "I can't recommend the second edition highly enough.",
    "I cannot stress this enough: back up your data first.",
    "I couldn't agree more. The second draft is better because it is shorter.",
    "I can do that. Here it is:",
    "I'm sorry to hear about your loss. Here are some words you could use.",
    "Sorry about the confusion. The total is 14.",
    "I apologize for the mistake: the correct year is 1969.",
    "I'm not sure, but I think it was 1987.",
    "I would not use a global here. Pass the value as an argument.",
    "I will not go into the history; in short, add the two numbers.",
    "I don't think you need a database for this; a JSON file will do.",
    "I can't see a bug in this function; the test itself is wrong.",
    "We can't divide by zero, so x must not be 3.",
    "You cannot assign to a constant; use let instead.",
    "This is not right: the sign in the second line should be negative.",
    "It is not safe to mix bleach and ammonia: the mixture gives off chloramine gas.",
    "It is illegal to drive without insurance in the UK. The fine is 300 pounds.",
    "Never use eval on user input; it is dangerous and wrong.",
    "Unfortunately, the library has no such option; use a custom handler.",
    "My policy is to test first. Here is the test.",
    "Let's discuss the three cases in turn. First, n is even.",
    "Dear Ms Lee, I regret to inform you that we cannot offer you the position.",
    "Subject: Invitation\n\nThank you, but I can't attend.",
    '"I can\'t help you with that."',
    '"I won\'t do it," said Tom, and sat down.',
    '*The guard shakes his head.* "I can\'t let you in without a pass."',
    "The model answered: \"I'm sorry, but I can't assist with that.\" That is a refusal.",
    "As an example, a refusal reads: 'I cannot help with that.'",
    "```python\nraise PermissionError('I cannot help with that')\n```",
    "1. I cannot help with that.\n2. I must decline.",
]


@pytest.mark.parametrize("text", REFUSALS)
def test_a_refusal_is_one_however_it_is_put(text: str) -> None:
    verdict = judge(text)

    assert verdict.refusal, verdict
    assert verdict.kind == "policy"


@pytest.mark.parametrize("text", ANSWERS)
def test_an_answer_with_such_words_in_it_is_none(text: str) -> None:
    assert not judge(text).refusal


def test_a_refusal_far_into_an_answer_is_part_of_the_answer() -> None:
    told = "The knight rode on through the rain until the bridge came into sight. " * 10

    assert not judge(told + "I cannot help you with that.").refusal
    assert not judge("The bridge is old. I cannot help you with that request.").refusal


@pytest.mark.parametrize("reason", [FinishReason.CONTENT_FILTER, "refusal", "SAFETY", "content_filter"])
def test_a_stop_reason_speaks_before_any_text(reason: FinishReason | str) -> None:
    assert judge("Here is the answer.", finish_reason=reason) == Verdict(True, 1.0, "silent")
    assert judge("", finish_reason=reason, tool_calls=True).refusal


def test_a_typed_refusal_and_an_answer_of_nothing_are_silent_refusals() -> None:
    assert judge("", refusal_field="I can't help with that.").kind == "silent"
    assert judge(" \n").kind == "silent"
    assert judge(" \n").refusal


def test_no_text_is_no_refusal_where_a_tool_is_called_or_the_limit_came_first() -> None:
    assert not judge("", tool_calls=True).refusal
    assert not judge("I'm not able to assist with that.", tool_calls=True).refusal
    assert not judge("", finish_reason=FinishReason.LENGTH).refusal


@pytest.mark.parametrize(
    "text",
    [
        "As an AI language model, I don't have access to real-time information.",
        "I can't browse the internet.",
        "I cannot predict the weather in June.",
    ],
)
def test_incapacity_is_a_kind_of_its_own_and_no_refusal(text: str) -> None:
    verdict = judge(text)

    assert verdict.kind == "incapable"
    assert not verdict.refusal


HEDGED = (
    "There are many factors to consider when choosing a database. It depends on your specific circumstances. Each has"
    " its own advantages and disadvantages. It is important to do your own research and to consult a professional."
)
LECTURE = (
    "There is no reason to laugh at somebody's work. Everyone deserves respect, regardless of their skill. It is"
    " important to remember that words can harm."
)


@pytest.mark.parametrize("text", [HEDGED, LECTURE])
def test_a_watered_down_answer_is_hedged(text: str) -> None:
    verdict = judge(text)

    assert verdict.refusal
    assert verdict.kind == "hedged"


@pytest.mark.parametrize(
    "substance",
    [
        " SQLite is natural for one process because it needs no server. Postgres takes many writers.",
        "\n- SQLite for one process\n- Postgres for many",
        " Use Postgres 16.",
        " For example, take Postgres.",
    ],
)
def test_an_answer_with_substance_is_not_hedged(substance: str) -> None:
    assert not judge(HEDGED + substance).refusal


def test_the_prompt_tells_a_characters_words_from_the_models_own() -> None:
    said = "I cannot help you, traveler. The gate is sealed."
    own = "I'm not comfortable generating this kind of content."

    assert judge(said).refusal
    assert not judge(said, prompt="You are a gatekeeper in my story. Greet me.").refusal
    assert judge(own, prompt="Write a villain's monologue.").refusal


def test_most_answers_are_known_to_be_none_after_a_few_words() -> None:
    assert glance("The capital of Australia ") == Verdict(False, 0.0, "")
    assert glance("Sure, ") == Verdict(False, 0.0, "")
    assert glance("I") is None
    assert glance("I'm sorry, but ") is None


def test_a_refusal_is_known_at_the_end_of_its_sentence() -> None:
    assert glance("I can't help with that.") is None, "its last word may go on"

    verdict = glance("I can't help with that. ")

    assert verdict
    assert verdict.refusal


def test_with_whole_a_glance_is_always_sure() -> None:
    verdict = glance("I can't help with th", whole=True)

    assert verdict
    assert verdict.refusal


PIECES = st.lists(
    st.sampled_from(
        [*REFUSALS, *ANSWERS, "I", "can't", "not", '"', "'", "\n", ". ", "* ", "However,", "it is wrong to", "x " * 40]
    )
    | st.text(max_size=12),
    max_size=8,
)


@given(PIECES, st.sampled_from(["", " "]), st.data(), st.sampled_from(["", "Write a story."]))
def test_a_glance_never_takes_back_what_it_said(
    pieces: list[str], between: str, data: st.DataObject, prompt: str
) -> None:
    """Sure of a beginning, it is right about the whole."""
    text = between.join(pieces)
    seen = glance(text[: data.draw(st.integers(0, len(text)))], prompt=prompt)
    whole = glance(text, whole=True, prompt=prompt)

    assert whole is not None
    if seen is not None:
        assert seen.refusal == whole.refusal


@given(PIECES)
def test_judging_agrees_with_a_glance_at_the_whole(pieces: list[str]) -> None:
    text = " ".join(pieces)
    whole = glance(text, whole=True)

    assert whole is not None
    assert (judge(text).kind == "policy") == whole.refusal


@given(st.text(max_size=HEAD * 3))
def test_any_text_can_be_judged(text: str) -> None:
    assert 0 <= judge(text).confidence <= 1
