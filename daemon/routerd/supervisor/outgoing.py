"""What waits to be sent to one model process: whole frames, in order."""

from __future__ import annotations

from collections import deque

import anyio
from msgspec import Struct

from routerd_client.framing import FrameTooLongError, pack
from routerd_client.records import FailureKind

from .. import wire
from .errors import ProcessFailedError


class _Frame(Struct, frozen=True):
    """One frame. ``id`` is that of the question in it, 0 where it asks nothing."""

    id: int
    data: bytes


class Outgoing:
    """The frames of one process, each made in the task that asks for it, so that a message that cannot be sent is the
    failure of its own request, and of no other. One task sends them with `next`."""

    def __init__(self) -> None:
        self._frames: deque[_Frame] = deque()
        self._work = anyio.Event()

    def __repr__(self) -> str:
        return f"<Outgoing {len(self._frames)} frames>"

    @property
    def unsent(self) -> frozenset[int]:
        """The questions that wait to be sent."""
        return frozenset(frame.id for frame in self._frames)

    def put(self, message: wire.ToWorker) -> None:
        """Add ``message``. Raises `ProcessFailedError`, ``bad_request``, where it cannot be sent."""
        id_ = message.id if isinstance(message, wire.Generate | wire.Count | wire.Ping) else 0
        self._frames.append(_Frame(id_, frame_of(message)))
        self._work.set()

    def take_back(self, id_: int) -> bool:
        """Take the question ``id_`` out again; false where it was sent. A process that does not read need never learn
        of it."""
        unsent = next((frame for frame in self._frames if frame.id == id_), None)
        if unsent:
            self._frames.remove(unsent)
        return unsent is not None

    async def next(self) -> bytes:
        """Take out the oldest frame; waits for one."""
        while not self._frames:
            self._work = anyio.Event()
            await self._work.wait()
        return self._frames.popleft().data


def frame_of(message: wire.ToWorker) -> bytes:
    """Make the frame that carries ``message``. Raises `ProcessFailedError`, ``bad_request``."""
    try:
        return pack(wire.encode(message))
    except FrameTooLongError as error:
        text, hint = f"the request is too large for a model process: {error}", "send less at once"
    except wire.ENCODING_ERRORS as error:
        text = f"the request has a value that cannot be sent to a model process: {error}"
        hint = "send integers below 2^64, and text without lone surrogates"
    raise ProcessFailedError(FailureKind.BAD_REQUEST, text, hint=hint)
