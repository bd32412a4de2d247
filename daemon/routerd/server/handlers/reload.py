from __future__ import annotations

from collections.abc import Awaitable, Callable

from msgspec.structs import replace

from routerd_client.protocol import Event, Reload

from ..services import Services


async def reload(
    services: Services, request: Reload, _client: str, _respond: Callable[[Event], Awaitable[None]]
) -> Event:
    return replace(await services.reload(), id=request.id)
