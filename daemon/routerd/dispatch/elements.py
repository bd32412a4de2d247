"""A bound on how many values a request of JSON has, checked before it is decoded: a megabyte of them takes as long as a
hundred megabytes of text, and nobody else is answered meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

MOST_ELEMENTS = 300_000
"""Values, objects and lists of one request. 20 000 messages, the most there may be, are a fifth of it."""
_SMALL = MOST_ELEMENTS
"""Bytes that cannot hold more."""
_SLICE = 2**18
"""Bytes that are looked at before others come to their turn."""

TOO_MANY = f"the request has more than {MOST_ELEMENTS} values, objects and lists: send less in one request"


async def too_many(body: bytes) -> bool:
    """Whether ``body``, a text of JSON, has more than `MOST_ELEMENTS`."""
    if len(body) <= _SMALL:
        return False
    signs, counter = 0, _Counter()
    async for piece in _pieces(body, _SLICE * 8):
        signs += _signs(piece)
    if signs <= MOST_ELEMENTS:
        return False
    async for piece in _pieces(body, _SLICE):  # most of them may stand in texts
        if counter.feed(piece) > MOST_ELEMENTS:
            return True
    return False


async def _pieces(body: bytes, size: int) -> AsyncIterator[bytes]:
    for at in range(0, len(body), size):
        yield body[at : at + size]
        await asyncio.sleep(0)


def _signs(text: bytes) -> int:
    return text.count(b",") + text.count(b"{") + text.count(b"[")


class _Counter:
    """Counts the signs of JSON outside its strings, slice by slice."""

    def __init__(self) -> None:
        self._count = 0
        self._inside = False
        self._rest = b""

    def feed(self, piece: bytes) -> int:
        piece = self._rest + piece
        whole = piece.rstrip(b"\\")  # a backslash belongs to what follows it
        self._rest = piece[len(whole) :]
        parts = whole.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')
        self._count += _signs(b"".join(parts[1::2] if self._inside else parts[::2]))
        self._inside ^= len(parts) % 2 == 0
        return self._count
