"""Values that a model process refuses: the message has the bounds as a person writes them."""

from __future__ import annotations

import pytest

from routerd.worker.validate import RequestError, check
from routerd_client.chat import ChatRequest, Message, Sampling

HI = [Message(role="user", content="Hi")]


@pytest.mark.parametrize(
    ("chat", "says"),
    [
        (
            ChatRequest(messages=HI, sampling=Sampling(seed=-2)),
            "seed is -2; it must be from 0 to 18446744073709551615",
        ),
        (ChatRequest(messages=HI, sampling=Sampling(top_p=1.5)), "top_p is 1.5; it must be from 0 to 1"),
        (
            ChatRequest(messages=HI, sampling=Sampling(xtc_threshold=0.7)),
            "xtc_threshold is 0.7; it must be from 0 to 0.5",
        ),
        (ChatRequest(messages=HI, max_tokens=0), "max_tokens is 0; it must be at least 1"),
        (
            ChatRequest(messages=HI, stop_token_ids=[2_000_000]),
            "a token id in stop_token_ids is 2000000; it must be from 0 to 1999999",
        ),
    ],
    ids=["seed", "top_p", "xtc_threshold", "max_tokens", "stop_token_ids"],
)
def test_a_refused_value_is_told_with_plain_bounds(chat: ChatRequest, says: str) -> None:
    with pytest.raises(RequestError) as refused:
        check(chat, 2_000_000)
    assert str(refused.value) == says
