"""Chats on their way into the ledger and out of it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from routerd_client.chat import ChatRequest, Usage
from routerd_client.protocol import Decisions, Done, Error, Feedback
from routerd_client.records import (
    Attempt,
    Candidate,
    ChatRecord,
    Decision,
    FailureKind,
    FeedbackRecord,
    Measures,
    Outcome,
    Skipped,
)

from ..routing.features import Features, Moment
from . import shadows

T = TypeVar("T")

MOST = 1000
"""Chats in one answer."""
MOST_WHOLE = 200


class Entry(Struct, frozen=True, kw_only=True):
    """All there is to record of a chat that has ended; ``time`` in seconds since 1970.

    ``decision`` is None where none was made, ``terminal`` where it was cancelled. ``tier`` is `ChatRecord.tier`;
    ``models`` and ``standings`` belong to the attempts: their backends' models, and what each says of its backend
    (``good``, ``bad`` or ``""``). ``answer`` is its text, None where texts are not kept; ``text_max`` in bytes.
    """

    time: float
    moment: Moment
    request_id: str
    client: str
    chat: ChatRequest
    decision: Decision | None
    terminal: Done | Error | None
    attempts: list[Attempt]
    models: list[str]
    standings: list[str]
    total_s: float
    tier: str = ""
    answer: str | None = None
    text_max: int = 0


def insert(connection: sqlite3.Connection, entry: Entry) -> None:
    """Write ``entry``. Here, off the loop, is where what it says is worked out."""
    chat, decision = entry.chat, entry.decision or Decision(route="", endpoint="", candidates=[])
    features = Features(chat, entry.client, entry.moment)
    done = entry.terminal if isinstance(entry.terminal, Done) else None
    error = entry.terminal if isinstance(entry.terminal, Error) else None
    usage = done.usage if done else Usage()
    _insert(
        connection,
        "decisions",
        request=entry.request_id,
        time=entry.time,
        client=entry.client,
        session=chat.session,
        task=chat.context.get("task", ""),
        context=_json(chat.context),
        asked=chat.model,
        named=decision.named,
        route=decision.route,
        endpoint=decision.endpoint,
        priority=chat.priority.value if chat.priority else "",
        tier=entry.tier,
        variant=decision.variant,
        score=next(iter(decision.scores.values()), None),
        scores=_json(decision.scores),
        first=decision.candidates[0].backend if decision.candidates else "",
        candidates=_json(decision.candidates),
        skipped=_json(decision.skipped),
        measures=_json(_measures(features)),
        outcome="ok" if done else "failed" if error else "cancelled",
        backend=done.backend if done else "",
        model=done.model if done else "",
        finish=done.finish_reason.value if done else "",
        code=error.code.value if error else "",
        message=error.message if error else "",
        flaw=done.flaw.value if done and done.flaw else "",
        flaw_message=done.flaw_message if done else "",
        usage=_json(usage),
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        cost=sum(attempt.cost_microusd for attempt in entry.attempts),
        ttft_s=done.ttft_s if done else None,
        total_s=entry.total_s,
        hops=len(entry.attempts),
    )
    for attempt, model, standing in zip(entry.attempts, entry.models, entry.standings, strict=True):
        _insert_attempt(connection, entry, attempt, model, standing)
    if entry.answer is not None:
        prompt, answer = (_clipped(text, entry.text_max) for text in (features.ask.text, entry.answer))
        _insert(connection, "texts", request=entry.request_id, time=entry.time, prompt=prompt, answer=answer)


_WAY = """CASE WHEN route != '' THEN route WHEN named != '' THEN '(' || named || ')'
    WHEN endpoint != '' THEN '(default)' ELSE '' END"""
"""What led to the endpoint, as people are told it: a route's name, or ``(default)``, ``(request)``, ``(session)``."""
_LAST = "\U0010ffff"
"""Sorts after all that an id may go on with."""
_TRIED = """(SELECT attempts.backend FROM attempts WHERE attempts.request = decisions.request
    ORDER BY number DESC LIMIT 1) AS tried"""


