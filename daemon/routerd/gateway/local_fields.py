"""Fields of local model servers (llama.cpp, vLLM, Ollama, LM Studio) that no maker's format has, read on every front.

They are read from what a format does not know, and stay there: a backend of the same format gets them as they came.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from .format import with_whole_numbers, wrong_type


class _Thinking(Struct, frozen=True):
    type: str = ""


class _Reasoning(Struct, frozen=True):
    effort: str | None = None
    enabled: bool | None = None


class LocalFields(Struct, frozen=True, kw_only=True):
    """Those of one request. Null is no opinion."""

    n_predict: int | None = None
    min_tokens: int | None = None
    stop_token_ids: list[int] | None = None
    ignore_eos: bool | None = None
    continue_final_message: bool | None = None
    repeat_penalty: float | None = None
    think: bool | str | None = None
    enable_thinking: bool | None = None
    thinking: _Thinking | bool | None = None
    reasoning: _Reasoning | None = None
    reasoning_effort: str | None = None
    chat_template_kwargs: dict[str, Any] | None = None

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


NAMES = frozenset(LocalFields.__struct_fields__)


def local_fields(extra: Mapping[str, Any]) -> LocalFields:
    """Those in ``extra``. Raises `BadRequestError` for a value of another type."""
    fields = {name: value for name, value in extra.items() if name in NAMES}
    try:
        return msgspec.convert(with_whole_numbers(fields), LocalFields)
    except msgspec.ValidationError as error:
        raise wrong_type(error) from None
