"""Ever plainer forms of a conversation, for chat templates that refuse what most take. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import takewhile

from msgspec.structs import replace

from routerd_client.chat import Message

_INSTRUCTS = ("system", "developer")


def plainer(messages: list[Message]) -> Iterator[list[Message]]:
    """``messages`` as they are; then with one system message at the beginning, and nobody but tools speaking twice in
    a row; then without any system message. Only forms that differ from the one before."""
    yield messages
    folded = _folded(messages)
    if folded != messages:
        yield folded
    if folded and folded[0].role == "system":
        yield _merged([replace(folded[0], role="user"), *folded[1:]])


def _folded(messages: list[Message]) -> list[Message]:
    leading = list(takewhile(lambda message: message.role in _INSTRUCTS, messages))
    system = [Message("system", "\n\n".join(message.text for message in leading))] if leading else []
    # what agents put around the words that are not a person's
    rest = [
        Message("user", f"<system-reminder>\n{message.text}\n</system-reminder>")
        if message.role in _INSTRUCTS
        else message
        for message in messages[len(leading) :]
    ]
    return [*system, *_merged(rest)]


def _merged(messages: Sequence[Message]) -> list[Message]:
    merged: list[Message] = []
    for message in messages:
        last = merged[-1] if merged else None
        if last and last.role == message.role and message.role != "tool":
            both = "\n\n".join(filter(None, (last.text, message.text)))
            calls = [*last.tool_calls, *message.tool_calls]
            merged[-1] = replace(last, content=both, tool_calls=calls)
        else:
            merged.append(message)
    return merged
