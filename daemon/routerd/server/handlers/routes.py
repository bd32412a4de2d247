from __future__ import annotations

from msgspec.structs import replace

from routerd_client.protocol import Event, Routes

from ..services import Services


def routes(services: Services, request: Routes, _client: str) -> Event:
    """The routes in force, and how often each was taken."""
    return replace(services.routes(), id=request.id)
