"""What a decision looks at in a request. Computed when first asked for: most routes look at the context alone."""

from __future__ import annotations

from functools import cached_property

import msgspec
from msgspec import Struct

from routerd_client.chat import ChatRequest, ImagePart, NamedTool, Tool

from ..config.pattern import LOOKED_AT
from .classify.ask import Ask, newest_ask
from .words import words

BYTES_A_TOKEN = 4
"""For a match on ``tokens``: about right for English and for code."""


def callable_tools(chat: ChatRequest) -> list[Tool]:
    """The tools that an answer may call: all, none, or the one that ``tool_choice`` names."""
    if chat.tool_choice == "none":
        return []
    named = chat.tool_choice.function.name if isinstance(chat.tool_choice, NamedTool) else None
    return [tool for tool in chat.tools if named in (None, tool.function.name)]


def offers_tools(chat: ChatRequest) -> bool:
    """Whether the backend that answers must be able to call tools."""
    return bool(callable_tools(chat))


def must_call(chat: ChatRequest) -> bool:
    """Whether an answer without a call is not what ``tool_choice`` asks for."""
    return offers_tools(chat) and chat.tool_choice not in (None, "auto")


class Moment(Struct, frozen=True):
    """A time by the clock on the wall: minutes of the day, and the weekday (Monday is 0)."""

    minute: int = 0
    weekday: int = 0


class Features:
    """One request at one moment. ``client`` is the name its client gave itself. ``embeds``: it wants no answer, but
    vectors of its text."""

    def __init__(
        self, chat: ChatRequest, client: str = "", moment: Moment | None = None, *, embeds: bool = False
    ) -> None:
        self.chat = chat
        self.context = chat.context
        self.client = client
        self.moment = moment or Moment()
        self.embeds = embeds

    @cached_property
    def ask(self) -> Ask:
        return newest_ask(self.chat.messages)

    @cached_property
    def head(self) -> str:
        """The beginning of the newest ask, as far as a regex looks."""
        return self.ask.text[:LOOKED_AT]

    @cached_property
    def words(self) -> list[str]:
        """The words of the newest ask, in lower case."""
        return words(self.ask.text)

    @cached_property
    def word_set(self) -> frozenset[str]:
        return frozenset(self.words)

    @cached_property
    def spaced(self) -> str:
        """The words with one space around each: what a phrase is looked for in."""
        return f" {' '.join(self.words)} "

    @cached_property
    def prompt_bytes(self) -> int:
        """Bytes of everything the model will read: an upper bound of its tokens, but for the template's own."""
        size = 0
        for message in self.chat.messages:
            size += len(message.text.encode()) + len((message.reasoning or "").encode())
            calls = [call.function for call in message.tool_calls]
            size += sum(len(call.name.encode()) + len(call.arguments.encode()) for call in calls)
        for tool in self.chat.tools:
            size += len(tool.function.name.encode()) + len(tool.function.description.encode())
            size += len(msgspec.json.encode(tool.function.parameters)) if tool.function.parameters else 0
        return size

    @cached_property
    def tokens(self) -> int:
        return self.prompt_bytes // BYTES_A_TOKEN

    @cached_property
    def turn(self) -> int:
        """Which ask of the conversation this is, from 1."""
        return max(1, sum(1 for message in self.chat.messages if message.role == "user"))

    @cached_property
    def chars(self) -> int:
        """Characters of the newest ask."""
        return len(self.ask.text)

    @cached_property
    def has_tools(self) -> bool:
        return bool(self.chat.tools)

    @cached_property
    def has_images(self) -> bool:
        return any(
            isinstance(part, ImagePart)
            for message in self.chat.messages
            if isinstance(message.content, list)
            for part in message.content
        )
