"""One file for each kind of request. A handler parses nothing and formats nothing.

`IMMEDIATE` handlers answer at once, without waiting for anything; `BACKGROUND` ones run as a task
of their connection, may send events, and return the terminal one. A new kind of request is a struct
in the protocol, a file here, and a line in one of the two tables.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from routerd_client import protocol
from routerd_client.protocol import Event

from ..services import Services
from .budget import budget, record_spend, set_spent
from .chat import chat
from .check import check
from .ledger import decisions, feedback, show, stats
from .models import models
from .reload import reload
from .route import route
from .routes import routes
from .status import status
from .use import use
from .watch import watch

Respond = Callable[[Event], Awaitable[None]]

IMMEDIATE: dict[type, Callable[[Services, Any, str], Event]] = {
    protocol.Budget: budget,
    protocol.Route: route,
    protocol.Routes: routes,
    protocol.Use: use,
}

BACKGROUND: dict[type, Callable[[Services, Any, str, Respond], Awaitable[Event]]] = {
    protocol.Chat: chat,
    protocol.RecordSpend: record_spend,
    protocol.SetSpent: set_spent,
    protocol.Status: status,
    protocol.Reload: reload,
    protocol.Check: check,
    protocol.Models: models,
    protocol.Watch: watch,
    protocol.Decisions: decisions,
    protocol.Show: show,
    protocol.Feedback: feedback,
    protocol.Stats: stats,
}
