"""OpenAI's responses, and servers that speak them. Nothing is stored with the maker."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from routerd_client.chat import (
    ChatRequest,
    FinishReason,
    Function,
    ImagePart,
    Message,
    NamedTool,
    TokenLogprob,
    Tool,
    ToolCall,
    TopLogprob,
    Usage,
)

from ..config.http import HttpSpec
from ..routing.terms import Terms
from . import openai
from .base import End, Piece
from .format import ErrorInStreamError, cut, decode, given, limit_calls, spelled
from .sse import Event
from .usage import NO_USAGE, believable, fields, tokens

BASE_URL = openai.BASE_URL
PATH = "/responses"
headers = openai.headers

_FINISH = {"max_output_tokens": FinishReason.LENGTH, "content_filter": FinishReason.CONTENT_FILTER}


def encode(chat: ChatRequest, spec: HttpSpec, terms: Terms) -> dict[str, Any]:
    """See `Format`. The format has no ``stop``, ``seed``, penalties or other sampling; these are left out,
    and for reasoning models all sampling is."""
    model = terms.model or spec.model
    leading = 0
    while leading < len(chat.messages) and chat.messages[leading].role in ("system", "developer"):
        leading += 1
    limit = chat.max_tokens if chat.max_tokens is not None else spec.max_tokens
    body: dict[str, Any] = {
        **chat.extra.get("responses", {}),
        "model": model,
        "input": [item for message in chat.messages[leading:] for item in _items(message)],
        "stream": True,
        "store": False,
        **given({"instructions": "\n\n".join(m.text for m in chat.messages[:leading]), "max_output_tokens": limit}),
        **given({"text": _text(chat)}),
    }
    if chat.tools:
        body["tools"] = [_tool(tool) for tool in chat.tools]
        body |= given({"tool_choice": _choice(chat), "parallel_tool_calls": chat.parallel_tool_calls})
    reasons = openai.reasons(model, spec)
    if reasons or not openai.is_makers(spec):
        body |= given({"reasoning": given({"effort": chat.reasoning_effort})})
    if not reasons:
        body |= given({"temperature": chat.sampling.temperature, "top_p": chat.sampling.top_p})
        if chat.logprobs:
            body |= {"include": ["message.output_text.logprobs"], "top_logprobs": chat.top_logprobs}
    return body


def _items(message: Message) -> list[dict[str, Any]]:
    if message.role == "tool":
        output = _content(message)
        return [{"type": "function_call_output", "call_id": message.tool_call_id or "", "output": output}]
    calls = [
        {"type": "function_call", "call_id": c.id, "name": c.function.name, "arguments": c.function.arguments}
        for c in message.tool_calls
    ]
    content = (message.text or message.refusal or "") if message.role == "assistant" else _content(message)
    return [{"role": message.role, "content": content}, *calls] if content else calls


def _content(message: Message) -> str | list[dict[str, Any]]:
    if not isinstance(message.content, list):
        return message.content or ""
    return [
        {"type": "input_image", "image_url": part.image_url.url, "detail": part.image_url.detail or "auto"}
        if isinstance(part, ImagePart)
        else {"type": "input_text", "text": part.text}
        for part in message.content
    ]


def _text(chat: ChatRequest) -> dict[str, Any]:
    wanted = chat.response_format
    if wanted is None or wanted.type == "text":
        return {}
    return {"format": {"type": wanted.type, **(wanted.json_schema or {})}}


def _tool(tool: Tool) -> dict[str, Any]:
    """``strict`` is said always: the format's own default would refuse most schemas."""
    function = tool.function
    fields = given({"description": function.description, "parameters": function.parameters})
    parameters = {"parameters": {"type": "object", "properties": {}}}
    return {"type": "function", "name": function.name, "strict": bool(function.strict), **parameters, **fields}


def _choice(chat: ChatRequest) -> str | dict[str, Any] | None:
    choice = chat.tool_choice
    return {"type": "function", "name": choice.function.name} if isinstance(choice, NamedTool) else choice


class _Top(Struct, frozen=True):
    token: str = ""
    logprob: float = 0.0
    bytes: Any = None


class _Logprob(Struct, frozen=True):
    token: str
    logprob: float
    top_logprobs: list[_Top] | None = None
    bytes: Any = None


class _Part(Struct, frozen=True):
    type: str = ""
    text: str = ""
    refusal: str = ""


class _Item(Struct, frozen=True):
    type: str = ""
    call_id: str = ""
    name: str = ""
    arguments: str = ""
    content: list[_Part] | None = None
    summary: list[_Part] | None = None


class _Incomplete(Struct, frozen=True):
    reason: str | None = None


