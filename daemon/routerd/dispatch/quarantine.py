"""Requests that model processes died with: whether one may be tried on an owned model again. Pure; time is given."""

from __future__ import annotations

from collections import OrderedDict
from hashlib import blake2b

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from routerd_client.chat import ChatRequest

KEEP_S = 600.0
"""How long a death is held against the request that was there."""
MAX_DEATHS = 2
"""After so many deaths a request is not tried on owned models any more. One alone may be chance: the process may have
been killed from outside, or died of a request that was answered beside it."""
MAX_KEPT = 1024

Key = bytes


class _Record(Struct, frozen=True):
    """The processes that died with a request, and until when that counts."""

    processes: frozenset[str]
    until: float


class Quarantine:
    """Deaths of model processes, counted by request. Requests are the same where their chats are, whoever asks and for
    whichever model."""

    def __init__(self, *, keep_s: float = KEEP_S, max_kept: int = MAX_KEPT) -> None:
        self._keep_s = keep_s
        self._max_kept = max_kept
        self._records: OrderedDict[Key, _Record] = OrderedDict()

    def __repr__(self) -> str:
        return f"<Quarantine {len(self._records)} requests>"

    def deaths(self, chat: ChatRequest, now: float) -> tuple[int, float]:
        """Return how many deaths are held against ``chat`` at ``now``, and for how many seconds yet."""
        while self._records and (oldest := next(iter(self._records.items())))[1].until <= now:
            del self._records[oldest[0]]
        # Hashing reads the whole chat, and there is nearly always nothing to compare it with.
        record = self._records.get(key(chat)) if self._records else None
        return (len(record.processes), record.until - now) if record else (0, 0.0)

    def died(self, chat: ChatRequest, process: str, now: float) -> int:
        """Count the death of ``process`` with ``chat``, once however many identical requests it held; returns how many
        deaths there are now."""
        self.deaths(chat, now)  # drops what has passed
        before = self._records.pop(key(chat), None)
        processes = (before.processes if before else frozenset()) | {process}
        self._records[key(chat)] = _Record(processes, now + self._keep_s)
        if len(self._records) > self._max_kept:
            self._records.popitem(last=False)
        return len(processes)

    def answered(self, chat: ChatRequest) -> None:
        """Forget the deaths of ``chat``: an owned model has answered it and lives."""
        if self._records:
            self._records.pop(key(chat), None)


def key(chat: ChatRequest) -> Key:
    """Identify the chat by what a model is given, and not by who asks, for how long, or whom."""
    given = replace(
        chat,
        model="",
        context={},
        session="",
        priority=None,
        deadline_s=None,
        local_only=None,
        when_full=None,
        stream=False,
        hops=0,
        extra={},
    )
    return blake2b(msgspec.json.encode(given), digest_size=16).digest()
