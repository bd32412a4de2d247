"""Disk, logs, clock and limits."""

from __future__ import annotations

import os
import resource
import shutil
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from ...config.units import format_duration, format_size
from ...models.hub import cache_root
from .finding import Finding, Scene, fail, ok, warn

LITTLE, ALMOST_NONE = 1_000_000_000, 100_000_000
"""Bytes free on a disk."""
LOGS = 100_000_000
"""Bytes that the logs may have: 60 MB rotated, and what a service manager keeps of crashes."""
AHEAD_S = 60.0
FILES = 1024
"""Open files that the daemon should be allowed, one for each request under way among them."""


def disk(scene: Scene) -> Iterator[Finding]:
    """Once for each disk that something is kept on."""
    seen: set[int] = set()
    for folder in (scene.places.state, scene.places.logs, scene.places.cache, cache_root()):
        there = next(place for place in (folder, *folder.parents) if place.exists())
        if not os.access(there, os.W_OK):
            yield fail("disk", f"{there} cannot be written", f"check its owner and mode: ls -ld {there}")
        if (device := there.stat().st_dev) not in seen:
            seen.add(device)
            yield space(there, shutil.disk_usage(there).free)


def space(folder: Path, free: int) -> Finding:
    """What ``free`` bytes beside ``folder`` mean."""
    says = f"{format_size(free)} free for {folder}"
    if free < ALMOST_NONE:
        return fail("disk", says, "free some space: nothing can be recorded or downloaded")
    return warn("disk", says, "routerctl models ls shows what models take") if free < LITTLE else ok("disk", says)


def logs(scene: Scene) -> Iterator[Finding]:
    files = [file for file in scene.places.logs.glob("*") if file.is_file()]
    total = sum(file.stat().st_size for file in files)
    if total > LOGS:
        largest = max(files, key=lambda file: file.stat().st_size)
        fix = f"the largest is {largest}; what the daemon rotates ends in .log or a number"
        yield warn("logs", f"{format_size(total)} in {scene.places.logs}", fix)
    else:
        yield ok("logs", f"{format_size(total)} in {scene.places.logs}")


def clock(scene: Scene) -> Iterator[Finding]:
    """Whether the clock stands where files say that it has been: quotas and certificates go by it."""
    now = time.time()
    yield told(now, _newest([Path(__file__), scene.places.log_file, scene.places.config]))


def told(now: float, latest: float) -> Finding:
    """What it means that it is ``now`` while something was written at ``latest``; seconds since 1970."""
    said = datetime.fromtimestamp(now).astimezone().isoformat(" ", "seconds")
    if latest > now + AHEAD_S:
        span = format_duration(round(latest - now))
        return warn("clock", f"it says {said}, but files here are {span} younger", "set the system's clock")
    return ok("clock", said)


def limits(_scene: Scene) -> Iterator[Finding]:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < FILES:
        yield warn("limits", f"a process may open {hard} files only", f"raise the hard limit to {FILES}: ulimit -Hn")


def _newest(files: list[Path]) -> float:
    return max((file.stat().st_mtime for file in files if file.exists()), default=0.0)
