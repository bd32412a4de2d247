"""What a decision may know, read from the owners at its moment."""

from __future__ import annotations

from collections.abc import Mapping

from ..backends.base import Backend
from ..health.tracker import Tracker


class LiveView:
    """The `View` of one moment, ``now`` in seconds of the event loop's clock."""

    def __init__(self, backends: Mapping[str, Backend], tracker: Tracker, now: float) -> None:
        self._backends = backends
        self._tracker = tracker
        self._now = now

    def blocked(self, backend: str) -> str:
        asked = self._backends[backend]
        if why := self._tracker.health(asked.identity).blocked(self._now):
            return why
        refusal = asked.refusal()
        if refusal is None:
            return ""
        again = f"; tried again in {refusal.retry_after_s:.0f} s" if refusal.retry_after_s else ""
        return f"{refusal.message}{again}"

    def note(self, backend: str) -> str:
        return self._backends[backend].note()
