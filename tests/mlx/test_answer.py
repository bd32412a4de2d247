"""Reasoning, tool calls and stop strings in scripted answers, with a real tokenizer."""

from __future__ import annotations

import json

import pytest
from msgspec.structs import replace

from routerd.worker.answer import Answer
from routerd.worker.lm import Model
from routerd.worker.prompt import Prompt
from routerd_client.chat import FinishReason, ToolCall

WEATHER = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
CALL = '<tool_call>{"name": "weather", "arguments": {"city": "Zürich"}}</tool_call>'


class Told:
    """A whole scripted answer."""

    def __init__(self, answer: Answer) -> None:
        self.text = self.reasoning = ""
        self.calls: list[ToolCall] = []
        self.flaw = ""
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
    tokens = model.encode(script, special=False)
    return _tell(model, tokens, stop=stop, tools=tools, state=state, end=end)


def tell_pieces(model: Model, markers: list[str], text: str) -> Told:
    """Feed ``markers`` as they are tokenized, and ``text`` character by character: no token is in it."""
    tokens = [token for marker in markers for token in model.encode(marker, special=False)]
    return _tell(model, tokens + [token for char in text for token in model.encode(char, special=False)])


def _tell(
    model: Model,
    script: list[int],
    *,
    stop: list[str] | None = None,
    tools: bool = True,
    state: str = "normal",
    end: str = "stop",
) -> Told:
    answer = Answer(model, Prompt([1, 2, 3], state, 100, [WEATHER] * tools), stop or [])
    told = Told(answer)
    tokens = [(token, None) for token in script]
    ended = [*tokens, (model.tokenizer.eos_token_id, "stop")] if end == "stop" else [*tokens[:-1], (tokens[-1][0], end)]
    for token, finish in ended:
        output = answer.feed(token, finish)
        told.text += output.text
        told.reasoning += output.reasoning
        told.calls += output.tool_calls
        told.flaw = told.flaw or output.flaw
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
    assert able.initial_state("user: hello\nassistant: <think>\n") == "reasoning"
    assert able.initial_state("assistant: <think></think>") == "normal"
    assert able.initial_state("assistant: <think> is a tag\nassistant: ") == "normal"


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


@pytest.mark.parametrize(
    "call",
    [
        "{oops",
        '{"arguments": {}}',
        '{"name": "w", "arguments": "{"}',
        '{"name": "weather", "arguments": {"city": "\\d"}}',
        '{"name": "weather", "arguments": {"degrees": NaN}}',
        '{"name": "weather", "arguments": {"degrees": -Infinity}}',
        '{"name": "weather", "arguments": {"city": "Bonn"}',
        '{"name": 5, "arguments": {}}',
    ],
)
def test_a_tool_call_that_cannot_be_read_is_text_and_a_flaw(able: Model, call: str) -> None:
    told = tell(able, f"I look. <tool_call>{call}</tool_call>")

    assert (told.calls, told.reason) == ([], FinishReason.STOP)
    assert told.text == f"I look. <tool_call>{call}</tool_call>"
    assert told.flaw


@pytest.mark.parametrize("between", ["; ", "\n", ", ", ""])
def test_two_calls_in_one_tag_are_two(able: Model, between: str) -> None:
    one, other = (f'{{"name": "weather", "arguments": {{"city": "{city}"}}}}' for city in ("Oslo", "Bonn"))
    told = tell(able, f"<tool_call>{one}{between}{other}</tool_call>")

    assert [call.function.arguments for call in told.calls] == ['{"city": "Oslo"}', '{"city": "Bonn"}']
    assert (told.flaw, told.text, told.reason) == ("", "", FinishReason.TOOL_CALLS)


def test_of_two_calls_the_sound_one_is_a_call_and_the_answer_is_flawed(able: Model) -> None:
    told = tell(able, f"{CALL}\n<tool_call>{{broken</tool_call>")

    assert [call.function.name for call in told.calls] == ["weather"]
    assert (told.text, told.reason) == ("<tool_call>{broken</tool_call>", FinishReason.STOP)
    assert told.flaw


@pytest.mark.parametrize(
    "call",
    [
        '\n```json\n{"name": "weather", "arguments": {}}\n```\n',
        '`{"name": "weather", "arguments": {}}`',
        '[{"name": "weather", "arguments": {}}]',
        '{"name": "weather", "arguments": {}}}',
        '{"type": "function", "function": {"name": "weather", "arguments": {}}}',
        '{"name": "weather", "parameters": null}',
        '{"name": "weather"}',
    ],
)
def test_what_can_only_mean_one_call_is_that_call(able: Model, call: str) -> None:
    told = tell(able, f"<tool_call>{call}</tool_call>")

    assert [(c.function.name, c.function.arguments) for c in told.calls] == [("weather", "{}")]
    assert (told.flaw, told.text) == ("", "")


@pytest.mark.parametrize(
    "text",
    [
        "Models wrap a call in <tool_call> tags so that it can be found.",
        "Between `<tool_call>` and `</tool_call>` stands an object.",
        'Like this: `<tool_call>{"name": "weather", "arguments": {}}</tool_call>`.',
        "<tool_call>",
        "<tool_call>weather is what I want",
        "<tool_call> [1] says so",
    ],
)
def test_a_marker_without_an_object_is_text(able: Model, text: str) -> None:
    told = tell(able, text)

    assert (told.text, told.calls, told.flaw, told.reason) == (text, [], "", FinishReason.STOP)


def test_prose_that_mentions_a_marker_is_not_held_back(able: Model) -> None:
    answer = Answer(able, Prompt([1], "normal", 100, [WEATHER]), [])
    said = "".join(answer.feed(token, None).text for token in able.encode("a <tool_call> tag it", special=False))

    assert said == "a <tool_call> tag it"


def test_an_argument_may_hold_the_marker(able: Model) -> None:
    call = '{"name": "weather", "arguments": {"city": "</tool_call>", "other": "<tool_call>{"}}'
    told = tell(able, f"<tool_call>{call}</tool_call> done")

    assert [json.loads(c.function.arguments) for c in told.calls] == [{"city": "</tool_call>", "other": "<tool_call>{"}]
    assert (told.text, told.flaw) == ("done", "")


def test_a_half_surrogate_in_an_argument_is_no_failure(able: Model) -> None:
    told = tell(able, '<tool_call>{"name": "weather", "arguments": {"city": "\\ud83d"}}</tool_call>')

    assert [call.function.arguments for call in told.calls] == ['{"city": "\\ud83d"}']


def test_a_tool_call_cut_by_the_length_is_a_flaw(able: Model) -> None:
    told = tell(able, CALL[:30], end="length")

    assert (told.calls, told.reason) == ([], FinishReason.LENGTH)
    assert told.text == CALL[:30]
    assert told.flaw


def test_the_characters_of_a_reasoning_marker_are_text(able: Model) -> None:
    plain = "The template writes `<thi" + "nk>` and 42</think>."
    told = tell_pieces(able, ["<think>", "I recall.", "</think>"], plain)

    assert (told.reasoning, told.text) == ("I recall.", plain)


def test_text_may_open_the_reasoning_at_the_very_start_alone(able: Model) -> None:
    assert tell_pieces(able, [], "<think>a</think>b").reasoning == "a"
    told = tell_pieces(able, [], "b <think>a</think>")
    assert (told.reasoning, told.text) == ("", "b <think>a</think>")


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
