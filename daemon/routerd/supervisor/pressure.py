"""Whether the machine is short of memory, from one reading a round. Pure."""

from __future__ import annotations

from msgspec import Struct

HIGH, LOW = 20.0, 10.0
"""Percent of ten seconds in which some process waited for memory: pressure begins above the one and ends below
the other, so that a level around either does not unload and load by turns."""
ROUNDS = 2
"""So many readings in a row begin it: one program that starts is no reason to unload a model."""


class Pressure(Struct, frozen=True):
    """``level`` is the last reading in percent, None where the system tells none; ``rounds`` how many in a row
    were above `HIGH`."""

    level: float | None = None
    rounds: int = 0
    high: bool = False

    def after(self, level: float | None) -> Pressure:
        """What it is with another reading."""
        if level is None:
            return Pressure()
        rounds = self.rounds + 1 if level > HIGH else 0
        return Pressure(level, rounds, level >= LOW if self.high else rounds >= ROUNDS)
