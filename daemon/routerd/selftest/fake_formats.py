"""What a fake API says in each of the formats, and the knobs that change it."""

from __future__ import annotations

import json
from array import array
from base64 import b64encode
from collections.abc import Iterator
from typing import Any, ClassVar

from msgspec import Struct, field


class Knobs(Struct, kw_only=True):
    """What it answers, and how that goes wrong. May be changed at any time; delays are seconds."""

    pieces: list[str] = field(default_factory=lambda: ["Hello", ", ", "world", "!"])
    reasoning: str = ""
    refusal: str = ""
    calls: list[tuple[str, str]] = []
    """Name and arguments of tool calls; the arguments go out in two fragments."""
    finish: str = ""
    """The format's word for why it ended; the usual one where empty."""
    usage: bool = True
    count: Any = None
    """Where given, each count of its usage."""
    end: bool = True
    """Whether the answer says that it is whole."""

    times: int | None = None
    """So many requests are answered like this; those after them get the ``pieces``, and nothing goes wrong."""
    status: int = 200
    headers: dict[str, str] = {}
    body: str | None = None
    """Sent instead of an answer."""
    whole: bool = False
    """Answers in one piece, as a server does that cannot stream."""
    content_type: str = "text/event-stream"
    key: str = ""
    """Where one is given, only this is let in."""

    before_headers: float = 0.0
    before_first: float = 0.0
    between: float = 0.0
    drip: float = 0.0
    """Between two bytes."""
    pings: float = 0.0
    """Where given, comments come at this interval in all other delays."""

    interim: bool = False
    """Says ``100 Continue`` without end instead of answering."""
    reset: bool = False
    """Breaks the connection instead of answering."""
    stale: bool = False
    """Breaks a connection when another request comes on it."""
    cut_after: int | None = None
    """Breaks it after so many of the answer's events; the next four go wrong in other ways, at such a place."""
    stall_after: int | None = None
    garbage_after: int | None = None
    error_after: int | None = None
    huge_after: int | None = None
    error: dict[str, Any] = field(default_factory=lambda: {"message": "something went wrong", "type": "server_error"})
    garbage: str = "data: {not json\n\n"
    huge: int = 20 * 2**20


class Speaker:
    """How one format says things: its events as text, and a whole answer as an object."""

    def head(self, _knobs: Knobs) -> list[str]:
        return []

    def pieces(self, knobs: Knobs) -> Iterator[str]:
        raise NotImplementedError

    def tail(self, knobs: Knobs) -> Iterator[str]:
        raise NotImplementedError

    def whole(self, knobs: Knobs) -> dict[str, Any]:
        raise NotImplementedError

    def error(self, knobs: Knobs) -> str:
        return _data({"error": knobs.error})


class OpenAI(Speaker):
    USAGE: ClassVar = {
        "prompt_tokens": 20,
        "completion_tokens": 9,
        "prompt_tokens_details": {"cached_tokens": 7},
        "completion_tokens_details": {"reasoning_tokens": 3},
    }

    def head(self, _knobs: Knobs) -> list[str]:
        return [self._chunk({"role": "assistant", "content": ""})]

    def pieces(self, knobs: Knobs) -> Iterator[str]:
        if knobs.reasoning:
            yield self._chunk({"reasoning_content": knobs.reasoning})
        if knobs.refusal:
            yield self._chunk({"refusal": knobs.refusal})
        for text in knobs.pieces:
            yield self._chunk({"content": text})
        for index, (name, arguments) in enumerate(knobs.calls):
            first, second = _halves(arguments)
            call = {"index": index, "id": f"call_{index}", "type": "function"}
            yield self._chunk({"tool_calls": [call | {"function": {"name": name, "arguments": first}}]})
            yield self._chunk({"tool_calls": [{"index": index, "function": {"arguments": second}}]})

    def tail(self, knobs: Knobs) -> Iterator[str]:
        if not knobs.end:
            return
        yield self._chunk({}, self._finish(knobs))
        if knobs.usage:
            yield _data({"choices": [], "usage": _counted(self.USAGE, knobs)})
        yield "data: [DONE]\n\n"

    def whole(self, knobs: Knobs) -> dict[str, Any]:
        calls = [
            {"id": f"call_{index}", "type": "function", "function": {"name": name, "arguments": arguments}}
            for index, (name, arguments) in enumerate(knobs.calls)
        ]
        message = {"role": "assistant", "content": "".join(knobs.pieces), "tool_calls": calls or None}
        return {
            "choices": [{"index": 0, "message": message, "finish_reason": self._finish(knobs)}],
            "usage": _counted(self.USAGE, knobs),
        }

    def _finish(self, knobs: Knobs) -> str:
        return knobs.finish or ("tool_calls" if knobs.calls else "stop")

    def _chunk(self, delta: dict[str, Any], finish: str | None = None) -> str:
        return _data(
            {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}
        )


