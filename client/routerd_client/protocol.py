"""The protocol between clients and the daemon: requests one way, events the other.

Every request carries an ``id`` the client chooses, unique among its open requests on a connection;
every event carries the id it answers. A request ends with exactly one terminal event: `Done`,
`Error`, or the result named after it. docs/protocol.md has the frames and the compatibility rules.

Within major version ``PROTOCOL`` fields are only ever added, with defaults; unknown fields are
ignored, unknown events are dropped by clients, unknown requests get a typed `Error`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from ._open_enum import OpenEnum
from .chat import LONGEST_NAME, ChatRequest, FinishReason, Message, TokenLogprob, ToolCall, Usage
from .records import (
    Attempt,
    BackendStatus,
    BudgetLine,
    ChatRecord,
    ConfigError,
    Decision,
    FailureKind,
    LedgerStatus,
    MemoryStatus,
    ModelStatus,
    Plan,
    QuotaStatus,
    RouteStatus,
    ShadowRow,
    StatsRow,
    TaskFailure,
    TierFigures,
)

PROTOCOL = 1


class ErrorCode(OpenEnum):
    """What went wrong, as far as a caller can act on it. A closed set; newer codes arrive as ``UNKNOWN``."""

    BAD_REQUEST = "bad_request"  # the request itself is wrong; sending it again cannot help
    UNKNOWN_REQUEST = "unknown_request"  # this daemon does not know that kind of request
    VERSION_MISMATCH = "version_mismatch"
    NOT_FOUND = "not_found"  # no such model, backend or endpoint
    CONTEXT_OVERFLOW = "context_overflow"  # no candidate's context window holds the prompt
    UNAVAILABLE = "unavailable"  # no candidate could answer now
    INTERRUPTED = "interrupted"  # the answer broke off after some of it had been sent
    DEADLINE = "deadline"
    CANCELLED = "cancelled"
    OVERLOADED = "overloaded"
    BUDGET = "budget"
    CONTENT_FILTERED = "content_filtered"
    BUSY = "busy"  # refused because the thing is in use (unloading a model that answers)
    CONFIG = "config"
    SHUTTING_DOWN = "shutting_down"
    INTERNAL = "internal"
    UNKNOWN = "unknown"


# Requests


class Hello(Struct, frozen=True, kw_only=True, tag="hello"):
    """Names the client and its protocol. Optional; a daemon of another major version answers `Error`."""

    id: int
    protocol: int = PROTOCOL
    client: str = ""
    version: str = ""


class Chat(Struct, frozen=True, kw_only=True, tag="chat"):
    """Ask for an answer: `Routed`, then `Progress` and `Delta` as they come, then `Done` or `Error`.

    ``restarts`` says that the client understands `Retracted`; without it an answer that breaks off
    ends with `Error` code ``interrupted``.
    """

    id: int
    chat: ChatRequest
    restarts: bool = False


class Route(Struct, frozen=True, kw_only=True, tag="route"):
    """Decide only, with the trace; no inference and nothing recorded. Answered by `RouteResult`.

    ``client``: the name of the client to decide for; without it, this connection's own.
    """

    id: int
    chat: ChatRequest
    trace: bool = False
    client: Annotated[str, Meta(max_length=LONGEST_NAME)] = ""


class Cancel(Struct, frozen=True, kw_only=True, tag="cancel"):
    """Stop the open request ``target`` of this connection; it ends with `Error` code ``cancelled``.

    Has no answer of its own; cancelling what has ended does nothing.
    """

    id: int
    target: int


class Status(Struct, frozen=True, kw_only=True, tag="status"):
    """Answered by `StatusResult`."""

    id: int


class Reload(Struct, frozen=True, kw_only=True, tag="reload"):
    """Read routes.yaml again. Answered by `ReloadResult`, also when the file is wrong."""

    id: int


class Check(Struct, frozen=True, kw_only=True, tag="check"):
    """Validate a configuration without using it: ``text``, or the daemon's own file where it is None."""

    id: int
    text: str | None = None
    file: str = "routes.yaml"


ModelsAction = Literal["list", "load", "unload", "pin", "unpin"]


class Models(Struct, frozen=True, kw_only=True, tag="models"):
    """List the owned model processes, or act on one first. Answered by `ModelsResult` or `Error`.

    ``load`` answers when the model is ready; ``unload`` refuses a busy one unless ``force``; ``pin`` keeps
    a model loaded until ``unpin``, or until the daemon ends.
    """

    id: int
    action: ModelsAction = "list"
    backend: str = ""
    force: bool = False


class Use(Struct, frozen=True, kw_only=True, tag="use"):
    """Have the requests of ``session`` that name no model go to ``model``; ``""`` ends that. Answered by `Used`."""

    id: int
    session: str
    model: str = ""


