"""What is removed from the ledger when."""

from __future__ import annotations

import sqlite3

from ..config.schema import LedgerSpec

EVERY_S = 60.0
AT_ONCE = 1000
"""Rows of each table removed in one go, so that nobody waits for the writer."""
BETWEEN_S = 0.005
"""From one go to the next, where more is left."""
MONEY_S = 62 * 86_400.0
"""What was spent is kept for so long at least: two months, whatever they are."""


def expire(connection: sqlite3.Connection, spec: LedgerSpec, now: float) -> bool:
    """Remove up to `AT_ONCE` rows of each table that are too old; ``now`` in seconds since 1970.

    Returns whether there may be more of them.
    """
    ages = dict.fromkeys(("decisions", "attempts", "feedback", "shadows"), spec.keep)
    ages |= {"texts": min(spec.text_keep, spec.keep)}
    ages |= dict.fromkeys(("spend", "quota_use"), max(spec.keep, MONEY_S))
    more = False
    for table, age in ages.items():
        gone = connection.execute(
            f"DELETE FROM {table} WHERE rowid IN (SELECT rowid FROM {table} WHERE time < ? LIMIT ?)",  # noqa: S608
            (now - age, AT_ONCE),
        )
        more = more or gone.rowcount == AT_ONCE
    return more