class Anthropic(Speaker):
    START: ClassVar = {
        "input_tokens": 8,
        "output_tokens": 1,
        "cache_read_input_tokens": 7,
        "cache_creation_input_tokens": 5,
    }
    END: ClassVar = {"output_tokens": 9, "output_tokens_details": {"thinking_tokens": 3}}

    def head(self, knobs: Knobs) -> list[str]:
        start: dict[str, Any] = {
            "type": "message",
            "role": "assistant",
            "content": [],
            "usage": _counted(self.START, knobs) if knobs.usage else None,
        }
        return [self._event("message_start", message=start), self._event("ping")]

    def pieces(self, knobs: Knobs) -> Iterator[str]:
        index = 0
        if knobs.reasoning:
            yield self._event("content_block_start", index=0, content_block={"type": "thinking", "thinking": ""})
            yield self._delta(0, {"type": "thinking_delta", "thinking": knobs.reasoning})
            yield self._delta(0, {"type": "signature_delta", "signature": "c2ln"})
            yield self._event("content_block_stop", index=0)
            index = 1
        if knobs.pieces:
            yield self._event("content_block_start", index=index, content_block={"type": "text", "text": ""})
            for text in knobs.pieces:
                yield self._delta(index, {"type": "text_delta", "text": text})
            yield self._event("content_block_stop", index=index)
        for number, (name, arguments) in enumerate(knobs.calls):
            index += 1
            block = {"type": "tool_use", "id": f"call_{number}", "name": name, "input": {}}
            yield self._event("content_block_start", index=index, content_block=block)
            for half in _halves(arguments):
                yield self._delta(index, {"type": "input_json_delta", "partial_json": half})
            yield self._event("content_block_stop", index=index)

    def tail(self, knobs: Knobs) -> Iterator[str]:
        if not knobs.end:
            return
        details = {"type": "refusal", "category": "cyber", "explanation": knobs.refusal} if knobs.refusal else None
        delta = {"stop_reason": self._finish(knobs), "stop_sequence": None, "stop_details": details}
        yield self._event("message_delta", delta=delta, usage=_counted(self.END, knobs) if knobs.usage else None)
        yield self._event("message_stop")

    def whole(self, knobs: Knobs) -> dict[str, Any]:
        content: list[dict[str, Any]] = [{"type": "text", "text": "".join(knobs.pieces)}]
        for number, (name, arguments) in enumerate(knobs.calls):
            content.append({"type": "tool_use", "id": f"call_{number}", "name": name, "input": json.loads(arguments)})
        usage = _counted(self.START | self.END, knobs)
        return {"type": "message", "content": content, "stop_reason": self._finish(knobs), "usage": usage}

    def error(self, knobs: Knobs) -> str:
        return self._event("error", error=knobs.error)

    def _finish(self, knobs: Knobs) -> str:
        usual = "refusal" if knobs.refusal else "tool_use" if knobs.calls else "end_turn"
        return knobs.finish or usual

    def _delta(self, index: int, delta: dict[str, Any]) -> str:
        return self._event("content_block_delta", index=index, delta=delta)

    def _event(self, kind: str, **fields: Any) -> str:
        return f"event: {kind}\n{_data({'type': kind, **fields})}"