def chats(connection: sqlite3.Connection, asked: Decisions, now: float) -> list[ChatRecord]:
    """The newest chats that ``asked`` wants, newest first. Raises `LookupError` where it is to begin ``before`` one
    that is not there."""
    wheres: list[str] = []
    values: list[object] = []

    def where(condition: str, *given: object) -> None:
        wheres.append(condition)
        values.extend(given)

    if asked.backend is not None:
        where(
            "EXISTS (SELECT 1 FROM attempts WHERE attempts.request = decisions.request AND attempts.backend = ?)",
            asked.backend,
        )
    if asked.route is not None:
        where(f"? IN (route, {_WAY})", asked.route)
    if asked.failed:
        where("outcome = 'failed'")
    if asked.since_s is not None:
        where("decisions.time >= ?", now - asked.since_s)
    if asked.before:
        found = connection.execute("SELECT time FROM decisions WHERE request = ?", (asked.before,)).fetchone()
        if found is None:
            raise LookupError(asked.before)
        where("(decisions.time, request) < (?, ?)", found[0], asked.before)
    limit = max(1, min(asked.limit, MOST_WHOLE if asked.whole else MOST))
    texts = "LEFT JOIN texts USING (request)" if asked.whole else ""
    query = f"SELECT decisions.*, {_TRIED}{', prompt, answer' if texts else ''} FROM decisions {texts}"  # noqa: S608
    query += f" WHERE {' AND '.join(wheres)}" if wheres else ""
    query += " ORDER BY decisions.time DESC, request DESC LIMIT ?"
    found = [_chat(row) for row in _rows(connection, query, (*values, limit))]
    return [_whole(connection, chat) for chat in found] if asked.whole else found


def story(connection: sqlite3.Connection, request_id: str) -> ChatRecord | None:
    """The one chat whose id is, or begins with, ``request_id``, with its attempts, feedback, shadow and, where they
    were kept, texts. Raises `LookupError` where there are several."""
    columns = f"decisions.*, {_TRIED}, prompt, answer"
    query = f"SELECT {columns} FROM decisions LEFT JOIN texts USING (request)"  # noqa: S608
    query += " WHERE request >= ? AND request < ? ORDER BY request LIMIT 3"
    found = list(_rows(connection, query, (request_id, request_id + _LAST)))
    if len(found) > 1 and found[0]["request"] != request_id:
        raise LookupError(", ".join(row["request"] for row in found))
    return _whole(connection, _chat(found[0])) if found else None


def answered(connection: sqlite3.Connection, request_id: str) -> tuple[str, str] | None:
    """The backend that answered and its model; None where there is no such chat."""
    found: tuple[str, str] | None = connection.execute(
        "SELECT backend, model FROM decisions WHERE request = ?", (request_id,)
    ).fetchone()
    return found


def insert_feedback(
    connection: sqlite3.Connection, said: Feedback, now: float, about: tuple[str, str] | None = None
) -> tuple[str, str]:
    """Write ``said``; what `answered` tells, or ``about`` where that is known from elsewhere.

    Raises `LookupError` where there is no such chat.
    """
    found = about or answered(connection, said.request_id)
    if found is None:
        raise LookupError(said.request_id)
    connection.execute(
        "INSERT INTO feedback (request, time, score, note) VALUES (?, ?, ?, ?)",
        (said.request_id, now, said.score, said.note),
    )
    return found


def _whole(connection: sqlite3.Connection, chat: ChatRecord) -> ChatRecord:
    name = (chat.request_id,)
    attempts = _rows(connection, "SELECT * FROM attempts WHERE request = ? ORDER BY number", name)
    said = connection.execute("SELECT time, score, note FROM feedback WHERE request = ? ORDER BY time", name)
    return msgspec.structs.replace(
        chat,
        attempts=[_attempt(row) for row in attempts],
        feedback=[FeedbackRecord(time=time, score=score, note=note) for time, score, note in said],
        compared=shadows.compared(connection, chat.request_id),
    )


