"""How many values a request of JSON has, before it is decoded."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routerd.dispatch.elements import MOST_ELEMENTS, _Counter, too_many

MESSAGE = {"role": "user", "content": "a"}
JSON = st.recursive(
    st.none() | st.integers() | st.text('",{[\\a'),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text('",{[\\a'), inner, max_size=4),
)


def signs(value: Any) -> int:
    """Commas and opening brackets outside texts."""
    if not isinstance(value, list | dict):
        return 0
    inner = value.values() if isinstance(value, dict) else value
    return 1 + max(0, len(value) - 1) + sum(map(signs, inner))


@given(JSON, st.integers(1, 9))
def test_texts_do_not_count_wherever_they_are_cut(value: Any, size: int) -> None:
    body = json.dumps(value).encode()
    counter, count = _Counter(), 0
    for at in range(0, len(body), size):
        count = counter.feed(body[at : at + size])

    assert count == signs(value)


@pytest.mark.parametrize(
    ("value", "many"),
    [
        ({"messages": [MESSAGE] * 20_000}, False),
        ({"messages": [MESSAGE] * 200_000}, True),
        ({"messages": [{"role": "user", "content": '{[,\\"' * MOST_ELEMENTS}]}, False),
        ({"input": [1] * (MOST_ELEMENTS + 10)}, True),
        ([[]] * (MOST_ELEMENTS // 2 + 10), True),
        ({"metadata": {str(at): "" for at in range(100_000)}}, False),
    ],
)
async def test_a_request_of_more_than_anybody_needs(value: Any, many: bool) -> None:
    assert await too_many(json.dumps(value).encode()) is many
