"""OpenAI's chat/completions."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from routerd_client.chat import (
    MOST_MESSAGES,
    ChatRequest,
    FinishReason,
    Function,
    FunctionSpec,
    ImagePart,
    ImageURL,
    Message,
    NamedTool,
    Part,
    ResponseFormat,
    TextPart,
    Tool,
    ToolCall,
    Usage,
)
from routerd_client.protocol import Delta, Done, Error, Routed

from .format import Asked, BadRequestError, about, decode, encode, told, unknown
from .local_fields import NAMES, local_fields
from .openai import OVERLOADED, Common, error_object, logprob_objects, refuse, usage_object

__all__ = ["OVERLOADED", "read", "refuse"]

KIND = "openai"


class _Part(Struct, frozen=True):
    type: str
    text: str | None = None
    image_url: ImageURL | str | None = None
    refusal: str | None = None


class _Function(Struct, frozen=True):
    name: str = ""
    arguments: str | dict[str, Any] | None = None


class _Call(Struct, frozen=True):
    id: str = ""
    function: _Function | None = None


class _Message(Struct, frozen=True):
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[_Part] | None = None
    name: str | None = None
    tool_calls: list[_Call] | None = None
    tool_call_id: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None


class _FunctionSpec(Struct, frozen=True):
    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class _Tool(Struct, frozen=True):
    type: str = "function"
    function: _FunctionSpec | None = None


class _Choice(Struct, frozen=True):
    type: str = "function"
    function: _Function | None = None


class _Form(ResponseFormat, frozen=True, omit_defaults=True):
    """A `ResponseFormat`; llama.cpp has the ``schema`` beside its type."""

    schema: dict[str, Any] | None = None


class Body(Common, frozen=True, kw_only=True):
    """What is read of a request."""

    messages: Annotated[list[_Message], Meta(max_length=MOST_MESSAGES)]
    tools: list[_Tool] | None = None
    tool_choice: Literal["auto", "none", "required", "any"] | _Choice | None = None
    parallel_tool_calls: bool | None = None
    response_format: _Form | None = None
    max_completion_tokens: int | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    reasoning_effort: str | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    modalities: list[str] | None = None
    functions: Any = None
    function_call: Any = None


_BODY = msgspec.json.Decoder(Body)
_KNOWN = frozenset(Body.__struct_fields__) - {"prompt_cache_key"}


def read(body: bytes, headers: Mapping[str, str]) -> Asked:  # noqa: ARG001 - all of this format is in its body
    """See `Format`."""
    asked = decode(_BODY, body)
    asked.check()
    if not asked.messages:
        raise BadRequestError("messages is empty: at least one message is needed", "messages")
    if asked.functions is not None or asked.function_call is not None:
        raise BadRequestError(
            "functions and function_call are OpenAI's old way: send tools and tool_choice", "functions"
        )
    if asked.modalities and asked.modalities != ["text"]:
        raise BadRequestError("modalities: answers are text", "modalities")
    extra, left_out = unknown(body, _KNOWN)
    local = local_fields(extra)
    tools = _tools(asked.tools or (), left_out)
    chat = ChatRequest(
        messages=[_message(message, at) for at, message in enumerate(asked.messages)],
        model=asked.model or "",
        tools=tools,
        tool_choice=_tool_choice(asked.tool_choice, tools),
        parallel_tool_calls=asked.parallel_tool_calls,
        response_format=_response_format(asked.response_format),
        sampling=asked.sampling(local),
        stop=local.stops(asked.stop),
        max_tokens=local.limit(max_completion_tokens=asked.max_completion_tokens, max_tokens=asked.max_tokens),
        **local.endings,
        logprobs=bool(asked.logprobs),
        top_logprobs=asked.top_logprobs or 0,
        reasoning_effort=local.effort if asked.reasoning_effort is None else asked.reasoning_effort,
        template_args=local.template_args() | (asked.chat_template_kwargs or {}),
        continues=bool(local.continue_final_message),
        context=told(asked.metadata),
        session=asked.session,
        stream=bool(asked.stream),
        extra={KIND: extra} if extra else {},
    )
    return Asked(chat, Writer(chat.model, include_usage=asked.include_usage), left_out, NAMES)


def _response_format(wanted: _Form | None) -> ResponseFormat | None:
    """Raises `BadRequestError` for a schema that is none: answers are to be held against it."""
    if wanted is None:
        return None
    if wanted.schema is not None and wanted.type != "text" and not wanted.json_schema:
        return ResponseFormat("json_schema", {"name": "answer", "schema": wanted.schema})
    if wanted.type == "json_schema" and not isinstance((wanted.json_schema or {}).get("schema"), dict):
        place = "response_format.json_schema.schema"
        raise BadRequestError(f"{place} is missing, or no object", place)
    return ResponseFormat(wanted.type, wanted.json_schema)


def _message(message: _Message, at: int) -> Message:
    content = message.content
    return Message(
        role=message.role,
        content=[_part(part, f"messages[{at}].content[{i}]") for i, part in enumerate(content)]
        if isinstance(content, list)
        else content,
        name=message.name,
        tool_calls=[_call(call, i) for i, call in enumerate(message.tool_calls or ())],
        tool_call_id=message.tool_call_id,
        reasoning=message.reasoning_content or message.reasoning,
        refusal=message.refusal,
    )


def _part(part: _Part, place: str) -> Part:
    match part:
        case _Part(type="text", text=str(text)) | _Part(type="refusal", refusal=str(text)):
            return TextPart(text)
        case _Part(type="image_url", image_url=ImageURL() as image):
            return ImagePart(image)
        case _Part(type="image_url", image_url=str(url)):
            return ImagePart(ImageURL(url))
        case _Part(type="text" | "refusal" | "image_url" as kind):
            raise BadRequestError(f"{place}: a part of type {kind} needs its {kind}", place)
    raise BadRequestError(f"{place}: parts are of type text or image_url, not {part.type!r}", place)


def _call(call: _Call, index: int) -> ToolCall:
    function = call.function or _Function()
    arguments = function.arguments
    if isinstance(arguments, dict):  # some harnesses send what they parsed
        arguments = encode(arguments).decode()
    return ToolCall(id=call.id, function=Function(function.name, arguments or ""), index=index)


def _tools(tools: Iterable[_Tool], left_out: list[str]) -> list[Tool]:
    """Those that are functions; tools of other types are their maker's own, and no backend could call them."""
    found = []
    for at, tool in enumerate(tools):
        if (spec := tool.function) is not None:
            found.append(Tool(FunctionSpec(spec.name, spec.description or "", spec.parameters, spec.strict)))
        elif tool.type == "function":
            raise BadRequestError(f"tools[{at}].function is missing", f"tools[{at}].function")
        else:
            left_out.append(f"the tool {tool.type}")
    return found


