"""Fields of local model servers (llama.cpp, vLLM, Ollama, LM Studio), and of the other makers' formats, that a front's
own format does not have: read alike on every front.

They are read from what a format does not know, and stay there: a backend of the same format gets them as they came.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from routerd_client.chat import Sampling

from .format import BadRequestError, max_tokens_of, with_whole_numbers, wrong_type


class _Thinking(Struct, frozen=True):
    type: str = ""


class _Reasoning(Struct, frozen=True):
    effort: str | None = None
    enabled: bool | None = None


class LocalFields(Struct, frozen=True, kw_only=True):
    """Those of one request. Null is no opinion."""

    max_completion_tokens: int | None = None
    max_output_tokens: int | None = None
    max_tokens: int | None = None
    n_predict: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    repeat_penalty: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    xtc_probability: float | None = None
    xtc_threshold: float | None = None
    logit_bias: dict[int, float] | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    n: int | None = None
    min_tokens: int | None = None
    stop_token_ids: list[int] | None = None
    ignore_eos: bool | None = None
    continue_final_message: bool | None = None
    think: bool | str | None = None
    enable_thinking: bool | None = None
    thinking: _Thinking | bool | None = None
    reasoning: _Reasoning | None = None
    reasoning_effort: str | None = None
    chat_template_kwargs: dict[str, Any] | None = None

    def limit(self, **own: int | None) -> int | None:
        """Return the answer's cap: the first given of the format's ``own`` fields, else of these, by its name.

        Raises `BadRequestError` for one that is no cap.
        """
        limits = [max_tokens_of(number, field) for field, number in (own | self._limits).items()]
        return next((limit for limit in limits if limit is not None), None)

    def stops(self, own: str | list[str] | None = None) -> list[str]:
        """Return the stop texts: those of the format's ``own`` field, else of ``stop``."""
        given = self.stop if own is None else own
        stops = [given] if isinstance(given, str) else given or []
        return [text for text in stops if text]  # llama.cpp and LM Studio say none by an empty one

    def sampling(self, own: Sampling) -> Sampling:
        """Return ``own``, what the format has, and for what that does not say these fields."""
        penalty = self.repeat_penalty if self.repetition_penalty is None else self.repetition_penalty
        given = {name: getattr(self, name) for name in _SAMPLING} | {"repetition_penalty": penalty}
        missing = {name for name in _SAMPLING if getattr(own, name) in (None, {})}
        return replace(own, **{name: value for name, value in given.items() if value is not None and name in missing})

    @property
    def _limits(self) -> dict[str, int | None]:
        return {name: limit for name in _LIMITS if (limit := getattr(self, name)) is not None}

    @property
    def endings(self) -> dict[str, Any]:
        """Fields of a `ChatRequest` that say where the answer may end."""
        ids = self.stop_token_ids or []
        return {"min_tokens": self.min_tokens, "stop_token_ids": ids, "ignore_eos": bool(self.ignore_eos)}

    @property
    def effort(self) -> str | None:
        """How much to think: as OpenAI has it, Ollama, or OpenRouter."""
        if self.reasoning_effort is not None:
            return self.reasoning_effort
        if isinstance(self.think, str):
            return self.think
        return self.reasoning.effort if self.reasoning else None

    def template_args(self, *switches: bool | None) -> dict[str, Any]:
        """Variables of the chat template, with thinking on or off as the first of ``switches``, or a field, says."""
        named = self.thinking
        if isinstance(named, _Thinking):
            named = {"enabled": True, "disabled": False}.get(named.type)
        enabled = self.reasoning.enabled if self.reasoning else None
        ways = (*switches, self.enable_thinking, self.think, named, enabled)
        given = self.chat_template_kwargs or {}
        switch = next((each for each in ways if isinstance(each, bool)), None)
        # the variable of Qwen's and most other templates; workers know what the others call it
        return given if switch is None else {"enable_thinking": switch, **given}


_SAMPLING = Sampling.__struct_fields__
_LIMITS = ("max_completion_tokens", "max_output_tokens", "max_tokens", "n_predict")
NAMES = frozenset(LocalFields.__struct_fields__)


def check_number(n: int | None) -> None:
    """Raise `BadRequestError` for any number of answers but one."""
    if n not in (None, 1):
        raise BadRequestError(f"n must be 1; send {n} separate requests", "n")


def local_fields(extra: Mapping[str, Any]) -> LocalFields:
    """Those in ``extra``. Raises `BadRequestError` for a value of another type."""
    fields = {name: value for name, value in extra.items() if name in NAMES}
    try:
        local = msgspec.convert(with_whole_numbers(fields), LocalFields, str_keys=True)
    except msgspec.ValidationError as error:
        raise wrong_type(error) from None
    check_number(local.n)
    return local
