"""Answers as OpenAI's responses, whole and event by event."""

from __future__ import annotations

import time
from typing import Any

from routerd_client.chat import FinishReason, TokenLogprob, ToolCall, Usage
from routerd_client.protocol import Delta, Done, Error, Routed

from .format import about, encode, in_one, words
from .openai import logprob_objects
from .responses_tools import Tools

_INCOMPLETE = {FinishReason.LENGTH: "max_output_tokens", FinishReason.CONTENT_FILTER: "content_filter"}

Item = dict[str, Any]


class Writer:
    """See `format.Writer`. ``echo`` is what the answer repeats of its request.

    Text, reasoning and calls become items, each closed when something else comes.
    """

    def __init__(self, model: str, tools: Tools, echo: dict[str, Any]) -> None:
        self._model = model
        self._tools = tools
        self._echo = echo
        self._id = ""
        self._created = int(time.time())
        self._sequence = 0
        self._items: list[Item] = []
        self._open: Item | None = None  # the message or the reasoning that may still grow
        self._head = b""  # of an event with more of its text, as far as it is always the same
        self._text: list[str] = []
        self._logprobs: list[TokenLogprob] = []

    def begin(self, routed: Routed, usage: Usage) -> bytes:  # noqa: ARG002 - its end has the usage
        self._identify(routed.request_id, routed.endpoint)
        return self._lifecycle("created", "in_progress") + self._lifecycle("in_progress", "in_progress")

    def delta(self, delta: Delta) -> bytes:
        sent = b""
        if delta.reasoning:
            sent += self._think(delta.reasoning)
        if delta.text:
            sent += self._say(delta.text, delta.logprobs)
        for call in delta.tool_calls:
            sent += self._call(call)
        return sent

    def ping(self) -> bytes:
        """An event, since Codex counts no comment as a sign of life."""
        return self._lifecycle("in_progress", "in_progress")

    def done(self, done: Done) -> bytes:
        reason = _INCOMPLETE.get(done.finish_reason)
        status = "incomplete" if reason else "completed"
        return self._finish(done, status) + self._lifecycle(status, status, **_ended(done, reason))

    def failed(self, error: Error) -> bytes:
        closed = self._close("incomplete")
        failure = {"code": "server_error", "message": words(error)}
        return closed + self._lifecycle("failed", "failed", error=failure, routerd=about(error))

    def whole(self, done: Done) -> bytes:
        assert done.message
        self._identify(done.request_id, done.endpoint)
        self.delta(in_one(done))
        reason = _INCOMPLETE.get(done.finish_reason)
        status = "incomplete" if reason else "completed"
        self._finish(done, status)
        return encode(self._response(status, **_ended(done, reason)))

    def _identify(self, request_id: str, endpoint: str) -> None:
        """``model`` is the name the caller asked for, or the endpoint where it named none."""
        self._id = request_id
        self._model = self._model or endpoint

    def _response(self, status: str, **fields: Any) -> dict[str, Any]:
        return {
            "id": f"resp_{self._id}",
            "object": "response",
            "created_at": self._created,
            "status": status,
            "background": False,
            "error": None,
            "incomplete_details": None,
            "model": self._model,
            "output": self._items,
            "usage": None,
            **self._echo,
            **fields,
        }

    def _lifecycle(self, name: str, status: str, **fields: Any) -> bytes:
        return self._event(f"response.{name}", response=self._response(status, **fields))

    def _say(self, text: str, logprobs: list[TokenLogprob]) -> bytes:
        sent = b""
        if self._open is None or self._open["type"] != "message":
            sent = self._start("msg", {"type": "message", "role": "assistant", "content": []})
            sent += self._of_item("response.content_part.added", content_index=0, part=_part("", []))
            self._grows("response.output_text.delta", content_index=0)
        self._logprobs += logprobs
        return sent + self._grow(text, encode(logprob_objects(logprobs)) if logprobs else b"[]")

    def _think(self, text: str) -> bytes:
        sent = b""
        if self._open is None or self._open["type"] != "reasoning":
            sent = self._start("rs", {"type": "reasoning", "summary": []})
            part = {"type": "summary_text", "text": ""}
            sent += self._of_item("response.reasoning_summary_part.added", summary_index=0, part=part)
            self._grows("response.reasoning_summary_text.delta", summary_index=0)
        return sent + self._grow(text)

    def _grows(self, kind: str, **fields: Any) -> None:
        """From here on more text of the open item comes, in events of ``kind``: many, so they are made in parts."""
        assert self._open
        head = encode({"type": kind, "item_id": self._open["id"], "output_index": len(self._items), **fields})
        self._head = b"event: %b\ndata: %b" % (kind.encode(), head[:-1])

    def _grow(self, text: str, logprobs: bytes = b"") -> bytes:
        self._text.append(text)
        number, self._sequence = self._sequence, self._sequence + 1
        told = b',"logprobs":%b' % logprobs if logprobs else b""
        return b'%b%b,"sequence_number":%d,"delta":%b}\n\n' % (self._head, told, number, encode(text))

    def _call(self, call: ToolCall) -> bytes:
        item = self._tools.item(call)
        custom = item["type"] == "custom_tool_call"
        field, name = ("input", "custom_tool_call_input") if custom else ("arguments", "function_call_arguments")
        text = item[field]
        sent = self._start("ctc" if custom else "fc", {**item, field: ""})
        sent += self._of_item(f"response.{name}.delta", delta=text)
        sent += self._of_item(f"response.{name}.done", **{field: text, "name": item["name"]})
        assert self._open
        self._open[field] = text
        return sent + self._close("completed")

    def _finish(self, done: Done, status: str) -> bytes:
        """End the item that is open, and say what an API said where it refused."""
        sent = self._close(status)
        return sent + self._refuse(done.refusal) if done.refusal else sent

    def _refuse(self, text: str) -> bytes:
        part = {"type": "refusal", "refusal": ""}
        sent = self._start("msg", {"type": "message", "role": "assistant", "content": []})
        sent += self._of_item("response.content_part.added", content_index=0, part=part)
        sent += self._of_item("response.refusal.delta", content_index=0, delta=text)
        return sent + self._close("completed", text)

    def _start(self, prefix: str, item: Item) -> bytes:
        closed = self._close("completed")
        self._open = {"id": f"{prefix}_{self._id}_{len(self._items)}", **item, "status": "in_progress"}
        return closed + self._event("response.output_item.added", output_index=len(self._items), item=self._open)

    def _close(self, status: str, refusal: str = "") -> bytes:
        """End the item that is open, if one is. ``refusal`` is what a message says that is one."""
        if self._open is None:
            return b""
        item, text, logprobs = self._open, "".join(self._text), logprob_objects(self._logprobs)
        sent = b""
        if refusal:
            part = {"type": "refusal", "refusal": refusal}
            item["content"] = [part]
            sent += self._of_item("response.refusal.done", content_index=0, refusal=refusal)
            sent += self._of_item("response.content_part.done", content_index=0, part=part)
        elif item["type"] == "message":
            part = _part(text, logprobs)
            item["content"] = [part]
            sent += self._of_item("response.output_text.done", content_index=0, text=text, logprobs=logprobs)
            sent += self._of_item("response.content_part.done", content_index=0, part=part)
        elif item["type"] == "reasoning":
            part = {"type": "summary_text", "text": text}
            item["summary"] = [part]
            sent += self._of_item("response.reasoning_summary_text.done", summary_index=0, text=text)
            sent += self._of_item("response.reasoning_summary_part.done", summary_index=0, part=part)
        item["status"] = status
        sent += self._event("response.output_item.done", output_index=len(self._items), item=item)
        self._items.append(item)
        self._open, self._text, self._logprobs = None, [], []
        return sent

    def _of_item(self, kind: str, **fields: Any) -> bytes:
        """An event of the open item."""
        assert self._open
        return self._event(kind, item_id=self._open["id"], output_index=len(self._items), **fields)

    def _event(self, kind: str, **fields: Any) -> bytes:
        event = encode({"type": kind, "sequence_number": self._sequence, **fields})
        self._sequence += 1
        return b"event: %b\ndata: %b\n\n" % (kind.encode(), event)


def _part(text: str, logprobs: list[dict[str, Any]]) -> Item:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": logprobs}


def _ended(done: Done, reason: str | None) -> dict[str, Any]:
    details = {"reason": reason} if reason else None
    return {"incomplete_details": details, "usage": usage_object(done.usage), "routerd": about(done)}


def usage_object(usage: Usage) -> dict[str, Any]:
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {
            "cached_tokens": usage.cached_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
        },
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.total_tokens,
    }
