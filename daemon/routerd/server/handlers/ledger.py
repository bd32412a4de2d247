"""What is asked of the ledger."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from msgspec.structs import replace

from routerd_client.protocol import (
    Decisions,
    DecisionsResult,
    Error,
    ErrorCode,
    Event,
    Feedback,
    Noted,
    Show,
    ShowResult,
    Stats,
)

from ...store.writer import StoreError
from ..services import Services

Respond = Callable[[Event], Awaitable[None]]


async def decisions(services: Services, request: Decisions, _client: str, _respond: Respond) -> Event:
    """The newest chats."""
    try:
        return DecisionsResult(id=request.id, chats=await services.ledger.decisions(request))
    except LookupError:
        return _unknown(services, request.id, request.before)
    except StoreError as error:
        return _unread(request.id, error)


async def show(services: Services, request: Show, _client: str, _respond: Respond) -> Event:
    """One chat."""
    try:
        chat = await services.ledger.story(request.request_id)
    except StoreError as error:
        return _unread(request.id, error)
    return ShowResult(id=request.id, chat=chat) if chat else _unknown(services, request.id, request.request_id)


async def feedback(services: Services, request: Feedback, _client: str, _respond: Respond) -> Event:
    """Take in what somebody says of an answer."""
    if not 0 <= request.score <= 1:
        return Error(
            id=request.id,
            code=ErrorCode.BAD_REQUEST,
            message=f"score is {request.score:g}; it must be from 0 (bad) to 1 (good)",
        )
    try:
        await services.feedback(request)
    except LookupError:
        return _unknown(services, request.id, request.request_id)
    except StoreError as error:
        return _unread(request.id, error)
    return Noted(id=request.id)


async def stats(services: Services, request: Stats, _client: str, _respond: Respond) -> Event:
    """Figures."""
    try:
        return replace(await services.ledger.stats(request), id=request.id)
    except StoreError as error:
        return _unread(request.id, error)


def _unknown(services: Services, id_: int, request_id: str) -> Error:
    status = services.ledger.status()
    hint = "routerctl decisions lists the newest"
    if status.mode == "memory":
        hint = f"older ones are in {status.file}, which cannot be used now: {status.reason}"
    return Error(id=id_, code=ErrorCode.NOT_FOUND, message=f"the ledger has no request {request_id!r}", hint=hint)


def _unread(id_: int, error: StoreError) -> Error:
    hint = "routerctl status shows the ledger's state"
    return Error(id=id_, code=ErrorCode.UNAVAILABLE, message=str(error), hint=hint, retryable=True)
