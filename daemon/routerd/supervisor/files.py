"""What the supervisor keeps on disk: which workers live, what models turned out to need, how workers died."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import anyio
import structlog

from .. import disk
from ..crashes import Crash, keep
from .learned import Learned, LearnedFile, Records
from .leftovers import WorkerFile

log = structlog.get_logger()

WRITE_S = 3.0
"""How long a change may hold up whoever makes it, the daemon's end among them."""


class StateFiles:
    """The files of the state directory, read and written off the event loop, one change at a time.

    All are a second line of defence: where they cannot be written that is logged, and nothing else. What models
    turned out to need is kept in ``records``, in a file where there are none.
    """

    def __init__(self, folder: Path, records: Records | None = None) -> None:
        self.learned = Learned()
        self._records = records
        self._folder = folder
        self._workers = WorkerFile(folder / "workers.json")
        self._learned_file = LearnedFile(folder / "learned.json")
        self._one_writer = anyio.CapacityLimiter(1)

    async def open(self) -> None:
        """Read what there is, and kill the workers that an earlier daemon left behind."""
        try:
            for leftover in await disk.run(self._workers.reap, what=self._workers.path):
                log.warning("worker.reaped", backend=leftover.backend, pid=leftover.pid)
            self.learned = await disk.run(self._learned_file.read, what=self._learned_file.path)
        except OSError as error:
            log.warning("state.unreadable", path=str(self._folder), error=str(error))
        if self._records:
            await self._bring_over(self._records)
            self.learned = Learned.decoded(await self._records.read())

    async def record(self, pid: int, name: str, alive: bool) -> None:
        await self._write(partial(self._workers.add, pid, name) if alive else partial(self._workers.remove, pid))

    async def write_learned(self, key: str) -> None:
        """Keep the record under ``key``."""
        if self._records:
            with anyio.CancelScope(shield=True):
                await self._records.write(self.learned.encoded(key))
        else:
            await self._write(partial(self._learned_file.write, self.learned.encode()))

    async def _bring_over(self, records: Records) -> None:
        """What the file holds is from before there was a ledger."""
        found = self.learned.encoded()
        if found and await records.write(found):
            await self._write(self._learned_file.remove)

    async def keep_crash(self, crash: Crash) -> None:
        await self._write(partial(keep, self._folder, crash))

    async def _write(self, change: Callable[[], None]) -> None:
        try:
            with anyio.move_on_after(WRITE_S, shield=True) as waiting:  # also where others wait before it
                async with self._one_writer:
                    await disk.run(change, what=self._folder)
            if waiting.cancelled_caught:
                raise disk.DiskStuckError(str(self._folder), WRITE_S)
        except OSError as error:
            log.warning("state.unwritable", path=str(self._folder), error=str(error))
