"""The socket as a caller without our client meets it: one JSON object a line."""

from __future__ import annotations

import os
from pathlib import Path

import anyio

from routerd_client import InterruptedAnswerError, RequestFailedError, protocol
from routerd_client.framing import LineBuffer
from routerd_client.protocol import Chat, Error, ErrorCode, Event

from .heard import Heard


async def over_lines(socket: Path, chat: Chat) -> Heard:
    """Ask ``chat`` and read its events to the end."""
    heard, lines = Heard(), LineBuffer()
    async with await anyio.connect_unix(os.fspath(socket)) as stream:
        await stream.send(protocol.json_encoder.encode(chat) + b"\n")
        while True:
            for line in lines.feed(await stream.receive()):
                event = protocol.json_event_decoder.decode(line)
                _note(heard, event)
                if isinstance(event, protocol.TERMINAL):
                    return heard


def _note(heard: Heard, event: Event) -> None:
    if not isinstance(event, Error):
        heard.events.append(event)
    elif event.code is ErrorCode.INTERRUPTED:
        heard.failed = InterruptedAnswerError(event, heard.text)
    else:
        heard.failed = RequestFailedError(event)
