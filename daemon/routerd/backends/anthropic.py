"""Anthropic's messages, and servers that speak them."""

from __future__ import annotations

import re
from collections.abc import Iterable
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
    Tool,
    ToolCall,
    Usage,
)

from ..config.http import MESSAGES_MAX_TOKENS, HttpSpec
from ..routing.terms import Terms
from .base import End, Piece
from .format import ErrorInStreamError, bad_image, cut, decode, given, limit_calls
from .sse import Event
from .usage import NO_USAGE, believable, fields, tokens

BASE_URL = "https://api.anthropic.com/v1"
PATH = "/messages"
VERSION = "2023-06-01"
MAX_TOKENS = MESSAGES_MAX_TOKENS
"""The format wants a cap: this one, where neither the request nor the configuration gives one."""

Block = dict[str, Any]

_START: Block = {"type": "text", "text": "(start)"}
_WITHOUT_OUTPUT_CONFIG = re.compile(r"claude-(\d|instant|haiku-4|sonnet-4-([05]|20)|opus-4-([01]|20))")
_WITH_SAMPLING = re.compile(r"claude-(\d|instant|haiku-4|sonnet-4|opus-4-([0-6]\b|20))")
_EFFORTS = {"minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "xhigh", "max": "max"}
_CHOICES = {"auto": "auto", "none": "none", "required": "any"}
_DATA_URL = re.compile(r"data:([\w.+-]+/[\w.+-]+);base64,")
_NOT_IN_IDS = re.compile(r"[^a-zA-Z0-9_-]")
_FINISH = {
    "end_turn": FinishReason.STOP,
    "stop_sequence": FinishReason.STOP,
    "max_tokens": FinishReason.LENGTH,
    "model_context_window_exceeded": FinishReason.LENGTH,
    "tool_use": FinishReason.TOOL_CALLS,
    "refusal": FinishReason.CONTENT_FILTER,
}


def headers(key: str, spec: HttpSpec) -> dict[str, str]:  # noqa: ARG001 - other formats ask for it
    return {"anthropic-version": VERSION, **given({"x-api-key": key})}


def encode(chat: ChatRequest, spec: HttpSpec, terms: Terms) -> dict[str, Any]:
    """See `Format`. Left out is what the format has no word for (``seed``, ``logprobs``, penalties) and what
    the model would refuse: Claude before 4.6 knows no effort and no schema, Claude from Opus 4.7 on no sampling."""
    model, sampling = terms.model or spec.model, chat.sampling
    caps = (chat.max_tokens, spec.max_tokens, MAX_TOKENS)
    body: dict[str, Any] = {
        **chat.extra.get("anthropic", {}),
        "model": model,
        "max_tokens": next(cap for cap in caps if cap is not None),
        "messages": _turns(chat.messages),
        "stream": True,
        **given({"stop_sequences": [stop for stop in chat.stop if stop.strip()]}),
    }
    config, instruction = _output(chat, modern=_is_modern(model))
    system = [m.text for m in chat.messages if m.role in ("system", "developer")]
    body |= given({"system": "\n\n".join(text for text in (*system, instruction) if text), "output_config": config})
    if not _claude(model) or _WITH_SAMPLING.match(_claude(model)):
        body |= given({"temperature": None if sampling.temperature is None else min(sampling.temperature, 1.0)})
        # newer ones of these refuse both
        body |= given(
            {"top_p": sampling.top_p if sampling.temperature is None else None, "top_k": sampling.top_k or None}
        )
    if chat.tools:
        body |= {"tools": [_tool(tool) for tool in chat.tools], **given({"tool_choice": _choice(chat)})}
    return body


def _claude(model: str) -> str:
    """The maker's own name of a model, without what resellers put before it; ``""`` for another maker's."""
    at = model.find("claude-")
    return model[at:] if at >= 0 else ""


def _is_modern(model: str) -> bool:
    return bool(_claude(model)) and not _WITHOUT_OUTPUT_CONFIG.match(_claude(model))


def _output(chat: ChatRequest, *, modern: bool) -> tuple[dict[str, Any], str]:
    """The ``output_config``, and what the system prompt must say instead of it.

    Only a strict schema goes into the former: the maker refuses those that do not keep to its rules.
    """
    config = given({"effort": _EFFORTS.get(chat.reasoning_effort or "")}) if modern else {}
    wanted = chat.response_format
    if wanted is None or wanted.type == "text":
        return config, ""
    form = wanted.json_schema or {}
    schema = form.get("schema")
    if modern and schema and form.get("strict"):
        return {**config, "format": {"type": "json_schema", "schema": schema}}, ""
    keeping = f" It must keep to this JSON schema: {msgspec.json.encode(schema).decode()}" if schema else ""
    return config, f"Answer with one JSON object and nothing else: no other text, no code fence.{keeping}"


def _turns(messages: Iterable[Message]) -> list[dict[str, Any]]:
    """User and assistant in turn, the user first; all results of a turn's tool calls in the one that follows it."""
    turns: list[dict[str, Any]] = []
    for message in messages:
        blocks = _blocks(message)
        role = "assistant" if message.role == "assistant" else "user"
        if not blocks:
            continue
        if not turns and role == "assistant":
            turns.append({"role": "user", "content": [_START]})
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] += blocks
        else:
            turns.append({"role": role, "content": blocks})
    for turn in turns:
        turn["content"].sort(key=lambda block: block["type"] != "tool_result")
    if turns and turns[-1]["role"] == "assistant" and turns[-1]["content"][-1]["type"] == "text":
        last = turns[-1]["content"][-1]
        last["text"] = last["text"].rstrip()  # the maker refuses a beginning that ends in a space
    return turns or [{"role": "user", "content": [_START]}]


