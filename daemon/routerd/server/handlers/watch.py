from __future__ import annotations

from collections.abc import Awaitable, Callable

from routerd_client.protocol import Event, Watch

from ..services import Services


async def watch(services: Services, request: Watch, _client: str, respond: Callable[[Event], Awaitable[None]]) -> Event:
    """Send notices until cancelled."""
    subscription = services.hub.subscribe(request.id, request.topics)
    try:
        while True:
            await respond(await subscription.next())
    finally:
        services.hub.unsubscribe(subscription)
