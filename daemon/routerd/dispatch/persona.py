"""The persona: a text that goes before every conversation, whoever answers. Pure."""

from __future__ import annotations

from msgspec.structs import replace

from routerd_client.chat import ChatRequest, Message, TextPart


def with_persona(chat: ChatRequest, persona: str) -> ChatRequest:
    """``chat`` with ``persona`` before its system message, exactly once: not where it stands there already."""
    persona = persona.strip()
    if not persona:
        return chat
    first = chat.messages[0] if chat.messages else None
    if first is None or first.role not in ("system", "developer"):
        return replace(chat, messages=[Message("system", persona), *chat.messages])
    if f"{first.text.strip()}\n".startswith((f"{persona}\n", f"{persona} ")):
        return chat
    if isinstance(first.content, list):
        joined = replace(first, content=[TextPart(f"{persona}\n\n"), *first.content])
    else:
        joined = replace(first, content=f"{persona}\n\n{first.text}")
    return replace(chat, messages=[joined, *chat.messages[1:]])
