"""Figures from the ledger. The counting is SQLite's, which lets other threads run meanwhile."""

from __future__ import annotations

import sqlite3
from typing import Any

from routerd_client.protocol import Stats, StatsBy, StatsResult
from routerd_client.records import EMBEDDING, StatsRow, TierFigures

from ..health.tracker import quantile
from . import shadows
from .sound import MOST_TIME

SINCE = "stats_since"
"""Key in ``meta``: when the figures were last reset."""

_WANTING = "('refusal', 'empty', 'degenerate', 'content_filtered')"
_HOPPED = "hops > (outcome = 'ok')"  # whether an attempt failed: most chats have none to look for
_SUMS = """
    SELECT {name}, count(*), sum(outcome = 'ok'), sum(outcome = 'failed'), sum(outcome = 'cancelled'),
           sum(blamed), sum(refused), sum(escalated), avg(said), {tokens}
    FROM ({source}) GROUP BY {name} ORDER BY count(*) DESC, {name}"""
# Not sum(), which fails for ever once it leaves 64 bits; this is exact up to 9e15, and stays at the end of its range.
_TOTALS = ", ".join(
    f"ifnull(CAST(total({name}) AS INTEGER), 0)" for name in ("prompt_tokens", "completion_tokens", "cost")
)
_FIGURES = (
    "name",
    "requests",
    "ok",
    "failed",
    "cancelled",
    "blamed",
    "refusals",
    "escalations",
    "feedback",
    "prompt_tokens",
    "completion_tokens",
    "cost_microusd",
)
_COUNTS = {"ok", "failed", "cancelled", "blamed", "refusals", "escalations"}
_ATTEMPTS = f"""
    SELECT attempts.backend, attempts.outcome, attempts.prompt_tokens, attempts.completion_tokens, attempts.cost,
           attempts.outcome = 'failed' AND standing = 'bad' AS blamed,
           failure = 'refusal' OR (attempts.outcome = 'ok' AND flaw = 'refusal') AS refused,
           failure IN {_WANTING} AS escalated,
           CASE WHEN attempts.outcome = 'ok' THEN (
               SELECT avg(score) FROM feedback WHERE feedback.request = attempts.request) END AS said
    FROM attempts LEFT JOIN decisions USING (request) WHERE attempts.time >= ?"""  # noqa: S608 - our own words
_CHATS = f"""
    SELECT *, outcome = 'failed' AS blamed, flaw = 'refusal' OR {_HOPPED} AND EXISTS (
               SELECT 1 FROM attempts a WHERE a.request = decisions.request AND failure = 'refusal') AS refused,
           {_HOPPED} AND EXISTS (
               SELECT 1 FROM attempts a WHERE a.request = decisions.request AND failure IN {_WANTING}) AS escalated,
           (SELECT avg(score) FROM feedback WHERE feedback.request = decisions.request) AS said
    FROM decisions WHERE time >= ?"""  # noqa: S608


def since_reset(connection: sqlite3.Connection) -> float:
    """Return when the figures were last reset, in seconds since 1970; 0 where they never were, or nobody knows."""
    found = connection.execute("SELECT value FROM meta WHERE key = ?", (SINCE,)).fetchone()
    try:
        since = float(found[0]) if found else 0.0
    except (TypeError, ValueError):
        return 0.0
    return since if 0 <= since < MOST_TIME else 0.0


def reset(connection: sqlite3.Connection, now: float) -> None:
    connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (SINCE, repr(now)))


def figures(connection: sqlite3.Connection, asked: Stats, now: float) -> StatsResult:
    since = since_reset(connection) if asked.since_s is None else now - asked.since_s
    return StatsResult(
        id=0,
        since=since,
        rows=rows(connection, asked.by, since),
        tiers=tiers(connection, since),
        shadows=shadows.rows(connection, since),
    )


def rows(connection: sqlite3.Connection, by: StatsBy, since: float) -> list[StatsRow]:
    """One row a name, the busiest first."""
    table, source = ("attempts", _ATTEMPTS) if by == "backend" else ("decisions", _CHATS)
    ttfts = _ordered(connection, table, by, "ttft_s", since)
    totals = _ordered(connection, table, by, "total_s", since)
    found = connection.execute(_SUMS.format(name=by, source=source, tokens=_TOTALS), (since,))
    return [_row(dict(zip(_FIGURES, row, strict=True)), ttfts, totals) for row in found]


def _row(told: dict[str, Any], ttfts: dict[str, list[float]], totals: dict[str, list[float]]) -> StatsRow:
    name = told["name"]
    told = {key: value or 0 if key in _COUNTS else value for key, value in told.items()} | {"name": _text(name)}
    ended = told["ok"] + told.pop("blamed")
    return StatsRow(
        **told,
        success=told["ok"] / ended if ended else None,
        ttft_p50_s=quantile(ttfts.get(name, []), 0.50),
        ttft_p95_s=quantile(ttfts.get(name, []), 0.95),
        total_p50_s=quantile(totals.get(name, []), 0.50),
    )


def _text(value: object) -> str:
    """Return a name from a column that may hold anything."""
    return value if isinstance(value, str) else repr(value)


def _ordered(
    connection: sqlite3.Connection, table: str, name: str, column: str, since: float
) -> dict[str, list[float]]:
    """The values of ``column`` by name, in order."""
    found: dict[str, list[float]] = {}
    wanted = f"time >= ? AND typeof({column}) IN ('real', 'integer')"
    query = f"SELECT {name}, {column} FROM {table} WHERE {wanted} ORDER BY {column}"  # noqa: S608
    for key, value in connection.execute(query, (since,)):
        found.setdefault(key, []).append(value)
    return found


def tiers(connection: sqlite3.Connection, since: float) -> TierFigures:
    """Of the chats whose complexity chose who answers first."""
    simple, complex_, simple_score, complex_score, fallbacks = connection.execute(
        """SELECT count(CASE WHEN tier = 'simple' THEN 1 END), count(CASE WHEN tier = 'complex' THEN 1 END),
                  avg(CASE WHEN tier = 'simple' THEN score END), avg(CASE WHEN tier = 'complex' THEN score END),
                  count(CASE WHEN outcome = 'ok' AND backend != first THEN 1 END)
           FROM decisions WHERE time >= ? AND tier != '' AND tier != ?""",
        (since, EMBEDDING),
    ).fetchone()
    total = simple + complex_
    return TierFigures(
        simple_tier_requests=simple,
        complex_tier_requests=complex_,
        total_requests=total,
        avg_simple_score=simple_score,
        avg_complex_score=complex_score,
        fallback_count=fallbacks,
        simple_tier_percentage=100 * simple / total if total else 0.0,
    )
