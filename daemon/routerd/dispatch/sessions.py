"""Which backend each session keeps to, and which model it chose for itself. One owner, bounded, outlives reloads."""

from __future__ import annotations

from collections import OrderedDict

from msgspec import Struct

MOST = 10_000
"""Sessions that are remembered; the longest unused are forgotten first."""


class _Session(Struct):
    used: float
    model: str = ""
    backends: dict[str, str] = {}


class Sessions:
    """All sessions, by the name callers give them. Times are seconds of one steady clock."""

    def __init__(self) -> None:
        self._sessions: OrderedDict[str, _Session] = OrderedDict()
        self.expires = 3600.0

    def __len__(self) -> int:
        return len(self._sessions)

    def backend(self, session: str, endpoint: str, now: float) -> str:
        """The backend ``session`` keeps to in ``endpoint``; ``""`` for none."""
        known = self._known(session, now)
        return known.backends.get(endpoint, "") if known else ""

    def model(self, session: str, now: float) -> str:
        """What the session chose for all its requests; ``""`` for nothing."""
        known = self._known(session, now)
        return known.model if known else ""

    def keep(self, session: str, endpoint: str, backend: str, now: float) -> None:
        """``backend`` has answered: the session keeps to it."""
        self._use(session, now).backends[endpoint] = backend

    def touch(self, session: str, now: float) -> None:
        """``session`` has been answered by whoever it was: what is known of it is known for longer."""
        if self._known(session, now):
            self._use(session, now)

    def choose(self, session: str, model: str, now: float) -> None:
        """The session's requests that name no model go to ``model``; ``""`` ends that."""
        self._use(session, now).model = model

    def _known(self, session: str, now: float) -> _Session | None:
        known = self._sessions.get(session) if session else None
        return known if known and now - known.used < self.expires else None

    def _use(self, session: str, now: float) -> _Session:
        known = self._known(session, now) or _Session(now)
        known.used = now
        self._sessions[session] = known
        self._sessions.move_to_end(session)
        while len(self._sessions) > MOST:
            self._sessions.popitem(last=False)
        return known