class Routes(Struct, frozen=True, kw_only=True, tag="routes"):
    """The routes in force, and how often each was taken. Answered by `RoutesResult`."""

    id: int


class Decisions(Struct, frozen=True, kw_only=True, tag="decisions"):
    """The newest chats in the ledger, newest first. Answered by `DecisionsResult`.

    ``backend`` is one that answered or was tried; ``failed``: only those that nobody answered; ``since_s``: of the
    last so many seconds; ``before``: older than the chat of this id, for the next page. The daemon may give fewer
    than ``limit``, but gives none only where there are no more. ``whole`` asks for what `Show` would answer of each.
    ``route`` may be ``(default)``, ``(request)`` or ``(session)``: what led where no route did. `Error` ``not_found``
    where neither the configuration nor the ledger knows a name.
    """

    id: int
    backend: str | None = None
    route: str | None = None
    failed: bool = False
    since_s: float | None = None
    before: str = ""
    limit: int = 50
    whole: bool = False


class Show(Struct, frozen=True, kw_only=True, tag="show"):
    """The whole story of the one chat whose id is, or begins with, this. Answered by `ShowResult`, or `Error`
    ``not_found``."""

    id: int
    request_id: str


class Feedback(Struct, frozen=True, kw_only=True, tag="feedback"):
    """Say how good an answer was: ``score`` from 0 to 1. Answered by `Noted`, or `Error` ``not_found``."""

    id: int
    request_id: str
    score: float
    note: str = ""


StatsBy = Literal["backend", "endpoint", "route", "task", "client", "variant"]


class Stats(Struct, frozen=True, kw_only=True, tag="stats"):
    """Figures from the ledger, of the last ``since_s`` seconds, or since the last ``reset``. Answered by
    `StatsResult`. ``reset`` has later figures begin now; nothing is deleted."""

    id: int
    by: StatsBy = "backend"
    since_s: float | None = None
    reset: bool = False


class Budget(Struct, frozen=True, kw_only=True, tag="budget"):
    """What was spent, and what may still be. Answered by `BudgetResult`."""

    id: int


class RecordSpend(Struct, frozen=True, kw_only=True, tag="record_spend"):
    """Book what was spent without the daemon, today. Answered by `BudgetResult`.

    ``provider`` is a backend's name, or a maker's (``anthropic``). The cost is that of the tokens, where
    ``cost_microusd`` does not say it; `Error` ``not_found`` where nobody knows what they cost, or the provider.
    """

    id: int
    provider: str
    model: str
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_microusd: int | None = None
    client: str = ""


class SetSpent(Struct, frozen=True, kw_only=True, tag="set_spent"):
    """Say what today and this month have cost so far, in all. Where nobody knew, metered backends are used again.
    Answered by `BudgetResult`."""

    id: int
    day_microusd: int
    month_microusd: int


class Watch(Struct, frozen=True, kw_only=True, tag="watch"):
    """Subscribe to `Notice` events until a `Cancel`; ends with `Error` code ``cancelled``.

    ``topics``: any of ``status`` (residency, breaker and generation changes) and ``decision`` (one
    a chat); empty means all. A subscriber that does not read loses notices, never slows others:
    the next one it gets says how many in ``missed``.
    """

    id: int
    topics: list[str] = []


Request = (
    Hello
    | Chat
    | Route
    | Cancel
    | Status
    | Reload
    | Check
    | Models
    | Use
    | Routes
    | Decisions
    | Show
    | Feedback
    | Stats
    | Budget
    | RecordSpend
    | SetSpent
    | Watch
)


# Events


class Welcome(Struct, frozen=True, kw_only=True, tag="welcome"):
    """The answer to `Hello`."""

    id: int
    protocol: int
    version: str
    pid: int


class _WithoutText(Struct, frozen=True):
    @property
    def text(self) -> str:
        """Always empty: `Delta` brings text. Here so that a loop over a stream may print every event."""
        return ""


class Routed(_WithoutText, frozen=True, kw_only=True, tag="routed", omit_defaults=True):
    """Which backend attempt ``attempt`` (from 1) goes to, and why; sent before its first token. ``dropped`` names
    what the request says and this backend is not told, or does not do."""

    id: int
    attempt: int
    request_id: str
    backend: str
    model: str
    endpoint: str
    route: str = ""
    reasons: list[str] = []
    dropped: list[str] = []


class Progress(_WithoutText, frozen=True, kw_only=True, tag="progress", omit_defaults=True):
    """What is being waited for. ``fraction`` is 0..1 where known; ``position`` is the place in a queue.

    ``phase`` is an open word: ``queued``, ``downloading``, ``converting``, ``loading``, ``prefill``. In ``prefill``,
    ``prompt_tokens`` is how many tokens the prompt has, and ``cached_tokens`` how many of them need no computing.
    """

    id: int
    attempt: int
    phase: str
    fraction: float | None = None
    position: int | None = None
    prompt_tokens: int | None = None
    cached_tokens: int = 0


