"""Chats on their way into the ledger and out of it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import msgspec
import structlog
from msgspec import Struct

from routerd_client.chat import ChatRequest, Usage
from routerd_client.protocol import Decisions, Done, Error, Feedback
from routerd_client.records import (
    Attempt,
    ChatRecord,
    Decision,
    FeedbackRecord,
    Measures,
)

from ..routing.features import Features, Moment
from . import shadows, sound

T = TypeVar("T")
log = structlog.get_logger()

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
    usage = _bounded(done.usage if done else Usage())
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
        cost=_clamped(sum(attempt.cost_microusd for attempt in entry.attempts)),
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
    found = _usable(_chat, _rows(connection, query, (*values, limit)))
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
    chats_ = _usable(_chat, found[:1])
    return _whole(connection, chats_[0]) if chats_ else None


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
    said = _rows(connection, "SELECT time, score, note FROM feedback WHERE request = ? ORDER BY time", name)
    return msgspec.structs.replace(
        chat,
        attempts=_usable(_attempt, attempts),
        feedback=_usable(lambda row: _converted(FeedbackRecord, **row), said),
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
    usage = _bounded(attempt.usage or Usage())
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
        usage=_json(usage) if attempt.usage else None,
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        cost=_clamped(attempt.cost_microusd),
    )


def _bounded(usage: Usage) -> Usage:
    """Return ``usage`` as a row can hold it: a server may claim anything."""
    return Usage(*(_clamped(tokens) for tokens in msgspec.structs.astuple(usage)))


def _clamped(count: float) -> int:
    return int(min(max(count, 0), sound.MOST))


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
    """Read a row of ``decisions``. Raises ``ValueError`` where the row is damaged."""
    return _converted(
        ChatRecord,
        request_id=row["request"],
        time=row["time"],
        outcome=row["outcome"],
        client=row["client"],
        session=row["session"],
        context=_from_json(row["context"]),
        asked=row["asked"],
        named=row["named"],
        route=row["route"],
        endpoint=row["endpoint"],
        priority=row["priority"],
        tier=row["tier"],
        variant=row["variant"],
        scores=_from_json(row["scores"]),
        candidates=_from_json(row["candidates"]),
        skipped=_from_json(row["skipped"]),
        measures=_from_json(row["measures"]),
        backend=row["backend"],
        model=row["model"],
        finish=row["finish"],
        code=row["code"],
        message=row["message"],
        flaw=row["flaw"] or None,
        flaw_message=row["flaw_message"],
        usage=_from_json(row["usage"]),
        cost_microusd=row["cost"],
        ttft_s=row["ttft_s"],
        total_s=row["total_s"],
        hops=row["hops"],
        prompt=row.get("prompt"),
        answer=row.get("answer"),
        tried=row["tried"] or "",
    )


def _attempt(row: dict[str, Any]) -> Attempt:
    """Read a row of ``attempts``. Raises ``ValueError`` where the row is damaged."""
    return _converted(
        Attempt,
        number=row["number"],
        backend=row["backend"],
        outcome=row["outcome"],
        failure=row["failure"] or None,
        message=row["message"],
        ttft_s=row["ttft_s"],
        total_s=row["total_s"],
        usage=_from_json(row["usage"]) if row["usage"] else None,
        cost_microusd=row["cost"],
    )


def _converted(type_: type[T], **values: object) -> T:
    """Make a ``type_``. Raises ``ValueError`` where a value is not of its field's type."""
    moment = values.get("time", 0)
    if not (isinstance(moment, int | float) and 0 <= moment <= sound.MOST_TIME):
        raise ValueError(f"{moment!r} is not a moment")
    return msgspec.convert(values, type_)


def _usable(make: Callable[[dict[str, Any]], T], rows: Iterable[dict[str, Any]]) -> list[T]:
    """Apply ``make`` to each of ``rows``; leave out damaged ones, with a line in the log."""
    found = []
    for row in rows:
        try:
            found.append(make(row))
        except (ValueError, TypeError, RecursionError) as error:
            log.warning("ledger.row_damaged", request=str(row.get("request"))[:64], error=str(error))
    return found


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _from_json(text: Any) -> Any:
    """Decode ``text``. Raises ``ValueError``, ``TypeError`` and ``RecursionError`` where it is no JSON."""
    return msgspec.json.decode(text)


def _clipped(text: str, size: int) -> str:
    """The beginning of ``text``, at most ``size`` bytes of it."""
    return text.encode("utf-8", "replace")[:size].decode("utf-8", "ignore")
