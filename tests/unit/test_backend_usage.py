"""What an API says that it used, in all three formats: believed, or nobody knows."""

from __future__ import annotations

import json
from typing import Any

import pytest

from routerd.backends.build import FORMATS
from routerd.backends.sse import EventParser
from routerd.selftest.fake_formats import SPEAKERS, Knobs
from routerd_client.chat import FinishReason, Usage

each_kind = pytest.mark.parametrize("kind", list(FORMATS))
ABSURD = [-1, 2**53, 2**62, 2**63, 2**64, 2**70, -(2**70), 9.5, 1e308, "9", "NaN", True, [], {}, "x" * 1000]


def streamed(kind: str, knobs: Knobs) -> Usage:
    speak, reader = SPEAKERS[kind], FORMATS[kind].reader()
    text = "".join([*speak.head(knobs), *speak.pieces(knobs), *speak.tail(knobs)])
    for event in EventParser().feed(text.encode()):
        reader.feed(event)
    end = reader.end()
    assert end.finish_reason is FinishReason.STOP
    return end.usage


def whole(kind: str, knobs: Knobs) -> Usage:
    reader = FORMATS[kind].reader()
    piece = reader.whole(json.dumps(SPEAKERS[kind].whole(knobs)).encode())
    assert piece
    assert piece.text == "Hello, world!"
    return reader.end().usage


@each_kind
@pytest.mark.parametrize("count", ABSURD)
@pytest.mark.parametrize("read", [streamed, whole])
def test_counts_that_no_model_has_are_none(kind: str, count: Any, read: Any) -> None:
    assert read(kind, Knobs(count=count)) == Usage()


@each_kind
@pytest.mark.parametrize("count", [0, 7, 7.0, 10**8])
@pytest.mark.parametrize("read", [streamed, whole])
def test_counts_that_one_may_have_are_taken(kind: str, count: Any, read: Any) -> None:
    assert read(kind, Knobs(count=count)).reasoning_tokens == count


@each_kind
@pytest.mark.parametrize("usage", ["none", [], 5, True, {"prompt_tokens": {"x": 1}, "output_tokens": {"x": 1}}])
def test_a_usage_that_is_none_costs_no_answer(kind: str, usage: Any) -> None:
    reader = FORMATS[kind].reader()
    assert reader.whole(json.dumps({**SPEAKERS[kind].whole(Knobs()), "usage": usage}).encode())
    assert reader.end().usage == Usage()
