"""Conversations in plainer forms."""

from __future__ import annotations

from routerd.worker.plainer import plainer
from routerd_client.chat import Function, Message, ToolCall

CALL = ToolCall(id="c", function=Function("look", "{}"))


def test_a_plain_conversation_has_one_form() -> None:
    plain = [Message("user", "a"), Message("assistant", "b"), Message("user", "c")]

    assert list(plainer(plain)) == [plain]


def test_instructions_anywhere() -> None:
    messages = [
        Message("system", "Be brief."),
        Message("developer", "Be kind."),
        Message("user", "a"),
        Message("assistant", None, tool_calls=[CALL]),
        Message("tool", "1", tool_call_id="c"),
        Message("tool", "2", tool_call_id="d"),
        Message("system", "It is late."),
        Message("user", "b"),
    ]
    turns = [
        *messages[3:6],
        Message("user", "<system-reminder>\nIt is late.\n</system-reminder>\n\nb"),
    ]

    assert list(plainer(messages)) == [
        messages,
        [Message("system", "Be brief.\n\nBe kind."), Message("user", "a"), *turns],
        [Message("user", "Be brief.\n\nBe kind.\n\na"), *turns],
    ]


def test_nobody_speaks_twice() -> None:
    messages = [Message("user", "a"), Message("user", "b"), Message("assistant", "c"), Message("assistant", "d")]

    assert list(plainer(messages))[1:] == [[Message("user", "a\n\nb"), Message("assistant", "c\n\nd")]]
