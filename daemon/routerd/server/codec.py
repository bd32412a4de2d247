"""The two ways to write the protocol on one socket: frames of MessagePack, or lines of JSON."""

from __future__ import annotations

import msgspec

from routerd_client import protocol
from routerd_client.framing import FrameBuffer, LineBuffer, pack
from routerd_client.protocol import Error, ErrorCode, Event, Request

UNREADABLE = (msgspec.MsgspecError, ValueError, RecursionError)
"""What the decoders raise at bytes they cannot take; text that is not UTF-8 and deep nesting among it."""

UNSENDABLE = (OverflowError, RecursionError, TypeError, ValueError)
"""Exceptions of the encoders at an event that they cannot write: an integer over 64 bits, a frame over its limit."""


class FrameCodec:
    """Length-prefixed MessagePack, as our clients speak."""

    def __init__(self) -> None:
        self.split = FrameBuffer().feed

    def decode(self, body: bytes) -> Request | Error:
        """The request in ``body``, or the `Error` that answers it."""
        try:
            return protocol.request_decoder.decode(body)
        except UNREADABLE as error:
            return _refusal(error, body, protocol.peek_decoder)

    def encode(self, event: Event) -> bytes:
        return pack(protocol.encoder.encode(event))


class LineCodec:
    """One JSON object a line, for ``socat`` and any language."""

    def __init__(self) -> None:
        self.split = LineBuffer().feed

    def decode(self, body: bytes) -> Request | Error:
        try:
            return protocol.json_request_decoder.decode(body)
        except UNREADABLE as error:
            return _refusal(error, body, protocol.json_peek_decoder)

    def rejected(self, body: bytes, message: str) -> Error:
        """The `Error` that answers ``body``, which is not to be decoded whole."""
        return _refusal(ValueError(message), body, protocol.json_peek_decoder)

    def encode(self, event: Event) -> bytes:
        return protocol.json_encoder.encode(event) + b"\n"


Codec = FrameCodec | LineCodec
SPOKEN = "frames are what the Python package routerd-client speaks; or send one JSON object a line, or HTTP"
"""What a caller can do who speaks none of them."""


def _refusal(
    error: Exception,
    body: bytes,
    peek: msgspec.msgpack.Decoder[protocol.Peek] | msgspec.json.Decoder[protocol.Peek],
) -> Error:
    try:
        seen = peek.decode(body)
    except UNREADABLE:
        return Error(
            id=-1,
            code=ErrorCode.BAD_REQUEST,
            message=f"not a message of this protocol: {_why(error)}",
            hint=SPOKEN,
        )
    if seen.type in KNOWN:
        return Error(id=seen.id, code=ErrorCode.BAD_REQUEST, message=f"malformed {seen.type} request: {_why(error)}")
    return Error(
        id=seen.id,
        code=ErrorCode.UNKNOWN_REQUEST,
        message=f"this daemon knows no request {seen.type!r}",
        hint="update the daemon, or use an older client",
    )


def _why(error: Exception) -> str:
    return "it is nested too deeply to be read" if isinstance(error, RecursionError) else str(error)


KNOWN = frozenset(str(t.__struct_config__.tag) for t in Request.__args__)