def _tool_choice(
    choice: Literal["auto", "none", "required", "any"] | _Choice | None, tools: list[Tool]
) -> Literal["auto", "none", "required"] | NamedTool | None:
    if choice == "any":  # Mistral's word
        choice = "required"
    if choice == "required" and not tools:
        raise BadRequestError("tool_choice is required, but tools has no function to call: send one", "tool_choice")
    if not isinstance(choice, _Choice):
        return choice
    if choice.function is None or not choice.function.name:
        raise BadRequestError("tool_choice: auto, none, required or a function's name", "tool_choice")
    name = choice.function.name
    if name not in {tool.function.name for tool in tools}:
        raise BadRequestError(f"tool_choice: tools has no function {name!r}: send it, or name another", "tool_choice")
    return NamedTool(Function(name))


class Writer:
    """See `format.Writer`."""

    def __init__(self, model: str, *, include_usage: bool) -> None:
        self._model = model
        self._include_usage = include_usage
        self._open = b""  # all of a chunk before its delta
        self._head = b""  # all of it before its choices

    def begin(self, routed: Routed, usage: Usage) -> bytes:  # noqa: ARG002 - its end has the usage
        head = self._facts("chat.completion.chunk", routed.request_id, routed.endpoint)
        self._head = b"data: " + encode(head)[:-1]
        self._open = self._head + b',"choices":[{"index":0,"delta":'
        return self._open + b'{"role":"assistant","content":""},"finish_reason":null}]}\n\n'

    def delta(self, delta: Delta) -> bytes:
        if delta.text and not (delta.reasoning or delta.tool_calls or delta.logprobs):
            return b'%b{"content":%b},"finish_reason":null}]}\n\n' % (self._open, encode(delta.text))
        says: dict[str, Any] = {}
        if delta.text:
            says["content"] = delta.text
        if delta.reasoning:
            says["reasoning_content"] = delta.reasoning
        if delta.tool_calls:
            says["tool_calls"] = [{"index": call.index, **_call_object(call)} for call in delta.tool_calls]
        logprobs = encode({"content": logprob_objects(delta.logprobs), "refusal": None}) if delta.logprobs else b"null"
        return b'%b%b,"logprobs":%b,"finish_reason":null}]}\n\n' % (self._open, encode(says), logprobs)

    def ping(self) -> bytes:
        return b": still at it\n\n"

    def done(self, done: Done) -> bytes:
        finish, told, end = encode(finish_reason(done)), encode(about(done)), b""
        if done.refusal:
            end = b'%b{"refusal":%b},"finish_reason":null}]}\n\n' % (self._open, encode(done.refusal))
        end += b'%b{},"finish_reason":%b}],"routerd":%b}\n\n' % (self._open, finish, told)
        if self._include_usage:
            end += b'%b,"choices":[],"usage":%b}\n\n' % (self._head, encode(usage_object(done.usage)))
        return end + b"data: [DONE]\n\n"

    def failed(self, error: Error) -> bytes:
        return b"data: " + encode({"error": error_object(502, error), "routerd": about(error)}) + b"\n\n"

    def whole(self, done: Done) -> bytes:
        assert done.message
        message: dict[str, Any] = {
            "role": "assistant",
            "content": done.message.content,
            "refusal": done.refusal or None,
        }
        if done.message.reasoning:
            message["reasoning_content"] = done.message.reasoning
        if done.message.tool_calls:
            message["tool_calls"] = [_call_object(call) for call in done.message.tool_calls]
        logprobs = {"content": logprob_objects(done.logprobs), "refusal": None} if done.logprobs else None
        choice = {"index": 0, "message": message, "logprobs": logprobs, "finish_reason": finish_reason(done)}
        facts = self._facts("chat.completion", done.request_id, done.endpoint)
        return encode({**facts, "choices": [choice], "usage": usage_object(done.usage), "routerd": about(done)})

    def _facts(self, kind: str, request_id: str, endpoint: str) -> dict[str, Any]:
        """``model`` is the name the caller asked for, or the endpoint where it named none."""
        created, model = int(time.time()), self._model or endpoint
        return {"id": f"chatcmpl-{request_id}", "object": kind, "created": created, "model": model}


def finish_reason(done: Done) -> str:
    return FinishReason.STOP.value if done.finish_reason is FinishReason.UNKNOWN else done.finish_reason.value


def _call_object(call: ToolCall) -> dict[str, Any]:
    function = {"name": call.function.name, "arguments": call.function.arguments}
    return {"id": call.id, "type": "function", "function": function}
