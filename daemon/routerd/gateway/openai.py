"""What OpenAI's formats have in common: fields of requests, errors, usage, log probabilities."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from msgspec import Struct

from routerd_client.chat import Sampling, TokenLogprob, Usage
from routerd_client.protocol import Error, ErrorCode

from .format import Refusal, about, encode, session_of, words
from .local_fields import LocalFields, check_number

OVERLOADED = 429

_TYPES = {401: "authentication_error", 403: "permission_error", 402: "insufficient_quota", 429: "rate_limit_error"}
_CODES = {
    ErrorCode.NOT_FOUND: "model_not_found",
    ErrorCode.CONTEXT_OVERFLOW: "context_length_exceeded",
    ErrorCode.BUDGET: "insufficient_quota",
    ErrorCode.OVERLOADED: "rate_limit_exceeded",
    ErrorCode.CONTENT_FILTERED: "content_filter",
}


class StreamOptions(Struct, frozen=True):
    include_usage: bool | None = None


class Common(Struct, frozen=True, kw_only=True):
    """Fields that chat/completions and completions share. Null is no opinion."""

    model: str | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    xtc_probability: float | None = None
    xtc_threshold: float | None = None
    logit_bias: dict[int, float] | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    n: int | None = None
    metadata: dict[str, Any] | None = None
    prompt_cache_key: str | None = None

    @property
    def include_usage(self) -> bool:
        return bool(self.stream_options and self.stream_options.include_usage)

    @property
    def session(self) -> str:
        return session_of(self.prompt_cache_key, self.metadata)

    def check(self) -> None:
        """Raises `BadRequestError` for what no backend is asked."""
        check_number(self.n)

    def sampling(self, local: LocalFields) -> Sampling:
        own = Sampling(
            temperature=self.temperature,
            top_p=self.top_p,
            top_k=self.top_k,
            min_p=self.min_p,
            repetition_penalty=self.repetition_penalty,
            presence_penalty=self.presence_penalty,
            frequency_penalty=self.frequency_penalty,
            xtc_probability=self.xtc_probability,
            xtc_threshold=self.xtc_threshold,
            logit_bias=self.logit_bias or {},
            seed=self.seed,
        )
        return local.sampling(own)


def error_object(status: int, error: Error, param: str = "") -> dict[str, Any]:
    """OpenAI's ``error``."""
    kind = _TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    code = "invalid_api_key" if status == 401 else _CODES.get(error.code, error.code.value)
    return {"message": words(error), "type": kind, "param": param or None, "code": code}


def refuse(refusal: Refusal) -> bytes:
    """See `Format`."""
    error = error_object(refusal.status, refusal.error, refusal.param)
    return encode({"error": error, "routerd": about(refusal.error)})


def usage_object(usage: Usage) -> dict[str, Any]:
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
    }


def logprob_objects(logprobs: Iterable[TokenLogprob]) -> list[dict[str, Any]]:
    """As chat/completions and responses write them."""
    return [
        {
            "token": one.token,
            "logprob": one.logprob,
            "bytes": one.raw or list(one.token.encode()),
            "top_logprobs": [
                {"token": top.token, "logprob": top.logprob, "bytes": top.raw or list(top.token.encode())}
                for top in one.top
            ],
        }
        for one in logprobs
    ]
