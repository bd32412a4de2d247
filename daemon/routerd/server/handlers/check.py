from __future__ import annotations

from collections.abc import Awaitable, Callable

from msgspec.structs import replace

from routerd_client.protocol import Check, Event

from ..services import Services


async def check(
    services: Services, request: Check, _client: str, _respond: Callable[[Event], Awaitable[None]]
) -> Event:
    return replace(await services.check(request.text, request.file), id=request.id)
