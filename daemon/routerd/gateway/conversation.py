"""A conversation as it is read, item by item, into the router's own form."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from routerd_client.chat import ImagePart, Message, Part, TextPart, ToolCall


class Conversation:
    """Puts messages together: what the system says before anybody else is one message, all that the assistant says
    and calls in a row is one, and images in the results of tools, which most formats do not take there, follow them
    in a message of the user's."""

    def __init__(self) -> None:
        self._messages: list[Message] = []
        self._images: list[Part] = []

    @property
    def messages(self) -> list[Message]:
        """All of it so far."""
        self._show_images()
        return self._messages

    def instruct(self, text: str) -> None:
        if not text:
            return
        self._show_images()
        if len(self._messages) == 1 and self._messages[0].role == "system":
            text = f"{self._messages.pop().text}\n\n{text}"
        self._messages.append(Message("system", text))

    def ask(self, parts: Sequence[Part]) -> None:
        """The user says something."""
        shown, self._images = self._images, []
        self._messages.append(Message("user", plain([*shown, *parts])))

    def answer(self, text: str = "", *, reasoning: str = "", calls: Iterable[ToolCall] = ()) -> None:
        """The assistant says something, thinks, or calls tools."""
        self._show_images()
        last = Message("assistant")
        if self._messages and self._messages[-1].role == "assistant":
            last = self._messages.pop()
        made = [*last.tool_calls, *calls]
        said = last.text + text
        self._messages.append(
            replace(
                last,
                content=said if said or not made else None,
                reasoning=(last.reasoning or "") + reasoning or None,
                tool_calls=[replace(call, index=index) for index, call in enumerate(made)],
            )
        )

    def result(self, call_id: str, parts: Sequence[Part]) -> None:
        """What a tool gave."""
        images = [part for part in parts if isinstance(part, ImagePart)]
        text = "".join(part.text for part in parts if isinstance(part, TextPart))
        self._messages.append(Message("tool", text or "(see the image)" * bool(images), tool_call_id=call_id))
        self._images += images

    def _show_images(self) -> None:
        if self._images:
            self.ask([])


def plain(parts: list[Part]) -> str | list[Part]:
    """Text, where it is nothing else."""
    if not parts:
        return ""
    return parts[0].text if len(parts) == 1 and isinstance(parts[0], TextPart) else parts