def _blocks(message: Message) -> list[Block]:
    if message.role in ("system", "developer"):
        return []
    if message.role == "tool":
        result = {"type": "tool_result", "tool_use_id": _id(message.tool_call_id or "")}
        return [result | given({"content": _content(message)})]
    said = _content(message) or ([{"type": "text", "text": message.refusal}] if message.refusal else [])
    return said + [_tool_use(call) for call in message.tool_calls]


def _content(message: Message) -> list[Block]:
    if isinstance(message.content, str):
        return [{"type": "text", "text": message.content}] if message.content.strip() else []
    return [
        _image(part.image_url.url) if isinstance(part, ImagePart) else {"type": "text", "text": part.text}
        for part in message.content or ()
        if isinstance(part, ImagePart) or part.text.strip()
    ]


def _image(url: str) -> Block:
    if match := _DATA_URL.match(url):
        return {"type": "image", "source": {"type": "base64", "media_type": match[1], "data": url[match.end() :]}}
    if url.startswith("https:"):
        return {"type": "image", "source": {"type": "url", "url": url}}
    raise bad_image(url)


def _tool_use(call: ToolCall) -> Block:
    """The format wants an object, and a model may have written none."""
    try:
        arguments = msgspec.json.decode(call.function.arguments or "{}")
    except (msgspec.DecodeError, RecursionError):
        arguments = None
    if not isinstance(arguments, dict):
        arguments = {"arguments": call.function.arguments}
    return {"type": "tool_use", "id": _id(call.id), "name": call.function.name, "input": arguments}


def _id(text: str) -> str:
    return _NOT_IN_IDS.sub("_", text)


def _tool(tool: Tool) -> Block:
    schema = tool.function.parameters or {"type": "object", "properties": {}}
    return {"name": tool.function.name, **given({"description": tool.function.description}), "input_schema": schema}


def _choice(chat: ChatRequest) -> dict[str, Any]:
    match chat.tool_choice:
        case NamedTool() as named:
            choice: dict[str, Any] = {"type": "tool", "name": named.function.name}
        case None if chat.parallel_tool_calls is not False:
            return {}
        case word:
            choice = {"type": _CHOICES[word or "auto"]}
    one = chat.parallel_tool_calls is False and choice["type"] != "none"
    return {**choice, "disable_parallel_tool_use": True} if one else choice


class _Block(Struct, frozen=True):
    type: str
    id: str = ""
    name: str = ""
    text: str = ""
    thinking: str = ""
    input: dict[str, Any] = {}


class _Stop(Struct, frozen=True):
    category: str | None = None
    explanation: str | None = None


class _Delta(Struct, frozen=True):
    type: str = ""
    text: str = ""
    thinking: str = ""
    partial_json: str = ""
    stop_reason: str | None = None
    stop_details: _Stop | None = None


class _Message(Struct, frozen=True):
    content: list[_Block] = []
    stop_reason: str | None = None
    stop_details: _Stop | None = None
    usage: msgspec.Raw = NO_USAGE


