"""Answers as Anthropic's messages, whole and event by event."""

from __future__ import annotations

from typing import Any

import msgspec

from routerd_client.chat import FinishReason, ToolCall, Usage
from routerd_client.protocol import Delta, Done, Error, ErrorCode, Routed

from .format import about, encode, words

STOP_REASONS = {
    FinishReason.STOP: "end_turn",
    FinishReason.LENGTH: "max_tokens",
    FinishReason.TOOL_CALLS: "tool_use",
    FinishReason.CONTENT_FILTER: "refusal",
}
_TYPES = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}

_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
PING = b'event: ping\ndata: {"type":"ping"}\n\n'


class Writer:
    """See `format.Writer`. ``thinking``: whether the caller is shown the model's."""

    def __init__(self, model: str, *, thinking: bool) -> None:
        self._model = model
        self._thinking = thinking
        self._index = -1  # of the newest block
        self._open = ""  # its kind, until it ends
        self._said = False  # whether there was text
        self._head = b""  # of an event with more of its text, all before that

    def begin(self, routed: Routed, usage: Usage) -> bytes:
        message = self._message(routed.request_id, routed.endpoint, [], usage)
        return _event("message_start", message=message) + PING

    def delta(self, delta: Delta) -> bytes:
        sent = b""
        if delta.reasoning and self._thinking:
            sent += self._grow("thinking", delta.reasoning)
        if delta.text:
            self._said = True
            sent += self._grow("text", delta.text)
        for call in delta.tool_calls:
            sent += self._call(call)
        return sent

    def ping(self) -> bytes:
        return PING

    def done(self, done: Done) -> bytes:
        sent = self._grow("text", done.refusal) if done.refusal and not self._said else b""
        sent += self._close() + _event("message_delta", delta=_stopped(done), usage=usage_object(done.usage))
        return sent + _event("message_stop", routerd=about(done))

    def failed(self, error: Error) -> bytes:
        status = 504 if error.code is ErrorCode.DEADLINE else 500
        return _event("error", error=error_object(status, error), request_id=error.request_id, routerd=about(error))

    def whole(self, done: Done) -> bytes:
        assert done.message
        said, content = done.message, list[dict[str, Any]]()
        if said.reasoning and self._thinking:
            content.append({"type": "thinking", "thinking": said.reasoning, "signature": ""})
        if text := said.text or done.refusal:
            content.append({"type": "text", "text": text})
        content += [_tool_use(call, arguments(call)) for call in said.tool_calls]
        message = self._message(done.request_id, done.endpoint, content, done.usage)
        return encode({**message, **_stopped(done), "routerd": about(done)})

    def _message(self, request_id: str, endpoint: str, content: list[dict[str, Any]], usage: Usage) -> dict[str, Any]:
        """``model`` is the name the caller asked for, or the endpoint where it named none."""
        return {
            "id": f"msg_{request_id}",
            "type": "message",
            "role": "assistant",
            "model": self._model or endpoint,
            "content": content,
            "stop_reason": None,
            "stop_sequence": None,
            "usage": usage_object(usage),
        }

    def _grow(self, kind: str, text: str) -> bytes:
        sent = b""
        if self._open != kind:
            empty = {"type": kind, kind: "", **({"signature": ""} if kind == "thinking" else {})}
            sent = self._start(kind, empty)
            self._head = (
                b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,'
                b'"delta":{"type":"%b_delta","%b":' % (self._index, kind.encode(), kind.encode())
            )
        return b"%b%b%b}}\n\n" % (sent, self._head, encode(text))

    def _call(self, call: ToolCall) -> bytes:
        delta = {"type": "input_json_delta", "partial_json": encode(arguments(call)).decode()}
        sent = self._start("tool_use", _tool_use(call, {})) + _event(
            "content_block_delta", index=self._index, delta=delta
        )
        return sent + self._close()

    def _start(self, kind: str, block: dict[str, Any]) -> bytes:
        closed = self._close()
        self._index += 1
        self._open = kind
        return closed + _event("content_block_start", index=self._index, content_block=block)

    def _close(self) -> bytes:
        opened, self._open = self._open, ""
        return _event("content_block_stop", index=self._index) if opened else b""


def _tool_use(call: ToolCall, input_: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": call.id, "name": call.function.name, "input": input_}


def arguments(call: ToolCall) -> msgspec.Raw | dict[str, Any]:
    """The format wants an object, and a model may have written none. One is kept as it was written, whatever numbers
    are in it."""
    text = call.function.arguments or "{}"
    try:
        _OBJECT.decode(text)
        return msgspec.Raw(msgspec.json.format(text.encode(), indent=-1))
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return {"arguments": call.function.arguments}


def _stopped(done: Done) -> dict[str, Any]:
    """Which of its stop sequences ended an answer is not known."""
    reason = "refusal" if done.refusal else STOP_REASONS.get(done.finish_reason, "end_turn")
    told: dict[str, Any] = {"stop_reason": reason, "stop_sequence": None}
    if reason == "refusal":
        why = done.refusal or done.flaw_message or None
        told["stop_details"] = {"type": "refusal", "category": None, "explanation": why}
    return told


def usage_object(usage: Usage) -> dict[str, Any]:
    """The format does not count tokens that came from a cache, or went into one, among those of the input."""
    told: dict[str, Any] = {
        "input_tokens": max(0, usage.prompt_tokens - usage.cached_tokens - usage.cache_write_tokens),
        "cache_creation_input_tokens": usage.cache_write_tokens,
        "cache_read_input_tokens": usage.cached_tokens,
        "output_tokens": usage.completion_tokens,
    }
    if usage.reasoning_tokens:
        told["output_tokens_details"] = {"thinking_tokens": usage.reasoning_tokens}
    return told


def error_object(status: int, error: Error) -> dict[str, str]:
    """Anthropic's ``error``. A prompt over the context is told in the maker's words: harnesses look for them, and
    shorten the conversation."""
    kind = _TYPES.get(status, "api_error" if status >= 500 else "invalid_request_error")
    too_long = "prompt is too long: " if error.code is ErrorCode.CONTEXT_OVERFLOW else ""
    return {"type": kind, "message": too_long + words(error)}


def _event(kind: str, **fields: Any) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), encode({"type": kind, **fields}))
