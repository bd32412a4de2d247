"""What a decision may know, read from the owners at its moment."""

from __future__ import annotations

from collections.abc import Mapping

from ..backends.base import Backend
from ..config.schema import BackendSpec
from ..health.tracker import Tracker
from ..routing.view import Denial, Limits, Wanted
from .costs import Costs
from .sessions import Sessions


class LiveView:
    """The `View` of one moment, ``now`` in seconds of the event loop's clock."""

    def __init__(
        self,
        backends: Mapping[str, Backend],
        specs: Mapping[str, BackendSpec],
        tracker: Tracker,
        sessions: Sessions,
        costs: Costs,
        now: float,
        *,
        session: str = "",
        tokens: Mapping[str, int] | None = None,
        embeds: bool = False,
    ) -> None:
        self._backends = backends
        self._specs = specs
        self._tracker = tracker
        self._sessions = sessions
        self._costs = costs
        self._now = now
        self._session = session
        self._tokens = tokens or {}
        self._embeds = embeds

    def blocked(self, backend: str) -> Denial | None:
        asked = self._backends[backend]
        health = self._tracker.health(asked.identity, embeds=self._embeds)
        refusal = asked.refusal()
        if refusal and refusal.permanent:  # whatever its breaker says, waiting does not help
            hint = f" ({refusal.hint})" if refusal.hint else ""
            return Denial(f"{refusal.message}{hint}", refusal.kind, permanent=True)
        if why := health.blocked(self._now):
            return Denial(why, health.blamed(self._now))
        if refusal is None:
            return None
        again = f"; tried again in {refusal.retry_after_s:.0f} s" if refusal.retry_after_s else ""
        return Denial(f"{refusal.message}{again}", refusal.kind)

    def denied(self, backend: str, wanted: Wanted) -> Denial | None:
        return self._costs.denial(backend, wanted)

    def note(self, backend: str) -> str:
        return self._backends[backend].note()

    def limits(self, backend: str) -> Limits:
        return self._backends[backend].limits()

    def busy(self, backend: str) -> float:
        return self._backends[backend].busy()

    def wait(self, backend: str) -> float:
        return self._backends[backend].wait()

    def tokens(self, backend: str) -> int | None:
        return self._tokens.get(backend)

    def pressure(self, backend: str) -> float | None:
        return self._costs.pressure(backend)

    def quality(self, backend: str) -> float | None:
        given = self._specs[backend].quality
        if given is not None:
            return given
        return self._tracker.outcomes.quality((backend, self._backends[backend].model), self._now)

    def outcomes(self, backend: str) -> tuple[float, float]:
        return self._tracker.outcomes.counts((backend, self._backends[backend].model), self._now)

    def sticky(self, endpoint: str) -> str:
        return self._sessions.backend(self._session, endpoint, self._now)
