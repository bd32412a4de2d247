"""The one canonical chat: the form every front translates to and every backend translates from.

The shapes follow OpenAI's chat messages, so that the commonest front is nearly a pass-through.
Everywhere, ``None``, ``""`` and ``[]`` mean "no opinion"; ``0`` and ``False`` are values.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any, Literal

from msgspec import Meta, Struct
from msgspec.structs import force_setattr

from . import contexts
from ._open_enum import OpenEnum

MOST_MESSAGES = 20_000
"""The messages of one request: more than any model's context has room for."""
MOST_PARTS = 20_000
"""The parts of one message."""
MOST_TOOLS = 10_000
MOST_STOPS = 1_000
MOST_CONTEXT = 10_000
"""Keys of a request's context."""
MOST_BIASES = 300_000
"""Tokens with a bias: a vocabulary's."""
LONGEST_NAME = 4096
"""Characters of a model's or a session's name."""
if TYPE_CHECKING:
    Context = dict[str, str]
else:
    Context = dict[str, contexts.ContextValue]
    """As it is sent; once it is read all its values are texts."""


class Priority(Enum):
    """Who waits for whom in the admission queue."""

    INTERACTIVE = "interactive"
    NORMAL = "normal"
    BACKGROUND = "background"


class FinishReason(OpenEnum):
    """Why an answer ended. Members a newer daemon adds arrive as ``UNKNOWN``."""

    STOP = "stop"
    LENGTH = "length"
    TOOL_CALLS = "tool_calls"
    CONTENT_FILTER = "content_filter"
    UNKNOWN = "unknown"


class ImageURL(Struct, frozen=True, omit_defaults=True):
    """Where an image is: an ``https:`` or a ``data:`` URL."""

    url: str
    detail: str | None = None


class TextPart(Struct, frozen=True, tag="text"):
    text: str


class ImagePart(Struct, frozen=True, tag="image_url"):
    image_url: ImageURL


Part = TextPart | ImagePart


class Function(Struct, frozen=True, omit_defaults=True):
    """The call itself. ``arguments`` is JSON text, as the model wrote it."""

    name: str = ""
    arguments: str = ""


class ToolCall(Struct, frozen=True, omit_defaults=True):
    """One call of a tool, whole. In a `Delta` the calls of one answer are numbered by ``index``."""

    id: str
    function: Function
    type: Literal["function"] = "function"
    index: int = 0


class Message(Struct, frozen=True, omit_defaults=True):
    """One message of a conversation.

    ``content`` is text or parts; ``None`` where an assistant only calls tools. ``reasoning`` is a
    model's own thinking, kept apart from its answer. ``refusal`` is a provider's typed refusal.
    """

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | Annotated[list[Part], Meta(max_length=MOST_PARTS)] | None = None
    name: str | None = None
    tool_calls: Annotated[list[ToolCall], Meta(max_length=MOST_PARTS)] = []
    tool_call_id: str | None = None
    reasoning: str | None = None
    refusal: str | None = None

    @property
    def text(self) -> str:
        """All text of the message, its text parts joined; images leave nothing."""
        if isinstance(self.content, str):
            return self.content
        return "".join(p.text for p in self.content or () if isinstance(p, TextPart))


class FunctionSpec(Struct, frozen=True, omit_defaults=True):
    """What a tool is; ``parameters`` is a JSON schema."""

    name: str
    description: str = ""
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(Struct, frozen=True):
    function: FunctionSpec
    type: Literal["function"] = "function"


class NamedTool(Struct, frozen=True):
    """A ``tool_choice`` that names the one tool to call."""

    function: Function
    type: Literal["function"] = "function"


class ResponseFormat(Struct, frozen=True, omit_defaults=True):
    """``text``, ``json_object``, or ``json_schema`` with OpenAI's ``{name, schema, strict}``."""

    type: Literal["text", "json_object", "json_schema"] = "text"
    json_schema: dict[str, Any] | None = None


class Sampling(Struct, frozen=True, omit_defaults=True):
    """How tokens are drawn. ``None`` leaves a choice to the route, then to the backend."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    xtc_probability: float | None = None
    xtc_threshold: float | None = None
    logit_bias: Annotated[dict[int, float], Meta(max_length=MOST_BIASES)] = {}
    seed: int | None = None


class ChatRequest(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Everything a caller can say about one request.

    ``when_full`` says what to do where a model is busy or has no memory: wait (the default), ask the next
    candidate, or fail. ``model`` is an endpoint, a backend, or ``""`` to go through the routes. ``context`` says who
    asks, from where and for what, in an open vocabulary; numbers and booleans become their JSON text, and None is an
    absent value. ``deadline_s`` bounds every wait of the
    request, in seconds from its arrival. ``local_only`` never leaves the machine. ``continues``: the last message
    is the assistant's, and the answer's beginning: what comes goes on from there (owned models, and APIs that
    know how). ``stop_token_ids`` end the answer as the model's own end tokens do, ``min_tokens`` come before any end,
    and ``ignore_eos`` takes the model's own ends away (owned models, and local servers that know them). ``hops``:
    routers that it came through before this one. ``extra`` keeps fields a front did not know, by format
    (``{"openai": {...}}``), for backends of it.
    """

    messages: Annotated[list[Message], Meta(max_length=MOST_MESSAGES)]
    model: Annotated[str, Meta(max_length=LONGEST_NAME)] = ""
    tools: Annotated[list[Tool], Meta(max_length=MOST_TOOLS)] = []
    tool_choice: Literal["auto", "none", "required"] | NamedTool | None = None
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormat | None = None
    sampling: Sampling = Sampling()
    stop: Annotated[list[str], Meta(max_length=MOST_STOPS)] = []
    max_tokens: int | None = None
    min_tokens: int | None = None
    stop_token_ids: list[int] = []
    ignore_eos: bool = False
    logprobs: bool = False
    top_logprobs: int = 0
    reasoning_effort: str | None = None
    template_args: dict[str, Any] = {}
    context: Annotated[Context, Meta(max_length=MOST_CONTEXT)] = {}
    session: Annotated[str, Meta(max_length=LONGEST_NAME)] = ""
    priority: Priority | None = None
    deadline_s: float | None = None
    local_only: bool | None = None
    when_full: Literal["wait", "next", "refuse"] | None = None
    stream: bool = False
    continues: bool = False
    hops: int = 0
    extra: dict[str, dict[str, Any]] = {}

    def __post_init__(self) -> None:
        if self.context and not all(type(value) is str for value in self.context.values()):
            force_setattr(self, "context", contexts.texts(self.context))


class TopLogprob(Struct, frozen=True, omit_defaults=True):
    """A token that was likely too. ``raw`` as in `TokenLogprob`."""

    token: str
    logprob: float
    raw: list[int] = []


class TokenLogprob(Struct, frozen=True, omit_defaults=True):
    """One token of the answer, its natural-log probability, and the likeliest others.

    ``raw`` are its bytes where ``token`` does not tell them: a part of a character is no text.
    """

    token: str
    logprob: float
    top: list[TopLogprob] = []
    raw: list[int] = []


class Usage(Struct, frozen=True, omit_defaults=True):
    """Tokens of one answer. ``cached_tokens`` are those of the prompt that were not computed again, and
    ``cache_write_tokens`` those that a maker kept for later, at a price of their own."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    cache_write_tokens: int = 0

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens
