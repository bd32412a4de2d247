"""What every backend is to the dispatcher."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from msgspec import Struct

from routerd_client.chat import ChatRequest, FinishReason, TokenLogprob, ToolCall, Usage
from routerd_client.records import FailureKind

from ..routing.terms import Terms
from ..routing.view import Limits
from ..spend.quota import Told


class Waiting(Struct, frozen=True):
    """The answer has not begun. ``phase`` is one of `Progress`'s; ``fraction`` is 0..1 where known, and so are the
    prompt's tokens."""

    phase: str
    fraction: float | None = None
    position: int | None = None
    prompt_tokens: int | None = None
    cached_tokens: int = 0


class Piece(Struct, frozen=True):
    """The next piece of the answer; any of its fields may be empty.

    ``flaw`` says why a tool call cannot be read; the call is then part of ``text``.
    """

    text: str = ""
    reasoning: str = ""
    tool_calls: list[ToolCall] = []
    logprobs: list[TokenLogprob] = []
    flaw: str = ""


class Sent(Struct, frozen=True):
    """The request leaves for its API: from here on it may cost."""


class Limited(Struct, frozen=True):
    """What the API says of its limits; before the answer, or before the failure."""

    told: list[Told]


class End(Struct, frozen=True):
    """The answer is whole. ``decode_s`` is the time from its first token to its last, None where unknown.

    ``refusal`` is what an API said where it marked the answer as a refusal itself; ``""`` where it did not.
    """

    finish_reason: FinishReason
    usage: Usage
    decode_s: float | None = None
    refusal: str = ""


News = Waiting | Piece | Sent | Limited
Emit = Callable[[News], Awaitable[None]]
"""Takes what an answer brings, in order; may block where the caller reads slowly."""


class BackendError(Exception):
    """An attempt failed. ``retry_after_s`` is when asking again may help, ``hint`` what a person can do.

    ``permanent``: the same again fails again, until somebody changes the backend. ``cools``: the backend asked for that
    time, and nobody is to ask it before. ``billed``: its maker may charge for what was asked all the same.
    """

    def __init__(
        self,
        kind: FailureKind,
        message: str,
        *,
        hint: str = "",
        retry_after_s: float | None = None,
        cools: bool = True,
        permanent: bool = False,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.hint = hint
        self.retry_after_s = retry_after_s
        self.cools = cools
        self.permanent = permanent
        self.billed = False
        self.died = ""
        """The process of an owned model that ended while it held the request; ``""`` where none did."""


class Backend(Protocol):
    """One place that can answer. Immutable: what changes about it belongs to its owners (health, supervisor)."""

    @property
    def name(self) -> str: ...

    @property
    def kind(self) -> str:
        """The config key it is written under: ``mlx``."""

    @property
    def model(self) -> str: ...

    @property
    def identity(self) -> str:
        """What its health is remembered by, across reloads."""

    def note(self) -> str:
        """What a decision should know of it now, for people; ``""`` for nothing. Does not block."""

    def refusal(self) -> BackendError | None:
        """Why it would fail at once, without being asked; None where it would not. Does not block."""
        ...

    def limits(self) -> Limits:
        """What it can do, as far as is known now. Does not block."""
        ...

    def dropped(self, chat: ChatRequest, read: frozenset[str]) -> list[str]:
        """What ``chat`` says that it is not told, or does not do, for people; ``read`` are the fields of
        ``chat.extra`` whose meaning the rest of the chat has. Does not block."""
        ...

    def busy(self) -> float:
        """Its requests in flight and waiting, per request it can serve at a time. Does not block."""
        ...

    def wait(self) -> float:
        """Seconds until it could begin another answer, as far as one can tell. Does not block."""
        ...

    async def count(self, chat: ChatRequest) -> int | None:
        """The tokens of ``chat``'s prompt by its own tokenizer; None where it cannot say. Never raises."""
        ...

    async def answer(self, chat: ChatRequest, emit: Emit, terms: Terms) -> End:
        """Answer ``chat``: emits any number of `Waiting`, then of `Piece`, and returns at the answer's end.

        Raises `BackendError`. Cancelling it stops the work at the backend.
        """
        ...
