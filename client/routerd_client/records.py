"""What the daemon records and reports: failures, decisions, attempts, the state of its backends."""

from __future__ import annotations

from msgspec import Struct

from ._open_enum import OpenEnum


class FailureKind(OpenEnum):
    """How an attempt can fail: a closed set, one rule each (see the daemon's health/failure.py).

    Kinds that a newer daemon adds arrive as ``UNKNOWN``.
    """

    CONNECT_FAILED = "connect_failed"
    TIMEOUT_CONNECT = "timeout_connect"
    TIMEOUT_FIRST_TOKEN = "timeout_first_token"  # noqa: S105 - a failure's name, no password
    STALLED = "stalled"
    CUT = "cut"
    MALFORMED = "malformed"
    RATE_LIMITED = "rate_limited"
    OVERLOADED = "overloaded"
    SERVER_ERROR = "server_error"
    AUTH_FAILED = "auth_failed"
    NOT_FOUND = "not_found"
    CONTEXT_OVERFLOW = "context_overflow"
    CONTENT_FILTERED = "content_filtered"
    BAD_REQUEST = "bad_request"
    REFUSAL = "refusal"
    EMPTY = "empty"
    DEGENERATE = "degenerate"
    SPAWN_FAILED = "spawn_failed"
    LOAD_FAILED = "load_failed"
    OOM_KILLED = "oom_killed"
    WORKER_DIED = "worker_died"
    QUEUE_TIMEOUT = "queue_timeout"
    BUDGET_DENIED = "budget_denied"
    QUOTA_SPENT = "quota_spent"
    CANCELLED = "cancelled"
    DEADLINE = "deadline"
    UNKNOWN = "unknown"


class Outcome(OpenEnum):
    """How an attempt ended."""

    OK = "ok"
    FAILED = "failed"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"


class Residency(OpenEnum):
    """What a model process is."""

    STOPPED = "stopped"
    LOADING = "loading"
    READY = "ready"
    DRAINING = "draining"
    STOPPING = "stopping"
    BACKOFF = "backoff"
    FAILED = "failed"
    UNKNOWN = "unknown"


class BreakerState(OpenEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"
    UNKNOWN = "unknown"


class Candidate(Struct, frozen=True):
    """A backend that may answer, and why it stands where it stands. ``wait_s`` is how long it would let
    the request wait before it begins, as far as one can tell."""

    backend: str
    reasons: list[str] = []
    wait_s: float = 0.0


class Skipped(Struct, frozen=True, omit_defaults=True):
    """A backend that may not answer now, and the reason; ``failure`` is the one it would end in, where that is sure."""

    backend: str
    reason: str
    failure: FailureKind | None = None


class Decision(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Who may answer one request, in which order, and why. Pure data, made before any inference.

    ``route`` is the matched route's name, ``""`` where none matched or a model was named. ``trace``
    is filled only where somebody reads it (Route, explain).
    """

    route: str
    endpoint: str
    candidates: list[Candidate]
    skipped: list[Skipped] = []
    named: str = ""
    """Who named the endpoint: ``request``, ``session``, or ``""`` where routes or the default led to it."""
    overrides: dict[str, str] = {}
    """What ``route`` set on the request."""
    scores: dict[str, float] = {}
    """Complexity of the newest ask, 0..10, by the classifiers that were asked."""
    trace: list[str] = []
    generation: int = 0


class Attempt(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One try on one backend. Times are seconds; ``ttft_s`` is the time to its first token."""

    number: int
    backend: str
    outcome: Outcome
    failure: FailureKind | None = None
    message: str = ""
    ttft_s: float | None = None
    total_s: float = 0.0


class BackendStatus(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One backend as the daemon sees it. Rates and latencies cover the backend's window.

    ``retry_in_s`` is how long it still cools down (0 where it does not).
    """

    name: str
    kind: str
    model: str
    breaker: BreakerState = BreakerState.CLOSED
    retry_in_s: float = 0.0
    last_failure: FailureKind | None = None
    last_error: str = ""
    requests: int = 0
    failures: int = 0
    success_rate: float | None = None
    ttft_p50_s: float | None = None
    ttft_p95_s: float | None = None
    in_flight: int = 0


class ModelStatus(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One owned model process. Bytes for memory; seconds for the rest.

    ``idle_unload_s`` is what is left of keep_alive, ``None`` where nothing counts down. ``reserved_bytes``
    is what it claims of the memory budget, ``memory_bytes`` what mlx holds now.
    """

    backend: str
    model: str
    residency: Residency
    pid: int | None = None
    in_flight: int = 0
    context: int | None = None
    load_s: float | None = None
    idle_unload_s: float | None = None
    memory_bytes: int | None = None
    reserved_bytes: int | None = None
    pinned: bool = False
    restarts: int = 0
    error: str = ""


class MemoryStatus(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """The memory of all models together, in bytes: what they may take (None: no limit) and what they claim.

    ``pressure`` is the percent of the last ten seconds in which some process of the machine waited for memory,
    None where the system does not tell; ``pressed``: models are unloaded for that.
    """

    budget: int | None = None
    reserved: int = 0
    pressure: float | None = None
    pressed: bool = False


class RouteStatus(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One route. ``hits`` are the chats it took since the daemon started, in all generations that had a route
    of its name; ``never`` says why it can never match, where that is so."""

    name: str
    match: str
    use: str
    hits: int = 0
    never: str = ""


class ConfigError(Struct, frozen=True, omit_defaults=True):
    """One mistake in a configuration. Lines and columns count from 1; 0 means the file as a whole."""

    file: str
    line: int
    column: int
    message: str
    hint: str = ""

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        return f"{where}: {self.message}" + (f" ({self.hint})" if self.hint else "")


class Plan(Struct, frozen=True, omit_defaults=True):
    """What going from one generation to the next does. ``summary`` is one line for people."""

    summary: str
    changes: list[str] = []
    load: list[str] = []
    drain: list[str] = []
    restart: list[str] = []