class _Response(Struct, frozen=True):
    output: list[_Item] | None = None
    status: str | None = None
    usage: msgspec.Raw = NO_USAGE
    incomplete_details: _Incomplete | None = None
    error: Any = None


class _Event(Struct, frozen=True):
    type: str
    delta: Any = None
    item: _Item | None = None
    response: _Response | None = None
    logprobs: list[_Logprob] | None = None


_EVENT = msgspec.json.Decoder(_Event)
_RESPONSE = msgspec.json.Decoder(_Response)


class Reader:
    """See `format.Reader`. Tool calls come whole, each as one item."""

    def __init__(self) -> None:
        self.done = False
        self._finish: FinishReason | None = None
        self._usage = Usage()
        self._refusal = ""
        self._calls = 0
        self._brought = False

    def feed(self, event: Event) -> Piece | None:
        if event.data.strip() == b"[DONE]":
            return None
        item = decode(_EVENT, event.data)
        match item.type:
            case "response.output_text.delta":
                return self._piece(text=_str(item.delta), logprobs=_logprobs(item)) if item.delta else None
            case "response.refusal.delta":
                self._refusal += _str(item.delta)
                return self._piece() if item.delta else None
            case "response.reasoning_text.delta" | "response.reasoning_summary_text.delta":
                return self._piece(reasoning=_str(item.delta)) if item.delta else None
            case "response.output_item.added" if item.item and item.item.type == "function_call":
                return Piece()
            case "response.function_call_arguments.delta" if item.delta:
                return Piece()
            case "response.output_item.done" if item.item and item.item.type == "function_call":
                return self._piece(calls=[item.item])
            case "response.completed" | "response.incomplete" if item.response:
                return self._ended(item.response)
            case "response.failed" | "response.cancelled" | "error":
                raise ErrorInStreamError.of(_error(event.data))
        return None

    def whole(self, body: bytes) -> Piece | None:
        response = decode(_RESPONSE, body)
        if response.error or response.output is None:
            raise ErrorInStreamError.of(body)
        return self._ended(response)

    def end(self) -> End:
        if self._finish is None:
            raise cut()
        return End(self._finish, self._usage, refusal=self._refusal)

    def _piece(
        self,
        text: str = "",
        reasoning: str = "",
        calls: list[_Item] | None = None,
        logprobs: list[TokenLogprob] | None = None,
    ) -> Piece:
        self._brought = True
        whole = [
            ToolCall(id=call.call_id, function=Function(call.name, call.arguments), index=self._calls + number)
            for number, call in enumerate(calls or ())
        ]
        self._calls += len(whole)
        limit_calls(self._calls)
        return Piece(text, reasoning, whole, logprobs or [])

    def _ended(self, response: _Response) -> Piece | None:
        self.done = True
        incomplete = response.incomplete_details
        usual = FinishReason.TOOL_CALLS if self._calls else FinishReason.STOP
        reason = incomplete.reason if incomplete else None
        self._finish = _FINISH.get(reason, FinishReason.UNKNOWN) if reason else usual
        if usage := fields(response.usage):
            self._usage = _usage(usage)
        return None if self._brought else self._all(response.output or [])

    def _all(self, items: list[_Item]) -> Piece:
        """What a server that streamed nothing gives at the end."""
        parts = [part for item in items if item.type == "message" for part in item.content or ()]
        self._refusal = "".join(part.refusal for part in parts)
        thoughts = [
            part.text for item in items if item.type == "reasoning" for part in item.content or item.summary or ()
        ]
        calls = [item for item in items if item.type == "function_call"]
        if calls and self._finish is FinishReason.STOP:
            self._finish = FinishReason.TOOL_CALLS
        return self._piece("".join(part.text for part in parts), "".join(thoughts), calls)


def _error(data: bytes) -> bytes:
    """The error of a failed response is inside it."""
    response = msgspec.json.decode(data).get("response")
    return msgspec.json.encode(response) if isinstance(response, dict) else data


def _str(delta: Any) -> str:
    return delta if isinstance(delta, str) else ""


def _logprobs(event: _Event) -> list[TokenLogprob]:
    return [
        TokenLogprob(
            entry.token,
            entry.logprob,
            [TopLogprob(top.token, top.logprob, spelled(top.token, top.bytes)) for top in entry.top_logprobs or ()],
            spelled(entry.token, entry.bytes),
        )
        for entry in event.logprobs or ()
    ]


def _usage(usage: dict[str, Any]) -> Usage:
    return believable(
        Usage(
            tokens(usage, "input_tokens"),
            tokens(usage, "output_tokens"),
            tokens(usage, "input_tokens_details", "cached_tokens"),
            tokens(usage, "output_tokens_details", "reasoning_tokens"),
        )
    )


reader = Reader
