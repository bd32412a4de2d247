"""Callers in the ledger, read without a daemon."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from routerd_client.records import EMBEDDING

from .database import read

LEDGER = "ledger.db"
"""The ledger's file, in the state folder."""

_NAMING = """
    SELECT client, count(*) FROM decisions WHERE time >= ? AND client != '' AND tier != ?
    GROUP BY client HAVING sum(named = '') = 0 ORDER BY client"""


def naming(state: Path, since: float) -> dict[str, int]:
    """Return the clients that named a model in every chat since that time, in seconds since 1970, each with the number
    of its chats. Empty where there is no ledger that can be read. Blocks on the disk."""
    path = state / LEDGER
    try:
        return dict(read(path, lambda connection: connection.execute(_NAMING, (since, EMBEDDING)).fetchall()))
    except (sqlite3.Error, OSError):
        return {}
