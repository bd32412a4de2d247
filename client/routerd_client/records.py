"""What the daemon records and reports: failures, decisions, attempts, the state of its backends."""

from __future__ import annotations

from msgspec import Struct

from ._open_enum import OpenEnum
from .chat import Usage


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
    UNSUPPORTED = "unsupported"
    REFUSAL = "refusal"
    EMPTY = "empty"
    DEGENERATE = "degenerate"
    INVALID_LOGITS = "invalid_logits"
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
    """A backend that may not answer now, and the reason; ``failure`` is the one it would end in, where that is sure.

    ``permanent``: nor later, until somebody changes the backend, its files or the configuration.
    """

    backend: str
    reason: str
    failure: FailureKind | None = None
    permanent: bool = False


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
    variant: str = ""
    """Which of two limits of complexity it was measured by (``a`` or ``b``), where the endpoint compares two."""
    trace: list[str] = []
    generation: int = 0


class Attempt(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One try on one backend. Times are seconds; ``ttft_s`` is the time to its first token.

    ``usage`` is None where the backend told none; ``cost_microusd`` is what its account is taken to be billed, in
    millionths of a dollar, also where the try failed.
    """

    number: int
    backend: str
    outcome: Outcome
    failure: FailureKind | None = None
    message: str = ""
    ttft_s: float | None = None
    total_s: float = 0.0
    usage: Usage | None = None
    cost_microusd: int = 0


class Measures(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What of a chat routes may look at beside its context and text. ``chars`` are the newest ask's,
    ``prompt_bytes`` the whole prompt's; ``minute`` of the day and ``weekday`` (Monday is 0) by the machine's clock."""

    chars: int = 0
    prompt_bytes: int = 0
    turn: int = 1
    has_tools: bool = False
    has_images: bool = False
    local_only: bool = False
    minute: int = 0
    weekday: int = 0


class FeedbackRecord(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What a person, or a program, said of an answer: ``score`` is 0 (bad) to 1 (good); ``time`` in seconds since
    1970."""

    time: float
    score: float
    note: str = ""


class Compared(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """The other one of two chats of which one is the shadow; ``shadow`` says whether the other is. ``agreement`` is
    as in `ShadowRow`, and so are ``quality``, this chat's, and ``other_quality``."""

    request_id: str
    shadow: bool
    agreement: float
    quality: float | None = None
    other_quality: float | None = None


EMBEDDING = "embedding"
"""The `ChatRecord.tier` of what wanted no answer, but vectors."""


class ChatRecord(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One chat as the ledger has it. ``time`` is when it ended, in seconds since 1970.

    ``asked`` is the model that the request named; ``backend`` and ``model`` are who answered, ``""`` where nobody
    did; ``tried`` is the backend of the last attempt; ``code`` and ``message`` are of the error it ended with. ``tier``
    is ``simple`` or ``complex`` where its complexity chose the first candidate, or `EMBEDDING`. ``hops`` counts its
    attempts. Those, ``feedback``, ``compared``, ``prompt`` (the newest ask) and ``answer`` stand only where the whole
    of it was asked for; both texts are None where they are not kept.
    """

    request_id: str
    time: float
    outcome: Outcome
    client: str = ""
    session: str = ""
    context: dict[str, str] = {}
    asked: str = ""
    named: str = ""
    route: str = ""
    endpoint: str = ""
    priority: str = ""
    tier: str = ""
    variant: str = ""
    scores: dict[str, float] = {}
    candidates: list[Candidate] = []
    skipped: list[Skipped] = []
    measures: Measures = Measures()
    backend: str = ""
    model: str = ""
    finish: str = ""
    code: str = ""
    message: str = ""
    flaw: FailureKind | None = None
    flaw_message: str = ""
    usage: Usage = Usage()
    cost_microusd: int = 0
    ttft_s: float | None = None
    total_s: float = 0.0
    hops: int = 0
    attempts: list[Attempt] = []
    feedback: list[FeedbackRecord] = []
    prompt: str | None = None
    answer: str | None = None
    tried: str = ""
    compared: Compared | None = None


class StatsRow(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What came of the chats, or, by backend, of the attempts, that share a ``name``.

    ``refusals`` are answers that declined; ``escalations`` answers that were found wanting and passed over.
    ``success`` is the share of those that did not fail, of all that were not cancelled; an attempt counts there only
    where its failure is the backend's own, and not the request's or the money's. ``feedback`` is the mean of what was
    said of them, None where nothing was.
    """

    name: str
    requests: int
    ok: int = 0
    failed: int = 0
    cancelled: int = 0
    refusals: int = 0
    escalations: int = 0
    success: float | None = None
    feedback: float | None = None
    ttft_p50_s: float | None = None
    ttft_p95_s: float | None = None
    total_p50_s: float | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_microusd: int = 0


class TierFigures(Struct, frozen=True, kw_only=True):
    """Chats whose complexity chose their first candidate. ``fallback_count``: somebody else answered in the end.
    The scores are None where there was none."""

    simple_tier_requests: int = 0
    complex_tier_requests: int = 0
    total_requests: int = 0
    avg_simple_score: float | None = None
    avg_complex_score: float | None = None
    fallback_count: int = 0
    simple_tier_percentage: float = 0.0


class ShadowRow(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Chats that another backend was asked too, of a complexity ``below`` a limit, or all of them. ``agreement`` is
    the share of words that both answers have; ``quality`` is the first's, ``other_quality`` the other's; all 0..1. Both
    qualities are None where no judge was calibrated."""

    requests: int
    below: float | None = None
    agreement: float = 0.0
    quality: float | None = None
    other_quality: float | None = None


class LedgerStatus(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Where records go: ``mode`` is ``file``, or ``memory`` while the file cannot be written, for a ``reason``;
    ``dropped`` records are lost. ``set_aside`` is the newest damaged file, while it stands beside ``file``."""

    file: str
    mode: str
    reason: str = ""
    dropped: int = 0
    set_aside: str = ""


class TaskFailure(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A background task of the daemon that has failed ``count`` times, the last time with ``error``.

    The daemon goes on, and begins a task that is always needed again."""

    task: str
    count: int
    error: str


class BudgetLine(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What was spent in one scope (``total``, ``backend:NAME``, ``route:NAME``, ``client:NAME``) on a day
    (``2026-11-21``) or in a month (``2026-11``), in millionths of a dollar. ``reserved`` is set aside for requests
    that are under way; ``limit`` and ``left`` are None where there is no limit."""

    scope: str
    period: str
    spent_microusd: int
    reserved_microusd: int = 0
    limit_microusd: int | None = None
    left_microusd: int | None = None


class QuotaStatus(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One quota of a backend. ``unit`` is ``tokens``, ``requests`` or ``usd`` (then in millionths of a dollar);
    ``resets_in_s`` is when it is full again, or, rolling, when some of it comes back. ``pressure`` above 1 says that
    more is left than the time that is left would use up."""

    backend: str
    per: str
    unit: str
    amount: int
    used: int
    left: int
    resets_in_s: float
    pressure: float


class BackendStatus(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One backend as the daemon sees it. Rates and latencies cover the last ``window_s`` seconds.

    ``retry_in_s`` is how long it still cools down (0 where it does not); ``refusal_rate`` the share of its
    ``requests`` that it declined.
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
    window_s: float = 0.0
    refusal_rate: float | None = None


class ModelStatus(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One owned model process. Bytes for memory; seconds for the rest.

    ``idle_unload_s`` is what is left of keep_alive, ``None`` where nothing counts down. ``reserved_bytes``
    is what it claims of the memory budget, ``memory_bytes`` what mlx holds now. ``notice`` is what whoever uses the
    model should know of it, ``""`` for nothing.
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
    notice: str = ""


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
    of its name; ``never`` says why it can never match, and ``missed`` which clients that it matches have not reached
    it, where that is so."""

    name: str
    match: str
    use: str
    hits: int = 0
    never: str = ""
    missed: str = ""


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
