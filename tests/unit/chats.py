"""A conversation with everything in it, for the translations."""

from __future__ import annotations

from collections.abc import Iterable

from routerd.backends.base import Piece
from routerd_client.chat import (
    Function,
    FunctionSpec,
    ImagePart,
    ImageURL,
    Message,
    TextPart,
    Tool,
    ToolCall,
)

CONVERSATION = [
    Message("system", "Be brief."),
    Message("developer", "Answer in English."),
    Message(
        "user",
        [
            TextPart("What is this?"),
            ImagePart(ImageURL("data:image/png;base64,aGk=", "low")),
            ImagePart(ImageURL("https://pictures.test/1.png")),
        ],
        name="ann",
    ),
    Message(
        "assistant",
        None,
        tool_calls=[
            ToolCall(id="call.1", function=Function("look", '{"at": 1}')),
            ToolCall(id="call.2", function=Function("look", ""), index=1),
        ],
        reasoning="a picture",
    ),
    Message("tool", "a cat", tool_call_id="call.1"),
    Message("tool", "a dog", tool_call_id="call.2"),
    Message("user", "Sure?"),
    Message("assistant", "Quite."),
    Message("user", "And now?"),
]
TOOLS = [
    Tool(FunctionSpec("look", "Looks.", {"type": "object"}, strict=True)),
    Tool(FunctionSpec("walk")),
]


def whole(pieces: Iterable[Piece | None]) -> Piece:
    """All that the pieces brought, as one."""
    found = [piece for piece in pieces if piece is not None]
    return Piece(
        "".join(piece.text for piece in found),
        "".join(piece.reasoning for piece in found),
        [call for piece in found for call in piece.tool_calls],
        [logprob for piece in found for logprob in piece.logprobs],
    )
