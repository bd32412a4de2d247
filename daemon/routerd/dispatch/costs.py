"""What a decision may know of money and quotas."""

from __future__ import annotations

from collections.abc import Callable

from routerd_client.chat import ChatRequest
from routerd_client.records import FailureKind

from ..routing.features import Features
from ..routing.terms import Terms
from ..routing.view import Denial, Wanted
from ..spend.budget import scopes
from ..spend.tariff import Tariff, Tariffs
from .purse import Purse

Sent = Callable[[ChatRequest, Terms], ChatRequest]
"""What a backend is sent of a chat, on these terms: its bytes are what costs."""


class Costs:
    """What one request of ``client`` may cost, at one moment. Nobody waits for it, and it changes nothing."""

    def __init__(self, purse: Purse, tariffs: Tariffs, client: str, sent: Sent) -> None:
        self._purse = purse
        self._tariffs = tariffs
        self._client = client
        self._sent = sent
        self._now = purse.now()
        self._features: Features | None = None

    def denial(self, backend: str, wanted: Wanted) -> Denial | None:
        """Why `Purse.open` would refuse what is ``wanted``, which is the same for all backends; None where it would
        have it wait for open requests, or may not refuse it: of a quota only whether anything is left is looked at."""
        if why := self._purse.quotas.spent(backend, self._now):
            return Denial(why, FailureKind.QUOTA_SPENT)
        tariff = self._tariffs.of(backend, wanted.terms.model)
        return self._too_dear(backend, tariff, wanted) if tariff.metered else None

    def pressure(self, backend: str) -> float | None:
        return self._purse.quotas.pressure(backend, self._now)

    def _too_dear(self, backend: str, tariff: Tariff, wanted: Wanted) -> Denial | None:
        if why := tariff.unpriced(backend):
            return Denial(f"budget_unpriced: {why}", FailureKind.BUDGET_DENIED)
        accounts, counted = self._purse.accounts, scopes(backend, wanted.route, self._client)
        if not accounts.guards(counted):
            return None  # how large the request is need not be known
        amount = self._bound(tariff, wanted)
        denied = accounts.denial(counted, amount, self._now) if amount else None
        return Denial(str(denied), FailureKind.BUDGET_DENIED) if denied and not denied.waits else None

    def _bound(self, tariff: Tariff, wanted: Wanted) -> int:
        if self._features is None:
            self._features = Features(self._sent(wanted.chat, wanted.terms))
        return tariff.bound(self._features.chat, self._features.prompt_bytes)
