"""Workers of a daemon that was killed: recorded while they live, reaped at the next start.

Workers die by themselves when their daemon does; this is for one that cannot (stopped, stuck in a
driver). A pid alone proves nothing, so the process's start time is recorded with it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import msgspec
import structlog
from msgspec import Meta

from .. import disk

log = structlog.get_logger()


class Record(msgspec.Struct, frozen=True):
    pid: Annotated[int, Meta(gt=1, lt=2**31)]
    started: str
    backend: str


def started_at(pid: int) -> str:
    """When process ``pid`` started, in the system's own words; ``""`` where there is no such process."""
    if sys.platform == "linux":
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            return ""
        fields = stat.rpartition(")")[2].split()
        return "" if fields[0] == "Z" else fields[19]
    found = subprocess.run(["/bin/ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return found.stdout.strip()


class WorkerFile:
    """The record of living workers, one file in the state directory. All methods block on the disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._records: dict[int, Record] = {}

    def add(self, pid: int, backend: str) -> None:
        self._records[pid] = Record(pid, started_at(pid), backend)
        self._write()

    def remove(self, pid: int) -> None:
        self._records.pop(pid, None)
        self._write()

    def reap(self) -> list[Record]:
        """Kill what an earlier daemon left behind, with its whole process group; returns what was killed."""
        try:
            records = msgspec.json.decode(disk.read(self.path), type=list[Record])
        except FileNotFoundError:
            return []
        except (OSError, ValueError, RecursionError) as error:
            log.warning("state.damaged", path=str(self.path), error=disk.reason(error))
            return []
        alive = [r for r in records if r.started and started_at(r.pid) == r.started]
        for record in alive:
            kill_group(record.pid)
        with suppress(OSError):  # a read-only disk: the next process that is added says so
            self._write()
        return alive

    def _write(self) -> None:
        disk.replace(self.path, msgspec.json.encode(list(self._records.values())))


def kill_group(pid: int) -> None:
    """SIGKILL the process group that ``pid`` leads; nothing where it is gone."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass  # gone, or on macOS a group of which only zombies are left
