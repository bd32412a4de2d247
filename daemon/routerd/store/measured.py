"""What model processes turned out to need, kept in the ledger."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Mapping

import structlog

from .sound import ROWS
from .writer import Store, StoreError

log = structlog.get_logger()

MOST = 200
"""Records that are kept; the one measured longest ago makes room."""


class Measurements:
    """The supervisor's `Records`. Where the ledger fails, that is logged, and nothing else."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def read(self) -> dict[str, str]:
        """All of them, the one measured longest ago first."""
        try:
            return await self._store.read(_all)
        except StoreError as error:
            log.warning("ledger.unread", error=str(error))
            return {}

    async def write(self, records: Mapping[str, str]) -> bool:
        """Whether they are durable now."""
        rows = [(key, time.time(), value) for key, value in records.items()]
        try:
            await self._store.commit(lambda connection: put(connection, rows))
        except StoreError as error:
            log.warning("ledger.unwritten", error=str(error))
            return False
        return self._store.mode == "file"


def _all(connection: sqlite3.Connection) -> dict[str, str]:
    return dict(connection.execute(f"SELECT key, value FROM measured WHERE {ROWS['measured']} ORDER BY time"))  # noqa: S608


def put(connection: sqlite3.Connection, rows: list[tuple[str, float, str]]) -> None:
    """Write ``rows``: key, time in seconds since 1970, value."""
    connection.executemany("INSERT OR REPLACE INTO measured (key, time, value) VALUES (?, ?, ?)", rows)
    connection.execute(
        "DELETE FROM measured WHERE key NOT IN (SELECT key FROM measured ORDER BY time DESC LIMIT ?)", (MOST,)
    )
