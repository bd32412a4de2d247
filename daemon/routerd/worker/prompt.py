"""From the canonical chat to token ids, as the model's own template wants it."""

from __future__ import annotations

import json
from functools import cached_property
from itertools import takewhile
from typing import Any

import msgspec

from routerd_client.chat import ChatRequest, Message, NamedTool, ToolCall
from routerd_client.records import FailureKind

from .literal import pieces
from .lm import Model
from .plainer import plainer
from .promptcache import common_prefix
from .thinking import thinking_arguments
from .validate import RequestError, bad

RESERVED_ARGS = {
    "add_generation_prompt",
    "chat_template",
    "continue_final_message",
    "conversation",
    "documents",
    "max_length",
    "messages",
    "padding",
    "processor_kwargs",
    "return_assistant_tokens_mask",
    "return_dict",
    "return_tensors",
    "tokenize",
    "tokenizer_kwargs",
    "tools",
    "truncation",
}
"""Arguments of the templating function itself: what a caller may set are the template's variables."""


TOO_DEEP = "a value of the request is nested too deeply for the model's chat template: send it flatter"


class Prompt(msgspec.Struct, frozen=True, dict=True):
    """A request ready to be computed. ``max_tokens`` fits the context; ``tools`` are those offered; ``continues``: it
    ends with the beginning of the answer.

    The first ``system`` tokens are the same in every conversation with these instructions and
    tools, the first ``lasting`` are repeated by this conversation's next turn.
    """

    ids: list[int]
    initial_state: str
    max_tokens: int
    tools: list[dict[str, Any]]
    continues: bool = False
    system: int = 0
    lasting: int = 0

    @cached_property
    def system_key(self) -> int | None:
        """Tells these instructions and tools from others; ``None`` where there are none."""
        return hash(tuple(self.ids[: self.system])) if self.system else None


def prepare(model: Model, chat: ChatRequest, max_tokens: int) -> Prompt:
    """Template and tokenize ``chat``, an answer of ``max_tokens`` allowed where it does not say.

    Blocks as long as that takes; a prompt of 100 KB takes a while. Raises `RequestError`:
    ``bad_request`` where the template refuses, ``context_overflow`` where no room for an answer is left.
    """
    tools = offered_tools(chat)
    rendered, begun = _parts(model, chat, tools)
    ids = _tokenize(model, rendered + begun)
    room = model.context - len(ids)
    if room < 1:
        raise _overflow(f"the prompt has {len(ids)} tokens", model)
    state = model.initial_state(rendered)
    if chat.continues and state != "normal":
        raise bad("this model reasons before it answers: it cannot go on from an answer's beginning")
    if not ids or not 0 <= min(ids) <= max(ids) < model.vocab:
        raise bad("the prompt comes to no tokens, or to tokens the model does not have: its tokenizer does not fit it")
    return Prompt(
        ids,
        state,
        min(chat.max_tokens or max_tokens, room),
        tools,
        continues=chat.continues,
        system=_system(model, chat, tools, ids),
        lasting=model.lasting(ids),
    )


def offered_tools(chat: ChatRequest) -> list[dict[str, Any]]:
    """The tools the template may show: all, none, or the one that ``tool_choice`` names."""
    if chat.tool_choice == "none":
        return []
    named = chat.tool_choice.function.name if isinstance(chat.tool_choice, NamedTool) else None
    return [msgspec.to_builtins(tool) for tool in chat.tools if named in (None, tool.function.name)]


def text(model: Model, chat: ChatRequest) -> str:
    """The prompt's text, to be tokenized in `pieces`. Raises ``bad_request`` where the template refuses."""
    return "".join(_parts(model, chat, offered_tools(chat)))


def _parts(model: Model, chat: ChatRequest, tools: list[dict[str, Any]]) -> tuple[str, str]:
    """The prompt's text up to where the answer begins, and the answer's beginning."""
    begun = ""
    if chat.continues:
        begun = model.markers.cut(_beginning(chat))
        chat = msgspec.structs.replace(chat, messages=chat.messages[:-1])
    text = _render(model, chat, tools) if model.has_chat_template else model.markers.cut(plain(chat.messages))
    return _unicode(text), _unicode(begun)