class _Event(Struct, frozen=True):
    type: str
    index: int = 0
    message: _Message | None = None
    content_block: _Block | None = None
    delta: _Delta = _Delta()
    usage: msgspec.Raw = NO_USAGE


class _Whole(_Message, frozen=True):
    type: str = ""


_EVENT = msgspec.json.Decoder(_Event)
_WHOLE = msgspec.json.Decoder(_Whole)


_COUNTS = (
    "input_tokens",
    "output_tokens",
    "cache_read_input_tokens",
    "cache_creation_input_tokens",
    "output_tokens_details",
)


def _piece(text: str, reasoning: str) -> Piece | None:
    """Return a piece; None where it brings nothing, which is no sign that the answer goes on."""
    return Piece(text, reasoning) if text or reasoning else None


class Reader:
    """See `format.Reader`. A tool call is given when its block ends."""

    def __init__(self) -> None:
        self.done = False
        self._finish: FinishReason | None = None
        self._refusal = ""
        self._usage: dict[str, Any] = {}
        self._begun = False  # a first block is a sign of life; empty ones after it are none
        self._open: dict[int, tuple[_Block, list[str]]] = {}
        self._calls = 0

    def feed(self, event: Event) -> Piece | None:
        if event.name == "error":
            raise ErrorInStreamError.of(event.data)
        item = decode(_EVENT, event.data)
        match item.type:
            case "message_start" if item.message:
                self._count(item.message.usage)
            case "content_block_start" if item.content_block:
                return self._opened(item.index, item.content_block)
            case "content_block_delta":
                return self._grown(item.index, item.delta)
            case "content_block_stop":
                return self._closed(item.index)
            case "message_delta":
                self._count(item.usage)
                self._stopped(item.delta.stop_reason, item.delta.stop_details)
            case "message_stop":
                self.done = True
            case "error":
                raise ErrorInStreamError.of(event.data)
        return None

    def whole(self, body: bytes) -> Piece | None:
        message = decode(_WHOLE, body)
        if message.type != "message":
            raise ErrorInStreamError.of(body)
        self._count(message.usage)
        self._stopped(message.stop_reason, message.stop_details)
        text = "".join(block.text for block in message.content if block.type == "text")
        thinking = "".join(block.thinking for block in message.content if block.type == "thinking")
        return Piece(text, thinking, [self._call(block, []) for block in message.content if block.type == "tool_use"])

    def end(self) -> End:
        if self._finish is None:
            raise cut()
        usage = self._usage
        cached, written = tokens(usage, "cache_read_input_tokens"), tokens(usage, "cache_creation_input_tokens")
        counted = Usage(
            tokens(usage, "input_tokens") + cached + written,
            tokens(usage, "output_tokens"),
            cached,
            tokens(usage, "output_tokens_details", "thinking_tokens"),
            written,
        )
        return End(self._finish, believable(counted), refusal=self._refusal)

    def _opened(self, index: int, block: _Block) -> Piece | None:
        if block.type == "tool_use":
            self._open[index] = (block, [])
            limit_calls(len(self._open))
            return Piece()
        begins, self._begun = not self._begun, True
        return Piece(block.text, block.thinking) if begins else _piece(block.text, block.thinking)

    def _grown(self, index: int, delta: _Delta) -> Piece | None:
        if delta.partial_json and index in self._open:
            self._open[index][1].append(delta.partial_json)
            return Piece()
        return _piece(delta.text, delta.thinking)

    def _closed(self, index: int) -> Piece | None:
        opened = self._open.pop(index, None)
        return Piece(tool_calls=[self._call(*opened)]) if opened else None

    def _call(self, block: _Block, fragments: list[str]) -> ToolCall:
        arguments = "".join(fragments) or msgspec.json.encode(block.input).decode()
        call = ToolCall(id=block.id, function=Function(block.name, arguments), index=self._calls)
        self._calls += 1
        limit_calls(self._calls)
        return call

    def _count(self, usage: msgspec.Raw) -> None:
        """The counts are of the whole answer so far; those that are left out stand."""
        counted = fields(usage)
        self._usage |= {name: counted[name] for name in _COUNTS if counted.get(name) is not None}

    def _stopped(self, reason: str | None, details: _Stop | None) -> None:
        if reason is None:
            return
        self._finish = _FINISH.get(reason, FinishReason.UNKNOWN)
        if reason == "refusal":
            why = (details.explanation or details.category) if details else None
            self._refusal = why or "the model declined to answer"


reader = Reader
