"""OpenAI's responses. Nothing is stored: each request has its whole conversation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from routerd_client.chat import (
    MOST_MESSAGES,
    ChatRequest,
    Function,
    ImagePart,
    ImageURL,
    Message,
    NamedTool,
    Part,
    ResponseFormat,
    Sampling,
    TextPart,
    ToolCall,
)

from .conversation import Conversation
from .format import Asked, BadRequestError, decode, session_of, told, unknown
from .local_fields import NAMES, local_fields
from .openai import OVERLOADED, refuse
from .responses_tools import Tools, ToolSpec, custom_arguments, function_name
from .responses_writer import Writer

__all__ = ["OVERLOADED", "read", "refuse"]

KIND = "responses"

_LOGPROBS = "message.output_text.logprobs"
_STORED = {
    "previous_response_id": "nothing is stored here: send the whole conversation in input",
    "conversation": "nothing is stored here: send the whole conversation in input",
    "prompt": "no prompts are stored here: send its text in instructions and input",
}


class _Part(Struct, frozen=True):
    type: str
    text: str = ""
    refusal: str = ""
    image_url: str | None = None
    detail: str | None = None
    filename: str | None = None


class _Item(Struct, frozen=True):
    """Any item. Without a type it is a message."""

    type: str = "message"
    role: str = ""
    content: str | list[_Part] | None = None
    summary: list[_Part] | None = None
    call_id: str | None = None
    name: str | None = None
    namespace: str | None = None
    arguments: Any = None
    input: Any = None
    output: Any = None


class _Choice(Struct, frozen=True):
    type: str
    name: str = ""
    namespace: str | None = None
    mode: Literal["auto", "required"] = "auto"
    tools: list[_Choice] | None = None


class _Form(Struct, frozen=True):
    type: Literal["text", "json_object", "json_schema"] = "text"
    name: str = "answer"
    schema: dict[str, Any] | None = None
    strict: bool | None = None


class _Text(Struct, frozen=True):
    format: _Form | None = None


class _Reasoning(Struct, frozen=True):
    effort: str | None = None
    enabled: bool | None = None


class Body(Struct, frozen=True, kw_only=True):
    """What is read of a request."""

    input: str | Annotated[list[_Item], Meta(max_length=MOST_MESSAGES)]
    model: str | None = None
    instructions: str | None = None
    tools: list[ToolSpec] | None = None
    tool_choice: Literal["auto", "none", "required"] | _Choice | None = None
    parallel_tool_calls: bool | None = None
    text: _Text | None = None
    reasoning: _Reasoning | None = None
    max_output_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_logprobs: int | None = None
    include: list[str] | None = None
    metadata: dict[str, Any] | None = None
    prompt_cache_key: str | None = None
    stream: bool | None = None
    stream_options: Any = None
    store: bool | None = None
    background: bool | None = None
    previous_response_id: Any = None
    conversation: Any = None
    prompt: Any = None


_BODY = msgspec.json.Decoder(Body)
_KNOWN = frozenset(Body.__struct_fields__) - {"prompt_cache_key"}


def read(body: bytes, headers: Mapping[str, str]) -> Asked:  # noqa: ARG001 - all of this format is in its body
    """See `Format`."""
    asked = decode(_BODY, body)
    for name, why in _STORED.items():
        if getattr(asked, name) is not None:
            raise BadRequestError(f"{name}: {why}", name)
    if asked.background:
        raise BadRequestError("background: answers are not kept here, so somebody must wait for them", "background")
    extra, left_out = unknown(body, _KNOWN)
    local = local_fields(extra)
    tools = Tools(asked.tools or ())
    choice = _tool_choice(asked.tool_choice, tools)
    messages = _conversation(asked, left_out)
    chat = ChatRequest(
        messages=messages,
        model=asked.model or "",
        tools=tools.functions,
        tool_choice=choice,
        parallel_tool_calls=asked.parallel_tool_calls,
        response_format=_response_format(asked.text),
        sampling=local.sampling(Sampling(temperature=asked.temperature, top_p=asked.top_p)),
        stop=local.stops(),
        max_tokens=local.limit(max_output_tokens=asked.max_output_tokens),
        **local.endings,
        logprobs=_LOGPROBS in (asked.include or ()),
        top_logprobs=asked.top_logprobs or 0,
        reasoning_effort=(asked.reasoning.effort if asked.reasoning else None) or local.effort,
        template_args=local.template_args(asked.reasoning.enabled if asked.reasoning else None),
        continues=bool(local.continue_final_message),
        context=told(asked.metadata),
        session=session_of(asked.prompt_cache_key, asked.metadata),
        stream=bool(asked.stream),
        extra={KIND: extra} if extra else {},
    )
    return Asked(chat, Writer(chat.model, tools, _echo(asked)), sorted({*tools.left_out, *left_out}), NAMES)


def _echo(asked: Body) -> dict[str, Any]:
    """What an answer repeats of its request: its small parts. Instructions and tools are often larger than the
    answer, and it would repeat them three times."""
    return {
        "instructions": None,
        "max_output_tokens": asked.max_output_tokens,
        "metadata": asked.metadata or {},
        "parallel_tool_calls": asked.parallel_tool_calls is not False,
        "previous_response_id": None,
        "reasoning": {"effort": asked.reasoning.effort if asked.reasoning else None, "summary": None},
        "store": False,
        "temperature": asked.temperature,
        "text": {"format": {"type": asked.text.format.type if asked.text and asked.text.format else "text"}},
        "tool_choice": asked.tool_choice if isinstance(asked.tool_choice, str) else "auto",
        "tools": [],
        "top_p": asked.top_p,
        "truncation": "disabled",
    }


def _response_format(text: _Text | None) -> ResponseFormat | None:
    form = text.format if text else None
    if form is None:
        return None
    if form.type != "json_schema":
        return ResponseFormat(form.type)
    if form.schema is None:
        raise BadRequestError("text.format.schema is missing", "text.format.schema")
    schema = {"name": form.name, "schema": form.schema}
    return ResponseFormat(form.type, schema if form.strict is None else {**schema, "strict": form.strict})


def _tool_choice(choice: str | _Choice | None, tools: Tools) -> Literal["auto", "none", "required"] | NamedTool | None:
    """Offers only the allowed ones, where the request names them."""
    if isinstance(choice, _Choice) and choice.type == "allowed_tools":
        tools.keep(function_name(tool.namespace, tool.name) for tool in choice.tools or ())
        choice = choice.mode
    if isinstance(choice, _Choice):
        name = function_name(choice.namespace, choice.name)
        if choice.type not in ("function", "custom") or not tools.has(name):
            message = f"tool_choice: there is no tool {choice.name or choice.type!r} that a model here could call"
            raise BadRequestError(message, "tool_choice")
        return NamedTool(Function(name))
    if choice == "required" and not tools.functions:
        raise BadRequestError("tool_choice: there is no tool that a model here could call", "tool_choice")
    match choice:
        case "auto" | "none" | "required":
            return choice
    return None


def _conversation(asked: Body, left_out: list[str]) -> list[Message]:
    conversation = Conversation()
    conversation.instruct(asked.instructions or "")
    items = [_Item(role="user", content=asked.input)] if isinstance(asked.input, str) else asked.input
    for at, item in enumerate(items):
        _add(conversation, item, f"input[{at}]", left_out)
    if not (messages := conversation.messages):
        raise BadRequestError("input is empty: at least one message is needed", "input")
    return messages


def _add(conversation: Conversation, item: _Item, place: str, left_out: list[str]) -> None:
    match item:
        case _Item(type="message"):
            _say(conversation, item, place, left_out)
        case _Item(type="reasoning"):
            thoughts = item.content if isinstance(item.content, list) else None
            conversation.answer(reasoning="\n\n".join(part.text for part in thoughts or item.summary or ()))
        case _Item(type="function_call" | "custom_tool_call" as kind):
            arguments = custom_arguments(str(item.input or "")) if kind == "custom_tool_call" else item.arguments
            function = Function(function_name(item.namespace, item.name or ""), str(arguments or ""))
            conversation.answer(calls=[ToolCall(id=item.call_id or "", function=function)])
        case _Item(type="function_call_output" | "custom_tool_call_output"):
            conversation.result(item.call_id or "", _output(item.output, f"{place}.output", left_out))
        case _Item(type="item_reference"):
            raise BadRequestError(f"{place}: nothing is stored here: send the item itself", place)
        case _:
            left_out.append(f"an item of type {item.type}")


def _say(conversation: Conversation, item: _Item, place: str, left_out: list[str]) -> None:
    content = item.content
    parts = [TextPart(content)] if isinstance(content, str) else _parts(content or [], f"{place}.content", left_out)
    text = "".join(part.text for part in parts if isinstance(part, TextPart))
    match item.role:
        case "user":
            conversation.ask(parts)
        case "assistant":
            conversation.answer(text)
        case "system" | "developer":
            conversation.instruct(text)
        case role:
            raise BadRequestError(f"{place}.role: user, assistant, system or developer, not {role!r}", f"{place}.role")


def _output(output: Any, place: str, left_out: list[str]) -> list[Part]:
    """What a tool gave: text, parts, or whatever a caller makes of it."""
    if isinstance(output, str):
        return [TextPart(output)]
    try:
        parts = msgspec.convert(output, list[_Part])
    except msgspec.ValidationError:
        return [TextPart(msgspec.json.encode(output).decode())]
    return _parts(parts, place, left_out)


def _parts(parts: list[_Part], place: str, left_out: list[str]) -> list[Part]:
    """What a model can be shown of ``parts``; of a file it is told that there was one."""
    shown: list[Part] = []
    for at, part in enumerate(parts):
        match part:
            case _Part(type="input_text" | "output_text" | "text" | "summary_text"):
                shown.append(TextPart(part.text))
            case _Part(type="refusal"):
                shown.append(TextPart(part.refusal))
            case _Part(type="input_image", image_url=str(url)):
                shown.append(ImagePart(ImageURL(url, part.detail)))
            case _Part(type="input_image"):
                where = f"{place}[{at}]"
                raise BadRequestError(f"{where}: an image has its image_url; nothing is stored here", where)
            case _Part(type="input_file"):
                left_out.append("a file")
                shown.append(TextPart(f"(the file {part.filename or ''} cannot be shown to you)"))
            case _:
                left_out.append(f"a part of type {part.type}")
    return shown
