"""A conversation as it is read, item by item, into the router's own form."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from routerd_client.chat import ImagePart, Message, Part, TextPart, ToolCall


class Conversation:
    """Puts messages together: what the system says before anybody else is one message, all that the assistant says
    and calls in a row is one, and images in the results of tools, which most formats do not take there, follow them
    in a message of the user's. Linear in what is said, however many items it comes in."""

    def __init__(self) -> None:
        self._messages: list[Message] = []
        self._images: list[Part] = []
        self._leading: list[str] = []
        """What the system says before anybody else."""
        self._answer: _Answer | None = None
        """What the assistant says in a row."""

    @property
    def messages(self) -> list[Message]:
        """All of it so far."""
        self._show_images()
        self._end_row()
        return self._messages

    def instruct(self, text: str) -> None:
        if not text:
            return
        self._show_images()
        if self._answer or self._messages:
            self._say(Message("system", text))
        else:
            self._leading.append(text)

    def ask(self, parts: Sequence[Part]) -> None:
        """The user says something."""
        shown, self._images = self._images, []
        self._say(Message("user", plain([*shown, *parts])))

    def answer(self, text: str = "", *, reasoning: str = "", calls: Iterable[ToolCall] = ()) -> None:
        """The assistant says something, thinks, or calls tools."""
        self._show_images()
        if self._answer is None:
            self._end_row()
            self._answer = _Answer()
        self._answer.text.append(text)
        self._answer.reasoning.append(reasoning)
        self._answer.calls += calls

    def result(self, call_id: str, parts: Sequence[Part]) -> None:
        """What a tool gave."""
        images = [part for part in parts if isinstance(part, ImagePart)]
        text = "".join(part.text for part in parts if isinstance(part, TextPart))
        self._say(Message("tool", text or "(see the image)" * bool(images), tool_call_id=call_id))
        self._images += images

    def _say(self, message: Message) -> None:
        self._end_row()
        self._messages.append(message)

    def _end_row(self) -> None:
        """Put what was said in a row into one message."""
        leading, self._leading = self._leading, []
        if leading:
            self._messages.append(Message("system", "\n\n".join(leading)))
        answer, self._answer = self._answer, None
        if answer:
            self._messages.append(answer.whole())

    def _show_images(self) -> None:
        if self._images:
            self.ask([])


class _Answer:
    """What the assistant says in a row, as it comes."""

    def __init__(self) -> None:
        self.text: list[str] = []
        self.reasoning: list[str] = []
        self.calls: list[ToolCall] = []

    def whole(self) -> Message:
        said = "".join(self.text)
        return Message(
            "assistant",
            content=said if said or not self.calls else None,
            reasoning="".join(self.reasoning) or None,
            tool_calls=[replace(call, index=index) for index, call in enumerate(self.calls)],
        )


def plain(parts: list[Part]) -> str | list[Part]:
    """Text, where it is nothing else."""
    if not parts:
        return ""
    return parts[0].text if len(parts) == 1 and isinstance(parts[0], TextPart) else parts
