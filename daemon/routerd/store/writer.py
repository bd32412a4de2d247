"""The ledger's one writer: a thread that takes work from the event loop and never makes it wait."""

from __future__ import annotations

import asyncio
import math
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

import anyio
import structlog

from .. import disk
from .database import Database, Job, check, corrupt, read, salvage, unusable
from .sound import check_tables

T = TypeVar("T")
log = structlog.get_logger()

BATCH_S = 0.5
"""What is enqueued is on the disk after so long, at the latest."""
MOST_WAITING = 10_000
"""Pieces of enqueued work; further ones are dropped, but for those that must be done."""
READERS = 8
"""Reads at a time: a disk that is stuck is not to take the threads that secrets and reloads need."""
READ_S = 60.0
"""How long a read may take: figures of a large ledger take seconds."""
ASK_S = 15.0
"""How long whoever waits for the writer waits."""
CLOSE_S = 8.0
"""How long the daemon's end waits for all that is to be written."""
LATE_S = 1.0
"""The same once the disk has let somebody wait in vain, until it answers again."""


class StoreError(Exception):
    """The ledger is closed, or broken even in memory."""


class StatementError(StoreError, sqlite3.OperationalError, sqlite3.IntegrityError):
    """The ledger's file is there and does not take a statement: a table or a column of it is gone, say."""


