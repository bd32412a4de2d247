from __future__ import annotations

from collections.abc import Awaitable, Callable

from msgspec.structs import replace

from routerd_client.protocol import Event, Status

from ..services import Services


async def status(
    services: Services, request: Status, _client: str, _respond: Callable[[Event], Awaitable[None]]
) -> Event:
    """The daemon's state, with memory figures fresh from the workers."""
    await services.supervisor.measure()
    return replace(services.status(), id=request.id)
