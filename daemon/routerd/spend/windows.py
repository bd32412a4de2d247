"""The spans of time that quotas are for, by the calendar of where the user lives. Pure."""

from __future__ import annotations

from calendar import monthrange
from datetime import datetime, timedelta, tzinfo

SPANS = {
    "minute": 60.0,
    "hour": 3600.0,
    "5h": 18_000.0,
    "day": 86_400.0,
    "week": 604_800.0,
    "month": 2_592_000.0,
}
"""Seconds of each; a month's is that of a rolling one."""

_FIRST = datetime(2024, 1, 1)


def window(per: str, moment: float, zone: tzinfo | None, starts: datetime | None = None) -> tuple[float, float]:
    """The fixed span of kind ``per`` that ``moment`` is in: its beginning and its end.

    ``starts`` is a moment at which one began: its time of the day, its weekday, its day of the month count.
    Days, weeks and months follow the clock on the wall, so that they may be an hour longer or shorter.
    """
    anchor = _wall(starts.timestamp(), zone) if starts and starts.tzinfo else starts or _FIRST
    if per in ("minute", "hour", "5h"):
        phase = (_epoch(anchor, zone) if starts else 0.0) % SPANS[per]
        begin = (moment - phase) // SPANS[per] * SPANS[per] + phase
        return begin, begin + SPANS[per]
    wall = _wall(moment, zone)
    begin_wall = _begin(per, wall, anchor)
    return _epoch(begin_wall, zone), _epoch(_next(per, begin_wall, anchor), zone)


def _begin(per: str, wall: datetime, anchor: datetime) -> datetime:
    today = datetime.combine(wall.date(), anchor.time())
    if per == "month":
        begin = _in_month(wall.year, wall.month, anchor)
        return begin if begin <= wall else _in_month(wall.year, wall.month - 1, anchor)
    back = (wall.weekday() - anchor.weekday()) % 7 if per == "week" else 0
    begin = today - timedelta(days=back)
    return begin if begin <= wall else begin - timedelta(days=7 if per == "week" else 1)


def _next(per: str, begin: datetime, anchor: datetime) -> datetime:
    if per == "month":
        return _in_month(begin.year, begin.month + 1, anchor)
    return begin + timedelta(days=7 if per == "week" else 1)


def _in_month(year: int, month: int, anchor: datetime) -> datetime:
    """The anchor's day in a month (0 is last year's December, 13 next year's January), or the last there is."""
    year, month = year + (month - 1) // 12, (month - 1) % 12 + 1
    day = min(anchor.day, monthrange(year, month)[1])
    return datetime.combine(datetime(year, month, day).date(), anchor.time())


def _wall(moment: float, zone: tzinfo | None) -> datetime:
    return datetime.fromtimestamp(moment, zone).replace(tzinfo=None)


def _epoch(wall: datetime, zone: tzinfo | None) -> float:
    return wall.replace(tzinfo=zone).timestamp()
