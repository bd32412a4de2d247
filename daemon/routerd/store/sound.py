"""Soundness of a ledger's file, whoever has written to it: its tables, their columns, and the rows of money."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from functools import cache

from .schema import TABLES, CorruptError, migrate

MOST_TIME = 253_370_764_800
"""The year 9999, in seconds since 1970: no calendar has a day for what is later."""
MOST = 2**53
"""More than there is of tokens and micro-dollars; sums of it still fit into 64 bits."""

_TIME = f"typeof(time) IN ('real', 'integer') AND time BETWEEN 0 AND {MOST_TIME}"


def _whole(column: str, least: int = -MOST) -> str:
    return f"typeof({column}) = 'integer' AND {column} BETWEEN {least} AND {MOST}"


def _all(*conditions: str) -> str:
    """Return a condition that is never null."""
    return f"coalesce({' AND '.join(f'({condition})' for condition in conditions)}, 0)"


def _texts(*columns: str) -> str:
    return " AND ".join(f"typeof({column}) = 'text'" for column in columns)


ROWS = {
    "spend": _all(
        _texts("reservation", "request", "backend", "model", "route", "client", "state"),
        _TIME,
        _whole("attempt"),
        _whole("reserved"),
        f"settled IS NULL OR ({_whole('settled')})",
        "state IN ('open', 'settled', 'released')",
    ),
    "quota_use": _all(
        _texts("id", "backend"), _TIME, _whole("tokens", 0), _whole("requests", 0), _whole("cost", 0)
    ),
    "meta": _all(_texts("key", "value")),
    "measured": _all(_texts("key", "value"), "typeof(time) IN ('real', 'integer')"),
}  # fmt: skip
"""By table, the condition of a row that can be used."""
MONEY = ("meta", "spend", "quota_use")
"""The tables of which every row must be usable: what was spent is else not known."""


def check_sound(connection: sqlite3.Connection) -> None:
    """Raise `CorruptError` where a table, a column, or a row of money is not as it must be."""
    check_tables(connection)
    for table in MONEY:
        if damaged := count_damaged(connection, table):
            raise CorruptError(f"{damaged} of its table {table} cannot be used")


def check_tables(connection: sqlite3.Connection) -> None:
    """Raise `CorruptError` where a table or one of its columns is missing."""
    there = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    for table, columns in expected().items():
        if table not in there:
            raise CorruptError(f"it has no table {table}")
        if missing := [name for name in columns if name not in set(_columns(connection, table))]:
            raise CorruptError(f"its table {table} has no column {missing[0]}")


def count_damaged(connection: sqlite3.Connection, table: str) -> str:
    """Say how many rows of ``table`` cannot be used; ``""`` where all can."""
    (count,) = connection.execute(f"SELECT count(*) FROM {table} WHERE NOT {ROWS[table]}").fetchone()  # noqa: S608
    return f"{count} row{'s' if count > 1 else ''}" if count else ""


@cache
def expected() -> dict[str, tuple[str, ...]]:
    """Return the columns of each table."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as memory:
        migrate(memory)
        return {table: tuple(_columns(memory, table)) for table in TABLES}


def _columns(connection: sqlite3.Connection, table: str) -> Iterator[str]:
    return (row[1] for row in connection.execute(f"PRAGMA table_info({table})"))
