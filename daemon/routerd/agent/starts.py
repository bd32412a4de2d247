"""How often the daemon has ended without being told to, counted across its lives in the state folder."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import structlog
from msgspec import Struct
from msgspec.structs import replace

from .. import disk

log = structlog.get_logger()

FILE = "starts.json"
WINDOW_S = 3600.0
LOOP_S, LOOP_CRASHES = 300.0, 3
"""So many crashes within so long are a loop."""


class Starts(Struct, frozen=True):
    """``running`` is the pid of the daemon that has begun and not ended; ``crashes`` are seconds since 1970."""

    running: int | None = None
    crashes: tuple[float, ...] = ()


def begin(before: Starts, pid: int, now: float) -> Starts:
    """The daemon ``pid`` begins: one that still runs by the file has crashed. Pure."""
    kept = tuple(at for at in before.crashes if now - WINDOW_S < at <= now)
    return Starts(pid, kept if before.running is None else (*kept, now))


def looping(crashes: tuple[float, ...], now: float) -> bool:
    """Whether daemons end so soon and so often that the next should begin gently. Pure."""
    return sum(now - at < LOOP_S for at in crashes) >= LOOP_CRASHES


@contextmanager
def counted(state: Path) -> Iterator[tuple[float, ...]]:
    """The crashes of the last hour. The ``with`` is this daemon's life: leaving it is no crash, however it is left.

    A file that cannot be read or written is logged, and nothing else. Blocks on the disk.
    """
    path = state / FILE
    starts = begin(_read(path), os.getpid(), time.time())
    _write(path, starts)
    try:
        yield starts.crashes
    finally:
        _write(path, replace(starts, running=None))


def _read(path: Path) -> Starts:
    try:
        return msgspec.json.decode(disk.read(path), type=Starts)
    except FileNotFoundError:
        return Starts()
    except (OSError, ValueError, RecursionError) as error:
        log.warning("state.damaged", path=str(path), error=disk.reason(error))
        return Starts()


def _write(path: Path, starts: Starts) -> None:
    try:
        disk.replace(path, msgspec.json.encode(starts))
    except OSError as error:
        log.warning("state.unwritable", path=str(path), error=str(error))
