"""What happens, told to whoever watches. A slow watcher loses notices, never slows the daemon."""

from __future__ import annotations

from collections import deque
from typing import Any

import anyio

from routerd_client.protocol import Notice

MAX_WAITING = 256


class Subscription:
    """One watcher's notices, oldest first. `next` waits for one."""

    def __init__(self, id_: int, topics: frozenset[str]) -> None:
        self._id = id_
        self._topics = topics
        self._waiting: deque[Notice] = deque()
        self._missed = 0
        self._news = anyio.Event()

    def put(self, topic: str, kind: str, data: dict[str, Any]) -> None:
        if self._topics and topic not in self._topics:
            return
        if len(self._waiting) >= MAX_WAITING:
            self._missed += 1
            return
        self._waiting.append(Notice(id=self._id, topic=topic, kind=kind, data=data, missed=self._missed))
        self._missed = 0
        self._news.set()

    async def next(self) -> Notice:
        while not self._waiting:
            self._news = anyio.Event()
            await self._news.wait()
        return self._waiting.popleft()


class Hub:
    """The one list of watchers."""

    def __init__(self) -> None:
        self._subscriptions: set[Subscription] = set()

    def __repr__(self) -> str:
        return f"<Hub {len(self._subscriptions)} watchers>"

    def publish(self, topic: str, kind: str, **data: Any) -> None:
        """Tell everybody who watches ``topic``. Never blocks."""
        for subscription in self._subscriptions:
            subscription.put(topic, kind, data)

    def subscribe(self, id_: int, topics: list[str]) -> Subscription:
        subscription = Subscription(id_, frozenset(topics))
        self._subscriptions.add(subscription)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        self._subscriptions.discard(subscription)
