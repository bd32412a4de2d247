"""Server-sent events, read as they come. Pure."""

from __future__ import annotations

from msgspec import Struct

from routerd_client.records import FailureKind

from .base import BackendError

MAX_EVENT = 16 * 2**20
"""Bytes of one event. The longest honest ones repeat a whole answer, and the request with it."""
MAX_STREAM = 256 * 2**20
"""Bytes of one answer."""


class Event(Struct, frozen=True):
    """``name`` is ``""`` where the server gave none."""

    name: str
    data: bytes


class EventParser:
    """Takes bytes as they arrive, gives the events they complete.

    Comments, ids and retry times are dropped, and so is an event whose end never came.
    """

    def __init__(self, event_limit: int = MAX_EVENT, limit: int = MAX_STREAM) -> None:
        self._event_limit = event_limit
        self._left = limit
        self._line: list[bytes] = []  # the parts of a line whose end has not come
        self._data: list[bytes] = []
        self._name = ""
        self._held = 0  # bytes of the event that has not ended

    def feed(self, chunk: bytes) -> list[Event]:
        """The events that ``chunk`` completes. Raises `BackendError` where there is no end to it."""
        self._left -= len(chunk)
        events: list[Event] = []
        first, *rest = chunk.split(b"\n")
        self._line.append(first)
        self._held += len(first)
        if rest:
            lines = [b"".join(self._line), *rest]
            self._line = [lines.pop()]
            for line in lines:
                self._take(line.removesuffix(b"\r"), events)
            self._held += len(self._line[0])
        if self._held > self._event_limit or self._left < 0:
            raise BackendError(FailureKind.MALFORMED, "the API sent more than any answer can be")
        return events

    def _take(self, line: bytes, events: list[Event]) -> None:
        if not line:
            if self._data:
                events.append(Event(self._name, b"\n".join(self._data)))
            self._data, self._name, self._held = [], "", 0
            return
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            self._data.append(value)
            self._held += len(line) + 1  # a list of a million empty lines takes memory too
        elif field == b"event":
            self._name = value.decode(errors="replace")
