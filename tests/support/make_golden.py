"""Writes one frame of every message of the protocol to tests/data/protocol/<version>/, once a release.

    python -m tests.support.make_golden 0.1.0

Each message is written twice, as the MessagePack and as the JSON a daemon or client of that version
sends. The files are then history: later versions must read them for ever, and this refuses to
overwrite one.
"""

from __future__ import annotations

import sys
from pathlib import Path

from routerd_client import chat, protocol, records
from routerd_client.protocol import Event, Request

DATA = Path(__file__).parents[1] / "data" / "protocol"

CALL = chat.ToolCall(id="call_1", function=chat.Function("add", '{"a": 1}'), index=1)
LOGPROB = chat.TokenLogprob("Paris", -0.25, [chat.TopLogprob("Lyon", -2.5)])
USAGE = chat.Usage(prompt_tokens=12, completion_tokens=5, cached_tokens=8, reasoning_tokens=2, cache_write_tokens=1)
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}

CHAT = chat.ChatRequest(
    messages=[
        chat.Message("system", "Be brief."),
        chat.Message("developer", "Answer in French.", name="rules"),
        chat.Message(
            "user", [chat.TextPart("What is this?"), chat.ImagePart(chat.ImageURL("data:image/png;base64,AA==", "low"))]
        ),
        chat.Message("assistant", tool_calls=[CALL], reasoning="I should add.", refusal="No."),
        chat.Message("tool", "2", tool_call_id="call_1"),
    ],
    model="primary",
    tools=[chat.Tool(chat.FunctionSpec("add", "Adds.", SCHEMA, strict=True))],
    tool_choice=chat.NamedTool(chat.Function("add")),
    parallel_tool_calls=False,
    response_format=chat.ResponseFormat("json_schema", {"name": "answer", "schema": SCHEMA}),
    sampling=chat.Sampling(
        temperature=0.0,
        top_p=0.9,
        top_k=40,
        min_p=0.05,
        repetition_penalty=1.1,
        presence_penalty=0.2,
        frequency_penalty=0.3,
        xtc_probability=0.1,
        xtc_threshold=0.15,
        logit_bias={7: -1.5},
        seed=42,
    ),
    stop=["\n\n"],
    max_tokens=64,
    hops=1,
    logprobs=True,
    top_logprobs=2,
    reasoning_effort="low",
    template_args={"enable_thinking": False},
    context={"platform": "discord", "source_kind": "owner"},
    session="s-1",
    priority=chat.Priority.INTERACTIVE,
    deadline_s=30.0,
    local_only=True,
    stream=True,
    continues=True,
    extra={"openai": {"user": "u-1"}},
)

