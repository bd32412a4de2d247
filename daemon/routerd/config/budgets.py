"""What routes.yaml may say of money."""

from __future__ import annotations

from msgspec import Struct


class LimitSpec(Struct, frozen=True, kw_only=True):
    """Dollars that metered backends may cost; no limit where absent."""

    daily_usd: float | None = None
    monthly_usd: float | None = None


class BudgetsSpec(LimitSpec, frozen=True, kw_only=True):
    """All of it together, and parts of it."""

    backends: dict[str, LimitSpec] = {}
    routes: dict[str, LimitSpec] = {}
    clients: dict[str, LimitSpec] = {}
    """By the name that a client gave itself."""
    time_zone: str = ""
    """Where days and months begin, such as ``Europe/Berlin``; this machine's where absent."""


class PriceSpec(Struct, frozen=True, kw_only=True):
    """Dollars a million tokens, and ``request`` dollars each request."""

    input: float
    output: float
    cache_read: float | None = None
    """Of tokens that the maker had kept; as ``input`` where absent, and so is the next."""
    cache_write: float | None = None
    request: float = 0.0
