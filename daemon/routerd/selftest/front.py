"""The fronts at which a fault is met: each a way to ask a daemon, and what the caller heard."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import anyio
from msgspec import Struct

from routerd_client import AsyncClient, RequestFailedError, protocol
from routerd_client._core import build_chat

from .fault import MODES, RESTARTING, Fault, Mode
from .heard import Heard
from .http_front import over_http
from .line_front import over_lines

Ask = Callable[[Path, str, Mode, dict[str, Any]], Awaitable[Heard]]
"""Ask the daemon of a socket a prompt, in a mode, with a chat's options."""


class Front(Struct, frozen=True):
    """``modes`` are those that its protocol has."""

    ask: Ask
    modes: tuple[Mode, ...]

    def rows(self, fault: Fault) -> list[Mode]:
        """The modes in which ``fault`` is played here."""
        return [mode for mode in fault.rows if mode in self.modes]


async def over_the_socket(socket: Path, prompt: str, mode: Mode, options: dict[str, Any]) -> Heard:
    heard, began = Heard(), anyio.current_time()
    options = {"context": {"mode": mode}, **options}
    chat = protocol.Chat(id=1, chat=build_chat(prompt, options, stream=mode != "whole"), restarts=mode == "restarts")
    if not _fits_a_frame(chat):
        return await over_lines(socket, chat)
    async with AsyncClient(socket, name="selftest") as client:
        try:
            if mode == "whole":
                heard.events.append(await client.chat(prompt, **options))
            else:
                async with aclosing(client.stream(prompt, restarts=mode == "restarts", **options)) as events:
                    async for event in events:
                        heard.events.append(event)
        except RequestFailedError as error:
            heard.failed = error
    heard.seconds = anyio.current_time() - began
    return heard


def _fits_a_frame(chat: protocol.Chat) -> bool:
    """Tell whether MessagePack has all values of ``chat``: it has no integers over 64 bits."""
    try:
        protocol.encoder.encode(chat)
    except OverflowError:
        return False
    return True


FRONTS: dict[str, Front] = {"socket": Front(over_the_socket, RESTARTING), "http": Front(over_http, MODES)}
