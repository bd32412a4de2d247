"""Who joins the batch, and who must leave it: decided on numbers, without a look at any model."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec import Struct

from .pool import Pool


class Seat(Struct, frozen=True):
    """One request as admission sees it.

    ``order`` is its place in the order of arrival, ``length`` its tokens so far. ``system`` tells
    its system prompt from others, ``None`` where it has none; ``computing`` is true while it is in
    the midst of computing that.
    """

    order: int
    length: int
    system: int | None = None
    computing: bool = False


def joining(
    waiting: Sequence[Seat], seated: Sequence[Seat], pool: Pool, rows: int, cached: Callable[[Seat], bool]
) -> list[Seat]:
    """Those of ``waiting`` (oldest first) that join the ``seated`` now, at most ``rows`` in all.

    While the oldest does not fit, nobody overtakes it. Only one of those with the same system
    prompt goes ahead to compute it, unless it is ``cached``; others may pass the rest meanwhile.
    """
    lengths = [seat.length for seat in seated]
    computing = {seat.system for seat in seated if seat.computing}
    chosen = []
    for seat in waiting:
        if len(lengths) >= rows or not pool.fits([*lengths, seat.length]):
            break
        if seat.system in computing:
            continue
        if seat.system is not None and not cached(seat):
            computing.add(seat.system)
        chosen.append(seat)
        lengths.append(seat.length)
    return chosen


def parking(seated: Sequence[Seat], pool: Pool) -> list[Seat]:
    """Those of ``seated`` that must leave so that the rest can take its next step, youngest first.

    The oldest always stays.
    """
    staying = sorted(seated, key=lambda seat: seat.order)
    parked = []
    while len(staying) > 1 and not pool.fits([seat.length for seat in staying]):
        parked.append(staying.pop())
    return parked
