"""One answer on its way from a worker to whoever reads it: a bounded buffer between the two."""

from __future__ import annotations

from collections import deque

import anyio
import msgspec

from routerd_client.records import FailureKind

from .. import wire
from .errors import Failure, ProcessFailedError

Item = wire.Prefill | wire.Piece | wire.Finished

MAX_BUFFERED = 1 << 20
"""Characters of one answer kept for a reader that does not read. Neighbouring pieces are joined, so
this is far more than an answer of any usual length; a reader that lets it fill is cut off."""


class Stream:
    """Filled by the worker's reader, emptied by one ``async for``. The iteration ends after `wire.Finished`
    and raises `ProcessFailedError` where the answer failed."""

    def __init__(self, id: int) -> None:  # noqa: A002 - the wire's own name for it
        self.id = id
        self._items: deque[Item] = deque()
        self._size = 0
        self._failure: Failure | None = None
        self._news = anyio.Event()
        self.ended = False

    def __repr__(self) -> str:
        return f"<Stream {self.id} {len(self._items)} buffered{' ended' if self.ended else ''}>"

    def put(self, item: Item) -> bool:
        """Add what the worker sent; false where the buffer is full, and the stream has failed with it."""
        if self.ended:
            return True
        last = self._items[-1] if self._items else None
        if isinstance(item, wire.Piece):
            self._size += _weight(item)
        if isinstance(item, wire.Piece) and isinstance(last, wire.Piece) and _kind(item) == _kind(last):
            self._items[-1] = _join(last, item)
        elif isinstance(item, wire.Prefill) and isinstance(last, wire.Prefill):
            self._items[-1] = item
        else:
            self._items.append(item)
        self.ended = isinstance(item, wire.Finished)
        if self._size > MAX_BUFFERED:
            self.fail(Failure(FailureKind.CANCELLED, "the client stopped reading its answer"))
            return False
        self._news.set()
        return True

    def fail(self, failure: Failure) -> None:
        """End with ``failure``, after what is buffered. Nothing where it has ended already."""
        if not self.ended:
            self._failure = failure
            self.ended = True
            self._news.set()

    def __aiter__(self) -> Stream:
        return self

    async def __anext__(self) -> Item:
        while not self._items:
            if self._failure:
                raise ProcessFailedError.of(self._failure)
            if self.ended:
                raise StopAsyncIteration
            self._news = anyio.Event()
            await self._news.wait()
        item = self._items.popleft()
        if isinstance(item, wire.Piece):
            self._size -= _weight(item)
        return item


def _weight(piece: wire.Piece) -> int:
    calls = sum(64 + len(call.function.name) + len(call.function.arguments) for call in piece.tool_calls)
    return len(piece.text) + len(piece.reasoning) + 64 * len(piece.logprobs) + calls


def _kind(piece: wire.Piece) -> tuple[bool, bool]:
    """Only pieces of one kind are joined, so that text and reasoning keep their order."""
    return bool(piece.text), bool(piece.reasoning)


def _join(a: wire.Piece, b: wire.Piece) -> wire.Piece:
    return msgspec.structs.replace(
        a,
        tokens=a.tokens + b.tokens,
        text=a.text + b.text,
        reasoning=a.reasoning + b.reasoning,
        tool_calls=a.tool_calls + b.tool_calls,
        logprobs=a.logprobs + b.logprobs,
    )
