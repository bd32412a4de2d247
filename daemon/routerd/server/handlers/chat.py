from __future__ import annotations

from collections.abc import Awaitable, Callable

from routerd_client.protocol import Chat, Error, ErrorCode, Event

from ...dispatch.run import Call
from ...routing.sentinels import without_sentinels
from ..services import Services


async def chat(services: Services, request: Chat, client: str, respond: Callable[[Event], Awaitable[None]]) -> Event:
    """Answer a chat on the generation that is in force when it arrives."""
    if services.draining:
        return Error(
            id=request.id,
            code=ErrorCode.SHUTTING_DOWN,
            message="the daemon is shutting down",
            hint="ask again when it is back",
            retryable=True,
        )
    call = Call(request.id, services.new_request_id(), without_sentinels(request.chat), request.restarts, client)
    return await services.dispatcher.chat(services.generation, call, respond)
