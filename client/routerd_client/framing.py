"""Length-prefixed frames, without I/O: bytes in, whole frames out. Shared by clients, daemon and workers."""

from __future__ import annotations

import struct

HEADER = struct.Struct(">I")
MAX_FRAME = 64 * 1024 * 1024
"""No longer frame is read or sent. Below 0x41000000, so that a frame's first byte is never an
upper-case letter or ``{``: that is how a listener tells frames, HTTP and JSON lines apart."""


class FrameTooLongError(ValueError):
    """A peer announced a frame over `MAX_FRAME`, or sent bytes that are no frame; the stream is lost."""


def pack(body: bytes) -> bytes:
    """One frame: a 4-byte big-endian length, then the body. Raises `FrameTooLongError`."""
    if len(body) > MAX_FRAME:
        raise FrameTooLongError(f"a frame of {len(body)} bytes is over the limit of {MAX_FRAME}")
    return HEADER.pack(len(body)) + body


class FrameBuffer:
    """Collects received bytes and gives back whole frames.

    ``feed`` returns every frame that is whole; the rest waits. Memory is bounded by one frame and
    one receive. Raises `FrameTooLongError` as soon as a header says so; the buffer is useless then.
    """

    __slots__ = ("_data",)

    def __init__(self) -> None:
        self._data = bytearray()

    def __repr__(self) -> str:
        return f"<FrameBuffer {len(self._data)} bytes pending>"

    @property
    def pending(self) -> int:
        return len(self._data)

    def feed(self, chunk: bytes) -> list[bytes]:
        # Whole frames are cut straight from the chunk: the common case copies nothing twice.
        data: bytes | bytearray = chunk
        if self._data:
            self._data += chunk
            data = self._data
        frames: list[bytes] = []
        at, end = 0, len(data)
        while end - at >= 4:
            (size,) = HEADER.unpack_from(data, at)
            if size > MAX_FRAME:
                raise FrameTooLongError(f"a frame of {size} bytes was announced; the limit is {MAX_FRAME}")
            if end - at - 4 < size:
                break
            frames.append(bytes(data[at + 4 : at + 4 + size]))
            at += 4 + size
        if data is self._data:
            del self._data[:at]
        elif at < end:
            self._data += data[at:]
        return frames


class LineBuffer:
    """The same for newline-delimited JSON: one message a line, blank lines ignored."""

    __slots__ = ("_data",)

    def __init__(self) -> None:
        self._data = bytearray()

    def feed(self, chunk: bytes) -> list[bytes]:
        head, newline, rest = chunk.rpartition(b"\n")
        lines: list[bytes] = []
        if newline:
            self._data += head
            lines = bytes(self._data).split(b"\n")
            self._data = bytearray(rest)
        else:
            self._data += chunk
        if len(self._data) > MAX_FRAME:
            raise FrameTooLongError(f"a line is over the limit of {MAX_FRAME} bytes")
        return [line for line in lines if line and not line.isspace()]  # strip would copy a line of megabytes
