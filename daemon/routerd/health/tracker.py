"""The one owner of breakers, cooldowns and latencies. Outlives reloads: health belongs to the
backend, not to the file that names it."""

from __future__ import annotations

import math
from collections import deque

from msgspec import Struct, structs

from routerd_client.records import BreakerState, FailureKind

from ..config.schema import HealthSpec
from .breaker import Breaker
from .failure import RULES
from .outcomes import Outcomes


class Figures(Struct, frozen=True):
    """A backend's record at one moment. Rates and latencies cover its window; None where it was not used."""

    breaker: BreakerState
    retry_in_s: float
    requests: int
    failures: int
    success_rate: float | None
    refusal_rate: float | None
    ttft_p50_s: float | None
    ttft_p95_s: float | None
    last_failure: FailureKind | None
    last_error: str
    window_s: float


class _Sample(Struct, frozen=True):
    time: float
    ok: bool
    ttft_s: float | None = None
    refused: bool = False


class Health:
    """One backend's health. Times are seconds of one steady clock; see `Breaker` for the rules."""

    def __init__(self, spec: HealthSpec, whole: Health | None = None) -> None:
        self.breaker = Breaker(spec)
        self._whole = whole
        """The health of the backend as a whole, where this is that of its embeddings."""
        self._event = ""
        self._embeddings: Health | None = None
        self._cool_until = -math.inf
        self._cooled_by: FailureKind | None = None
        self._samples: deque[_Sample] = deque(maxlen=500)
        self._last_failure: FailureKind | None = None
        self._last_error = ""

    @property
    def embeds(self) -> bool:
        """True once embeddings were asked for."""
        return self._embeddings is not None

    @property
    def embeddings(self) -> Health:
        """The health of the backend's embeddings: what blocks its chats blocks them, and not the other way round."""
        self._embeddings = self._embeddings or Health(self.breaker.spec, self)
        return self._embeddings

    def blocked(self, now: float) -> str:
        """Why no request may go there now; ``""`` where one may."""
        if self._whole and (why := self._whole.blocked(now)):
            return why
        if now < self._cool_until:
            left = self._cool_until - now
            return (
                "cooling down until the configuration changes" if math.isinf(left) else f"cooling down for {left:.1f} s"
            )
        if self.breaker.admits(now):
            return ""
        if left := self.breaker.retry_in(now):
            return f"breaker open for {left:.1f} s after {self._last_error or 'failures'}"
        return "breaker half-open, a probe is under way"

    def blamed(self, now: float) -> FailureKind:
        """What it is `blocked` for."""
        if self._whole and self._whole.blocked(now):
            return self._whole.blamed(now)
        kind = self._cooled_by if now < self._cool_until else self._last_failure
        return kind or FailureKind.UNKNOWN

    def take(self, now: float) -> int | None:
        """Admit one request, or not (None). It ends with `succeeded`, `failed` or `released`, which take its number."""
        if self._whole and self._whole.blocked(now):
            return None
        return self.breaker.take(now) if now >= self._cool_until else None

    def released(self, admitted: int) -> None:
        """An admitted request ended without saying anything about the backend."""
        self.breaker.release(admitted)

    def succeeded(self, now: float, admitted: int, ttft_s: float | None, flaw: FailureKind | None = None) -> None:
        """``flaw`` is what was found wrong with the answer, though it stands."""
        self._samples.append(_Sample(now, True, ttft_s, refused=flaw is FailureKind.REFUSAL))
        self.breaker.succeed(now, admitted)

    def failed(
        self,
        now: float,
        admitted: int,
        kind: FailureKind,
        message: str,
        retry_after_s: float | None = None,
        *,
        cools: bool = True,
        event: str = "",
    ) -> None:
        """``retry_after_s`` is what the backend itself asked for; it is honoured as stated. Where it names no
        time, the kind's rule says how long it rests. ``cools``: false where it is not to rest for this. ``event`` names
        the one event of which several requests failed, such as the end of a process: the breaker counts it once.

        A failure that is the request's own doing leaves no mark.
        """
        if RULES[kind].callers:
            self.released(admitted)
            return
        self._last_failure, self._last_error = kind, message
        self._samples.append(_Sample(now, False, refused=kind is FailureKind.REFUSAL))
        if cools:
            until = now + (self._rest(kind) if retry_after_s is None else retry_after_s)
            if until > self._cool_until:
                self._cool_until, self._cooled_by = until, kind
        if RULES[kind].counts and not (event and event == self._event):
            self._event = event
            self.breaker.fail(now, admitted)
        else:
            self.breaker.release(admitted)

    def _rest(self, kind: FailureKind) -> float:
        """Seconds that a failure of this kind costs the backend, where it said nothing itself."""
        return {"": 0.0, "cooldown": self.breaker.spec.cooldown, "config": math.inf}[RULES[kind].rests]

    def configure(self, spec: HealthSpec) -> None:
        """Take over new thresholds; what was learned stays. A changed configuration ends an endless cooldown."""
        self.breaker.spec = spec
        if self._embeddings:
            self._embeddings.configure(spec)
        if math.isinf(self._cool_until):
            self._cool_until = -math.inf

    def figures(self, now: float) -> Figures:
        since = now - self.breaker.spec.window
        recent = [s for s in self._samples if s.time >= since]
        ttfts = sorted(s.ttft_s for s in recent if s.ttft_s is not None)
        failures = sum(not s.ok for s in recent)
        cooling = self._cool_until - now
        return Figures(
            breaker=self.breaker.state(now),
            retry_in_s=max(
                self.breaker.retry_in(now),
                cooling if 0 < cooling < math.inf else 0.0,
                self._whole.figures(now).retry_in_s if self._whole else 0.0,
            ),
            requests=len(recent),
            failures=failures,
            success_rate=1 - failures / len(recent) if recent else None,
            refusal_rate=sum(s.refused for s in recent) / len(recent) if recent else None,
            ttft_p50_s=quantile(ttfts, 0.50),
            ttft_p95_s=quantile(ttfts, 0.95),
            last_failure=self._last_failure,
            last_error=self._last_error,
            window_s=self.breaker.spec.window,
        )


