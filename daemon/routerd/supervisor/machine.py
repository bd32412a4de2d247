"""What this machine has, what it can spare, and what a process of it takes.

The macOS half follows the system's headers and Apple's documentation, and was not run on a Mac.
"""

from __future__ import annotations

import ctypes
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

KEPT_FREE = 0.1
"""The share of all memory that is left to the rest of the system where the configuration says nothing."""

GIB = 1024**3


class Machine(Protocol):
    """Facts in bytes, read anew with each call; a call blocks for less than a millisecond or so."""

    def total(self) -> int:
        """All memory that processes here can have together."""

    def budget(self, kept_free: float = KEPT_FREE) -> int:
        """What models may take together, ``kept_free`` (0..1) of `total` left to everything else."""

    def process_memory(self, pid: int) -> int | None:
        """What the system charges ``pid`` with; None where there is no such process, or it is not ours."""

    def pressure(self) -> float | None:
        """Percent of the last ten seconds in which some process waited for memory; None where that is not told."""

    def oom_kills(self) -> int:
        """How many processes the system has killed for want of memory.

        Only differences mean something: a worker that died of SIGKILL while this grew was killed for its memory.
        """


def this_machine() -> Machine:
    return MacMachine() if sys.platform == "darwin" else LinuxMachine()


class LinuxMachine:
    """Linux, from the files of ``/proc`` and ``/sys`` under ``root``. Raises ``OSError`` without a /proc."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._proc = root / "proc"
        self._cgroups = root / "sys/fs/cgroup"

    def total(self) -> int:
        """The machine's memory, or the lowest limit of a cgroup this process is in."""
        limits = [_number(folder / name) for folder, name in self._memory_files("memory.max", "memory.limit_in_bytes")]
        return min([_field(self._proc / "meminfo", "MemTotal:") * 1024, *(n for n in limits if n is not None)])

    def budget(self, kept_free: float = KEPT_FREE) -> int:
        return int(self.total() * (1 - kept_free))

    def process_memory(self, pid: int) -> int | None:
        """Its proportional set size, so that what workers share is not counted twice; else the resident size."""
        for file, name in (("smaps_rollup", "Pss:"), ("status", "VmRSS:")):
            try:
                return _field(self._proc / str(pid) / file, name) * 1024
            except (OSError, KeyError):
                continue  # hidden from us, an older kernel, or a process that has just ended
        return None

    def pressure(self) -> float | None:
        try:
            some = (self._proc / "pressure/memory").read_text().splitlines()[0]
            return float(some.partition("avg10=")[2].split()[0])
        except (OSError, ValueError, IndexError):
            return None  # a kernel without PSI

    def oom_kills(self) -> int:
        """Those of the nearest cgroup that counts them, else of the whole machine, neighbours included."""
        counters = [folder / name for folder, name in self._memory_files("memory.events", "memory.oom_control")]
        for counter in (*counters, self._proc / "vmstat"):
            try:
                return _field(counter, "oom_kill")
            except (OSError, KeyError):
                continue
        return 0

    def _memory_files(self, v2: str, v1: str) -> Iterator[tuple[Path, str]]:
        """The cgroups this process is in, nearest first, each with the name its hierarchy has for the file.

        A container may see only its own part of the tree at the mount, under a path that is the host's:
        what is not there is for the caller to skip.
        """
        try:
            lines = (self._proc / "self/cgroup").read_text().splitlines()
        except OSError:
            return
        for line in lines:
            _, controllers, path = line.split(":", 2)
            if "memory" in controllers.split(","):
                mounts, name = [self._cgroups / "memory"], v1
            elif not controllers:
                mounts, name = [self._cgroups, self._cgroups / "unified"], v2
            else:
                continue
            for mount in mounts:
                folder = mount / path.strip("/")
                yield from ((place, name) for place in (folder, *folder.parents) if place.is_relative_to(mount))


def _field(file: Path, name: str) -> int:
    """The first number after ``name`` in a file of lines. Raises ``OSError``; ``KeyError`` where it is not there."""
    for line in file.read_text().splitlines():
        words = line.split()
        if words and words[0] == name:
            return int(words[1])
    raise KeyError(name)


def _number(file: Path) -> int | None:
    """The number that is all of ``file``; None where there is none, as in ``max``."""
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return None


def sysctl(name: str) -> int | None:
    """A number of macOS's ``sysctlbyname``; None where it has no such name."""
    value, length = ctypes.create_string_buffer(8), ctypes.c_size_t(8)
    system = ctypes.CDLL(None, use_errno=True)
    if system.sysctlbyname(name.encode(), value, ctypes.byref(length), None, ctypes.c_size_t(0)):
        return None
    return int.from_bytes(value.raw[: length.value], "little")  # some are 32 bits wide


def physical_footprint(pid: int) -> int | None:
    """``ri_phys_footprint`` of macOS's ``proc_pid_rusage``: what the system kills by, Metal's buffers included.

    The resident size leaves those out. None where there is no such process, or it is another user's.
    """
    info = ctypes.create_string_buffer(1024)  # rusage_info_v4 takes 296
    if ctypes.CDLL(None, use_errno=True).proc_pid_rusage(ctypes.c_int(pid), RUSAGE_INFO_V4, info):
        return None
    (footprint,) = struct.unpack_from("=Q", info, FOOTPRINT_OFFSET)
    return int(footprint)


RUSAGE_INFO_V4 = 4
FOOTPRINT_OFFSET = 16 + 7 * 8
"""After the UUID: user and system time, two kinds of wakeups, page-ins, wired and resident size."""


class MacMachine:
    """macOS on Apple silicon; ``sysctl`` and ``footprint`` are how it asks the system."""

    def __init__(
        self,
        sysctl: Callable[[str], int | None] = sysctl,
        footprint: Callable[[int], int | None] = physical_footprint,
    ) -> None:
        self._sysctl = sysctl
        self._footprint = footprint

    def total(self) -> int:
        size = self._sysctl("hw.memsize")
        if size is None:
            raise OSError("sysctl knows no hw.memsize")
        return size

    def budget(self, kept_free: float = KEPT_FREE) -> int:
        """What Metal may wire, and never more than `total` without the share that is kept free.

        ``iogpu.wired_limit_mb`` where somebody has set it, else about what Metal reports as
        ``recommendedMaxWorkingSetSize``: two thirds of up to 36 GiB, three quarters of more.
        """
        total = self.total()
        wired = (self._sysctl("iogpu.wired_limit_mb") or 0) * 1024**2
        recommended = total * 2 // 3 if total <= 36 * GIB else total * 3 // 4
        return min(wired or recommended, int(total * (1 - kept_free)))

    def process_memory(self, pid: int) -> int | None:
        return self._footprint(pid)

    def pressure(self) -> float | None:
        return None

    def oom_kills(self) -> int:
        """0: macOS counts its kills nowhere that an ordinary process can read."""
        return 0
