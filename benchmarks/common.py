"""What the benchmarks share: facts of the machine, percentiles, pinning, the report."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

PACKAGES = ["routerd", "anyio", "msgspec", "uvloop", "mlx", "mlx-lm"]


def machine() -> dict[str, Any]:
    """What the figures depend on."""
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "load_1m": round(os.getloadavg()[0], 2),
        "pinned": hasattr(os, "sched_setaffinity"),
    }


def versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if "model name" in line]
        if names:
            return names[0]
    return platform.processor() or platform.machine()


def pin(pid: int, core: int) -> None:
    """Keep process ``pid`` (0: this one) and its threads on one core; nothing where the system cannot."""
    if not hasattr(os, "sched_setaffinity"):
        return
    core %= os.cpu_count() or 1
    tasks = Path(f"/proc/{pid or os.getpid()}/task")
    for thread in tasks.iterdir() if tasks.exists() else ():
        os.sched_setaffinity(int(thread.name), {core})


def unpin(pid: int) -> None:
    """Let it run on every core again."""
    if hasattr(os, "sched_setaffinity"):
        cores = set(range(os.cpu_count() or 1))
        for thread in Path(f"/proc/{pid or os.getpid()}/task").iterdir():
            os.sched_setaffinity(int(thread.name), cores)


def percentile(values: Sequence[float], share: float) -> float:
    """The nearest-rank percentile."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def median(values: Sequence[float]) -> float:
    return percentile(values, 0.5)


def table(rows: Sequence[tuple[str, ...]]) -> str:
    """Rows in aligned columns; the first row is the heading."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for number, row in enumerate(rows):
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        lines.append("  ".join(cells))
        if number == 0:
            lines.append("  ".join("-" * width for width in widths))
    return "\n".join(lines)


def report(name: str, rows: Sequence[tuple[str, ...]], figures: Mapping[str, Any], *, as_json: bool) -> None:
    """The table for people; with ``as_json`` one JSON object as the last line."""
    facts = machine()
    print(f"{name}: {facts['cpu']}, {facts['cores']} cores, {facts['system']}, Python {facts['python']}\n")
    print(table(rows))
    if as_json:
        print(json.dumps({"benchmark": name, "machine": facts, "versions": versions(), "figures": figures}))
