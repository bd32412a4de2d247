"""Log probabilities of decoded tokens, as callers see them."""

from __future__ import annotations

from typing import Any

from routerd_client.chat import TokenLogprob, TopLogprob

from .lm import Model, likeliest


def token_logprob(model: Model, response: Any, top: int) -> TokenLogprob:
    """The token of a generator's ``response`` with the ``top`` likeliest at its place, in falling order."""
    others = likeliest(response.logprobs, top) if top else []
    return TokenLogprob(
        token=model.token_text(response.token),
        logprob=response.logprobs[response.token].item(),
        top=[TopLogprob(model.token_text(token), logprob) for token, logprob in others],
    )