class Delta(Struct, frozen=True, kw_only=True, tag="delta", omit_defaults=True):
    """The next piece of attempt ``attempt``'s answer."""

    id: int
    attempt: int
    text: str = ""
    reasoning: str = ""
    tool_calls: list[ToolCall] = []
    logprobs: list[TokenLogprob] = []


class Retracted(_WithoutText, frozen=True, kw_only=True, tag="retracted", omit_defaults=True):
    """Drop what came of attempt ``attempt``: the answer starts again on the next candidate."""

    id: int
    attempt: int
    reason: str = ""


class Done(Struct, frozen=True, kw_only=True, tag="done", omit_defaults=True):
    """The answer is whole. ``message`` is the whole of it where the request was not streamed.

    ``attempt`` is the one that answered; ``began``, where it is not 0, the one that broke off and whose text it goes
    on from. ``cost_microusd`` is in millionths of a dollar. ``flaw`` is what the
    daemon found wrong with it, where it found anything: a refusal, say, that no route wants passed over. ``refusal``
    is what an API said instead of an answer, where it marked that as a refusal itself: no `Delta` brings it.
    ``dropped`` is as in `Routed`, of the backend that answered. ``tokens_per_second`` counts decoding only; ``ttft_s``
    runs from the request's arrival.
    """

    id: int
    attempt: int
    began: int = 0
    request_id: str
    backend: str
    model: str
    endpoint: str
    finish_reason: FinishReason
    route: str = ""
    usage: Usage = Usage()
    message: Message | None = None
    logprobs: list[TokenLogprob] = []
    cost_microusd: int = 0
    ttft_s: float | None = None
    tokens_per_second: float | None = None
    attempts: list[Attempt] = []
    flaw: FailureKind | None = None
    flaw_message: str = ""
    refusal: str = ""
    dropped: list[str] = []

    @property
    def text(self) -> str:
        """The whole answer's text; empty where it was streamed and its deltas brought it."""
        return self.message.text if self.message else ""


StreamEvent = Routed | Progress | Delta | Retracted | Done
"""One event of a streamed chat; each has a ``text``."""


class Error(Struct, frozen=True, kw_only=True, tag="error", omit_defaults=True):
    """A request failed. ``retryable`` says whether the same request may succeed later, ``retry_after``
    (seconds) when; ``hint`` says what to do next. ``id`` is -1 where the request's id was unreadable. ``route`` is the
    one that took it, ``failure`` the kind of failure that it comes down to, where that is one.
    """

    id: int
    code: ErrorCode
    message: str
    hint: str = ""
    retryable: bool = False
    retry_after: float | None = None
    request_id: str = ""
    attempts: list[Attempt] = []
    failure: FailureKind | None = None
    route: str = ""


class RouteResult(Struct, frozen=True, kw_only=True, tag="route_result"):
    id: int
    decision: Decision


class StatusResult(Struct, frozen=True, kw_only=True, tag="status_result", omit_defaults=True):
    """``config_errors`` are those of the newest file, where it was refused; the generation before it runs on.

    ``requests`` counts chats since the start by how they ended: ``open``, ``ok``, ``failed``, ``cancelled``.
    ``crashes`` are the times, in seconds since 1970, at which daemons before this one were found to have ended
    without being told to, in the hour before its start.
    """

    id: int
    version: str
    protocol: int
    pid: int
    uptime_s: float
    generation: int
    config: str
    socket: str
    state_dir: str
    log_file: str
    default: str
    backends: list[BackendStatus]
    models: list[ModelStatus]
    endpoints: list[str]
    routes: int
    requests: dict[str, int]
    config_errors: list[ConfigError] = []
    last_reload: Plan | None = None
    connections: int = 0
    memory: MemoryStatus | None = None
    crashes: list[float] = []
    http: str = ""
    """Where it takes HTTP over TCP, ``http://127.0.0.1:8765``; ``""`` where it does not."""
    http_error: str = ""
    """Why it does not, though it should."""
    ledger: LedgerStatus | None = None
    tiers: TierFigures | None = None
    """Since the figures of ``routerctl stats`` were last reset."""
    locked: str = ""
    """Why no metered backend may be used, and what to do, where nobody knows what was spent."""
    task_failures: list[TaskFailure] = []
    """Background tasks of the daemon that have failed since its start, the latest last."""


class ReloadResult(Struct, frozen=True, kw_only=True, tag="reload_result", omit_defaults=True):
    """Three outcomes: ``errors`` (nothing changed), ``changed`` false (same content), or the ``plan`` in force."""

    id: int
    generation: int
    changed: bool = False
    plan: Plan | None = None
    errors: list[ConfigError] = []


