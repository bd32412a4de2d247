"""What the ledger teaches: how each backend did, and what people said."""

from __future__ import annotations

import sqlite3

from ..health.outcomes import FEEDBACK, HALF_LIFE_S, Past

LOOKED_AT_S = 5 * HALF_LIFE_S
HOUR_S = 3600.0


def past(connection: sqlite3.Connection, now: float) -> list[Past]:
    """Outcomes and feedback by backend and hour; ``now`` in seconds since 1970."""
    since = now - LOOKED_AT_S
    attempts = connection.execute(
        """SELECT backend, model, CAST((? - time) / ? AS INTEGER) AS hours,
                  sum(standing = 'good'), sum(standing = 'bad')
           FROM attempts WHERE time BETWEEN ? AND ? AND standing != '' GROUP BY backend, model, hours""",
        (now, HOUR_S, since, now),
    )
    found = [Past((backend, model), hours * HOUR_S, good, bad) for backend, model, hours, good, bad in attempts]
    said = connection.execute(
        """SELECT backend, model, feedback.time, feedback.score FROM feedback JOIN decisions USING (request)
           WHERE feedback.time BETWEEN ? AND ? AND backend != '' AND typeof(feedback.score) IN ('real', 'integer')""",
        (since, now),
    )
    for backend, model, time, score in said:
        score = min(max(score, 0.0), 1.0)
        found.append(Past((backend, model), max(0.0, now - time), FEEDBACK * score, FEEDBACK * (1 - score)))
    return found