def _unicode(text: str) -> str:
    """Make ``text`` fit for the tokenizer: an escape in a call's arguments may be half of a character."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _beginning(chat: ChatRequest) -> str:
    """The answer's beginning, from which it goes on."""
    last = chat.messages[-1] if chat.messages else None
    if last is None or last.role != "assistant" or last.tool_calls or not last.text:
        raise bad("the answer is to go on from its beginning, and the last message is none: text of the assistant")
    return last.text


def _tokenize(model: Model, text: str) -> list[int]:
    # No token is longer than the longest, so this many characters cannot fit: no need to count them exactly.
    if len(text) > model.context * model.longest_token:
        raise _overflow(f"the prompt has {len(text)} characters", model)
    return _encode(model, text)


def _encode(model: Model, text: str) -> list[int]:
    special, ids = not model.has_chat_template, []
    for piece in pieces(text):
        ids += model.encode(piece, special=special)
        special = False
    return ids


def _render(model: Model, chat: ChatRequest, tools: list[dict[str, Any]]) -> str:
    """Many templates take a system message in one place only, and some insist that users and assistants take turns:
    where one refuses, it is given the conversation in plainer forms."""
    arguments = model.markers.cut({**template_arguments(chat, model.template), "tools": tools or None})
    refused: Exception | None = None
    for form in plainer(chat.messages):
        messages = [_literal(model, template_message(m, keep_developer=model.knows_developer)) for m in form]
        try:
            return model.render(messages, **arguments)
        except RecursionError:
            raise bad(TOO_DEEP) from None
        except Exception as exc:  # a template is a program, and may raise anything
            refused = refused or exc
    raise bad(f"the model's chat template cannot take this request: {refused}") from refused


def _literal(model: Model, shaped: dict[str, Any]) -> dict[str, Any]:
    # Templates take the reasoning out of earlier answers, so its markers must still be whole in those.
    literal = model.turn_markers if shaped["role"] == "assistant" else model.markers
    cut: dict[str, Any] = literal.cut(shaped)
    return cut


def _system(model: Model, chat: ChatRequest, tools: list[dict[str, Any]], ids: list[int]) -> int:
    """How many of ``ids`` come of the instructions and tools: what another conversation with them shares."""
    leading = list(takewhile(lambda message: message.role in ("system", "developer"), chat.messages))
    if not model.has_chat_template or not (leading or tools) or len(leading) == len(chat.messages):
        return 0
    other = msgspec.structs.replace(chat, messages=[*leading, Message("user", "")])
    try:
        shared = common_prefix(ids, _encode(model, _render(model, other, tools)))
    except RequestError:
        return 0  # a template that wants more than this: nothing is shared then
    return shared if shared < len(ids) else 0


def template_arguments(chat: ChatRequest, template: str) -> dict[str, Any]:
    """The variables that ``template`` is given for ``chat``. Raises ``bad_request`` for names that are not the caller's
    to set."""
    if taken := RESERVED_ARGS & chat.template_args.keys():
        raise bad(f"template_args may not set {', '.join(sorted(taken))}")
    return thinking_arguments(chat, template) | chat.template_args


def template_message(message: Message, *, keep_developer: bool = False) -> dict[str, Any]:
    """``message`` in the shape chat templates expect: text content, arguments as an object."""
    role = "system" if message.role == "developer" and not keep_developer else message.role
    shaped: dict[str, Any] = {"role": role, "content": message.text}
    if message.tool_calls:
        shaped["tool_calls"] = [_template_call(call) for call in message.tool_calls]
    optional = {"name": message.name, "tool_call_id": message.tool_call_id, "reasoning_content": message.reasoning}
    return shaped | {key: value for key, value in optional.items() if value is not None}


def _template_call(call: ToolCall) -> dict[str, Any]:
    try:
        arguments = json.loads(call.function.arguments or "{}")
    except RecursionError:
        raise bad(f"the arguments of the call of {call.function.name[:100]!r} are nested too deeply") from None
    except ValueError:
        # An earlier model's broken call: templates print a string as it is.
        arguments = call.function.arguments
    return {"id": call.id, "type": "function", "function": {"name": call.function.name, "arguments": arguments}}


def plain(messages: list[Message]) -> str:
    """The conversation as lines of ``role: text``, for models that bring no chat template."""
    return "".join(f"{m.role}: {m.text}\n" for m in messages) + "assistant:"


def _overflow(what: str, model: Model) -> RequestError:
    return RequestError(
        FailureKind.CONTEXT_OVERFLOW,
        f"{what}; the context is {model.context} tokens, and the answer needs room in it too",
    )
