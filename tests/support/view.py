"""Backends as a decision sees them, told what to be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from routerd.routing.view import Denial, Limits, Wanted
from routerd_client.records import FailureKind


class FakeView:
    """All backends are well, idle and the same but for what each keyword says of them, by name."""

    def __init__(self, session: Mapping[str, str] | None = None, **facts: Mapping[str, Any]) -> None:
        self._session = session or {}
        self._facts = facts

    def _of(self, fact: str, backend: str, otherwise: Any) -> Any:
        return self._facts.get(fact, {}).get(backend, otherwise)

    def blocked(self, backend: str) -> Denial | None:
        why = self._of("blocked", backend, "")
        return Denial(why, FailureKind.SERVER_ERROR) if why else None

    def denied(self, backend: str, _wanted: Wanted) -> Denial | None:
        return self._of("denied", backend, None)

    def note(self, backend: str) -> str:
        return self._of("note", backend, "")

    def limits(self, backend: str) -> Limits:
        return self._of("limits", backend, Limits())

    def busy(self, backend: str) -> float:
        return self._of("busy", backend, 0.0)

    def wait(self, backend: str) -> float:
        return self._of("wait", backend, 0.0)

    def tokens(self, backend: str) -> int | None:
        return self._of("tokens", backend, None)

    def pressure(self, backend: str) -> float | None:
        return self._of("pressure", backend, None)

    def quality(self, backend: str) -> float | None:
        return self._of("quality", backend, None)

    def outcomes(self, backend: str) -> tuple[float, float]:
        return self._of("outcomes", backend, (0.0, 0.0))

    def sticky(self, endpoint: str) -> str:
        return self._session.get(endpoint, "")
