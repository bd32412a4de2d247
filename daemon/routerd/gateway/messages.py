"""Anthropic's messages.

The router's own form has no place for what only the maker's servers do: their tools, documents that are not text,
signatures of thinking. Of these the request goes on without, and `Asked.left_out` says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

from routerd_client.chat import (
    MOST_MESSAGES,
    ChatRequest,
    Function,
    FunctionSpec,
    ImagePart,
    ImageURL,
    Message,
    NamedTool,
    Part,
    ResponseFormat,
    Sampling,
    TextPart,
    Tool,
    ToolCall,
)

from .conversation import Conversation
from .format import Asked, BadRequestError, Refusal, about, decode, encode, told, unknown, wrong_type
from .local_fields import NAMES, local_fields
from .messages_writer import Writer, error_object

__all__ = ["OVERLOADED", "read", "refuse"]

KIND = "anthropic"
OVERLOADED = 529

T = TypeVar("T")

_CHOICES: dict[str, Literal["auto", "required", "none"]] = {"auto": "auto", "any": "required", "none": "none"}
_FAILED = "Error: "
"""Goes before the result of a tool that failed: other formats have no word for it."""
_BILLING = "x-anthropic-billing-header:"
"""Claude Code's first block of instructions: for the maker alone, and different in each request, so that no prompt
would be found in a cache again."""


class _Source(Struct, frozen=True):
    type: str = ""
    media_type: str = ""
    data: str = ""
    url: str = ""
    content: Any = None


class _Block(Struct, frozen=True):
    """Any block. What ``source`` and ``content`` are depends on ``type``."""

    type: str
    text: str = ""
    thinking: str = ""
    source: Any = None
    title: str | None = None
    id: str = ""
    name: str = ""
    input: Any = None
    tool_use_id: str = ""
    content: Any = None
    is_error: bool | None = None
    cache_control: Any = None


Content = str | list[_Block]


class _Message(Struct, frozen=True):
    role: Literal["user", "assistant", "system"]
    content: Content


class _Tool(Struct, frozen=True):
    name: str = ""
    type: str | None = None
    description: str | None = None
    input_schema: dict[str, Any] | None = None
    strict: bool | None = None
    cache_control: Any = None


class _Choice(Struct, frozen=True):
    type: Literal["auto", "any", "tool", "none"]
    name: str = ""
    disable_parallel_tool_use: bool | None = None


class _Thinking(Struct, frozen=True):
    type: str
    display: str | None = None


class _Form(Struct, frozen=True):
    schema: dict[str, Any]
    type: Literal["json_schema"] = "json_schema"


class _Output(Struct, frozen=True):
    effort: str | None = None
    format: _Form | None = None


class Body(Struct, frozen=True, kw_only=True):
    """What is read of a request."""

    messages: Annotated[list[_Message], Meta(max_length=MOST_MESSAGES)]
    model: str | None = None
    system: Content | None = None
    tools: list[_Tool] | None = None
    tool_choice: _Choice | None = None
    max_tokens: int | None = None
    stop_sequences: list[str] | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    thinking: _Thinking | None = None
    output_config: _Output | None = None
    output_format: _Form | None = None
    metadata: dict[str, Any] | None = None
    service_tier: str | None = None
    mcp_servers: list[Any] | None = None
    cache_control: Any = None
    stream: bool | None = None


_BODY = msgspec.json.Decoder(Body)
_KNOWN = frozenset(Body.__struct_fields__) | {"context_management"}  # how the maker's servers shorten a history


def read(body: bytes, headers: Mapping[str, str]) -> Asked:  # noqa: ARG001 - all of this format is in its body
    """See `Format`."""
    asked = decode(_BODY, body)
    left_out: list[str] = ["mcp_servers"] if asked.mcp_servers else []
    output, choice = asked.output_config or _Output(), asked.tool_choice
    tools = _tools(asked.tools or (), left_out)
    user = (asked.metadata or {}).get("user_id")
    messages = _conversation(asked, left_out)
    last = messages[-1]
    rest, steering = unknown(body, _KNOWN)
    left_out += steering
    local = local_fields(rest)
    extra = rest | _extra(asked)
    disabled = False if asked.thinking and asked.thinking.type == "disabled" else None
    chat = ChatRequest(
        messages=messages,
        model=asked.model or "",
        tools=tools,
        tool_choice=_tool_choice(choice, tools),
        parallel_tool_calls=False if choice and choice.disable_parallel_tool_use else None,
        response_format=_response_format(output.format or asked.output_format),
        sampling=local.sampling(Sampling(temperature=asked.temperature, top_p=asked.top_p, top_k=asked.top_k)),
        stop=local.stops(asked.stop_sequences),
        max_tokens=local.limit(max_tokens=asked.max_tokens),
        **local.endings,
        reasoning_effort=output.effort or local.effort,
        template_args=local.template_args(disabled),
        context=told(asked.metadata),
        session=user if isinstance(user, str) else "",
        stream=bool(asked.stream),
        continues=local.continue_final_message is not False and _goes_on(last),
        extra={KIND: extra} if extra else {},
    )
    return Asked(chat, Writer(chat.model, thinking=_shows_thinking(asked.thinking)), sorted(set(left_out)), NAMES)


def refuse(refusal: Refusal) -> bytes:
    """See `Format`."""
    error = {"type": "error", "error": error_object(refusal.status, refusal.error)}
    return encode({**error, "request_id": refusal.error.request_id or None, "routerd": about(refusal.error)})


def _goes_on(last: Message) -> bool:
    """Return whether ``last`` is the answer's beginning."""
    return last.role == "assistant" and bool(last.text) and not last.tool_calls