class Responses(Speaker):
    USAGE: ClassVar = {
        "input_tokens": 20,
        "output_tokens": 9,
        "input_tokens_details": {"cached_tokens": 7},
        "output_tokens_details": {"reasoning_tokens": 3},
    }

    def head(self, _knobs: Knobs) -> list[str]:
        response = {"object": "response", "status": "in_progress", "output": []}
        return [
            self._event("response.created", response=response),
            self._event("response.in_progress", response=response),
        ]

    def pieces(self, knobs: Knobs) -> Iterator[str]:
        if knobs.reasoning:
            yield self._event("response.reasoning_summary_text.delta", delta=knobs.reasoning)
        if knobs.refusal:
            yield self._event("response.refusal.delta", delta=knobs.refusal)
        for text in knobs.pieces:
            yield self._event("response.output_text.delta", delta=text, logprobs=[])
        for item in self._calls(knobs):
            yield self._event("response.output_item.added", item=item | {"arguments": ""})
            for half in _halves(item["arguments"]):
                yield self._event("response.function_call_arguments.delta", delta=half)
            yield self._event("response.output_item.done", item=item)

    def tail(self, knobs: Knobs) -> Iterator[str]:
        if knobs.end:
            response = self.whole(knobs)
            yield self._event(f"response.{response['status']}", response=response)

    def whole(self, knobs: Knobs) -> dict[str, Any]:
        content = [{"type": "output_text", "text": "".join(knobs.pieces)}]
        output = [{"type": "message", "role": "assistant", "content": content}, *self._calls(knobs)]
        incomplete = {"reason": knobs.finish} if knobs.finish else None
        return {
            "object": "response",
            "status": "incomplete" if incomplete else "completed",
            "output": output,
            "incomplete_details": incomplete,
            "usage": _counted(self.USAGE, knobs) if knobs.usage else None,
            "error": None,
        }

    def error(self, knobs: Knobs) -> str:
        return self._event("response.failed", response={"status": "failed", "error": knobs.error})

    def _calls(self, knobs: Knobs) -> list[dict[str, Any]]:
        return [
            {"type": "function_call", "id": f"fc_{i}", "call_id": f"call_{i}", "name": name, "arguments": arguments}
            for i, (name, arguments) in enumerate(knobs.calls)
        ]

    def _event(self, kind: str, **fields: Any) -> str:
        return f"event: {kind}\n{_data({'type': kind, **fields})}"


SPEAKERS: dict[str, Speaker] = {"openai": OpenAI(), "anthropic": Anthropic(), "responses": Responses()}


def _counted(usage: dict[str, Any], knobs: Knobs) -> dict[str, Any]:
    """``usage`` with the counts that ``knobs`` want."""
    if knobs.count is None:
        return usage
    return {name: _counted(value, knobs) if isinstance(value, dict) else knobs.count for name, value in usage.items()}


def _data(value: object) -> str:
    return f"data: {json.dumps(value)}\n\n"


def _halves(text: str) -> tuple[str, str]:
    return text[: len(text) // 2], text[len(text) // 2 :]


def embedded(body: dict[str, Any]) -> dict[str, Any]:
    """An answer of embeddings: each text's vector is its length, and 1."""
    texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
    vectors = [array("f", [len(text), 1.0]) for text in texts]
    if body.get("encoding_format") == "base64":
        found: list[Any] = [b64encode(vector.tobytes()).decode() for vector in vectors]
    else:
        found = [vector.tolist() for vector in vectors]
    data = [{"object": "embedding", "index": index, "embedding": each} for index, each in enumerate(found)]
    return {"object": "list", "data": data, "model": body["model"], "usage": {"prompt_tokens": 5, "total_tokens": 5}}