def _insert(connection: sqlite3.Connection, table: str, **values: object) -> None:
    marks = ", ".join("?" * len(values))
    columns = ", ".join(values)
    connection.execute(
        f"INSERT OR REPLACE INTO {table} ({columns}) VALUES ({marks})",  # noqa: S608 - our names
        tuple(values.values()),
    )


def _insert_attempt(connection: sqlite3.Connection, entry: Entry, attempt: Attempt, model: str, standing: str) -> None:
    usage = attempt.usage or Usage()
    _insert(
        connection,
        "attempts",
        request=entry.request_id,
        number=attempt.number,
        time=entry.time,
        backend=attempt.backend,
        model=model,
        outcome=attempt.outcome.value,
        failure=attempt.failure.value if attempt.failure else "",
        message=attempt.message,
        standing=standing,
        ttft_s=attempt.ttft_s,
        total_s=attempt.total_s,
        usage=_json(attempt.usage) if attempt.usage else None,
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        cost=attempt.cost_microusd,
    )


def _measures(features: Features) -> Measures:
    return Measures(
        chars=features.chars,
        prompt_bytes=features.prompt_bytes,
        turn=features.turn,
        has_tools=features.has_tools,
        has_images=features.has_images,
        local_only=bool(features.chat.local_only),
        minute=features.moment.minute,
        weekday=features.moment.weekday,
    )


def _rows(connection: sqlite3.Connection, query: str, values: Sequence[Any]) -> Iterator[dict[str, Any]]:
    cursor = connection.execute(query, values)
    names = [column[0] for column in cursor.description]
    return (dict(zip(names, row, strict=True)) for row in cursor)


def _chat(row: dict[str, Any]) -> ChatRecord:
    return ChatRecord(
        request_id=row["request"],
        time=row["time"],
        outcome=Outcome(row["outcome"]),
        client=row["client"],
        session=row["session"],
        context=_from_json(row["context"], dict[str, str]),
        asked=row["asked"],
        named=row["named"],
        route=row["route"],
        endpoint=row["endpoint"],
        priority=row["priority"],
        tier=row["tier"],
        variant=row["variant"],
        scores=_from_json(row["scores"], dict[str, float]),
        candidates=_from_json(row["candidates"], list[Candidate]),
        skipped=_from_json(row["skipped"], list[Skipped]),
        measures=_from_json(row["measures"], Measures),
        backend=row["backend"],
        model=row["model"],
        finish=row["finish"],
        code=row["code"],
        message=row["message"],
        flaw=FailureKind(row["flaw"]) if row["flaw"] else None,
        flaw_message=row["flaw_message"],
        usage=_from_json(row["usage"], Usage),
        cost_microusd=row["cost"],
        ttft_s=row["ttft_s"],
        total_s=row["total_s"],
        hops=row["hops"],
        prompt=row.get("prompt"),
        answer=row.get("answer"),
        tried=row["tried"] or "",
    )


def _attempt(row: dict[str, Any]) -> Attempt:
    return Attempt(
        number=row["number"],
        backend=row["backend"],
        outcome=Outcome(row["outcome"]),
        failure=FailureKind(row["failure"]) if row["failure"] else None,
        message=row["message"],
        ttft_s=row["ttft_s"],
        total_s=row["total_s"],
        usage=_from_json(row["usage"], Usage) if row["usage"] else None,
        cost_microusd=row["cost"],
    )


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _from_json(text: str, type_: type[T]) -> T:
    return msgspec.json.decode(text, type=type_)


def _clipped(text: str, size: int) -> str:
    """The beginning of ``text``, at most ``size`` bytes of it."""
    return text.encode("utf-8", "replace")[:size].decode("utf-8", "ignore")
