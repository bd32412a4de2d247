"""What the ledger keeps of money and quotas. All of it runs on the writer's connection, or on one that reads."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

from .database import HISTORY_LOST
from .schema import CorruptError
from .sound import count_damaged

State = Literal["open", "settled", "released"]


class Spend(Struct, frozen=True):
    """One row of ``spend``; ``time`` is seconds since 1970, of the reservation, money is micro-dollars."""

    reservation: str
    time: float
    reserved: int
    settled: int | None = None
    state: State = "open"
    backend: str = ""
    model: str = ""
    route: str = ""
    client: str = ""
    request: str = ""
    attempt: int = 0

    @property
    def amount(self) -> int:
        """What it counts for: all that was reserved while nobody knows better."""
        return self.reserved if self.settled is None else self.settled


_COLUMNS = Spend.__struct_fields__
_SELECT = f"SELECT {', '.join(_COLUMNS)} FROM spend"  # noqa: S608 - our names
_INSERT = f"INSERT OR REPLACE INTO spend ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"  # noqa: S608


def write(connection: sqlite3.Connection, row: Spend) -> None:
    """Write ``row``, in the place of what is there of its reservation."""
    connection.execute(_INSERT, [getattr(row, name) for name in _COLUMNS])


def since(connection: sqlite3.Connection, moment: float) -> list[Spend]:
    """Return the rows from ``moment`` on, oldest first. Raises `CorruptError` where one cannot be used."""
    _check(connection, "spend")
    return [Spend(*row) for row in connection.execute(f"{_SELECT} WHERE time >= ? ORDER BY time", (moment,))]


def close_open(connection: sqlite3.Connection) -> int:
    """Take all that is still open for spent, and return how many rows that were: nobody is left to settle them."""
    found = connection.execute("UPDATE spend SET state = 'settled', settled = reserved WHERE state = 'open'")
    return found.rowcount


def history_lost(connection: sqlite3.Connection) -> str:
    """Why nobody knows what was spent before; ``""`` where it is known."""
    row = connection.execute("SELECT value FROM meta WHERE key = ?", (HISTORY_LOST,)).fetchone()
    return str(row[0]) if row else ""


def history(connection: sqlite3.Connection, moment: float) -> tuple[str, list[Spend]]:
    """`history_lost`, and what is known `since`: in one look, for the file may be lost or found between two."""
    return history_lost(connection), since(connection, moment)


def history_found(connection: sqlite3.Connection, now: float) -> None:
    """Forget that; what was spent on days that are yet to come was spent ``now``."""
    connection.execute("DELETE FROM meta WHERE key = ?", (HISTORY_LOST,))
    connection.execute("UPDATE spend SET time = ? WHERE time > ?", (now, now))


def use_quota(connection: sqlite3.Connection, backend: str, moment: float, amounts: tuple[int, int, int]) -> None:
    """``amounts``: tokens, requests and micro-dollars."""
    connection.execute(
        "INSERT INTO quota_use (backend, time, tokens, requests, cost) VALUES (?, ?, ?, ?, ?)",
        (backend, moment, *amounts),
    )


def quota_used(
    connection: sqlite3.Connection, backends: Sequence[str], moment: float
) -> list[tuple[str, float, int, int, int]]:
    """Backend, time, tokens, requests and micro-dollars of what was used from ``moment`` on, oldest first."""
    _check(connection, "quota_use")
    marks = ", ".join("?" * len(backends))
    query = f"SELECT backend, time, tokens, requests, cost FROM quota_use WHERE backend IN ({marks}) AND time >= ?"  # noqa: S608
    return connection.execute(f"{query} ORDER BY time", (*backends, moment)).fetchall()


def _check(connection: sqlite3.Connection, table: str) -> None:
    if damaged := count_damaged(connection, table):
        raise CorruptError(f"{damaged} of its table {table} cannot be used")


def forget_quota_use(connection: sqlite3.Connection, before: float) -> None:
    connection.execute("DELETE FROM quota_use WHERE time < ?", (before,))
