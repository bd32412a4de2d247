"""Whole answers of real models that each write one given script, through the engine."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from routerd.wire import Generate, Piece
from routerd.worker.lm import load
from routerd_client.chat import ChatRequest, FinishReason, FunctionSpec, Message, Tool
from tests.mlx.in_process import run_engine
from tests.support.scripted_model import CHAT, END, HERMES, make_scripted_model

WEATHER = Tool(FunctionSpec("get_weather", parameters={"type": "object", "properties": {"city": {"type": "string"}}}))
HARMONY = ["<|start|>", "<|end|>", "<|message|>", "<|channel|>", "<|return|>", "<|call|>", "<|constrain|>"]


class Told:
    """A whole answer."""

    def __init__(self, pieces: list[Piece], finish: FinishReason) -> None:
        self.pieces = pieces
        self.finish = finish
        self.text = "".join(piece.text for piece in pieces)
        self.reasoning = "".join(piece.reasoning for piece in pieces)
        self.flaw = next((piece.flaw for piece in pieces if piece.flaw), "")
        calls = [call.function for piece in pieces for call in piece.tool_calls]
        self.calls = [(call.name, json.loads(call.arguments)) for call in calls]


Tell = Callable[..., Told]


@pytest.fixture
def tell(tmp_path: Path) -> Tell:
    def told(
        script: Sequence[str | bytes],
        *specials: str,
        template: str = CHAT + HERMES,
        end: str = END,
        **asks: Any,
    ) -> Told:
        options: dict[str, Any] = {"end": end, "template": template}
        folder = make_scripted_model(tmp_path / "model", script, specials=specials, **options)
        model = load(folder, lambda _: None)
        chat = ChatRequest(messages=[Message("user", "Well?")], **{"tools": [WEATHER], **asks})
        done = run_engine(model, [Generate(id=1, chat=chat)])
        return Told([m for m in done.of(1) if isinstance(m, Piece)], done.finished(1).finish_reason)

    return told


def test_the_characters_of_a_marker_are_text(tell: Tell) -> None:
    script = ["<think>", "I recall it.", "</think>", "\n\nThe tag `<thi", "nk>` opens, `</thi", "nk>`", " closes."]
    told = tell(script, "<think>", "</think>")

    assert (told.reasoning, told.text) == ("I recall it.", "The tag `<think>` opens, `</think>` closes.")


def test_prose_that_mentions_a_call_goes_out_as_it_comes(tell: Tell) -> None:
    told = tell(["Models wrap a call in ", "<tool_", "call> tags so that", " it can be found."])

    assert told.text == "Models wrap a call in <tool_call> tags so that it can be found."
    assert (told.flaw, told.finish) == ("", FinishReason.STOP)
    assert [piece.text for piece in told.pieces][:3] == ["Models wrap a call in ", "", "<tool_call> tags so that"]


@pytest.mark.parametrize("call", ['{"name": "get_weather", "arguments": {"city": "\\d"}}', '{"name": "get_wea', "{"])
def test_a_broken_call_is_text_with_a_flaw(tell: Tell, call: str) -> None:
    told = tell(["I look. ", "<tool_call>", call, "</tool_call>"], "<tool_call>", "</tool_call>")

    assert told.text == f"I look. <tool_call>{call}</tool_call>"
    assert (told.calls, told.finish) == ([], FinishReason.STOP)
    assert told.flaw


def test_calls_come_at_the_end_so_that_a_later_one_may_still_be_broken(tell: Tell) -> None:
    sound = ["<tool_call>", '{"name": "get_weather", "arguments": {"city": "Oslo"}}', "</tool_call>"]
    told = tell([*sound, " and"], "<tool_call>", "</tool_call>")

    assert [bool(piece.tool_calls) for piece in told.pieces][-1:] == [True]
    assert told.calls == [("get_weather", {"city": "Oslo"})]
    assert told.finish is FinishReason.TOOL_CALLS


def test_harmony_is_taken_apart(tell: Tell) -> None:
    script = ["<|channel|>", "analysis", "<|message|>", "He asks.", "<|end|>", "<|start|>", "assistant"]
    told = tell([*script, "<|channel|>final", "<|message|>Bonn", "."], *HARMONY)

    assert (told.reasoning, told.text) == ("He asks.", "Bonn.")


def test_the_characters_of_a_channel_are_text(tell: Tell) -> None:
    script = ["<|channel|>", "final", "<|message|>", "It begins with `<|chan", "nel|>analysis<|message|>`."]

    assert tell(script, *HARMONY).text == "It begins with `<|channel|>analysis<|message|>`."


@pytest.mark.parametrize("arguments", ["", "{}", '{"city": "Bonn"}'])
def test_a_call_of_harmony_may_be_closed_by_the_end_token(tell: Tell, arguments: str) -> None:
    script = ["<|channel|>", "commentary to=functions.get_weather ", "<|constrain|>", "json", "<|message|>"]
    told = tell([*script, *([arguments] if arguments else [])], *HARMONY, end="<|call|>")

    assert told.calls == [("get_weather", json.loads(arguments or "{}"))]
    assert (told.text, told.flaw, told.finish) == ("", "", FinishReason.TOOL_CALLS)


def test_a_call_of_harmony_that_is_cut_is_a_flaw(tell: Tell) -> None:
    script = ["<|channel|>", "commentary to=functions.get_weather ", "<|message|>", '{"city": ', '"Bonn"}']
    told = tell(script, *HARMONY, end="<|call|>", max_tokens=4)

    assert (told.calls, told.finish) == ([], FinishReason.LENGTH)
    assert told.flaw


def test_reasoning_that_the_template_opens_and_the_model_once_more(tell: Tell) -> None:
    opened = CHAT.replace("'<|begin|>'", "'<|begin|><think>\\n'") + "{# </think> #}"
    told = tell(["<think>", "\nI recall.", "</think>", "42"], "<think>", "</think>", template=opened)

    assert (told.reasoning, told.text) == ("\nI recall.", "42")


def test_bytes_of_a_character_in_parts_are_exact(tell: Tell) -> None:
    told = tell(["Hi ", b"\xf0\x9f", b"\x91\x8b", "é"], logprobs=True, top_logprobs=1)

    entries = [one for piece in told.pieces for one in piece.logprobs]
    assert [one.raw for one in entries] == [[], [0xF0, 0x9F], [0x91, 0x8B], []]
    assert [one.top[0].raw for one in entries] == [[], [0xF0, 0x9F], [0x91, 0x8B], []]
    assert [one.token for one in entries][::3] == ["Hi ", "é"]
    assert told.text == "Hi 👋é"


def test_a_call_without_tags_is_read_where_the_template_has_none(tell: Tell) -> None:
    script = ['{"name": "get_weather", ', '"parameters": {"city": "Bonn"}}']

    assert tell(script, template=CHAT).calls == [("get_weather", {"city": "Bonn"})]


def test_json_that_calls_none_of_the_tools_is_text(tell: Tell) -> None:
    told = tell(['{"name": "Ada", ', '"born": 1815}'], template=CHAT)

    assert (told.text, told.calls, told.flaw) == ('{"name": "Ada", "born": 1815}', [], "")


def test_kimi_keeps_its_own_ids_which_its_template_prints(tell: Tell) -> None:
    marks = ["<|tool_calls_section_begin|>", "<|tool_call_begin|>", "<|tool_call_argument_begin|>", "<|tool_call_end|>"]
    script = [*marks[:2], "functions.get_weather:7", marks[2], '{"city": "Bonn"}', marks[3]]
    told = tell(script, *marks, "<|tool_calls_section_end|>")

    assert told.calls == [("get_weather", {"city": "Bonn"})]
    assert [call.id for piece in told.pieces for call in piece.tool_calls] == ["functions.get_weather:7"]
