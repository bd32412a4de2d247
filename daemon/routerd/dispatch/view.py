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
        return self._tracker.health(self._backends[backend].identity).blocked(self._now)

    def note(self, backend: str) -> str:
        return self._backends[backend].note()
