"""Writes the ledger of this version's schema, with one record of every kind, to tests/data/ledger/<schema>.sql.

    python -m tests.support.make_golden_ledger

Once a release with a new schema. The file is then history: later versions must open it for ever, and this refuses
to overwrite one.
"""

from __future__ import annotations

import sqlite3
import sys
from pathlib import Path

from routerd.routing.features import Moment
from routerd.store import measured, money, records, shadows, stats
from routerd.store.records import Entry
from routerd.store.schema import VERSION, migrate
from routerd_client.chat import ChatRequest, FinishReason, Message, Priority, Usage
from routerd_client.protocol import Done, Error, ErrorCode, Feedback
from routerd_client.records import Attempt, Candidate, Decision, FailureKind, Outcome, Skipped

DATA = Path(__file__).parents[1] / "data" / "ledger"
TIME = 1_795_000_000.0


def fill(connection: sqlite3.Connection) -> None:
    records.insert(connection, _answered())
    records.insert(connection, _failed())
    records.insert_feedback(connection, Feedback(id=0, request_id="answered", score=0.25, note="too short"), TIME + 60)
    shadows.insert(
        connection,
        shadows.Shadow(
            request="answered",
            time=TIME + 1,
            shadow="other",
            endpoint="auto",
            backend="large",
            other="small",
            score=2.5,
            agreement=0.75,
            quality=1.0,
            other_quality=0.5,
        ),
    )
    money.write(
        connection, money.Spend("r1", TIME, 900, 700, "settled", "large", "gpt", "plans", "hermes", "answered", 2)
    )
    money.write(connection, money.Spend("r2", TIME, 900))
    money.use_quota(connection, "large", TIME, (310, 1, 700))
    measured.put(connection, [("a model", TIME, '{"weights":1000,"peak":2000,"load_s":3.5}')])
    stats.reset(connection, TIME - 10)


def _answered() -> Entry:
    usage = Usage(prompt_tokens=300, completion_tokens=10, cached_tokens=100, reasoning_tokens=4)
    return Entry(
        time=TIME,
        moment=Moment(615, 4),
        request_id="answered",
        client="hermes",
        chat=ChatRequest(
            messages=[Message("system", "Be brief."), Message("user", "Plan the week")],
            model="auto",
            context={"platform": "discord", "task": "plan"},
            session="s1",
            priority=Priority.INTERACTIVE,
            local_only=True,
        ),
        decision=Decision(
            route="plans",
            endpoint="auto",
            named="request",
            candidates=[Candidate("small", ["complexity 2.50", "loaded"], 0.5), Candidate("large", ["stronger"])],
            skipped=[Skipped("gpt", "it takes no tools", FailureKind.CONTEXT_OVERFLOW)],
            scores={"rules": 2.5},
            variant="b",
        ),
        terminal=Done(
            id=1,
            attempt=2,
            request_id="answered",
            backend="large",
            model="gpt",
            endpoint="auto",
            finish_reason=FinishReason.LENGTH,
            usage=usage,
            ttft_s=0.5,
            flaw=FailureKind.REFUSAL,
            flaw_message="it declines",
        ),
        attempts=[
            Attempt(
                number=1,
                backend="small",
                outcome=Outcome.FAILED,
                failure=FailureKind.EMPTY,
                message="no text",
                total_s=1.0,
            ),
            Attempt(
                number=2, backend="large", outcome=Outcome.OK, ttft_s=0.25, total_s=2.0, usage=usage, cost_microusd=700
            ),
        ],
        models=["qwen", "gpt"],
        standings=["bad", "bad"],
        total_s=3.5,
        tier="simple",
        answer="I cannot.",
        text_max=100,
    )


def _failed() -> Entry:
    return Entry(
        time=TIME + 1,
        moment=Moment(),
        request_id="failed",
        client="",
        chat=ChatRequest(messages=[Message("user", "Hello")], model="nobody"),
        decision=None,
        terminal=Error(id=2, code=ErrorCode.NOT_FOUND, message="there is no endpoint or backend 'nobody'"),
        attempts=[],
        models=[],
        standings=[],
        total_s=0.001,
    )


def main() -> None:
    file = DATA / f"{VERSION}.sql"
    if file.exists():
        sys.exit(f"{file} is history: a new schema has a new number")
    connection = sqlite3.connect(":memory:", isolation_level=None)
    migrate(connection)
    fill(connection)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join([*connection.iterdump(), f"PRAGMA user_version = {VERSION};", ""]))


if __name__ == "__main__":
    main()
