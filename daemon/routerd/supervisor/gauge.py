"""What the machine says of its memory: read in rounds, and after each death."""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from .. import disk
from .machine import Machine
from .pressure import Pressure

log = structlog.get_logger()

_PLACE = "the figures of this machine's memory"


class Gauge:
    """Asks the machine, off the event loop."""

    def __init__(self, machine: Machine) -> None:
        self.pressure = Pressure()
        self._machine = machine
        self._kills = self._older_kills = machine.oom_kills()

    def __repr__(self) -> str:
        return f"<Gauge {self.pressure} {self._kills} oom kills>"

    def budget(self) -> int:
        """What models may take together where the configuration does not say, in bytes."""
        return self._machine.budget()

    async def read(self, pids: Sequence[int]) -> dict[int, int]:
        """One round: what each of ``pids`` has in bytes, those that have ended left out; and `pressure` anew."""
        try:
            found, pressure, kills = await disk.run(self._read, pids, what=_PLACE)
        except OSError as error:
            log.warning("memory.unread", error=str(error))
            return {}
        self.pressure = self.pressure.after(pressure)
        # A process that is killed takes a while to end: its kill may have been counted a round ago.
        self._older_kills, self._kills = max(self._older_kills, self._kills), kills
        return found

    def _read(self, pids: Sequence[int]) -> tuple[dict[int, int], float | None, int]:
        found = {pid: size for pid in pids if (size := self._machine.process_memory(pid))}
        return found, self._machine.pressure(), self._machine.oom_kills()

    async def oom_killed(self) -> bool:
        """Whether the system has killed a process for its memory in the last one or two rounds, beyond those
        that this was told of before."""
        try:
            kills = await disk.run(self._machine.oom_kills, what=_PLACE)
        except OSError:  # then nobody knows
            return False
        if kills <= self._older_kills:
            return False
        self._older_kills += 1
        return True
