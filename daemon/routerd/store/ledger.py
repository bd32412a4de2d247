"""The ledger as the daemon uses it: chats in, stories and figures out."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from typing import TypeVar

import anyio
import structlog
from msgspec.structs import replace

from routerd_client.protocol import Decisions, Feedback, Stats, StatsResult
from routerd_client.records import ChatRecord, LedgerStatus, TierFigures

from ..config.schema import LedgerSpec
from ..health.outcomes import Key, Past
from . import learn, records, retention, shadows, stats
from .records import Entry
from .shadows import Shadow
from .writer import Store, StoreError

T = TypeVar("T")
log = structlog.get_logger()


class Ledger:
    """What is recorded of chats. All that waits raises `StoreError` where the store does.

    While records go to memory, single chats are also looked for in the file, where it can be read.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def __repr__(self) -> str:
        return f"<Ledger {self._store}>"

    def status(self) -> LedgerStatus:
        store = self._store
        return LedgerStatus(
            file=str(store.path),
            mode=store.mode,
            reason=store.reason,
            dropped=store.dropped,
            set_aside=store.set_aside,
        )

    def record(self, entry: Entry) -> None:
        """Have ``entry`` written soon. Returns at once."""
        self._store.enqueue(lambda connection: records.insert(connection, entry))

    def compare(self, row: Shadow) -> None:
        """Have ``row`` written soon. Returns at once."""
        self._store.enqueue(lambda connection: shadows.insert(connection, row))

    async def decisions(self, asked: Decisions) -> list[ChatRecord]:
        """Raises `LookupError` where it is to begin before a chat that is not there."""
        now = time.time()

        def chats(asked: Decisions) -> Callable[[sqlite3.Connection], list[ChatRecord]]:
            return lambda connection: records.chats(connection, asked, now)

        try:
            found = await self._store.read(chats(asked))
        except LookupError:
            older = await self._older(chats(asked))
            if older is None:
                raise
            return older
        left = min(asked.limit, records.MOST_WHOLE if asked.whole else records.MOST) - len(found)
        older = await self._older(chats(replace(asked, limit=left, before=""))) if left > 0 else None
        known = {chat.request_id for chat in found}  # what was in memory may be in the file by now
        return found + [chat for chat in older or () if chat.request_id not in known]

    async def story(self, request_id: str) -> ChatRecord | None:
        """None where there is no such chat."""

        def story(connection: sqlite3.Connection) -> ChatRecord | None:
            return records.story(connection, request_id)

        return await self._store.read(story) or await self._older(story)

    async def feedback(self, said: Feedback) -> Key:
        """Write it; the backend and model of which it was said. Raises `LookupError` where there is no such chat."""
        about = await self._older(lambda connection: records.answered(connection, said.request_id))
        return await self._store.commit(
            lambda connection: records.insert_feedback(connection, said, time.time(), about)
        )

    async def stats(self, asked: Stats) -> StatsResult:
        """Resets first, where that is asked."""
        now = time.time()
        if asked.reset:
            await self._store.commit(lambda connection: stats.reset(connection, now))
        return await self._store.read(lambda connection: stats.figures(connection, asked, now))

    async def tiers(self) -> TierFigures:
        """Since the last reset."""
        return await self._store.read(lambda connection: stats.tiers(connection, stats.since_reset(connection)))

    async def past(self) -> list[Past]:
        """What it knows of backends' answers."""

        def past(connection: sqlite3.Connection) -> list[Past]:
            return learn.past(connection, time.time())

        return await self._store.read(past) + (await self._older(past) or [])

    async def expire(self, spec: Callable[[], LedgerSpec]) -> None:
        """Remove what is older than ``spec()`` says, a little at a time, until cancelled."""
        while True:
            try:
                more = await self._store.commit(lambda connection: retention.expire(connection, spec(), time.time()))
            except (StoreError, sqlite3.Error) as error:
                more = False
                log.error("ledger.unexpired", error=str(error))
            await anyio.sleep(retention.BETWEEN_S if more else retention.EVERY_S)

    async def _older(self, query: Callable[[sqlite3.Connection], T]) -> T | None:
        """What ``query`` finds in the file while records go to memory; None where they do not, or it cannot be read."""
        try:
            return await self._store.older(query) if self._store.mode == "memory" else None
        except StoreError:
            return None
