"""Messages to a worker: whatever JSON allows in what is passed on arrives as it was sent."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from routerd import wire
from routerd_client.chat import ChatRequest, FunctionSpec, Message, ResponseFormat, Sampling, Tool

CHAT = ChatRequest(messages=[Message("user", "hello")])
NUMBERS = st.integers(-(2**200), 2**200) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
OBJECTS = st.dictionaries(st.text(max_size=8), VALUES, max_size=4)


@given(parameters=st.lists(st.none() | OBJECTS, max_size=3), schema=st.none() | OBJECTS, arguments=OBJECTS)
def test_free_values_arrive_as_they_were_sent(
    parameters: list[dict[str, Any] | None], schema: dict[str, Any] | None, arguments: dict[str, Any]
) -> None:
    chat = replace(
        CHAT,
        tools=[Tool(FunctionSpec(f"f{n}", parameters=one)) for n, one in enumerate(parameters)],
        response_format=ResponseFormat("json_schema", schema),
        template_args=arguments,
    )
    for message in (wire.Generate(id=1, chat=chat), wire.Count(id=1, chat=chat)):
        assert wire.decode(wire.encode(message)) == message


def test_fields_for_apis_are_not_sent() -> None:
    found = wire.decode(wire.encode(wire.Generate(id=1, chat=replace(CHAT, extra={"openai": {"trace": 10**25}}))))

    assert found == wire.Generate(id=1, chat=CHAT)


@pytest.mark.parametrize(
    "chat",
    [
        replace(CHAT, sampling=Sampling(seed=2**64)),
        replace(CHAT, sampling=Sampling(logit_bias={2**70: 1.0})),
        replace(CHAT, messages=[Message("user", "\ud800")]),
        replace(CHAT, template_args={"a": "\udfff"}),
        replace(CHAT, template_args={"a": object()}),
    ],
    ids=["seed", "bias", "text", "argument", "object"],
)
def test_what_cannot_be_sent_is_an_error_that_is_known(chat: ChatRequest) -> None:
    with pytest.raises(wire.ENCODING_ERRORS):
        wire.encode(wire.Generate(id=1, chat=chat))


def test_free_parts_that_do_not_fit_their_chat_are_refused() -> None:
    frame = wire.encoder.encode(wire.Generate(id=1, chat=CHAT, free=b'{"parameters":[{}]}'))

    with pytest.raises(msgspec.DecodeError, match="differ in number"):
        wire.decode(frame)
