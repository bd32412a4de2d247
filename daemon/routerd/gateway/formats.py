"""Which format is spoken at which path."""

from __future__ import annotations

from collections.abc import Mapping

from . import chat_completions, completions, messages, responses
from .format import Format

FORMATS: dict[str, Format] = {
    "/v1/chat/completions": chat_completions,
    "/v1/completions": completions,
    "/v1/responses": responses,
    "/v1/messages": messages,
}
"""Chats: POST."""


def format_of(path: str, headers: Mapping[str, str]) -> Format:
    """The format in which an error at ``path`` is told, also where no chats are asked: Anthropic's to its SDKs."""
    anthropics = "anthropic-version" in headers or path.startswith("/v1/messages/")
    return FORMATS.get(path) or (messages if anthropics else chat_completions)
