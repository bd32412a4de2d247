"""Log probabilities of decoded tokens, as callers see them."""

from __future__ import annotations

from typing import Any

from routerd_client.chat import TokenLogprob, TopLogprob

from .lm import Model, likeliest


def token_logprob(model: Model, response: Any, top: int) -> TokenLogprob:
    """The token of a generator's ``response`` with the ``top`` likeliest at its place, in falling order."""
    others = likeliest(response.logprobs, top) if top else []
    text, raw = _spelled(model, response.token)
    return TokenLogprob(
        token=text,
        logprob=response.logprobs[response.token].item(),
        top=[TopLogprob(*_placed(model, token, logprob)) for token, logprob in others],
        raw=raw,
    )


def _placed(model: Model, token: int, logprob: float) -> tuple[str, float, list[int]]:
    text, raw = _spelled(model, token)
    return text, logprob, raw


def _spelled(model: Model, token: int) -> tuple[str, list[int]]:
    """Return the text of ``token``, and its bytes if they differ from the text's."""
    spelled = model.token_bytes(token)
    if spelled is None:
        return model.token_text(token), []
    text = spelled.decode(errors="replace")
    return text, [] if text.encode() == spelled else list(spelled)