def combined(health: Health, now: float) -> Figures:
    """Return the figures of chats and embeddings together: counts added, and the state of what is worse off."""
    chats = health.figures(now)
    if not health.embeds:
        return chats
    other = health.embeddings.figures(now)
    worse, better = sorted((chats, other), key=lambda f: (_BADNESS[f.breaker], f.retry_in_s, f.failures), reverse=True)
    requests, failures = chats.requests + other.requests, chats.failures + other.failures
    return structs.replace(
        chats,
        breaker=worse.breaker,
        retry_in_s=worse.retry_in_s,
        requests=requests,
        failures=failures,
        success_rate=1 - failures / requests if requests else None,
        last_failure=worse.last_failure or better.last_failure,
        last_error=worse.last_error or better.last_error,
    )


_BADNESS = {BreakerState.CLOSED: 0, BreakerState.HALF_OPEN: 1, BreakerState.OPEN: 2, BreakerState.UNKNOWN: 0}


class Tracker:
    """All backends' health, by identity: what makes two backends of two generations the same one; and what
    their answers came to."""

    def __init__(self) -> None:
        self._healths: dict[str, Health] = {}
        self.outcomes = Outcomes()

    def __repr__(self) -> str:
        return f"<Tracker {len(self._healths)} backends>"

    def health(self, identity: str, *, embeds: bool = False) -> Health:
        """Return the health of ``identity``, which `configure` must have named; ``embeds``: of its embeddings, for a
        server that does not make any may answer chats well."""
        health = self._healths[identity]
        return health.embeddings if embeds else health

    def configure(self, specs: dict[str, HealthSpec]) -> None:
        """Take over a generation's backends, by identity. Those it does not name are kept: a backend
        that comes back is no better than it was."""
        for identity, spec in specs.items():
            known = self._healths.get(identity)
            if known is None:
                self._healths[identity] = Health(spec)
            else:
                known.configure(spec)


def quantile(ordered: list[float], q: float) -> float | None:
    """The nearest-rank quantile of sorted values; None where there are none."""
    if not ordered:
        return None
    return ordered[min(len(ordered) - 1, math.ceil(q * len(ordered)) - 1)]