def _shows_thinking(thinking: _Thinking | None) -> bool:
    """Who did not ask for thinking expects the first block to be the text."""
    return thinking is not None and thinking.type != "disabled" and thinking.display != "omitted"


def _extra(asked: Body) -> dict[str, Any]:
    """What the maker takes without a header of its own. A mark on any block that the prompt is to be cached
    becomes one on the whole: blocks do not outlive the router's own form."""
    contents = (asked.system, *(message.content for message in asked.messages))
    blocks = chain.from_iterable(content for content in contents if isinstance(content, list))
    marks = [asked.cache_control, *(one.cache_control for one in asked.tools or ()), *(b.cache_control for b in blocks)]
    user = {key: value for key, value in (asked.metadata or {}).items() if key == "user_id"}
    fields = {"cache_control": next(filter(None, marks), None), "metadata": user, "service_tier": asked.service_tier}
    return {name: value for name, value in fields.items() if value}


def _tools(tools: Iterable[_Tool], left_out: list[str]) -> list[Tool]:
    """Those that the caller runs; the maker's own come without a schema."""
    found = []
    for at, tool in enumerate(tools):
        if tool.input_schema is None and tool.type not in (None, "custom"):
            left_out.append(f"the tool {tool.type}")
        elif not tool.name:
            raise BadRequestError(f"tools[{at}].name is missing", f"tools[{at}].name")
        else:
            found.append(Tool(FunctionSpec(tool.name, tool.description or "", tool.input_schema, tool.strict)))
    return found


def _tool_choice(choice: _Choice | None, tools: list[Tool]) -> Literal["auto", "none", "required"] | NamedTool | None:
    if choice is None or (choice.type == "auto" and not tools):
        return None
    if choice.type == "tool" and choice.name not in {tool.function.name for tool in tools}:
        message = f"tool_choice: there is no tool {choice.name!r} that a model here could call"
        raise BadRequestError(message, "tool_choice.name")
    if choice.type == "any" and not tools:
        raise BadRequestError("tool_choice is any, but there is no tool that a model here could call", "tool_choice")
    return NamedTool(Function(choice.name)) if choice.type == "tool" else _CHOICES[choice.type]


def _response_format(form: _Form | None) -> ResponseFormat | None:
    if form is None:
        return None
    return ResponseFormat("json_schema", {"name": "answer", "schema": form.schema, "strict": True})


def _conversation(asked: Body, left_out: list[str]) -> list[Message]:
    conversation = Conversation()
    try:
        _converse(conversation, asked, left_out)
    except RecursionError:
        raise BadRequestError("messages: blocks are nested too deeply", "messages") from None
    if not conversation.messages:
        raise BadRequestError("messages: at least one that says something is needed", "messages")
    return conversation.messages


def _converse(conversation: Conversation, asked: Body, left_out: list[str]) -> None:
    if asked.system:
        conversation.instruct(_instructions(asked.system, "system", left_out))
    for at, message in enumerate(asked.messages):
        content, place = message.content, f"messages[{at}].content"
        if message.role == "system":
            conversation.instruct(_instructions(content, place, left_out))
        elif isinstance(content, str):
            _say(conversation, message.role, [TextPart(content)])
        elif message.role == "assistant":
            _answered(conversation, content, place, left_out)
        else:
            _asked(conversation, content, place, left_out)