ATTEMPT = records.Attempt(
    number=1,
    backend="small",
    outcome=records.Outcome.FAILED,
    failure=records.FailureKind.WORKER_DIED,
    message="it was killed",
    ttft_s=0.5,
    total_s=1.5,
    usage=USAGE,
    cost_microusd=7,
)
MODEL = records.ModelStatus(
    backend="small",
    model="demo",
    residency=records.Residency.BACKOFF,
    pid=4242,
    in_flight=2,
    context=8192,
    load_s=3.5,
    idle_unload_s=60.0,
    memory_bytes=400_000_000,
    restarts=1,
    error="it broke",
)
BACKEND = records.BackendStatus(
    name="small",
    kind="mlx",
    model="demo",
    breaker=records.BreakerState.HALF_OPEN,
    retry_in_s=2.5,
    last_failure=records.FailureKind.STALLED,
    last_error="no token for 60 s",
    requests=10,
    failures=4,
    success_rate=0.6,
    ttft_p50_s=0.25,
    ttft_p95_s=0.75,
    in_flight=1,
    window_s=300.0,
    refusal_rate=0.25,
)
WRONG = records.ConfigError("routes.yaml", 3, 5, "unknown key 'modle'", "did you mean 'model'?")
PLAN = records.Plan("1 route changed", ["route 'night' changed"], ["small"], ["old"], ["large"])
DECISION = records.Decision(
    route="strangers",
    endpoint="primary",
    named="session",
    candidates=[records.Candidate("small", ["first choice", "loaded"], 2.5)],
    skipped=[records.Skipped("large", "breaker open for 3.0 s")],
    overrides={"max_tokens": "64"},
    scores={"rules": 4.25},
    trace=["strangers: match"],
    generation=3,
)
RECORD = records.ChatRecord(
    request_id="00ff",
    time=1.5,
    outcome=records.Outcome.OK,
    client="tests",
    session="s-1",
    context={"task": "plan"},
    route="r",
    endpoint="primary",
    tier="simple",
    scores={"rules": 4.25},
    candidates=DECISION.candidates,
    skipped=DECISION.skipped,
    measures=records.Measures(chars=4, prompt_bytes=5, turn=2, has_tools=True, minute=61, weekday=6),
    backend="small",
    model="demo",
    finish="stop",
    flaw=records.FailureKind.EMPTY,
    usage=USAGE,
    cost_microusd=7,
    ttft_s=0.5,
    total_s=1.5,
    hops=2,
    attempts=[ATTEMPT],
    tried="small",
    compared=records.Compared(request_id="other", shadow=True, agreement=0.5, quality=0.75, other_quality=1.0),
    feedback=[records.FeedbackRecord(time=2.5, score=0.5, note="so so")],
    prompt="Hi",
    answer="Hello",
)
STATS = records.StatsRow(name="small", requests=5, ok=3, failed=1, cancelled=1, success=0.75, ttft_p50_s=0.5)
TIERS = records.TierFigures(simple_tier_requests=1, total_requests=2, avg_simple_score=1.5, simple_tier_percentage=50.0)
SHADOW = records.ShadowRow(requests=3, below=4.0, agreement=0.5, quality=0.75, other_quality=1.0)
LINE = records.BudgetLine(
    scope="total", period="2026-11", spent_microusd=5, reserved_microusd=6, limit_microusd=20, left_microusd=9
)
QUOTA = records.QuotaStatus(
    backend="small", per="day", unit="tokens", amount=9, used=4, left=5, resets_in_s=60.0, pressure=1.5
)

REQUESTS: list[Request] = [
    protocol.Hello(id=1, protocol=1, client="tests", version="0.1.0"),
    protocol.Chat(id=2, chat=CHAT, restarts=True),
    protocol.Route(id=3, chat=CHAT, trace=True),
    protocol.Cancel(id=4, target=2),
    protocol.Status(id=5),
    protocol.Reload(id=6),
    protocol.Check(id=7, text="version: 1", file="mine.yaml"),
    protocol.Models(id=8, action="unload", backend="small", force=True),
    protocol.Watch(id=9, topics=["status"]),
    protocol.Use(id=10, session="s-1", model="large"),
    protocol.Routes(id=11),
    protocol.Decisions(
        id=12, backend="small", route="r", failed=True, since_s=60.0, before="00ff", limit=5, whole=True
    ),
    protocol.Show(id=13, request_id="00ff"),
    protocol.Feedback(id=14, request_id="00ff", score=0.5, note="so so"),
    protocol.Stats(id=15, by="route", since_s=60.0, reset=True),
    protocol.Budget(id=16),
    protocol.RecordSpend(id=17, provider="anthropic", model="m", prompt_tokens=3, completion_tokens=4, client="c"),
    protocol.SetSpent(id=18, day_microusd=5, month_microusd=6),
]

