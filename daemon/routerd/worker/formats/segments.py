"""Segments of an answer (text, reasoning, calls) and the interface of segmenters."""

from __future__ import annotations

from typing import Literal, Protocol

from msgspec import Struct

from .reading import Reading

Kind = Literal["text", "reasoning", "call"]


class Segment(Struct, frozen=True):
    """A piece of an answer. For a call, ``text`` is its raw text and ``before`` its start marker."""

    kind: Kind
    text: str
    reading: Reading = Reading()
    before: str = ""


class Segmenter(Protocol):
    """Splits one answer's coded text (see `marks`) into segments, as it comes."""

    @property
    def kind(self) -> Kind:
        """The kind of the text that comes next, as far as known."""
        ...

    def feed(self, coded: str) -> list[Segment]:
        """Take more text and return the completed segments. Holds back only a possible start of a marker, and calls
        until they are complete."""
        ...

    def flush(self) -> list[Segment]:
        """End the answer and return everything held back."""
        ...


def partial(text: str, markers: list[str]) -> int:
    """Return the length of the longest suffix of ``text`` that is a proper prefix of a marker."""
    longest = max(map(len, markers), default=0)
    for size in range(min(len(text), longest - 1), 0, -1):
        end = text[-size:]
        if any(marker.startswith(end) for marker in markers):
            return size
    return 0


def first(text: str, markers: list[str]) -> tuple[int, str] | None:
    """Find the first marker in ``text``, the longest if several start there. Return its position and the marker."""
    found = [(at, -len(marker), marker) for marker in markers if (at := text.find(marker)) >= 0]
    return (min(found)[0], min(found)[2]) if found else None