def _say(conversation: Conversation, role: str, parts: list[Part]) -> None:
    if role == "user":
        conversation.ask(parts)
    else:
        conversation.answer(_joined(parts))


def _joined(parts: Iterable[Part], separator: str = "") -> str:
    return separator.join(part.text for part in parts if isinstance(part, TextPart))


def _instructions(content: Content, place: str, left_out: list[str]) -> str:
    if isinstance(content, str):
        return content
    blocks = [block for block in content if not block.text.startswith(_BILLING)]
    return _joined(_parts(blocks, place, left_out), "\n\n")


def _asked(conversation: Conversation, blocks: list[_Block], place: str, left_out: list[str]) -> None:
    """A turn of the user's: results of tools first, whatever their place in it."""
    rest: list[Part] = []
    for at, block in enumerate(blocks):
        where = f"{place}[{at}]"
        if block.type == "tool_result":
            parts = _result(block, f"{where}.content", left_out)
            conversation.result(block.tool_use_id, [TextPart(_FAILED), *parts] if block.is_error else parts)
        else:
            rest += _shown(block, where, left_out)
    if rest or all(block.type != "tool_result" for block in blocks):
        conversation.ask(rest)


def _result(block: _Block, place: str, left_out: list[str]) -> list[Part]:
    content = _convert(block.content, Content, place) if block.content is not None else ""
    return [TextPart(content)] if isinstance(content, str) else _parts(content, place, left_out)


def _answered(conversation: Conversation, blocks: list[_Block], place: str, left_out: list[str]) -> None:
    for at, block in enumerate(blocks):
        if block.type == "tool_use":
            call = Function(block.name, encode(block.input or {}).decode())
            conversation.answer(calls=[ToolCall(id=block.id, function=call)])
        elif block.type == "thinking":
            conversation.answer(reasoning=block.thinking)
        else:
            conversation.answer(_joined(_shown(block, f"{place}[{at}]", left_out)))


def _parts(blocks: list[_Block], place: str, left_out: list[str]) -> list[Part]:
    return [part for at, block in enumerate(blocks) for part in _shown(block, f"{place}[{at}]", left_out)]


def _shown(block: _Block, place: str, left_out: list[str]) -> list[Part]:
    """What a model can be shown of ``block``; of a document that is no text it is told that there was one."""
    match block.type:
        case "text":
            return [TextPart(block.text)]
        case "image":
            return [_image(block, f"{place}.source")]
        case "document":
            return _document(block, f"{place}.source", left_out)
        case "search_result":
            found = _convert(block.content or [], list[_Block], f"{place}.content")
            head = TextPart(f"{block.title or ''}\n{block.source or ''}\n\n")
            return [head, *_parts(found, f"{place}.content", left_out)]
    left_out.append(f"a block of type {block.type}")
    return []


def _image(block: _Block, place: str) -> ImagePart:
    source = _convert(block.source, _Source, place)
    if source.type == "base64" and source.data:
        return ImagePart(ImageURL(f"data:{source.media_type or 'image/png'};base64,{source.data}"))
    if source.type == "url" and source.url:
        return ImagePart(ImageURL(source.url))
    raise BadRequestError(f"{place}: an image is base64 with its data, or a url; nothing is stored here", place)


def _document(block: _Block, place: str, left_out: list[str]) -> list[Part]:
    source = _convert(block.source, _Source, place)
    title: list[Part] = [TextPart(f"{block.title}\n\n")] if block.title else []
    if source.type == "text":
        return [*title, TextPart(source.data)]
    if source.type == "content":
        content = _convert(source.content or "", Content, f"{place}.content")
        inner = [TextPart(content)] if isinstance(content, str) else _parts(content, f"{place}.content", left_out)
        return [*title, *inner]
    left_out.append(f"a document of type {source.media_type or source.type}")
    return [*title, TextPart("(a document that is not text, and cannot be shown to you)")]


def _convert(value: Any, type_: Any, place: str) -> Any:
    try:
        return msgspec.convert(value, type_)
    except msgspec.ValidationError as error:
        raise wrong_type(error, place) from None
