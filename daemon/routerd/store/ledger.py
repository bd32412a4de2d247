"""The ledger as the daemon uses it: chats in, stories and figures out."""

from __future__ import annotations

import time
from collections.abc import Callable

import anyio

from routerd_client.protocol import Decisions, Feedback, Stats, StatsResult
from routerd_client.records import ChatRecord, LedgerStatus, TierFigures

from ..config.schema import LedgerSpec
from ..health.outcomes import Key, Past
from . import learn, records, retention, shadows, stats
from .records import Entry
from .shadows import Shadow
from .writer import Store


class Ledger:
    """What is recorded of chats. All that waits raises `StoreError` where the store does."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __repr__(self) -> str:
        return f"<Ledger {self._store}>"

    def status(self) -> LedgerStatus:
        store = self._store
        return LedgerStatus(file=str(store.path), mode=store.mode, reason=store.reason, dropped=store.dropped)

    def record(self, entry: Entry) -> None:
        """Have ``entry`` written soon. Returns at once."""
        self._store.enqueue(lambda connection: records.insert(connection, entry))

    def compare(self, row: Shadow) -> None:
        """Have ``row`` written soon. Returns at once."""
        self._store.enqueue(lambda connection: shadows.insert(connection, row))

    async def decisions(self, asked: Decisions) -> list[ChatRecord]:
        """Raises `LookupError` where it is to begin before a chat that is not there."""
        return await self._store.read(lambda connection: records.chats(connection, asked, time.time()))

    async def story(self, request_id: str) -> ChatRecord | None:
        """None where there is no such chat."""
        return await self._store.read(lambda connection: records.story(connection, request_id))

    async def feedback(self, said: Feedback) -> Key:
        """Write it; the backend and model of which it was said. Raises `LookupError` where there is no such chat."""
        return await self._store.commit(lambda connection: records.insert_feedback(connection, said, time.time()))

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
        return await self._store.read(lambda connection: learn.past(connection, time.time()))

    async def expire(self, spec: Callable[[], LedgerSpec]) -> None:
        """Remove what is older than ``spec()`` says, a little at a time, until cancelled."""
        while True:
            self._store.enqueue(lambda connection: retention.expire(connection, spec(), time.time()))
            await anyio.sleep(retention.EVERY_S)
