"""What models turned out to need, kept from one start of the daemon to the next."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Protocol

import msgspec
import structlog
from msgspec import Meta, Struct

from .. import disk
from ..config.schema import MlxSpec
from ..models.size import Footprint

log = structlog.get_logger()

ENTRIES = 200
"""So many are kept; the one measured longest ago makes room."""
MOST_BYTES, MOST_LOAD_S = 2**50, 1e6
"""A record beyond these is damaged."""
DECAY = 0.1
"""The part of a difference by which a remembered peak comes down when a process has needed less."""
OOM_FACTOR = 1.25
"""How much more a process is planned at that was killed for its memory: nobody saw what it was about to take."""


class Measured(Struct, frozen=True):
    """One model's record. ``weights``, in bytes, tells whether it still is the same model; ``peak`` is the
    memory its process had at most, in bytes; ``load_s`` the last load's seconds, 0 where none was measured."""

    weights: Annotated[int, Meta(ge=0, le=MOST_BYTES)]
    peak: Annotated[int, Meta(ge=0, le=MOST_BYTES)]
    load_s: Annotated[float, Meta(ge=0, le=MOST_LOAD_S)] = 0.0


def model_key(folder: Path, spec: MlxSpec) -> str:
    """What a record is kept under: the model, and those of its settings that change what a process needs."""
    key = f"{folder} concurrency={spec.concurrency} kv_tokens={spec.kv_tokens} prompt_cache={spec.prompt_cache}"
    key += f" context={spec.context}" if spec.context else ""
    return key + (f" adapter={spec.adapter}" if spec.adapter else "")


def after_oom(claim: int, peak: int, budget: int | None) -> int:
    """The peak to remember, in bytes, of a process that had claimed ``claim``, was measured at ``peak`` (0: never),
    and was killed for its memory. More than both, so that others give way; but not more than ``budget`` for that
    alone, so that the model may still be tried with nothing beside it."""
    seen = max(claim, peak)
    more = round(seen * OOM_FACTOR)
    return more if budget is None else max(seen, min(more, budget))


class Learned:
    """The records by `model_key`, that of the latest measurement last. Does no I/O."""

    def __init__(self, records: dict[str, Measured] | None = None) -> None:
        self._records = records or {}

    def __len__(self) -> int:
        return len(self._records)

    def measured(self, key: str, footprint: Footprint) -> Measured | None:
        """The record under ``key``; None where there is none, or it is of other weights."""
        record = self._records.get(key)
        return record if record and record.weights == footprint.weights else None

    def expected(self, key: str, footprint: Footprint, estimate: int, allowed: int = 0) -> int:
        """Bytes to reserve for the next process: its measured peak, ``estimate`` where there is none.

        Never less than the weights, the process around them, and the ``allowed`` bytes that it may fill with caches: a
        light use of it says nothing of a heavy one.
        """
        record = self.measured(key, footprint)
        return max(record.peak if record else estimate, footprint.weights + footprint.base + allowed)

    def record(self, key: str, footprint: Footprint, *, peak: int, load_s: float = 0.0) -> None:
        """Take in a ``peak`` in bytes, a higher one at once and a lower one by `DECAY`, and a load's seconds.

        Once in a process's life, at its end, or whenever the peak has grown: each call with less counts as
        another life.
        """
        old = self.measured(key, footprint)
        if old and peak < old.peak:
            peak = round(old.peak - (old.peak - peak) * DECAY)
        self._records.pop(key, None)
        self._records[key] = Measured(footprint.weights, peak, load_s or (old.load_s if old else 0.0))
        while len(self._records) > ENTRIES:
            del self._records[next(iter(self._records))]

    def encode(self) -> bytes:
        """All of it, for `LearnedFile.write`."""
        return msgspec.json.format(msgspec.json.encode(self._records), indent=1)

    def encoded(self, *keys: str) -> dict[str, str]:
        """These records, or all, for `Records.write`."""
        return {key: msgspec.json.encode(self._records[key]).decode() for key in keys or self._records}

    @classmethod
    def decoded(cls, found: Mapping[str, str]) -> Learned:
        """What `Records.read` gave; nothing of a damaged record."""
        return cls({key: record for key, value in found.items() if (record := _measured(_json(value)))})


class Records(Protocol):
    """Where records are kept, each as JSON under its key."""

    async def read(self) -> dict[str, str]:
        """All of them, that of the latest measurement last."""
        ...

    async def write(self, records: Mapping[str, str]) -> bool:
        """Add or replace these; whether they are durable now."""
        ...


class LearnedFile:
    """``learned.json`` in the state directory. All methods block on the disk."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> Learned:
        """What was written; nothing of a file that is missing or damaged, and of damaged records."""
        try:
            found = msgspec.json.decode(disk.read(self.path), type=dict[str, Any])
        except FileNotFoundError:
            return Learned()
        except (OSError, ValueError, RecursionError) as error:
            log.warning("state.damaged", path=str(self.path), error=disk.reason(error))
            return Learned()
        records = {key: record for key, value in found.items() if (record := _measured(value))}
        return Learned(dict(list(records.items())[-ENTRIES:]))

    def write(self, data: bytes) -> None:
        """Replace the file by ``data``, whole or not at all. Raises ``OSError``; one call at a time."""
        disk.replace(self.path, data)

    def remove(self) -> None:
        """Raises ``OSError``."""
        self.path.unlink(missing_ok=True)


def _json(text: str) -> object:
    try:
        return msgspec.json.decode(text)
    except (ValueError, RecursionError):
        return None


def _measured(value: object) -> Measured | None:
    try:
        return msgspec.convert(value, Measured)
    except (ValueError, RecursionError):
        return None
