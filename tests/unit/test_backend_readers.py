"""Whatever a server sends, a reader fails in one of the ways that its callers know."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routerd.backends.base import BackendError
from routerd.backends.build import FORMATS
from routerd.backends.format import ErrorInStreamError
from routerd.backends.sse import EventParser
from routerd.selftest.fake_formats import SPEAKERS, Knobs
from routerd_client.records import FailureKind

KNOBS = Knobs(reasoning="hm", refusal="no", calls=[("look", '{"at": 1}')])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["type", "text", "error", "index", "content"]), inner, max_size=2)
    ),
)


def stream(kind: str) -> list[Any]:
    """The events of a good answer, as objects; other text stands for itself."""
    speak = SPEAKERS[kind]
    text = "".join([*speak.head(KNOBS), *speak.pieces(KNOBS), *speak.tail(KNOBS)])
    found = [event.data for event in EventParser().feed(text.encode())]
    return [json.loads(data) if data != b"[DONE]" else "[DONE]" for data in found]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in inner:
        yield from places(child, (*path, key))


def put(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    copy = value.copy()
    copy[path[0]] = put(value[path[0]], path[1:], new)
    return copy


@pytest.mark.parametrize("kind", list(FORMATS))
@given(data=st.data())
def test_one_thing_wrong_in_a_good_answer(kind: str, data: st.DataObject) -> None:
    events = stream(kind)
    path = data.draw(st.sampled_from(list(places(events))[1:]))
    events = put(events, path, data.draw(JSON))
    lines = [f"data: {event if isinstance(event, str) else json.dumps(event)}\n\n" for event in events]
    reader = FORMATS[kind].reader()

    try:
        for event in EventParser().feed("".join(lines).encode()):
            reader.feed(event)
        reader.end()
    except BackendError as error:
        assert error.kind in (FailureKind.MALFORMED, FailureKind.CUT)  # noqa: PT017 - there may be none
    except ErrorInStreamError as error:
        assert isinstance(error.said.message, str)  # noqa: PT017


@pytest.mark.parametrize("kind", list(FORMATS))
@given(body=JSON)
def test_any_whole_answer(kind: str, body: Any) -> None:
    reader = FORMATS[kind].reader()

    def answer() -> None:
        reader.whole(json.dumps(body).encode())
        reader.end()

    with pytest.raises((BackendError, ErrorInStreamError)):
        answer()
