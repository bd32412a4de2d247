"""Reasoning, tool calls and stop strings in scripted answers, with a real tokenizer."""

from __future__ import annotations

import json

import pytest
from msgspec.structs import replace

from routerd.worker.answer import Answer
from routerd.worker.lm import Model
from routerd.worker.prompt import Prompt
from routerd.worker.validate import RequestError
from routerd_client.chat import FinishReason, ToolCall
from routerd_client.records import FailureKind

WEATHER = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
CALL = '<tool_call>{"name": "weather", "arguments": {"city": "Zürich"}}</tool_call>'


class Told:
    """A whole scripted answer."""

    def __init__(self, answer: Answer) -> None:
        self.text = self.reasoning = ""
        self.calls: list[ToolCall] = []
        self.answer = answer

    @property
    def reason(self) -> FinishReason | None:
        return self.answer.finish_reason


def tell(
    model: Model,
    script: str,
    *,
    stop: list[str] | None = None,
    tools: bool = True,
    state: str = "normal",
    end: str = "stop",
) -> Told:
    """Feed ``script`` token by token, as if the model had decoded it, ended by ``end``."""
    answer = Answer(model, Prompt([1, 2, 3], state, 100, [WEATHER] * tools), stop or [])
    told = Told(answer)
    tokens = [(token, None) for token in model.encode(script, special=False)]
    ended = [*tokens, (model.tokenizer.eos_token_id, "stop")] if end == "stop" else [*tokens[:-1], (tokens[-1][0], end)]
    for token, finish in ended:
        output = answer.feed(token, finish)
        told.text += output.text
        told.reasoning += output.reasoning
        told.calls += output.tool_calls
        if answer.finish_reason:
            break
    return told


def test_an_answer_that_goes_on_keeps_its_first_space(able: Model) -> None:
    prompt = Prompt(able.encode("It runs", special=False), "normal", 100, [])
    texts = []
    for continues in (False, True):
        answer = Answer(able, replace(prompt, continues=continues), [])
        texts.append("".join(answer.feed(token, None).text for token in able.encode(" a model now", special=False)))

    assert texts == ["a model now", " a model now"]


def test_plain_text_passes_unchanged(able: Model) -> None:
    told = tell(able, "a model\n routes  each é 🦊 request ")

    assert told.text == "a model\n routes  each é 🦊 request "
    assert told.reason is FinishReason.STOP


def test_reasoning_is_kept_apart(able: Model) -> None:
    told = tell(able, "<think>\none two\n</think>\n\nthree")

    assert (told.reasoning, told.text) == ("one two\n", "three")
    assert 0 < told.answer.usage.reasoning_tokens < told.answer.usage.completion_tokens


def test_reasoning_that_the_template_opened(able: Model) -> None:
    told = tell(able, "one two</think>three", state="reasoning")

    assert (told.reasoning, told.text) == ("one two", "three")


def test_a_template_that_opens_the_reasoning_is_noticed(able: Model) -> None:
    assert able.initial_state(able.encode("<think>", special=False)) == "reasoning"
    assert able.initial_state(able.encode("<think></think>", special=False)) == "normal"


def test_a_tool_call_arrives_whole(able: Model) -> None:
    told = tell(able, "I look. " + CALL)
    (call,) = told.calls

    assert told.text == "I look. "
    assert call.function.name == "weather"
    assert json.loads(call.function.arguments) == {"city": "Zürich"}
    assert call.id.startswith("call_")
    assert told.reason is FinishReason.TOOL_CALLS


def test_tool_calls_are_numbered(able: Model) -> None:
    told = tell(able, f"{CALL}\n{CALL}")

    assert [call.index for call in told.calls] == [0, 1]
    assert len({call.id for call in told.calls}) == 2
    assert told.text == ""


def test_a_tool_call_that_only_the_end_token_closes(able: Model) -> None:
    assert len(tell(able, CALL.removesuffix("</tool_call>")).calls) == 1


@pytest.mark.parametrize("call", ["{oops", '{"arguments": {}}', '["weather"]', '{"name": "w", "arguments": "{"}'])
def test_a_tool_call_that_cannot_be_read_is_malformed(able: Model, call: str) -> None:
    with pytest.raises(RequestError) as caught:
        tell(able, f"I look. <tool_call>{call}</tool_call>")

    assert caught.value.kind is FailureKind.MALFORMED


def test_a_tool_call_cut_by_the_length_is_none(able: Model) -> None:
    told = tell(able, CALL[:30], end="length")

    assert (told.calls, told.reason) == ([], FinishReason.LENGTH)


def test_without_tools_the_tags_are_text(able: Model) -> None:
    assert tell(able, CALL, tools=False).text == CALL


def test_the_start_of_a_marker_is_text_in_the_end(able: Model) -> None:
    assert tell(able, "one <tool_").text == "one <tool_"
    assert tell(able, "one <tool_", end="length").text == "one <tool_"


@pytest.mark.parametrize("stop", ["wn f", "quick brown", "x", "the", " jumps over the lazy dog"])
def test_a_stop_string_cuts_wherever_its_tokens_end(able: Model, stop: str) -> None:
    script = "the quick brown fox jumps over the lazy dog."
    told = tell(able, script, stop=[stop])

    assert told.text == script[: script.index(stop)]
    assert told.reason is FinishReason.STOP


def test_a_stop_string_at_the_last_token_is_a_stop(able: Model) -> None:
    told = tell(able, "the quick", stop=["quick"], end="length")

    assert (told.text, told.reason) == ("the ", FinishReason.STOP)


def test_a_stop_string_does_not_cut_reasoning_or_tool_calls(able: Model) -> None:
    told = tell(able, f"<think>city</think>one{CALL}", stop=["city"])

    assert (told.reasoning, told.text, len(told.calls)) == ("city", "one", 1)


def test_a_character_of_many_tokens_is_never_cut(able: Model) -> None:
    answer = Answer(able, Prompt([1], "normal", 100, []), [])
    texts = [answer.feed(token, None).text for token in able.encode("🦊🦊", special=False)]

    assert "�" not in "".join(texts)
    assert "".join(texts) == "🦊🦊"
