"""What the blocking and the asynchronous client share: everything but reading and writing."""

from __future__ import annotations

import select
import socket
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

import msgspec

from .chat import ChatRequest, Message, NamedTool, Priority, ResponseFormat, Sampling, Tool
from .contexts import ContextValue, texts
from .errors import (
    DaemonUnavailableError,
    InterruptedAnswerError,
    ProtocolMismatchError,
    RequestFailedError,
)
from .framing import FrameBuffer, FrameTooLongError, pack
from .protocol import (
    PROTOCOL,
    TERMINAL,
    Delta,
    Error,
    ErrorCode,
    Event,
    Feedback,
    Hello,
    Request,
    Retracted,
    decode_event,
    encoder,
)

Prompt = str | Sequence[Message | Mapping[str, Any]]
"""A user's text, or a conversation; messages as structs or in OpenAI's dictionaries."""

MAX_IDLE = 8
"""Connections a client keeps open for reuse."""


class ChatOptions(TypedDict, total=False):
    """What ``chat``, ``stream`` and ``route`` take beside the prompt; each stands in `ChatRequest` or `Sampling`."""

    system: str
    model: str
    tools: Sequence[Tool | Mapping[str, Any]]
    tool_choice: str | NamedTool | None
    parallel_tool_calls: bool | None
    response_format: ResponseFormat | Mapping[str, Any] | None
    stop: Sequence[str]
    max_tokens: int | None
    min_tokens: int | None
    stop_token_ids: Sequence[int]
    ignore_eos: bool
    logprobs: bool
    top_logprobs: int
    reasoning_effort: str | None
    template_args: Mapping[str, Any]
    context: Mapping[str, ContextValue]
    session: str
    priority: Priority | str | None
    deadline_s: float | None
    local_only: bool | None
    when_full: str | None
    extra: Mapping[str, Any]
    temperature: float | None
    top_p: float | None
    top_k: int | None
    min_p: float | None
    repetition_penalty: float | None
    presence_penalty: float | None
    frequency_penalty: float | None
    xtc_probability: float | None
    xtc_threshold: float | None
    logit_bias: Mapping[int, float]
    seed: int | None


def build_chat(prompt: Prompt, options: Mapping[str, Any], *, stream: bool) -> ChatRequest:
    """The canonical request for a prompt and options. Raises ``TypeError`` for what does not fit, naming it."""
    fields = dict(options)
    messages: list[Any] = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else list(prompt)
    if system := fields.pop("system", ""):
        messages.insert(0, {"role": "system", "content": system})
    if context := fields.get("context"):
        fields["context"] = texts(context)
    sampling = {name: fields.pop(name) for name in Sampling.__struct_fields__ if name in fields}
    unknown = fields.keys() - (set(ChatRequest.__struct_fields__) - {"messages", "sampling", "stream"})
    if unknown:
        raise TypeError(f"unknown option {', '.join(sorted(unknown))}; see routerd_client.chat.ChatRequest")
    try:
        plain = msgspec.to_builtins({**fields, "messages": messages, "sampling": sampling, "stream": stream})
        return msgspec.convert(plain, ChatRequest, str_keys=True)
    except msgspec.ValidationError as error:
        raise TypeError(f"not a chat: {error}") from error
    except RecursionError as error:
        raise TypeError("not a chat: it is nested too deeply") from error


def build_feedback(request_id: str, ok: bool | None, score: float | None, note: str) -> Feedback:
    """Raises ``TypeError`` unless exactly one of ``ok`` and ``score`` is given."""
    if (ok is None) == (score is None):
        raise TypeError("give either ok or score")
    return Feedback(id=0, request_id=request_id, score=float(bool(ok)) if score is None else score, note=note)


class Conversation:
    """One connection's side of the protocol, one request at a time, without I/O."""

    def __init__(self) -> None:
        self._frames = FrameBuffer()
        self._id = 0

    def open(self, request: Request) -> bytes:
        """The bytes that ask ``request``, under an id of its own. Raises ``ValueError`` for what a frame cannot
        carry; nothing is sent then."""
        self._id += 1
        try:
            return pack(encoder.encode(msgspec.structs.replace(request, id=self._id)))
        except OverflowError as error:
            raise ValueError(_TOO_LARGE_INTEGER) from error
        except RecursionError as error:
            raise ValueError("the request is nested too deeply: send it flatter") from error
        except UnicodeEncodeError as error:
            raise ValueError(f"a text of the request is no Unicode (a lone surrogate): {error}") from error

    def feed(self, chunk: bytes) -> list[Event]:
        """The events in ``chunk`` that answer the open request; what else came is dropped.

        Raises `DaemonUnavailableError` where the peer does not speak the protocol.
        """
        try:
            events = [decode_event(frame) for frame in self._frames.feed(chunk)]
        except (FrameTooLongError, msgspec.DecodeError, RecursionError) as error:
            raise DaemonUnavailableError(f"what answers there is no routerd: {error}", sent=True) from error
        return [event for event in events if event is not None and event.id == self._id]


_TOO_LARGE_INTEGER = (
    "the request has an integer over 64 bits, which this protocol's frames cannot carry: "
    "send it as a float or as text, or ask by HTTP or JSON lines"
)


class Answer:
    """Watches one request's events: says when it ends, raises its failure with the text so far."""

    def __init__(self) -> None:
        self.ended = False
        self._partial: list[str] = []

    def observe(self, event: Event) -> Event:
        """``event`` itself; raises `RequestFailedError` or a class below it where it is an `Error`."""
        if isinstance(event, Delta):
            self._partial.append(event.text)
        elif isinstance(event, Retracted):
            self._partial.clear()
        elif isinstance(event, Error):
            self.ended = True
            raise failure(event, "".join(self._partial))
        else:
            self.ended = isinstance(event, TERMINAL)
        return event


def hello(name: str) -> Hello:
    from . import __version__  # the package's own first module, still being read when this one is

    return Hello(id=0, protocol=PROTOCOL, client=name, version=__version__)


def failure(error: Error, partial: str = "") -> Exception:
    """The exception for an `Error` event."""
    if error.code is ErrorCode.VERSION_MISMATCH:
        return ProtocolMismatchError(f"{error.message} ({error.hint})" if error.hint else error.message)
    if partial or error.code is ErrorCode.INTERRUPTED:
        return InterruptedAnswerError(error, partial)
    return RequestFailedError(error)


def quiet(connection: socket.socket) -> bool:
    """Whether an idle connection can be used again: its peer has neither closed it nor spoken unasked."""
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    return not poll.poll(0)


def gone(path: object, *, sent: bool) -> DaemonUnavailableError:
    what = "before it answered; the request may have been carried out" if sent else "at once"
    return DaemonUnavailableError(f"the daemon at {path} closed the connection {what}", sent=sent)
