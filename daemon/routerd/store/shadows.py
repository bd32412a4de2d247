"""Chats that another backend was asked too: how much both answers agree, and how good each was."""

from __future__ import annotations

import sqlite3

import msgspec
from msgspec import Struct

from routerd_client.records import Compared, ShadowRow

LIMITS = tuple(range(1, 11))


class Shadow(Struct, frozen=True, kw_only=True):
    """One comparison; ``time`` in seconds since 1970. ``request`` and ``shadow`` are both chats' ids, ``score`` the
    complexity of the ask where it was looked at; ``agreement`` and both qualities are 0..1; the qualities are None
    where there was no judge."""

    request: str
    time: float
    shadow: str
    endpoint: str
    backend: str
    other: str
    score: float | None
    agreement: float
    quality: float | None
    other_quality: float | None


def insert(connection: sqlite3.Connection, row: Shadow) -> None:
    marks = ", ".join("?" * len(row.__struct_fields__))
    columns = ", ".join(row.__struct_fields__)
    values = [getattr(row, name) for name in row.__struct_fields__]
    connection.execute(f"INSERT OR REPLACE INTO shadows ({columns}) VALUES ({marks})", values)  # noqa: S608 - our names


def compared(connection: sqlite3.Connection, request: str) -> Compared | None:
    """The chat that ``request`` was compared with, whichever of both is the shadow; None where it was with none."""
    query = "SELECT request, shadow, agreement, quality, other_quality FROM shadows WHERE request = ? OR shadow = ?"
    found = connection.execute(query, (request, request)).fetchone()
    if found is None:
        return None
    first, shadow, agreement, quality, other = found
    values = {"agreement": agreement, "quality": quality, "other_quality": other}
    if first != request:
        values |= {"quality": other, "other_quality": quality}
    try:
        other_id = shadow if first == request else first
        return msgspec.convert({"request_id": other_id, "shadow": first == request, **values}, Compared)
    except ValueError:  # a damaged row
        return None


def rows(connection: sqlite3.Connection, since: float) -> list[ShadowRow]:
    """Of all of them, and of those below each limit of complexity that takes in more than the one before."""
    figures = "count(*), ifnull(avg(agreement), 0.0), avg(quality), avg(other_quality) FROM shadows WHERE time >= ?"
    found = [(None, *connection.execute(f"SELECT {figures}", (since,)).fetchone())]
    for limit in LIMITS:
        row = connection.execute(f"SELECT {figures} AND score < ?", (since, limit)).fetchone()
        if row[0] > (found[-1][1] if len(found) > 1 else 0):
            found.append((limit, *row))
    return [
        ShadowRow(below=below, requests=count, agreement=agreement, quality=quality, other_quality=other)
        for below, count, agreement, quality, other in found
        if count
    ]
