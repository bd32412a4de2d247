from __future__ import annotations

from collections.abc import Awaitable, Callable

from msgspec.structs import replace

from routerd_client.protocol import Event, Status

from ...store.writer import StoreError
from ..services import Services


async def status(
    services: Services, request: Status, _client: str, _respond: Callable[[Event], Awaitable[None]]
) -> Event:
    """The daemon's state, with memory figures fresh from the workers and those of the ledger."""
    await services.supervisor.measure()
    try:
        tiers = await services.ledger.tiers()
    except StoreError:
        tiers = None  # what is wrong with the ledger is said there
    return replace(services.status(), id=request.id, tiers=tiers)
