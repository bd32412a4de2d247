"""Names of what a request says and a backend is not sent, or does not do. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from routerd_client.chat import ChatRequest

from ..routing.features import offers_tools

_HARMLESS = frozenset({
    # nothing about the answer hangs on them
    "cache_control", "cache_prompt", "metadata", "prompt_cache_key", "prompt_cache_retention", "safety_identifier",
    "service_tier", "store", "stream_options", "user",
})  # fmt: skip
_ON = frozenset({
    # what is done anyway
    "add_generation_prompt", "skip_special_tokens", "spaces_between_special_tokens",
})  # fmt: skip
_OFF = frozenset({
    # off by 0 or false, as they are here anyway
    "add_special_tokens", "best_of", "continue_final_message", "dry_multiplier", "dynatemp_range", "early_stopping",
    "echo", "ignore_eos", "include_stop_str_in_output", "logprobs", "min_keep", "min_tokens", "mirostat",
    "mirostat_mode", "n_indent", "n_keep", "n_probs", "post_sampling_probs", "prompt_logprobs", "raw",
    "return_progress", "return_token_ids", "return_tokens", "return_tokens_as_token_ids", "smoothing_factor",
    "t_max_predict_ms", "timings_per_token", "top_a", "top_logprobs", "use_beam_search",
})  # fmt: skip
_ONE = frozenset({"best_of", "length_penalty", "n", "tfs_z", "typical_p"})
"""Off by 1."""
_DEFAULTS = {"id_slot": -1, "top_n_sigma": -1, "truncation": "disabled"}
_ENDINGS = ("min_tokens", "stop_token_ids", "ignore_eos")
_EFFORT = "reasoning_effort"
_SWITCHES = ("enable_thinking", "thinking")
_NO_WORD_FOR = {
    "openai": ("top_k", "min_p", "repetition_penalty", "xtc_probability", "xtc_threshold"),
    "anthropic": ("min_p", "repetition_penalty", "presence_penalty", "frequency_penalty", "logit_bias", "seed"),
    "responses": (
        "top_k", "min_p", "repetition_penalty", "presence_penalty", "frequency_penalty", "logit_bias", "seed",
    ),
}  # fmt: skip
"""Sampling that a format cannot be told."""


def by_owned(chat: ChatRequest, read: frozenset[str] = frozenset(), *, grouped: bool = False) -> list[str]:
    """Name what an owned model does not do. ``read``: fields of ``chat.extra`` whose meaning the rest of it has;
    ``grouped``: a model that several machines share."""
    names = {name for fields in chat.extra.values() for name in _opinions(fields, read)}
    if chat.response_format and chat.response_format.type != "text":
        names.add("response_format")  # the answer is held against it, and not made by it
    if chat.parallel_tool_calls is False and offers_tools(chat):
        names.add("parallel_tool_calls")
    return _fields(names | (_endings(chat) if grouped else set()))


def by_api(chat: ChatRequest, kind: str, read: frozenset[str] = frozenset(), *, local: bool) -> list[str]:
    """Name what an API of the format ``kind`` is not sent; ``read`` as for `by_owned`, ``local``: a server that is sent
    local servers' fields too."""
    others = [fields for format_, fields in chat.extra.items() if format_ != kind]
    names = {name for fields in others for name in _opinions(fields, read)}
    untold = set() if local else _endings(chat) | _untold_sampling(chat, kind)
    return _fields(names | (untold - chat.extra.get(kind, {}).keys()))


def by_template(chat: ChatRequest, words: frozenset[str]) -> list[str]:
    """What a chat template whose code has the names ``words`` has no variable for."""
    off = any(chat.template_args.get(switch) is False for switch in _SWITCHES)
    switched = bool(words & {*_SWITCHES, _EFFORT})  # a worker finds the word that switches thinking off
    names = {
        _switch(chat) if name in _SWITCHES else f"chat_template_kwargs.{name}"
        for name in chat.template_args.keys() - words
        if not (off and switched and name in _SWITCHES)
    }
    effort = chat.reasoning_effort
    if effort and _EFFORT not in words and not (effort == "none" and switched):
        names.add(_EFFORT)
    return _fields(names)


def _switch(chat: ChatRequest) -> str:
    """Return the name by which ``chat`` switches thinking."""
    given = {name for fields in chat.extra.values() for name in fields}
    return next((name for name in ("enable_thinking", "think", "thinking", "reasoning") if name in given), _SWITCHES[0])


def _opinions(fields: dict[str, object], read: frozenset[str]) -> Iterable[str]:
    return (name for name, value in fields.items() if name not in _HARMLESS | read and _says(name, value))


def _says(name: str, value: object) -> bool:
    """Return whether ``value`` asks for anything that an answer without the field would not have."""
    if value is None or value in ("", [], {}):
        return False
    if isinstance(value, bool):
        return name not in (_ON if value else _OFF)
    if name in _DEFAULTS:
        return value != _DEFAULTS[name]
    return not (value == 0 and name in _OFF) and not (value == 1 and name in _ONE)


def _endings(chat: ChatRequest) -> set[str]:
    return {name for name in _ENDINGS if getattr(chat, name)}


def _untold_sampling(chat: ChatRequest, kind: str) -> set[str]:
    given = {name: getattr(chat.sampling, name) for name in _NO_WORD_FOR.get(kind, ())}
    off = {name for name, value in given.items() if not value or (name, value) == ("repetition_penalty", 1)}
    return given.keys() - (off - {"seed"} if given.get("seed") is not None else off)


def _fields(names: Iterable[str]) -> list[str]:
    return [f"the field {name}" for name in sorted(names)]
