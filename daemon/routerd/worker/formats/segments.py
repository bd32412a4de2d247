"""What the pieces of an answer are: text, reasoning, or calls."""

from __future__ import annotations

from typing import Literal, Protocol

from msgspec import Struct

from .reading import Reading

Kind = Literal["text", "reasoning", "call"]


class Segment(Struct, frozen=True):
    """A piece of an answer. Of a call, ``text`` is all of it as the model wrote it, and ``before`` its marker."""

    kind: Kind
    text: str
    reading: Reading = Reading()
    before: str = ""


class Segmenter(Protocol):
    """Splits one answer's coded text (see `marks`) into segments, as it comes."""

    @property
    def kind(self) -> Kind:
        """What comes next, as far as is known."""
        ...

    def feed(self, coded: str) -> list[Segment]:
        """Take more of the answer; what is now sure of it. Keeps back only what may be the beginning of a marker, and
        calls until they are whole."""
        ...

    def flush(self) -> list[Segment]:
        """The answer has ended: all that was kept back."""
        ...


def partial(text: str, markers: list[str]) -> int:
    """The length of the longest end of ``text`` that begins one of ``markers``, and is not all of it."""
    longest = max(map(len, markers), default=0)
    for size in range(min(len(text), longest - 1), 0, -1):
        end = text[-size:]
        if any(marker.startswith(end) for marker in markers):
            return size
    return 0


def first(text: str, markers: list[str]) -> tuple[int, str] | None:
    """Where in ``text`` the first of ``markers`` is, and which; the longest of those that begin at one place."""
    found = [(at, -len(marker), marker) for marker in markers if (at := text.find(marker)) >= 0]
    return (min(found)[0], min(found)[2]) if found else None