class Store:
    """The ledger at ``path``. Open it with ``async with``; everything is written when that ends.

    While the file cannot be written, that is tried again every ``retry_s`` seconds.
    """

    def __init__(self, path: Path, *, retry_s: float = 5.0) -> None:
        self._database = Database(path)
        self._retry_s = retry_s
        self._lock = threading.Lock()
        self._news: queue.SimpleQueue[None] = queue.SimpleQueue()  # wakes the thread sooner than a condition would
        self._waiting: list[_Asked] = []
        self._due = math.inf
        """When the oldest of what waits must be written, on the monotonic clock."""
        self._state: Literal["new", "open", "closed"] = "new"
        self._dropped = 0
        self._told = 0
        """How many of them were logged."""
        self._writing = False
        """Whether a batch is taken that is not on the disk yet."""
        self._retry_at = 0.0
        self._late = False
        """Whether somebody has waited for the disk in vain, and it has not answered since."""
        self._readers = anyio.CapacityLimiter(READERS)
        self._free_readers = list(range(READERS))
        self._thread = threading.Thread(target=self._run, name="ledger", daemon=True)  # its disk may hang for ever

    def __repr__(self) -> str:
        return f"<Store {self._database.path} {self._state} {self.mode}>"

    @property
    def path(self) -> Path:
        return self._database.path

    @property
    def mode(self) -> Literal["file", "memory"]:
        """``memory`` while the file cannot be written; what is recorded meanwhile is written back later."""
        return self._database.mode

    @property
    def reason(self) -> str:
        """Why the mode is ``memory``; ``""`` where it is not."""
        return self._database.reason

    @property
    def dropped(self) -> int:
        """Records that were lost because too many waited."""
        return self._dropped + self._database.dropped

    @property
    def set_aside(self) -> str:
        """The newest damaged file that was set aside and stands there still; ``""`` where there is none."""
        return self._database.set_aside

    async def __aenter__(self) -> Self:
        self._state = "open"
        self._thread.start()
        try:
            await self.commit(_nothing)
        except StoreError as error:  # nothing is known of what was spent, and nothing is recorded, until it answers
            log.error("ledger.late", path=str(self.path), error=str(error))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        with self._lock:
            self._state = "closed"
        self._news.put(None)
        bound = LATE_S if self._late else CLOSE_S
        with anyio.CancelScope(shield=True), suppress(disk.DiskError):
            await disk.run(self._thread.join, bound, what=self.path, within=bound + 1, key=f"{self.path} end")
        if self._thread.is_alive():
            disk.hung.set()
            log.error("ledger.unwritten", path=str(self.path), records=len(self._waiting), seconds=bound)

    def enqueue(self, work: Callable[[sqlite3.Connection], None], *, must: bool = False) -> None:
        """Have ``work`` done within `BATCH_S`. Returns at once; what ``work`` raises is logged, and undone.

        What ``must`` be done is not dropped, however much waits.
        """
        with self._lock:
            if self._state != "open" or (len(self._waiting) >= MOST_WAITING and not must):
                self._dropped += 1
                return
            self._waiting.append(_Asked(Job(work)))
            first = self._due == math.inf
            if first:
                self._due = time.monotonic() + BATCH_S
        if first:
            self._news.put(None)

    async def commit(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """What ``work`` returns, once it and all that was enqueued before are durable; what it raises, it alone undone.

        Durable in memory only, where `mode` says so. Raises `StoreError` where the ledger is closed. Cancelled, it
        may have been carried out or not.
        """
        result: T = await self._ask(Job(work))
        return result

    async def read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        """What ``query`` finds, all that was enqueued before included. It runs in a thread and must not write.

        Raises `StoreError` where the ledger cannot be read.
        """
        if self._waiting or self._writing:
            await self.commit(_nothing)
        return await self._read(query)

    async def older(self, query: Callable[[sqlite3.Connection], T]) -> T:
        """What ``query`` finds in the file as it is, while records go to memory. It runs in a thread.

        Raises `StoreError` where the file cannot be read.
        """
        try:
            found: T = await self._with_reader(salvage, query)
            return found
        except (sqlite3.Error, OSError) as error:
            raise StoreError(f"the ledger's file cannot be read: {error}") from error

    async def _read(self, query: Callable[[sqlite3.Connection], T], *, again: bool = True) -> T:
        if self.mode == "memory":
            found: T = await self._ask(Job(query, reads=True))
            return found
        try:
            found = await self._with_reader(read, query)
        except OSError as error:
            raise StoreError(f"the ledger cannot be read: {error}") from error
        except sqlite3.Error as error:
            if not unusable(error):
                self.enqueue(check_tables)  # what becomes of the file is the writer's business
                raise StatementError(f"the ledger cannot be read: {error}") from error
            if corrupt(error):
                self.enqueue(check)  # what becomes of the file is the writer's business
            if corrupt(error) or not again:
                raise StoreError(f"the ledger cannot be read: {error}") from error
        else:
            return found
        await self.commit(_nothing)  # where the file was removed, the writer finds out now, and makes it anew
        return await self._read(query, again=False)

    async def _with_reader(self, how: Callable[..., Any], query: Callable[[sqlite3.Connection], T]) -> Any:
        """Run ``how`` on one of `READERS` threads, preferring those where no abandoned query hangs."""
        async with self._readers:
            key = min(self._free_readers, key=lambda number: (disk.stuck(self._key(number)), number))
            self._free_readers.remove(key)
            try:
                return await disk.run(how, self.path, query, what=self.path, within=READ_S, key=self._key(key))
            finally:
                self._free_readers.append(key)

    def _key(self, number: int) -> str:
        return f"{self.path} reader {number}"

    async def _ask(self, job: Job) -> Any:
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        with self._lock:
            if self._state != "open":
                raise StoreError("the ledger is closed")
            self._waiting.append(_Asked(job, answer))
            self._due = 0.0
        self._news.put(None)
        bound = LATE_S if self._late else ASK_S
        try:
            with anyio.move_on_after(bound):
                return await answer
        except sqlite3.Error as error:
            raise StatementError(f"the ledger does not take it: {error}") from error
        self._late = True
        raise StoreError(f"the disk of the ledger {self.path} did not answer within {bound:g} s")

    def _run(self) -> None:
        """The writer's thread, from start to end."""
        try:
            self._database.open()
            while (batch := self._next()) is not None:
                self._try_the_file()
                self._write(batch)
            self._retry_at = 0.0  # what is only in memory has no other chance
            self._try_the_file()
        except Exception:  # nobody is to wait for ever for a thread that is gone
            log.exception("ledger.broken", path=str(self.path))
        finally:
            self._end()

    def _try_the_file(self) -> None:
        if self._database.mode == "memory" and time.monotonic() >= self._retry_at:
            self._retry_at = time.monotonic() + self._retry_s
            try:
                recovered = self._database.recover()
            except Exception:  # the thread goes on in memory, and tries it again
                log.exception("ledger.recovery_failed", path=str(self.path))
                return
            if recovered:
                log.info("ledger.recovered", path=str(self.path))

    def _end(self) -> None:
        with self._lock:
            self._state = "closed"
            left, self._waiting = self._waiting, []
        for asked in left:
            asked.job.error = StoreError("the ledger is closed")
            asked.tell()
        self._database.close()

    def _next(self) -> list[_Asked] | None:
        """Wait for what is due; nothing where only the file is to be tried again, None at the end."""
        while True:
            with self._lock:
                now = time.monotonic()
                retry = self._retry_at if self._database.mode == "memory" else math.inf
                if self._state == "closed" and not self._waiting:
                    return None
                if self._state == "closed" or self._due <= now or retry <= now:
                    self._writing = True  # before the batch is gone from what waits: a reader asks both
                    batch, self._waiting, self._due = self._waiting, [], math.inf
                    return batch
                wake = min(self._due, retry)
            with suppress(queue.Empty):
                self._news.get(timeout=None if wake == math.inf else wake - now)

    def _write(self, batch: list[_Asked]) -> None:
        before = self._database.mode
        try:
            if batch:
                self._database.run([asked.job for asked in batch])
        except Exception as error:
            for asked in batch:
                asked.job.error = StoreError(f"the ledger is broken: {error}")
        if self._database.mode != before:
            self._retry_at = time.monotonic() + self._retry_s
        self._writing = self._late = False
        if any(_of_statement(asked.job.error) for asked in batch):
            self.enqueue(check_tables)
        for asked in batch:
            asked.tell()
        dropped, self._told = self._dropped - self._told, self._dropped
        if dropped:
            log.warning("ledger.dropped", records=dropped)


class _Asked:
    """A job, and who waits for it."""

    def __init__(self, job: Job, answer: asyncio.Future[Any] | None = None) -> None:
        self.job = job
        self.answer = answer

    def tell(self) -> None:
        error = self.job.error
        if self.answer:
            with suppress(RuntimeError):  # the loop is closed, and nobody waits any more
                self.answer.get_loop().call_soon_threadsafe(self._answer, self.answer)
        elif error:
            log.error("ledger.record_failed", error=f"{type(error).__name__}: {error}")

    def _answer(self, answer: asyncio.Future[Any]) -> None:
        if answer.done():
            return  # cancelled
        if self.job.error:
            answer.set_exception(self.job.error)
        else:
            answer.set_result(self.job.result)


def _of_statement(error: BaseException | None) -> bool:
    return isinstance(error, sqlite3.OperationalError) and getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_ERROR


def _nothing(_connection: sqlite3.Connection) -> None:
    pass
