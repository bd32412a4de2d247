"""What models write, taken apart as published: token by token, in pieces, and as a whole."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlx_lm.chat_templates.muse_spark import RESPONSE_FORMAT
from mlx_lm.generate import TextStateMachine

from routerd.worker.formats.blocks import parsed
from routerd.worker.formats.grammar import Grammar
from routerd.worker.formats.harmony import Harmony
from routerd.worker.formats.machine import Machine
from routerd.worker.formats.marks import Marks
from routerd.worker.formats.segments import Segmenter
from routerd.worker.formats.tagged import Tagged
from routerd.worker.lm import families, tool_parser

from .published import EXAMPLES, Example

DOCUMENT = (Path(__file__).parents[2] / "docs/models.md").read_text()


class Read:
    """An answer, taken apart."""

    def __init__(self) -> None:
        self.text = self.reasoning = self.why = ""
        self.calls: list[tuple[str, Any]] = []


def grammar(example: Example) -> Grammar:
    template = "{{ tools }}" + example.template
    return Grammar(families(), dict(enumerate(example.specials)), template)


def coded(marks: Marks, specials: tuple[str, ...], output: str) -> str:
    """``output`` as it is decoded: the special tokens as their codes."""
    if not specials:
        return output
    tokens = re.split("(" + "|".join(map(re.escape, sorted(specials, key=len, reverse=True))) + ")", output)
    return "".join((marks.of(specials.index(token)) or token) if token in specials else token for token in tokens)


def read(segmenter: Segmenter, output: str, step: int) -> Read:
    found, kind, after = Read(), "text", False
    fed = [segmenter.feed(output[at : at + step]) for at in range(0, len(output), step)]
    for segment in [segment for segments in [*fed, segmenter.flush()] for segment in segments]:
        kind, after = segment.kind, after or segment.kind != kind
        if segment.kind == "call":
            reading = segment.reading
            found.calls += [(call.name, json.loads(call.arguments)) for call in reading.calls]
            found.why = found.why or reading.why
            if reading.why:
                found.text += segment.before + reading.left if reading.calls else segment.text
                continue
        text = segment.reading.left if segment.kind == "call" else segment.text
        text = text.lstrip() if after or segment.kind == "call" else text
        after = after and not text
        if segment.kind == "reasoning":
            found.reasoning += text
        else:
            found.text += text
    return found


def tools(example: Example) -> list[dict[str, Any]]:
    parameters = {"type": "object", "properties": example.parameters}
    names = {"get_weather", *(name for name, _ in example.calls)}
    return [{"type": "function", "function": {"name": name, "parameters": parameters}} for name in names]


def segmenter(example: Example, made: Grammar) -> Segmenter:
    if made.harmony:
        return Harmony(made.marks, tools(example), opened=example.reasons, header=example.header)
    return Tagged(made, tools(example), opened=example.reasons)


@pytest.mark.parametrize("step", [1, 3, 10_000])
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.family)
def test_a_published_output_comes_to_what_is_published(example: Example, step: int) -> None:
    made = grammar(example)
    found = read(segmenter(example, made), coded(made.marks, example.specials, example.output), step)

    assert tuple(found.calls) == example.calls
    assert (found.text, found.reasoning) == (example.text, example.reasoning)
    assert bool(found.why) is example.flawed


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.family)
def test_a_call_that_is_cut_never_counts_as_whole(example: Example) -> None:
    made = grammar(example)
    whole = coded(made.marks, example.specials, example.output)
    for end in range(1, len(whole)):
        found = read(segmenter(example, made), whole[:end], 10_000)
        for name, arguments in found.calls:
            assert (name, arguments) in example.calls, whole[:end]


@pytest.mark.parametrize(
    "example", [e for e in EXAMPLES if e.specials and not e.template], ids=lambda example: example.family
)
def test_what_only_spells_the_markers_is_text(example: Example) -> None:
    made = grammar(example)
    prose = f"So it is: {example.output}"
    found = read(segmenter(example, made), prose, 3)

    if not (example.reasons or example.header):
        assert (found.text, found.reasoning, found.calls) == (prose, "", [])


@pytest.mark.parametrize("step", [1, 3, 10_000])
def test_a_response_format_of_mlx_lm_is_used_as_it_is(step: int) -> None:
    specials = ("<|message|>", "<|eom|>")
    marks = Marks(dict(enumerate(specials)), specials)
    machine = TextStateMachine({**RESPONSE_FORMAT["transitions"], "tool": [("</atem:function_calls>", "normal")]})
    muse = Machine(machine, RESPONSE_FORMAT["initial_state"], parsed(tool_parser("muse_spark")), [], marks)
    call = '<atem:invoke name="get_weather"><atem:parameter name="city">Bonn</atem:parameter></atem:invoke>'
    output = f"to=self<|message|>hm<|eom|>to=user<|message|>Look:<|eom|><atem:function_calls>{call}"
    found = read(muse, coded(marks, specials, f"{output}</atem:function_calls>"), step)

    assert (found.reasoning, found.text, found.calls) == ("hm", "Look:", [("get_weather", {"city": "Bonn"})])


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_no_markup_loses_text_or_raises(data: st.DataObject) -> None:
    example = data.draw(st.sampled_from(EXAMPLES))
    made = grammar(example)
    words = ["\u03b1", " ", "\n", "`", "{", '{"name": "get_weather"', "}", "get_weather", *example.specials]
    parts = data.draw(st.lists(st.sampled_from(words), max_size=12))
    output = "".join(coded(made.marks, example.specials, part) for part in parts)
    steps = {step: read(segmenter(example, made), output, step) for step in (1, 4, 10_000)}

    assert len({(found.text, found.reasoning, str(found.calls)) for found in steps.values()}) == 1
    letters = steps[1].text + steps[1].reasoning + str(steps[1].calls)
    assert letters.count("\u03b1") == output.count("\u03b1") or made.harmony


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.family)
def test_the_document_names_the_family_and_its_source(example: Example) -> None:
    row = next(line for line in DOCUMENT.splitlines() if line.startswith(f"| {example.family} |"))

    assert example.source.rpartition("/")[2] in row
