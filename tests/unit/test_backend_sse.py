"""Server-sent events, however they are cut into chunks."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routerd.backends.base import BackendError
from routerd.backends.sse import Event, EventParser

STREAM = (
    b': hi\r\n\r\ndata: {"a": 1}\r\n\r\nevent: ping\nid: 3\ndata\n\n'
    b"data: one\ndata:two\nretry: 5\n\n\n\ndata:  x\n\ndata: never"
)
EVENTS = [Event("", b'{"a": 1}'), Event("ping", b""), Event("", b"one\ntwo"), Event("", b" x")]


@given(st.lists(st.integers(0, len(STREAM))))
def test_chunks_do_not_matter(cuts: list[int]) -> None:
    parser, edges = EventParser(), [0, *sorted(cuts), len(STREAM)]

    events = [event for start, end in pairwise(edges) for event in parser.feed(STREAM[start:end])]

    assert events == EVENTS


@pytest.mark.parametrize("line", [b"data: ", b": comment", b"data: x\ndata: y\n"])
def test_what_never_ends_is_given_up(line: bytes) -> None:
    parser = EventParser(event_limit=1000)
    parser.feed(line)

    with pytest.raises(BackendError):
        parser.feed((b"x" * 10 if b"\n" not in line else line) * 1000)


def test_events_that_end_may_go_on_for_ever() -> None:
    parser = EventParser(event_limit=1000)

    assert sum(len(parser.feed(b"data: " + b"x" * 500 + b"\n\n: ping\n\n")) for _ in range(50)) == 50


def test_an_answer_may_not() -> None:
    parser = EventParser(limit=1000)

    assert len(parser.feed(b"data: x\n\n" * 100)) == 100

    with pytest.raises(BackendError):
        parser.feed(b"data: x\n\n" * 100)
