"""Values by which local model servers say "none": accepted from every front, and meant as there. Pure."""

from __future__ import annotations

from msgspec.structs import replace

from routerd_client.chat import ChatRequest

NO_LIMIT = (-1, -2)
"""As ``max_tokens``: without end, and until the context is full."""


def without_sentinels(chat: ChatRequest) -> ChatRequest:
    """``chat`` with no opinion where it says none by a value: ``max_tokens`` and ``seed`` -1.

    ``top_k`` -1 becomes 0, which switches it off also where a model's makers recommend one.
    """
    sampling = chat.sampling
    if sampling.seed == -1 or sampling.top_k == -1:
        seed = None if sampling.seed == -1 else sampling.seed
        sampling = replace(sampling, seed=seed, top_k=0 if sampling.top_k == -1 else sampling.top_k)
    max_tokens = None if chat.max_tokens in NO_LIMIT else chat.max_tokens
    if sampling is chat.sampling and max_tokens == chat.max_tokens:
        return chat
    return replace(chat, sampling=sampling, max_tokens=max_tokens)