class CheckResult(Struct, frozen=True, kw_only=True, tag="check_result", omit_defaults=True):
    id: int
    errors: list[ConfigError] = []
    warnings: list[ConfigError] = []


class ModelsResult(Struct, frozen=True, kw_only=True, tag="models_result"):
    id: int
    models: list[ModelStatus]


class Used(Struct, frozen=True, kw_only=True, tag="used"):
    id: int


class RoutesResult(Struct, frozen=True, kw_only=True, tag="routes_result", omit_defaults=True):
    """``routes`` in the order they are asked. ``named`` counts the requests that named a model, ``default``
    those that no route took, both since the daemon started."""

    id: int
    routes: list[RouteStatus]
    named: int = 0
    default: int = 0


class DecisionsResult(Struct, frozen=True, kw_only=True, tag="decisions_result"):
    id: int
    chats: list[ChatRecord]


class ShowResult(Struct, frozen=True, kw_only=True, tag="show_result"):
    id: int
    chat: ChatRecord


class Noted(Struct, frozen=True, kw_only=True, tag="noted"):
    """The feedback is on the disk."""

    id: int


class StatsResult(Struct, frozen=True, kw_only=True, tag="stats_result"):
    """``since`` is where the figures begin, in seconds since 1970; 0 for the ledger's own beginning."""

    id: int
    since: float
    rows: list[StatsRow]
    tiers: TierFigures
    shadows: list[ShadowRow] = []


class BudgetResult(Struct, frozen=True, kw_only=True, tag="budget_result"):
    """``allowed``: money may be spent today and this month; ``reason`` says why not. ``prices`` is the date of the
    table of prices, or the package that it is from (``genai-prices 0.2.4``), ``store`` where the books are kept:
    ``file``, or ``memory`` while it cannot be written."""

    id: int
    day: str
    month: str
    time_zone: str
    allowed: bool
    reason: str
    lines: list[BudgetLine]
    quotas: list[QuotaStatus]
    prices: str
    store: str


class Notice(Struct, frozen=True, kw_only=True, tag="notice", omit_defaults=True):
    """One thing that happened. ``data`` depends on ``topic`` and ``kind``; ``missed`` were dropped before it."""

    id: int
    topic: str
    kind: str
    data: dict[str, Any]
    missed: int = 0


Event = (
    Welcome
    | Routed
    | Progress
    | Delta
    | Retracted
    | Done
    | Error
    | RouteResult
    | StatusResult
    | ReloadResult
    | CheckResult
    | ModelsResult
    | Used
    | RoutesResult
    | DecisionsResult
    | ShowResult
    | Noted
    | StatsResult
    | BudgetResult
    | Notice
)

Result = (
    Welcome
    | RouteResult
    | StatusResult
    | ReloadResult
    | CheckResult
    | ModelsResult
    | Used
    | RoutesResult
    | DecisionsResult
    | ShowResult
    | Noted
    | StatsResult
    | BudgetResult
)

TERMINAL = (
    Done,
    Error,
    Welcome,
    RouteResult,
    StatusResult,
    ReloadResult,
    CheckResult,
    ModelsResult,
    Used,
    RoutesResult,
    DecisionsResult,
    ShowResult,
    Noted,
    StatsResult,
    BudgetResult,
)

encoder = msgspec.msgpack.Encoder()
json_encoder = msgspec.json.Encoder()
request_decoder: msgspec.msgpack.Decoder[Request] = msgspec.msgpack.Decoder(Request)
json_request_decoder: msgspec.json.Decoder[Request] = msgspec.json.Decoder(Request)
event_decoder: msgspec.msgpack.Decoder[Event] = msgspec.msgpack.Decoder(Event)
json_event_decoder: msgspec.json.Decoder[Event] = msgspec.json.Decoder(Event)


class Peek(Struct):
    """The two fields every message has, read where the rest does not decode."""

    type: str = ""
    id: int = -1


peek_decoder: msgspec.msgpack.Decoder[Peek] = msgspec.msgpack.Decoder(Peek)
json_peek_decoder: msgspec.json.Decoder[Peek] = msgspec.json.Decoder(Peek)


def decode_event(frame: bytes | bytearray | memoryview) -> Event | None:
    """Decode one event; ``None`` for an event tag this client does not know.

    Raises ``msgspec.DecodeError`` for bytes that are not MessagePack and
    ``msgspec.ValidationError`` for a known event of the wrong shape.
    """
    try:
        return event_decoder.decode(frame)
    except msgspec.ValidationError:
        if peek_decoder.decode(frame).type not in _EVENT_TAGS:
            return None
        raise


_EVENT_TAGS = frozenset(str(t.__struct_config__.tag) for t in (*TERMINAL, Routed, Progress, Delta, Retracted, Notice))