EVENTS: list[Event] = [
    protocol.Welcome(id=1, protocol=1, version="0.1.0", pid=4242),
    protocol.Routed(
        id=2, attempt=1, request_id="00ff", backend="small", model="demo", endpoint="primary", route="r", reasons=["x"]
    ),
    protocol.Progress(id=2, attempt=1, phase="loading", fraction=0.5, position=3),
    protocol.Delta(id=2, attempt=1, text="Hi", reasoning="Hm.", tool_calls=[CALL], logprobs=[LOGPROB]),
    protocol.Retracted(id=2, attempt=1, reason="it died"),
    protocol.Done(
        id=2,
        attempt=2,
        began=1,
        request_id="00ff",
        backend="large",
        model="big",
        endpoint="primary",
        finish_reason=chat.FinishReason.TOOL_CALLS,
        route="strangers",
        usage=USAGE,
        message=chat.Message("assistant", "Hi", tool_calls=[CALL]),
        refusal="No.",
        logprobs=[LOGPROB],
        cost_microusd=12,
        ttft_s=0.5,
        tokens_per_second=80.5,
        attempts=[ATTEMPT],
        flaw=records.FailureKind.REFUSAL,
        flaw_message="it refuses",
    ),
    protocol.Error(
        id=2,
        code=protocol.ErrorCode.OVERLOADED,
        message="later",
        hint="wait",
        retryable=True,
        retry_after=2.5,
        request_id="00ff",
        attempts=[ATTEMPT],
        failure=records.FailureKind.RATE_LIMITED,
        route="strangers",
    ),
    protocol.RouteResult(id=3, decision=DECISION),
    protocol.StatusResult(
        id=5,
        version="0.1.0",
        protocol=1,
        pid=4242,
        uptime_s=12.5,
        generation=3,
        config="/c/routes.yaml",
        socket="/s/routerd.sock",
        state_dir="/s",
        log_file="/l/routerd.log",
        locked="budget_locked: nobody knows",
        default="primary",
        backends=[BACKEND],
        models=[MODEL],
        endpoints=["primary"],
        routes=2,
        requests={"open": 1, "ok": 2, "failed": 3, "cancelled": 4},
        config_errors=[WRONG],
        last_reload=PLAN,
        connections=1,
        memory=records.MemoryStatus(budget=10, reserved=5, pressure=1.5, pressed=True),
        crashes=[1.5],
        http="http://127.0.0.1:8765",
        http_error="taken",
        ledger=records.LedgerStatus(
            file="/s/ledger.db", mode="memory", reason="full", dropped=1, set_aside="/s/ledger.db.corrupt-1"
        ),
        tiers=TIERS,
    ),
    protocol.ReloadResult(id=6, generation=4, changed=True, plan=PLAN, errors=[WRONG]),
    protocol.CheckResult(id=7, errors=[WRONG], warnings=[WRONG]),
    protocol.ModelsResult(id=8, models=[MODEL]),
    protocol.Used(id=10),
    protocol.RoutesResult(
        id=11,
        routes=[
            records.RouteStatus(
                name="night",
                match="task=plan",
                use="large",
                hits=3,
                never="all takes it",
                missed="llm never reaches it",
            )
        ],
        named=2,
        default=1,
    ),
    protocol.DecisionsResult(id=12, chats=[RECORD]),
    protocol.ShowResult(id=13, chat=RECORD),
    protocol.Noted(id=14),
    protocol.StatsResult(id=15, since=1.5, rows=[STATS], tiers=TIERS, shadows=[SHADOW]),
    protocol.BudgetResult(
        id=16,
        day="2026-11-21",
        month="2026-11",
        time_zone="Europe/Paris",
        allowed=False,
        reason="budget_daily",
        lines=[LINE],
        quotas=[QUOTA],
        prices="2026-11-01",
        store="file",
    ),
    protocol.Notice(id=9, topic="status", kind="model", data={"backend": "small"}, missed=2),
]


def tag(message: object) -> str:
    return str(type(message).__struct_config__.tag)


def write(version: str) -> None:
    folder = DATA / version
    folder.mkdir(parents=True, exist_ok=True)
    for direction, messages in (("request", REQUESTS), ("event", EVENTS)):
        for message in messages:
            name = f"{direction}.{tag(message)}"
            with (folder / f"{name}.msgpack").open("xb") as file:
                file.write(protocol.encoder.encode(message))
            with (folder / f"{name}.json").open("xb") as file:
                file.write(protocol.json_encoder.encode(message) + b"\n")


if __name__ == "__main__":
    write(sys.argv[1])
