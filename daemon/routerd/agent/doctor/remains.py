"""What an earlier daemon left behind, and how often things have died."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec import Struct

from ... import disk
from ...crashes import kept
from ..starts import FILE, Starts, looping
from .finding import Finding, Scene, fail, ok, warn
from .listening import unlocked

RECENT_S = 86_400.0

T = TypeVar("T")


class _Record(Struct, frozen=True):
    pid: int
    backend: str


def workers(scene: Scene) -> Iterator[Finding]:
    """Model processes of a daemon that is gone. They die with it, unless they were stuck or stopped."""
    state = scene.places.state
    if scene.status or not unlocked(state / "daemon.lock"):
        return  # they are its own
    left = [record for record in _read(state / "workers.json", list[_Record]) or [] if _is_worker(record.pid)]
    for record in left:
        says = f"the model process of {record.backend} (pid {record.pid}) outlived its daemon"
        yield warn("leftovers", says, f"kill -9 {record.pid}", partial(_kill, record.pid))
    if not left:
        yield ok("leftovers", "no model process without a daemon")


def crashes(scene: Scene) -> Iterator[Finding]:
    now = time.time()
    starts = _read(scene.places.state / FILE, Starts) or Starts()
    if looping(starts.crashes, now):
        yield fail("crashes", f"the daemon crashed {len(starts.crashes)} times within an hour", "routerctl logs")
    recent = [crash for _, crash in kept(scene.places.state) if _age(crash.at) < RECENT_S]
    if recent:
        count = f"{len(recent)} model process" + ("es" if len(recent) > 1 else "")
        says = f"died within a day: {count}, last {recent[-1].backend}: {recent[-1].says}"
        yield warn("crashes", says, f"routerctl crashes {recent[-1].backend} --last")
    else:
        yield ok("crashes", "no model process died within a day")


def _read(file: Path, kind: type[T]) -> T | None:
    try:
        return msgspec.json.decode(disk.read(file), type=kind)
    except (OSError, ValueError, RecursionError):
        return None  # absent, or half written by a daemon that was killed


def _is_worker(pid: int) -> bool:
    """Whether the process is a model process of ours, and leads its group: pids are used again."""
    told = subprocess.run(["ps", "-ww", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False)  # noqa: S607
    try:
        return "routerd.worker" in told.stdout and os.getpgid(pid) == pid
    except ProcessLookupError:
        return False


def _kill(pid: int) -> None:
    if _is_worker(pid):
        os.killpg(pid, signal.SIGKILL)


def _age(at: str) -> float:
    return (datetime.now(UTC) - datetime.fromisoformat(at)).total_seconds()
