from __future__ import annotations

import anyio

from routerd_client.protocol import Error, ErrorCode, Event, Use, Used

from ...routing.decide import UnknownModelError
from ..services import Services


def use(services: Services, request: Use, _client: str) -> Event:
    """Let a session have a model of its own."""
    table = services.generation.table
    if not request.session:
        return Error(id=request.id, code=ErrorCode.BAD_REQUEST, message="a session needs a name")
    if (named := table.named(request.model)) and named not in table.endpoints:
        unknown = UnknownModelError(named, table.nearest(named))
        return Error(id=request.id, code=ErrorCode.NOT_FOUND, message=str(unknown), hint=unknown.hint)
    services.dispatcher.sessions.choose(request.session, request.model, anyio.current_time())
    return Used(id=request.id)
