"""The thin client of routerd.

``Client`` blocks, ``AsyncClient`` runs on anyio (asyncio or trio); both speak one protocol over the
daemon's Unix socket. Importing this loads msgspec and the standard library; anyio comes in with the
first use of ``AsyncClient``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

from . import contexts
from ._sync import Client
from .chat import ChatRequest, Message, Usage
from .errors import (
    DaemonUnavailableError,
    InterruptedAnswerError,
    ProtocolMismatchError,
    RequestFailedError,
    RouterdError,
)
from .protocol import Delta, Done, ErrorCode, Event, Notice, Progress, Retracted, Routed, StreamEvent
from .records import Decision

if TYPE_CHECKING:
    from ._async import AsyncClient
    from .matching import apply_route

__all__ = [
    "AsyncClient",
    "ChatRequest",
    "Client",
    "DaemonUnavailableError",
    "Decision",
    "Delta",
    "Done",
    "ErrorCode",
    "Event",
    "InterruptedAnswerError",
    "Message",
    "Notice",
    "Progress",
    "ProtocolMismatchError",
    "RequestFailedError",
    "Retracted",
    "Routed",
    "RouterdError",
    "StreamEvent",
    "Usage",
    "apply_route",
    "contexts",
]


def __getattr__(name: str) -> Any:
    # anyio costs more than the rest of the client together, and the blocking one never needs it.
    if name == "AsyncClient":
        from ._async import AsyncClient

        return AsyncClient
    if name == "apply_route":
        from .matching import apply_route

        return apply_route
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
