"""The messages between the daemon and one worker, in the client protocol's framing over a socketpair.

The daemon sends `Generate`, `Cancel`, `Ping`, `Count` and `Stop`; the worker answers with the rest. The
worker sends `Loading` any number of times, then exactly one of `Ready` and `LoadFailed`. Every
`Generate` ends with exactly one `Finished` or `Failed`. End of file on the socket ends the worker.

MessagePack has no integers over 64 bits, and JSON has: what a chat only passes on to the template travels as JSON
text inside the frame (`encode`, `decode`), so that a schema with the maximum of a u128 arrives as it was sent.

A counter, which has a tokenizer and no model, is sent `Count` and `Stop` alone, at once, and says nothing
of its load but `LoadFailed`.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from routerd_client.chat import ChatRequest, FinishReason, TokenLogprob, ToolCall, Usage
from routerd_client.records import FailureKind


class Generate(Struct, frozen=True, kw_only=True, tag="generate", omit_defaults=True):
    """Answer ``chat``, whose overrides are already laid on. ``id`` is unique in the worker's life. ``free`` is for
    `encode` and `decode` alone."""

    id: int
    chat: ChatRequest
    free: bytes = b""


class Cancel(Struct, frozen=True, kw_only=True, tag="cancel"):
    """Stop ``id`` within one decode step or prefill chunk; it ends with `Failed` kind ``cancelled``."""

    id: int


class Ping(Struct, frozen=True, kw_only=True, tag="ping"):
    """Answered by `Pong`, also in the midst of decoding (between two steps)."""

    id: int


class Count(Struct, frozen=True, kw_only=True, tag="count", omit_defaults=True):
    """How many tokens the prompt of ``chat`` has: answered by `Counted` or `Failed`, also in the midst of decoding.
    ``free`` as in `Generate`."""

    id: int
    chat: ChatRequest
    free: bytes = b""


class Stop(Struct, frozen=True, kw_only=True, tag="stop"):
    """Exit with code 0 now; open requests end without an answer."""


ToWorker = Generate | Cancel | Ping | Count | Stop


class Loading(Struct, frozen=True, kw_only=True, tag="loading"):
    """Loading goes on. ``fraction`` is 0..1; ``phase`` is ``import``, ``weights`` or ``warmup``."""

    phase: str
    fraction: float


class Ready(Struct, frozen=True, kw_only=True, tag="ready"):
    """The model has produced a token: it can answer. Sizes in tokens and bytes, ``load_s`` in seconds.

    ``context`` is for prompt and answer together: the model's, or what its KV caches may hold where that is less.
    ``alone`` says why it computes one answer at a time; ``""`` where it computes several. ``template_words`` are the
    names in the code of its chat template; None where they cannot be read.
    """

    context: int
    vocab: int
    load_s: float
    tools: bool
    reasoning: bool
    versions: dict[str, str]
    memory: Memory
    alone: str = ""
    template_words: list[str] | None = None


class LoadFailed(Struct, frozen=True, kw_only=True, tag="load_failed"):
    """The model cannot be loaded; the worker exits with code 3 right after. ``permanent``: nor can it later, as it
    is."""

    message: str
    hint: str = ""
    permanent: bool = True


class Prefill(Struct, frozen=True, kw_only=True, tag="prefill"):
    """``done`` of ``total`` prompt tokens are computed, ``cached`` of them found in the prompt cache.

    Comes again after a `Piece` where an answer had to make room for others and now goes on: its
    tokens so far are then part of the prompt.
    """

    id: int
    done: int
    total: int
    cached: int = 0


class Piece(Struct, frozen=True, kw_only=True, tag="piece", omit_defaults=True):
    """What ``tokens`` newly decoded tokens brought: any of text, reasoning, whole tool calls. May be empty.

    ``flaw`` says why a tool call cannot be read; the call is then part of ``text``.
    """

    id: int
    tokens: int = 1
    text: str = ""
    reasoning: str = ""
    tool_calls: list[ToolCall] = []
    logprobs: list[TokenLogprob] = []
    flaw: str = ""


class Finished(Struct, frozen=True, kw_only=True, tag="finished"):
    """The answer is whole. ``decode_s`` is the time from the first token to the last."""

    id: int
    finish_reason: FinishReason
    usage: Usage
    decode_s: float


class Failed(Struct, frozen=True, kw_only=True, tag="failed"):
    """This request alone failed: ``bad_request``, ``context_overflow``, ``cancelled``, ``invalid_logits``
    or ``server_error``; the others of its batch go on."""

    id: int
    kind: FailureKind
    message: str


class Counted(Struct, frozen=True, kw_only=True, tag="counted"):
    """The prompt has ``tokens``, also where that is more than the context: what `Usage.prompt_tokens` would say."""

    id: int
    tokens: int


class Memory(Struct, frozen=True):
    """Bytes as mlx counts them: in use, the highest since the last report, kept for reuse, and the
    part of them in KV caches: those of the batch, and ``prompt_cache`` that are kept for later requests.

    ``pool`` is the limit on ``kv``, 0 for none."""

    active: int
    peak: int
    cache: int
    kv: int
    prompt_cache: int = 0
    pool: int = 0


class Pong(Struct, frozen=True, kw_only=True, tag="pong"):
    """``waiting`` of the ``in_flight`` requests are not decoded now: their KV caches have no room yet."""

    id: int
    memory: Memory
    in_flight: int
    waiting: int = 0


FromWorker = Loading | Ready | LoadFailed | Prefill | Piece | Finished | Failed | Pong | Counted

encoder = msgspec.msgpack.Encoder()
to_worker_decoder: msgspec.msgpack.Decoder[ToWorker] = msgspec.msgpack.Decoder(ToWorker)
from_worker_decoder: msgspec.msgpack.Decoder[FromWorker] = msgspec.msgpack.Decoder(FromWorker)


class _Free(Struct, frozen=True, omit_defaults=True):
    """The parts of a chat that hold any JSON. ``parameters`` are those of its tools, in their order."""

    parameters: list[dict[str, Any] | None] = []
    json_schema: dict[str, Any] | None = None
    template_args: dict[str, Any] = {}


_free_encoder = msgspec.json.Encoder()
_free_decoder = msgspec.json.Decoder(_Free)

ENCODING_ERRORS = (OverflowError, RecursionError, TypeError, ValueError)
"""Exceptions of `encode` at a chat that it cannot carry: integers over 64 bits outside the parts that are JSON, nesting
without end, text that is not Unicode."""


def encode(message: ToWorker) -> bytes:
    """Encode ``message`` as the body of a frame. Raises `ENCODING_ERRORS`."""
    if isinstance(message, Generate | Count):
        chat, free = _split(message.chat)
        message = replace(message, chat=chat, free=free)
    return encoder.encode(message)


def decode(frame: bytes) -> ToWorker:
    """Decode the body of a frame. Raises ``msgspec.DecodeError`` and ``RecursionError``."""
    message = to_worker_decoder.decode(frame)
    if isinstance(message, Generate | Count) and message.free:
        return replace(message, chat=_join(message.chat, _free_decoder.decode(message.free)), free=b"")
    return message


def _split(chat: ChatRequest) -> tuple[ChatRequest, bytes]:
    # No worker reads `extra`: it is for APIs.
    chat = replace(chat, extra={}) if chat.extra else chat
    schema = chat.response_format.json_schema if chat.response_format else None
    if not (chat.tools or schema or chat.template_args):
        return chat, b""
    free = _Free([tool.function.parameters for tool in chat.tools], schema, chat.template_args)
    return _with(chat, _Free([None] * len(chat.tools))), _free_encoder.encode(free)


def _join(chat: ChatRequest, free: _Free) -> ChatRequest:
    if len(free.parameters) != len(chat.tools):
        raise msgspec.ValidationError("its tools and their parameters differ in number")
    return _with(chat, free)


def _with(chat: ChatRequest, free: _Free) -> ChatRequest:
    """Return ``chat`` with these free parts in the place of its own."""
    tools = [
        replace(tool, function=replace(tool.function, parameters=parameters))
        for tool, parameters in zip(chat.tools, free.parameters, strict=True)
    ]
    wanted = chat.response_format and replace(chat.response_format, json_schema=free.json_schema)
    return replace(chat, tools=tools, response_format=wanted, template_args=free.template_args)
