"""On what terms a request is answered: what its route and endpoint say, beyond the chat itself. Pure data."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from ..config.strategy import EscalateOn
from ..config.types import SecretSpec


class Terms(Struct, frozen=True, kw_only=True):
    """None, ``""`` and ``()`` leave a thing to the backend. Times are seconds."""

    model: str = ""
    """What an API is asked for, instead of the backend's own model."""
    api_key: SecretSpec | None = None
    first_token: float | None = None
    stall: float | None = None
    total: float | None = None
    stream_mode: Literal["live", "safe"] = "live"
    persona: str = ""
    escalate_on: frozenset[EscalateOn] = frozenset(("error",))
    max_hops: int = 2
    min_chars: int = 0
    judges: dict[str, float] = {}
    """Backends of a cascade: how sure (0..1) its judge must be to go on to the next."""
    alone: bool = False
    """An owned model answers it with no other request beside it: a model process has died with it."""


USUAL = Terms()
