"""What OpenAI's formats have in common: fields of requests, errors, usage, log probabilities."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from msgspec import Struct

from routerd_client.chat import Sampling, TokenLogprob, Usage
from routerd_client.protocol import Error, ErrorCode

from .format import BadRequestError, Refusal, Whole, about, encode, session_of, whole, words

OVERLOADED = 429

_TYPES = {401: "authentication_error", 403: "permission_error", 402: "insufficient_quota", 429: "rate_limit_error"}
_CODES = {
    ErrorCode.NOT_FOUND: "model_not_found",
    ErrorCode.CONTEXT_OVERFLOW: "context_length_exceeded",
    ErrorCode.BUDGET: "insufficient_quota",
    ErrorCode.OVERLOADED: "rate_limit_exceeded",
    ErrorCode.CONTENT_FILTERED: "content_filter",
}


class Thinking(Struct, frozen=True):
    """Anthropic's way to say whether to think, and other makers'."""

    type: str = ""
    display: str | None = None

    @property
    def switch(self) -> bool | None:
        return {"enabled": True, "disabled": False}.get(self.type)


class _Reasoning(Struct, frozen=True):
    effort: str | None = None
    enabled: bool | None = None


class StreamOptions(Struct, frozen=True):
    include_usage: bool | None = None


_PASSED_ON = frozenset({
    # not OpenAI's own: servers that know them get them as they came
    "continue_final_message", "enable_thinking", "ignore_eos", "min_tokens", "n_predict", "prompt_cache_key",
    "reasoning", "repeat_penalty", "stop_token_ids", "think", "thinking",
})  # fmt: skip


class Common(Struct, frozen=True, kw_only=True):
    """Fields that chat/completions and completions share. Null is no opinion."""

    model: str | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: Whole | None = None
    n_predict: Whole | None = None
    min_tokens: Whole | None = None
    stop_token_ids: list[int] | None = None
    ignore_eos: bool | None = None
    continue_final_message: bool | None = None
    think: bool | str | None = None
    enable_thinking: bool | None = None
    thinking: Thinking | bool | None = None
    reasoning: _Reasoning | None = None
    reasoning_effort: str | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: Whole | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    repeat_penalty: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    xtc_probability: float | None = None
    xtc_threshold: float | None = None
    logit_bias: dict[int, float] | None = None
    seed: Whole | None = None
    stop: str | list[str] | None = None
    n: Whole | None = None
    metadata: dict[str, Any] | None = None
    prompt_cache_key: str | None = None

    @property
    def include_usage(self) -> bool:
        return bool(self.stream_options and self.stream_options.include_usage)

    @property
    def stops(self) -> list[str]:
        return [self.stop] if isinstance(self.stop, str) else self.stop or []

    @property
    def session(self) -> str:
        return session_of(self.prompt_cache_key, self.metadata)

    @classmethod
    def known(cls) -> frozenset[str]:
        """The fields that are read here, and not passed on as they came."""
        return frozenset(cls.__struct_fields__) - _PASSED_ON

    def check(self) -> None:
        """Raises `BadRequestError` for what no backend is asked."""
        if self.n not in (None, 1):
            raise BadRequestError(f"n is {self.n}: one answer a request is given; send the request {self.n} times", "n")

    def sampling(self) -> Sampling:
        return Sampling(
            temperature=self.temperature,
            top_p=self.top_p,
            top_k=whole(self.top_k, "top_k"),
            min_p=self.min_p,
            repetition_penalty=self.repeat_penalty if self.repetition_penalty is None else self.repetition_penalty,
            presence_penalty=self.presence_penalty,
            frequency_penalty=self.frequency_penalty,
            xtc_probability=self.xtc_probability,
            xtc_threshold=self.xtc_threshold,
            logit_bias=self.logit_bias or {},
            seed=whole(self.seed, "seed"),
        )

    @property
    def limit(self) -> int | None:
        """The answer's cap: as the format calls it, or as llama.cpp does."""
        field = "n_predict" if self.max_tokens is None else "max_tokens"
        return whole(getattr(self, field), field)

    @property
    def endings(self) -> dict[str, Any]:
        """Fields of a `ChatRequest` that say where the answer may end, as vLLM and llama.cpp have them."""
        return {
            "min_tokens": whole(self.min_tokens, "min_tokens"),
            "stop_token_ids": self.stop_token_ids or [],
            "ignore_eos": bool(self.ignore_eos),
        }

    @property
    def effort(self) -> str | None:
        """How much to think: as OpenAI has it, OpenRouter, or Ollama."""
        if self.reasoning_effort is not None:
            return self.reasoning_effort
        if isinstance(self.think, str):
            return self.think
        return self.reasoning.effort if self.reasoning else None

    @property
    def template_args(self) -> dict[str, Any]:
        """Variables of the chat template, thinking switched on or off as any of the local servers' ways says."""
        named = self.thinking.switch if isinstance(self.thinking, Thinking) else self.thinking
        enabled = self.reasoning.enabled if self.reasoning else None
        return switched(self.chat_template_kwargs, self.enable_thinking, self.think, named, enabled)


def switched(given: dict[str, Any] | None, *switches: bool | str | None) -> dict[str, Any]:
    """Variables of a chat template: ``given``, and thinking as the first of ``switches`` says that is on or off."""
    switch = next((each for each in switches if isinstance(each, bool)), None)
    # the variable of Qwen's and most other templates; workers know what the others call it
    return (given or {}) if switch is None else {"enable_thinking": switch, **(given or {})}


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
            "bytes": list(one.token.encode()),
            "top_logprobs": [
                {"token": top.token, "logprob": top.logprob, "bytes": list(top.token.encode())} for top in one.top
            ],
        }
        for one in logprobs
    ]
