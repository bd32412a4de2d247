"""Names of what a request says and a backend cannot be told, or does not do. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from routerd_client.chat import ChatRequest

from ..routing.features import offers_tools

_NO_OPINION: tuple[object, ...] = (None, False, "", [], {})
_HARMLESS = frozenset({
    # nothing about the answer hangs on them
    "cache_control", "cache_prompt", "metadata", "prompt_cache_key", "prompt_cache_retention", "safety_identifier",
    "service_tier", "store", "stream_options", "user",
})  # fmt: skip
_READ = frozenset({
    # fronts read them, and pass them on as they are to servers that know them
    "add_generation_prompt", "chat_template_kwargs", "continue_final_message", "enable_thinking", "ignore_eos",
    "min_tokens", "n_predict", "reasoning", "repeat_penalty", "stop_token_ids", "think", "thinking",
})  # fmt: skip
_ENDINGS = ("min_tokens", "stop_token_ids", "ignore_eos")


def by_owned(chat: ChatRequest, *, grouped: bool = False) -> list[str]:
    """What an owned model does not do; ``grouped``: one that several machines share."""
    names = {name for fields in chat.extra.values() for name in _opinions(fields)}
    if chat.response_format and chat.response_format.type != "text":
        names.add("response_format")  # the answer is held against it, and not made by it
    if chat.parallel_tool_calls is False and offers_tools(chat):
        names.add("parallel_tool_calls")
    return _fields(names | (_endings(chat) if grouped else set()))


def by_api(chat: ChatRequest, kind: str, *, local: bool) -> list[str]:
    """What an API of the format ``kind`` is not told; ``local``: a server that is sent local servers' fields too."""
    others = [fields for format_, fields in chat.extra.items() if format_ != kind]
    names = {name for fields in others for name in _opinions(fields)}
    return _fields(names if local or chat.extra.get(kind) else names | _endings(chat))


def _opinions(fields: dict[str, object]) -> Iterable[str]:
    return (name for name, value in fields.items() if value not in _NO_OPINION and name not in _HARMLESS | _READ)


def _endings(chat: ChatRequest) -> set[str]:
    return {name for name in _ENDINGS if getattr(chat, name)}


def _fields(names: Iterable[str]) -> list[str]:
    return [f"the field {name}" for name in sorted(names)]
